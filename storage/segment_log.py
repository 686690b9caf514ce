"""The agent's segment log: records that are durable when they are appended, and which are consumed.

A log is a directory. Its records count from 1 and stand in segments, files of about 64 MiB. Whoever has dealt
with a record acknowledges its position, in any order; a segment all of whose records are acknowledged is
deleted, except for the newest few, which are kept to recognise what is delivered again.

How the bytes look, and how a torn tail is told from corruption, is said in ``segment_files``.
"""

import bisect
import errno
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import structlog

from .durable_files import OS_FILES, Files, write_durably
from .segment import Segment
from .segment_errors import (
    LogClosed,
    LogCorrupted,
    LogFull,
    LogInUse,
    LogPositionUnknown,
    LogUnavailable,
    RecordTooLarge,
    SegmentLogError,
)
from .segment_files import (
    CHECKPOINT_NAME,
    FRAME_BYTES,
    LOCK_NAME,
    Frame,
    TornTail,
    decode_payload,
    encode_checkpoint,
    encode_payload,
    encode_write,
    merge_ranges,
)
from .segment_flush import FlusherClosed, FlushInterrupted, SharedFlush
from .segment_recovery import Recovered, recover

__all__ = [
    "LogClosed",
    "LogCorrupted",
    "LogFull",
    "LogInUse",
    "LogPositionUnknown",
    "LogUnavailable",
    "Record",
    "RecordTooLarge",
    "RecoveryReport",
    "SegmentLog",
    "SegmentLogError",
    "TornTail",
]

ItemT = TypeVar("ItemT")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOST_BYTES_PER_WRITE = 8 << 20
_MOST_ACKNOWLEDGEMENTS_PER_WRITE = 100_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """What was appended, at the position it was given. Tuples come back as lists, as msgpack has it."""

    position: int
    payload: Any


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What was found when the log was opened."""

    segments: int
    records: int
    """Those retained, acknowledged or not."""
    pending: int
    torn_tails: tuple[TornTail, ...]
    """Cut off; already written to the log of the process as warnings."""


class SegmentLog:
    """An open log. All methods may be called from any thread; appenders share one write and one sync."""

    def __init__(
        self,
        directory: Path,
        *,
        files: Files,
        lock: int,
        recovered: Recovered,
        segment_bytes: int,
        retain_segments: int,
    ) -> None:
        """Use ``open``."""
        self.directory = directory
        self._files = files
        self._lock = lock
        self._segments = recovered.segments
        self._deleted = recovered.deleted
        self._to_delete: list[Segment] = []
        self._segment_bytes = segment_bytes
        self._retain_segments = retain_segments
        self._rotation_begun = False
        self._closed = False
        self._mutex = threading.Lock()
        """Guards the segments' counts and the list of them; never held while the disk is waited for."""
        self._housekeeping = threading.Lock()
        most_bytes = min(segment_bytes, _MOST_BYTES_PER_WRITE)
        self._appends = SharedFlush[_Append](self._write, lambda one: one.weight, most_bytes)
        self._acknowledgements = SharedFlush[list[int]](
            self._write_acknowledgements, len, _MOST_ACKNOWLEDGEMENTS_PER_WRITE
        )

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        segment_bytes: int = 64 << 20,
        retain_segments: int = 2,
        files: Files = OS_FILES,
    ) -> tuple["SegmentLog", RecoveryReport]:
        """Open the log in ``directory``, or begin one there; cut off what an interrupted write left.

        ``segment_bytes``: a write that would make a segment longer goes to a new one. ``retain_segments``:
        how many fully acknowledged segments are kept.

        Raises ``LogInUse``, ``LogCorrupted`` (no record was changed then) and ``OSError``.
        """
        files.make_directory(directory)
        try:
            lock = files.lock(directory / LOCK_NAME)
        except BlockingIOError as error:
            raise LogInUse(f"{directory} is open elsewhere") from error
        try:
            recovered = recover(files, directory)
        except BaseException:
            files.close(lock)
            raise
        log = cls(
            directory,
            files=files,
            lock=lock,
            recovered=recovered,
            segment_bytes=segment_bytes,
            retain_segments=retain_segments,
        )
        for tail in recovered.torn_tails:
            _log.warning(
                "segment_log.torn_tail_cut",
                file=str(tail.file),
                offset=tail.offset,
                bytes_cut=tail.bytes_cut,
                reason=tail.reason,
            )
        records = sum(segment.count for segment in recovered.segments)
        report = RecoveryReport(len(recovered.segments), records, log.size, tuple(recovered.torn_tails))
        log._drop_consumed()
        return log, report

    def close(self) -> None:
        """Finish what was begun, take nothing more, let others open the log. Closing again does nothing."""
        self._appends.close()
        self._acknowledgements.close()
        with self._mutex:
            if self._closed:
                return
            self._closed = True
        with ExitStack() as closing:  # all of them, and the lock, even if one cannot be closed
            closing.callback(self._files.close, self._lock)
            for segment in self._segments:
                closing.callback(segment.close_data)
                closing.callback(segment.close_acknowledgements)

    def __enter__(self) -> "SegmentLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- writing --------------------------------------------------------------------------------------------

    def append(self, payload: object) -> int:
        """Add a record and return its position; it is on disk then.

        Raises ``LogFull`` or ``LogUnavailable`` when the disk did not take it (it may work later),
        ``LogCorrupted`` when after such a failure the segment could not be read back, ``LogClosed``,
        ``RecordTooLarge``, and for what msgpack cannot carry ``TypeError``, ``ValueError`` or
        ``OverflowError``.
        In each case no record was added.
        """
        return self.append_many([payload])[0]

    def append_many(self, payloads: Sequence[object]) -> list[int]:
        """Add several records at consecutive positions, all or none of them, not even after a crash.

        Raises as ``append``.
        """
        append = _Append([encode_payload(payload) for payload in payloads])
        if append.payloads:
            self._submit(self._appends, append)
        return list(range(append.first, append.first + len(append.payloads)))

    def acknowledge(self, positions: Iterable[int]) -> None:
        """Say that these records were dealt with, in any order, any number of times; it is on disk then.

        Raises ``LogPositionUnknown`` for a position not yet given out, before anything is written; otherwise
        as ``append``, and then some of them may be acknowledged: saying it again is harmless.
        """
        wanted = list(positions)
        with self._mutex:
            last = self._segments[-1].last
        for position in wanted:
            if not 1 <= position <= last:
                raise LogPositionUnknown(f"position {position} was not given out; the last is {last}")
        if wanted:
            self._submit(self._acknowledgements, wanted)

    def _submit(self, flusher: SharedFlush[ItemT], item: ItemT) -> None:
        try:
            flusher.submit(item)
        except FlusherClosed as error:
            raise LogClosed(f"{self.directory} is closed") from error
        except FlushInterrupted as error:
            raise LogClosed(f"a write to {self.directory} was interrupted") from error

    # --- reading --------------------------------------------------------------------------------------------

    def read(self, position: int) -> Record:
        """The record at ``position``, acknowledged or not.

        Raises ``LogPositionUnknown``, ``LogCorrupted``, ``LogClosed``, ``OSError``.
        """
        with self._mutex:
            self._require_open()
            segment = self._segment_of(position)
            if segment is None:
                raise LogPositionUnknown(f"there is no record at position {position}")
            size = segment.size
        try:
            frame = next(segment.frames_at([position], size))
        except FileNotFoundError as error:
            self._require_deleted(segment, error)
            raise LogPositionUnknown(f"there is no record at position {position} any more") from error
        return _unpack(frame)

    def scan(self, after: int = 0) -> Iterator[Record]:
        """Every record retained now behind position ``after``, acknowledged or not, in order.

        Raises ``LogCorrupted``, ``LogClosed``, ``OSError``.
        """
        with self._mutex:
            self._require_open()
            parts = [(one, one.size) for one in self._segments if one.last > after]
        for segment, size in parts:
            try:
                for frame in segment.frames(after, size):
                    yield _unpack(frame)
            except FileNotFoundError as error:
                self._require_deleted(segment, error)

    def pending(self, after: int = 0, limit: int | None = None) -> list[Record]:
        """The records not yet acknowledged behind position ``after``, in order, at most ``limit`` of them.

        Raises ``LogCorrupted``, ``LogClosed``, ``OSError``.
        """
        return list(itertools.islice(self.each_pending(after), limit))

    def each_pending(self, after: int = 0) -> Iterator[Record]:
        """As ``pending``, one by one, so that no more than one of them need be in memory.

        One that is acknowledged while this goes on may still come, one that is appended does not.
        """
        with self._mutex:
            self._require_open()
            parts = [(one, one.last, one.size) for one in self._segments if one.pending and one.last > after]
        for segment, last, size in parts:
            try:
                for frame in segment.frames_at(segment.pending_positions(after, last), size):
                    yield _unpack(frame)
            except FileNotFoundError as error:
                self._require_deleted(segment, error)

    @property
    def last_position(self) -> int:
        """Of the newest record; 0 when there never was one."""
        with self._mutex:
            return self._segments[-1].last

    @property
    def size(self) -> int:
        """How many records are not yet acknowledged."""
        with self._mutex:
            return sum(segment.pending for segment in self._segments)

    def _segment_of(self, position: int) -> Segment | None:
        at = bisect.bisect_right(self._segments, position, key=lambda one: one.first) - 1
        if at < 0 or position > self._segments[at].last:
            return None
        return self._segments[at]

    def _require_open(self) -> None:
        if self._closed:
            raise LogClosed(f"{self.directory} is closed")

    def _require_deleted(self, segment: Segment, error: FileNotFoundError) -> None:
        """A file that is gone was consumed meanwhile, or someone took it away."""
        with self._mutex:
            if segment in self._segments:
                raise LogCorrupted(segment.path, 0, "the file is not there any more") from error

    # --- on behalf of all that wait, one thread at a time ---------------------------------------------------

    def _write(self, appends: Sequence["_Append"]) -> None:
        with _disk_errors(self.directory):
            segment = self._segments[-1]
            segment.settle()
            if self._rotation_begun or segment.is_full(
                sum(one.weight for one in appends), self._segment_bytes
            ):
                segment = self._rotate(segment)
            frames = encode_write(segment.last + 1, [one.payloads for one in appends])
            segment.write(frames)
        with self._mutex:
            position = segment.last + 1
            segment.admit(frames)
        for append in appends:
            append.first = position
            position += len(append.payloads)

    def _rotate(self, full: Segment) -> Segment:
        # From here on the next segment's file may exist: no record of the old one may take its position.
        self._rotation_begun = True
        fresh = Segment.create(self._files, self.directory, full.last + 1)
        with self._mutex:
            full.seal()
            self._segments.append(fresh)
        self._rotation_begun = False
        full.close_data()
        self._drop_consumed()
        return fresh

    def _write_acknowledgements(self, groups: Sequence[list[int]]) -> None:
        by_segment: dict[Segment, list[int]] = {}
        with self._mutex:
            for position in dict.fromkeys(itertools.chain.from_iterable(groups)):
                segment = self._segment_of(position)
                if segment is not None and segment.is_pending(position):
                    by_segment.setdefault(segment, []).append(position)
        for segment, positions in by_segment.items():
            with _disk_errors(self.directory):
                segment.write_acknowledgements(positions)
                if segment.sealed:
                    segment.close_acknowledgements()
            with self._mutex:
                segment.mark_acknowledged(positions)
        if any(segment.consumed for segment in by_segment):
            self._drop_consumed()

    def _drop_consumed(self) -> None:
        """Delete the consumed segments beyond those retained; what cannot be done now is done later."""
        with self._housekeeping:
            try:
                self._forget_consumed()
                while self._to_delete:
                    self._to_delete[-1].delete()
                    self._to_delete.pop()
            except OSError as error:
                _log.warning(
                    "segment_log.consumed_not_deleted", directory=str(self.directory), reason=str(error)
                )

    def _forget_consumed(self) -> None:
        with self._mutex:
            consumed = [segment for segment in self._segments if segment.consumed]
        surplus = consumed[: max(len(consumed) - self._retain_segments, 0)]
        if not surplus:
            return
        deleted = merge_ranges([*self._deleted, *((one.first, one.last) for one in surplus)])
        write_durably(self.directory / CHECKPOINT_NAME, encode_checkpoint(deleted), self._files)
        self._deleted = deleted
        self._to_delete += surplus
        with self._mutex:
            self._segments = [segment for segment in self._segments if segment not in surplus]


class _Append:
    """What one caller adds, and where it came to stand."""

    __slots__ = ("first", "payloads", "weight")

    def __init__(self, payloads: list[bytes]) -> None:
        self.payloads = payloads
        self.weight = sum(len(payload) + FRAME_BYTES for payload in payloads)
        self.first = 0


def _unpack(frame: Frame) -> Record:
    return Record(frame.position, decode_payload(frame.payload))


@contextmanager
def _disk_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "; ".join([f"{directory} could not be written: {error}", *getattr(error, "__notes__", ())])
        raise (LogFull if error.errno in _FULL else LogUnavailable)(reason) from error
