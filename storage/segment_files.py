"""The bytes of the segment log: names, headers, frames, acknowledgements, and what damage to them means.

A segment ``<first position>.segment`` is a header (magic, format version, first position, CRC32C) and then
frames, each with one record::

    length and flags   u32   the flags are the two highest bits
    CRC32C             u32   of the position and the payload, begun from the length and flags
    position           u64
    payload            msgpack

All numbers are little-endian. ``BEGINS_WRITE`` marks the first frame of each write: it was written only after
everything before it had been synced. That tells a torn tail from corruption: damage followed by an intact
frame with this flag has hit what was once durable; damage followed by none lies in the last write, which
nobody may have been told of. ``CONTINUES`` marks a frame whose append goes on in the next frame.

The acknowledgements of a segment stand in ``<first position>.acks``: positions of eight bytes, each with a
CRC32C; the highest bit marks the first of each write, with the same meaning.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
import msgpack  # type: ignore[import-untyped]  # it comes without type information

from .durable_files import Files
from .segment_errors import LogCorrupted, RecordTooLarge

FORMAT_VERSION = 1
SEGMENT_SUFFIX = ".segment"
ACKNOWLEDGEMENTS_SUFFIX = ".acks"
CHECKPOINT_NAME = "checkpoint"
LOCK_NAME = "lock"

BEGINS_WRITE = 1 << 31
CONTINUES = 1 << 30
_LENGTH_BITS = CONTINUES - 1
MAX_PAYLOAD_BYTES = 64 << 20

_HEADER = struct.Struct("<8sIQI")
_HEADER_MAGIC = b"JLSEGMNT"
HEADER_BYTES = _HEADER.size
_FRAME = struct.Struct("<IIQ")
_FRAME_START = struct.Struct("<II")
_POSITION = struct.Struct("<Q")
FRAME_BYTES = _FRAME.size
SMALLEST_FRAME_BYTES = FRAME_BYTES + 1
_POSITION_OFFSET = _FRAME_START.size
_ACKNOWLEDGEMENT = struct.Struct("<QI")
ACKNOWLEDGEMENT_BYTES = _ACKNOWLEDGEMENT.size
_ACKNOWLEDGEMENT_BEGINS_WRITE = 1 << 63
_CHECKPOINT = struct.Struct("<8sII")
_CHECKPOINT_MAGIC = b"JLCHECKP"
_CHUNK_BYTES = 1 << 20


class Frame(NamedTuple):
    """One intact frame: where it stands in its file, and what it holds."""

    offset: int
    end: int
    position: int
    flags: int
    payload: bytes


class FrameDamaged(Exception):
    """The bytes at ``offset`` are not the frame of ``position``."""

    def __init__(self, offset: int, position: int, reason: str, *, misplaced: bool = False) -> None:
        super().__init__(offset, position, reason)
        self.offset = offset
        self.position = position
        self.reason = reason
        self.misplaced = misplaced
        """The frame is intact but another one: no interrupted write leaves that behind."""


@dataclass(frozen=True, slots=True)
class TornTail:
    """What an interrupted write left at the end of a file, and recovery cut off."""

    file: Path
    offset: int
    bytes_cut: int
    reason: str


def segment_name(first: int) -> str:
    return f"{first:020d}{SEGMENT_SUFFIX}"


def acknowledgements_name(first: int) -> str:
    return f"{first:020d}{ACKNOWLEDGEMENTS_SUFFIX}"


def first_positions(names: Iterable[str], suffix: str) -> list[int]:
    """The first positions of the files with this suffix, in order; other names are not ours."""
    stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
    return sorted(int(stem) for stem in stems if re.fullmatch("[0-9]{20}", stem))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", google_crc32c.value(data))


# --- header -------------------------------------------------------------------------------------------------


def encode_header(first: int) -> bytes:
    fields = _HEADER.pack(_HEADER_MAGIC, FORMAT_VERSION, first, 0)[:-4]
    return fields + _checksum(fields)


def check_header(file: Path, data: bytes, first: int) -> None:
    """``LogCorrupted`` unless these are the first bytes of the segment that begins at ``first``."""
    if len(data) < HEADER_BYTES:
        raise LogCorrupted(file, 0, f"the header has {len(data)} bytes of {HEADER_BYTES}")
    magic, version, stated, checksum = _HEADER.unpack_from(data)
    if magic != _HEADER_MAGIC:
        raise LogCorrupted(file, 0, "this is not a segment: the first eight bytes are not its magic number")
    if checksum != google_crc32c.value(data[: HEADER_BYTES - 4]):
        raise LogCorrupted(file, 0, "the header's checksum does not match")
    if version != FORMAT_VERSION:
        raise LogCorrupted(file, 0, f"format version {version} is not known, only {FORMAT_VERSION}")
    if stated != first:
        raise LogCorrupted(file, 0, f"the header says it begins at position {stated}, the name says {first}")


# --- frames -------------------------------------------------------------------------------------------------


def encode_payload(payload: object) -> bytes:
    """As msgpack; ``RecordTooLarge``, or what msgpack raises for a value that it does not know."""
    data = bytes(msgpack.packb(payload))
    if len(data) > MAX_PAYLOAD_BYTES:
        raise RecordTooLarge(f"a record of {len(data)} bytes; at most {MAX_PAYLOAD_BYTES} are possible")
    return data


def decode_payload(data: bytes) -> Any:
    """The value; tuples have become lists."""
    return msgpack.unpackb(data, strict_map_key=False)


def encode_frame(position: int, payload: bytes, flags: int) -> bytes:
    start = len(payload) | flags
    rest = _POSITION.pack(position) + payload
    return _FRAME_START.pack(start, google_crc32c.extend(start, rest)) + rest


def encode_write(first: int, appends: Sequence[Sequence[bytes]]) -> list[bytes]:
    """The frames of one write: of each append its payloads, in order, from position ``first`` on."""
    frames = []
    position = first
    for payloads in appends:
        remaining = len(payloads)
        for payload in payloads:
            remaining -= 1
            flags = (CONTINUES if remaining else 0) | (BEGINS_WRITE if position == first else 0)
            frames.append(encode_frame(position, payload, flags))
            position += 1
    return frames


def read_frames(files: Files, descriptor: int, start: int, end: int, position: int) -> Iterator[Frame]:
    """The frames from byte ``start`` to byte ``end``, the first with this position, each checked.

    Raises ``FrameDamaged`` at the first that is not whole and the one expected.
    """
    data = b""
    base = start  # where ``data`` begins in the file
    at = 0
    while base + at < end:
        wanted = FRAME_BYTES
        if len(data) - at >= FRAME_BYTES:
            length, checksum, stated = _FRAME.unpack_from(data, at)
            size = length & _LENGTH_BITS
            wanted += size
            if not size or size > MAX_PAYLOAD_BYTES:
                raise FrameDamaged(base + at, position, f"a payload of {size} bytes cannot be")
        if base + at + wanted > end:
            raise FrameDamaged(base + at, position, f"{end - base - at} bytes of at least {wanted}")
        if len(data) - at < wanted:
            kept, base, at = data[at:], base + at, 0
            missing = end - base - len(kept)
            data = kept + files.read(descriptor, base + len(kept), min(missing, max(_CHUNK_BYTES, wanted)))
            if len(data) < wanted:
                raise FrameDamaged(base, position, f"the file ends after {len(data)} bytes of {wanted}")
            continue
        body = data[at + _POSITION_OFFSET : at + wanted]
        if google_crc32c.extend(length, body) != checksum:
            raise FrameDamaged(base + at, position, "the checksum does not match")
        if stated != position:
            raise FrameDamaged(
                base + at,
                position,
                f"an intact record {stated} stands where {position} should",
                misplaced=True,
            )
        yield Frame(base + at, base + at + wanted, position, length & ~_LENGTH_BITS, body[_POSITION.size :])
        at += wanted
        position += 1


def find_frame(data: bytes, start: int, lowest: int, required_flag: int = 0) -> Frame | None:
    """The first intact frame at or after ``start`` at any byte, with a position that can be there.

    ``lowest`` is the lowest position that may follow. Used where the chain of lengths is broken.
    """
    highest = lowest + (len(data) - start) // SMALLEST_FRAME_BYTES + 1
    upper_halves = {_POSITION.pack(edge)[4:] for edge in (lowest, highest)}
    pattern = b"(?s)(?=.{12}(?:" + b"|".join(re.escape(half) for half in upper_halves) + b"))"
    for match in re.compile(pattern).finditer(data, start):
        at = match.start()
        length, checksum, position = _FRAME.unpack_from(data, at)
        end = at + FRAME_BYTES + (length & _LENGTH_BITS)
        fits = end <= len(data) and SMALLEST_FRAME_BYTES <= end - at <= FRAME_BYTES + MAX_PAYLOAD_BYTES
        if not fits or not lowest <= position <= highest or length & required_flag != required_flag:
            continue
        body = data[at + _POSITION_OFFSET : end]
        if google_crc32c.extend(length, body) == checksum:
            return Frame(at, end, position, length & ~_LENGTH_BITS, body[_POSITION.size :])
    return None


def was_durable(data: bytes, damage: int, position: int) -> bool:
    """Whether the damaged frame of ``position`` at offset ``damage`` had once been synced.

    It had if any later write left an intact beginning. Otherwise it belongs to the last write.
    """
    return find_frame(data, damage + 1, position, BEGINS_WRITE) is not None


# --- acknowledgements ---------------------------------------------------------------------------------------


def encode_acknowledgements(positions: Sequence[int]) -> bytes:
    """Those of one write."""
    parts = []
    flag = _ACKNOWLEDGEMENT_BEGINS_WRITE
    for position in positions:
        stated = _POSITION.pack(position | flag)
        parts.append(stated + _checksum(stated))
        flag = 0
    return b"".join(parts)


def decode_acknowledgements(file: Path, data: bytes) -> tuple[list[int], TornTail | None]:
    """The positions, and what an interrupted write left behind them; ``LogCorrupted`` for other damage."""
    positions: list[int] = []
    whole = 0
    for offset, position, begins_write in intact_acknowledgements(data):
        if offset == whole:
            positions.append(position)
            whole += ACKNOWLEDGEMENT_BYTES
        elif begins_write:
            raise LogCorrupted(file, whole, "an acknowledgement's checksum does not match")
    if whole == len(data):
        return positions, None
    return positions, TornTail(file, whole, len(data) - whole, "the last acknowledgements are incomplete")


def intact_acknowledgements(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """Offset, position and whether it begins a write, of each that is intact."""
    whole = len(data) - len(data) % ACKNOWLEDGEMENT_BYTES
    for number, (stated, checksum) in enumerate(_ACKNOWLEDGEMENT.iter_unpack(data[:whole])):
        if google_crc32c.value(_POSITION.pack(stated)) == checksum:
            begins_write = bool(stated & _ACKNOWLEDGEMENT_BEGINS_WRITE)
            yield number * ACKNOWLEDGEMENT_BYTES, stated & ~_ACKNOWLEDGEMENT_BEGINS_WRITE, begins_write


# --- checkpoint ---------------------------------------------------------------------------------------------

PositionRange = tuple[int, int]
"""First and last position, both included."""


def merge_ranges(ranges: Iterable[PositionRange]) -> list[PositionRange]:
    """The same positions in as few ranges as possible, in order."""
    merged: list[PositionRange] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def encode_checkpoint(ranges: Sequence[PositionRange]) -> bytes:
    """Of the positions whose segments are no longer needed: written before their files are deleted."""
    body = msgpack.packb([list(one) for one in ranges])
    return _CHECKPOINT.pack(_CHECKPOINT_MAGIC, FORMAT_VERSION, google_crc32c.value(body)) + bytes(body)


def decode_checkpoint(file: Path, data: bytes) -> list[PositionRange]:
    """``LogCorrupted`` when it is not as it was written."""
    if len(data) < _CHECKPOINT.size:
        raise LogCorrupted(file, 0, f"{len(data)} bytes cannot be a checkpoint")
    magic, version, checksum = _CHECKPOINT.unpack_from(data)
    body = data[_CHECKPOINT.size :]
    if magic != _CHECKPOINT_MAGIC or version != FORMAT_VERSION or checksum != google_crc32c.value(body):
        raise LogCorrupted(file, 0, "the checkpoint's magic number, version or checksum does not match")
    return [(first, last) for first, last in msgpack.unpackb(body)]
