"""How an instance begins and how it ends: orders of the clock, of its plan and of people."""

from .commands import (
    BeginInstance,
    CloseWindow,
    EndInstance,
    LifeCommand,
    MoveStart,
    Refused,
    ResetInstance,
)
from .dates import day_of
from .decision import Decision
from .facts import EndReason, InstanceStarted, ResetOrdered, StartMoved
from .instance import InstanceState
from .instants import Instant, time_zone
from .orders import pass_over_what_is_ready
from .permissions import refusal_of_instance
from .status import ENDED, PREPARED


def obey_about_life(decision: Decision, command: LifeCommand, at: Instant) -> Refused | None:
    """Begin or end the instance as it is ordered, or say why not."""
    match command:
        case BeginInstance():
            refused = _begin(decision)
        case MoveStart(due_at=due_at):
            refused = _move(decision, due_at)
        case EndInstance(reason=reason):
            refused = _end(decision, reason)
        case ResetInstance():
            refused = _reset(decision, command)
        case CloseWindow():
            refused = _close_window(decision, at)
    return refused


def _begin(decision: Decision) -> Refused | None:
    state = decision.state
    if (refused := _refusal_of_prepared(state)) is not None:
        return refused
    decision.record(
        InstanceStarted(
            plan=state.plan,
            plan_version=state.plan_version,
            due_at=state.due_at,
            ends_at=state.ends_at,
            agents=state.agents,
            environment_group=state.environment_group,
            parameters=state.parameters,
            dry_run=state.dry_run,
            schedules_disabled=state.schedules_disabled,
            until_ended=state.until_ended,
            commands_held=state.commands_held,
            source_parameters=state.source_parameters,
            zone=state.zone,
            business_date=state.business_date,
            context_parameters=dict(state.context_parameters),
        )
    )
    skipped = [unit for unit in state.topology.units if state.job(unit.index).skipped]
    pass_over_what_is_ready(decision, skipped)
    decision.fire_dependants()
    return None


def _move(decision: Decision, due_at: Instant) -> Refused | None:
    state = decision.state
    if (refused := _refusal_of_prepared(state)) is not None:
        return refused
    if state.due_at != due_at:
        lives_ms = state.topology.plan.window.time_to_live_ms
        ends_at = None if state.until_ended or lives_ms <= 0 else due_at + lives_ms
        day = day_of(due_at, time_zone(state.zone)).isoformat()
        decision.record(StartMoved(due_at=due_at, ends_at=ends_at, business_date=day))
    return None


def _refusal_of_prepared(state: InstanceState) -> Refused | None:
    if (refused := refusal_of_instance(state, prepared=True)) is not None:
        return refused
    if not state.prepared:
        return Refused(
            reason="the instance has started before", status=state.status, permitted_in=(PREPARED,)
        )
    return None


def _reset(decision: Decision, command: ResetInstance) -> Refused | None:
    state = decision.state
    if (refused := refusal_of_instance(state, prepared=False)) is not None:
        return refused
    same = command.same_parameters
    decision.record(
        ResetOrdered(
            successor=command.successor,
            parameters={**(state.parameters if same else {}), **command.parameters},
            context_parameters=dict(state.context_parameters) if same else {},
            commands_held=command.hold_commands,
            due_at=state.due_at,
            business_date=state.business_date,
            dry_run=state.dry_run,
        )
    )
    return _end(decision, "reset")


def _close_window(decision: Decision, at: Instant) -> Refused | None:
    """An alarm that was set before the window was moved away ends nothing."""
    state = decision.state
    if not state.ended and (state.ends_at is None or at < state.ends_at):
        return None
    return _end(decision, "window closed")


def _end(decision: Decision, reason: EndReason) -> Refused | None:
    state = decision.state
    if state.ended:
        return Refused(reason="the instance has ended", status=ENDED)
    decision.end(reason)
    return None
