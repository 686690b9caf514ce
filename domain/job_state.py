"""The state of one job instance, and what each fact about it makes of that state."""

from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from .facts import (
    DependantsFired,
    ErrorAcknowledged,
    GlobalEventRaised,
    InitiationDropped,
    InitiationKept,
    JobCompleted,
    JobEnabled,
    JobFailed,
    JobHeld,
    JobInitiated,
    JobLockQueued,
    JobPassedOver,
    JobReleased,
    JobReset,
    JobSkipped,
    JobStarted,
    KillRequested,
)
from .instants import Instant
from .messages import Catalyst, Outcome
from .status import JobStatus


class Pending(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a job is to be initiated that is ready and must wait: for its release, or for its lock."""

    catalyst: Catalyst | None = None
    parameters: dict[str, str] = {}
    by_hand: bool = False
    since: Instant | None = None
    """When it became ready."""
    within: str | None = None
    """Where it is ready, whose parameters it gets; ``None``: the first context that it starts in."""


class JobState(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One job instance: its status and its latest execution."""

    status: JobStatus = JobStatus.WAITING
    since: int = 0
    """The position of the fact since which it does what it does; 0: since the beginning."""
    initiated: bool = False
    """An initiation was raised and has not been reset."""
    acknowledged: bool = False
    """An operator accepted its ERROR, or the one to come."""
    skipped: bool = False
    """It is, or was, to be passed over."""
    killed: bool = False
    kill_requested: bool = False
    """Its agent was asked to end the latest execution."""
    pending: Pending | None = None
    lock_ticket: int = 0
    """By which it waits for its lock or holds it; 0 for neither."""
    initiation: int = 0
    """The number of the latest initiation; 0 before the first."""
    closed: bool = False
    """The latest execution is finished: whatever comes late for it changes nothing."""
    fired_at: Instant | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None
    return_code: int | None = None
    pid: int | None = None
    output_path: str | None = None
    error_path: str | None = None
    details: str | None = None

    @property
    def satisfied(self) -> bool:
        """Whether dependencies count it: complete, passed over, or in error and acknowledged."""
        return self.status in _SATISFIED or (self.status is JobStatus.ERROR and self.acknowledged)

    @property
    def finished(self) -> bool:
        """Whether its context need not wait for it any more."""
        return self.status is JobStatus.SKIPPED or self.satisfied

    @property
    def in_error(self) -> bool:
        """Whether its context shows ERROR for it."""
        return self.status is JobStatus.ERROR and not self.acknowledged

    @property
    def active(self) -> bool:
        """Whether its context shows at least RUNNING for it."""
        return self.status in _ACTIVE or self.acknowledged

    @property
    def under_way(self) -> bool:
        """Whether an initiation was raised whose execution is not known to be over."""
        return self.initiation > 0 and not self.closed

    @property
    def can_be_killed(self) -> bool:
        """Whether an agent can be told what to end: an initiation, or the process of somebody else."""
        return self.under_way or (self.status is JobStatus.RUNNING and self.pid is not None)

    @property
    def on_its_way(self) -> bool:
        """Whether an agent is told to run it and has not reported its start."""
        return self.under_way and self.status not in _RUNNING


_SATISFIED = frozenset({JobStatus.COMPLETE, JobStatus.SKIPPED_COMPLETE})
_ACTIVE = frozenset({JobStatus.RUNNING, JobStatus.COMPLETE, JobStatus.LOCK_QUEUED})
_RUNNING = frozenset({JobStatus.RUNNING, JobStatus.SKIPPED_RUNNING})
_OVERTAKEN = frozenset({JobStatus.ON_HOLD, JobStatus.SKIPPED, JobStatus.LOCK_QUEUED})
"""What a job is no more once it is initiated; any other status stays until the agent reports."""
UNTOUCHED = JobState()

_WaitingFact: TypeAlias = (
    JobHeld
    | JobReleased
    | InitiationKept
    | InitiationDropped
    | JobSkipped
    | JobEnabled
    | JobPassedOver
    | JobReset
)
JobFact: TypeAlias = (
    _WaitingFact
    | ErrorAcknowledged
    | DependantsFired
    | JobLockQueued
    | JobInitiated
    | GlobalEventRaised
    | KillRequested
    | JobStarted
    | JobCompleted
    | JobFailed
)
"""What is told of a job and may change its state."""


_BESIDE = (ErrorAcknowledged, DependantsFired, KillRequested, InitiationKept, InitiationDropped)
"""What is told of a job beside what it does."""


def job_after(job: JobState, fact: JobFact, at: Instant, position: int) -> JobState:
    """The state of a job after one more fact about it, recorded at that instant and position."""
    match fact:
        case JobInitiated() | JobStarted() | JobCompleted() | JobFailed():
            after = _after_execution(job, fact, at)
        case JobLockQueued():
            pending = Pending(
                catalyst=fact.catalyst,
                parameters=fact.parameters,
                by_hand=fact.by_hand,
                since=at,
                within=fact.within,
            )
            after = replace(
                job, status=JobStatus.LOCK_QUEUED, skipped=False, pending=pending, lock_ticket=fact.ticket
            )
        case GlobalEventRaised():
            after = replace(job, status=_initiated(job), initiated=True, skipped=False, pending=None)
        case KillRequested():
            after = replace(job, kill_requested=True)
        case ErrorAcknowledged():
            after = replace(job, acknowledged=True)
        case DependantsFired():
            after = job
        case _:
            after = _after_waiting(job, fact, at)
    return after if isinstance(fact, _BESIDE) else replace(after, since=position)


def _after_execution(
    job: JobState, fact: JobInitiated | JobStarted | JobCompleted | JobFailed, at: Instant
) -> JobState:
    match fact:
        case JobInitiated():
            return replace(
                job,
                status=_initiated(job),
                initiated=True,
                # What was accepted is the failure that is being retried, not the next one.
                acknowledged=job.acknowledged and job.status is not JobStatus.ERROR,
                skipped=False,
                killed=False,
                kill_requested=False,
                pending=None,
                lock_ticket=fact.lock_ticket or 0,
                initiation=fact.initiation,
                closed=False,
            )
        case JobStarted():
            return replace(
                job,
                status=JobStatus.SKIPPED_RUNNING if job.skipped else JobStatus.RUNNING,
                closed=False,
                pending=None,
                initiation=fact.initiation or job.initiation,
                fired_at=fact.fired_at,
                started_at=fact.fired_at or at,
                finished_at=None,
                return_code=None,
                pid=fact.pid,
                output_path=fact.output_path,
                error_path=fact.error_path,
                details=None,
            )
        case JobCompleted():
            passed_over = job.skipped or fact.outcome is Outcome.IGNORED_DAY_OF_WEEK
            status = JobStatus.SKIPPED_COMPLETE if passed_over else JobStatus.COMPLETE
            return replace(_finished(job, fact, at), status=status)
        case JobFailed():
            killed = fact.killed or job.kill_requested
            return replace(_finished(job, fact, at), status=JobStatus.ERROR, killed=killed)


def _after_waiting(job: JobState, fact: _WaitingFact, at: Instant) -> JobState:
    match fact:
        case JobHeld():
            after = replace(job, status=JobStatus.ON_HOLD, lock_ticket=0)
        case JobReleased():
            after = replace(job, status=JobStatus.WAITING, pending=None)
        case InitiationKept(catalyst=catalyst, within=within):
            after = replace(job, pending=Pending(catalyst=catalyst, since=at, within=within))
        case InitiationDropped():
            after = replace(job, pending=None)
        case JobSkipped():
            after = replace(job, status=JobStatus.SKIPPED, skipped=True)
        case JobEnabled():
            after = replace(job, status=JobStatus.WAITING, skipped=False, initiated=False, finished_at=None)
        case JobPassedOver():
            after = replace(job, status=JobStatus.SKIPPED_COMPLETE, finished_at=at)
        case JobReset():
            # The number stays, so that what the old execution still reports is known to be of the past.
            number = job.initiation
            after = JobState(initiation=number, closed=job.closed or number > 0, fired_at=job.fired_at)
    return after


def _initiated(job: JobState) -> JobStatus:
    return JobStatus.WAITING if job.status in _OVERTAKEN else job.status


def _finished(job: JobState, fact: JobCompleted | JobFailed, at: Instant) -> JobState:
    return replace(
        job,
        closed=True,
        pending=None,
        lock_ticket=0,
        initiation=fact.initiation or job.initiation,
        fired_at=fact.fired_at if fact.fired_at is not None else job.fired_at,
        finished_at=fact.completed_at or at,
        return_code=fact.return_code,
        pid=fact.pid if fact.pid is not None else job.pid,
        output_path=fact.output_path or job.output_path,
        error_path=fact.error_path or job.error_path,
        details=fact.details,
    )
