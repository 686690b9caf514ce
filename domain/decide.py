"""``decide``: what a plan instance makes of an event or of an order, as facts or as a refusal.

Total and pure: for any state and any command there is an answer, and the state that is given stays as it is.
"""

from uuid import UUID

import msgspec

from .commands import (
    BeginInstance,
    CloseWindow,
    Command,
    ContextCommand,
    EndInstance,
    FireDependants,
    GrantLock,
    HeardOrder,
    JobCommand,
    MoveStart,
    Order,
    ParkEvent,
    Refused,
    RefuseInitiation,
    ReportEvent,
    ResetInstance,
    TakeSourceParameters,
)
from .decision import Decision, catalyst_of
from .facts import (
    Cause,
    EventIgnored,
    EventParked,
    IgnoredReason,
    InstancePrepared,
    InstanceStarted,
    JobCompleted,
    Recorded,
)
from .hearing import (
    hear,
    natural_event_id,
    refuse_initiation,
    take_granted_lock,
    take_source_parameters,
)
from .instance import InstanceState, begin
from .instants import Instant
from .life import obey_about_life
from .lock_group import Claim, LockGroup
from .orders import obey_about_context, obey_about_instance, obey_about_job, pass_over_what_is_ready
from .plan import JobIdentifier
from .status import ENDED
from .topology import Topology

__all__ = ["Step", "advance", "decide", "natural_event_id", "preview_dependants", "preview_success", "start"]


class Step(msgspec.Struct, frozen=True, gc=False):
    """What a command led to: facts in order, and the state after them."""

    facts: tuple[Recorded, ...]
    state: InstanceState
    locks: LockGroup | None = None
    """Those of the instance's environment group after it; as they were given, if it did not touch them."""
    lock_facts: tuple[Recorded, ...] = ()
    """To be stored with the others, in the log of the locks."""
    granted: tuple[Claim, ...] = ()
    """Jobs of other instances that have the lock now that they waited for."""


def decide(
    state: InstanceState, command: Command, *, at: Instant, cause: Cause, locks: LockGroup | None = None
) -> tuple[Recorded, ...] | Refused:
    """The facts that follow from a command given at that instant, or why there are none."""
    step = advance(state, command, at=at, cause=cause, locks=locks)
    return step if isinstance(step, Refused) else step.facts


def advance(
    state: InstanceState, command: Command, *, at: Instant, cause: Cause, locks: LockGroup | None = None
) -> Step | Refused:
    """As ``decide``, with the state after the facts, which deciding had to know anyway.

    ``locks`` are those of the instance's environment group, as they stand; ``None`` while it has none. An
    instance whose plan uses no locks does not look at them.
    """
    decision = Decision(state, at, cause, locks)
    match command:
        case ReportEvent(event=event):
            hear(decision, event)
        case RefuseInitiation():
            refuse_initiation(decision, command)
        case GrantLock():
            take_granted_lock(decision, command)
        case TakeSourceParameters(parameters=parameters):
            take_source_parameters(decision, parameters)
        case HeardOrder(order=order):
            if _obey(decision, order, at) is not None:
                told: IgnoredReason = "instance ended" if state.ended else "not applicable"
                decision.record(EventIgnored(reason=told))
        case ParkEvent(error=error, event_id=event_id):
            decision.record(EventParked(error=error, parked_event_id=event_id))
        case _:
            refused = _obey(decision, command, at)
            if refused is not None:
                return refused
    return _step(decision)


def _step(decision: Decision) -> Step:
    decision.grant_what_is_free()
    decision.end_if_complete()
    return Step(
        facts=tuple(decision.facts),
        state=decision.state,
        locks=decision.locks,
        lock_facts=tuple(decision.lock_facts),
        granted=tuple(decision.granted),
    )


def _obey(decision: Decision, command: Order, at: Instant) -> Refused | None:
    match command:
        case JobCommand():
            refused = obey_about_job(decision, command)
        case ContextCommand():
            refused = obey_about_context(decision, command)
        case BeginInstance() | MoveStart() | EndInstance() | ResetInstance() | CloseWindow():
            refused = obey_about_life(decision, command, at)
        case _:
            refused = obey_about_instance(decision, command)
    return refused


def start(
    topology: Topology,
    *,
    instance_id: UUID,
    fact: InstanceStarted | InstancePrepared,
    at: Instant,
    cause: Cause,
    locks: LockGroup | None = None,
) -> Step:
    """The beginning of an instance, or its existence ahead of it."""
    recorded = Recorded(originator_id=instance_id, originator_version=1, at=at, cause=cause, fact=fact)
    decision = Decision(begin(topology, recorded), at, cause, locks)
    if isinstance(fact, InstanceStarted):
        pass_over_what_is_ready(decision, topology.skipped_from_the_start)
        decision.fire_dependants()
    step = _step(decision)
    return msgspec.structs.replace(step, facts=(recorded, *step.facts))


def preview_dependants(
    state: InstanceState, command: FireDependants, *, at: Instant, locks: LockGroup | None = None
) -> Step | Refused:
    """What firing the dependants of a failed job would lead to; nothing of it is to be stored."""
    return advance(state, command, at=at, cause=Cause(command="PreviewDependants"), locks=locks)


def preview_success(
    state: InstanceState,
    job: JobIdentifier,
    context: str,
    *,
    at: Instant,
    locks: LockGroup | None = None,
) -> Step | Refused:
    """What the success of a job, if it came now, would lead to; nothing of it is to be stored."""
    unit = state.topology.unit_in(context, job)
    if unit is None:
        return Refused(reason=f"context {context} lists no job {job}", unknown=True)
    if state.ended:
        return Refused(reason="the instance has ended", status=ENDED)
    decision = Decision(state, at, Cause(command="PreviewSuccess"), locks)
    decision.complete(unit, JobCompleted(job=unit.identifier, context=unit.context), catalyst_of(unit))
    decision.fire_dependants()
    decision.end_if_complete()
    return _step(decision)
