"""The way of process events to the dashboard: in the order of the log, until they have arrived.

While one request is under way, what is logged meanwhile gathers for the next: the busier, the larger the
requests. An end that finds nothing waiting leaves at once; a start waits a few milliseconds for its end.

That they have arrived is noted on disk a moment later, for many at once: after a crash in between they are
sent again, and the dashboard knows them by their ids.
"""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import pykka
import structlog

from ...storage.segment_log import LogClosed, LogUnavailable, SegmentLogError
from ..timers import Clock
from .backoff import pause_ms
from .dead_letters import DeadLetter, DeadLetters
from .ports import Alarms, DashboardClient, DashboardRefused, DashboardUnreachable
from .reports import Reports, Waiting
from .telling import tell_if_alive, telling

_log = structlog.get_logger(__name__)

BATCH = 500
"""Events that are read and sent at once."""
LINGER_SECONDS = 0.006
"""How long a start waits for company: many commands are over by then, and one request tells both."""

SETTLE_AFTER_MS = 100
"""How long it may be known in memory only that events have arrived."""


class Deliver(msgspec.Struct, frozen=True):
    """There may be something to deliver."""


class TryAgain(msgspec.Struct, frozen=True):
    """The pause after a failure is over, or the dashboard was just heard."""


class Settle(msgspec.Struct, frozen=True):
    """Time to note on disk what has arrived."""


class ReadOutbound(msgspec.Struct, frozen=True):
    """Answer a description of this actor, for debugging."""


class OutboundActor(pykka.ThreadingActor):
    """Delivers the events of one agent."""

    use_daemon_thread = True

    def __init__(
        self,
        *,
        reports: Reports,
        dead_letters: DeadLetters,
        client: DashboardClient,
        alarms: Alarms,
        clock: Clock,
        woken: threading.Event,
        stopping: threading.Event,
    ) -> None:
        """``woken``: a message is on its way, another is not needed. ``stopping``: finish what is in hand."""
        super().__init__()
        self._reports = reports
        self._dead_letters = dead_letters
        self._client = client
        self._alarms = alarms
        self._clock = clock
        self._woken = woken
        self._stopping = stopping
        self._after = 0
        self._settled: list[int] = []
        self._settling_set = False
        self._unsettled = 0
        self._settling_error: str | None = None
        self._singly_through = 0
        self._failures = 0
        self._paused = False
        self._delivered = 0
        self._last_error: str | None = None

    def on_receive(self, message: Deliver | TryAgain | Settle | ReadOutbound) -> object:
        """Deliver, or describe."""
        match message:
            case Deliver():
                self._woken.clear()
            case TryAgain():
                self._paused = False
            case Settle():
                self._settling_set = False
            case ReadOutbound():
                return self.snapshot()
        if not self._paused:
            self._deliver_all()
        return None

    def on_stop(self) -> None:
        """Leave nothing to be sent again."""
        try:
            self._settle()
        except SegmentLogError as error:
            _log.warning("events will be delivered again", count=len(self._settled), error=str(error))

    def _deliver_all(self) -> None:
        try:
            if not self._settling_set:
                self._settle_if_possible()
            while not self._stopping.is_set() and (waiting := self._gather()):
                self._deliver(waiting)
        except (DashboardUnreachable, LogUnavailable) as error:
            self._pause(error)
        except LogClosed:
            _log.debug("outbound log closed while delivering")
        except Exception as error:  # noqa: BLE001  the supervisor: nothing is lost, it is tried again
            _log.exception("delivery failed, it goes on from the log")
            self._pause(error)
        else:
            self._failures = 0
            self._last_error = None

    def _gather(self) -> list[Waiting]:
        """What follows; starts alone wait until something else is logged, or for a moment at most."""
        waiting = self._next()
        alone = bool(waiting) and all(each.event.starting for each in waiting)
        return self._next() if alone and self._woken.wait(LINGER_SECONDS) else waiting

    def _next(self) -> list[Waiting]:
        """What follows; one by one as long as one of a refused batch is to be found."""
        singly = self._after < self._singly_through
        return self._reports.waiting(self._after, 1 if singly else BATCH)

    def _deliver(self, waiting: Sequence[Waiting]) -> None:
        try:
            count = self._client.deliver([each.event for each in waiting])
        except DashboardRefused as refused:
            if len(waiting) > 1:
                self._singly_through = waiting[-1].position
                return
            self._park(waiting[0], refused)
            self._arrived(waiting[:1])
            self._settle_if_possible()
        else:
            self._delivered += count
            self._arrived(waiting[:count])
            self._settle_in(SETTLE_AFTER_MS)

    def _arrived(self, events: Sequence[Waiting]) -> None:
        self._failures = 0
        self._after = events[-1].position
        self._settled += [each.position for each in events]

    def _settle_in(self, milliseconds: int) -> None:
        if not self._settling_set:
            self._settling_set = True
            self._alarms.set("settle", self._clock() + milliseconds, telling(self.actor_ref, Settle()))

    def _settle_if_possible(self) -> None:
        """A disk that does not take what has arrived must not keep the rest from arriving."""
        try:
            self._settle()
        except LogUnavailable as error:
            self._unsettled += 1
            self._settling_error = str(error)
            _log.warning("not noted what was delivered", count=len(self._settled), error=str(error))
            self._settle_in(pause_ms(self._unsettled))
        else:
            self._unsettled = 0
            self._settling_error = None

    def _park(self, waiting: Waiting, refused: DashboardRefused) -> None:
        letter = DeadLetter(
            at=self._clock(), status=refused.status, reason=refused.reason, event=waiting.event
        )
        self._dead_letters.park(letter)

    def _settle(self) -> None:
        """Acknowledge what has been delivered; until the disk takes it, a restart would deliver it again."""
        if self._settled:
            self._reports.delivered(self._settled)
            self._settled = []

    def _pause(self, error: Exception) -> None:
        self._failures += 1
        self._paused = True
        self._last_error = str(error)
        pause = pause_ms(self._failures)
        _log.warning("events not delivered", error=str(error), waiting=self._reports.size, pause_ms=pause)
        self._alarms.set("outbound", self._clock() + pause, telling(self.actor_ref, TryAgain()))

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of this actor."""
        return {
            "actor": "outbound",
            "delivered": self._delivered,
            "waiting": self._reports.size,
            "after": self._after,
            "failures_in_a_row": self._failures,
            "last_error": self._last_error or self._settling_error,
            "dead_letters": self._dead_letters.snapshot(),
        }


class OutboundDoor:
    """Wakes the outbound actor; many calls while it is busy count as one."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.stopping = threading.Event()
        self._ref: pykka.ActorRef[OutboundActor] | None = None

    def connect(self, ref: "pykka.ActorRef[OutboundActor]") -> None:
        """From now on there is somebody to wake."""
        self._ref = ref
        self.wake()

    def wake(self) -> None:
        """There is something to deliver."""
        if self._ref is not None and not self.woken.is_set():
            self.woken.set()
            tell_if_alive(self._ref, Deliver())

    def heard(self) -> None:
        """The dashboard has just answered something: no need to wait any longer."""
        if self._ref is not None:
            tell_if_alive(self._ref, TryAgain())

    def close(self) -> None:
        """Finish the request that is under way, deliver no more."""
        self.stopping.set()
        if self._ref is not None:
            self._ref.stop(block=False)
