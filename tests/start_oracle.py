"""A second, plain account of a plan's starts: what is due by walking the calendar, and what becomes of it.

Nothing of the program is used here. Dates are walked day by day, or five minutes at a time, and every
decision is made on lists.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@dataclass(frozen=True)
class FixedTimes:
    """Times of day on certain days."""

    times: tuple[tuple[int, int], ...]
    """Hours and minutes: every hour with every minute."""
    weekdays: frozenset[int] | None = None
    """0 is Monday; ``None``: every day."""
    working_day: int | None = None
    """Of the month; the last one if it has fewer."""
    last_of_month: bool = False

    def between(self, begin: int, end: int, zone: ZoneInfo) -> Iterator[int]:
        """What is due after one instant and up to another."""
        day = datetime.fromtimestamp(begin / 1000, zone).date() - timedelta(days=2)
        last = datetime.fromtimestamp(end / 1000, zone).date() + timedelta(days=1)
        found = set()
        while day <= last:
            if self._is_on(day):
                for hour, minute in self.times:
                    # With the offset of before, a time that is skipped moves on by what was skipped; of a
                    # time that comes twice it is the first.
                    wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=0)
                    found.add(epoch_ms(wall))
            day += timedelta(days=1)
        yield from sorted(each for each in found if begin < each <= end)

    def _is_on(self, day: date) -> bool:
        if self.working_day is not None:
            month = [day.replace(day=number) for number in range(1, _days_in_month(day) + 1)]
            working = [each for each in month if each.weekday() < 5]
            return day == working[min(self.working_day, len(working)) - 1]
        if self.last_of_month:
            return day.day == _days_in_month(day)
        return self.weekdays is None or day.weekday() in self.weekdays


def _days_in_month(day: date) -> int:
    following = day.replace(day=28) + timedelta(days=4)
    return (following - timedelta(days=following.day)).day


@dataclass(frozen=True)
class EverySoOften:
    """Every so many minutes of every hour, as hours really pass."""

    minutes: int

    def between(self, begin: int, end: int, zone: ZoneInfo) -> Iterator[int]:
        """What is due after one instant and up to another."""
        at = datetime.fromtimestamp(begin / 1000, UTC).replace(minute=0, second=0, microsecond=0)
        while epoch_ms(at) <= end:
            if epoch_ms(at) > begin and at.astimezone(zone).minute % self.minutes == 0:
                yield epoch_ms(at)
            at += timedelta(minutes=5)


@dataclass(frozen=True)
class Rules:
    """All that decides about the starts of one plan."""

    times: FixedTimes | EverySoOften
    zone: ZoneInfo
    lives_ms: int
    concurrent: bool
    ends_on_completion: bool
    dark_hours: frozenset[int] = frozenset()
    """Hours of the day, by the zone, in which nothing starts."""
    dark: tuple[tuple[int, int], ...] = ()
    """Instants from and to which nothing starts, both included."""
    disabled: tuple[tuple[int, int], ...] = ()
    """From when and to when the plan is disabled."""

    def is_dark(self, at: int) -> bool:
        hour = datetime.fromtimestamp(at / 1000, self.zone).hour
        return hour in self.dark_hours or any(begin <= at <= end for begin, end in self.dark)


@dataclass
class PlainAccount:
    """What becomes of every start of one plan in a span of time."""

    rules: Rules
    runs_ms: dict[int, int]
    """How long the instance of each start takes to complete; left out, it never does."""
    down: Sequence[tuple[int, int]]
    """From when and to when nobody is there to start anything."""
    outcomes: dict[int, str] = field(default_factory=dict)
    _ends: list[int] = field(default_factory=list)
    _waiting: int | None = None
    _disabled: bool = False

    def tell(self, begin: int, end: int, due: Sequence[int]) -> dict[int, str]:
        """By due start: ``started``, or why it did not."""
        turns = self._turns()
        looks = sorted({*due, end, *(at for at, _ in turns), *(up for _, up in self.down)})
        now, seen = begin, 0
        while now < end:
            candidates = [looks[bisect_right(looks, now)], *self._ends]
            if self._waiting is not None:
                candidates.append(self._waiting + self.rules.lives_ms)
            now = min(end, self._when_somebody_is_there(min(each for each in candidates if each > now)))
            self._ends = [each for each in self._ends if each > now]
            until = bisect_right(due, now)
            self._look(now, due[seen:until])
            seen = until
            self._disabled = [False, *(is_off for at, is_off in turns if at <= now)][-1]
        return self.outcomes

    def _turns(self) -> list[tuple[int, bool]]:
        found = []
        for begin, end in self.rules.disabled:
            found += [(self._when_somebody_is_there(begin), True), (self._when_somebody_is_there(end), False)]
        return found

    def _when_somebody_is_there(self, at: int) -> int:
        for down, up in self.down:
            if down <= at < up:
                return up
        return at

    def _look(self, now: int, due: Sequence[int]) -> None:
        if self._waiting is not None and (told := self._of_waiting(self._waiting, now)) is not None:
            self._settle(self._waiting, told, now)
            self._waiting = None
        for at in due:
            told = self._of_due(at, now)
            if told == "wait":
                if self._waiting is not None:
                    self.outcomes[self._waiting] = "another instance is active"
                self._waiting = at
                continue
            self._settle(at, told, now)

    def _settle(self, at: int, told: str, now: int) -> None:
        assert at not in self.outcomes
        self.outcomes[at] = told
        if told == "started":
            end = at + self.rules.lives_ms
            if self.rules.ends_on_completion and at in self.runs_ms:
                end = min(end, now + self.runs_ms[at])
            self._ends.append(end)

    def _of_waiting(self, at: int, now: int) -> str | None:
        if self._disabled:
            return "plan disabled"
        if at + self.rules.lives_ms <= now:
            return "another instance is active"
        if self._ends:
            return None
        return "blackout" if self.rules.is_dark(now) else "started"

    def _of_due(self, at: int, now: int) -> str:
        if self._disabled:
            return "plan disabled"
        if self.rules.is_dark(at):
            return "blackout"
        if at + self.rules.lives_ms <= now:
            return "window passed"
        if self._ends and not self.rules.concurrent:
            return "wait" if self.rules.ends_on_completion else "another instance is active"
        if now - at > 5_000 and self.rules.is_dark(now):
            return "blackout"
        return "started"


def apart(instants: Sequence[int]) -> int:
    """The shortest time between two of them."""
    return min((later - earlier for earlier, later in pairwise(instants)), default=DAY)
