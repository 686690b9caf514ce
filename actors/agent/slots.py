"""How many commands may run at once on this agent."""

import threading
from collections import deque
from collections.abc import Callable


class Slots:
    """Places to run in, given out in the order of asking. Safe to use from any thread."""

    def __init__(self, limit: int | None = None) -> None:
        """Without a limit everybody is let in at once."""
        self._limit = limit
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._waiting: deque[tuple[str, Callable[[], None]]] = deque()

    def occupy(self, initiation_id: str) -> None:
        """Count one that runs already, even beyond the limit."""
        with self._lock:
            self._held.add(initiation_id)

    def request(self, initiation_id: str, granted: Callable[[], None]) -> None:
        """Call ``granted``, which must be quick, once there is a place: at once, or from another thread.

        One that has a place already is granted at once.
        """
        with self._lock:
            if initiation_id not in self._held:
                if self._limit is not None and (self._waiting or len(self._held) >= self._limit):
                    self._waiting.append((initiation_id, granted))
                    return
                self._held.add(initiation_id)
        granted()

    def release(self, initiation_id: str) -> None:
        """Give a place back, or take back the request for one; nothing happens if there is neither."""
        with self._lock:
            self._held.discard(initiation_id)
            self._waiting = deque(each for each in self._waiting if each[0] != initiation_id)
            admitted = []
            while self._waiting and (self._limit is None or len(self._held) < self._limit):
                next_id, granted = self._waiting.popleft()
                self._held.add(next_id)
                admitted.append(granted)
        for granted in admitted:
            granted()

    @property
    def held(self) -> int:
        """How many places are taken."""
        with self._lock:
            return len(self._held)
