"""The actors that are alive, for debugging."""

from typing import Any

import msgspec

from .callers import Access
from .routes import NO_BODY, Answer, Call, NoQuery, Route
from .services import Services


class ActorItem(msgspec.Struct, frozen=True):
    """An actor that is alive."""

    name: str


class ActorList(msgspec.Struct, frozen=True):
    """All of them."""

    items: tuple[ActorItem, ...]
    next: str | None = None


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""

    def list_actors(_call: Call[None, NoQuery]) -> Answer:
        return Answer(ActorList(tuple(ActorItem(name) for name in services.dashboard.actor_names())))

    def snapshot(call: Call[None, NoQuery]) -> Answer:
        return Answer(services.dashboard.actor_snapshot(call.path["name"]))

    return (
        Route(
            method="GET",
            path="/api/v1/actors",
            name="list_actors",
            summary="List the actors that are alive",
            access=Access.ADMIN,
            handle=list_actors,
            body=NO_BODY,
            query=NoQuery,
            answers={200: ActorList},
        ),
        Route(
            method="GET",
            path="/api/v1/actors/{name}/snapshot",
            name="actor_snapshot",
            summary="Show an actor's state, mailbox and last error",
            access=Access.ADMIN,
            handle=snapshot,
            body=NO_BODY,
            query=NoQuery,
            answers={200: dict[str, Any]},
            errors=(404,),
        ),
    )
