"""Initiations in: on disk before they are answered, each taken once."""

import hashlib
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future

import msgspec

from ...domain.instants import Instant
from ...domain.messages import Initiation
from ...storage.segment_errors import LogPositionUnknown
from ...storage.segment_log import Record, SegmentLog

_CHUNK = 4096
_BURST_MS = 60_000
"""By so much initiations of one job may come faster than their times do; by more, the clock was set back."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """An initiation that this agent has promised to carry out."""

    position: int
    """In the inbound log."""
    accepted_at: Instant
    initiation: Initiation
    """With the template that it runs from, whatever is provisioned later."""
    reports_after: int
    """The last position of the outbound log then: all reports about it stand behind."""


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    accepted_at: Instant
    initiation: Initiation
    reports_after: int = 0


class Intake:
    """The inbound log, and what is known of initiations that came before. Safe to use from any thread.

    An initiation is recognised for as long as its segment of the log is retained.
    """

    def __init__(self, log: SegmentLog, on_accepted: Callable[[Sequence[Accepted]], None]) -> None:
        """``on_accepted`` is told of initiations once they are on disk, each once; it must be quick."""
        self._log = log
        self._on_accepted = on_accepted
        self._lock = threading.Lock()
        self._index = _PositionIndex(self._is_retained)
        self._coming: dict[str, Future[None]] = {}
        self._times: dict[tuple[str, str, str], Instant] = {}
        """The latest of each job, as far as another could have the same."""
        for record in log.scan():
            self._index.add(record.payload["initiation"]["id"], record.position)

    def accept(self, initiations: Sequence[Initiation], at: Instant, *, reports_after: int) -> None:
        """Make durable those that were not known, in one append.

        When this returns, all of them are on disk, also those that another thread was just taking.

        Raises ``LogUnavailable`` when the disk did not take some of them; giving all again is harmless.
        """
        taken: Future[None] = Future()
        fresh: dict[str, Initiation] = {}
        awaited = []
        with self._lock:
            for each in initiations:
                if each.id in fresh or self._find_position(each.id) is not None:
                    continue
                if each.id in self._coming:
                    awaited.append(self._coming[each.id])
                    continue
                fresh[each.id] = each
                self._coming[each.id] = taken
            self._times = {job: time for job, time in self._times.items() if 0 <= time - at < _BURST_MS}
            times = [self._own_time(each, at) for each in fresh.values()]
        if fresh:
            stored = [
                _Stored(accepted_at=when, initiation=each, reports_after=reports_after)
                for each, when in zip(fresh.values(), times, strict=True)
            ]
            self._append(stored, taken)
        for other in awaited:
            other.result()

    def _own_time(self, initiation: Initiation, at: Instant) -> Instant:
        """The files of a run are named by job and time: two of one job never have the same."""
        job = (initiation.instance_id, initiation.plan, initiation.job)
        self._times[job] = max(at, self._times.get(job, at - 1) + 1)
        return self._times[job]

    def _append(self, stored: list[_Stored], taken: Future[None]) -> None:
        try:
            positions = self._log.append_many([msgspec.to_builtins(each) for each in stored])
        except BaseException as error:
            self._settle(stored, ())
            taken.set_exception(error)
            taken.exception()
            raise
        self._settle(stored, positions)
        self._on_accepted(
            [_accepted(position, each) for each, position in zip(stored, positions, strict=True)]
        )
        taken.set_result(None)

    def _settle(self, stored: list[_Stored], positions: Sequence[int]) -> None:
        with self._lock:
            for each in stored:
                del self._coming[each.initiation.id]
            for each, position in zip(stored, positions, strict=False):
                self._index.add(each.initiation.id, position)

    def find(self, initiation_id: str) -> Accepted | None:
        """One that is retained, whether or not it is finished; raises ``LogCorrupted``, ``OSError``."""
        with self._lock:
            position = self._find_position(initiation_id)
        if position is None:
            return None
        try:
            return _accepted(position, _stored(self._log.read(position)))
        except LogPositionUnknown:
            return None

    def pending(self) -> list[Accepted]:
        """Those whose end is not yet reported, in the order in which they came."""
        return [_accepted(record.position, _stored(record)) for record in self._log.pending()]

    def finished(self, positions: Iterable[int]) -> None:
        """The end of these is durably reported; raises ``LogUnavailable``."""
        self._log.acknowledge(positions)

    @property
    def size(self) -> int:
        """How many are not yet finished."""
        return self._log.size

    def _find_position(self, initiation_id: str) -> int | None:
        for position in self._index.candidates(initiation_id):
            try:
                if _stored(self._log.read(position)).initiation.id == initiation_id:
                    return position
            except LogPositionUnknown:
                continue
        return None

    def _is_retained(self, position: int) -> bool:
        try:
            self._log.read(position)
        except LogPositionUnknown:
            return False
        return True


class _PositionIndex:
    """Where each initiation stands: sixteen bytes for each, forgotten with the log's segments."""

    def __init__(self, is_retained: Callable[[int], bool]) -> None:
        self._is_retained = is_retained
        self._recent: dict[int, int] = {}
        self._chunks: list[tuple[array[int], array[int]]] = []

    def add(self, initiation_id: str, position: int) -> None:
        self._recent[_digest(initiation_id)] = position
        if len(self._recent) >= _CHUNK:
            pairs = sorted(self._recent.items())
            self._recent = {}
            self._chunks = [each for each in self._chunks if self._is_retained(max(each[1]))]
            self._chunks.append((array("Q", (key for key, _ in pairs)), array("Q", (at for _, at in pairs))))

    def candidates(self, initiation_id: str) -> list[int]:
        """Positions to look at; the digest may in theory be another's."""
        key = _digest(initiation_id)
        found = [self._recent[key]] if key in self._recent else []
        for keys, positions in self._chunks:
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                found.append(positions[at])
        return found


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _stored(record: Record) -> _Stored:
    return msgspec.convert(record.payload, _Stored)


def _accepted(position: int, stored: _Stored) -> Accepted:
    return Accepted(
        position=position,
        accepted_at=stored.accepted_at,
        initiation=stored.initiation,
        reports_after=stored.reports_after,
    )
