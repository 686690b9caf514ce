"""A plan over time: its versions, its life, and what has been accounted for of its starts.

A plan is an aggregate of its own. Its log tells of pushes, of people who enabled, disabled or deleted it, and
of every start that its clock called for. A plan that was deleted keeps its log; the next push of its name
goes on with it.
"""

from enum import StrEnum
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from msgspec.structs import replace

from .dates import day_of
from .facts import (
    AgentsSynchronised,
    Cause,
    ClockSetBack,
    InstanceDue,
    InstanceReset,
    InstanceStarted,
    NextDropped,
    NextPrepared,
    NotificationsSet,
    ParameterSourceRead,
    PlanDeleted,
    PlanDeletionBegun,
    PlanDisabled,
    PlanEnabled,
    PlanFact,
    PlanPushed,
    Recorded,
    ResetDropped,
    StartDeferred,
    StartSkipped,
)
from .instants import Instant, time_zone
from .notification_settings import is_notification_document
from .plan import JobPlan

_PLANS = uuid5(NAMESPACE_URL, "urn:jobledger:plan")


def plan_stream(name: str) -> UUID:
    """The stream in which the facts of the plan of that name are recorded."""
    return uuid5(_PLANS, name)


class PlanStanding(StrEnum):
    """What a plan does about its clock and about people who want to start it."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    """It starts no instances."""
    DELETING = "DELETING"
    """It is deleted as soon as its active instances have ended."""
    DELETED = "DELETED"
    """Its history can be read, and a push of its name begins a new life."""


class Prepared(msgspec.Struct, frozen=True, omit_defaults=True):
    """The next instance, which exists ahead of its start."""

    instance_id: UUID
    version: int
    due_at: Instant


class PlanState(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of a plan at one position of its log."""

    stream: UUID
    position: int
    version: int
    plan: JobPlan
    documents: dict[str, bytes]
    notifications_at: int
    """The position of the fact that says who is told of what."""
    pushed_at: Instant
    pushed_position: int
    """Of the fact that has the plan and its documents."""
    standing: PlanStanding
    accounted_through: Instant
    """Every due start up to here has its fact."""
    begun_with: int = 1
    """The version that its life began with: later than the first, if the plan was deleted before."""
    deferred: Instant | None = None
    """A start among them that still waits for the active instance to end."""
    prepared: Prepared | None = None
    holders: tuple[str, ...] = ()
    """Agents that hold jobs of the plan, or are on the way to."""
    source_parameters: dict[str, str] = {}
    """What the dashboard's parameter source for the plan said last."""
    synchronised: bool = True
    """The agents are to have the jobs of this version; false until an instance starts if they are to wait."""

    @property
    def disabled(self) -> bool:
        """Whether it starts no instances for now."""
        return self.standing is PlanStanding.DISABLED

    @property
    def gone(self) -> bool:
        """Whether it is deleted, or about to be."""
        return self.standing in {PlanStanding.DELETING, PlanStanding.DELETED}

    def next_id(self, what: str) -> UUID:
        """An id for what the next fact tells of: deciding the same again gives the same."""
        return uuid5(self.stream, f"{what} {self.position + 1}")


def evolve_plan(state: PlanState | None, recorded: Recorded) -> PlanState:
    """The state of a plan after one more fact; the first is always a push."""
    fact = recorded.fact
    if isinstance(fact, PlanPushed):
        return _pushed(state, fact, recorded)
    if state is None:
        raise ValueError(f"{type(fact).__name__} cannot be the first fact of a plan")
    state = replace(state, position=recorded.position)
    match fact:
        case PlanEnabled() | PlanDisabled() | PlanDeletionBegun() | PlanDeleted():
            state = replace(state, standing=_STANDING_AFTER[type(fact)])
            state = replace(state, holders=()) if state.standing is PlanStanding.DELETED else state
        case AgentsSynchronised(agents=agents):
            state = replace(state, holders=agents, synchronised=True)
        case NextPrepared(instance_id=instance_id, version=version, due_at=due_at):
            state = replace(state, prepared=Prepared(instance_id, version, due_at))
        case NextDropped():
            state = replace(state, prepared=None)
        case InstanceDue() | StartDeferred() | StartSkipped() | ClockSetBack():
            state = _accounted(state, fact)
        case NotificationsSet():
            plan, documents = with_notifications(state.plan, state.documents, fact)
            state = replace(state, plan=plan, documents=documents, notifications_at=recorded.position)
        case ParameterSourceRead(parameters=parameters):
            state = replace(state, source_parameters=parameters)
        case InstanceReset() | ResetDropped():
            # They are told, and the plan is as it was.
            pass
        case _:
            raise ValueError(f"{type(fact).__name__} cannot be fact {recorded.position} of a plan")
    return state


_STANDING_AFTER: dict[type[PlanFact], PlanStanding] = {
    PlanEnabled: PlanStanding.ENABLED,
    PlanDisabled: PlanStanding.DISABLED,
    PlanDeletionBegun: PlanStanding.DELETING,
    PlanDeleted: PlanStanding.DELETED,
}


def _pushed(state: PlanState | None, fact: PlanPushed, recorded: Recorded) -> PlanState:
    """A version says whether the plan is disabled when it is the first, or says otherwise than the last."""
    plan, at = fact.plan, recorded.at
    holders: tuple[str, ...] = ()
    accounted_through = at
    standing = PlanStanding.DISABLED if plan.disabled else PlanStanding.ENABLED
    deferred, prepared, begun_with = None, None, fact.version
    if state is not None:
        holders, accounted_through = state.holders, max(state.accounted_through, at)
        if not state.gone:
            deferred, prepared, begun_with = state.deferred, state.prepared, state.begun_with
            if state.plan.disabled == plan.disabled:
                standing = state.standing
    return PlanState(
        stream=recorded.originator_id,
        position=recorded.position,
        version=fact.version,
        plan=plan,
        documents=fact.documents,
        notifications_at=recorded.position,
        pushed_at=at,
        pushed_position=recorded.position,
        standing=standing,
        accounted_through=accounted_through,
        begun_with=begun_with,
        source_parameters={} if state is None else state.source_parameters,
        deferred=deferred,
        prepared=prepared,
        holders=holders if plan.delay_agent_synchronisation else plan.agents(),
        synchronised=not plan.delay_agent_synchronisation,
    )


def _accounted(
    state: PlanState, fact: InstanceDue | StartDeferred | StartSkipped | ClockSetBack
) -> PlanState:
    through, deferred, prepared = state.accounted_through, state.deferred, state.prepared
    match fact:
        case InstanceDue(due_at=due_at, instance_id=instance_id):
            if due_at is not None:
                through = max(through, due_at)
                deferred = None if deferred == due_at else deferred
            if prepared is not None and prepared.instance_id == instance_id:
                prepared = None
        case StartDeferred(due_at=due_at):
            through, deferred = max(through, due_at), due_at
        case StartSkipped():
            through = max(through, fact.through)
            if deferred is not None and fact.due_at <= deferred <= fact.through:
                deferred = None
            if fact.reason == "ended before its start":
                prepared = None
        case ClockSetBack(accounted_through=to):
            through = to
            deferred = None if deferred is not None and deferred > to else deferred
    return replace(state, accounted_through=through, deferred=deferred, prepared=prepared)


def push(state: PlanState | None, plan: JobPlan, documents: dict[str, bytes]) -> PlanPushed | None:
    """The fact of a push; ``None`` when it changes nothing. The plan has been validated before."""
    if state is not None and not state.gone and state.plan == plan and state.documents == documents:
        return None
    told_later = state is None or plan.delay_agent_synchronisation
    return PlanPushed(
        version=1 if state is None else state.version + 1,
        plan=plan,
        documents=documents,
        previous_agents=() if told_later or state is None else _no_longer_named(state, plan),
    )


def synchronisation(state: PlanState) -> AgentsSynchronised:
    """The fact by which the agents are to have the jobs of the newest version."""
    plan = state.plan
    return AgentsSynchronised(
        plan=plan.name,
        version=state.version,
        agents=plan.agents(),
        previous_agents=_no_longer_named(state, plan),
    )


def _no_longer_named(state: PlanState, plan: JobPlan) -> tuple[str, ...]:
    named = plan.agents()
    return tuple(agent for agent in state.holders if agent not in named)


def instance_started(
    state: PlanState,
    *,
    due_at: Instant | None,
    began: Instant,
    default_zone: str,
    business_date: str | None = None,
) -> InstanceStarted:
    """The first fact of an instance of the plan as it is now; its time to live begins with ``began``.

    Unless it is told which day it is for, it is for the day of its beginning in the time zone of the plan.
    """
    plan = state.plan
    lives_ms = plan.window.time_to_live_ms
    zone = plan.window.zone or default_zone
    return InstanceStarted(
        plan=plan.name,
        plan_version=state.version,
        due_at=due_at,
        ends_at=began + lives_ms if lives_ms > 0 else None,
        agents=plan.agents(),
        environment_group=plan.environment_group,
        schedules_disabled=plan.schedules_disabled,
        source_parameters=state.source_parameters,
        zone=zone,
        business_date=business_date or day_of(began, time_zone(zone)).isoformat(),
    )


def read_source(state: PlanState, parameters: dict[str, str]) -> ParameterSourceRead | None:
    """The fact of what the plan's parameter source says; ``None`` when it says the same as before."""
    return None if state.source_parameters == parameters else ParameterSourceRead(parameters=parameters)


def record(state: PlanState | None, stream: UUID, fact: PlanFact, *, at: Instant, cause: Cause) -> Recorded:
    """A fact in the next place of the plan's log."""
    position = 0 if state is None else state.position
    return Recorded(originator_id=stream, originator_version=position + 1, at=at, cause=cause, fact=fact)


def with_notifications(
    plan: JobPlan, documents: dict[str, bytes], fact: NotificationsSet
) -> tuple[JobPlan, dict[str, bytes]]:
    """A version of a plan and its documents once its notifications were changed."""
    kept = {path: content for path, content in documents.items() if not is_notification_document(path)}
    return replace(plan, notifications=fact.notifications), kept | fact.documents
