"""What the dashboard answers, as far as the command line shows it; fields that join later are ignored."""

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from .failures import ExitCode, Failure

T = TypeVar("T")

STILL_TO_COME = frozenset({"RUNNING", "SKIPPED_RUNNING", "LOCK_QUEUED"})
"""Statuses of jobs that end by themselves."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job in one context."""

    identifier: str
    agent: str = ""
    name: str = ""
    kind: str = ""
    context: str | None = None
    """The only context that it is for, of a job that is one of its own in each."""
    status: str
    held: bool = False
    skipped: bool = False
    initiated: bool = False
    acknowledged: bool = False
    killed: bool = False
    started_at: str | None = None
    finished_at: str | None = None
    return_code: int | None = None
    pid: int | None = None
    details: str | None = None
    permitted: tuple[str, ...] = ()

    @property
    def in_flight(self) -> bool:
        """Whether something is under way for it: it runs, it waits for a lock, or its agent was told."""
        return self.status in STILL_TO_COME or (self.initiated and self.status == "WAITING")


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """A context with what is in it."""

    name: str
    status: str
    jobs: tuple[Job, ...] = ()
    contexts: tuple["Context", ...] = ()

    def walk(self) -> Iterator["Context"]:
        """This context and all beneath it, parents before children."""
        yield self
        for child in self.contexts:
            yield from child.walk()


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A plan instance; lists leave the tree out."""

    instance_id: str
    plan: str
    plan_version: int = 0
    status: str
    position: int = 0
    started_at: str | None = None
    ends_at: str | None = None
    ended_at: str | None = None
    parameters: dict[str, str] = {}
    counts: dict[str, int] = {}
    root: Context | None = None

    def standings(self) -> Iterator[tuple[Context, Job]]:
        """Every job in every context that lists it."""
        if self.root is not None:
            for context in self.root.walk():
                for job in context.jobs:
                    yield context, job

    @property
    def ended(self) -> bool:
        """Whether nothing more happens in it."""
        return self.status == "ENDED" or self.ended_at is not None

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way: only a person, a clock or a file can change it now."""
        return not any(job.in_flight for _context, job in self.standings())


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in its place in the log."""

    position: int
    at: str
    type: str
    data: dict[str, Any] = {}
    cause: dict[str, Any] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A job's status in one context, before and after."""

    context: str
    job: str
    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """An order that was accepted, and what followed."""

    position: int
    facts: tuple[Fact, ...] = ()


class Dependant(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of a job."""

    identifier: str
    effect: str


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What would follow from the end of a job."""

    dependants: tuple[Dependant, ...] = ()
    ends_instance: bool = False


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """An inbound event or an order, what it changed and what it started."""

    at: str
    event: Any = None
    changed: tuple[Change, ...] = ()
    initiated: tuple[str, ...] = ()
    before: int
    after: int


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as the dashboard knows it."""

    name: str
    url: str | None = None
    host: str | None = None
    version: str | None = None
    reachable: bool = False
    last_seen: str | None = None
    running: int = 0
    queued: int = 0
    problems: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the list of plans."""

    name: str
    version: int = 0
    disabled: bool = False
    pushed_at: str | None = None
    agents: tuple[str, ...] = ()


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """A start or a schedule that is due."""

    at: str
    kind: str
    plan: str
    job: str | None = None
    instance_id: str | None = None
    skipped: str | None = None


class PlanVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the list of a plan's versions."""

    version: int
    pushed_at: str | None = None
    pushed_by: str | None = None
    command: str | None = None
    reason: str | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list, and where the next one begins."""

    items: list[dict[str, Any]]
    next: str | None = None


def read(kind: type[T], document: object) -> T:
    """A document as one of the types above; raises ``Failure`` when it is another thing."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise Failure(
            f"the dashboard answered something else than expected: {error}",
            code=ExitCode.UNREACHABLE,
            next_step="use a jobledger of the dashboard's version (`jobledger --version`)",
        ) from error
