"""Fields as plan files write them: durations with units, days by name, blackouts, parameters."""

import re

from ...domain.instants import Instant, parse_rfc3339
from ...domain.plan import Parameter
from .documents import Fields, Reader, Value

_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(?:\d{1,9}\s*(?:ms|s|m|h|d)\s*)+")
_DURATION_PART = re.compile(r"(\d+)\s*(ms|s|m|h|d)")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def refuse_unknown(reader: Reader, known: frozenset[str]) -> None:
    """Note every field that has no meaning here; it is most likely misspelt."""
    for name in reader.fields:
        if name not in known:
            reader.flaw(name, f"there is no such field; known are {', '.join(sorted(known))}")


def scalar(value: Value) -> str | None:
    """A text, or a number, ``true`` or ``false`` as it is written; ``None`` for anything else."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return None


def duration_ms(reader: Reader, name: str) -> int | None:
    """A duration such as ``1d 2h``, ``90m`` or ``30s``, in milliseconds."""
    value = reader.fields.get(name)
    if value is None:
        return None
    text = scalar(value)
    if text is not None and text.startswith("-"):
        reader.flaw(name, "a duration cannot be negative")
        return None
    if text is None or not _DURATION.fullmatch(text.strip()):
        reader.flaw(name, "give a duration with its unit, such as 30s, 90m, 23h or 1d 2h")
        return None
    return sum(int(count) * _UNIT_MS[unit] for count, unit in _DURATION_PART.findall(text))


def duration_minutes(reader: Reader, name: str) -> int | None:
    """A duration that is a whole number of minutes, in minutes."""
    milliseconds = duration_ms(reader, name)
    if milliseconds is not None and milliseconds % _UNIT_MS["m"]:
        reader.flaw(name, "give whole minutes here, such as 90m or 2h")
    return None if milliseconds is None else milliseconds // _UNIT_MS["m"]


def texts(reader: Reader, name: str) -> tuple[str, ...]:
    """One text or a list of them."""
    value = reader.fields.get(name)
    return (value,) if isinstance(value, str) else reader.texts(name)


def integers(reader: Reader, name: str) -> tuple[int, ...]:
    """One whole number or a list of them."""
    value = reader.fields.get(name)
    found = []
    for each in value if isinstance(value, list) else [] if value is None else [value]:
        if isinstance(each, int) and not isinstance(each, bool) and abs(each) < 2**31:
            found.append(each)
        else:
            reader.flaw(name, "give whole numbers, such as 0 or [0, 4]")
    return tuple(found)


def days_of_week(reader: Reader, name: str) -> tuple[int, ...]:
    """Days such as ``[MON, WED]`` as numbers from 1, which is Sunday, to 7."""
    days = []
    for each in texts(reader, name):
        day = each.strip().upper()[:3]
        if day in _DAYS:
            days.append(_DAYS.index(day) + 1)
        else:
            reader.flaw(name, f"{each[:40]!r} is no day; give some of {', '.join(_DAYS)}")
    return tuple(dict.fromkeys(days))


def read_blackout(reader: Reader) -> tuple[tuple[str, ...], tuple[tuple[Instant, Instant], ...]]:
    """Cron expressions and ranges ``{from, to}`` in one list under ``blackout``."""
    expressions: list[str] = []
    ranges: dict[Instant, Instant] = {}
    for index, each in enumerate(reader.items("blackout")):
        if isinstance(each, str):
            expressions.append(each)
        elif isinstance(each, Fields):
            inner = reader.within(each, f"blackout/{index}")
            refuse_unknown(inner, frozenset({"from", "to"}))
            start, end = _moment(inner, "from"), _moment(inner, "to")
            if start is not None and start in ranges:
                inner.flaw("from", "another blackout begins at this moment; leave the longer one")
            elif start is not None and end is not None:
                ranges[start] = end
        else:
            reader.flaw_at("blackout", index, "give a cron expression, or {from: TIME, to: TIME}")
    return tuple(expressions), tuple(ranges.items())


def _moment(reader: Reader, name: str) -> Instant | None:
    text = reader.required_text(name)
    try:
        return parse_rfc3339(text) if text else None
    except (ValueError, OverflowError) as error:
        reader.flaw(name, str(error))
        return None


def read_parameter_map(reader: Reader) -> tuple[Parameter, ...]:
    """Parameters as a mapping from name to default value, or to nothing where there is no default."""
    parameters = reader.object("parameters")
    found = []
    for name, value in ({} if parameters is None else parameters.fields).items():
        default = scalar(value)
        if default is None and value is not None and parameters is not None:
            parameters.flaw(name, "give the default value as a text, or nothing")
        found.append(Parameter(name, default))
    return tuple(found)
