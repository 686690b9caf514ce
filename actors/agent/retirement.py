"""What becomes of initiations whose end is durably reported: acknowledged, and their markers deleted."""

from collections.abc import Sequence
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


class Retire(msgspec.Struct, frozen=True):
    """The end of an initiation is durable in the outbound log."""

    position: int
    initiation_id: str


class RetryRetirement(msgspec.Struct, frozen=True):
    """Time to try again what the disk did not take."""


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
        self._retry_due = False
        self._failures = 0
        self._last_error: str | None = None

    def receive_batch(self, envelopes: Sequence[Any]) -> None:
        """Collect, then write once."""
        super().receive_batch(envelopes)
        if self._due and (not self._failures or self._retry_due):
            self._retire()

    def on_receive(self, message: Retire | RetryRetirement | ReadRetirement) -> object:
        """Note what is to be done after the batch."""
        match message:
            case ReadRetirement():
                return self.snapshot()
            case Retire():
                self._due.append(message)
            case RetryRetirement():
                self._retry_due = True
        return None

    def _retire(self) -> None:
        self._retry_due = False
        try:
            self._intake.finished([each.position for each in self._due])
        except LogClosed:
            return
        except SegmentLogError as error:
            self._failures += 1
            self._last_error = str(error)
            _log.warning("initiations not acknowledged", count=len(self._due), error=str(error))
            self._alarms.set(
                "retirement",
                self._clock() + pause_ms(self._failures),
                telling(self.actor_ref, RetryRetirement()),
            )
            return
        self._failures = 0
        for each in self._due:
            self._forget(each.initiation_id)
        self._due.clear()

    def _forget(self, initiation_id: str) -> None:
        try:
            self._launcher.forget(initiation_id)
        except OSError as error:
            _log.warning("marker not deleted", initiation=initiation_id, error=str(error))

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of this actor."""
        return {
            "actor": "retirement",
            "mailbox": self.mailbox_depth,
            "due": len(self._due),
            "last_error": self._last_error,
        }
