"""The state of one run of a plan, and ``evolve``: what each recorded fact makes of it.

The state is a value. Its maps share structure, so a state costs what changed since the one before it, and
any past state can be kept or compared. What only follows from the statuses of the jobs (the counts of the
gates, the statuses of contexts) is kept up to date by increments and is never stored.
"""

from collections.abc import Iterable
from uuid import UUID

import msgspec
from immutables import Map
from msgspec.structs import replace

from .dates import Dates, dates_of
from .facts import (
    EventIgnored,
    EventParked,
    FactOfJob,
    FireSkipped,
    GlobalEventRaised,
    InstanceEnded,
    InstancePrepared,
    InstanceStarted,
    JobInitiated,
    JobReset,
    ParametersSet,
    Recorded,
    ResetOrdered,
    RunsUntilEnded,
    SchedulesDisabled,
    SchedulesEnabled,
    SourceParametersTaken,
    StartMoved,
)
from .instants import Instant
from .job_state import UNTOUCHED, JobFact, JobState, job_after
from .messages import DryRun
from .parameters import KnownValues
from .plan import ScheduleJob
from .rollup import roll_up
from .status import ENDED, PREPARED, ContextStatus, JobStatus
from .topology import Counters, Topology, Unit

STATE_SCHEMA = 1
"""Of the stored form of a state; a snapshot of another schema is not read, the log is."""


class InstanceState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Everything that is true of a plan instance at one position of its log."""

    instance_id: UUID
    topology: Topology
    position: int
    plan_version: int
    started_at: Instant
    """When it began; before that, when it is to begin."""
    updated_at: Instant
    prepared: bool = False
    """It exists ahead of its start and takes no events yet."""
    due_at: Instant | None = None
    ends_at: Instant | None = None
    ended_at: Instant | None = None
    end_reason: str | None = None
    agents: tuple[str, ...] = ()
    environment_group: str | None = None
    parameters: dict[str, str] = {}
    dry_run: DryRun | None = None
    context_parameters: Map[str, dict[str, str]] = Map()
    """Set for one context of the instance, by its name."""
    schedules_disabled: bool = False
    until_ended: bool = False
    """Neither the clock nor its completion ends it, only a person does."""
    commands_held: bool = False
    """Every command job began on hold."""
    source_parameters: dict[str, str] = {}
    """What the dashboard's parameter source for the plan said last."""
    zone: str = "UTC"
    business_date: str | None = None
    """The day that it is for, if that was told and does not follow from its start."""
    initiations: int = 0
    """How many were raised so far; the next one's number is one more."""
    raised: int = 0
    """How many global events this instance raised."""
    seen: Map[str, int] = Map()
    """Ids of the events and orders that were heard, with the position of the fact that heard them."""
    jobs: Map[int, JobState] = Map()
    """By unit; those that nothing happened to yet are left out."""
    gates: Map[int, int] = Map()
    """Counts of the gates that differ from the beginning; derived."""
    counters: Map[int, Counters] = Map()
    """Counters of the contexts that differ from the beginning; derived."""
    tally: Map[JobStatus, int] = Map()
    """By how much the number of standings in each status differs from the beginning; derived."""

    @property
    def plan(self) -> str:
        """The name of the plan that this is a run of."""
        return self.topology.plan.name

    @property
    def ended(self) -> bool:
        """Whether it takes no more events."""
        return self.ended_at is not None

    @property
    def never_began(self) -> bool:
        """Whether it ended before its start, and so never began."""
        return self.prepared and self.ended

    @property
    def status(self) -> str:
        """The root context's status; PREPARED before the start, ENDED after the end."""
        if self.ended:
            return ENDED
        return PREPARED if self.prepared else self.context_status(0).value

    def job(self, unit: int) -> JobState:
        """The state of a unit's job."""
        return self.jobs.get(unit, UNTOUCHED)

    @property
    def dates(self) -> Dates | None:
        """What dates in parameters are calculated from; ``None`` when its time zone is not known here."""
        start = self.started_at if self.due_at is None else self.due_at
        return dates_of(self.business_date, start, self.zone)

    @property
    def known_values(self) -> KnownValues:
        """What is known of parameters beside the plan."""
        return KnownValues(self.parameters, self.context_parameters, self.source_parameters, self.dates)

    def context_counters(self, context: int) -> Counters:
        """The counters that a context's status is derived from."""
        return self.counters.get(context, self.topology.contexts[context].initial)

    def context_status(self, context: int) -> ContextStatus:
        """The derived status of a context, by its index."""
        return self.context_counters(context).status

    def gate_holds(self, gate: int) -> bool:
        """Whether a gate of the plan's circuit holds now."""
        circuit = self.topology.circuit
        return circuit.holds(gate, self.gates.get(gate, circuit.initial[gate]))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each status that occurs; a job counts once in every context that lists it."""
        waiting = self.topology.standings + self.tally.get(JobStatus.WAITING, 0)
        others = {s.value: n for s, n in self.tally.items() if n and s is not JobStatus.WAITING}
        return {JobStatus.WAITING.value: waiting, **others} if waiting else others

    def initiation_id(self, number: int) -> str:
        """The id by which agents know an initiation of this instance."""
        return f"{self.instance_id}-{number}"

    def initiation_number(self, initiation_id: str | None) -> int | None:
        """The number of one of this instance's initiations; ``None`` for any other id."""
        if initiation_id is None:
            return None
        prefix = f"{self.instance_id}-"
        if not initiation_id.startswith(prefix):
            return None
        written = initiation_id[len(prefix) :]
        if not (written.isascii() and written.isdecimal() and len(written) < 16) or written[0] == "0":
            return None
        number = int(written)
        return number if number <= self.initiations else None


def begin(topology: Topology, recorded: Recorded) -> InstanceState:
    """The state after the first fact of an instance's log."""
    fact = recorded.fact
    if not isinstance(fact, InstancePrepared | InstanceStarted):
        raise TypeError(f"the log of an instance cannot begin with {type(fact).__name__}")
    prepared = isinstance(fact, InstancePrepared)
    state = InstanceState(
        instance_id=recorded.originator_id,
        topology=topology,
        position=recorded.position,
        plan_version=fact.plan_version,
        started_at=fact.due_at if prepared and fact.due_at is not None else recorded.at,
        updated_at=recorded.at,
        prepared=prepared,
        due_at=fact.due_at,
        ends_at=fact.ends_at,
        agents=fact.agents,
        environment_group=fact.environment_group,
        parameters=fact.parameters,
        dry_run=fact.dry_run,
        schedules_disabled=fact.schedules_disabled,
        until_ended=fact.until_ended,
        commands_held=fact.commands_held,
        source_parameters=fact.source_parameters,
        zone=fact.zone,
        business_date=fact.business_date,
        context_parameters=Map(fact.context_parameters),
    )
    for unit in topology.skipped_from_the_start:
        state = with_job(state, unit, JobState(status=JobStatus.SKIPPED, skipped=True))
    held = [*topology.held_from_the_start, *(topology.commands if fact.commands_held else ())]
    for unit in held:
        state = with_job(state, unit, JobState(status=JobStatus.ON_HOLD))
    return _disabled(state, recorded.position) if fact.schedules_disabled else state


def evolve(state: InstanceState, recorded: Recorded) -> InstanceState:
    """The state after one more fact; never refuses and never decides.

    A fact out of its place is a fault of the log and raises ``ValueError``.
    """
    position = recorded.originator_version
    if position != state.position + 1:
        raise ValueError(
            f"instance {state.instance_id}: fact {position} cannot follow position {state.position}"
        )
    fact = recorded.fact
    seen = state.seen
    if (event_id := getattr(fact, "event_id", None)) is not None:
        seen = seen.set(event_id, position)
    if (key := recorded.cause.key) is not None and (order := order_id(key)) not in seen:
        seen = seen.set(order, position)
    if isinstance(fact, FactOfJob):
        return _with_fact(state, fact, recorded, seen)
    match fact:
        case EventIgnored() | FireSkipped() | EventParked() | ResetOrdered():
            # These are told and change no job.
            after = state
        case InstancePrepared():
            raise ValueError(f"instance {state.instance_id} was prepared before")
        case InstanceStarted() | InstanceEnded() | StartMoved() | RunsUntilEnded():
            after = _with_life(state, fact, recorded.at)
        case ParametersSet() | SourceParametersTaken() | SchedulesDisabled() | SchedulesEnabled():
            after = _with_setting(state, fact, position)
        case _:
            raise ValueError(f"{type(fact).__name__} is no fact of a plan instance")
    return replace(after, position=position, updated_at=recorded.at, seen=seen)


def _with_fact(state: InstanceState, fact: JobFact, recorded: Recorded, seen: Map[str, int]) -> InstanceState:
    """The state after a fact of a job; one new state for all that it changes, as most facts are such."""
    topology = state.topology
    unit = topology.unit_of(fact.job, fact.context)
    if unit is None:
        raise ValueError(f"plan {state.plan} version {state.plan_version} has no job {fact.job}")
    position = recorded.originator_version
    before = state.jobs.get(unit.index, UNTOUCHED)
    job = job_after(before, fact, recorded.at, position)
    if isinstance(fact, JobReset) and state.schedules_disabled and isinstance(unit.job, ScheduleJob):
        job = replace(job, status=JobStatus.DISABLED)
    gates, counters = roll_up(topology, state.gates, state.counters, unit, before=before, after=job)
    return replace(
        state,
        position=position,
        updated_at=recorded.at,
        seen=seen,
        jobs=state.jobs.set(unit.index, job),
        gates=gates,
        counters=counters,
        tally=_tallied(state.tally, unit, before, job),
        initiations=max(state.initiations, fact.initiation)
        if isinstance(fact, JobInitiated)
        else state.initiations,
        raised=state.raised + isinstance(fact, GlobalEventRaised),
    )


def _with_life(
    state: InstanceState, fact: InstanceStarted | InstanceEnded | StartMoved | RunsUntilEnded, at: Instant
) -> InstanceState:
    match fact:
        case InstanceStarted():
            if not state.prepared:
                raise ValueError(f"instance {state.instance_id} started before")
            return replace(state, prepared=False, started_at=at)
        case InstanceEnded(reason=reason):
            return replace(state, ended_at=at, end_reason=reason)
        case StartMoved(due_at=due_at, ends_at=ends_at, business_date=day):
            return replace(state, due_at=due_at, started_at=due_at, ends_at=ends_at, business_date=day)
        case RunsUntilEnded():
            return replace(state, until_ended=True, ends_at=None)


def _with_setting(
    state: InstanceState,
    fact: ParametersSet | SourceParametersTaken | SchedulesDisabled | SchedulesEnabled,
    position: int,
) -> InstanceState:
    match fact:
        case ParametersSet(parameters=parameters, context=None):
            return replace(state, parameters={**state.parameters, **parameters})
        case ParametersSet(parameters=parameters, context=str(context)):
            before = state.context_parameters.get(context, {})
            changed = state.context_parameters.set(context, {**before, **parameters})
            return replace(state, context_parameters=changed)
        case SourceParametersTaken(parameters=parameters):
            return replace(state, source_parameters=parameters)
        case SchedulesDisabled():
            return _disabled(replace(state, schedules_disabled=True), position)
        case _:
            return _enabled(replace(state, schedules_disabled=False), position)


def _disabled(state: InstanceState, position: int) -> InstanceState:
    """What has fired stays as it is; what waits for its clock does so no more."""
    for unit in state.topology.schedules:
        job = state.job(unit.index)
        if job.status is JobStatus.WAITING:
            state = with_job(state, unit, replace(job, status=JobStatus.DISABLED, since=position))
    return state


def _enabled(state: InstanceState, position: int) -> InstanceState:
    for unit in state.topology.schedules:
        job = state.job(unit.index)
        if job.status is JobStatus.DISABLED:
            state = with_job(state, unit, replace(job, status=JobStatus.WAITING, since=position))
    return state


def order_id(key: str) -> str:
    """How an order of that key stands among what was heard; no event has such an id."""
    return f"\norder {key}"


def replay(topology: Topology, facts: Iterable[Recorded]) -> InstanceState:
    """The state that a log, from its first fact, amounts to."""
    log = iter(facts)
    state = begin(topology, next(log))
    for recorded in log:
        state = evolve(state, recorded)
    return state


def with_job(state: InstanceState, unit: Unit, job: JobState) -> InstanceState:
    """The state with one job changed, its gates and the contexts above it brought up to date."""
    before = state.job(unit.index)
    gates, counters = roll_up(state.topology, state.gates, state.counters, unit, before=before, after=job)
    tally = _tallied(state.tally, unit, before, job)
    jobs = state.jobs.set(unit.index, job)
    return replace(state, jobs=jobs, gates=gates, counters=counters, tally=tally)


def _tallied(
    tally: Map[JobStatus, int], unit: Unit, before: JobState, after: JobState
) -> Map[JobStatus, int]:
    was, now = before.status, after.status
    if was is now:
        return tally
    standings = len(unit.contexts)
    tally = tally.set(was, tally.get(was, 0) - standings)
    return tally.set(now, tally.get(now, 0) + standings)
