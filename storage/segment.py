"""One segment of the log as it is known in memory: where its records stand and which are acknowledged."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .durable_files import Files, GrowingFile, write_durably
from .segment_errors import LogCorrupted
from .segment_files import (
    CONTINUES,
    HEADER_BYTES,
    Frame,
    FrameDamaged,
    TornTail,
    acknowledgements_name,
    check_header,
    decode_acknowledgements,
    encode_acknowledgements,
    encode_header,
    read_frames,
    segment_name,
    was_durable,
)

_INDEX_STRIDE = 64
"""Every how many records the offset is kept; the ones between are found by reading on from there."""


class Segment:
    """Records ``first`` to ``last`` in one file, and their acknowledgements in another.

    Memory: one byte per record until all are acknowledged, and eight per ``_INDEX_STRIDE``. Not synchronised:
    the log sees to it that one thread at a time changes it, and readers read only up to what they saw.
    """

    def __init__(self, files: Files, directory: Path, first: int) -> None:
        self.first = first
        self.count = 0
        self.size = HEADER_BYTES
        """Bytes on disk that are counted."""
        self.pending = 0
        self.sealed = False
        self.path = directory / segment_name(first)
        self.acknowledgements_path = directory / acknowledgements_name(first)
        self._files = files
        self._offsets = array("Q")
        self._acknowledged = bytearray()
        self._data = GrowingFile(files, self.path, HEADER_BYTES, self._verify_data)
        self._acknowledgements: GrowingFile | None = None

    @classmethod
    def create(cls, files: Files, directory: Path, first: int) -> "Segment":
        """A new one, empty and durable; ``OSError`` when that could not be done."""
        segment = cls(files, directory, first)
        write_durably(segment.path, encode_header(first), files)
        return segment

    @classmethod
    def recover(
        cls, files: Files, directory: Path, first: int, *, newest: bool, has_acknowledgements: bool
    ) -> tuple["Segment", list[TornTail]]:
        """One that is on disk, with the torn tails cut off.

        Only the newest segment can have a torn tail of records: the others were synced before the next began.
        Raises ``LogCorrupted`` for anything else that is not as it was written, and ``OSError``.
        """
        segment = cls(files, directory, first)
        torn = segment._read_data(newest)
        if has_acknowledgements:
            torn += segment._read_acknowledgements()
        for tail in torn:
            segment._cut(tail)
        return segment, torn

    @property
    def last(self) -> int:
        """The position of the last record; ``first - 1`` when there is none."""
        return self.first + self.count - 1

    @property
    def consumed(self) -> bool:
        """No record will be added, and all are acknowledged."""
        return self.sealed and not self.pending

    def is_pending(self, position: int) -> bool:
        return self.pending > 0 and not self._acknowledged[position - self.first]

    # --- writing --------------------------------------------------------------------------------------------

    def is_full(self, more_bytes: int, most_bytes: int) -> bool:
        """Whether ``more_bytes`` would make it longer than ``most_bytes``; an empty one takes any."""
        return self.count > 0 and self.size + more_bytes > most_bytes

    def write(self, frames: Sequence[bytes]) -> None:
        """Make them durable; they count once ``admit`` was told of them. ``OSError``: none of them is."""
        self._data.append(b"".join(frames))

    def settle(self) -> None:
        """Take back what a failed write left; ``OSError`` while that cannot be done."""
        self._data.settle()

    def admit(self, frames: Sequence[bytes]) -> None:
        """They are durable: count them."""
        for frame in frames:
            self._admit_one(self.size)
            self.size += len(frame)

    def _admit_one(self, offset: int) -> None:
        if self.count % _INDEX_STRIDE == 0:
            self._offsets.append(offset)
        self.count += 1
        self.pending += 1
        self._acknowledged.append(0)

    def write_acknowledgements(self, positions: Sequence[int]) -> None:
        """Make them durable; they count only once ``mark_acknowledged`` was told of them."""
        file = self._acknowledgements
        if file is None:
            self._files.close(self._files.create(self.acknowledgements_path))
            self._files.fsync_directory(self.acknowledgements_path.parent)
            file = GrowingFile(self._files, self.acknowledgements_path, 0, self._verify_acknowledgements)
            self._acknowledgements = file
        file.append(encode_acknowledgements(positions))

    def mark_acknowledged(self, positions: Sequence[int]) -> None:
        """They are durable: count them. None of them may have been acknowledged before."""
        for position in positions:
            self._acknowledged[position - self.first] = 1
        self.pending -= len(positions)
        self._forget_if_consumed()

    def seal(self) -> None:
        """No record will be added; acknowledgements may still come."""
        self.sealed = True
        self._forget_if_consumed()

    def _forget_if_consumed(self) -> None:
        if self.consumed:
            self._acknowledged = bytearray()

    def close_data(self) -> None:
        """Give the descriptor of the records back; the next write opens it again."""
        self._data.close()

    def close_acknowledgements(self) -> None:
        """Give the descriptor of the acknowledgements back; the next write opens it again."""
        if self._acknowledgements is not None:
            self._acknowledgements.close()

    def delete(self) -> None:
        """Delete the files; it may have been done in part before."""
        self.close_data()
        self.close_acknowledgements()
        for path in (self.path, self.acknowledgements_path):
            delete_if_there(self._files, path)

    # --- reading --------------------------------------------------------------------------------------------

    def pending_positions(self, after: int, last: int) -> Iterator[int]:
        """Those not acknowledged, behind ``after`` and up to ``last``, in order; looked up one by one."""
        at = self._acknowledged.find(0, max(after + 1 - self.first, 0))
        while 0 <= at <= last - self.first:
            yield self.first + at
            at = self._acknowledged.find(0, at + 1)

    def frames(self, after: int, end: int) -> Iterator[Frame]:
        """Those behind position ``after``, up to byte ``end`` (a ``size`` seen before)."""
        if not self._offsets or end <= HEADER_BYTES:
            return
        block = max(after + 1 - self.first, 0) // _INDEX_STRIDE
        if block >= len(self._offsets):
            return
        with self._reading() as descriptor:
            for frame in self._checked_frames(descriptor, block, end):
                if frame.position > after:
                    yield frame

    def frames_at(self, positions: Iterable[int], end: int) -> Iterator[Frame]:
        """Those of these positions, which are in order and here, up to byte ``end``."""
        wanted = iter(positions)
        position = next(wanted, None)
        with self._reading() as descriptor:
            while position is not None:
                block = (position - self.first) // _INDEX_STRIDE
                edge = self._offsets[block + 1] if block + 1 < len(self._offsets) else end
                for frame in self._checked_frames(descriptor, block, min(edge, end)):
                    if frame.position == position:
                        yield frame
                        position = next(wanted, None)
                        if position is None or (position - self.first) // _INDEX_STRIDE != block:
                            break
                else:
                    raise LogCorrupted(self.path, end, f"record {position} is not there any more")

    def _checked_frames(self, descriptor: int, block: int, end: int) -> Iterator[Frame]:
        start = self.first + block * _INDEX_STRIDE
        try:
            yield from read_frames(self._files, descriptor, self._offsets[block], end, start)
        except FrameDamaged as damage:
            raise LogCorrupted(self.path, damage.offset, damage.reason) from damage

    @contextmanager
    def _reading(self) -> Iterator[int]:
        descriptor = self._files.open(self.path)
        try:
            yield descriptor
        finally:
            self._files.close(descriptor)

    # --- recovery -------------------------------------------------------------------------------------------

    def _read_data(self, newest: bool) -> list[TornTail]:
        with self._reading() as descriptor:
            if newest:
                # The process before may have written without syncing, or have been told that a sync failed:
                # what counts is what the disk gives back.
                self._files.fdatasync(descriptor)
                self._files.forget_cached(descriptor)
            size = self._files.size(descriptor)
            check_header(self.path, self._files.read(descriptor, 0, HEADER_BYTES), self.first)
            whole, reason = self._index_frames(descriptor, size, newest)
            self.size = self._data.size = whole
            if whole == size:
                return []
            if not newest:
                raise LogCorrupted(self.path, whole, reason)
            return [TornTail(self.path, whole, size - whole, reason)]

    def _index_frames(self, descriptor: int, size: int, newest: bool) -> tuple[int, str]:
        """Count the whole appends; where they end, and why what stands behind, if anything, is not one."""
        unfinished: list[int] = []
        whole = HEADER_BYTES
        reason = "the last append is incomplete"
        try:
            for frame in read_frames(self._files, descriptor, HEADER_BYTES, size, self.first):
                unfinished.append(frame.offset)
                if not frame.flags & CONTINUES:
                    for offset in unfinished:
                        self._admit_one(offset)
                    unfinished.clear()
                    whole = frame.end
        except FrameDamaged as damage:
            rest = self._files.read(descriptor, damage.offset, size - damage.offset)
            if not newest or damage.misplaced or was_durable(rest, 0, damage.position):
                raise LogCorrupted(self.path, damage.offset, damage.reason) from damage
            reason = damage.reason
        return whole, reason

    def _read_acknowledgements(self) -> list[TornTail]:
        path = self.acknowledgements_path
        descriptor = self._files.open(path)
        try:
            self._files.fdatasync(descriptor)
            data = self._files.read(descriptor, 0, self._files.size(descriptor))
            positions, torn = decode_acknowledgements(path, data)
        finally:
            self._files.close(descriptor)
        for position in positions:
            if not self.first <= position <= self.last:
                reason = f"record {position} is not there, and {path.name} says that it was acknowledged"
                raise LogCorrupted(self.path, self.size, reason)
        self.mark_acknowledged(list(dict.fromkeys(positions)))
        size = len(data) - (torn.bytes_cut if torn else 0)
        self._acknowledgements = GrowingFile(self._files, path, size, self._verify_acknowledgements)
        return [torn] if torn else []

    def _cut(self, tail: TornTail) -> None:
        descriptor = self._files.open(tail.file)
        try:
            self._files.truncate(descriptor, tail.offset)
            self._files.fdatasync(descriptor)
        finally:
            self._files.close(descriptor)

    def _verify_data(self, descriptor: int, size: int) -> None:
        try:
            frames = read_frames(self._files, descriptor, HEADER_BYTES, size, self.first)
            count = sum(1 for _ in frames)
        except FrameDamaged as damage:
            raise LogCorrupted(self.path, damage.offset, damage.reason) from damage
        if count != self.count:
            raise LogCorrupted(self.path, size, f"{count} records of {self.count} can be read again")

    def _verify_acknowledgements(self, descriptor: int, size: int) -> None:
        data = self._files.read(descriptor, 0, size)
        _, torn = decode_acknowledgements(self.acknowledgements_path, data)
        if torn is not None or len(data) != size:
            raise LogCorrupted(
                self.acknowledgements_path,
                torn.offset if torn else len(data),
                "cannot be read again as written",
            )


def delete_if_there(files: Files, path: Path) -> None:
    """Delete a file; that it is gone already is as good."""
    try:
        files.unlink(path)
    except FileNotFoundError:
        return
