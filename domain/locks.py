"""What may be asked of the locks of an environment group, and the facts that follow.

Each decision is made on the state after the one before it, so one turn of a plan instance can chain several
and append all their facts with its own. A decision ends only when nothing that could be granted waits.
"""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from .facts import (
    Cause,
    LockDefined,
    LockFact,
    LockGranted,
    LockReleased,
    LockRequested,
    LockReset,
    LockWithdrawn,
    Recorded,
)
from .instants import Instant
from .lock_group import Claim, LockGroup, evolve_locks, lock_stream
from .plan import JobIdentifier, Lock


class LockStep(msgspec.Struct, frozen=True):
    """What a decision led to: facts in order, the state after them, and who got a lock by it, in order."""

    facts: tuple[Recorded, ...]
    state: LockGroup
    granted: tuple[Claim, ...] = ()


def define(
    state: LockGroup | None,
    environment_group: str | None,
    locks: Iterable[Lock],
    *,
    at: Instant,
    cause: Cause,
) -> LockStep | None:
    """The locks of a plan that is pushed, each as it says from now on.

    Locks that are so already give no facts; ``None`` if the group has no locks and is given none. Who holds a
    lock keeps it, even if it counts less now.
    """
    decision = _Decision(lock_stream(environment_group), state, at, cause)
    for lock in locks:
        known = None if state is None else state.locks.get(lock.name)
        if known is None or (known.count, known.exclusive) != (lock.count, lock.exclusive):
            state = decision.record(
                LockDefined(
                    name=lock.name,
                    count=lock.count,
                    exclusive=lock.exclusive,
                    environment_group=environment_group,
                )
            )
    return None if state is None else decision.step(state)


def request(
    state: LockGroup,
    *,
    lock: str,
    instance_id: UUID,
    job: JobIdentifier,
    context: str | None = None,
    count: int = 1,
    at: Instant,
    cause: Cause,
) -> LockStep:
    """A job asks for a lock with the ticket ``state.next_ticket``; it is among the granted, or it waits.

    Raises ``ValueError`` if the lock was never defined or nothing of it is asked for: a push that was
    validated sees to both.
    """
    if lock not in state.locks:
        raise ValueError(f"{job} asks for lock {lock!r}, which no plan of its environment group has")
    if count < 1:
        raise ValueError(f"{job} asks for {count} of lock {lock!r}")
    decision = _Decision(state.stream, state, at, cause)
    state = decision.record(
        LockRequested(
            ticket=state.next_ticket,
            lock=lock,
            instance_id=instance_id,
            job=job,
            context=context,
            count=count,
        )
    )
    return decision.step(state)


def let_go(state: LockGroup, tickets: Iterable[int], *, at: Instant, cause: Cause) -> LockStep:
    """Those who asked with these tickets hold no lock and wait for none any more.

    What they held or waited for is granted to others only when all have let go. Whoever lets go need not know
    whether the ticket was granted meanwhile. One that is unknown, or was let go before, gives no fact.
    """
    decision = _Decision(state.stream, state, at, cause)
    for ticket in tickets:
        claim = state.claims.get(ticket)
        if claim is not None:
            fact = LockReleased(ticket=ticket) if claim.holds else LockWithdrawn(ticket=ticket)
            state = decision.record(fact)
    return decision.step(state)


def let_go_all_of(state: LockGroup, instance_id: UUID, *, at: Instant, cause: Cause) -> LockStep:
    """An instance ends: all that its jobs hold or wait for is let go, as by ``let_go``."""
    return let_go(state, state.by_instance.get(instance_id, ()), at=at, cause=cause)


def reset(state: LockGroup, lock: str, *, at: Instant, cause: Cause) -> LockStep:
    """An operator takes a lock from all that hold it, although they may still run.

    Those that wait keep their places, and the first of them get it. A lock that nobody holds, or that is
    unknown, gives no fact.
    """
    decision = _Decision(state.stream, state, at, cause)
    found = state.locks.get(lock)
    if found is not None and found.holders:
        state = decision.record(LockReset(lock=lock, dropped=tuple(found.holders)))
    return decision.step(state)


class _Decision:
    """Facts as they are decided, each applied at once, because the next may depend on it."""

    def __init__(self, stream: UUID, state: LockGroup | None, at: Instant, cause: Cause) -> None:
        self._stream = stream
        self._state = state
        self._at = at
        self._cause = cause
        self._facts: list[Recorded] = []

    def record(self, fact: LockFact) -> LockGroup:
        """The state after one more fact."""
        recorded = Recorded(
            originator_id=self._stream,
            originator_version=1 if self._state is None else self._state.position + 1,
            at=self._at,
            cause=self._cause,
            fact=fact,
        )
        self._facts.append(recorded)
        self._state = evolve_locks(self._state, recorded)
        return self._state

    def step(self, state: LockGroup) -> LockStep:
        """The end of the decision: all that fits now is granted, in the order of the tickets."""
        granted: list[Claim] = []
        while (claim := state.next_grant()) is not None:
            state = self.record(LockGranted(ticket=claim.ticket))
            granted.append(state.claims[claim.ticket])
        return LockStep(tuple(self._facts), state, tuple(granted))
