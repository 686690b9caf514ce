"""A plan over time: its versions, and every start that its clock called for.

A plan is an aggregate of its own. Each due start is accounted for by a fact: it became an instance, or it
was skipped with a reason.
"""

from collections.abc import Iterator
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
from msgspec.structs import replace

from .cron import CronExpression
from .dates import day_of
from .facts import (
    Cause,
    InstanceDue,
    InstanceStarted,
    NotificationsSet,
    ParameterSourceRead,
    PlanFact,
    PlanPushed,
    Recorded,
    StartSkipped,
)
from .instants import Instant, time_zone
from .notification_settings import is_notification_document
from .plan import JobPlan
from .windows import Blackout

_PLANS = uuid5(NAMESPACE_URL, "urn:jobledger:plan")


def plan_stream(name: str) -> UUID:
    """The stream in which the facts of the plan of that name are recorded."""
    return uuid5(_PLANS, name)


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
    accounted_through: Instant
    """Every due start up to here has its fact."""
    source_parameters: dict[str, str] = {}
    """What the dashboard's parameter source for the plan said last."""


def evolve_plan(state: PlanState | None, recorded: Recorded) -> PlanState:
    """The state of a plan after one more fact; the first is always a push."""
    match recorded.fact:
        case PlanPushed() as fact:
            return PlanState(
                stream=recorded.originator_id,
                position=recorded.position,
                version=fact.version,
                plan=fact.plan,
                documents=fact.documents,
                notifications_at=recorded.position,
                pushed_at=recorded.at,
                accounted_through=recorded.at,
                source_parameters={} if state is None else state.source_parameters,
            )
        case InstanceDue(due_at=due_at) if state is not None:
            through = state.accounted_through if due_at is None else max(state.accounted_through, due_at)
            return replace(state, position=recorded.position, accounted_through=through)
        case NotificationsSet() as fact if state is not None:
            plan, documents = with_notifications(state.plan, state.documents, fact)
            return replace(
                state,
                position=recorded.position,
                plan=plan,
                documents=documents,
                notifications_at=recorded.position,
            )
        case StartSkipped(through=through) if state is not None:
            through = max(state.accounted_through, through)
            return replace(state, position=recorded.position, accounted_through=through)
        case ParameterSourceRead(parameters=parameters) if state is not None:
            return replace(state, position=recorded.position, source_parameters=parameters)
        case other:
            raise ValueError(f"{type(other).__name__} cannot be fact {recorded.position} of a plan")


def push(state: PlanState | None, plan: JobPlan, documents: dict[str, bytes]) -> PlanPushed | None:
    """The fact of a push; ``None`` when it changes nothing. The plan has been validated before."""
    if state is not None and state.plan == plan and state.documents == documents:
        return None
    before = () if state is None else state.plan.agents()
    return PlanPushed(
        version=1 if state is None else state.version + 1,
        plan=plan,
        documents=documents,
        previous_agents=tuple(agent for agent in before if agent not in plan.agents()),
    )


def with_notifications(
    plan: JobPlan, documents: dict[str, bytes], fact: NotificationsSet
) -> tuple[JobPlan, dict[str, bytes]]:
    """A version of a plan and its documents once its notifications were changed."""
    kept = {path: content for path, content in documents.items() if not is_notification_document(path)}
    return replace(plan, notifications=fact.notifications), kept | fact.documents


def instance_started(
    state: PlanState,
    *,
    at: Instant,
    due_at: Instant | None,
    parameters: dict[str, str],
    default_zone: str,
    until_ended: bool = False,
    business_date: str | None = None,
) -> InstanceStarted:
    """The first fact of an instance of the plan as it is now.

    Unless it is told which day it is for, it is for the day of its start in the time zone of the plan.
    """
    plan = state.plan
    zone = plan.window.zone or default_zone
    lives_ms = plan.window.time_to_live_ms
    began = at if due_at is None else due_at
    return InstanceStarted(
        plan=plan.name,
        plan_version=state.version,
        due_at=due_at,
        ends_at=None if until_ended or lives_ms <= 0 else began + lives_ms,
        agents=plan.agents(),
        environment_group=plan.environment_group,
        parameters=parameters,
        schedules_disabled=plan.schedules_disabled,
        source_parameters=state.source_parameters,
        zone=zone,
        business_date=business_date or day_of(began, time_zone(zone)).isoformat(),
    )


def read_source(state: PlanState, parameters: dict[str, str]) -> ParameterSourceRead | None:
    """The fact of what the plan's parameter source says; ``None`` when it says the same as before."""
    return None if state.source_parameters == parameters else ParameterSourceRead(parameters=parameters)


def next_start(state: PlanState, default_zone: str) -> Instant | None:
    """When the clock strikes next after all that is accounted for; ``None`` for a plan without a clock."""
    window = state.plan.window
    if window.cron is None or window.time_to_live_ms <= 0:
        return None
    cron = CronExpression.parse(window.cron, working_days=window.working_days)
    return cron.next_fire(state.accounted_through, time_zone(window.zone or default_zone))


def due_starts(
    state: PlanState, now: Instant, *, active: bool, default_zone: str
) -> Iterator[InstanceDue | StartSkipped]:
    """A fact for every start that is due by now and not accounted for yet, oldest first.

    ``active`` tells whether an instance of the plan is. Only the newest start whose window is still open
    becomes an instance of a plan that does not run concurrently. Starts whose windows have passed are told
    in one fact for each run of them.
    """
    plan = state.plan
    missed: list[Instant] = []
    for due_at in _due(state, now, default_zone):
        if due_at + plan.window.time_to_live_ms <= now:
            missed.append(due_at)
            continue
        yield from _missed(missed)
        missed = []
        if (reason := _obstacle(plan, due_at, active=active, default_zone=default_zone)) is not None:
            yield reason
        else:
            instance_id = uuid5(state.stream, str(due_at))
            yield InstanceDue(instance_id=instance_id, version=state.version, due_at=due_at)
            active = True
    yield from _missed(missed)


def _due(state: PlanState, now: Instant, default_zone: str) -> Iterator[Instant]:
    due_at = next_start(state, default_zone)
    while due_at is not None and due_at <= now:
        yield due_at
        state = replace(state, accounted_through=due_at)
        due_at = next_start(state, default_zone)


def _missed(starts: list[Instant]) -> Iterator[StartSkipped]:
    if starts:
        yield StartSkipped(due_at=starts[0], through=starts[-1], count=len(starts), reason="window passed")


def _obstacle(plan: JobPlan, due_at: Instant, *, active: bool, default_zone: str) -> StartSkipped | None:
    if plan.disabled:
        return StartSkipped(due_at=due_at, through=due_at, reason="plan disabled")
    if (detail := _blackout(plan, default_zone).reason(due_at)) is not None:
        return StartSkipped(due_at=due_at, through=due_at, reason="blackout", detail=detail)
    if active and not plan.concurrent:
        return StartSkipped(due_at=due_at, through=due_at, reason="another instance is active")
    return None


def _blackout(plan: JobPlan, default_zone: str) -> Blackout:
    window = plan.window
    expressions = tuple(CronExpression.parse(text) for text in window.blackout_expressions)
    return Blackout(expressions, window.blackout_ranges, time_zone(window.zone or default_zone))


def record(state: PlanState | None, stream: UUID, fact: PlanFact, *, at: Instant, cause: Cause) -> Recorded:
    """A fact in the next place of the plan's log."""
    position = 0 if state is None else state.position
    return Recorded(originator_id=stream, originator_version=position + 1, at=at, cause=cause, fact=fact)
