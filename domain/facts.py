"""The facts of plans, of their instances and of locks: what happened, in the past tense, small and frozen.

Facts are the only thing that is stored. Each is recorded with its instant and its cause, at a position in the
log of its stream (a plan instance, a plan, the locks of an environment group, or events kept for history).
"""

from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from .instants import Instant
from .messages import Catalyst, DryRun, Outcome, ProcessEvent
from .notification_settings import NotificationSettings
from .plan import JobIdentifier, JobPlan

SCHEMA_VERSION = 1
"""Of the facts as they are written now; older ones are upcast when they are read."""


class _Fact(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    pass


class FactOfPlan(_Fact, frozen=True, omit_defaults=True, kw_only=True):
    """Told in the log of a plan."""


class FactOfLocks(_Fact, frozen=True, omit_defaults=True, kw_only=True):
    """Told in the log of an environment group's locks."""


class FactOfJob(_Fact, frozen=True, omit_defaults=True, kw_only=True):
    """Told of a job of a plan instance, whose state it may change."""

    job: JobIdentifier
    context: str | None = None
    """The standing that is meant, for a job whose standings are jobs of their own; else ``None``: all."""


# --- of a plan instance -------------------------------------------------------------------------------------


class _Beginning(_Fact, frozen=True, omit_defaults=True, kw_only=True):
    plan: str
    plan_version: int
    due_at: Instant | None = None
    """When the plan's clock said it should start; ``None`` when it was started by hand."""
    ends_at: Instant | None = None
    """When its window closes; ``None``: it runs until it is ended."""
    agents: tuple[str, ...] = ()
    """Those that must know the instance before anything can fire for it."""
    environment_group: str | None = None
    parameters: dict[str, str] = {}
    """Given when it was started, as they were written."""
    dry_run: DryRun | None = None
    schedules_disabled: bool = False
    until_ended: bool = False
    """Neither the clock nor its completion ends it, only a person does."""
    commands_held: bool = False
    """Every command job begins on hold."""
    source_parameters: dict[str, str] = {}
    """What the dashboard's parameter source for the plan said."""
    zone: str = "UTC"
    """The time zone of the plan."""
    business_date: str | None = None
    """The day that it is for, such as ``2026-03-31``; ``None``: the day of its start in that zone."""
    context_parameters: dict[str, dict[str, str]] = {}
    """Values for one context only, by its name."""
    instead_of: UUID | None = None
    """The instance that was reset and that this one is the fresh start of."""


class InstancePrepared(_Beginning, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """An instance exists ahead of its start; if there is one, it is the first fact of its log."""


class InstanceStarted(_Beginning, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """An instance of one version of a plan began: the first fact of its log, unless it was prepared.

    Of a prepared instance it repeats what that fact said and what was changed since.
    """


class StartMoved(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A prepared instance begins with another of its plan's starts; what operators set on it stays."""

    due_at: Instant
    ends_at: Instant | None = None
    business_date: str | None = None


class JobHeld(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The job does not start before it is released; it has left the queue of its lock."""


class JobReleased(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The job may start again."""


class InitiationKept(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A held job became ready; it starts when it is released."""

    catalyst: Catalyst | None = None
    within: str | None = None
    """The context in which it became ready."""


class InitiationDropped(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """What had made a held job ready was reset: it is not ready any more."""


class JobSkipped(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The job will be passed over."""


class JobEnabled(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The job will not be passed over any more, and waits."""


class JobPassedOver(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A skipped job's turn came: it counts as complete and did not run."""

    catalyst: Catalyst | None = None
    skipped_by: int = 0
    """The position of the fact since which it was to be passed over; 0: since the beginning."""


class JobReset(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The job waits as if it had not run."""


class ErrorAcknowledged(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Somebody accepted the job's failure, or the one to come."""

    ticket: str | None = None


class DependantsFired(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """What the success of a failed job would have started is started."""


class JobLockQueued(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The job is ready and waits for its lock."""

    lock: str
    ticket: int
    """Its place in the queue: of two tickets of an environment group the lower came first."""
    parameters: dict[str, str] = {}
    """Given when it was submitted by hand."""
    catalyst: Catalyst | None = None
    by_hand: bool = False
    within: str | None = None
    """The context in which it became ready."""


class JobInitiated(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The agent is to run the job once; delivered to it until it accepts."""

    initiation: int
    """Counts from 1 within the instance; ``instance id-number`` is the initiation's id."""
    agent: str
    contexts: tuple[str, ...] = ()
    parameters: dict[str, str] = {}
    """Their values calculated; what was encrypted still is."""
    catalyst: Catalyst | None = None
    by_hand: bool = False
    dry_run: DryRun | None = None
    lock_ticket: int | None = None
    """By which it holds its lock."""
    unset: tuple[str, ...] = ()
    """Parameters that the job declares and that nobody gives a value."""
    unexpanded: tuple[str, ...] = ()
    """Parameters in which something is left that looks like an expression."""


class JobStarted(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The agent reported that the job's process runs."""

    initiation: int | None = None
    event_id: str | None = None
    fired_at: Instant | None = None
    pid: int | None = None
    host: str | None = None
    output_path: str | None = None
    error_path: str | None = None


class JobCompleted(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The job finished as it should, or its event occurred."""

    initiation: int | None = None
    event_id: str | None = None
    fired_at: Instant | None = None
    completed_at: Instant | None = None
    return_code: int | None = None
    pid: int | None = None
    outcome: Outcome = Outcome.EXECUTION_INVOKED
    output_path: str | None = None
    error_path: str | None = None
    details: str | None = None
    by_hand: bool = False
    catalyst: Catalyst | None = None
    """Of an event job that completes because another job ended."""


class JobFailed(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The job finished otherwise, could not be started, timed out, was killed, or nobody knows."""

    initiation: int | None = None
    event_id: str | None = None
    fired_at: Instant | None = None
    completed_at: Instant | None = None
    return_code: int | None = None
    pid: int | None = None
    killed: bool = False
    output_path: str | None = None
    error_path: str | None = None
    details: str | None = None


class FireSkipped(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A due fire of a schedule or file watcher did not happen, and why: nothing changes."""

    job: JobIdentifier
    context: str | None = None
    """The standing that is meant, as of a fact of a job."""
    reason: str
    due_at: Instant | None = None
    event_id: str | None = None


IgnoredReason: TypeAlias = Literal[
    "duplicate",
    "late",
    "unknown job",
    "unknown context",
    "instance prepared",
    "instance ended",
    "not applicable",
]


class EventIgnored(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """An inbound event changed nothing, and why: nothing is dropped in silence."""

    reason: IgnoredReason
    job: JobIdentifier | None = None
    event_id: str | None = None


class GlobalEventRaised(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A global event job's dependencies were met: every active instance of the group is to receive it."""

    name: str
    environment_group: str | None = None
    catalyst: Catalyst | None = None


class KillRequested(FactOfJob, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The agent is to stop the job's process group."""

    initiation: int
    """0: somebody else started it, and its process is all that is known of it."""
    agent: str
    pid: int | None = None
    force: bool = False


class ParametersSet(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Later initiations use these values."""

    parameters: dict[str, str]
    context: str | None = None
    """The only context that they are for; ``None``: the whole instance."""
    agents: tuple[str, ...] = ()
    """Those whose file watchers may use them."""


class SourceParametersTaken(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The dashboard's parameter source for the plan says something else now; later initiations use it."""

    parameters: dict[str, str]
    """All that it says."""
    agents: tuple[str, ...] = ()
    """Those whose file watchers may use them."""


class SchedulesDisabled(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """What schedules fire is ignored, except by hand."""

    agents: tuple[str, ...] = ()


class SchedulesEnabled(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """What schedules fire counts."""

    agents: tuple[str, ...] = ()


class RunsUntilEnded(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Only a person ends the instance."""

    agents: tuple[str, ...] = ()


class ResetOrdered(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The instance is to end, and a fresh one of its plan to begin instead of it."""

    successor: UUID
    """The fresh one."""
    parameters: dict[str, str] = {}
    context_parameters: dict[str, dict[str, str]] = {}
    commands_held: bool = False
    due_at: Instant | None = None
    """The start that the instance was of; the fresh one is of the same."""
    business_date: str | None = None
    """As is the day that it is for."""
    dry_run: DryRun | None = None


EndReason: TypeAlias = Literal[
    "by hand",
    "window closed",
    "complete",
    "reset",
    "plan deleted",
    "replaced",
    "no start",
]
"""The last two are of prepared instances: another version of the plan came, or no start is left for it."""


class InstanceEnded(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Nothing more happens in this instance; agents are to forget it."""

    reason: EndReason
    agents: tuple[str, ...] = ()


class EventParked(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """An inbound event could not be processed and waits, visible, for a person."""

    error: str
    parked_event_id: str | None = None
    """Not heard yet: when it is submitted again it is no duplicate."""


InstanceFact: TypeAlias = (
    InstancePrepared
    | InstanceStarted
    | StartMoved
    | JobHeld
    | JobReleased
    | InitiationKept
    | InitiationDropped
    | JobSkipped
    | JobEnabled
    | JobPassedOver
    | JobReset
    | ErrorAcknowledged
    | DependantsFired
    | JobLockQueued
    | JobInitiated
    | JobStarted
    | JobCompleted
    | JobFailed
    | FireSkipped
    | EventIgnored
    | GlobalEventRaised
    | KillRequested
    | ParametersSet
    | SourceParametersTaken
    | SchedulesDisabled
    | SchedulesEnabled
    | RunsUntilEnded
    | ResetOrdered
    | InstanceEnded
    | EventParked
)

# --- of a plan ----------------------------------------------------------------------------------------------


class PlanPushed(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A new version of the plan was accepted."""

    version: int
    plan: JobPlan
    documents: dict[str, bytes] = {}
    """The files of the bundle as they came, by path below its top folder."""
    previous_agents: tuple[str, ...] = ()
    """Agents that held jobs of the plan and are not named any more: they are to drop them."""


class AgentsSynchronised(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Pushes had been kept from the agents until an instance starts: they are to have the jobs now."""

    plan: str
    version: int
    agents: tuple[str, ...] = ()
    previous_agents: tuple[str, ...] = ()
    """As of a push."""


class PlanEnabled(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Instances start again; starts that were due before stay as they were accounted for."""


class PlanDisabled(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """No instance starts any more; those that are active go on."""


class DroppedOrder(_Fact, frozen=True, omit_defaults=True, kw_only=True):
    """Something that was set on a prepared instance and does not apply to the one that took its place."""

    order: str
    reason: str
    job: JobIdentifier | None = None
    context: str | None = None


class NextPrepared(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The next instance exists ahead of its start, or is of another start from now on."""

    instance_id: UUID
    version: int
    due_at: Instant
    replaces: UUID | None = None
    """The one that was prepared before; what was set on it was carried over."""
    dropped: tuple[DroppedOrder, ...] = ()
    """But for this."""


class NextDropped(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """No instance is prepared any more, because no start is left for it."""

    instance_id: UUID
    dropped: tuple[DroppedOrder, ...] = ()
    """What was set on it."""


class InstanceDue(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The plan's clock struck (or somebody asked) and an instance was started."""

    instance_id: UUID
    version: int
    due_at: Instant | None = None


class StartDeferred(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A due start waits for the active instance to end, as long as its own window is open."""

    due_at: Instant


class StartSkipped(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """One or several due starts in a row did not happen, and why."""

    due_at: Instant
    """The first of them."""
    through: Instant
    """The last of them."""
    count: int = 1
    reason: Literal[
        "another instance is active",
        "blackout",
        "window passed",
        "plan disabled",
        "plan changed",
        "plan deleted",
        "ended before its start",
    ]
    detail: str = ""
    at_least: bool = False
    """There were too many to count them all."""


class NotificationsSet(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Who is told of what was changed without a new version; it holds for active instances too, at once."""

    notifications: NotificationSettings
    documents: dict[str, bytes] = {}
    """Those that say so, by path below the bundle's top folder, in place of all that said it before."""


class ParameterSourceRead(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The dashboard's parameter source for the plan says something else than before."""

    parameters: dict[str, str]
    """All that it says, as it is written there: what is encrypted stays so."""


class InstanceReset(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A fresh instance began instead of one that was ended for it."""

    instance_id: UUID
    previous: UUID
    version: int


class ResetDropped(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """An instance was ended to begin afresh, and its plan was deleted meanwhile: none begins."""

    previous: UUID


class ClockSetBack(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Starts had been accounted for far in the future, so the clock was wrong: they are still to come."""

    accounted_through: Instant
    """From here on starts are accounted for again."""


class PlanDeletionBegun(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Nothing starts any more; the plan is deleted as soon as its active instances have ended."""


class PlanDeleted(FactOfPlan, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """The plan is no more, and agents are to drop its jobs. A push of its name begins a new life."""

    plan: str
    agents: tuple[str, ...] = ()
    """Those that held its jobs."""


PlanFact: TypeAlias = (
    PlanPushed
    | AgentsSynchronised
    | PlanEnabled
    | PlanDisabled
    | NextPrepared
    | NextDropped
    | InstanceDue
    | StartDeferred
    | StartSkipped
    | InstanceReset
    | ResetDropped
    | ClockSetBack
    | PlanDeletionBegun
    | PlanDeleted
    | NotificationsSet
    | ParameterSourceRead
)

# --- of the locks of an environment group -------------------------------------------------------------------


class LockDefined(FactOfLocks, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A plan that was pushed says what the lock is; the latest says it for all."""

    name: str
    count: int
    exclusive: bool = False
    environment_group: str | None = None


class LockRequested(FactOfLocks, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """A job is ready and asks for its lock; it waits until the lock is granted."""

    ticket: int
    """Greater than all before it in the group: who asked first is served first."""
    lock: str
    instance_id: UUID
    job: JobIdentifier
    context: str | None = None
    count: int = 1
    """How much of the lock the job takes."""


class LockGranted(FactOfLocks, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Who asked with that ticket holds the lock from now on."""

    ticket: int


class LockWithdrawn(FactOfLocks, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Who asked with that ticket waits no more."""

    ticket: int


class LockReleased(FactOfLocks, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Who asked with that ticket holds the lock no more."""

    ticket: int


class LockReset(FactOfLocks, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """An operator took the lock from all that held it; those that wait keep their places."""

    lock: str
    dropped: tuple[int, ...] = ()
    """The tickets that held it."""


LockFact: TypeAlias = LockDefined | LockRequested | LockGranted | LockWithdrawn | LockReleased | LockReset

# --- kept for history ---------------------------------------------------------------------------------------


class EventKept(_Fact, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """Somebody told of a process that ran, for history alone: nothing follows from it."""

    event: ProcessEvent


HistoryFact: TypeAlias = EventKept

Fact: TypeAlias = InstanceFact | PlanFact | LockFact | HistoryFact

# --- how facts are recorded ---------------------------------------------------------------------------------


class Cause(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """Why a fact is: an inbox position, or a command and who gave it, or the clock."""

    position: int | None = None
    """The inbox position of the event that caused it."""
    command: str | None = None
    by: str | None = None
    source: str | None = None
    """The address or host that the command came from."""
    reason: str | None = None
    key: str | None = None
    """What its giver calls the command; the same key again is the same command again."""
    begins: int | None = None
    """The position of the first fact of a command: it tells apart two that are alike."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact in its place in a log: one event of an aggregate."""

    originator_id: UUID
    originator_version: int
    at: Instant
    cause: Cause
    fact: Fact

    @property
    def position(self) -> int:
        """The fact's place in the log of its stream, from 1."""
        return self.originator_version
