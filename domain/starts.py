"""What becomes of each due start of a plan: an instance, a wait, or a fact that says why not.

Pure and without memory: given what the log has accounted for so far, the next fact follows. Whoever records
it and asks again gets the one after it, until all that is due is accounted for.
"""

from typing import Literal, TypeAlias

import msgspec

from .facts import ClockSetBack, InstanceDue, StartDeferred, StartSkipped
from .instants import Instant
from .plan_log import PlanState
from .windows import StartTimes

MOST_COUNTED = 1_000
"""Starts that one fact counts one by one."""
ON_TIME_MS = 5_000
"""A start that is accounted for so soon after it was due has not been late."""
CLOCK_WAS_WRONG_MS = 24 * 3_600_000
"""Starts that are accounted for further ahead than this were so by a clock that was wrong."""

StartFact: TypeAlias = InstanceDue | StartDeferred | StartSkipped | ClockSetBack
SkipReason: TypeAlias = Literal[
    "another instance is active",
    "blackout",
    "window passed",
    "plan disabled",
    "plan changed",
    "plan deleted",
    "ended before its start",
]


class Surrounding(msgspec.Struct, frozen=True, kw_only=True):
    """What is so beside the plan's own log when its starts are accounted for."""

    now: Instant
    default_zone: str
    active: bool
    """An instance of the plan is active."""
    closing: bool = False
    """Its window is over, and it is about to be ended."""
    prepared_ended: bool = False
    """Somebody ended the prepared instance."""


def next_start_fact(state: PlanState, around: Surrounding) -> StartFact | None:
    """What the log is to say next about the plan's starts; ``None`` when nothing is due any more."""
    if state.gone:
        return None
    if state.accounted_through > around.now + CLOCK_WAS_WRONG_MS:
        return ClockSetBack(accounted_through=around.now)
    times = StartTimes.of(state.plan.window, around.default_zone)
    if state.deferred is not None and (fact := _of_deferred(state, state.deferred, times, around)):
        return fact
    due_at = None if times is None else times.after(state.accounted_through)
    if times is None or due_at is None or due_at > around.now:
        return None
    return _of_due(state, due_at, times, around)


def next_start(state: PlanState, default_zone: str) -> Instant | None:
    """When the plan's clock strikes next, whatever becomes of that start; ``None``: never."""
    times = None if state.gone else StartTimes.of(state.plan.window, default_zone)
    return None if times is None else times.after(state.accounted_through)


def next_look(state: PlanState, default_zone: str) -> Instant | None:
    """When there is something to account for next, if nothing else happens; ``None``: never."""
    times = None if state.gone else StartTimes.of(state.plan.window, default_zone)
    if times is None:
        return None
    looks = [times.after(state.accounted_through)]
    if state.deferred is not None:
        looks.append(times.closes_at(state.deferred))
    return min((each for each in looks if each is not None), default=None)


def next_to_prepare(state: PlanState, default_zone: str) -> Instant | None:
    """The start that an instance is to exist ahead of: the one that waits, or the next in no blackout."""
    times = None if state.gone else StartTimes.of(state.plan.window, default_zone)
    if times is None:
        return None
    if state.deferred is not None:
        return state.deferred
    return times.next_open(state.accounted_through)


def _of_deferred(
    state: PlanState, due_at: Instant, times: StartTimes | None, around: Surrounding
) -> StartFact | None:
    """What becomes of the start that waits; ``None`` as long as it waits."""
    if times is None:
        return _skipped(due_at, "plan changed", "it has no such start any more")
    if (never := _why_never(state, due_at, times, around)) is not None:
        return _skipped(due_at, *never)
    if around.active and not state.plan.concurrent:
        return None
    return _start_unless_dark(state, due_at, times, around)


def _of_due(state: PlanState, due_at: Instant, times: StartTimes, around: Surrounding) -> StartFact:
    verdict = _verdict(state, due_at, times, around)
    if isinstance(verdict, StartSkipped):
        return _run(state, verdict, times, around)
    if isinstance(verdict, StartDeferred) and state.deferred is not None:
        # One waits at a time: the newest.
        return _skipped(state.deferred, "another instance is active", "until the start after this one")
    return verdict


def _verdict(
    state: PlanState, due_at: Instant, times: StartTimes, around: Surrounding
) -> InstanceDue | StartDeferred | StartSkipped:
    if (never := _why_never(state, due_at, times, around)) is not None:
        return _skipped(due_at, *never)
    if around.active and not state.plan.concurrent:
        if state.plan.end_on_completion or around.closing:
            return StartDeferred(due_at=due_at)
        return _skipped(due_at, "another instance is active")
    return _start_unless_dark(state, due_at, times, around)


def _why_never(
    state: PlanState, due_at: Instant, times: StartTimes, around: Surrounding
) -> tuple[SkipReason, str] | None:
    """Why a due start will not happen, not even later; ``None`` if it may."""
    why: tuple[SkipReason, str] | None = None
    if state.disabled:
        why = "plan disabled", ""
    elif (told := times.blackout.reason(due_at)) is not None:
        why = "blackout", told
    elif times.closes_at(due_at) <= around.now:
        why = "window passed", ""
        if state.deferred == due_at:
            why = "another instance is active", "until the window of this start had passed"
    elif _is_cancelled(state, due_at, around):
        why = "ended before its start", ""
    return why


def _start_unless_dark(
    state: PlanState, due_at: Instant, times: StartTimes, around: Surrounding
) -> InstanceDue | StartSkipped:
    """A start that comes late must not fall into a blackout that it was not meant for."""
    late = around.now - due_at > ON_TIME_MS
    if late and (told := times.blackout.reason(around.now)) is not None:
        return _skipped(due_at, "blackout", f"late, and now {told}")
    return _start(state, due_at)


def _is_cancelled(state: PlanState, due_at: Instant, around: Surrounding) -> bool:
    prepared = state.prepared
    return around.prepared_ended and prepared is not None and prepared.due_at == due_at


def _start(state: PlanState, due_at: Instant) -> InstanceDue:
    prepared = state.prepared
    if prepared is not None and (prepared.due_at, prepared.version) == (due_at, state.version):
        return InstanceDue(instance_id=prepared.instance_id, version=state.version, due_at=due_at)
    return InstanceDue(instance_id=state.next_id("start"), version=state.version, due_at=due_at)


def _skipped(due_at: Instant, reason: SkipReason, detail: str = "") -> StartSkipped:
    return StartSkipped(due_at=due_at, through=due_at, reason=reason, detail=detail)


def _run(state: PlanState, first: StartSkipped, times: StartTimes, around: Surrounding) -> StartSkipped:
    """A skipped start with those after it that are due and skipped for the same reason, in one fact."""
    through, count = first.due_at, 1
    for due_at in times.between(first.due_at, around.now):
        if count == MOST_COUNTED:
            return _uncounted(state, first, times, around) or _told(first, through, count)
        verdict = _verdict(state, due_at, times, around)
        if not isinstance(verdict, StartSkipped):
            break
        if (verdict.reason, verdict.detail) != (first.reason, first.detail):
            break
        through, count = due_at, count + 1
    return _told(first, through, count)


def _told(first: StartSkipped, through: Instant, count: int, *, at_least: bool = False) -> StartSkipped:
    return msgspec.structs.replace(first, through=through, count=count, at_least=at_least)


def _uncounted(
    state: PlanState, first: StartSkipped, times: StartTimes, around: Surrounding
) -> StartSkipped | None:
    """A run too long to count, where all of it meets the same fate up to a known instant."""
    dark = times.blackout.expressions or times.blackout.ranges
    if state.disabled:
        until = around.now
    elif first.reason == "window passed" and not dark:
        until = around.now - times.time_to_live_ms
    else:
        return None
    through = times.through(until)
    return None if through is None else _told(first, through, MOST_COUNTED, at_least=True)
