"""The job locks of one environment group, and ``evolve_locks``: what each recorded fact makes of them.

All locks of a group are one aggregate, because an exclusive one shuts out all others. Who asks for a lock
gets a *ticket*, a number that only grows within the group: it orders those that wait, on one lock and across
all of them. The state is a value that shares structure with the one before it.
"""

from collections.abc import Iterable
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from immutables import Map
from msgspec.structs import replace

from .facts import (
    LockDefined,
    LockGranted,
    LockReleased,
    LockRequested,
    LockReset,
    LockWithdrawn,
    Recorded,
)
from .instants import Instant
from .plan import JobIdentifier
from .ticket_set import EMPTY, TicketSet

_LOCKS = uuid5(NAMESPACE_URL, "urn:jobledger:locks")


def group_key(environment_group: str | None) -> str | None:
    """What the names of one environment group have in common; ``None``: the group of those without one."""
    return environment_group.casefold() if environment_group else None


def lock_stream(environment_group: str | None) -> UUID:
    """The stream in which the facts of that environment group's locks are recorded."""
    return uuid5(_LOCKS, group_key(environment_group) or "")


class Claim(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One execution of a job that holds a lock or waits for it."""

    ticket: int
    lock: str
    instance_id: UUID
    job: JobIdentifier
    context: str | None = None
    """The standing that is meant, for a job whose standings are jobs of their own; else ``None``: all."""
    count: int = 1
    """How much of the lock it takes."""
    requested_at: Instant
    granted_at: Instant | None = None
    """Since when it holds the lock; ``None``: it waits."""

    @property
    def holds(self) -> bool:
        """Whether it holds the lock; else it waits."""
        return self.granted_at is not None


class LockState(msgspec.Struct, frozen=True, kw_only=True):
    """A lock, who holds it and who waits for it."""

    name: str
    count: int
    exclusive: bool
    held: int = 0
    """The sum of what its holders take."""
    holders: TicketSet = EMPTY
    waiting: TicketSet = EMPTY
    candidate: int | None = None
    """The first that waits, if nothing but other locks keeps it waiting; derived."""

    @property
    def held_exclusively(self) -> bool:
        """Whether it shuts out all other locks of its group now."""
        return self.exclusive and bool(self.holders)

    def has_room_for(self, count: int) -> bool:
        """Whether so much more of it may be taken; without a holder, any count may."""
        return not self.holders or self.held + count <= self.count


class LockGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is true of the locks of an environment group at one position of their log."""

    stream: UUID
    environment_group: str | None
    """As it was written when a lock of it was first defined."""
    position: int
    updated_at: Instant
    next_ticket: int = 1
    locks: Map[str, LockState] = Map()
    claims: Map[int, Claim] = Map()
    """By ticket: those that hold and those that wait."""
    by_instance: Map[UUID, TicketSet] = Map()
    """The tickets of each instance that has any; derived."""
    held: int = 0
    """How many locks have a holder; derived."""
    exclusively_held: int = 0
    """How many of these are exclusive; derived."""
    candidates: TicketSet = EMPTY
    """Those of all locks. The least of them is granted next, or nothing is; derived."""

    def next_grant(self) -> Claim | None:
        """The claim that is to be granted now, if any is.

        The least candidate decides for all. While an exclusive lock is held, nothing is granted. While none
        is, the first that waits for one is a candidate: it stops all later ones until nobody holds any lock.
        """
        ticket = self.candidates.first()
        if ticket is None:
            return None
        claim = self.claims[ticket]
        in_the_way = self.held if self.locks[claim.lock].exclusive else self.exclusively_held
        return None if in_the_way else claim


def evolve_locks(state: LockGroup | None, recorded: Recorded) -> LockGroup:
    """The state of a group's locks after one more fact; the first always defines a lock.

    A fact out of its place, or of a ticket that it cannot be of, is a fault of the log: ``ValueError``.
    """
    fact = recorded.fact
    if recorded.position != (0 if state is None else state.position) + 1:
        raise ValueError(f"locks {recorded.originator_id}: fact {recorded.position} is out of its place")
    if state is None:
        if not isinstance(fact, LockDefined):
            raise ValueError(f"the log of a group's locks begins with LockDefined, not {type(fact).__name__}")
        state = LockGroup(
            stream=recorded.originator_id,
            environment_group=fact.environment_group,
            position=0,
            updated_at=recorded.at,
        )
    match fact:
        case LockDefined():
            lock = state.locks.get(fact.name) or LockState(name=fact.name, count=0, exclusive=False)
            state = with_lock(state, replace(lock, count=fact.count, exclusive=fact.exclusive))
        case LockRequested():
            state = _requested(state, fact, recorded.at)
        case LockGranted(ticket=ticket):
            state = _granted(state, _claim(state, ticket, holds=False), recorded.at)
        case LockWithdrawn(ticket=ticket):
            state = _without(state, _claim(state, ticket, holds=False))
        case LockReleased(ticket=ticket):
            state = _without(state, _claim(state, ticket, holds=True))
        case LockReset(dropped=dropped):
            for ticket in dropped:
                state = _without(state, _claim(state, ticket, holds=True))
        case _:
            raise ValueError(f"{type(fact).__name__} is no fact of locks")
    return replace(state, position=recorded.position, updated_at=recorded.at)


def replay_locks(facts: Iterable[Recorded]) -> LockGroup | None:
    """The state that a log, from its first fact, amounts to; ``None`` of an empty one."""
    state: LockGroup | None = None
    for recorded in facts:
        state = evolve_locks(state, recorded)
    return state


def with_claim(state: LockGroup, claim: Claim) -> LockGroup:
    """The state with one more claim, that holds or waits as it says."""
    lock = _lock(state, claim.lock)
    tickets = state.by_instance.get(claim.instance_id, EMPTY).adding(claim.ticket)
    state = replace(
        state,
        claims=state.claims.set(claim.ticket, claim),
        by_instance=state.by_instance.set(claim.instance_id, tickets),
        next_ticket=max(state.next_ticket, claim.ticket + 1),
    )
    return with_lock(state, _taken(lock, claim) if claim.holds else _queued(lock, claim))


def _requested(state: LockGroup, fact: LockRequested, at: Instant) -> LockGroup:
    if fact.ticket < state.next_ticket:
        raise ValueError(f"locks {state.stream}: ticket {fact.ticket} is given out a second time")
    claim = Claim(
        ticket=fact.ticket,
        lock=fact.lock,
        instance_id=fact.instance_id,
        job=fact.job,
        context=fact.context,
        count=fact.count,
        requested_at=at,
    )
    return with_claim(state, claim)


def _granted(state: LockGroup, claim: Claim, at: Instant) -> LockGroup:
    lock = state.locks[claim.lock]
    lock = _taken(replace(lock, waiting=lock.waiting.removing(claim.ticket)), claim)
    claims = state.claims.set(claim.ticket, replace(claim, granted_at=at))
    return with_lock(replace(state, claims=claims), lock)


def _without(state: LockGroup, claim: Claim) -> LockGroup:
    lock = state.locks[claim.lock]
    if not claim.holds:
        lock = replace(lock, waiting=lock.waiting.removing(claim.ticket))
    else:
        lock = replace(lock, holders=lock.holders.removing(claim.ticket), held=lock.held - claim.count)
    tickets = state.by_instance[claim.instance_id].removing(claim.ticket)
    by_instance = (
        state.by_instance.set(claim.instance_id, tickets)
        if tickets
        else state.by_instance.delete(claim.instance_id)
    )
    claims = state.claims.delete(claim.ticket)
    return with_lock(replace(state, claims=claims, by_instance=by_instance), lock)


def _taken(lock: LockState, claim: Claim) -> LockState:
    return replace(lock, holders=lock.holders.adding(claim.ticket), held=lock.held + claim.count)


def _queued(lock: LockState, claim: Claim) -> LockState:
    return replace(lock, waiting=lock.waiting.adding(claim.ticket))


def with_lock(state: LockGroup, lock: LockState) -> LockGroup:
    """The state with one lock changed, and with what follows from it brought up to date."""
    before = state.locks.get(lock.name, lock)
    lock = replace(lock, candidate=_candidate(lock, state.claims))
    candidates = state.candidates
    if before.candidate != lock.candidate:
        candidates = candidates if before.candidate is None else candidates.removing(before.candidate)
        candidates = candidates if lock.candidate is None else candidates.adding(lock.candidate)
    return replace(
        state,
        locks=state.locks.set(lock.name, lock),
        candidates=candidates,
        held=state.held + bool(lock.holders) - bool(before.holders),
        exclusively_held=state.exclusively_held + lock.held_exclusively - before.held_exclusively,
    )


def _candidate(lock: LockState, claims: Map[int, Claim]) -> int | None:
    ticket = lock.waiting.first()
    if ticket is None or lock.has_room_for(claims[ticket].count):
        return ticket
    return None


def _lock(state: LockGroup, name: str) -> LockState:
    lock = state.locks.get(name)
    if lock is None:
        raise ValueError(f"locks {state.stream}: lock {name!r} was never defined")
    return lock


def _claim(state: LockGroup, ticket: int, *, holds: bool) -> Claim:
    claim = state.claims.get(ticket)
    if claim is None or claim.holds is not holds:
        raise ValueError(f"locks {state.stream}: ticket {ticket} does not {'hold' if holds else 'wait'}")
    return claim
