"""Arithmetic over the business date and the start of an instance, and how its results are written."""

import calendar
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from .instants import Instant, time_zone

Head: TypeAlias = Literal["business_date", "start"]

DAY_UNITS = ("y", "mo", "w", "d", "bd")
TIME_UNITS = {"h": 3_600, "min": 60, "s": 1}
"""Seconds of each."""
DIRECTIVE = re.compile(r"%(:z|.?)", re.DOTALL)
_FRIDAY = 4
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Dates(msgspec.Struct, frozen=True):
    """What the expressions of an instance are calculated from."""

    business_date: date
    start: Instant
    zone: ZoneInfo


@lru_cache(maxsize=1024)
def dates_of(business_date: str | None, start: Instant, zone: str) -> Dates | None:
    """The dates of an instance that started or was due then; ``None`` when the time zone is not known here.

    Without a business date of its own an instance is for the day of its start in the zone.
    """
    try:
        here = time_zone(zone)
        day = None if business_date is None else date.fromisoformat(business_date)
        return Dates(day or day_of(start, here), start, here)
    except (ValueError, OverflowError):
        return None


def day_of(at: Instant, zone: ZoneInfo) -> date:
    """The day of an instant in a time zone; raises ``OverflowError`` outside the years 1 to 9999."""
    return (_EPOCH + at * _MILLISECOND).astimezone(zone).date()


class Shift(msgspec.Struct, frozen=True):
    """So many units later, or earlier for a sign of -1; no business days lead to the nearest one."""

    sign: int
    count: int
    unit: str

    def __str__(self) -> str:
        return f" {'+' if self.sign > 0 else '-'} {self.count}{self.unit}"


class Anchor(msgspec.Struct, frozen=True):
    """The first or the last day of the week, month, quarter or year, at the same time of day."""

    word: str

    def __str__(self) -> str:
        return f" {self.word}"


class DateExpression(msgspec.Struct, frozen=True):
    """A date or a moment, moved by steps and written in a format."""

    head: Head
    steps: tuple[Shift | Anchor, ...] = ()
    format: str | None = None

    def __str__(self) -> str:
        steps = "".join(map(str, self.steps))
        return f"${{{self.head}{steps}{'' if self.format is None else f':{self.format}'}}}"


def calculate(expression: DateExpression, dates: Dates) -> str:
    """What an expression comes to; raises ``OverflowError`` or ``ValueError`` outside the years 1 to 9999."""
    zone: ZoneInfo | None
    if expression.head == "business_date":
        zone, usual = None, "%F"
        moment = datetime.combine(dates.business_date, time(), tzinfo=UTC)
    else:
        zone, usual = dates.zone, "%FT%T%:z"
        moment = (_EPOCH + dates.start * _MILLISECOND).astimezone(zone)
    for step in expression.steps:
        moment = _stepped(moment, step, zone)
    return _written(moment, usual if expression.format is None else expression.format)


def _stepped(moment: datetime, step: Shift | Anchor, zone: ZoneInfo | None) -> datetime:
    if isinstance(step, Shift) and step.unit in TIME_UNITS:
        seconds = step.sign * step.count * TIME_UNITS[step.unit]
        return (moment.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(moment.tzinfo)
    day = moment.date()
    moved = _shifted(day, step) if isinstance(step, Shift) else _anchored(day, step.word)
    at = datetime.combine(moved, moment.time().replace(fold=0), tzinfo=moment.tzinfo)
    # A time of day that the clock skips on that day is moved forward by what was skipped.
    return at if zone is None else at.astimezone(UTC).astimezone(zone)


def _shifted(day: date, shift: Shift) -> date:
    count = shift.sign * shift.count
    match shift.unit:
        case "d":
            return day + timedelta(days=count)
        case "w":
            return day + timedelta(weeks=count)
        case "mo":
            return _months_later(day, count)
        case "y":
            return _months_later(day, 12 * count)
        case _:
            return _business_days_later(day, shift)


def _months_later(day: date, count: int) -> date:
    """The same day of another month, or that month's last when it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + count, 12)
    if not date.min.year <= year <= date.max.year:
        raise OverflowError(f"the year {year} is none that can be written")
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _business_days_later(day: date, shift: Shift) -> date:
    """Counted from Monday to Friday. From a weekend ``+ 1bd`` is Monday and ``- 1bd`` Friday, and so is 0."""
    if day.weekday() > _FRIDAY:
        to_monday = (shift.sign < 0) != (shift.count == 0)
        day += timedelta(days=(7 if to_monday else _FRIDAY) - day.weekday())
    monday = day - timedelta(days=day.weekday())
    weeks, weekday = divmod(day.weekday() + shift.sign * shift.count, 5)
    return monday + timedelta(weeks=weeks, days=weekday)


def _anchored(day: date, word: str) -> date:
    edge, _, period = word.partition("_of_")
    first = _first_of(day, period)
    if edge == "start":
        return first
    if period == "week":
        return first + timedelta(days=6)
    months = {"month": 1, "quarter": 3, "year": 12}[period]
    last = first.month + months - 1
    return date(first.year, last, calendar.monthrange(first.year, last)[1])


def _first_of(day: date, period: str) -> date:
    match period:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case _:
            return day.replace(month=1, day=1)


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def _offset(moment: datetime, colon: str) -> str:
    seconds = round((moment.utcoffset() or timedelta()).total_seconds())
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02d}{colon}{minutes:02d}"


_Writer: TypeAlias = Callable[[datetime], str]
WRITTEN_OF_DAYS: dict[str, _Writer] = {
    "Y": lambda at: f"{at.year:04d}",
    "y": lambda at: f"{at.year % 100:02d}",
    "m": lambda at: f"{at.month:02d}",
    "d": lambda at: f"{at.day:02d}",
    "e": lambda at: f"{at.day}",
    "j": lambda at: f"{at.timetuple().tm_yday:03d}",
    "F": lambda at: f"{at.year:04d}-{at.month:02d}-{at.day:02d}",
    "u": lambda at: f"{at.isoweekday()}",
    "G": lambda at: f"{at.isocalendar().year:04d}",
    "V": lambda at: f"{at.isocalendar().week:02d}",
    "q": lambda at: f"{(at.month - 1) // 3 + 1}",
    "A": lambda at: _WEEKDAYS[at.weekday()],
    "a": lambda at: _WEEKDAYS[at.weekday()][:3],
    "B": lambda at: _MONTHS[at.month - 1],
    "b": lambda at: _MONTHS[at.month - 1][:3],
    "%": lambda _at: "%",
}
"""What a day is written as, by the letter after ``%``: the same on every host, whatever its language."""
WRITTEN_OF_MOMENTS: dict[str, _Writer] = {
    "H": lambda at: f"{at.hour:02d}",
    "M": lambda at: f"{at.minute:02d}",
    "S": lambda at: f"{at.second:02d}",
    "T": lambda at: f"{at.hour:02d}:{at.minute:02d}:{at.second:02d}",
    "z": lambda at: _offset(at, ""),
    ":z": lambda at: _offset(at, ":"),
    "Z": lambda at: at.tzname() or "UTC",
    "s": lambda at: f"{(at - _EPOCH) // timedelta(seconds=1)}",
}
_WRITTEN = WRITTEN_OF_DAYS | WRITTEN_OF_MOMENTS


def _written(moment: datetime, text: str) -> str:
    return DIRECTIVE.sub(lambda found: _WRITTEN[found[1]](moment), text)
