"""What a log directory holds when it is opened, after whatever happened to the process before."""

from dataclasses import dataclass
from pathlib import Path

from .durable_files import UNFINISHED_SUFFIX, Files
from .segment import Segment, delete_if_there
from .segment_errors import LogCorrupted
from .segment_files import (
    ACKNOWLEDGEMENTS_SUFFIX,
    CHECKPOINT_NAME,
    SEGMENT_SUFFIX,
    PositionRange,
    TornTail,
    acknowledgements_name,
    decode_checkpoint,
    first_positions,
    segment_name,
)


@dataclass(frozen=True, slots=True)
class Recovered:
    """The segments in order, the last of them the one to append to; ranges deleted before; tails cut off."""

    segments: list[Segment]
    deleted: list[PositionRange]
    torn_tails: list[TornTail]


def recover(files: Files, directory: Path) -> Recovered:
    """Finish what was begun, cut torn tails, and check that nothing is missing or damaged.

    The caller holds the directory's lock. Raises ``LogCorrupted`` and ``OSError``.
    """
    names = files.list_directory(directory)
    for name in names:
        if name.endswith(UNFINISHED_SUFFIX):
            files.unlink(directory / name)
    # A segment or checkpoint renamed by the process before counts only once its name is durable.
    files.fsync_directory(directory)
    deleted = read_checkpoint(files, directory / CHECKPOINT_NAME) if CHECKPOINT_NAME in names else []
    firsts = _finish_deletions(files, directory, names, deleted)
    if not firsts:
        if deleted:
            raise LogCorrupted(
                directory, 0, f"there is no segment, though records up to {deleted[-1][1]} were written"
            )
        return Recovered([Segment.create(files, directory, 1)], deleted, [])
    segments: list[Segment] = []
    torn_tails: list[TornTail] = []
    expected = 1
    for first in firsts:
        expected = _behind_deleted(expected, deleted)
        if first != expected:
            raise LogCorrupted(directory / segment_name(first), 0, _out_of_sequence(first, expected))
        segment, torn = Segment.recover(
            files,
            directory,
            first,
            newest=first == firsts[-1],
            has_acknowledgements=acknowledgements_name(first) in names,
        )
        segments.append(segment)
        torn_tails += torn
        expected = segment.last + 1
    for segment in segments[:-1]:
        segment.seal()
    return Recovered(segments, deleted, torn_tails)


def read_checkpoint(files: Files, path: Path) -> list[PositionRange]:
    """The ranges whose segments are no longer needed; ``LogCorrupted`` when it is not as it was written."""
    descriptor = files.open(path)
    try:
        return decode_checkpoint(path, files.read(descriptor, 0, files.size(descriptor)))
    finally:
        files.close(descriptor)


def _finish_deletions(
    files: Files, directory: Path, names: list[str], deleted: list[PositionRange]
) -> list[int]:
    """The first positions of the segments that remain."""
    kept = []
    segments = set(first_positions(names, SEGMENT_SUFFIX))
    for first in sorted(segments.union(first_positions(names, ACKNOWLEDGEMENTS_SUFFIX))):
        if any(start <= first <= end for start, end in deleted):
            delete_if_there(files, directory / segment_name(first))
            delete_if_there(files, directory / acknowledgements_name(first))
        elif first in segments:
            kept.append(first)
        else:
            raise LogCorrupted(
                directory / segment_name(first), 0, "the segment is missing; its acknowledgements exist"
            )
    return kept


def _behind_deleted(position: int, deleted: list[PositionRange]) -> int:
    for first, last in deleted:
        if first <= position <= last:
            return last + 1
    return position


def _out_of_sequence(first: int, expected: int) -> str:
    if first > expected:
        return f"the records {expected} to {first - 1} before it are missing"
    return f"it begins at {first}, but the segment before it goes up to {expected - 1}"
