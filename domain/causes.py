"""The chain of causes of what a job did: from its latest fact back to the first event or order.

Each initiation knows the fact that made its job ready, and each end of an execution is preceded by its
initiation. Facts are read by their position; searches go back from an end to its beginning, so a whole chain
reads no fact twice.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias
from uuid import UUID

from .facts import (
    DependantsFired,
    GlobalEventRaised,
    InstanceFact,
    JobCompleted,
    JobFailed,
    JobInitiated,
    JobLockQueued,
    JobPassedOver,
    JobReset,
    JobStarted,
    Recorded,
)
from .instance import InstanceState
from .messages import Catalyst
from .plan import CommandJob, EventJob
from .status import JobStatus
from .topology import Unit

FactAt: TypeAlias = Callable[[int], Recorded]
"""The fact at a position of the instance's log, from 1 to its end."""

_RAISED = "/raised/"
_DID = (JobInitiated, JobLockQueued, JobStarted, JobCompleted, JobFailed, JobPassedOver, GlobalEventRaised)
"""What a job does because of something; anything else is done to it."""


def raised_event_id(instance_id: UUID, number: int) -> str:
    """By which instances know a global event that one of them raised, its number counted from 1."""
    return f"{instance_id}{_RAISED}{number}"


def raised_by(event_id: str | None) -> UUID | None:
    """The instance that raised a global event; ``None`` for an event that came from outside."""
    instance_id, found, _number = (event_id or "").partition(_RAISED)
    try:
        return UUID(instance_id) if found else None
    except ValueError:
        return None


def causes_of(state: InstanceState, unit: Unit, fact_at: FactAt) -> Iterator[Recorded]:
    """What the job did last or is to do, what caused that, and so on back to the first; maybe nothing."""
    position = _latest(state, unit, fact_at)
    while position:
        recorded = fact_at(position)
        yield recorded
        position = _caused_by(state, recorded, fact_at)


def _latest(state: InstanceState, unit: Unit, fact_at: FactAt) -> int:
    job = state.job(unit.index)
    if not job.since:
        return 0
    if job.status is JobStatus.ON_HOLD and job.pending is not None:
        if job.pending.catalyst is not None:
            return _of(state, job.pending.catalyst)
        return _search(
            job.since, unit.identifier, unit.context, fact_at, lambda fact: type(fact) is JobLockQueued
        )
    return job.since if isinstance(fact_at(job.since).fact, _DID) else 0


def _caused_by(state: InstanceState, recorded: Recorded, fact_at: FactAt) -> int:
    """The position of the fact that caused one; 0 if it was an event or an order that did."""
    fact = recorded.fact
    match fact:
        case (
            JobInitiated(catalyst=Catalyst() as catalyst)
            | JobLockQueued(catalyst=Catalyst() as catalyst)
            | JobPassedOver(catalyst=Catalyst() as catalyst)
            | GlobalEventRaised(catalyst=Catalyst() as catalyst)
            | JobCompleted(catalyst=Catalyst() as catalyst)
        ):
            return _of(state, catalyst)
        case JobStarted() | JobCompleted() | JobFailed():
            return _beginning_of(state, recorded.position, fact, fact_at)
        case DependantsFired(job=job, context=context):
            return _search(recorded.position, job, context, fact_at, lambda fact: type(fact) is JobFailed)
        case _:
            return 0


def _of(state: InstanceState, catalyst: Catalyst) -> int:
    return catalyst.position or state.seen.get(catalyst.event_id or "", 0)


def _beginning_of(
    state: InstanceState, position: int, fact: JobStarted | JobCompleted | JobFailed, fact_at: FactAt
) -> int:
    """The position of the initiation of an execution, or of the raising of a global event."""
    unit = state.topology.unit_of(fact.job, fact.context)
    if unit is None:
        return 0
    if isinstance(unit.job, EventJob):
        if raised_by(fact.event_id) != state.instance_id:
            return 0
        return _search(
            position, fact.job, fact.context, fact_at, lambda each: type(each) is GlobalEventRaised
        )
    if not isinstance(unit.job, CommandJob) or not (fact.initiation or state.job(unit.index).initiation):
        return 0

    def begins(earlier: InstanceFact) -> bool:
        if isinstance(earlier, JobInitiated):
            return fact.initiation is None or earlier.initiation <= fact.initiation
        return fact.initiation is None and isinstance(earlier, JobReset)

    found = _search(position, fact.job, fact.context, fact_at, begins)
    initiation = fact_at(found).fact if found else None
    known = isinstance(initiation, JobInitiated) and fact.initiation in {None, initiation.initiation}
    return found if known else 0


def _search(
    before: int, job: str, context: str | None, fact_at: FactAt, wanted: Callable[[InstanceFact], bool]
) -> int:
    """The last position before another at which such a fact is told of the job; 0 if there is none."""
    for position in range(before - 1, 0, -1):
        fact = fact_at(position).fact
        about = (getattr(fact, "job", None), getattr(fact, "context", None))
        if about == (job, context) and wanted(fact):  # type: ignore[arg-type]
            return position
    return 0
