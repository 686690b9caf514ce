"""What is wrong with the values of parameters: of a plan before it is accepted, and of any others."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from zoneinfo import ZoneInfo

from .dates import DateExpression, Dates
from .expansion import LONGEST_VALUE, Expansion
from .expressions import ExpressionInvalid, Reference, Unknown, parse
from .plan import CommandJob, Context, FileJob, JobPlan, Parameter, values_of
from .problems import Place, Problem
from .secret_values import (
    has_broken_token,
    is_encrypted,
    is_encrypted_elsewhere,
    is_named_secret,
)

_SOME_DATES = Dates(date(2026, 1, 2), 1_767_348_000_000, ZoneInfo("UTC"))
_IN_A_PATTERN = re.compile(r"\$\{([^}]+)\}")
_LONGEST_QUOTED = 80


def value_error(value: str) -> str | None:
    """Why a value can never be used, whoever gives it; ``None`` when it can. It never quotes a secret."""
    if len(value) > LONGEST_VALUE:
        return f"this has {len(value)} characters; at most {LONGEST_VALUE} are possible"
    if has_broken_token(value):
        return (
            "this begins an encrypted value, {enc:…}, which is not whole; paste all of what encrypt printed"
        )
    try:
        parse(value)
    except ExpressionInvalid as error:
        return str(error)
    return None


def value_warnings(name: str, value: str, known: Iterable[str] | None = None) -> Iterator[str]:
    """What somebody should know of a value; names that it refers to are looked up among those known."""
    if is_encrypted_elsewhere(value):
        yield "this was encrypted by another program and is passed on as it is; encrypt the value anew"
    elif is_named_secret(name) and value and not is_encrypted(value) and "${" not in value:
        yield "by its name this is a secret, and it can be read here; encrypt it"
    for part in parse(value) if "${" in value else ():
        match part:
            case Unknown(text=text):
                quoted = text[:_LONGEST_QUOTED]
                yield f"{quoted!r} is no expression and stays as it is; write $${{ for ${{ if that is meant"
            case Reference(name=other) if known is not None and other not in known:
                yield f"the plan has no parameter {other!r}: ${{{other}}} stays unless a source has it"
            case _:
                continue


def parameter_problems(plan: JobPlan) -> Iterator[Problem]:
    """Every problem of the values that a plan gives to parameters."""
    yield from _Values(plan).problems()


class _Values:
    def __init__(self, plan: JobPlan) -> None:
        self._plan = plan
        self._commands = [(i, job) for i, job in enumerate(plan.jobs) if isinstance(job, CommandJob)]
        declared = [each for context in plan.root.walk() for each in context.parameters]
        declared += [each for _, job in self._commands for each in job.parameters]
        self._names = {each.name for each in declared}
        self._listed_in: dict[str, list[Mapping[str, str]]] = {}
        self._refused: set[str] = set()

    def problems(self) -> Iterator[Problem]:
        yield from self._context(self._plan.root, "/root", {})
        for index, job in self._commands:
            place = Place(job.contexts[0] if job.contexts else None, job.identifier)
            pointer = f"/jobs/{index}/parameters"
            yield from self._each(job.parameters, place, pointer)
            if any("$" in value for value in values_of(job.parameters).values()):
                for around in self._listed_in.get(job.identifier, [{}]):
                    values = {**values_of(job.parameters), **around}
                    yield from self._together(job.parameters, values, place, pointer)
        yield from self._patterns()

    def _context(self, context: Context, pointer: str, above: Mapping[str, str]) -> Iterator[Problem]:
        values = {**above, **values_of(context.parameters)} if context.parameters else above
        if context.parameters:
            place, at = Place(context=context.name), f"{pointer}/parameters"
            yield from self._each(context.parameters, place, at)
            yield from self._together(context.parameters, values, place, at)
        for job in context.jobs:
            self._listed_in.setdefault(job.identifier, []).append(values)
        for index, child in enumerate(context.contexts):
            yield from self._context(child, f"{pointer}/contexts/{index}", values)

    def _each(self, parameters: tuple[Parameter, ...], place: Place, pointer: str) -> Iterator[Problem]:
        """What can be said of each value by itself."""
        for index, parameter in enumerate(parameters):
            for field, value in (("default", parameter.default), ("value", parameter.value)):
                if value is None:
                    continue
                at = f"{pointer}/{index}/{field}"
                if (error := value_error(value)) is not None:
                    self._refused.add(error)
                    yield place.error(f"the value of {parameter.name!r}: {error}", at)
                    continue
                for warning in value_warnings(parameter.name, value, self._names):
                    yield place.warning(f"the value of {parameter.name!r}: {warning}", at)

    def _together(
        self, parameters: tuple[Parameter, ...], values: Mapping[str, str], place: Place, pointer: str
    ) -> Iterator[Problem]:
        """What comes of values that name each other."""
        expansion = Expansion(values.get, _SOME_DATES)
        for index, parameter in enumerate(parameters):
            if "$" not in (parameter.own or ""):
                continue
            value = expansion.value(parameter.name)
            if value is not None and value.fault is not None and value.fault not in self._refused:
                self._refused.add(value.fault)
                yield place.error(f"the value of {parameter.name!r}: {value.fault}", f"{pointer}/{index}")

    def _patterns(self) -> Iterator[Problem]:
        """File watchers are told what holds in the instance as a whole: names with values, and no secrets."""
        known = {parameter.name: parameter.own for parameter in self._plan.root.parameters}
        for index, job in enumerate(self._plan.jobs):
            if not isinstance(job, FileJob):
                continue
            place = Place(job.contexts[0] if job.contexts else None, job.identifier)
            named = {name for text in _patterns_of(job) for name in _IN_A_PATTERN.findall(text)}
            for name in sorted(named):
                if is_encrypted(known.get(name) or ""):
                    message = f"it looks for files by {name!r}, which is encrypted and which it is not told"
                    yield place.error(f"{message}; use another parameter", f"/jobs/{index}")
                elif name not in known and _is_date(name):
                    message = (
                        f"patterns take names alone: give the plan a parameter with the value ${{{name}}}"
                    )
                    yield place.error(f"{message}, and name that here", f"/jobs/{index}")
                elif name not in known:
                    message = (
                        f"the plan itself has no parameter {name!r}: unless it is given or a source has it,"
                    )
                    yield place.warning(f"{message} no file is found", f"/jobs/{index}")


def _is_date(name: str) -> bool:
    try:
        return any(isinstance(part, DateExpression) for part in parse(f"${{{name}}}"))
    except ExpressionInvalid:
        return True


def _patterns_of(job: FileJob) -> tuple[str, ...]:
    return (*job.filenames, *(() if job.file_path is None else (job.file_path,)))
