"""The job locks of every environment group: one writer of a group's log at a time in this process.

Whoever decides about locks holds the group until what was decided is stored, together with the facts of the
instance or plan that it follows from. Another process that writes the same log is refused by the version
check of the log, and what was read before is forgotten.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import msgspec

from ...domain.commands import GrantLock
from ...domain.facts import LockDefined, Recorded
from ...domain.lock_group import Claim, LockGroup, evolve_locks, group_key, lock_stream
from ...domain.lock_snapshots import freeze_locks, thaw_locks
from ...storage.ledger import Ledger
from ...storage.records import Append, Inbound, Snapshot

GRANTED = "granted"
"""The kind of inbox entry that tells an instance that one of its jobs has its lock."""
SNAPSHOT_AFTER = 200
"""Facts between the first snapshots; later ones wait for a quarter of the log to be new."""
_SNAPSHOT_SHARE = 4
_SCHEMA = 1


class HeldLocks:
    """The locks of a group while one turn decides about them: what stood before, and what was decided."""

    def __init__(self, stream: UUID, stored: LockGroup | None, snapshot_position: int) -> None:
        self.state = stored
        """After all that was decided in this turn; ``None`` while the group has no locks."""
        self.facts: list[Recorded] = []
        self.snapshot_position = snapshot_position
        self.saved = False
        self._stream = stream
        self._position = 0 if stored is None else stored.position
        self._granted: list[Claim] = []

    def take(self, state: LockGroup | None, facts: tuple[Recorded, ...], granted: tuple[Claim, ...]) -> None:
        """Something more was decided; ``granted`` are the jobs of other instances that now have a lock."""
        self.state = state
        self.facts += facts
        self._granted += granted

    def appends(self) -> tuple[Append, ...]:
        """What is to be stored in the group's log."""
        if not self.facts:
            return ()
        return (Append(stream=self._stream, expected=self._position, facts=tuple(self.facts)),)

    def inbound(self) -> tuple[Inbound, ...]:
        """What is to be told to the instances whose jobs have a lock now."""
        return tuple(_grant(claim) for claim in self._granted)

    def snapshots(self) -> tuple[Snapshot, ...]:
        """A snapshot of the state, if one is due."""
        state = self.state
        if state is None or not self.facts:
            return ()
        due_after = max(SNAPSHOT_AFTER, state.position // _SNAPSHOT_SHARE)
        if state.position - self.snapshot_position < due_after:
            return ()
        self.snapshot_position = state.position
        return (
            Snapshot(stream=self._stream, position=state.position, schema=_SCHEMA, state=freeze_locks(state)),
        )


class _Group:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loaded = False
        self.state: LockGroup | None = None
        self.snapshot_position = 0


class LockGroups:
    """The locks of all environment groups, as far as they were asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._groups: dict[UUID, _Group] = {}

    @contextmanager
    def held(self, environment_group: str | None) -> Iterator[HeldLocks]:
        """The locks of a group, for this thread alone; set ``saved`` once what was decided is stored.

        What was decided and not stored is forgotten, and so is what was read before: the storing may have
        failed because somebody else has written.
        """
        with self._held(lock_stream(environment_group)) as held:
            yield held

    @contextmanager
    def _held(self, stream: UUID) -> Iterator[HeldLocks]:
        group = self._group(stream)
        with group.lock:
            if not group.loaded:
                self._load(stream, group)
            held = HeldLocks(stream, group.state, group.snapshot_position)
            group.loaded = False
            yield held
            if held.saved or not held.facts:
                group.state, group.snapshot_position = held.state, held.snapshot_position
                group.loaded = True

    def read(self, environment_group: str | None) -> LockGroup | None:
        """The locks of a group as they are stored; ``None`` for a group without any."""
        return self._read(lock_stream(environment_group))

    def all(self) -> list[LockGroup]:
        """The locks of every group that has any, those of no environment group first, then by name."""
        streams = self._ledger.streams_begun_by(LockDefined)
        found = [state for stream in streams if (state := self._read(stream)) is not None]
        return sorted(found, key=lambda state: group_key(state.environment_group) or "")

    def _read(self, stream: UUID) -> LockGroup | None:
        with self._held(stream) as held:
            return held.state

    def _group(self, stream: UUID) -> _Group:
        with self._lock:
            return self._groups.setdefault(stream, _Group())

    def _load(self, stream: UUID, group: _Group) -> None:
        snapshot = self._ledger.snapshot(stream)
        state = None if snapshot is None or snapshot.schema != _SCHEMA else thaw_locks(snapshot.state)
        group.snapshot_position = 0 if state is None else state.position
        for recorded in self._ledger.facts(stream, after=group.snapshot_position):
            state = evolve_locks(state, recorded)
        group.state = state


def _grant(claim: Claim) -> Inbound:
    grant = GrantLock(ticket=claim.ticket, job=claim.job, context=claim.context)
    return Inbound(
        stream=claim.instance_id, kind=GRANTED, payload=msgspec.msgpack.encode(grant), source=claim.lock
    )
