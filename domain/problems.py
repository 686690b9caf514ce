"""Problems of plans, and the checks that several parts of a plan have in common."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from .cron import CronExpression, InvalidCron
from .instants import Instant, UnknownTimeZone, time_zone
from .plan import JobIdentifier, Parameter

Severity: TypeAlias = Literal["error", "warning"]


class Problem(msgspec.Struct, frozen=True):
    """One thing to change in a plan (an error) or to know about it (a warning)."""

    severity: Severity
    context: str | None
    job: JobIdentifier | None
    message: str
    pointer: str
    """JSON pointer into the plan, by the names of its fields."""

    @property
    def is_error(self) -> bool:
        """Whether the plan cannot be accepted with it."""
        return self.severity == "error"

    @property
    def place(self) -> "Place":
        """The context and the job."""
        return Place(self.context, self.job)

    def __str__(self) -> str:
        place = str(self.place)
        return f"{self.severity}: {place}{': ' if place else ''}{self.message}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where problems are: in a context, of a job, of both or of neither."""

    context: str | None = None
    job: JobIdentifier | None = None

    def __str__(self) -> str:
        parts = (f"context {self.context}" if self.context else "", f"job {self.job}" if self.job else "")
        return ", ".join(part for part in parts if part)

    def error(self, message: str, pointer: str) -> Problem:
        """What must be changed."""
        return Problem("error", self.context, self.job, message, pointer)

    def warning(self, message: str, pointer: str) -> Problem:
        """What one should know."""
        return Problem("warning", self.context, self.job, message, pointer)

    def cron(self, text: str | None, pointer: str, *, working_days: bool = False) -> Iterator[Problem]:
        """What is wrong with a cron expression."""
        refusal = None if text is None else cron_refusal(text, working_days=working_days)
        if refusal is not None:
            yield self.error(f"invalid cron expression: {refusal}", pointer)

    def zone(self, name: str | None, pointer: str) -> Iterator[Problem]:
        """What is wrong with the name of a time zone."""
        refusal = None if name is None else _zone_refusal(name)
        if refusal is not None:
            yield self.error(refusal, pointer)

    def blackouts(
        self, expressions: Iterable[str], ranges: Iterable[tuple[Instant, Instant]], pointer: str
    ) -> Iterator[Problem]:
        """What is wrong with the blackouts of a plan or a job."""
        for index, text in enumerate(expressions):
            yield from self.cron(text, f"{pointer}/blackout_expressions/{index}")
        for index, (start, end) in enumerate(ranges):
            if start > end:
                yield self.error(
                    f"this blackout ends at {end}, before it begins at {start}; exchange them",
                    f"{pointer}/blackout_ranges/{index}",
                )

    def parameters(self, parameters: Iterable[Parameter], pointer: str) -> Iterator[Problem]:
        """Parameters with the same name twice."""
        seen: set[str] = set()
        for index, parameter in enumerate(parameters):
            if parameter.name in seen:
                yield self.error(
                    f"the parameter {parameter.name!r} stands here twice; remove one", f"{pointer}/{index}"
                )
            seen.add(parameter.name)


@lru_cache(maxsize=4096)
def cron_refusal(text: str, *, working_days: bool = False) -> str | None:
    """Why a text is no cron expression, or ``None`` when it is one."""
    try:
        CronExpression.parse(text, working_days=working_days)
    except InvalidCron as error:
        return str(error)
    return None


@lru_cache(maxsize=1024)
def _zone_refusal(name: str) -> str | None:
    try:
        time_zone(name)
    except UnknownTimeZone as error:
        return str(error)
    return None
