"""What was set on a prepared instance, given again to the one of a newer version that takes its place."""

from collections.abc import Iterator

from .commands import (
    DisableSchedules,
    EnableJob,
    EnableSchedules,
    HoldJob,
    InstanceCommand,
    JobCommand,
    Refused,
    ReleaseJob,
    RunUntilEnded,
    SetParameters,
    SkipJob,
)
from .decide import Step, advance
from .facts import Cause, DroppedOrder, InstancePrepared, Recorded
from .instance import InstanceState, begin
from .instants import Instant
from .job_state import JobState
from .plan import JobIdentifier
from .status import JobStatus
from .topology import Unit

_AWAY_FROM: dict[JobStatus, type[JobCommand]] = {
    JobStatus.ON_HOLD: ReleaseJob,
    JobStatus.SKIPPED: EnableJob,
}
_TO: dict[JobStatus, type[JobCommand]] = {JobStatus.ON_HOLD: HoldJob, JobStatus.SKIPPED: SkipJob}


def carried_over(
    old: InstanceState, fresh: Step, *, at: Instant, cause: Cause
) -> tuple[Step, tuple[DroppedOrder, ...]]:
    """The newer prepared instance with all on it that was set on the older, and what does not apply to it."""
    step, dropped = fresh, []
    for order in _orders(old, fresh.state):
        answer = advance(step.state, order, at=at, cause=cause)
        if isinstance(answer, Refused):
            dropped.append(_dropped(order, answer.reason))
        else:
            step = Step((*step.facts, *answer.facts), answer.state)
    return step, tuple(dropped)


def all_dropped(old: InstanceState, reason: str) -> tuple[DroppedOrder, ...]:
    """All that was set on a prepared instance that nothing takes the place of."""
    return tuple(_dropped(order, reason) for order in _orders(old, _untouched(old)))


def _orders(old: InstanceState, new: InstanceState) -> Iterator[JobCommand | InstanceCommand]:
    """The orders that give the new instance what was set on the old one since it was prepared."""
    untouched = _untouched(old)
    if old.schedules_disabled != untouched.schedules_disabled:
        yield DisableSchedules() if old.schedules_disabled else EnableSchedules()
    for unit in old.topology.units:
        was, wanted = untouched.job(unit.index).status, old.job(unit.index).status
        if was is not wanted and wanted is not JobStatus.DISABLED:
            yield from _orders_about(unit, wanted, new)
    if old.parameters:
        yield SetParameters(parameters=old.parameters)
    for context, parameters in sorted(old.context_parameters.items()):
        yield SetParameters(parameters=parameters, context=context)
    if old.until_ended:
        yield RunUntilEnded()


def _orders_about(unit: Unit, wanted: JobStatus, new: InstanceState) -> Iterator[JobCommand]:
    """What brings the job to the wanted status wherever the new version lists it."""
    told: set[int] = set()
    for context in unit.contexts:
        there = new.topology.unit_in(context, unit.identifier)
        if there is not None and there.index not in told:
            told.add(there.index)
            yield from _ways(unit.identifier, context, new.job(there.index), wanted)
    if not told:
        yield _order(_TO.get(wanted, ReleaseJob), unit.identifier, unit.contexts[0])


def _ways(job: JobIdentifier, context: str, now: JobState, wanted: JobStatus) -> Iterator[JobCommand]:
    if now.status is wanted:
        return
    if now.status in _AWAY_FROM:
        yield _order(_AWAY_FROM[now.status], job, context)
    if wanted in _TO:
        yield _order(_TO[wanted], job, context)


def _order(kind: type[JobCommand], job: JobIdentifier, context: str) -> JobCommand:
    return kind(job=job, context=context)


def _untouched(state: InstanceState) -> InstanceState:
    """The prepared instance as it was before anything was set on it."""
    plan = state.topology.plan
    fact = InstancePrepared(
        plan=plan.name,
        plan_version=state.plan_version,
        due_at=state.due_at,
        schedules_disabled=plan.schedules_disabled,
    )
    recorded = Recorded(
        originator_id=state.instance_id, originator_version=1, at=state.started_at, cause=Cause(), fact=fact
    )
    return begin(state.topology, recorded)


def _dropped(order: JobCommand | InstanceCommand, reason: str) -> DroppedOrder:
    return DroppedOrder(
        order=type(order).__name__,
        reason=reason,
        job=getattr(order, "job", None),
        context=getattr(order, "context", None),
    )
