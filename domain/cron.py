"""Quartz cron expressions and the instants at which they fire in a time zone.

An expression is read once into sorted values for each digit of a wall clock: year, month, day, hour, minute,
second. Every question (next, previous, does it match) is one search through those digits, in one direction or
the other, along the stretches of time in which the zone keeps one offset from UTC.

What daylight saving does follows from where a stretch begins and ends for an expression:

* A wall time that the clock skips is moved forward by what was skipped: the old offset is kept for that long.
  An expression that runs every hour has nothing to move: it fires on each real occurrence.
* A wall time that the clock shows twice fires the first time only: the new offset begins to count when the
  repeated time is over. When the hour or the minute is a wildcard or a step it fires on each real occurrence.
"""

import re
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from .instants import Instant

_FIRST_YEAR, _LAST_YEAR = 1970, 2099
_DAY = 24 * 60 * 60
_WINDOW = 2 * _DAY
"""How far one look goes, in seconds: a wall time, whatever its offset, lies within a day of itself in UTC."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EARLIEST = -_WINDOW
_LATEST = (date(_LAST_YEAR + 1, 1, 1).toordinal() - _EPOCH_ORDINAL) * _DAY + _WINDOW
"""Seconds since the epoch between which an expression can fire, with room for any offset from UTC."""
_SATURDAY, _SUNDAY = 5, 6
_QUOTED_CHARACTERS = 100

_Values: TypeAlias = tuple[int, ...]
_Digits: TypeAlias = tuple[int, ...]
"""Year, month, day, hour, minute, second, or the first few of them."""
_Shape: TypeAlias = tuple[int, int]
"""All that a month's days depend on: the weekday of its first (0 = Monday) and its length."""
_DayRule: TypeAlias = Callable[[_Shape], Iterable[int]]


class InvalidCron(ValueError):
    """Text that is no Quartz cron expression; the message names the field and what is allowed in it."""


class _Field(NamedTuple):
    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()
    specials: str = ""

    def refusal(self, part: str) -> InvalidCron:
        named = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
        return InvalidCron(
            f"{self.name} cannot be {part[:_QUOTED_CHARACTERS]!r}: allowed are {self.lowest}-{self.highest}"
            f"{named}, '*', lists such as {self.lowest},{self.lowest + 1}, ranges such as "
            f"{self.lowest}-{self.lowest + 2} and steps such as {self.lowest}/2{self.specials}"
        )

    def number(self, token: str, part: str) -> int:
        if token in self.names:
            return self.names.index(token) + self.lowest
        if not token.isdigit() or not self.lowest <= int(token) <= self.highest:
            raise self.refusal(part)
        return int(token)


_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_SECONDS = _Field("seconds", 0, 59)
_MINUTES = _Field("minutes", 0, 59)
_HOURS = _Field("hours", 0, 23)
_DAYS_OF_MONTH = _Field(
    "day of month", 1, 31, specials=", '?' when the day of week is given, L, L-3, LW, L-3W and 15W"
)
_MONTHS = _Field("month", 1, 12, _MONTH_NAMES)
_DAYS_OF_WEEK = _Field(
    "day of week",
    1,
    7,
    _WEEKDAY_NAMES,
    ", '?' when the day of month is given, L, 6L and 6#3",
)
_YEARS = _Field("year", _FIRST_YEAR, _LAST_YEAR)

_RANGE = re.compile(r"(\*|[0-9]{1,4}|[A-Z]{3})?(?:-([0-9]{1,4}|[A-Z]{3}))?(?:/([0-9]{1,4}))?")
_FROM_LAST = re.compile(r"L(?:-([0-9]{1,2}))?(W?)")
_NEAR_DAY = re.compile(r"([0-9]{1,2})W")
_LAST_WEEKDAY = re.compile(r"([0-9]|[A-Z]{3})L")
_NTH_WEEKDAY = re.compile(r"([0-9]|[A-Z]{3})#([1-5])")


class _Direction(NamedTuple):
    """Towards the future or the past."""

    sign: int
    choices: Callable[[_Values, int], _Values]
    """The values of a digit from a wanted one on, in the order in which they are met."""
    fresh: _Digits
    """What is wanted of the later digits once an earlier one has moved on."""
    nearest: Callable[[Iterable[int]], int]
    farthest: Callable[[Iterable[int]], int]


_FORWARD = _Direction(1, lambda values, wanted: values[bisect_left(values, wanted) :], (0,) * 6, min, max)
_BACKWARD = _Direction(
    -1, lambda values, wanted: values[: bisect_right(values, wanted)][::-1], (_LAST_YEAR,) * 6, max, min
)


class _Stretch(NamedTuple):
    """Seconds since the epoch, both inclusive, during which wall time is UTC plus one offset in seconds."""

    begin: int
    end: int
    offset: int


@dataclass(frozen=True, slots=True)
class CronExpression:
    """A Quartz cron expression; two are equal when their texts are and they read ``W`` alike.

    It fires at whole seconds of the years 1970 to 2099.
    """

    text: str
    working_days: bool
    _values: tuple[_Values, ...] = field(repr=False, compare=False)
    """The values of each digit; those of the day depend on the month and are in ``_days``."""
    _days: dict[_Shape, _Values] = field(repr=False, compare=False)
    _repeats: bool = field(repr=False, compare=False)
    """The hour or the minute is a wildcard or a step."""
    _every_hour: bool = field(repr=False, compare=False)

    @staticmethod
    def parse(text: str, *, working_days: bool = False) -> "CronExpression":
        """The expression that the text spells, in upper or lower case; raises ``InvalidCron``.

        With ``working_days``, ``nW`` in the day of month means the n-th working day (Monday to Friday) of the
        month, or its last one when it has fewer; otherwise the working day nearest to the n-th.
        """
        return _parse(text, working_days)

    def __str__(self) -> str:
        return self.text

    def next_fire(self, after: Instant, zone: ZoneInfo) -> Instant | None:
        """The first fire strictly after an instant; ``None`` when there is none."""
        return self._fire(_FORWARD, max(after // 1000 + 1, _EARLIEST), zone)

    def previous_fire(self, before: Instant, zone: ZoneInfo) -> Instant | None:
        """The last fire strictly before an instant; ``None`` when there is none."""
        return self._fire(_BACKWARD, min((before - 1) // 1000, _LATEST), zone)

    def matches(self, at: Instant, zone: ZoneInfo) -> bool:
        """Whether it fires in the second that holds an instant."""
        second = at // 1000 * 1000
        return self.next_fire(second - 1, zone) == second

    def fires_between(self, after: Instant, until: Instant, zone: ZoneInfo) -> Iterator[Instant]:
        """Every fire strictly after one instant, up to and including another, oldest first."""
        fire = self.next_fire(after, zone)
        while fire is not None and fire <= until:
            yield fire
            fire = self.next_fire(fire, zone)

    def _fire(self, direction: _Direction, at: int, zone: ZoneInfo) -> Instant | None:
        while _EARLIEST <= at <= _LATEST:
            edge = at + direction.sign * _WINDOW
            stretches = self._stretches(zone, min(at, edge), max(at, edge))
            fires = [fire for each in stretches if (fire := self._fire_in(direction, each)) is not None]
            if fires:
                return direction.nearest(fires) * 1000
            # No offset from UTC reaches a day: the next wall time is no nearer than this, nor its instant.
            wall = self._wall_time(direction, edge - direction.sign * _DAY)
            if wall is None:
                return None
            at = direction.farthest((edge, wall - direction.sign * _DAY))
        return None

    def _fire_in(self, direction: _Direction, stretch: _Stretch) -> int | None:
        start = direction.nearest((stretch.begin, stretch.end))
        wall = self._wall_time(direction, start + stretch.offset)
        if wall is None or not stretch.begin <= wall - stretch.offset <= stretch.end:
            return None
        return wall - stretch.offset

    def _stretches(self, zone: ZoneInfo, begin: int, end: int) -> Iterator[_Stretch]:
        """The stretches between two seconds as they count here; they overlap where a time was skipped."""
        # From a day before: what is skipped is a day at the most, when a country moves over the date line.
        offsets = _offsets(zone, begin - _DAY, end)
        for index, (since, offset) in enumerate(offsets):
            first, last = since, end
            if index > 0 and not self._repeats:
                first += max(0, offsets[index - 1][1] - offset)
            if index + 1 < len(offsets):
                until, next_offset = offsets[index + 1]
                last = until - 1
                if not self._every_hour:
                    last += max(0, next_offset - offset)
            first, last = max(first, begin), min(last, end)
            if first <= last:
                yield _Stretch(first, last, offset)

    def _wall_time(self, direction: _Direction, wall: int) -> int | None:
        """The nearest wall time that the expression names, as if in UTC, from a second on."""
        days, second = divmod(wall, _DAY)
        day = date.fromordinal(_EPOCH_ORDINAL + days)
        wanted = (day.year, day.month, day.day, second // 3600, second // 60 % 60, second % 60)
        found = self._search(direction, wanted, ())
        if found is None:
            return None
        year, month, day_of_month, hours, minutes, seconds = found
        ordinal = date(year, month, day_of_month).toordinal() - _EPOCH_ORDINAL
        return ordinal * _DAY + hours * 3600 + minutes * 60 + seconds

    def _search(self, direction: _Direction, wanted: _Digits, found: _Digits) -> _Digits | None:
        level = len(found)
        if level == len(wanted):
            return found
        values = self._days[_shape(*found)] if level == 2 else self._values[level]
        for value in direction.choices(values, wanted[level]):
            rest = wanted if value == wanted[level] else direction.fresh
            if (whole := self._search(direction, rest, (*found, value))) is not None:
                return whole
        return None


@cache
def _shape(year: int, month: int) -> _Shape:
    return monthrange(year, month)


@lru_cache(maxsize=1024)
def _parse(text: str, working_days: bool) -> CronExpression:
    parts = text.upper().split()
    if len(parts) not in {6, 7}:
        raise InvalidCron(
            f"{text[:_QUOTED_CHARACTERS]!r} has {len(parts)} fields: seconds, minutes, hours, day of month, "
            "month and day of week are needed, and a year is allowed"
        )
    seconds, _ = _values(_SECONDS, parts[0])
    minutes, minutes_repeat = _values(_MINUTES, parts[1])
    hours, hours_repeat = _values(_HOURS, parts[2])
    months, _ = _values(_MONTHS, parts[4])
    years, _ = _values(_YEARS, parts[6] if len(parts) == 7 else "*")
    days = _days_by_shape(_day_rules(parts[3], parts[5], working_days=working_days))
    return CronExpression(
        text,
        working_days,
        (years, tuple(month for month in months if _may_have_days(month, days)), (), hours, minutes, seconds),
        days,
        hours_repeat or minutes_repeat,
        len(hours) == 24,
    )


def _values(of: _Field, text: str) -> tuple[_Values, bool]:
    """The values that a field names, and whether a wildcard or a step is among them."""
    values: set[int] = set()
    repeats = False
    for part in text.split(","):
        named = _range(of, part)
        values.update(named)
        repeats |= len(named) > 1 and ("*" in part or "/" in part)
    return tuple(sorted(values)), repeats


def _range(of: _Field, part: str) -> frozenset[int]:
    read = _RANGE.fullmatch(part)
    if read is None:
        raise of.refusal(part)
    begin, end, step = read.groups()
    if (begin is None and step is None) or (begin in {None, "*"} and end is not None):
        raise of.refusal(part)
    if step is not None and not 1 <= int(step) <= of.highest:
        raise of.refusal(part)
    first = of.lowest if begin in {None, "*"} else of.number(begin, part)
    last = first if step is None and begin != "*" else of.highest
    if end is not None:
        last = of.number(end, part)
    count = of.highest - of.lowest + 1
    if last < first:
        if of is _YEARS:
            raise of.refusal(part)
        last += count
    values = range(first, last + 1, int(step or 1))
    return frozenset((value - of.lowest) % count + of.lowest for value in values)


def _day_rules(of_month: str, of_week: str, *, working_days: bool) -> list[_DayRule]:
    if (of_month == "?") == (of_week == "?"):
        raise InvalidCron(
            f"day of month is {of_month[:_QUOTED_CHARACTERS]!r} and day of week is "
            f"{of_week[:_QUOTED_CHARACTERS]!r}: exactly one of the two must be '?'"
        )
    if of_week == "?":
        return [_rule_of_month(part, working_days=working_days) for part in of_month.split(",")]
    return [_rule_of_week(part) for part in of_week.split(",")]


def _rule_of_month(part: str, *, working_days: bool) -> _DayRule:
    if read := _FROM_LAST.fullmatch(part):
        before = int(read[1] or 0)
        if before >= _DAYS_OF_MONTH.highest:
            raise _DAYS_OF_MONTH.refusal(part)
        if read[2]:
            return lambda shape: _nearest_working_day(shape, shape[1] - before)
        return lambda shape: (shape[1] - before,)
    if read := _NEAR_DAY.fullmatch(part):
        number = _DAYS_OF_MONTH.number(read[1], part)
        if working_days:
            return lambda shape: _nth_working_day(shape, number)
        return lambda shape: _nearest_working_day(shape, number)
    values = _range(_DAYS_OF_MONTH, part)
    return lambda _shape: values


def _rule_of_week(part: str) -> _DayRule:
    if read := _LAST_WEEKDAY.fullmatch(part):
        weekday = _DAYS_OF_WEEK.number(read[1], part)
        return lambda shape: _on_weekdays(shape, {weekday})[-1:]
    if read := _NTH_WEEKDAY.fullmatch(part):
        weekday, nth = _DAYS_OF_WEEK.number(read[1], part), int(read[2])
        return lambda shape: _on_weekdays(shape, {weekday})[nth - 1 : nth]
    weekdays = frozenset((_DAYS_OF_WEEK.highest,)) if part == "L" else _range(_DAYS_OF_WEEK, part)
    return lambda shape: _on_weekdays(shape, weekdays)


def _weekday(shape: _Shape, day: int) -> int:
    return (shape[0] + day - 1) % 7


def _on_weekdays(shape: _Shape, quartz_weekdays: Iterable[int]) -> list[int]:
    weekdays = {(number + 5) % 7 for number in quartz_weekdays}
    return [day for day in range(1, shape[1] + 1) if _weekday(shape, day) in weekdays]


def _nth_working_day(shape: _Shape, nth: int) -> Iterable[int]:
    working = [day for day in range(1, shape[1] + 1) if _weekday(shape, day) < _SATURDAY]
    return (working[min(nth, len(working)) - 1],)


def _nearest_working_day(shape: _Shape, day: int) -> Iterable[int]:
    """The Monday to Friday nearest to a day, in the same month; nothing when the month has no such day."""
    if not 1 <= day <= shape[1]:
        return ()
    weekday = _weekday(shape, day)
    if weekday == _SATURDAY:
        return (day - 1 if day > 1 else day + 2,)
    if weekday == _SUNDAY:
        return (day + 1 if day < shape[1] else day - 2,)
    return (day,)


def _days_by_shape(rules: list[_DayRule]) -> dict[_Shape, _Values]:
    shapes = [(first, length) for first in range(7) for length in range(28, 32)]
    return {
        shape: tuple(sorted({day for rule in rules for day in rule(shape) if 1 <= day <= shape[1]}))
        for shape in shapes
    }


def _may_have_days(month: int, days: dict[_Shape, _Values]) -> bool:
    """Whether a month can ever have a fire, so that the 30th of February is not looked for in every year."""
    longest = monthrange(2000, month)[1]
    return any(values for (_, length), values in days.items() if length == longest)


def _offsets(zone: ZoneInfo, begin: int, end: int) -> list[tuple[int, int]]:
    """Each offset from UTC that holds between two seconds, behind the second since when it is known to."""
    offsets: list[tuple[int, int]] = []
    for day in range(begin // _DAY, end // _DAY + 1):
        offsets += [each for each in _offsets_of_day(zone, day) if not offsets or offsets[-1][1] != each[1]]
    return offsets


@lru_cache(maxsize=4096)
def _offsets_of_day(zone: ZoneInfo, day: int) -> tuple[tuple[int, int], ...]:
    # No zone changes its offset twice within a day; since 1970 there is nearly a week between two changes.
    seconds = range(day * _DAY, (day + 1) * _DAY)
    before, after = _offset(zone, seconds[0]), _offset(zone, seconds[-1])
    if before == after:
        return ((seconds[0], before),)
    changed = bisect_left(seconds, True, key=lambda second: _offset(zone, second) != before)
    return (seconds[0], before), (seconds[changed], after)


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = (_EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
    return 0 if offset is None else offset.days * _DAY + offset.seconds
