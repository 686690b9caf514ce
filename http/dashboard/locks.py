"""Job locks: who holds them, who waits and since when; and taking one from those that hold it."""

from typing import Any

import msgspec

from ..wire.lock_views import LockView, lock_views
from ..wire.views import FactView, fact_view
from .callers import Access
from .instances import Limit, ReasonBody
from .routes import NO_BODY, Answer, Call, NoQuery, Route, optional_json_body
from .services import Services

_OF_ANY = "locks may be held by any"
"""A lock is held by, and waited for by, jobs of any plan of its group."""

NO_GROUP = "DEFAULT_ENVIRONMENT"
"""How the group of those without an environment group is called in addresses."""


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much to tell of each lock."""

    limit: Limit = 100
    """At most so many of those that hold it, and of those that wait."""


class LockList(msgspec.Struct, frozen=True):
    """Every lock."""

    items: tuple[LockView, ...]
    next: None = None


class LockReset(msgspec.Struct, frozen=True):
    """What followed from a reset: who lost the lock, and who has it now."""

    facts: tuple[FactView, ...]


class Locks:
    """The resources of job locks."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def list(self, call: Call[None, ListQuery]) -> Answer:
        """All of them."""
        call.caller.must_see_all(_OF_ANY)
        plan_of, limit = self._dashboard.plan_of, call.query.limit
        groups = self._dashboard.locks()
        items = tuple(view for group in groups for view in lock_views(group, plan_of, limit=limit))
        return Answer(LockList(items))

    def reset(self, call: Call[ReasonBody, NoQuery]) -> Answer:
        """Take one from all that hold it."""
        call.caller.must_see_all(_OF_ANY)
        group = None if call.path["group"] == NO_GROUP else call.path["group"]
        facts = self._dashboard.reset_lock(group, call.path["name"], call.origin(call.body.reason))
        return Answer(LockReset(tuple(fact_view(each) for each in facts)))


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    locks = Locks(services)
    return (
        Route(
            method="GET",
            path="/api/v1/locks",
            name="list_locks",
            summary="List the job locks, who holds them and who waits",
            access=Access.READ,
            handle=locks.list,
            body=NO_BODY,
            query=ListQuery,
            answers={200: LockList},
        ),
        Route(
            method="POST",
            path="/api/v1/locks/{group}/{name}/reset",
            name="reset_lock",
            summary="Take a lock from all that hold it, although they may still run",
            access=Access.WRITE,
            handle=locks.reset,
            body=optional_json_body(ReasonBody),
            query=NoQuery,
            answers={200: LockReset},
            errors=(404,),
            keyed=True,
        ),
    )
