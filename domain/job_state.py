"""The state of one job instance, and what each fact about it makes of that state."""

from typing import NamedTuple, TypeAlias

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
from .status import RUNNING_STATUSES, JobStatus


class Pending(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a job is to be initiated that is ready and must wait: for its release, or for its lock."""

    catalyst: Catalyst | None = None
    parameters: dict[str, str] = {}
    by_hand: bool = False
    since: Instant | None = None
    """When it became ready."""
    within: str | None = None
    """Where it is ready, whose parameters it gets; ``None``: the first context that it starts in."""


class Bearing(NamedTuple):
    """What a job means to the dependencies and contexts around it, which follows from its status."""

    satisfied: bool
    """Dependencies count it: complete, passed over, or in error and acknowledged."""
    finished: bool
    """Its context need not wait for it any more."""
    in_error: bool
    """Its context shows ERROR for it."""
    active: bool
    """Its context shows at least RUNNING for it."""


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
    def bearing(self) -> Bearing:
        """What it means to the dependencies and contexts around it."""
        return (_ACKNOWLEDGED if self.acknowledged else _BEARINGS)[self.status]

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
        return self.under_way and self.status not in RUNNING_STATUSES


# Looking a member up in its enumeration is felt where every report comes by.
_RUNNING = JobStatus.RUNNING
_SKIPPED_RUNNING = JobStatus.SKIPPED_RUNNING
_COMPLETE = JobStatus.COMPLETE
_SKIPPED_COMPLETE = JobStatus.SKIPPED_COMPLETE
_ERROR = JobStatus.ERROR

_SATISFIED = frozenset({JobStatus.COMPLETE, JobStatus.SKIPPED_COMPLETE})
_ACTIVE = frozenset({JobStatus.RUNNING, JobStatus.COMPLETE, JobStatus.LOCK_QUEUED})


def _bearing(status: JobStatus, *, acknowledged: bool) -> Bearing:
    satisfied = status in _SATISFIED or (status is JobStatus.ERROR and acknowledged)
    return Bearing(
        satisfied=satisfied,
        finished=status is JobStatus.SKIPPED or satisfied,
        in_error=status is JobStatus.ERROR and not acknowledged,
        active=status in _ACTIVE or acknowledged,
    )


_BEARINGS = {status: _bearing(status, acknowledged=False) for status in JobStatus}
_ACKNOWLEDGED = {status: _bearing(status, acknowledged=True) for status in JobStatus}
_OVERTAKEN = frozenset({JobStatus.ON_HOLD, JobStatus.SKIPPED, JobStatus.LOCK_QUEUED})
"""What a job is no more once it is initiated; any other status stays until the agent reports."""
UNTOUCHED = JobState()

_WaitingFact: TypeAlias = (
    JobHeld
    | JobReleased
    | JobSkipped
    | JobEnabled
    | JobPassedOver
    | JobReset
    | JobLockQueued
    | GlobalEventRaised
)
_FactBeside: TypeAlias = (
    ErrorAcknowledged | DependantsFired | KillRequested | InitiationKept | InitiationDropped
)
"""What is told of a job beside what it does."""
JobFact: TypeAlias = _WaitingFact | _FactBeside | JobInitiated | JobStarted | JobCompleted | JobFailed
"""What is told of a job and may change its state."""


def job_after(job: JobState, fact: JobFact, at: Instant, position: int) -> JobState:
    """The state of a job after one more fact about it, recorded at that instant and position."""
    match fact:
        case JobInitiated():
            return _initiated(job, fact, position)
        case JobStarted():
            return _started(job, fact, at, position)
        case JobCompleted():
            passed_over = job.skipped or fact.outcome is Outcome.IGNORED_DAY_OF_WEEK
            status = _SKIPPED_COMPLETE if passed_over else _COMPLETE
            return _finished(job, fact, at, position, status=status, killed=False)
        case JobFailed():
            killed = fact.killed or job.kill_requested
            return _finished(job, fact, at, position, status=_ERROR, killed=killed)
        case (
            ErrorAcknowledged() | DependantsFired() | KillRequested() | InitiationKept() | InitiationDropped()
        ):
            return _after_fact_beside(job, fact, at)
        case _:
            return replace(_after_waiting(job, fact, at), since=position)


def _initiated(job: JobState, fact: JobInitiated, position: int) -> JobState:
    return replace(
        job,
        status=_left(job),
        since=position,
        initiated=True,
        acknowledged=_still_acknowledged(job),
        skipped=False,
        killed=False,
        kill_requested=False,
        pending=None,
        lock_ticket=fact.lock_ticket or 0,
        initiation=fact.initiation,
        closed=False,
    )


def _started(job: JobState, fact: JobStarted, at: Instant, position: int) -> JobState:
    return replace(
        job,
        status=_SKIPPED_RUNNING if job.skipped else _RUNNING,
        since=position,
        # Of a run that nobody here initiated, what is known of the one before says nothing.
        acknowledged=_still_acknowledged(job) if job.closed else job.acknowledged,
        killed=job.killed and not job.closed,
        kill_requested=job.kill_requested and not job.closed,
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


def _finished(
    job: JobState,
    fact: JobCompleted | JobFailed,
    at: Instant,
    position: int,
    *,
    status: JobStatus,
    killed: bool,
) -> JobState:
    return replace(
        job,
        status=status,
        since=position,
        killed=killed,
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


def _after_fact_beside(job: JobState, fact: _FactBeside, at: Instant) -> JobState:
    match fact:
        case ErrorAcknowledged():
            return replace(job, acknowledged=True)
        case KillRequested():
            return replace(job, kill_requested=True)
        case InitiationKept(catalyst=catalyst, within=within):
            return replace(job, pending=Pending(catalyst=catalyst, since=at, within=within))
        case InitiationDropped():
            return replace(job, pending=None)
        case DependantsFired():
            return job


def _after_waiting(job: JobState, fact: _WaitingFact, at: Instant) -> JobState:
    match fact:
        case JobHeld():
            after = replace(job, status=JobStatus.ON_HOLD, lock_ticket=0)
        case JobReleased():
            after = replace(job, status=JobStatus.WAITING, pending=None)
        case JobSkipped():
            after = replace(job, status=JobStatus.SKIPPED, skipped=True)
        case JobEnabled():
            after = replace(job, status=JobStatus.WAITING, skipped=False, initiated=False, finished_at=None)
        case JobPassedOver():
            after = replace(job, status=_SKIPPED_COMPLETE, finished_at=at)
        case JobReset():
            # The number stays, so that what the old execution still reports is known to be of the past.
            number = job.initiation
            after = JobState(initiation=number, closed=job.closed or number > 0, fired_at=job.fired_at)
        case JobLockQueued():
            pending = Pending(
                catalyst=fact.catalyst,
                parameters=fact.parameters,
                by_hand=fact.by_hand,
                since=at,
                within=fact.within,
            )
            after = replace(
                job,
                status=JobStatus.LOCK_QUEUED,
                acknowledged=_still_acknowledged(job),
                skipped=False,
                pending=pending,
                lock_ticket=fact.ticket,
            )
        case GlobalEventRaised():
            after = replace(job, status=_left(job), initiated=True, skipped=False, pending=None)
    return after


def _still_acknowledged(job: JobState) -> bool:
    """Of one that is to run again: what was accepted is the failure that is retried, not the next one."""
    return job.acknowledged and job.status is not _ERROR


def _left(job: JobState) -> JobStatus:
    """The status of a job that is initiated and whose agent has not reported yet."""
    return JobStatus.WAITING if job.status in _OVERTAKEN else job.status
