"""How job locks look to clients of our own API: who holds each, who waits since when, and why.

Lists are cut at a length that the caller gives, beside the number of all.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeAlias
from uuid import UUID

import msgspec

from ...domain.lock_group import Claim, LockGroup
from ...domain.lock_waits import LockWait
from .views import written

PlanOf: TypeAlias = Callable[[UUID], str | None]
"""The name of the plan that an instance is a run of; ``None`` if there is no such instance."""


class ClaimView(msgspec.Struct, frozen=True, kw_only=True):
    """A job that holds a lock or waits for it."""

    instance_id: str
    plan: str | None
    job: str
    context: str | None
    """``null`` for a job that is one in all its contexts."""
    lock: str
    count: int
    """How much of the lock it takes."""
    since: str
    """Since when it holds the lock, or waits for it."""


class WaitView(msgspec.Struct, frozen=True, kw_only=True):
    """The lock that a job waits for, and why it waits."""

    name: str
    waiting_since: str
    held_by: tuple[ClaimView, ...]
    """Those that leave no room for it, or shut it out because a lock is exclusive; the first of them."""
    held_by_count: int
    ahead: int
    """How many asked earlier and are served first: for the same lock, or for any if that one is exclusive."""
    first_ahead: ClaimView | None
    exclusive_ahead: ClaimView | None
    """The first that asked earlier for another lock, an exclusive one, and still waits."""


class LockView(msgspec.Struct, frozen=True, kw_only=True):
    """A lock of an environment group."""

    environment_group: str | None
    name: str
    count: int
    exclusive: bool
    held: int
    """How much of it is taken; more than its count if one job takes more, or if the count was lowered."""
    holders: tuple[ClaimView, ...]
    """Those that asked first."""
    holders_count: int
    waiting: tuple[ClaimView, ...]
    """Those that are served first, in order."""
    waiting_count: int


def lock_views(state: LockGroup, plan_of: PlanOf, *, limit: int) -> Iterator[LockView]:
    """The locks of a group by name, with up to ``limit`` of their holders and of those that wait."""

    def claims(tickets: Iterable[int]) -> tuple[ClaimView, ...]:
        return tuple(claim_view(state.claims[ticket], plan_of) for ticket in islice(tickets, limit))

    for name, lock in sorted(state.locks.items()):
        yield LockView(
            environment_group=state.environment_group,
            name=name,
            count=lock.count,
            exclusive=lock.exclusive,
            held=lock.held,
            holders=claims(lock.holders),
            holders_count=len(lock.holders),
            waiting=claims(lock.waiting),
            waiting_count=len(lock.waiting),
        )


def wait_view(wait: LockWait, plan_of: PlanOf, *, limit: int) -> WaitView:
    """Why a job waits for its lock, with up to ``limit`` of those that hold what it needs."""
    return WaitView(
        name=wait.claim.lock,
        waiting_since=written(wait.claim.requested_at),
        held_by=tuple(claim_view(claim, plan_of) for claim in wait.held_by[:limit]),
        held_by_count=len(wait.held_by),
        ahead=wait.ahead,
        first_ahead=None if wait.first_ahead is None else claim_view(wait.first_ahead, plan_of),
        exclusive_ahead=None if wait.exclusive_ahead is None else claim_view(wait.exclusive_ahead, plan_of),
    )


def wait_seen_by(view: WaitView, sees_plan: Callable[[str], bool]) -> WaitView:
    """The same for somebody who may not see every plan: jobs of others are counted and not named."""

    def seen(claim: ClaimView | None) -> ClaimView | None:
        return claim if claim is not None and claim.plan is not None and sees_plan(claim.plan) else None

    return msgspec.structs.replace(
        view,
        held_by=tuple(claim for claim in view.held_by if seen(claim) is not None),
        first_ahead=seen(view.first_ahead),
        exclusive_ahead=seen(view.exclusive_ahead),
    )


def claim_view(claim: Claim, plan_of: PlanOf) -> ClaimView:
    """A claim as clients see it."""
    return ClaimView(
        instance_id=str(claim.instance_id),
        plan=plan_of(claim.instance_id),
        job=claim.job,
        context=claim.context,
        lock=claim.lock,
        count=claim.count,
        since=written(claim.requested_at if claim.granted_at is None else claim.granted_at),
    )
