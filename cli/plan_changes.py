"""What changed between two versions of a plan, a line each."""

from typing import Any

import msgspec

from ..domain.plan import Grouping
from ..domain.plan_diff import PlanChange
from ..domain.plan_words import condition
from . import answers

_MARKS = {"added": "+", "removed": "-", "changed": "~"}


def lines(documents: list[Any]) -> list[str]:
    """The changes as the dashboard tells them, in words."""
    return [f"{_MARKS[each.change]} {_told(each)}" for each in answers.read(list[PlanChange], documents)]


def _told(change: PlanChange) -> str:
    match change.what:
        case "listing":
            subject, what = change.name, f" in context {change.context}"
        case "dependency":
            return f"{change.name} in context {change.context} starts {_dependency(change)}"
        case "participant":
            subject, what = f"lock {change.name}", f": {change.job} in context {change.context} takes"
        case "parameter":
            owner = f"job {change.job}" if change.job is not None else f"context {change.context}"
            subject, what = f"parameter {change.name} of {owner}", ""
        case "notification" if change.job is not None:
            where = "" if change.context is None else f" in context {change.context}"
            subject, what = f"notification {change.name} of job {change.job}", where
        case "window":
            subject, what = f"start of {change.name}", ""
        case "context" | "lock" if change.context is not None:
            subject, what = f"{change.what} {change.name}", f" in context {change.context}"
        case _:
            subject, what = f"{change.what} {change.name}", ""
    return subject + what + _values(change)


def _dependency(change: PlanChange) -> str:
    before, after = (_started(each) for each in (change.before, change.after))
    match change.change:
        case "added":
            return after
        case "removed":
            return before
        case _:
            return f"{before} -> {after}"


def _started(grouping: Any) -> str:
    if grouping is None:
        return "from outside"
    return f"after {condition(answers.read(Grouping, grouping))}"


def _values(change: PlanChange) -> str:
    if change.field is not None:
        return f" {change.field}: {_value(change.before)} -> {_value(change.after)}"
    match change.change, change.what:
        case "changed", _:
            given = change.before is not None or change.after is not None
            return f" {_value(change.before)} -> {_value(change.after)}" if given else ""
        case (("added" | "removed"), ("job" | "lock")):
            described = change.after if change.after is not None else change.before
            return f": {_value(described)}" if described else ""
        case _:
            value = change.after if change.after is not None else change.before
            return "" if value is None else f" {_value(value)}"


def _value(value: Any) -> str:
    """A value on one line: texts as they are, anything else as JSON."""
    match value:
        case None:
            return "nothing"
        case str():
            return value or '""'
        case {"default": default} if len(value) == 1:
            return _value(default)
        case _:
            return msgspec.json.encode(value).decode()
