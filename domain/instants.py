"""Points in time, as whole milliseconds since the epoch, and their readable form."""

from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Instant: TypeAlias = int
"""Milliseconds since 1970-01-01T00:00Z."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class UnknownTimeZone(ValueError):
    """A name that the time zone database does not hold."""


def rfc3339(at: Instant) -> str:
    """An instant as RFC 3339 text in UTC with milliseconds, such as ``2026-03-29T01:30:00.000Z``.

    ``ValueError`` for an instant outside the years 1 to 9999, which that text cannot name.
    """
    try:
        moment = _EPOCH + at * _MILLISECOND
    except OverflowError as error:
        raise ValueError(f"{at} ms since the epoch lies outside the years 1 to 9999") from error
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def parse_rfc3339(text: str) -> Instant:
    """The instant that RFC 3339 text names; ``ValueError`` when it is none or has no offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no RFC 3339 time; write it like 2026-03-29T01:30:00Z") from error
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset; add Z or one like +02:00")
    return (moment - _EPOCH) // _MILLISECOND


def time_zone(name: str) -> ZoneInfo:
    """The time zone of that name; raises ``UnknownTimeZone``."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownTimeZone(f"{name!r} is no time zone; use a name such as Europe/London or UTC") from error
