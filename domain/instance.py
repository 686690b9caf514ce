"""The state of one run of a plan, and ``evolve``: what each recorded fact makes of it.

The state is a value. Its maps share structure, so a state costs what changed since the one before it, and
any past state can be kept or compared. What only follows from the statuses of the jobs (the counts of the
gates, the statuses of contexts) is kept up to date by increments and is never stored.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec
from immutables import Map
from msgspec.structs import replace

from .facts import (
    EventIgnored,
    EventParked,
    FireSkipped,
    GlobalEventRaised,
    InstanceEnded,
    InstanceStarted,
    JobCompleted,
    JobFailed,
    JobInitiated,
    JobStarted,
    KillRequested,
    Recorded,
)
from .instants import Instant
from .messages import DryRun, Outcome
from .status import ENDED, ContextStatus, JobStatus
from .topology import NOWHERE, Counters, Topology, Unit

STATE_SCHEMA = 1
"""Of the stored form of a state; a snapshot of another schema is not read, the log is."""


class JobState(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One job instance: its status and its latest execution."""

    status: JobStatus = JobStatus.WAITING
    initiated: bool = False
    """An initiation was raised and has not been reset."""
    acknowledged: bool = False
    """An operator accepted its ERROR."""
    killed: bool = False
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


_SATISFIED = frozenset({JobStatus.COMPLETE, JobStatus.SKIPPED_COMPLETE})
_ACTIVE = frozenset({JobStatus.RUNNING, JobStatus.COMPLETE, JobStatus.LOCK_QUEUED})
UNTOUCHED = JobState()


class InstanceState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is true of a plan instance at one position of its log."""

    instance_id: UUID
    topology: Topology
    position: int
    plan_version: int
    started_at: Instant
    updated_at: Instant
    due_at: Instant | None = None
    ends_at: Instant | None = None
    ended_at: Instant | None = None
    end_reason: str | None = None
    agents: tuple[str, ...] = ()
    environment_group: str | None = None
    parameters: dict[str, str] = {}
    dry_run: DryRun | None = None
    schedules_disabled: bool = False
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
    def status(self) -> str:
        """The root context's status, or ENDED."""
        return ENDED if self.ended else self.context_status(0).value

    def job(self, unit: int) -> JobState:
        """The state of a unit's job."""
        return self.jobs.get(unit, UNTOUCHED)

    def context_counters(self, context: int) -> Counters:
        """The counters that a context's status is derived from."""
        return self.counters.get(context, self.topology.contexts[context].initial)

    def context_status(self, context: int) -> ContextStatus:
        """The derived status of a context, by its index."""
        return self.context_counters(context).status()

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
        prefix = f"{self.instance_id}-"
        if initiation_id is None or not initiation_id.startswith(prefix):
            return None
        number = initiation_id[len(prefix) :]
        return int(number) if number.isascii() and number.isdecimal() and len(number) < 16 else None


def begin(topology: Topology, recorded: Recorded) -> InstanceState:
    """The state after the first fact of an instance's log."""
    fact = recorded.fact
    if not isinstance(fact, InstanceStarted):
        raise TypeError(f"the log of an instance begins with InstanceStarted, not {type(fact).__name__}")
    return InstanceState(
        instance_id=recorded.originator_id,
        topology=topology,
        position=recorded.position,
        plan_version=fact.plan_version,
        started_at=recorded.at,
        updated_at=recorded.at,
        due_at=fact.due_at,
        ends_at=fact.ends_at,
        agents=fact.agents,
        environment_group=fact.environment_group,
        parameters=fact.parameters,
        dry_run=fact.dry_run,
        schedules_disabled=fact.schedules_disabled,
    )


def evolve(state: InstanceState, recorded: Recorded) -> InstanceState:
    """The state after one more fact; never refuses and never decides.

    A fact out of its place is a fault of the log and raises ``ValueError``.
    """
    if recorded.originator_version != state.position + 1:
        raise ValueError(
            f"instance {state.instance_id}: fact {recorded.position} cannot follow position {state.position}"
        )
    fact = recorded.fact
    match fact:
        case JobStarted() | JobCompleted() | JobFailed() | JobInitiated():
            unit = _unit(state, fact.job, fact.context)
            state = with_job(state, unit, _job_after(state.job(unit.index), fact, recorded.at))
            if isinstance(fact, JobInitiated):
                state = replace(state, initiations=max(state.initiations, fact.initiation))
        case GlobalEventRaised(job=job):
            unit = _unit(state, job, None)
            state = with_job(state, unit, replace(state.job(unit.index), initiated=True))
            state = replace(state, raised=state.raised + 1)
        case InstanceEnded(reason=reason):
            state = replace(state, ended_at=recorded.at, end_reason=reason)
        case EventIgnored() | FireSkipped() | EventParked() | KillRequested():
            # These are told and change no job.
            state = replace(state, position=recorded.position)
        case _:
            raise ValueError(f"{type(fact).__name__} is no fact of a plan instance that goes on")
    seen = state.seen
    if (event_id := getattr(fact, "event_id", None)) is not None:
        seen = seen.set(event_id, recorded.position)
    if (key := recorded.cause.key) is not None and (order := order_id(key)) not in seen:
        seen = seen.set(order, recorded.position)
    return replace(state, position=recorded.position, updated_at=recorded.at, seen=seen)


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


def _unit(state: InstanceState, identifier: str, context: str | None) -> Unit:
    unit = state.topology.unit_of(identifier, context)
    if unit is None:
        raise ValueError(f"plan {state.plan} version {state.plan_version} has no job {identifier}")
    return unit


def _job_after(
    job: JobState, fact: JobStarted | JobCompleted | JobFailed | JobInitiated, at: Instant
) -> JobState:
    match fact:
        case JobInitiated(initiation=number):
            return replace(job, initiated=True, initiation=number, closed=False, killed=False)
        case JobStarted():
            return replace(
                job,
                status=JobStatus.RUNNING,
                closed=False,
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
            passed_over = fact.outcome is Outcome.IGNORED_DAY_OF_WEEK
            status = JobStatus.SKIPPED_COMPLETE if passed_over else JobStatus.COMPLETE
            return replace(_finished(job, fact, at), status=status)
        case JobFailed():
            return replace(_finished(job, fact, at), status=JobStatus.ERROR, killed=fact.killed)


def _finished(job: JobState, fact: JobCompleted | JobFailed, at: Instant) -> JobState:
    return replace(
        job,
        closed=True,
        initiation=fact.initiation or job.initiation,
        fired_at=fact.fired_at if fact.fired_at is not None else job.fired_at,
        finished_at=fact.completed_at or at,
        return_code=fact.return_code,
        pid=fact.pid if fact.pid is not None else job.pid,
        output_path=fact.output_path or job.output_path,
        error_path=fact.error_path or job.error_path,
        details=fact.details,
    )


# --- what follows from a job's status -----------------------------------------------------------------------


def with_job(state: InstanceState, unit: Unit, job: JobState) -> InstanceState:
    """The state with one job changed, its gates and the contexts above it brought up to date."""
    before = state.job(unit.index)
    jobs = state.jobs.set(unit.index, job)
    delta = int(job.satisfied) - int(before.satisfied)
    gates = state.gates
    met: dict[int, int] = {}
    if delta and unit.leaves:
        gates = _bump(state.topology, gates, unit.leaves, delta, met)
    counters = _recount(state, unit, before, job, met)
    tally = state.tally
    if job.status is not before.status:
        standings = len(unit.contexts)
        tally = tally.set(before.status, tally.get(before.status, 0) - standings)
        tally = tally.set(job.status, tally.get(job.status, 0) + standings)
    return replace(state, jobs=jobs, gates=gates, counters=counters, tally=tally)


def _bump(
    topology: Topology, gates: Map[int, int], leaves: tuple[int, ...], delta: int, met: dict[int, int]
) -> Map[int, int]:
    """Add ``delta`` at the leaves and pass on what flips; ``met`` collects, by context, what is met."""
    circuit = topology.circuit
    counts = gates.mutate()
    for leaf in leaves:
        gate, step = leaf, delta
        while gate != NOWHERE:
            count = counts.get(gate, circuit.initial[gate])
            counts[gate] = count + step
            held = circuit.holds(gate, count)
            holds = circuit.holds(gate, count + step)
            if held == holds:
                break
            step = 1 if holds else -1
            context = circuit.meets[gate]
            if context != NOWHERE:
                met[context] = met.get(context, 0) + step
            gate = circuit.parent[gate]
    return counts.finish()


def _recount(
    state: InstanceState, unit: Unit, before: JobState, after: JobState, met: Mapping[int, int]
) -> Map[int, Counters]:
    errors = int(after.in_error) - int(before.in_error)
    active = int(after.active) - int(before.active)
    finished = int(after.finished) - int(before.finished)
    counters = state.counters
    if errors or active or finished:
        for place in unit.places:
            step = Counters(
                errors=errors if place.starts_inside else 0,
                active=active if place.starts_inside else 0,
                unfinished=-finished if place.terminal else 0,
            )
            counters = _add(state.topology, counters, place.context, step)
    for context, number in met.items():
        counters = _add(state.topology, counters, context, Counters(unmet=-number))
    return counters


def _add(
    topology: Topology, counters: Map[int, Counters], context: int, step: Counters
) -> Map[int, Counters]:
    """Add to a context's counters and tell its ancestors as far up as a status changes."""
    while True:
        compiled = topology.contexts[context]
        own = counters.get(context, compiled.initial)
        now = own.plus(step)
        counters = counters.set(context, now)
        before, after = own.status(), now.status()
        if before is after or compiled.parent == NOWHERE:
            return counters
        context = compiled.parent
        step = Counters(
            children_in_error=_step(before, after, _IN_ERROR),
            children_incomplete=_step(before, after, _INCOMPLETE),
            children_active=_step(before, after, _CHILD_ACTIVE),
        )


_IN_ERROR = frozenset({ContextStatus.ERROR})
_INCOMPLETE = frozenset(ContextStatus) - {ContextStatus.COMPLETE}
_CHILD_ACTIVE = frozenset({ContextStatus.RUNNING, ContextStatus.COMPLETE})


def _step(was: ContextStatus, now: ContextStatus, group: frozenset[ContextStatus]) -> int:
    return int(now in group) - int(was in group)
