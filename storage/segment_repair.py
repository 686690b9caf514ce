"""Reading a segment log that is not open, damaged or not, and saving what of a damaged one can be read.

``describe`` shows a log, or one segment of it, without locking it. ``repair`` copies each readable record to
a new log, under its old position, and lists what is not readable. Neither changes what it reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .durable_files import OS_FILES, UNFINISHED_SUFFIX, Files, write_durably
from .segment_errors import LogCorrupted, LogInUse
from .segment_files import (
    ACKNOWLEDGEMENT_BYTES,
    BEGINS_WRITE,
    CHECKPOINT_NAME,
    CONTINUES,
    HEADER_BYTES,
    LOCK_NAME,
    SEGMENT_SUFFIX,
    SMALLEST_FRAME_BYTES,
    Frame,
    FrameDamaged,
    PositionRange,
    acknowledgements_name,
    check_header,
    decode_checkpoint,
    decode_payload,
    encode_acknowledgements,
    encode_checkpoint,
    encode_frame,
    encode_header,
    find_frame,
    first_positions,
    intact_acknowledgements,
    merge_ranges,
    read_frames,
    segment_name,
    was_durable,
)


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment begins."""

    file: Path
    first_position: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """A readable record."""

    file: Path
    offset: int
    position: int
    acknowledged: bool
    payload: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Bytes that do not hold what was written, or files that are missing."""

    file: Path
    offset: int
    length_bytes: int
    reason: str
    positions: PositionRange | None = None
    """The records that are lost, first and last; at the end of a log at most these. ``None``: none is."""
    torn: bool = False
    """Left by an interrupted write, of which nobody was told: recovery cuts it off."""


Entry = SegmentEntry | RecordEntry | Unreadable


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What ``repair`` saved and what it could not."""

    segments: int
    records: int
    pending: int
    unreadable: tuple[Unreadable, ...]


def describe(path: Path, files: Files = OS_FILES) -> Iterator[Entry]:
    """What stands in a segment file, or in all segments of a directory, in order.

    The log may be open elsewhere: its end may then show as torn, since it is being written. Raises
    ``ValueError`` for a file that is not named as a segment, and ``OSError``.
    """
    if path.suffix == SEGMENT_SUFFIX:
        directory, names = path.parent, [path.name]
    elif path.is_dir():
        directory, names = path, files.list_directory(path)
    else:
        raise ValueError(f"{path} is neither a directory nor a file named *{SEGMENT_SUFFIX}")
    newest = max(first_positions(files.list_directory(directory), SEGMENT_SUFFIX), default=0)
    for first in first_positions(names, SEGMENT_SUFFIX):
        yield from _describe_segment(files, directory, first, newest=first == newest)


def _describe_segment(files: Files, directory: Path, first: int, *, newest: bool) -> Iterator[Entry]:
    file = directory / segment_name(first)
    acknowledged, damage = _read_acknowledgements(files, directory, first)
    descriptor = files.open(file)
    try:
        data = files.read(descriptor, 0, files.size(descriptor))
        yield SegmentEntry(file, first, len(data))
        for item in _read_what_is_readable(files, descriptor, file, data, first, newest=newest):
            if isinstance(item, Unreadable):
                yield item
            else:
                known = item.position in acknowledged
                yield RecordEntry(file, item.offset, item.position, known, decode_payload(item.payload))
    finally:
        files.close(descriptor)
    yield from damage


def repair(source: Path, target: Path, files: Files = OS_FILES) -> RepairReport:
    """Copy what is readable of the log in ``source`` to a new log in ``target``; both keep the positions.

    What was appended together stays together only where all of it is readable. Records whose acknowledgement
    is unreadable are pending again. The positions that are lost are never given out again.

    Raises ``LogInUse`` while the log is open, ``FileExistsError`` when ``target`` is there, ``OSError``.
    """
    files.make_directory(target.parent)
    if target.name in files.list_directory(target.parent):
        raise FileExistsError(f"{target} is there already; a repaired log goes to a new directory")
    try:
        lock = files.lock(source / LOCK_NAME)
    except BlockingIOError as error:
        raise LogInUse(f"{source} is open; stop the agent first") from error
    try:
        unfinished = target.with_name(target.name + UNFINISHED_SUFFIX)
        files.make_directory(unfinished)
        for name in files.list_directory(unfinished):
            files.unlink(unfinished / name)
        report = _Repair(files, source, unfinished).run()
        files.rename(unfinished, target)
        files.fsync_directory(target.parent)
    finally:
        files.close(lock)
    return report


@dataclass
class _Repair:
    files: Files
    source: Path
    target: Path
    expected: int = 1
    """The position that the next record should have."""
    gaps: list[PositionRange] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    segments: int = 0
    records: int = 0
    pending: int = 0

    def run(self) -> RepairReport:
        names = self.files.list_directory(self.source)
        self._read_checkpoint(names)
        deleted = list(self.gaps)
        self.firsts = [
            first
            for first in first_positions(names, SEGMENT_SUFFIX)
            if not any(start <= first <= end for start, end in deleted)
        ]
        for first in self.firsts:
            self._copy_segment(first, newest=first == self.firsts[-1])
        self._skip_deleted()
        if not self.segments or any(end + 1 == self.expected for _, end in self.gaps):
            self._write_segment(self.expected, [], set())
        gaps = merge_ranges(self.gaps)
        if gaps:
            write_durably(self.target / CHECKPOINT_NAME, encode_checkpoint(gaps), self.files)
        return RepairReport(self.segments, self.records, self.pending, tuple(self.unreadable))

    def _read_checkpoint(self, names: list[str]) -> None:
        if CHECKPOINT_NAME not in names:
            return
        path = self.source / CHECKPOINT_NAME
        data = _read_file(self.files, path)
        try:
            self.gaps = decode_checkpoint(path, data)
        except LogCorrupted as damage:
            reason = f"{damage.reason}: which missing segments were consumed is not known"
            self.unreadable.append(Unreadable(path, 0, len(data), reason))

    def _skip_deleted(self) -> None:
        for start, end in sorted(self.gaps):
            if start <= self.expected <= end:
                self.expected = end + 1

    def _copy_segment(self, first: int, *, newest: bool) -> None:
        file = self.source / segment_name(first)
        self._skip_deleted()
        if first > self.expected:
            self._lose(Unreadable(file, 0, 0, "the segment before it is missing", (self.expected, first - 1)))
        acknowledged, damage = _read_acknowledgements(self.files, self.source, first)
        self.unreadable += damage
        run: list[Frame] = []
        descriptor = self.files.open(file)
        try:
            data = self.files.read(descriptor, 0, self.files.size(descriptor))
            for item in _read_what_is_readable(
                self.files, descriptor, file, data, self.expected, newest=newest
            ):
                if isinstance(item, Frame):
                    run.append(item)
                    continue
                self._end_run(run, acknowledged)
                self._lose(item)
        finally:
            self.files.close(descriptor)
        self._end_run(run, acknowledged)

    def _lose(self, what: Unreadable) -> None:
        self.unreadable.append(what)
        if what.positions is None:
            return
        lost, last = what.positions
        known = [start for start in (*self.firsts, *(start for start, _ in self.gaps)) if start > lost]
        last = min([last, *(start - 1 for start in known)])
        self.unreadable[-1] = replace(what, positions=(lost, last))
        self.gaps.append((lost, last))
        self.expected = last + 1

    def _end_run(self, run: list[Frame], acknowledged: set[int]) -> None:
        if run:
            self._write_segment(run[0].position, run, acknowledged)
            self.expected = run[-1].position + 1
            run.clear()

    def _write_segment(self, first: int, run: list[Frame], acknowledged: set[int]) -> None:
        frames = []
        for one in run:
            continues = one.flags & CONTINUES if one is not run[-1] else 0
            frames.append(encode_frame(one.position, one.payload, BEGINS_WRITE | continues))
        write_durably(self.target / segment_name(first), encode_header(first) + b"".join(frames), self.files)
        done = [one.position for one in run if one.position in acknowledged]
        if done:
            acknowledgements = encode_acknowledgements(done)
            write_durably(self.target / acknowledgements_name(first), acknowledgements, self.files)
        self.segments += 1
        self.records += len(run)
        self.pending += len(run) - len(done)


def _read_what_is_readable(
    files: Files, descriptor: int, file: Path, data: bytes, expected: int, *, newest: bool
) -> Iterator[Frame | Unreadable]:
    """The records of a segment from position ``expected`` on, and between them what is unreadable."""
    at: int | None = HEADER_BYTES
    try:
        check_header(file, data, int(file.stem))
    except LogCorrupted as damage:
        what, at, expected = _skip(file, data, 0, expected, damage.reason)
        yield what
    unfinished: list[Frame] = []
    while at is not None:
        start, reason, torn = len(data), "the last append is incomplete", newest
        try:
            for frame in read_frames(files, descriptor, at, len(data), expected):
                expected = frame.position + 1
                unfinished.append(frame)
                if not frame.flags & CONTINUES:
                    yield from unfinished
                    unfinished.clear()
        except FrameDamaged as damage:
            start, reason = damage.offset, damage.reason
            torn = newest and not damage.misplaced and not was_durable(data, start, expected)
        if torn and unfinished:
            start = unfinished[0].offset
        elif not torn:
            yield from unfinished
        unfinished.clear()
        if start == len(data):
            return
        if torn:
            yield Unreadable(file, start, len(data) - start, reason, torn=True)
            return
        what, at, expected = _skip(file, data, start, expected, reason)
        yield what


def _skip(
    file: Path, data: bytes, start: int, expected: int, reason: str
) -> tuple[Unreadable, int | None, int]:
    """What is unreadable from ``start`` on; where the next record stands, if any, and its position."""
    found = find_frame(data, start, expected)
    if found is None:
        rest = len(data) - start
        lost = (expected, expected + rest // SMALLEST_FRAME_BYTES)
        return Unreadable(file, start, rest, reason, lost), None, expected
    positions = (expected, found.position - 1) if found.position > expected else None
    return Unreadable(file, start, found.offset - start, reason, positions), found.offset, found.position


def _read_acknowledgements(files: Files, directory: Path, first: int) -> tuple[set[int], list[Unreadable]]:
    path = directory / acknowledgements_name(first)
    if path.name not in files.list_directory(directory):
        return set(), []
    data = _read_file(files, path)
    positions = set()
    whole = 0
    for offset, position, _ in intact_acknowledgements(data):
        positions.add(position)
        if offset == whole:
            whole += ACKNOWLEDGEMENT_BYTES
    if whole == len(data):
        return positions, []
    reason = "some acknowledgements from here on are unreadable: their records are pending again"
    return positions, [Unreadable(path, whole, len(data) - whole, reason)]


def _read_file(files: Files, path: Path) -> bytes:
    descriptor = files.open(path)
    try:
        return files.read(descriptor, 0, files.size(descriptor))
    finally:
        files.close(descriptor)
