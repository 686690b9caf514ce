"""Which initiations are running and which wait, for whoever asks, without asking their actors."""

import threading

import msgspec

from ...domain.instants import Instant
from .markers import Started
from .orders import Order, Phase

_WAITING = frozenset({Phase.QUEUED, Phase.NO_ROOM})


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """An initiation that is not finished."""

    order: Order
    phase: Phase
    pid: int | None = None
    started_at: Instant | None = None


class RunBoard:
    """The unfinished initiations in the order in which they were accepted. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[str, RunRow] = {}

    def add(self, order: Order) -> None:
        """It waits."""
        with self._lock:
            self._rows[order.id] = RunRow(order=order, phase=Phase.QUEUED)

    def set_phase(self, initiation_id: str, phase: Phase) -> None:
        """It has come so far."""
        self._replace(initiation_id, phase=phase)

    def set_running(self, initiation_id: str, started: Started) -> None:
        """Its command runs."""
        self._replace(initiation_id, phase=Phase.RUNNING, pid=started.pid, started_at=started.started_at)

    def _replace(self, initiation_id: str, **changes: object) -> None:
        with self._lock:
            row = self._rows.get(initiation_id)
            if row is not None:
                self._rows[initiation_id] = msgspec.structs.replace(row, **changes)

    def remove(self, initiation_id: str) -> None:
        """It is finished."""
        with self._lock:
            self._rows.pop(initiation_id, None)

    def find(self, initiation_id: str) -> RunRow | None:
        """An unfinished initiation."""
        with self._lock:
            return self._rows.get(initiation_id)

    def rows(self) -> list[RunRow]:
        """All that are unfinished."""
        with self._lock:
            return list(self._rows.values())

    def counts(self) -> tuple[int, int]:
        """How many run, and how many wait to."""
        with self._lock:
            waiting = sum(row.phase in _WAITING for row in self._rows.values())
            return len(self._rows) - waiting, waiting
