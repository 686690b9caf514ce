"""Events that were put aside because they could not be processed: look, try again, give up."""

from typing import Any

import msgspec

from ..wire.views import event_view, written, written_if_known
from .callers import Access
from .instances import PageQuery, ReasonBody
from .routes import NO_BODY, Answer, Call, NoQuery, Route, optional_json_body
from .services import Services

_OF_ANY = "dead letters may be of any"
"""A parked event may be of any plan, or of none that is known."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A parked event and why it was parked."""

    id: int
    """Its position in the inbox."""
    position: int
    instance_id: str
    event: dict[str, Any] | None
    """In our own words; ``null`` when it does not read."""
    error: str | None
    source: str
    received_at: str
    parked_at: str | None


class DeadLetterList(msgspec.Struct, frozen=True):
    """A page of dead letters, oldest first."""

    items: tuple[DeadLetter, ...]
    next: str | None


class Position(msgspec.Struct, frozen=True):
    """The dead letter that was dealt with."""

    position: int


class DeadLetters:
    """The resources of parked events."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def list(self, call: Call[None, PageQuery]) -> Answer:
        """A page of them."""
        call.caller.must_see_all(_OF_ANY)
        query = call.query
        entries = self._dashboard.dead_letters(after=query.after, limit=query.limit)
        events = self._dashboard.events([entry.position for entry in entries])
        items = tuple(
            DeadLetter(
                id=entry.position,
                position=entry.position,
                instance_id=str(entry.stream),
                event=event_view(events[entry.position]) if entry.position in events else None,
                error=entry.error,
                source=entry.source,
                received_at=written(entry.received_at),
                parked_at=written_if_known(entry.parked_at),
            )
            for entry in entries
        )
        following = str(entries[-1].position) if len(entries) == query.limit else None
        return Answer(DeadLetterList(items, following))

    def resubmit(self, call: Call[ReasonBody, NoQuery]) -> Answer:
        """Have one processed again."""
        call.caller.must_see_all(_OF_ANY)
        position = call.path["id"]
        self._dashboard.resubmit(position)
        return Answer(Position(position))

    def discard(self, call: Call[None, NoQuery]) -> Answer:
        """Give one up for good."""
        call.caller.must_see_all(_OF_ANY)
        position = call.path["id"]
        self._dashboard.discard(position, call.origin())
        return Answer(status=204)


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    letters = DeadLetters(services)
    return (
        Route(
            method="GET",
            path="/api/v1/dead-letters",
            name="list_dead_letters",
            summary="List the events that were put aside, oldest first",
            access=Access.READ,
            handle=letters.list,
            body=NO_BODY,
            query=PageQuery,
            answers={200: DeadLetterList},
        ),
        Route(
            method="POST",
            path="/api/v1/dead-letters/{id:int(min=1,max=9223372036854775807)}/resubmit",
            name="resubmit_dead_letter",
            summary="Have a parked event processed again",
            access=Access.WRITE,
            handle=letters.resubmit,
            body=optional_json_body(ReasonBody),
            query=NoQuery,
            answers={200: Position},
            errors=(404,),
            keyed=True,
        ),
        Route(
            method="DELETE",
            path="/api/v1/dead-letters/{id:int(min=1,max=9223372036854775807)}",
            name="discard_dead_letter",
            summary="Give a parked event up for good",
            access=Access.ADMIN,
            handle=letters.discard,
            body=NO_BODY,
            query=NoQuery,
            answers={204: None},
            errors=(404,),
        ),
    )
