"""A job on a sheet: what it is, how it stands, what it depends on and what it accepts."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from . import answers, render


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A job or a grouping that a dependency speaks of."""

    holds: bool
    identifier: str | None = None
    status: str | None = None
    grouping: "Grouping | None" = None


class Grouping(msgspec.Struct, frozen=True, kw_only=True):
    """What has to hold before the job starts."""

    holds: bool
    all_of: tuple[Member, ...] = ()
    any_of: tuple[Member, ...] = ()
    none_of: tuple[Member, ...] = ()
    nested: "Grouping | None" = None


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """What starts the job, in one of its contexts."""

    context: str
    grouping: Grouping


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """The lock that the job takes part in."""

    name: str
    count: int = 1
    holds: bool = False
    waiting_since: str | None = None


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter as the job would get it now."""

    name: str
    value: str | None = None
    source: str | None = None


class Sheet(answers.Job, frozen=True, kw_only=True):
    """A job with all that is known of it."""

    contexts: tuple[str, ...] = ()
    initiation_id: str | None = None
    template: dict[str, Any] = msgspec.field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    lock: Lock | None = None


def lines(document: object, context: str) -> Iterator[str]:
    """The sheet as plain text."""
    sheet = answers.read(Sheet, document)
    yield f"{sheet.identifier} in {context}"
    for name, value in _facts(sheet):
        if value:
            yield f"  {name:<12} {value}"
    for number, parameter in enumerate(sheet.parameters):
        yield f"  {'' if number else 'parameters':<12} {_parameter(parameter)}"
    for dependency in sheet.dependencies:
        yield f"  {'starts after':<12} in {dependency.context}"
        yield from _grouping(dependency.grouping, "    ")
    yield f"  {'accepts':<12} {', '.join(sheet.permitted) or 'nothing'}"


def _facts(sheet: Sheet) -> Iterator[tuple[str, str]]:
    yield "kind", sheet.kind
    yield "agent", sheet.agent if sheet.kind in {"command", "schedule", "file"} else ""
    yield "contexts", ", ".join(sheet.contexts) if len(sheet.contexts) > 1 else ""
    yield "status", f"{sheet.status}{', accepted' if sheet.acknowledged else ''}{_killed(sheet)}"
    yield "started", render.moment(sheet.started_at)
    yield "finished", render.moment(sheet.finished_at)
    yield "return code", "" if sheet.return_code is None else str(sheet.return_code)
    yield "pid", "" if sheet.pid is None else str(sheet.pid)
    yield "details", sheet.details or ""
    yield "initiation", sheet.initiation_id or ""
    yield "lock", "" if sheet.lock is None else _lock(sheet.lock)
    yield from _of_template(sheet.template)


def _killed(sheet: Sheet) -> str:
    return ", killed" if sheet.killed else ""


def _lock(lock: Lock) -> str:
    if lock.holds:
        return f"{lock.name}, held"
    return (
        f"{lock.name}, waited for since {render.moment(lock.waiting_since)}"
        if lock.waiting_since
        else lock.name
    )


def _parameter(parameter: Parameter) -> str:
    if parameter.value is None:
        return f"{parameter.name} has no value"
    return f"{parameter.name}={parameter.value}  (from {parameter.source})"


def _of_template(template: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    trigger = template.get("trigger") or {}
    yield "command", str(template.get("command_line") or "")
    yield "directory", str(template.get("working_directory") or "")
    yield "schedule", " ".join(str(each) for each in (trigger.get("cron"), trigger.get("zone")) if each)
    yield "files", ", ".join(template.get("filenames") or ())
    yield "in", str(template.get("file_path") or "")
    yield "repeatable", "yes" if template.get("repeatable") else ""


def _grouping(grouping: Grouping, indent: str) -> Iterator[str]:
    for words, members in (
        ("all of", grouping.all_of),
        ("or one of" if grouping.all_of else "one of", grouping.any_of),
        ("none of", grouping.none_of),
    ):
        if members:
            yield f"{indent}{words}"
            for member in members:
                yield from _member(member, indent + "  ")
    if grouping.nested is not None:
        yield f"{indent}and"
        yield from _grouping(grouping.nested, indent + "  ")


def _member(member: Member, indent: str) -> Iterator[str]:
    if member.grouping is not None:
        yield from _grouping(member.grouping, indent)
    else:
        yield f"{indent}{'+' if member.holds else '-'} {member.identifier}  {member.status}"
