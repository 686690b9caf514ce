"""``decide``: what a plan instance makes of an event or of an order, as facts or as a refusal.

Total and pure: for any state and any command there is an answer, and the state that is given stays as it is.
"""

from collections import deque
from uuid import UUID

import msgspec
from msgspec.structs import replace

from .commands import (
    CloseWindow,
    Command,
    EndInstance,
    ParkEvent,
    Refused,
    RefuseInitiation,
    ReportEvent,
    SubmitJob,
)
from .facts import (
    Cause,
    EventIgnored,
    EventParked,
    FireSkipped,
    GlobalEventRaised,
    InstanceEnded,
    InstanceFact,
    InstanceStarted,
    JobCompleted,
    JobFailed,
    JobInitiated,
    JobStarted,
    KillRequested,
    Recorded,
)
from .instance import InstanceState, JobState, begin, evolve
from .instants import Instant
from .messages import Catalyst, Outcome, ProcessEvent
from .parameters import parameters_for
from .plan import CommandJob, EventJob, EventKind
from .status import ENDED, PERMITTED, ContextStatus, JobStatus
from .topology import Topology, Unit


class Step(msgspec.Struct, frozen=True, gc=False):
    """What a command led to: facts in order, and the state after them."""

    facts: tuple[Recorded, ...]
    state: InstanceState


def decide(
    state: InstanceState, command: Command, *, at: Instant, cause: Cause
) -> tuple[Recorded, ...] | Refused:
    """The facts that follow from a command given at that instant, or why there are none."""
    step = advance(state, command, at=at, cause=cause)
    return step if isinstance(step, Refused) else step.facts


def advance(state: InstanceState, command: Command, *, at: Instant, cause: Cause) -> Step | Refused:
    """As ``decide``, with the state after the facts, which deciding had to know anyway."""
    decision = _Decision(state, at, cause)
    match command:
        case ReportEvent(event=event):
            decision.hear(event)
        case RefuseInitiation():
            decision.refuse_initiation(command)
        case ParkEvent(error=error, event_id=event_id):
            decision.record(EventParked(error=error, parked_event_id=event_id))
        case SubmitJob():
            refusal = decision.submit(command)
            if refusal is not None:
                return refusal
        case EndInstance() | CloseWindow():
            if state.ended:
                return _refused_as_ended()
            decision.end(command)
    decision.end_if_complete()
    return Step(tuple(decision.facts), decision.state)


def start(
    topology: Topology,
    *,
    instance_id: UUID,
    fact: InstanceStarted,
    at: Instant,
    cause: Cause,
) -> Step:
    """The beginning of an instance."""
    recorded = Recorded(originator_id=instance_id, originator_version=1, at=at, cause=cause, fact=fact)
    return Step((recorded,), begin(topology, recorded))


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


def _refused_as_ended() -> Refused:
    return Refused(reason="the instance has ended", status=ENDED)


class _Decision:
    """Facts as they are decided, each applied at once, because the next may depend on it."""

    def __init__(self, state: InstanceState, at: Instant, cause: Cause) -> None:
        self.state = state
        self.facts: list[Recorded] = []
        self._at = at
        self._cause = cause if cause.command is None else replace(cause, begins=state.position + 1)
        self._completed: deque[tuple[Unit, Catalyst, bool]] = deque()

    def record(self, fact: InstanceFact) -> None:
        recorded = Recorded(
            originator_id=self.state.instance_id,
            originator_version=self.state.position + 1,
            at=self._at,
            cause=self._cause,
            fact=fact,
        )
        self.state = evolve(self.state, recorded)
        self.facts.append(recorded)

    # --- process events -------------------------------------------------------------------------------------

    def hear(self, event: ProcessEvent) -> None:
        event_id = event.id or natural_event_id(event)
        identifier = event.job_identifier
        units = [self.state.topology.units[i] for i in self.state.topology.by_identifier.get(identifier, ())]
        if event_id in self.state.seen:
            # Said without the id: it is remembered already, with the fact that first heard it.
            self.record(EventIgnored(reason="duplicate", job=identifier))
        elif self.state.ended:
            self.record(EventIgnored(reason="instance ended", job=identifier, event_id=event_id))
        elif not units:
            self.record(EventIgnored(reason="unknown job", job=identifier, event_id=event_id))
        elif not (meant := [unit for unit in units if _is_for(event, unit)]):
            self.record(EventIgnored(reason="unknown context", job=identifier, event_id=event_id))
        else:
            for unit in meant:
                self._apply(unit, event, event_id)
            self._fire_dependants()

    def _apply(self, unit: Unit, event: ProcessEvent, event_id: str) -> None:
        job = self.state.job(unit.index)
        number = self.state.initiation_number(event.initiation_id)
        identifier = unit.identifier
        if event.outcome is Outcome.FIRE_SKIPPED:
            self.record(
                FireSkipped(
                    job=identifier,
                    context=unit.context,
                    reason=event.details or "no reason given",
                    due_at=event.fired_at,
                    event_id=event_id,
                )
            )
        elif _is_late(job, number, event):
            self.record(EventIgnored(reason="late", job=identifier, event_id=event_id))
        elif job.status is JobStatus.DISABLED and not event.manual:
            self.record(EventIgnored(reason="not applicable", job=identifier, event_id=event_id))
        elif event.starting:
            self.record(_started(unit, event, event_id, number))
        elif event.successful:
            self._complete(unit, _completed(unit, event, event_id, number), _catalyst(event, event_id))
        else:
            self.record(_failed(unit, event, event_id, number))

    def _complete(self, unit: Unit, fact: JobCompleted, catalyst: Catalyst) -> None:
        self.record(fact)
        self._completed.append((unit, catalyst, unit.repeatable))

    # --- dependencies ---------------------------------------------------------------------------------------

    def _fire_dependants(self) -> None:
        """Start what completions made ready; event jobs that complete on the way are looked at in turn."""
        topology = self.state.topology
        while self._completed:
            unit, catalyst, repeatable = self._completed.popleft()
            for number in unit.mentioned_by:
                dependency = topology.dependencies[number]
                if self.state.gate_holds(dependency.gate):
                    self._start(
                        topology.units[dependency.dependant], unit, catalyst, by_repeatable=repeatable
                    )

    def _start(self, unit: Unit, after: Unit, catalyst: Catalyst, *, by_repeatable: bool) -> None:
        job = self.state.job(unit.index)
        fresh = job.status is JobStatus.WAITING and not job.initiated
        match unit.job:
            case CommandJob():
                again = unit.repeatable and unit is not after and job.closed
                if fresh or again:
                    self._initiate(unit, catalyst)
            case EventJob(kind=EventKind.GLOBAL):
                if fresh:
                    self._raise_global(unit)
            case EventJob(kind=kind):
                again = kind is EventKind.BRIDGING and by_repeatable
                if fresh or again:
                    self._complete(unit, JobCompleted(job=unit.identifier), Catalyst(job=unit.identifier))
            case _:
                # Schedules and file watchers start from outside alone; a plan that says otherwise is refused.
                return

    def _initiate(
        self,
        unit: Unit,
        catalyst: Catalyst | None,
        given: dict[str, str] | None = None,
        *,
        by_hand: bool = False,
    ) -> None:
        if not isinstance(unit.job, CommandJob):
            raise TypeError(f"{unit.identifier} is no command job")
        state = self.state
        self.record(
            JobInitiated(
                job=unit.identifier,
                context=unit.context,
                initiation=state.initiations + 1,
                agent=unit.job.agent,
                contexts=unit.contexts,
                parameters=parameters_for(state.topology, unit, state.parameters, given or {}),
                catalyst=catalyst,
                by_hand=by_hand,
                dry_run=state.dry_run,
            )
        )

    def _raise_global(self, unit: Unit) -> None:
        self.record(
            GlobalEventRaised(
                job=unit.identifier, name=unit.job.name, environment_group=self.state.environment_group
            )
        )

    # --- orders ---------------------------------------------------------------------------------------------

    def refuse_initiation(self, command: RefuseInitiation) -> None:
        number = self.state.initiation_number(command.initiation_id)
        event_id = f"{command.initiation_id}/refused"
        unit = next((each for each in self.state.topology.units if self._waits_for(each, number)), None)
        if event_id in self.state.seen:
            self.record(EventIgnored(reason="duplicate"))
        elif self.state.ended:
            self.record(EventIgnored(reason="instance ended", event_id=event_id))
        elif unit is None:
            self.record(EventIgnored(reason="late", event_id=event_id))
        else:
            detail = f"the agent refused the initiation: {command.detail}"
            self.record(
                JobFailed(
                    job=unit.identifier,
                    context=unit.context,
                    initiation=number,
                    event_id=event_id,
                    details=detail,
                )
            )

    def _waits_for(self, unit: Unit, number: int | None) -> bool:
        job = self.state.job(unit.index)
        return number is not None and job.initiation == number and not job.closed

    def submit(self, command: SubmitJob) -> Refused | None:
        if self.state.ended:
            return _refused_as_ended()
        unit = self.state.topology.unit_in(command.context, command.job)
        if unit is None:
            return Refused(reason=f"context {command.context} lists no job {command.job}", unknown=True)
        status = self.state.job(unit.index).status
        if status not in PERMITTED["submit"]:
            return Refused(
                reason=f"job {command.job} in context {command.context} is {status}",
                status=status,
                permitted_in=tuple(sorted(PERMITTED["submit"])),
            )
        match unit.job:
            case CommandJob():
                self._initiate(unit, None, command.parameters, by_hand=True)
            case EventJob(kind=EventKind.GLOBAL):
                self._raise_global(unit)
            case _:
                fact = JobCompleted(job=unit.identifier, context=unit.context, by_hand=True)
                self._complete(unit, fact, Catalyst(job=unit.identifier))
                self._fire_dependants()
        return None

    def end(self, command: EndInstance | CloseWindow) -> None:
        for unit in self.state.topology.units:
            job = self.state.job(unit.index)
            if job.status is JobStatus.RUNNING and isinstance(unit.job, CommandJob):
                self.record(
                    KillRequested(
                        job=unit.identifier,
                        context=unit.context,
                        initiation=job.initiation,
                        agent=unit.job.agent,
                        pid=job.pid,
                    )
                )
        by_hand = isinstance(command, EndInstance)
        self.record(InstanceEnded(reason="by hand" if by_hand else "window closed", agents=self.state.agents))

    def end_if_complete(self) -> None:
        state = self.state
        if not self.facts or state.ended or not state.topology.plan.end_on_completion:
            return
        if state.context_status(0) is ContextStatus.COMPLETE:
            self.record(InstanceEnded(reason="complete", agents=state.agents))


def _is_for(event: ProcessEvent, unit: Unit) -> bool:
    """A job that stands in several contexts runs once: naming any of them means the one run."""
    return not event.contexts or any(name in unit.contexts for name in event.contexts)


def _is_late(job: JobState, number: int | None, event: ProcessEvent) -> bool:
    """Whether the event tells of an execution that is finished, or older than the latest."""
    if number is not None:
        return number < job.initiation or (number == job.initiation and job.closed)
    if not job.closed:
        return False
    if event.fired_at is None or job.fired_at is None:
        return event.starting
    return event.fired_at <= job.fired_at


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


def _catalyst(event: ProcessEvent, event_id: str) -> Catalyst:
    return Catalyst(
        job=event.job_identifier,
        event_id=event_id,
        return_code=event.return_code,
        output_path=event.output_path,
    )
