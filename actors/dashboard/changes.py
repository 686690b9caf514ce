"""Lets readers wait until an instance has moved on."""

import threading
from time import monotonic
from uuid import UUID


class Changes:
    """The newest known position of instances that somebody waits for."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: dict[UUID, int] = {}
        self._positions: dict[UUID, int] = {}
        self._closed = False

    def moved(self, instance_id: UUID, position: int) -> None:
        """An instance's log has grown to a position."""
        if instance_id not in self._waiting:
            return
        with self._condition:
            self._positions[instance_id] = position
            self._condition.notify_all()

    def expect(self, instance_id: UUID) -> None:
        """Begin to notice an instance; must come before its position is read."""
        with self._condition:
            self._waiting[instance_id] = self._waiting.get(instance_id, 0) + 1

    def wait(self, instance_id: UUID, after: int, timeout_seconds: float) -> None:
        """Return when the instance is past a position, or the time is over, or ``close`` was called."""
        deadline = monotonic() + timeout_seconds
        with self._condition:
            while not self._closed and self._positions.get(instance_id, 0) <= after:
                remaining = deadline - monotonic()
                if remaining <= 0 or not self._condition.wait(remaining):
                    return

    def forget(self, instance_id: UUID) -> None:
        """The counterpart of ``expect``."""
        with self._condition:
            self._waiting[instance_id] -= 1
            if not self._waiting[instance_id]:
                del self._waiting[instance_id]
                self._positions.pop(instance_id, None)

    def close(self) -> None:
        """Let everybody who waits go."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
