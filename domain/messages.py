"""What passes between a dashboard and its agents: initiations out, process events back.

These are the inside forms; the JSON that existing agents and clients speak is made from and read into them
at the edge.
"""

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from .instants import Instant
from .plan import CommandJob, FileJob, JobIdentifier, ScheduleJob


class Outcome(StrEnum):
    """What became of an initiation or a fire, as agents report it."""

    EXECUTION_INVOKED = "EXECUTION_INVOKED"
    IGNORED_DAY_OF_WEEK = "EXECUTION_INVOKED_IGNORED_DAY_OF_WEEK"
    IGNORED_IN_BLACKOUT = "EXECUTION_IGNORED_INSIDE_BLACKOUT_WINDOW"
    IGNORED_BUSINESS_RULE = "EXECUTION_IGNORED_BUSINESS_RULE_NOT_READY"
    FIRE_SKIPPED = "FIRE_SKIPPED"
    """A due fire that did not happen, with its reason in the details; only agents of our own tell it."""


class ProcessEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What an agent says of one job of one plan instance: it started, it finished, it fired, a file came."""

    agent: str
    job: str
    """The job's name, without its agent."""
    instance_id: str
    plan: str = ""
    id: str | None = None
    """Given by the sender; the same id again is the same event again."""
    initiation_id: str | None = None
    contexts: tuple[str, ...] = ()
    """The contexts the event is for; none means all in which the job stands."""
    starting: bool = False
    successful: bool = False
    outcome: Outcome = Outcome.EXECUTION_INVOKED
    return_code: int | None = None
    pid: int | None = None
    user: str | None = None
    host: str | None = None
    group: str | None = None
    command_line: str | None = None
    fired_at: Instant | None = None
    next_fire_at: Instant | None = None
    completed_at: Instant | None = None
    output_path: str | None = None
    error_path: str | None = None
    details: str | None = None
    skipped: bool = False
    dry_run: bool = False
    resubmitted: bool = False
    killed: bool = False
    manual: bool = False

    @property
    def job_identifier(self) -> JobIdentifier:
        """``agent-job``."""
        return f"{self.agent}-{self.job}"


class Catalyst(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """The event that caused an initiation, as far as the job that it starts may want to know."""

    job: JobIdentifier
    context: str | None = None
    """The only standing that is meant, of a job whose standings are jobs of their own."""
    event_id: str | None = None
    return_code: int | None = None
    output_path: str | None = None
    position: int = 0
    """Of the fact that this is, in the log of the instance; agents are not told."""


class DryRun(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """How an agent pretends to run: for how long, and how often it fails."""

    fixed_ms: int | None = None
    min_ms: int = 0
    max_ms: int = 0
    error_percentage: float = 0.0
    error: bool = False
    jobs_in_error: tuple[JobIdentifier, ...] = ()
    """Those that fail whatever else is said."""

    def of(self, job: JobIdentifier) -> "DryRun":
        """How this one job is pretended to run."""
        return replace(self, error=self.error or job in self.jobs_in_error, jobs_in_error=())


class Initiation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """An order to an agent: run this job once for this instance."""

    id: str
    """Unique for ever; the same id again is the same order again."""
    agent: str
    job: str
    """The job's name, without its agent."""
    plan: str
    instance_id: str
    contexts: tuple[str, ...] = ()
    parameters: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    """The parameters that nobody may read but the command."""
    template: CommandJob | None = None
    """What to run; without it the agent runs what was provisioned."""
    catalyst: Catalyst | None = None
    skipped: bool = False
    dry_run: DryRun | None = None

    @property
    def job_identifier(self) -> JobIdentifier:
        """``agent-job``."""
        return f"{self.agent}-{self.job}"


class ProvisionedJobs(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The jobs of one plan that one agent is to hold; they replace what it held for that plan."""

    plan: str
    jobs: tuple[CommandJob | ScheduleJob | FileJob, ...]


class PublishedInstance(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """A plan instance that an agent may fire schedules and file watchers for, until it is removed."""

    instance_id: str
    plan: str
    jobs: tuple[JobIdentifier, ...] = ()
    """The jobs of this instance; an agent heeds those that are its own."""
    contexts: dict[JobIdentifier, tuple[str, ...]] = {}
    parameters: dict[str, str] = {}
    started_at: Instant = 0
    ends_at: Instant | None = None
    schedules_disabled: bool = False
