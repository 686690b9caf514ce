"""What will fire: the starts of plans and the schedules of their instances, as far as is known now.

Told lazily and in the order of time, from the same clocks that fire in earnest. Nothing can be known of ends
upon completion, of orders that people will give, and of agents that will be away.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from heapq import merge
from operator import attrgetter
from typing import Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from .cron import CronExpression
from .instance import InstanceState
from .instants import Instant, time_zone
from .plan import JobIdentifier, JobPlan, ScheduleJob, StartupControl
from .plan_log import PlanState
from .windows import Blackout, StartTimes


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """A start or a schedule that is due at an instant."""

    at: Instant
    kind: Literal["instance", "schedule"]
    plan: str
    plan_version: int
    job: JobIdentifier | None = None
    """The schedule's."""
    instance_id: UUID | None = None
    """Of an instance that is active or prepared."""
    skipped: str | None = None
    """Why it will not happen, if that is known already."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """An active instance."""

    instance_id: UUID
    plan: JobPlan
    plan_version: int
    ends_at: Instant | None
    schedules_disabled: Callable[[], bool]
    """Asked only once one of its schedules is due."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked about: from one instant up to and including another."""

    begin: Instant
    end: Instant
    default_zone: str
    """Of plans and schedules that name none."""


class TooMuch(ValueError):
    """The span is too long for what would have to be looked at in it."""


class Effort:
    """How much may be looked at, so that one question cannot keep a dashboard busy."""

    def __init__(self, most: int) -> None:
        self._left = most

    def spend(self) -> None:
        """One more thing is looked at; raises ``TooMuch`` when it was the last."""
        self._left -= 1
        if self._left < 0:
            raise TooMuch("there is too much in this span of time: ask for a shorter one, or for one plan")


class _Window(msgspec.Struct, frozen=True):
    """When an instance is active: from one instant up to and without another."""

    begin: Instant
    end: Instant
    instance_id: UUID | None
    schedules_disabled: Callable[[], bool]


class _Ahead:
    """The instance that is prepared for one of the starts, as operators have left it."""

    def __init__(self, state: PlanState, look: Callable[[], InstanceState | None] | None) -> None:
        self._state = state
        self._look = look

    @cached_property
    def _instance(self) -> InstanceState | None:
        return None if self._look is None else self._look()

    def _for(self, due_at: Instant) -> InstanceState | None:
        return None if self.instance_id(due_at) is None else self._instance

    def instance_id(self, due_at: Instant) -> UUID | None:
        """The id of the instance that is there for a start."""
        prepared = self._state.prepared
        return None if prepared is None or prepared.due_at != due_at else prepared.instance_id

    def why_not(self, due_at: Instant) -> str | None:
        """Why it will not begin; ``None`` when it will."""
        if self._look is None or self.instance_id(due_at) is None:
            return None
        if self._instance is None:
            return "the instance that is prepared for it is damaged on disk"
        return "ended before its start" if self._instance.ended else None

    def closes_at(self, due_at: Instant, times: StartTimes, for_ever: Instant) -> Instant:
        """When the instance of a start ends, if nobody ends it before."""
        instance = self._for(due_at)
        return for_ever if instance is not None and instance.until_ended else times.closes_at(due_at)

    def schedules_disabled(self, due_at: Instant) -> bool:
        """Whether its schedules are ignored."""
        instance = self._for(due_at)
        return self._state.plan.schedules_disabled if instance is None else instance.schedules_disabled


def forecast(
    state: PlanState,
    active: Sequence[Running],
    span: Span,
    effort: Effort,
    look: Callable[[], InstanceState | None] | None = None,
) -> Iterator[Fire]:
    """All that a plan's clocks will do in a span of time, in order.

    What has been accounted for already is not told again. ``look`` gives the instance that is prepared, or
    ``None`` when it does not read; it is asked only if its start is due in the span.
    """
    ahead = _Ahead(state, look)
    span = replace(span, begin=max(span.begin, state.accounted_through + 1))
    versions = {each.plan_version: each.plan for each in active} | {state.version: state.plan}
    told: list[Iterator[Fire]] = [_starts(state, active, span, effort, ahead)]
    for version, plan in versions.items():
        for job in _schedules(plan):
            of_version = (each for each in active if each.plan_version == version)
            windows = [_window_of(each, span) for each in of_version]
            future = _future(state, span, effort, ahead) if version == state.version else iter(())
            all_windows = merge(windows, future, key=attrgetter("begin"))
            fires = _ScheduleFires(job, plan.name, version, span, effort)
            told.append(fires.within(all_windows))
    return _each_once(merge(*told, key=attrgetter("at")))


def _starts(
    state: PlanState, active: Sequence[Running], span: Span, effort: Effort, ahead: _Ahead
) -> Iterator[Fire]:
    times = _times(state, span)
    if times is None:
        return
    one_at_a_time = not (state.plan.concurrent or state.plan.end_on_completion)
    for_ever = span.end + 1
    ends = (for_ever if each.ends_at is None else each.ends_at for each in active)
    busy_until = max(ends, default=span.begin)
    for due_at in times.between(span.begin - 1, span.end):
        effort.spend()
        why = _why_not(state, due_at, times, ahead)
        if why is None and one_at_a_time and due_at < busy_until:
            why = "another instance is active"
        if why is None:
            busy_until = max(busy_until, ahead.closes_at(due_at, times, for_ever))
        yield Fire(
            at=due_at,
            kind="instance",
            plan=state.plan.name,
            plan_version=state.version,
            instance_id=ahead.instance_id(due_at),
            skipped=why,
        )


def _times(state: PlanState, span: Span) -> StartTimes | None:
    return None if state.gone else StartTimes.of(state.plan.window, span.default_zone)


def _why_not(state: PlanState, due_at: Instant, times: StartTimes, ahead: _Ahead) -> str | None:
    if state.disabled:
        return "plan disabled"
    if (told := times.blackout.reason(due_at)) is not None:
        return told
    return ahead.why_not(due_at)


def _future(state: PlanState, span: Span, effort: Effort, ahead: _Ahead) -> Iterator[_Window]:
    """The windows of starts to come that are open at some time in the span."""
    times = _times(state, span)
    if times is None:
        return
    for_ever = span.end + 1
    for due_at in times.between(max(state.accounted_through, span.begin - times.time_to_live_ms), span.end):
        effort.spend()
        if _why_not(state, due_at, times, ahead) is None:
            closes_at = ahead.closes_at(due_at, times, for_ever)
            off = partial(ahead.schedules_disabled, due_at)
            yield _Window(due_at, closes_at, ahead.instance_id(due_at), off)


def _window_of(running: Running, span: Span) -> _Window:
    ends_at = span.end + 1 if running.ends_at is None else running.ends_at
    return _Window(span.begin, ends_at, running.instance_id, running.schedules_disabled)


def _schedules(plan: JobPlan) -> Iterator[ScheduleJob]:
    listed = {job.identifier for context in plan.root.walk() for job in context.jobs}
    for job in plan.jobs:
        if not isinstance(job, ScheduleJob) or job.identifier not in listed:
            continue
        if job.trigger.cron is not None and job.startup is StartupControl.AUTOMATIC:
            yield job


class _ScheduleFires:
    """The fires of one schedule while some instance is active, each once however many are."""

    def __init__(self, job: ScheduleJob, plan: str, version: int, span: Span, effort: Effort) -> None:
        trigger = job.trigger
        self._zone = time_zone(trigger.zone or span.default_zone)
        self._cron = CronExpression.parse(trigger.cron or "")
        dark = tuple(CronExpression.parse(text) for text in trigger.blackout_expressions)
        self._blackout = Blackout(dark, trigger.blackout_ranges, self._zone)
        self._job = job.identifier
        self._plan = plan
        self._version = version
        self._span = span
        self._effort = effort

    def within(self, windows: Iterable[_Window]) -> Iterator[Fire]:
        """Those that fall into windows, which come in the order of their beginnings."""
        told_through = self._span.begin - 1
        for window in windows:
            self._effort.spend()
            last = min(window.end - 1, self._span.end)
            for at in self._cron.fires_between(max(told_through, window.begin - 1), last, self._zone):
                self._effort.spend()
                yield self._fire(at, window)
            told_through = max(told_through, last)

    def _fire(self, at: Instant, window: _Window) -> Fire:
        why = self._blackout.reason(at)
        if why is None and window.schedules_disabled():
            why = "schedules are disabled"
        return Fire(
            at=at,
            kind="schedule",
            plan=self._plan,
            plan_version=self._version,
            job=self._job,
            instance_id=window.instance_id,
            skipped=why,
        )


def _each_once(fires: Iterable[Fire]) -> Iterator[Fire]:
    """A schedule that two versions have fires once."""
    at: Instant | None = None
    told: set[JobIdentifier | None] = set()
    for fire in fires:
        if fire.at != at:
            at, told = fire.at, set()
        if fire.job not in told:
            told.add(fire.job)
            yield fire
