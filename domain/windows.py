"""Blackouts: times in which nothing starts."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from .cron import CronExpression
from .instants import Instant, rfc3339


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
