"""Sends the notifications of one channel, oldest first, and keeps what came of each.

What cannot be sent for now is tried again after a pause that grows. While nobody answers at all, one is tried
at a time, a different one each time, so that a single bad one cannot keep the others from being sent. Each
channel has a courier with a thread of its own.

A process that dies between sending one and storing that it was sent sends it once more when it is back, under
the same id. Nothing else sends anything twice.
"""

import random
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pykka
import structlog

from ...domain.instants import Instant
from ...storage.notifications import NotificationRow, Notifications, NotificationState, Outcome
from ...storage.records import Unavailable
from ..timers import Clock
from .ports import Channel, ChannelDown, NotNow, Receipt, Rejected

_log = structlog.get_logger(__name__)

BATCH = 100
"""Notifications that are read at once."""
FIRST_PAUSE_MS = 1_000
LONGEST_PAUSE_MS = 5 * 60_000


class Wake(msgspec.Struct, frozen=True):
    """There may be something to send."""

    at_once: bool = False
    """Also while nobody was reached a moment ago: somebody asked for it."""


class ReadCourier(msgspec.Struct, frozen=True):
    """Answer a description of this courier, for debugging."""


class CourierActor(pykka.ThreadingActor):
    """The courier of one channel."""

    use_daemon_thread = True

    def __init__(
        self,
        *,
        channel: str,
        open_channel: Callable[[], Channel],
        notifications: Notifications,
        clock: Clock,
        wake_at: Callable[[Instant], None],
        woken: threading.Event,
        closing: threading.Event,
    ) -> None:
        super().__init__()
        self._name = channel
        self._channel = open_channel()
        self._notifications = notifications
        self._clock = clock
        self._wake_at = wake_at
        self._woken = woken
        self._closing = closing
        self._not_kept: list[tuple[NotificationRow, Outcome]] = []
        self._failures = 0
        self._paused_until: Instant = 0
        self._paused_for_ms = 0
        self._sent = 0
        self._last_error: str | None = None

    def on_receive(self, message: Wake | ReadCourier) -> object:
        """Send, or describe."""
        match message:
            case Wake(at_once=at_once):
                self._woken.clear()
                if at_once or not self._is_pausing():
                    self._send_all()
                else:
                    self._wake_at(self._paused_until)
                return None
            case ReadCourier():
                return self.snapshot()

    def _send_all(self) -> None:
        try:
            while self._keep_outcomes() and (rows := self._due()):
                for row in rows:
                    if self._closing.is_set():
                        return
                    self._send(row)
            self._wake_for_next()
        except (ChannelDown, Unavailable) as error:
            self._pause(error)
        except Exception as error:  # noqa: BLE001  the supervisor: nothing is lost, it is tried again
            _log.exception("courier failed, it goes on from the table", channel=self._name)
            self._pause(error)
        finally:
            self._channel.rest()

    def _due(self) -> list[NotificationRow]:
        now = self._clock()
        due = self._notifications.waiting(self._name, now, BATCH)
        # No pause is that long: the clock was set back.
        return due or self._notifications.waiting_beyond(self._name, now + LONGEST_PAUSE_MS, BATCH)

    def _send(self, row: NotificationRow) -> None:
        try:
            outcome = self._outcome(row, self._channel.send(row))
        except Rejected as error:
            outcome = self._failed(row, str(error))
        except NotNow as error:
            outcome = self._later(row, str(error), row.delivered)
        except ChannelDown as error:
            self._settle(row, self._later(row, str(error), row.delivered))
            raise
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  one that cannot be handled must not hold up the others
            _log.exception("notification failed", id=str(row.id), channel=self._name)
            outcome = self._failed(row, f"{type(error).__name__}: {error}")
        else:
            self._failures, self._last_error = 0, None
        self._settle(row, outcome)

    def _outcome(self, row: NotificationRow, receipt: Receipt) -> Outcome:
        told = "; ".join(f"{to}: {why}" for to, why in (receipt.rejected | receipt.not_now).items()) or None
        if receipt.not_now:
            later = self._later(row, told or "", receipt.delivered)
            return msgspec.structs.replace(later, recipients=receipt.recipients)
        return Outcome(
            state=NotificationState.FAILED if receipt.rejected else NotificationState.SENT,
            at=self._clock(),
            error=told,
            recipients=receipt.recipients,
            delivered=receipt.delivered,
        )

    def _failed(self, row: NotificationRow, why: str) -> Outcome:
        return Outcome(
            state=NotificationState.FAILED,
            at=self._clock(),
            error=why,
            recipients=row.recipients,
            delivered=row.delivered,
        )

    def _later(self, row: NotificationRow, why: str, delivered: tuple[str, ...]) -> Outcome:
        now = self._clock()
        return Outcome(
            state=NotificationState.WAITING,
            at=now,
            error=why,
            next_at=now + _pause_ms(row.attempts + 1),
            recipients=row.recipients,
            delivered=delivered,
        )

    # --- keeping what came of it ----------------------------------------------------------------------------

    def _settle(self, row: NotificationRow, outcome: Outcome) -> None:
        self._not_kept.append((row, outcome))
        self._keep_outcomes()

    def _keep_outcomes(self) -> bool:
        """Store what is not stored yet, before anything else is sent; raises ``Unavailable``."""
        while self._not_kept:
            row, outcome = self._not_kept[0]
            self._notifications.settle(row, outcome)
            self._not_kept.pop(0)
            self._sent += outcome.state is NotificationState.SENT
            log = _log.info if outcome.state is NotificationState.SENT else _log.warning
            log(
                "notification",
                channel=self._name,
                id=str(row.id),
                state=outcome.state.name.lower(),
                attempts=row.attempts + 1,
                error=outcome.error,
            )
        return True

    # --- pauses ---------------------------------------------------------------------------------------------

    def _wake_for_next(self) -> None:
        next_at = self._notifications.next_at(self._name)
        if next_at is not None:
            self._wake_at(next_at)

    def _is_pausing(self) -> bool:
        """Not when more is left of the pause than it had: the clock was set back."""
        return 0 < self._paused_until - self._clock() <= self._paused_for_ms

    def _pause(self, error: Exception) -> None:
        self._failures += 1
        self._last_error = str(error)
        self._paused_for_ms = pause_ms = _pause_ms(self._failures)
        self._paused_until = self._clock() + pause_ms
        _log.warning("nothing sent", channel=self._name, error=str(error), pause_ms=pause_ms)
        self._wake_at(self._paused_until)

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of this courier."""
        return {
            "actor": f"courier-{self._name}",
            "sent": self._sent,
            "failures_in_a_row": self._failures,
            "paused_until": self._paused_until if self._failures else None,
            "last_error": self._last_error,
            "next_at": self._notifications.next_at(self._name),
        }


def _pause_ms(attempts: int) -> int:
    longest: int = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** min(attempts - 1, 20))
    return round(longest * random.uniform(0.5, 1.0))  # noqa: S311  spreads attempts, guards nothing
