"""What an instance makes of the events that are reported to it.

Every event leads to at least one fact, also when it changes nothing: nothing is dropped in silence.
"""

from .commands import GrantLock, RefuseInitiation
from .decision import Decision
from .facts import (
    EventIgnored,
    FireSkipped,
    JobCompleted,
    JobFailed,
    JobStarted,
    SourceParametersTaken,
)
from .job_state import JobState
from .messages import Catalyst, Outcome, ProcessEvent
from .plan import ScheduleJob
from .status import RUNNING_STATUSES
from .topology import Unit


def natural_event_id(event: ProcessEvent) -> str:
    """What tells an event apart that came without an id: two that are equal in all of this are one."""
    parts = (
        event.job_identifier,
        ",".join(sorted(event.contexts)),
        "started" if event.starting else "finished",
        event.fired_at,
        event.completed_at,
        event.pid,
        event.return_code,
        event.initiation_id,
    )
    return "|".join("" if part is None else str(part) for part in parts)


def hear(decision: Decision, event: ProcessEvent) -> None:
    """Take an event in: apply it to every job instance that it is for, then start what became ready."""
    state = decision.state
    event_id = event.id or natural_event_id(event)
    identifier = event.job_identifier
    units = [state.topology.units[i] for i in state.topology.by_identifier.get(identifier, ())]
    if event_id in state.seen:
        # Said without the id: it is remembered already, with the fact that first heard it.
        decision.record(EventIgnored(reason="duplicate", job=identifier))
    elif state.ended and not (units and event.outcome is Outcome.FIRE_SKIPPED):
        decision.record(EventIgnored(reason="instance ended", job=identifier, event_id=event_id))
    elif state.prepared:
        decision.record(EventIgnored(reason="instance prepared", job=identifier, event_id=event_id))
    elif not units:
        decision.record(EventIgnored(reason="unknown job", job=identifier, event_id=event_id))
    elif not (meant := [unit for unit in units if _is_for(event, unit)]):
        decision.record(EventIgnored(reason="unknown context", job=identifier, event_id=event_id))
    else:
        for unit in meant:
            _apply(decision, unit, event, event_id)
        decision.fire_dependants()


def _apply(decision: Decision, unit: Unit, event: ProcessEvent, event_id: str) -> None:
    job = decision.job(unit)
    number = decision.state.initiation_number(event.initiation_id)
    identifier = unit.identifier
    if event.outcome is Outcome.FIRE_SKIPPED:
        decision.record(
            FireSkipped(
                job=identifier,
                context=unit.context,
                reason=event.details or "no reason given",
                due_at=event.fired_at,
                event_id=event_id,
            )
        )
    elif number is not None and number > job.initiation:
        # It was raised for another job, or for this one in another context.
        decision.record(EventIgnored(reason="not applicable", job=identifier, event_id=event_id))
    elif _is_late(job, number, event):
        decision.record(EventIgnored(reason="late", job=identifier, event_id=event_id))
    elif decision.state.schedules_disabled and isinstance(unit.job, ScheduleJob) and not event.manual:
        decision.record(EventIgnored(reason="not applicable", job=identifier, event_id=event_id))
    elif event.starting:
        decision.record(_started(unit, event, event_id, number))
    elif event.successful:
        decision.complete(unit, _completed(unit, event, event_id, number), _catalyst(unit, event, event_id))
    else:
        decision.fail(unit, _failed(unit, event, event_id, number))


def refuse_initiation(decision: Decision, command: RefuseInitiation) -> None:
    """Let the job fail whose initiation cannot be carried out."""
    state = decision.state
    number = state.initiation_number(command.initiation_id)
    event_id = f"{command.initiation_id}/refused"
    unit = next((each for each in state.topology.commands if _waits_for(state.job(each.index), number)), None)
    if event_id in state.seen:
        decision.record(EventIgnored(reason="duplicate"))
    elif state.ended:
        decision.record(EventIgnored(reason="instance ended", event_id=event_id))
    elif unit is None:
        decision.record(EventIgnored(reason="late", event_id=event_id))
    else:
        fact = JobFailed(
            job=unit.identifier,
            context=unit.context,
            initiation=number,
            event_id=event_id,
            details=command.detail,
        )
        decision.fail(unit, fact)
        decision.fire_dependants()


def take_granted_lock(decision: Decision, command: GrantLock) -> None:
    """Initiate the job that waited for its lock; one that waits no more has let go of it already."""
    unit = decision.state.topology.unit_of(command.job, command.context)
    if unit is None or not decision.initiate_with_lock(unit, command.ticket):
        ended = decision.state.ended
        decision.record(EventIgnored(reason="instance ended" if ended else "not applicable", job=command.job))


def take_source_parameters(decision: Decision, parameters: dict[str, str]) -> None:
    """Use from now on what the plan's parameter source says."""
    state = decision.state
    if state.ended:
        decision.record(EventIgnored(reason="instance ended"))
    elif state.source_parameters == parameters:
        decision.record(EventIgnored(reason="duplicate"))
    else:
        agents = () if state.prepared else state.agents
        decision.record(SourceParametersTaken(parameters=parameters, agents=agents))


def _waits_for(job: JobState, number: int | None) -> bool:
    return number is not None and job.initiation == number and not job.closed


def _is_for(event: ProcessEvent, unit: Unit) -> bool:
    """A job that stands in several contexts runs once: naming any of them means the one run."""
    return not event.contexts or any(name in unit.contexts for name in event.contexts)


def _is_late(job: JobState, number: int | None, event: ProcessEvent) -> bool:
    """Whether the event tells of an execution that is finished, or older than the latest."""
    if number is not None:
        return number < job.initiation or (number == job.initiation and job.closed)
    if event.fired_at is None or job.fired_at is None:
        return event.starting and job.closed
    if job.closed:
        return event.fired_at <= job.fired_at
    return job.status in RUNNING_STATUSES and event.fired_at < job.fired_at


def _started(unit: Unit, event: ProcessEvent, event_id: str, number: int | None) -> JobStarted:
    return JobStarted(
        job=unit.identifier,
        context=unit.context,
        initiation=number,
        event_id=event_id,
        fired_at=event.fired_at,
        pid=event.pid,
        host=event.host,
        output_path=event.output_path,
        error_path=event.error_path,
    )


def _completed(unit: Unit, event: ProcessEvent, event_id: str, number: int | None) -> JobCompleted:
    return JobCompleted(
        job=unit.identifier,
        context=unit.context,
        initiation=number,
        event_id=event_id,
        fired_at=event.fired_at,
        completed_at=event.completed_at,
        return_code=event.return_code,
        pid=event.pid,
        outcome=event.outcome,
        output_path=event.output_path,
        error_path=event.error_path,
        details=event.details,
    )


def _failed(unit: Unit, event: ProcessEvent, event_id: str, number: int | None) -> JobFailed:
    return JobFailed(
        job=unit.identifier,
        context=unit.context,
        initiation=number,
        event_id=event_id,
        fired_at=event.fired_at,
        completed_at=event.completed_at,
        return_code=event.return_code,
        pid=event.pid,
        killed=event.killed,
        output_path=event.output_path,
        error_path=event.error_path,
        details=event.details,
    )


def _catalyst(unit: Unit, event: ProcessEvent, event_id: str) -> Catalyst:
    return Catalyst(
        job=event.job_identifier,
        context=unit.context,
        event_id=event_id,
        return_code=event.return_code,
        output_path=event.output_path,
    )
