"""Whether the dashboard lives, and whether it can take requests: for those who watch over processes."""

from typing import Any

import msgspec

from .callers import Access
from .errors import RETRY_AFTER_SECONDS
from .routes import NO_BODY, Answer, AnyQuery, Call, Route
from .services import Services


class Health(msgspec.Struct, frozen=True):
    """live, ready or starting."""

    status: str


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""

    def live(_call: Call[None, AnyQuery]) -> Answer:
        return Answer(Health("live"))

    def ready(_call: Call[None, AnyQuery]) -> Answer:
        if services.dashboard.ready:
            return Answer(Health("ready"))
        return Answer(Health("starting"), status=503, headers={"Retry-After": RETRY_AFTER_SECONDS})

    return (
        Route(
            method="GET",
            path="/health/live",
            name="live",
            summary="Say that the process lives",
            access=Access.OPEN,
            handle=live,
            body=NO_BODY,
            query=AnyQuery,
            answers={200: Health},
        ),
        Route(
            method="GET",
            path="/health/ready",
            name="ready",
            summary="Say whether requests are taken",
            access=Access.OPEN,
            handle=ready,
            body=NO_BODY,
            query=AnyQuery,
            answers={200: Health, 503: Health},
        ),
    )
