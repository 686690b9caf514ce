"""Why a job waits for its lock: who holds what it needs, and who comes before it."""

import msgspec

from .lock_group import Claim, LockGroup, LockState


class LockWait(msgspec.Struct, frozen=True, kw_only=True):
    """All that keeps one claim waiting; it is granted as soon as none of it is left."""

    claim: Claim
    held_by: tuple[Claim, ...] = ()
    """Those that leave no room for it, or shut it out because their lock or its own is exclusive."""
    ahead: int = 0
    """How many asked earlier and still wait: for the same lock, or for any if that one is exclusive."""
    first_ahead: Claim | None = None
    """The first of these."""
    exclusive_ahead: Claim | None = None
    """The first that asked earlier for another lock, an exclusive one, and still waits."""


class LockWaits:
    """The waits at one position of the log of a group's locks; for reading, not for deciding."""

    def __init__(self, state: LockGroup) -> None:
        self._state = state
        self._all = list(state.locks.values())
        self._exclusive = [lock for lock in self._all if lock.exclusive]
        self._holders: dict[str, tuple[Claim, ...]] = {}

    def of(self, ticket: int) -> LockWait | None:
        """Why the claim of that ticket waits; ``None`` if it does not."""
        claim = self._state.claims.get(ticket)
        if claim is None or claim.holds:
            return None
        lock = self._state.locks[claim.lock]
        queues = self._all if lock.exclusive else [lock]
        others = [each for each in self._exclusive if each is not lock]
        return LockWait(
            claim=claim,
            held_by=self._held_by(lock, claim),
            ahead=sum(each.waiting.number_below(ticket) for each in queues),
            first_ahead=self._first_before(claim, queues),
            exclusive_ahead=self._first_before(claim, others),
        )

    def _held_by(self, lock: LockState, claim: Claim) -> tuple[Claim, ...]:
        if lock.exclusive:
            return self._holders_of("every lock", self._all)
        if lock.has_room_for(claim.count):
            return self._holders_of("exclusive locks", self._exclusive)
        return self._holders_of(f"lock {lock.name}", [lock, *self._exclusive])

    def _holders_of(self, which: str, locks: list[LockState]) -> tuple[Claim, ...]:
        """Those that hold any of the locks, in the order of their tickets; looked up once for all claims."""
        found = self._holders.get(which)
        if found is None:
            tickets = sorted(ticket for lock in locks for ticket in lock.holders)
            found = self._holders[which] = tuple(self._state.claims[ticket] for ticket in tickets)
        return found

    def _first_before(self, claim: Claim, queues: list[LockState]) -> Claim | None:
        """The first that waits for any of these locks, if it asked before the claim did."""
        firsts = [first for lock in queues if (first := lock.waiting.first()) is not None]
        ticket = min(firsts, default=claim.ticket)
        return self._state.claims[ticket] if ticket < claim.ticket else None
