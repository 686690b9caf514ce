"""Expressions in the values of parameters: dates to calculate with, and other parameters.

A value is text with expressions in it::

    value       text and ${expression}, as often as wanted; $${ is the text ${ and ${$} the text $
    expression  date step… [:format], or the name of another parameter
    date        business_date   the day that the instance is for
                start           the moment at which it started or was due
    step        + or -, a number, and a unit: y mo w d bd (days from Monday to Friday), or for start h min s
                start_of_ or end_of_, and week month quarter year
    format      strftime's directives in English; %F unless given, for start %FT%T%:z

Steps are taken from left to right, in the time zone of the plan. Whatever else begins with ``${``, such as a
shell's ``${HOME:-/}``, stays as it is. Values are calculated, never executed.
"""

import re
from functools import lru_cache
from typing import TypeAlias

import msgspec

from .dates import (
    DAY_UNITS,
    DIRECTIVE,
    TIME_UNITS,
    WRITTEN_OF_DAYS,
    WRITTEN_OF_MOMENTS,
    Anchor,
    DateExpression,
    Head,
    Shift,
)

_LONGEST_KEPT = 1_000
"""Characters of a value whose parts are remembered."""

_PARTS = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_DATE = re.compile(r"\s*(business_date|start)(?=\Z|\s|:|[+-]\s*[0-9])")
_SHIFT = re.compile(r"\s*([+-])\s*([0-9]{1,6})\s*([A-Za-z]+)(?![A-Za-z0-9_])")
_ANCHOR = re.compile(r"\s+((?:start|end)_of_(?:week|month|quarter|year))(?![A-Za-z0-9_])")
_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class ExpressionInvalid(ValueError):
    """An expression of dates that cannot be; the message says what is wrong and what is allowed."""


class Reference(msgspec.Struct, frozen=True):
    """The value of another parameter, by its name."""

    name: str

    def __str__(self) -> str:
        return f"${{{self.name}}}"


class Unknown(msgspec.Struct, frozen=True):
    """``${…}`` that is no expression of ours: it stays as it is."""

    text: str

    def __str__(self) -> str:
        return self.text


Part: TypeAlias = str | DateExpression | Reference | Unknown
"""A piece of a value; a string is plain text."""


def parse(value: str) -> tuple[Part, ...]:
    """The parts of a value; raises ``ExpressionInvalid`` for dates that cannot be."""
    return _kept(value) if len(value) <= _LONGEST_KEPT else _parse(value)


def _parse(value: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    text = ""
    end = 0
    for found in _PARTS.finditer(value):
        text += value[end : found.start()]
        end = found.end()
        if found[0] == "$${":
            text += "${"
        elif found[1] == "$":
            text += "$"
        else:
            parts += [text, _expression(found[0], found[1])]
            text = ""
    parts.append(text + value[end:])
    return tuple(each for each in parts if each != "")


_kept = lru_cache(maxsize=8192)(_parse)


def _expression(whole: str, inside: str | None) -> Part:
    if inside is None:
        return Unknown(whole)
    head = _DATE.match(inside)
    if head is not None:
        return _date_expression(head, whole, inside)
    return Reference(inside) if _REFERENCE.fullmatch(inside) else Unknown(whole)


def _date_expression(head: re.Match[str], whole: str, inside: str) -> DateExpression:
    name: Head = "start" if head[1] == "start" else "business_date"
    steps: list[Shift | Anchor] = []
    at = head.end()
    while True:
        if shift := _SHIFT.match(inside, at):
            steps.append(_shift(shift, name, whole))
            at = shift.end()
        elif anchor := _ANCHOR.match(inside, at):
            steps.append(Anchor(anchor[1]))
            at = anchor.end()
        else:
            break
    rest = inside[at:].strip()
    if not rest:
        return DateExpression(name, tuple(steps))
    if not rest.startswith(":"):
        raise ExpressionInvalid(
            f"{whole}: {rest!r} is no step; steps are such as + 1d, - 2bd, - 1mo, start_of_month and "
            "end_of_month, and a format comes after a colon"
        )
    written = inside[at:].lstrip().removeprefix(":")
    _check_format(written, name, whole)
    return DateExpression(name, tuple(steps), written)


def _shift(found: re.Match[str], head: Head, whole: str) -> Shift:
    sign, count, unit = found.groups()
    units = DAY_UNITS if head == "business_date" else (*DAY_UNITS, *TIME_UNITS)
    if unit not in units:
        raise ExpressionInvalid(f"{whole}: {unit!r} is no unit of {head}; they are {', '.join(units)}")
    return Shift(1 if sign == "+" else -1, int(count), unit)


def _check_format(text: str, head: Head, whole: str) -> None:
    directives = DIRECTIVE.findall(text)
    if not directives:
        raise ExpressionInvalid(f"{whole}: the format {text!r} has no directive such as %Y%m%d")
    known = WRITTEN_OF_DAYS if head == "business_date" else WRITTEN_OF_DAYS | WRITTEN_OF_MOMENTS
    for each in directives:
        if each not in known:
            told = " ".join(f"%{letter}" for letter in known)
            raise ExpressionInvalid(f"{whole}: %{each} is no directive of {head}; they are {told}")


def write(parts: tuple[Part, ...]) -> str:
    """The value that reads as these parts."""
    written = []
    for index, part in enumerate(parts):
        if isinstance(part, str):
            text = part.replace("${", "$${")
            if index + 1 < len(parts):
                bare = text.rstrip("$")
                text = bare + "${$}" * (len(text) - len(bare))
            written.append(text)
        else:
            written.append(str(part))
    return "".join(written)
