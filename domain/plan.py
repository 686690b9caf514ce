"""A job plan: a tree of contexts, the jobs they list and the dependencies between them.

Everything here is an immutable value. A plan is what was pushed; what happens to one run of it is a plan
instance. Names are those that operators use; the wire's spelling stops at the edge.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TypeAlias

import msgspec

from .instants import Instant
from .notification_settings import NotificationSettings

JobIdentifier: TypeAlias = str
"""``agentName-jobName``: what dependencies and lists of jobs call a job."""


class StartupControl(StrEnum):
    """How a job may start: by itself, only when an operator says so, or not at all."""

    AUTOMATIC = "AUTOMATIC"
    MANUAL = "MANUAL"
    DISABLED = "DISABLED"


class EventKind(StrEnum):
    """The kinds of event job; the value is the ``agentName`` by which bundles know them."""

    GLOBAL = "GLOBAL_EVENT"
    LOCAL = "LOCAL_EVENT_JOB"
    START = "CONTEXT_START_JOB"
    TERMINAL = "CONTEXT_TERMINAL_JOB"
    BRIDGING = "BRIDGING_JOB"


class Parameter(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A parameter declared by a job, a context or a plan."""

    name: str
    default: str | None = None
    value: str | None = None

    @property
    def own(self) -> str | None:
        """What the declaration itself says: its value, else its default."""
        return self.value if self.value is not None else self.default


def values_of(parameters: Iterable[Parameter]) -> dict[str, str]:
    """The values of declared parameters; those without one are left out."""
    return {each.name: own for each in parameters if (own := each.own) is not None}


class _JobBase(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    agent: str
    name: str
    description: str = ""
    display_name: str = ""
    contexts: tuple[str, ...] = ()
    startup: StartupControl = StartupControl.AUTOMATIC
    held_in: tuple[str, ...] = ()
    """Contexts in which new instances start with this job held."""
    skipped_in: tuple[str, ...] = ()
    """Contexts in which new instances start with this job skipped."""

    @property
    def identifier(self) -> JobIdentifier:
        """``agent-name``, always recomputed and never stored beside them."""
        return f"{self.agent}-{self.name}"


class CommandJob(_JobBase, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="command"):
    """A job that runs a script on its agent's host."""

    command_line: str
    working_directory: str | None = None
    successful_return_codes: tuple[int, ...] = ()
    """Return codes that mean success; none given means 0 alone."""
    min_execution_minutes: int | None = None
    max_execution_minutes: int | None = None
    """Both notify, neither kills."""
    timeout_minutes: int | None = None
    """After this long the process group is terminated; ``None`` leaves it to the agent's default."""
    parameters: tuple[Parameter, ...] = ()
    days_of_week: tuple[int, ...] = ()
    """1 = Sunday … 7 = Saturday; none given means every day."""
    target_residing_context_only: bool = False
    participates_in_lock: bool = False
    repeatable: bool = False
    shell: str | None = None
    """``program|option`` that runs the script instead of ``/bin/bash|-c``."""


class Trigger(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """When a schedule fires or a file watcher looks, shared by both kinds of job."""

    cron: str | None = None
    zone: str | None = None
    group: str | None = None
    ignore_misfire: bool = False
    eager: bool = False
    max_eager_callbacks: int = 0
    persistent_recovery: bool = True
    recovery_tolerance_ms: int = 30 * 60 * 1000
    passthrough: dict[str, str] = {}
    blackout_expressions: tuple[str, ...] = ()
    blackout_ranges: tuple[tuple[Instant, Instant], ...] = ()
    drop_event_on_blackout: bool = False


class ScheduleJob(_JobBase, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="schedule"):
    """A job that is complete when its cron expression fires on its agent."""

    trigger: Trigger


class FileJob(_JobBase, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="file"):
    """A job that is complete when a file that matches is found on its agent's host."""

    trigger: Trigger
    file_path: str | None = None
    filenames: tuple[str, ...] = ()
    move_directory: str | None = None
    encoding: str | None = None
    min_file_age_seconds: int = 0
    directory_depth: int = 1
    include_header: bool = False
    include_trailer: bool = False
    sort_by_modified: bool = False
    sort_ascending: bool = True
    log_matched_filenames: bool = False
    ignore_rename_whilst_scanning: bool = True
    sla_cron: str | None = None


class EventJob(_JobBase, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="event"):
    """A job without an agent: it is complete when its event occurs."""

    kind: EventKind

    @classmethod
    def listed(cls, kind: EventKind, name: str) -> "EventJob":
        """The job that a context lists without a template."""
        return cls(agent=kind.value, name=name, kind=kind)


Job: TypeAlias = CommandJob | ScheduleJob | FileJob | EventJob


def job_kind(job: Job) -> str:
    """The word for a job's kind in answers: ``command``, ``schedule``, ``file``, ``global``, ``local`` …"""
    match job:
        case CommandJob():
            return "command"
        case ScheduleJob():
            return "schedule"
        case FileJob():
            return "file"
        case EventJob(kind=kind):
            return kind.name.lower()


class Grouping(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What must hold before a dependant starts: ``nested and (all_of or any_of) and not none_of``."""

    all_of: tuple["Member", ...] = ()
    any_of: tuple["Member", ...] = ()
    none_of: tuple["Member", ...] = ()
    nested: "Grouping | None" = None

    def identifiers(self) -> Iterator[JobIdentifier]:
        """Every job mentioned anywhere in the grouping, in order, with repeats."""
        for member in (*self.all_of, *self.any_of, *self.none_of):
            if isinstance(member, Grouping):
                yield from member.identifiers()
            else:
                yield member
        if self.nested is not None:
            yield from self.nested.identifiers()


Member: TypeAlias = str | Grouping
"""A job identifier, or a grouping of its own."""


class Dependency(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The dependant may start when the grouping holds; without a grouping it starts from outside."""

    dependant: JobIdentifier
    grouping: Grouping | None = None


class ListedJob(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A job as a context lists it; what it does is told by its template."""

    agent: str
    name: str
    description: str = ""

    @property
    def identifier(self) -> JobIdentifier:
        """``agent-name``."""
        return f"{self.agent}-{self.name}"


class LockParticipant(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A job that asks for a lock before it is initiated, and how much of it."""

    context: str
    job: JobIdentifier
    count: int = 1


class Lock(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Jobs that may not run beside each other beyond a count."""

    name: str
    count: int = 1
    exclusive: bool = False
    participants: tuple[LockParticipant, ...] = ()


class Context(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A named group of jobs with their dependencies; the root context is the plan itself."""

    name: str
    description: str = ""
    jobs: tuple[ListedJob, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    contexts: tuple["Context", ...] = ()
    parameters: tuple[Parameter, ...] = ()
    locks: tuple[Lock, ...] = ()
    context_dependencies: tuple[str, ...] = ()
    """What a bundle says of dependencies between contexts, each as JSON: kept and shown, never enforced."""

    def walk(self) -> Iterator["Context"]:
        """This context and all beneath it, parents before children."""
        yield self
        for child in self.contexts:
            yield from child.walk()

    def walk_with_pointers(self, pointer: str) -> Iterator[tuple["Context", str]]:
        """As ``walk``, each with the JSON pointer to it, if this one's is as given."""
        yield self, pointer
        for index, child in enumerate(self.contexts):
            yield from child.walk_with_pointers(f"{pointer}/contexts/{index}")


class StartWindow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """When instances of a plan start, and how long each may stay active."""

    cron: str | None = None
    zone: str | None = None
    time_to_live_ms: int = 0
    """Zero: instances start by hand only and never end by the clock."""
    working_days: bool = False
    """``nW`` in the day-of-month field means the n-th working day of the month."""
    blackout_expressions: tuple[str, ...] = ()
    blackout_ranges: tuple[tuple[Instant, Instant], ...] = ()


class JobPlan(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One version of a plan: its tree of contexts, the templates of its jobs and when it starts."""

    root: Context
    jobs: tuple[Job, ...] = ()
    window: StartWindow = StartWindow()
    environment_group: str | None = None
    concurrent: bool = False
    end_on_completion: bool = False
    disabled: bool = False
    schedules_disabled: bool = False
    delay_agent_synchronisation: bool = False
    notifications: NotificationSettings = NotificationSettings()

    @property
    def name(self) -> str:
        """The plan's name is its root context's."""
        return self.root.name

    def agents(self) -> tuple[str, ...]:
        """The agents that this plan's jobs name, in order of first mention."""
        return tuple(dict.fromkeys(job.agent for job in self.jobs if not isinstance(job, EventJob)))

    def locks(self) -> Iterator[Lock]:
        """The locks as they are declared: one that several contexts declare comes several times."""
        for context in self.root.walk():
            yield from context.locks
