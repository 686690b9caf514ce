"""Process events out: on disk before anything else follows from them, delivered in the order of the disk."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from ...domain.messages import ProcessEvent
from ...storage.segment_log import Record, SegmentLog


class Waiting(msgspec.Struct, frozen=True):
    """An event that no dashboard has yet."""

    position: int
    event: ProcessEvent


class Reports:
    """The outbound log. Safe to use from any thread."""

    def __init__(self, log: SegmentLog, on_logged: Callable[[], None]) -> None:
        """``on_logged`` is told that there is something to deliver; it must be quick."""
        self._log = log
        self._on_logged = on_logged

    def write(self, events: Sequence[ProcessEvent]) -> None:
        """Make events durable, next to each other; raises ``LogUnavailable``, and then none of them is."""
        self._log.append_many([msgspec.to_builtins(event) for event in events])
        self._on_logged()

    def waiting(self, after: int, limit: int) -> list[Waiting]:
        """The next events to deliver behind a position, in order."""
        return [Waiting(record.position, _event(record)) for record in self._log.pending(after, limit)]

    def delivered(self, positions: Iterable[int]) -> None:
        """The dashboard has these, or they are parked; raises ``LogUnavailable``."""
        self._log.acknowledge(positions)

    def reported(self, after: int) -> Iterator[ProcessEvent]:
        """Every event behind a position that is still on disk, delivered or not, in order."""
        return map(_event, self._log.scan(after))

    @property
    def last_position(self) -> int:
        """Where the newest event stands."""
        return self._log.last_position

    @property
    def size(self) -> int:
        """How many wait for the dashboard."""
        return self._log.size


def _event(record: Record) -> ProcessEvent:
    return msgspec.convert(record.payload, ProcessEvent)
