"""Orders for which there is no room on the disk: they wait, and one of them tries again for all.

A full disk is full for everybody. While somebody waits, nobody else tries; after a pause the first does, and
each that finds room lets two more follow. So ten thousand that wait cost one attempt for each pause, and ten
thousand that find room again do not come all at once.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

import msgspec
import structlog

from ...domain.instants import Instant
from ..timers import Clock
from .backoff import pause_ms
from .ports import Alarms

_log = structlog.get_logger(__name__)

_FOLLOWERS = 2
_ALARM = "disk room"


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """Orders wait because there is no room on the disk."""

    waiting: int
    since: Instant
    reason: str
    """What the latest that tried was told."""


class DiskRoom:
    """Who may try to start a command now. Safe to use from any thread; what it is to call must be quick."""

    def __init__(self, alarms: Alarms, clock: Clock) -> None:
        self._alarms = alarms
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, Callable[[], None]] = OrderedDict()
        self._trying: set[str] = set()
        self._alarm_set = False
        self._failures = 0
        self._since: Instant = 0
        self._reason = ""

    def enter(self, initiation_id: str, go: Callable[[], None]) -> bool:
        """Whether it may try at once; if not, ``go`` is called when it may, from another thread."""
        with self._lock:
            if initiation_id in self._trying or not (self._waiting or self._trying):
                return True
            self._waiting[initiation_id] = go
            return False

    def refused(self, initiation_id: str, reason: str, go: Callable[[], None]) -> None:
        """It tried and there was no room: ``go`` is called when it may try again, from another thread."""
        with self._lock:
            if not (self._waiting or self._trying):
                self._since = self._clock()
                self._failures = 0
                _log.warning("no room on the disk: initiations wait", reason=reason)
            self._reason = reason
            self._waiting[initiation_id] = go
            if initiation_id in self._trying:
                self._trying.remove(initiation_id)
                self._waiting.move_to_end(initiation_id, last=False)
            if not self._trying and not self._alarm_set:
                self._failures += 1
                self._alarm_set = True
                self._alarms.set(_ALARM, self._clock() + pause_ms(self._failures), self._try_first)

    def found(self, initiation_id: str) -> None:
        """It has started: there is room, for it at least."""
        with self._lock:
            self._waiting.pop(initiation_id, None)
            if initiation_id not in self._trying:
                return
            self._trying.remove(initiation_id)
            self._failures = 0
            admitted = self._admit(_FOLLOWERS)
            if not self._trying:
                _log.info("there is room on the disk again", waited_ms=self._clock() - self._since)
        for go in admitted:
            go()

    def leave(self, initiation_id: str) -> None:
        """It does not want to start any more, or could not for another reason; nothing if it never did."""
        with self._lock:
            self._waiting.pop(initiation_id, None)
            if initiation_id not in self._trying:
                return
            self._trying.remove(initiation_id)
            admitted = [] if self._trying else self._admit(1)
        for go in admitted:
            go()

    def shortage(self) -> Shortage | None:
        """Who waits for room and since when; ``None`` when nobody does."""
        with self._lock:
            waiting = len(self._waiting) + len(self._trying)
            return Shortage(waiting=waiting, since=self._since, reason=self._reason) if waiting else None

    def _try_first(self) -> None:
        with self._lock:
            self._alarm_set = False
            if self._waiting:
                _log.info("no room on the disk yet, tried again", waiting=len(self._waiting))
            admitted = [] if self._trying else self._admit(1)
        for go in admitted:
            go()

    def _admit(self, number: int) -> list[Callable[[], None]]:
        admitted: list[Callable[[], None]] = []
        while self._waiting and len(admitted) < number:
            initiation_id, go = self._waiting.popitem(last=False)
            self._trying.add(initiation_id)
            admitted.append(go)
        return admitted
