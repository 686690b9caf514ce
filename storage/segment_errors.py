"""What the segment log refuses, cannot do now, or finds broken."""

from pathlib import Path


class SegmentLogError(Exception):
    """Anything the segment log refuses or cannot do."""


class LogCorrupted(SegmentLogError):
    """Bytes that were once durable are damaged or missing; ``jobledger log repair`` saves what is left.

    ``file`` and ``offset`` (bytes) say where, ``reason`` in words what.
    """

    def __init__(self, file: Path, offset: int, reason: str) -> None:
        super().__init__(file, offset, reason)
        self.file = file
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file} is corrupted at byte {self.offset}: {self.reason}"


class LogInUse(SegmentLogError):
    """Another process, or another part of this one, has the log open."""


class LogClosed(SegmentLogError):
    """The log was closed, or a thread was interrupted in the middle of a write; open it anew."""


class LogUnavailable(SegmentLogError):
    """The disk did not take it. Nothing of it was kept; it may work later."""


class LogFull(LogUnavailable):
    """There is no space, or a quota or size limit is reached. Nothing of it was kept; it may work later."""


class LogPositionUnknown(SegmentLogError, KeyError):
    """No record is at this position: it is not given out yet, or its segment was consumed and deleted."""

    __str__ = Exception.__str__


class RecordTooLarge(SegmentLogError, ValueError):
    """The payload has more bytes than a record can carry (``MAX_PAYLOAD_BYTES``)."""
