"""Tells others when an instant has come.

Nothing is held here that could be lost: at start, what must happen later is derived from what is on disk, and
set again.
"""

import heapq
import threading
import time
from collections.abc import Callable, Hashable
from typing import TypeAlias

import structlog

from ..domain.instants import Instant

Clock: TypeAlias = Callable[[], Instant]
"""Tells the instant, now."""

_log = structlog.get_logger(__name__)

LONGEST_WAIT_SECONDS = 1.0
"""The wall clock may jump: how long a jump can go unnoticed."""
FEW = 100
"""So many that were moved or cancelled may be kept until their instants, and as many as are set."""
SET_BACK_MS = 1_000
"""A clock that goes back by so much was set; by less, it was corrected."""


class Timers:
    """Alarms by key; setting one again moves it. One thread, which runs what has come due.

    When the clock is set back, everything rings at once: a pause of seconds must not last for as long as the
    clock went back. Whoever is rung too early finds nothing due, and sets the alarm again.
    """

    def __init__(self, clock: Clock, steady: Callable[[], float] = time.monotonic) -> None:
        """``steady``: seconds that only pass, whatever becomes of the clock."""
        self._clock = clock
        self._steady = steady
        self._ahead_ms = self._clock_ahead_ms()
        self._condition = threading.Condition()
        self._due: list[tuple[Instant, int, Hashable]] = []
        self._set: dict[Hashable, tuple[Instant, int, Callable[[], None]]] = {}
        self._number = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def set(self, key: Hashable, at: Instant, act: Callable[[], None]) -> None:
        """Run ``act``, which must not block, once the instant has come; replaces an alarm of the same key."""
        with self._condition:
            self._number += 1
            self._set[key] = (at, self._number, act)
            heapq.heappush(self._due, (at, self._number, key))
            if len(self._due) > 2 * len(self._set) + FEW:
                # Most of them were moved or cancelled, and would stay until their instants come.
                self._due = [(at, number, key) for key, (at, number, _) in self._set.items()]
                heapq.heapify(self._due)
            self._condition.notify()

    def cancel(self, key: Hashable) -> None:
        """Forget an alarm; nothing happens if there is none."""
        with self._condition:
            self._set.pop(key, None)

    def look(self) -> None:
        """Look at the clock now: it may have jumped."""
        with self._condition:
            self._condition.notify()

    def next_at(self) -> Instant | None:
        """When the next alarm is due."""
        with self._condition:
            return min((at for at, _, _ in self._set.values()), default=None)

    def close(self) -> None:
        """Tell nothing more."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (acts := self._wait()) is not None:
            for act in acts:
                try:
                    act()
                except Exception:  # noqa: BLE001  one alarm must not silence the others
                    _log.exception("alarm failed")

    def _wait(self) -> list[Callable[[], None]] | None:
        with self._condition:
            while not self._closing:
                acts = self._take_all() if self._was_set_back() else self._take(self._clock())
                if acts:
                    return acts
                wait = LONGEST_WAIT_SECONDS
                if self._due:
                    wait = min(wait, max(0.0, (self._due[0][0] - self._clock()) / 1000))
                self._condition.wait(wait)
            return None

    def _clock_ahead_ms(self) -> float:
        return self._clock() - self._steady() * 1000

    def _was_set_back(self) -> bool:
        before, self._ahead_ms = self._ahead_ms, self._clock_ahead_ms()
        return self._ahead_ms < before - SET_BACK_MS

    def _take_all(self) -> list[Callable[[], None]]:
        _log.warning("the clock was set back: all alarms ring", alarms=len(self._set))
        acts = [act for _, _, act in self._set.values()]
        self._set.clear()
        self._due.clear()
        return acts

    def _take(self, now: Instant) -> list[Callable[[], None]]:
        acts = []
        while self._due and self._due[0][0] <= now:
            _, number, key = heapq.heappop(self._due)
            found = self._set.get(key)
            if found is not None and found[1] == number:
                del self._set[key]
                acts.append(found[2])
        return acts
