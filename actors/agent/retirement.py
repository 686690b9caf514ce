"""What becomes of initiations whose end is durably reported: acknowledged, and their markers deleted.

Nobody waits for that, so it is done for many at once; what a crash leaves undone is found at the next start.
"""

from typing import Any

import msgspec
import structlog

from ...storage.segment_log import LogClosed, SegmentLogError
from ..pool import ActorPool, PooledActor
from ..timers import Clock
from .backoff import pause_ms
from .intake import Intake
from .launcher import Launcher
from .ports import Alarms
from .telling import telling

_log = structlog.get_logger(__name__)

RETIRE_AFTER_MS = 100
"""How long the first of some may wait for the others."""


class Retire(msgspec.Struct, frozen=True):
    """The end of an initiation is durable in the outbound log."""

    position: int
    initiation_id: str


class RetireDue(msgspec.Struct, frozen=True):
    """Time to acknowledge those that have gathered, or to try again what the disk did not take."""


class ReadRetirement(msgspec.Struct, frozen=True):
    """Answer a description of this actor, for debugging."""


class RetirementActor(PooledActor):
    """Acknowledges many at once; only then may a marker go, or a crash would let the command run again."""

    def __init__(
        self, *, pool: ActorPool, intake: Intake, launcher: Launcher, alarms: Alarms, clock: Clock
    ) -> None:
        super().__init__(pool=pool)
        self._intake = intake
        self._launcher = launcher
        self._alarms = alarms
        self._clock = clock
        self._due: list[Retire] = []
        self._alarm_set = False
        self._failures = 0
        self._last_error: str | None = None

    def on_receive(self, message: Retire | RetireDue | ReadRetirement) -> object:
        """Collect, or write what was collected."""
        match message:
            case ReadRetirement():
                return self.snapshot()
            case Retire():
                self._due.append(message)
                if not self._alarm_set:
                    self._retire_in(RETIRE_AFTER_MS)
            case RetireDue():
                self._alarm_set = False
                self._retire()
        return None

    def on_stop(self) -> None:
        """Leave nothing to be found at the next start."""
        if self._due:
            self._retire()

    def _retire_in(self, milliseconds: int) -> None:
        self._alarm_set = True
        self._alarms.set("retirement", self._clock() + milliseconds, telling(self.actor_ref, RetireDue()))

    def _retire(self) -> None:
        try:
            self._intake.finished([each.position for each in self._due])
        except LogClosed:
            return
        except SegmentLogError as error:
            self._failures += 1
            self._last_error = str(error)
            _log.warning("initiations not acknowledged", count=len(self._due), error=str(error))
            self._retire_in(pause_ms(self._failures))
            return
        self._failures = 0
        for each in self._due:
            self._forget(each.initiation_id)
        self._due.clear()

    def _forget(self, initiation_id: str) -> None:
        try:
            self._launcher.forget(initiation_id)
        except (OSError, ValueError) as error:  # it may run on although it was given up: so does its marker
            _log.warning("marker not deleted", initiation=initiation_id, error=str(error))

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of this actor."""
        return {
            "actor": "retirement",
            "mailbox": self.mailbox_depth,
            "due": len(self._due),
            "last_error": self._last_error,
        }
