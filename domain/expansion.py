"""What values come to when their expressions are calculated and parameters name each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from .dates import DateExpression, Dates, calculate
from .expressions import ExpressionInvalid, Part, Reference, Unknown, parse

LONGEST_VALUE = 65_536
"""Characters that a value may come to: parameters that name each other can grow without bound."""


class Value(msgspec.Struct, frozen=True):
    """What a parameter's value comes to."""

    text: str
    complete: bool = True
    """Everything in it that looks like an expression was replaced."""
    fault: str | None = None
    """Why it was left as it was written, as a whole."""


@dataclass(slots=True)
class _Open:
    """A value whose parts are being calculated."""

    name: str
    raw: str
    parts: tuple[Part, ...]
    rest: Iterator[str]
    """The names in it that were not looked at yet."""


class Expansion:
    """Calculates values, each once; what cannot be calculated stays as it is, and nothing is raised.

    A value that leads back to itself, grows beyond ``LONGEST_VALUE`` or has dates that cannot be stays as it
    is written, as a whole, and so does every value that names it.
    """

    def __init__(self, find: Callable[[str], str | None], dates: Dates | None) -> None:
        """``find`` gives a parameter's value as it is written; without dates none can be calculated."""
        self._find = find
        self._dates = dates
        self._done: dict[str, Value] = {}

    def value(self, name: str) -> Value | None:
        """What the parameter of that name comes to; ``None`` for one that nobody gave a value."""
        if name not in self._done:
            self._calculate(name)
        return self._done.get(name)

    def _calculate(self, name: str) -> None:
        path: dict[str, _Open] = {}
        self._enter(name, path)
        while path:
            top = path[next(reversed(path))]
            for each in top.rest:
                if each in path:
                    self._leave(top, path, Value(top.raw, complete=False, fault=_circle(path, each)))
                    break
                if each not in self._done and self._enter(each, path):
                    break
            else:
                self._leave(top, path, self._joined(top))

    def _enter(self, name: str, path: dict[str, _Open]) -> bool:
        """Begin with a value; false when there is nothing to calculate, or nothing that can be."""
        raw = self._find(name)
        if raw is None:
            return False
        if "$" not in raw:
            self._done[name] = Value(raw)
            return False
        if len(raw) > LONGEST_VALUE:
            self._done[name] = Value(raw, complete=False, fault=_too_long(name))
            return False
        try:
            parts = parse(raw)
        except ExpressionInvalid as error:
            self._done[name] = Value(raw, complete=False, fault=str(error))
            return False
        names = (part.name for part in parts if isinstance(part, Reference))
        path[name] = _Open(name, raw, parts, names)
        return True

    def _leave(self, opened: _Open, path: dict[str, _Open], value: Value) -> None:
        del path[opened.name]
        self._done[opened.name] = value

    def _joined(self, opened: _Open) -> Value:
        texts: list[str] = []
        length, complete = 0, True
        for part in opened.parts:
            piece = self._piece(part)
            length += len(piece.text)
            fault = piece.fault or (_too_long(opened.name) if length > LONGEST_VALUE else None)
            if fault is not None:
                return Value(opened.raw, complete=False, fault=fault)
            complete = complete and piece.complete
            texts.append(piece.text)
        return Value("".join(texts), complete=complete)

    def _piece(self, part: Part) -> Value:
        match part:
            case str():
                return Value(part)
            case Unknown():
                return Value(part.text, complete=False)
            case DateExpression():
                return self._date(part)
            case Reference(name=name):
                return self._done.get(name) or Value(str(part), complete=False)

    def _date(self, expression: DateExpression) -> Value:
        if self._dates is None:
            return Value("", fault=f"{expression} cannot be calculated: the time zone is not known here")
        try:
            return Value(calculate(expression, self._dates))
        except (OverflowError, ValueError):
            return Value("", fault=f"{expression} lies outside the years 1 to 9999")


def _too_long(name: str) -> str:
    return f"the value of {name} comes to more than {LONGEST_VALUE} characters"


def _circle(path: dict[str, _Open], closing: str) -> str:
    names = list(path)
    return f"{' names '.join([*names[names.index(closing) :], closing])}, which has no end"
