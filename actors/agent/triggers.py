"""When a schedule fires for a plan instance: a pure account of every fire that was due."""

from itertools import islice
from typing import TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from ...domain.cron import CronExpression
from ...domain.instants import Instant, rfc3339, time_zone
from ...domain.plan import Trigger
from ...domain.windows import Blackout

ON_TIME_MS = 5_000
"""A fire that is handled so soon after it was due has not been missed."""

_MOST_COUNTED = 1_000
_TOO_LATE = "missed: the agent was not there, or the host was asleep, and it was too late to make up for it"
_ENDED = "missed: the agent was not there, or the host was asleep, and the instance has ended since"


class Fired(msgspec.Struct, frozen=True):
    """It happens."""

    due: Instant


class InBlackout(msgspec.Struct, frozen=True):
    """It does not happen; whether it is told, and counts as having happened, is up to the job."""

    due: Instant
    reason: str


class Missed(msgspec.Struct, frozen=True):
    """One or more did not happen, and will not."""

    due: Instant
    """When the last of them was due."""
    reason: str


Verdict: TypeAlias = Fired | InBlackout | Missed


class Timetable:
    """A trigger, ready to be asked."""

    def __init__(self, trigger: Trigger, default_zone: ZoneInfo) -> None:
        """Raises ``InvalidCron`` and ``UnknownTimeZone``."""
        self.trigger = trigger
        self.zone = time_zone(trigger.zone) if trigger.zone else default_zone
        self.cron = CronExpression.parse(trigger.cron) if trigger.cron else None
        expressions = tuple(CronExpression.parse(each) for each in trigger.blackout_expressions)
        self.blackout = Blackout(expressions, trigger.blackout_ranges, self.zone)

    def next_due(self, after: Instant) -> Instant | None:
        """The first fire behind an instant, if there is any."""
        return None if self.cron is None else self.cron.next_fire(after, self.zone)

    def account(self, after: Instant, now: Instant) -> list[Verdict]:
        """What becomes of every fire that was due behind one instant and up to another.

        Fires that are handled on time happen. Of those that were missed the last one happens now, once, when
        nothing newer is due, it is within the recovery tolerance and recovery is on; the others never will.
        """
        if self.cron is None or now <= after:
            return []
        on_time_from = max(after, now - ON_TIME_MS - 1)
        on_time = list(self.cron.fires_between(on_time_from, now, self.zone))
        verdicts: list[Verdict] = []
        late = self.cron.previous_fire(on_time_from + 1, self.zone)
        if late is not None and late > after:
            recovered = not on_time and self._recoverable(late, now)
            verdicts += self._missed(after, late - 1 if recovered else late, _TOO_LATE)
            if recovered:
                on_time.append(late)
        return verdicts + [self._judge(due) for due in on_time]

    def left_over(self, after: Instant, until: Instant) -> list[Missed]:
        """What was due behind one instant and up to the end of the instance, and never will happen."""
        return self._missed(after, until, _ENDED)

    def _recoverable(self, due: Instant, now: Instant) -> bool:
        return self.trigger.persistent_recovery and now - due <= self.trigger.recovery_tolerance_ms

    def _judge(self, due: Instant) -> Verdict:
        reason = self.blackout.reason(due)
        return Fired(due) if reason is None else InBlackout(due, reason)

    def _missed(self, after: Instant, until: Instant, why: str) -> list[Missed]:
        if self.cron is None or until <= after:
            return []
        missed = list(islice(self.cron.fires_between(after, until, self.zone), _MOST_COUNTED + 1))
        if not missed:
            return []
        last = missed[-1] if len(missed) <= _MOST_COUNTED else self.cron.previous_fire(until + 1, self.zone)
        last = missed[-1] if last is None else last
        return [Missed(last, _told(missed, last, why))]


def _told(missed: list[Instant], last: Instant, why: str) -> str:
    if len(missed) == 1:
        return f"due at {rfc3339(last)}, {why}"
    count = f"more than {_MOST_COUNTED}" if len(missed) > _MOST_COUNTED else str(len(missed))
    return f"{count} fires due from {rfc3339(missed[0])} to {rfc3339(last)}, {why}"
