"""What an instance makes of the orders of people: accepted they are facts, refused they change nothing."""

from msgspec.structs import replace

from .commands import (
    AcknowledgeError,
    ContextCommand,
    DisableSchedules,
    EnableContext,
    EnableJob,
    EnableSchedules,
    FireDependants,
    HoldContext,
    HoldJob,
    InstanceCommand,
    JobCommand,
    KillJob,
    Refused,
    ReleaseContext,
    ReleaseJob,
    ResetDownstream,
    ResetJob,
    RunUntilEnded,
    SetParameters,
    SkipContext,
    SkipJob,
    SubmitJob,
)
from .decision import Decision, catalyst_of
from .facts import (
    DependantsFired,
    ErrorAcknowledged,
    InitiationDropped,
    JobCompleted,
    JobEnabled,
    JobHeld,
    JobReleased,
    JobReset,
    JobSkipped,
    ParametersSet,
    RunsUntilEnded,
    SchedulesDisabled,
    SchedulesEnabled,
)
from .job_state import Pending
from .permissions import permitted, refusal, refusal_of_instance
from .plan import CommandJob, EventJob
from .status import PERMITTED, RUNNING_STATUSES, JobStatus
from .topology import Unit

# --- about a job --------------------------------------------------------------------------------------------


def obey_about_job(decision: Decision, command: JobCommand) -> Refused | None:
    """Do what is ordered about a job, or say why not."""
    unit = decision.state.topology.unit_in(command.context, command.job)
    if unit is None:
        return Refused(reason=f"context {command.context} lists no job {command.job}", unknown=True)
    if (refused := refusal(decision.state, unit, command.name)) is not None:
        return replace(refused, permitted=permitted(decision.state, unit))
    if decision.job(unit).status not in PERMITTED[command.name]:
        # It is as it is ordered to be.
        return None
    if isinstance(command, ResetDownstream):
        return _reset_downstream(decision, unit, command)
    _obey(decision, unit, command)
    decision.fire_dependants()
    return None


def _obey(decision: Decision, unit: Unit, command: JobCommand) -> None:
    match command:
        case SubmitJob(parameters=parameters):
            _submit(decision, unit, command.context, parameters)
        case HoldJob():
            decision.record(JobHeld(job=unit.identifier, context=unit.context))
        case ReleaseJob():
            _release(decision, unit)
        case SkipJob():
            _skip(decision, [unit])
        case EnableJob():
            decision.record(JobEnabled(job=unit.identifier, context=unit.context))
        case ResetJob():
            _reset(decision, unit)
        case AcknowledgeError(ticket=ticket):
            decision.record(ErrorAcknowledged(job=unit.identifier, context=unit.context, ticket=ticket))
        case FireDependants():
            _fire_dependants_of(decision, unit)
        case KillJob(force=force):
            decision.ask_to_kill(unit, force=force)
        case _:
            raise TypeError(f"{type(command).__name__} is no order about a job")


def _submit(decision: Decision, unit: Unit, context: str, parameters: dict[str, str]) -> None:
    if isinstance(unit.job, CommandJob | EventJob):
        decision.start(unit, Pending(parameters=parameters, by_hand=True, within=context))
    else:
        fact = JobCompleted(job=unit.identifier, context=unit.context, by_hand=True)
        decision.complete(unit, fact, catalyst_of(unit))


def _release(decision: Decision, unit: Unit) -> None:
    pending = decision.job(unit).pending
    decision.record(JobReleased(job=unit.identifier, context=unit.context))
    if pending is not None:
        decision.start(unit, pending)


def _skip(decision: Decision, units: list[Unit]) -> None:
    """All are marked before any is passed over: passing one over must not start the next."""
    for unit in units:
        decision.record(JobSkipped(job=unit.identifier, context=unit.context))
    if not decision.state.prepared:
        pass_over_what_is_ready(decision, units)


def pass_over_what_is_ready(decision: Decision, units: list[Unit]) -> None:
    """Pass over the skipped jobs among these that have nothing left to wait for."""
    for unit in units:
        if decision.job(unit).status is JobStatus.SKIPPED and not decision.left_to_wait_for(unit):
            decision.pass_over(unit, None)


def _reset(decision: Decision, unit: Unit) -> None:
    if decision.job(unit).under_way:
        decision.ask_to_kill(unit)
    decision.record(JobReset(job=unit.identifier, context=unit.context))
    for dependant in decision.state.topology.dependants(unit):
        held = decision.job(dependant)
        kept = held.pending if held.status is JobStatus.ON_HOLD else None
        if kept is not None and not kept.by_hand and decision.left_to_wait_for(dependant):
            decision.record(InitiationDropped(job=dependant.identifier, context=dependant.context))


def _reset_downstream(decision: Decision, unit: Unit, command: ResetDownstream) -> Refused | None:
    downstream = [unit, *decision.state.topology.downstream(unit)]
    statuses = {each.index: decision.job(each).status for each in downstream}
    running = [each for each in downstream if statuses[each.index] in RUNNING_STATUSES]
    if running:
        names = ", ".join(each.identifier for each in running)
        return Refused(
            reason=f"downstream of job {command.job} there runs {names}: kill it, or wait until it has ended",
            status=statuses[running[0].index],
            permitted_in=tuple(sorted(PERMITTED[command.name])),
            permitted=tuple(each for each in permitted(decision.state, unit) if each != command.name),
        )
    for each in downstream:
        if statuses[each.index] in PERMITTED[command.name]:
            _reset(decision, each)
    if command.submit:
        _submit(decision, unit, command.context, command.parameters)
        decision.fire_dependants()
    return None


def _fire_dependants_of(decision: Decision, unit: Unit) -> None:
    job = decision.job(unit)
    decision.record(DependantsFired(job=unit.identifier, context=unit.context))
    decision.fire_as_if_satisfied(unit, catalyst_of(unit, job=job))


# --- about a context ----------------------------------------------------------------------------------------


def obey_about_context(decision: Decision, command: ContextCommand) -> Refused | None:
    """Do what is ordered to every job beneath a context that it can apply to."""
    units = decision.state.topology.beneath(command.context)
    if units is None:
        return Refused(reason=f"the plan has no context {command.context}", unknown=True)
    if (refused := refusal_of_instance(decision.state, prepared=True)) is not None:
        return refused
    meant = [unit for unit in units if _applies(decision, unit, command)]
    match command:
        case SkipContext():
            _skip(decision, meant)
        case HoldContext():
            for unit in meant:
                decision.record(JobHeld(job=unit.identifier, context=unit.context))
        case ReleaseContext():
            for unit in meant:
                _release(decision, unit)
        case EnableContext():
            for unit in meant:
                decision.record(JobEnabled(job=unit.identifier, context=unit.context))
        case _:
            raise TypeError(f"{type(command).__name__} is no order about a context")
    decision.fire_dependants()
    return None


def _applies(decision: Decision, unit: Unit, command: ContextCommand) -> bool:
    if decision.job(unit).status not in PERMITTED[command.name]:
        return False
    if refusal(decision.state, unit, command.name) is not None:
        return False
    match command:
        case HoldContext():
            return isinstance(unit.job, CommandJob)
        case SkipContext():
            return _starts_beneath(decision, unit, command.context)
        case _:
            return True


def _starts_beneath(decision: Decision, unit: Unit, context: str) -> bool:
    """Whether one of the job's standings beneath the context is one that it starts in."""
    topology = decision.state.topology
    return any(place.starts_inside and topology.is_beneath(place.context, context) for place in unit.places)


# --- about the instance -------------------------------------------------------------------------------------


def obey_about_instance(decision: Decision, command: InstanceCommand) -> Refused | None:
    """Do what is ordered about the whole instance, or say why not; what is so already is no fact."""
    state = decision.state
    if (refused := refusal_of_instance(state, prepared=True)) is not None:
        return refused
    agents = () if state.prepared else state.agents
    match command:
        case SetParameters(parameters=parameters, context=context):
            if context is not None and context not in state.topology.context_index:
                return Refused(reason=f"the plan has no context {context}", unknown=True)
            within = None if context == state.plan else context
            decision.record(ParametersSet(parameters=parameters, context=within, agents=agents))
        case DisableSchedules():
            if not state.schedules_disabled:
                decision.record(SchedulesDisabled(agents=agents))
        case EnableSchedules():
            if state.schedules_disabled:
                decision.record(SchedulesEnabled(agents=agents))
        case RunUntilEnded():
            if not state.until_ended:
                decision.record(RunsUntilEnded(agents=agents))
    return None
