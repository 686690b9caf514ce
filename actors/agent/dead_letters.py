"""Process events that the dashboard refused for good: kept, with its reason, for a person to look at."""

from typing import Any

import msgspec
import structlog

from ...domain.instants import Instant
from ...domain.messages import ProcessEvent
from ...storage.segment_log import SegmentLog

_log = structlog.get_logger(__name__)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A refused event."""

    at: Instant
    status: int
    """The HTTP status of the refusal."""
    reason: str
    event: ProcessEvent


class DeadLetters:
    """The log of refused events. Safe to use from any thread."""

    def __init__(self, log: SegmentLog) -> None:
        self._log = log

    def park(self, letter: DeadLetter) -> None:
        """Keep one; raises ``LogUnavailable``."""
        self._log.append(msgspec.to_builtins(letter))
        _log.error(
            "event refused by the dashboard and parked",
            job=letter.event.job,
            instance=letter.event.instance_id,
            event_id=letter.event.id,
            status=letter.status,
            reason=letter.reason,
        )

    def items(self, limit: int) -> list[tuple[int, DeadLetter]]:
        """The oldest ones with their positions."""
        return [
            (record.position, msgspec.convert(record.payload, DeadLetter))
            for record in self._log.pending(limit=limit)
        ]

    def discard(self, position: int) -> None:
        """Let go of one; raises ``LogPositionUnknown`` and ``LogUnavailable``."""
        self._log.acknowledge([position])

    @property
    def size(self) -> int:
        """How many are kept."""
        return self._log.size

    def snapshot(self) -> dict[str, Any]:
        """How many are kept, and why the oldest."""
        oldest = self.items(1)
        return {"count": self.size, "oldest": oldest[0][1].reason if oldest else None}
