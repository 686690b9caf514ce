"""When instances of a plan start and how long each may be active; and blackouts, in which nothing starts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

from .cron import CronExpression
from .instants import Instant, rfc3339, time_zone
from .plan import StartWindow


@dataclass(frozen=True, slots=True)
class Blackout:
    """Cron expressions whose seconds are covered, and ranges of instants that include both their ends.

    An expression covers the seconds at which it fires: ``0 0 2 * * ?`` is the one second of 02:00:00 and
    ``* * 2 * * ?`` the whole hour from 02:00. A range whose end lies before its beginning covers nothing.
    """

    expressions: tuple[CronExpression, ...]
    ranges: tuple[tuple[Instant, Instant], ...]
    zone: ZoneInfo

    def covers(self, at: Instant) -> bool:
        """Whether nothing may start at an instant."""
        return self._range(at) is not None or self._expression(at) is not None

    def reason(self, at: Instant) -> str | None:
        """What covers an instant, for a person to read; ``None`` when nothing does."""
        if (covering := self._range(at)) is not None:
            begin, end = covering
            return f"in the blackout from {_told(begin)} to {_told(end)}"
        if (expression := self._expression(at)) is not None:
            return f"in the blackout '{expression}' ({self.zone})"
        return None

    def light_again(self, at: Instant) -> Instant:
        """The first instant from one on that no range covers."""
        while (covering := self._range(at)) is not None:
            at = covering[1] + 1
        return at

    def _range(self, at: Instant) -> tuple[Instant, Instant] | None:
        return next(((begin, end) for begin, end in self.ranges if begin <= at <= end), None)

    def _expression(self, at: Instant) -> CronExpression | None:
        return next((each for each in self.expressions if each.matches(at, self.zone)), None)


def _told(at: Instant) -> str:
    """Readable where it can be: ranges "for ever" are often written with the largest number there is."""
    try:
        return rfc3339(at)
    except ValueError:
        return f"{at} ms since the epoch"


MOST_LOOKED_AT = 1_000
"""How many starts in a blackout are passed over to find the next that is not."""


@dataclass(frozen=True, slots=True, eq=False)
class StartTimes:
    """The clock of a plan: the one way to its due starts, whether they are done, foretold or made up for."""

    cron: CronExpression
    zone: ZoneInfo
    time_to_live_ms: int
    blackout: Blackout

    @staticmethod
    def of(window: StartWindow, default_zone: str) -> "StartTimes | None":
        """The clock that a window describes; ``None`` when instances start by hand only.

        ``default_zone`` is that of windows that name none. Raises ``InvalidCron`` and ``UnknownTimeZone``.
        """
        return _start_times(window, default_zone)

    def after(self, at: Instant) -> Instant | None:
        """The first due start strictly after an instant."""
        return _after(self, at)

    def through(self, at: Instant) -> Instant | None:
        """The last due start up to and including an instant."""
        return self.cron.previous_fire(at + 1, self.zone)

    def between(self, after: Instant, through: Instant) -> Iterator[Instant]:
        """Every due start strictly after one instant, up to and including another."""
        return self.cron.fires_between(after, through, self.zone)

    def closes_at(self, due_at: Instant) -> Instant:
        """When the window of a start closes: from then on its instance is not active any more."""
        return due_at + self.time_to_live_ms

    def next_open(self, after: Instant) -> Instant | None:
        """The first start strictly after an instant that is in no blackout.

        ``None`` when there is none, or none among the next thousand.
        """
        for _ in range(MOST_LOOKED_AT):
            due_at = self.after(after)
            if due_at is None or not self.blackout.covers(due_at):
                return due_at
            after = max(due_at, self.blackout.light_again(due_at) - 1)
        return None


@lru_cache(maxsize=4096)
def _start_times(window: StartWindow, default_zone: str) -> StartTimes | None:
    if window.cron is None or window.time_to_live_ms <= 0:
        return None
    zone = time_zone(window.zone or default_zone)
    expressions = tuple(CronExpression.parse(text) for text in window.blackout_expressions)
    return StartTimes(
        CronExpression.parse(window.cron, working_days=window.working_days),
        zone,
        window.time_to_live_ms,
        Blackout(expressions, window.blackout_ranges, zone),
    )


@lru_cache(maxsize=16_384)
def _after(times: StartTimes, at: Instant) -> Instant | None:
    # Asked by the clock for the alarm, when that rings, and for what is prepared ahead.
    return times.cron.next_fire(at, times.zone)
