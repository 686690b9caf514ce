"""What a plan instance may be told: events that were received, and orders of people and of the clock."""

from typing import ClassVar, TypeAlias
from uuid import UUID

import msgspec

from .facts import EndReason
from .instants import Instant
from .messages import ProcessEvent
from .plan import JobIdentifier
from .status import JobStatus


class _Command(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    pass


# --- what came in -------------------------------------------------------------------------------------------


class ReportEvent(_Command, frozen=True, kw_only=True):
    """An agent, or somebody outside, says what became of a job."""

    event: ProcessEvent


class RefuseInitiation(_Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """An initiation cannot be carried out, for good: its agent refused it, or it could not be sent to it."""

    initiation_id: str
    detail: str
    """Who refused it, and why."""


class GrantLock(_Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Something let go of a job lock, and a job of this instance that waited for it holds it now."""

    ticket: int
    job: JobIdentifier
    context: str | None = None


class ParkEvent(_Command, frozen=True, kw_only=True):
    """An inbound event kept failing and was put aside."""

    error: str
    event_id: str | None = None


class TakeSourceParameters(_Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The dashboard's parameter source for the plan says something else now."""

    parameters: dict[str, str]
    """All that it says."""


# --- orders about a job -------------------------------------------------------------------------------------


class JobCommand(_Command, frozen=True, kw_only=True):
    """An order about a job, in all its standings or, where each is a job of its own, in the one named."""

    name: ClassVar[str]
    """What people and clients call it; a row of the table of statuses."""
    job: JobIdentifier
    context: str


class SubmitJob(JobCommand, frozen=True, kw_only=True):
    """Run a command now, its dependencies ignored; let any other job complete as if it had happened."""

    name: ClassVar[str] = "submit"
    parameters: dict[str, str] = {}


class HoldJob(JobCommand, frozen=True, kw_only=True):
    """Do not start it before it is released; if it becomes ready meanwhile, its initiation is kept."""

    name: ClassVar[str] = "hold"


class ReleaseJob(JobCommand, frozen=True, kw_only=True):
    """Let it start again; an initiation that was kept is raised now."""

    name: ClassVar[str] = "release"


class SkipJob(JobCommand, frozen=True, kw_only=True):
    """Pass it over when its dependencies are met, or at once if nothing is left to wait for."""

    name: ClassVar[str] = "skip"


class EnableJob(JobCommand, frozen=True, kw_only=True):
    """Take back a skip."""

    name: ClassVar[str] = "enable"


class ResetJob(JobCommand, frozen=True, kw_only=True):
    """Let it wait as if it had not run."""

    name: ClassVar[str] = "reset"


class ResetDownstream(JobCommand, frozen=True, kw_only=True):
    """Reset it and everything that depends on it, directly or not; then submit it if so asked."""

    name: ClassVar[str] = "reset-downstream"
    submit: bool = False
    parameters: dict[str, str] = {}


class AcknowledgeError(JobCommand, frozen=True, kw_only=True):
    """Accept its failure, also ahead of it: from now on its ERROR counts as satisfied. Starts nothing."""

    name: ClassVar[str] = "acknowledge"
    ticket: str | None = None
    """Where the failure is followed up."""


class FireDependants(JobCommand, frozen=True, kw_only=True):
    """Start what its success would have started; it stays in ERROR."""

    name: ClassVar[str] = "fire-dependants"


class KillJob(JobCommand, frozen=True, kw_only=True):
    """Have its agent end its process group."""

    name: ClassVar[str] = "kill"
    force: bool = False
    """Without giving the processes a chance to clean up."""


JOB_COMMANDS: tuple[type[JobCommand], ...] = (
    SubmitJob,
    HoldJob,
    ReleaseJob,
    SkipJob,
    EnableJob,
    ResetJob,
    ResetDownstream,
    AcknowledgeError,
    FireDependants,
    KillJob,
)
"""All of them, in the order of the table of statuses."""


# --- orders about a context ---------------------------------------------------------------------------------


class ContextCommand(_Command, frozen=True, kw_only=True):
    """An order about every job beneath a context that it can apply to; the others are left alone."""

    name: ClassVar[str]
    context: str


class HoldContext(ContextCommand, frozen=True, kw_only=True):
    """Hold the command jobs that wait."""

    name: ClassVar[str] = "hold"


class ReleaseContext(ContextCommand, frozen=True, kw_only=True):
    """Release what is held."""

    name: ClassVar[str] = "release"


class SkipContext(ContextCommand, frozen=True, kw_only=True):
    """Skip what waits and starts inside."""

    name: ClassVar[str] = "skip"


class EnableContext(ContextCommand, frozen=True, kw_only=True):
    """Enable what is skipped."""

    name: ClassVar[str] = "enable"


CONTEXT_COMMANDS: tuple[type[ContextCommand], ...] = (HoldContext, ReleaseContext, SkipContext, EnableContext)
"""All of them."""


# --- orders about the instance ------------------------------------------------------------------------------


class SetParameters(_Command, frozen=True, kw_only=True):
    """Later initiations use these values, in one context or everywhere."""

    parameters: dict[str, str]
    context: str | None = None


class DisableSchedules(_Command, frozen=True, kw_only=True):
    """Ignore what schedules fire, except by hand."""


class EnableSchedules(_Command, frozen=True, kw_only=True):
    """Heed what schedules fire."""


class RunUntilEnded(_Command, frozen=True, kw_only=True):
    """Neither its time to live nor its completion ends it any more, only a person does."""


class BeginInstance(_Command, frozen=True, kw_only=True):
    """The start of a prepared instance has come."""


class MoveStart(_Command, frozen=True, kw_only=True):
    """A prepared instance is to begin with another start of its plan."""

    due_at: Instant


class EndInstance(_Command, frozen=True, kw_only=True):
    """Nothing more is to happen: kill what runs and let the agents forget the instance."""

    reason: EndReason = "by hand"


class ResetInstance(_Command, frozen=True, kw_only=True):
    """End it and begin a fresh one of its plan's newest version instead."""

    successor: UUID
    """The id of the fresh one."""
    parameters: dict[str, str] = {}
    same_parameters: bool = False
    """Those that were given or set so far are given to the fresh one too; ``parameters`` win."""
    hold_commands: bool = False
    """Every command job of the fresh one begins on hold."""


class CloseWindow(_Command, frozen=True, kw_only=True):
    """The instance's time to live is over."""


InstanceCommand: TypeAlias = SetParameters | DisableSchedules | EnableSchedules | RunUntilEnded
LifeCommand: TypeAlias = BeginInstance | MoveStart | EndInstance | ResetInstance | CloseWindow
"""Orders about the instance's beginning and its end."""
Order: TypeAlias = JobCommand | ContextCommand | InstanceCommand | LifeCommand
"""What a person or the clock asks for, and may be refused."""


class HeardOrder(_Command, frozen=True, kw_only=True):
    """An order that came through the inbox: nobody waits for its answer, so a refusal is told as a fact."""

    order: Order


Command: TypeAlias = (
    ReportEvent | RefuseInitiation | GrantLock | HeardOrder | TakeSourceParameters | ParkEvent | Order
)


class Refused(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A command that changes nothing, why, and when it would be accepted."""

    reason: str
    status: JobStatus | str | None = None
    permitted_in: tuple[str, ...] = ()
    """The statuses in which the same command is accepted."""
    permitted: tuple[str, ...] = ()
    """The commands that the job accepts as it is now."""
    unknown: bool = False
    """The job or context that was named does not exist."""
