"""A forecast tells what the clocks then do."""

import dataclasses
import random
from itertools import islice
from uuid import UUID

import pytest
from jobledger.domain.commands import DisableSchedules, EndInstance, Order, RunUntilEnded
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import Cause, InstancePrepared
from jobledger.domain.forecast import Effort, Fire, Running, Span, TooMuch, forecast
from jobledger.domain.instance import InstanceState
from jobledger.domain.instants import Instant, parse_rfc3339
from jobledger.domain.plan import (
    Context,
    JobPlan,
    ListedJob,
    ScheduleJob,
    StartupControl,
    StartWindow,
    Trigger,
)
from jobledger.domain.plan_log import (
    PlanStanding,
    PlanState,
    Prepared,
    evolve_plan,
    plan_stream,
    push,
    record,
)
from jobledger.domain.topology import Topology
from msgspec.structs import replace
from test_year_of_starts import BEGIN, Program, drawn, told

HOUR = 3_600_000
DAY = 24 * HOUR
PUSHED = parse_rfc3339("2026-06-01T00:00:00Z")
NIGHTLY = StartWindow(cron="0 0 2 * * ?", zone="UTC", time_to_live_ms=4 * HOUR)
RUN = UUID(int=7)


def state_of(plan: JobPlan) -> PlanState:
    fact = push(None, plan, {})
    assert fact is not None
    stream = plan_stream(plan.name)
    return evolve_plan(None, record(None, stream, fact, at=PUSHED, cause=Cause(command="PlanPushed")))


def plan(window: StartWindow = NIGHTLY, *, cron: str = "0 0 * * * ?", **fields: object) -> JobPlan:
    """A nightly plan with one schedule that fires every hour."""
    job = ScheduleJob(agent="host", name="hourly", trigger=Trigger(cron=cron, zone="UTC"))
    root = Context(name="nightly", jobs=(ListedJob("host", "hourly"),))
    return JobPlan(root=root, jobs=(job,), window=window, **fields)  # type: ignore[arg-type]


def running(
    of: JobPlan, *, version: int = 1, ends_at: Instant | None = None, disabled: bool = False
) -> Running:
    return Running(
        instance_id=RUN, plan=of, plan_version=version, ends_at=ends_at, schedules_disabled=lambda: disabled
    )


def with_prepared(of: JobPlan, order: Order | None) -> tuple[PlanState, InstanceState]:
    """The plan with the instance of its first start, and that instance after an order."""
    due_at = PUSHED + 2 * HOUR
    fact = InstancePrepared(
        plan=of.name, plan_version=1, due_at=due_at, ends_at=due_at + of.window.time_to_live_ms
    )
    cause = Cause(command="PrepareInstance")
    step = start(Topology(of), instance_id=RUN, fact=fact, at=PUSHED, cause=cause)
    if order is not None:
        answer = advance(step.state, order, at=PUSHED, cause=Cause(command="test"))
        assert isinstance(answer, Step)
        step = answer
    state = replace(state_of(of), prepared=Prepared(instance_id=RUN, version=1, due_at=due_at))
    return state, step.state


def fires(
    state: PlanState,
    active: list[Running] | None = None,
    *,
    begin: Instant = PUSHED,
    end: Instant = PUSHED + DAY,
) -> list[Fire]:
    span = Span(begin=begin, end=end, default_zone="UTC")
    return list(forecast(state, active or [], span, Effort(100_000)))


def schedule_hours(found: list[Fire]) -> list[int]:
    return [(fire.at - PUSHED) // HOUR for fire in found if fire.kind == "schedule"]


@pytest.mark.parametrize("seed", range(3))
def test_the_starts_that_are_foretold_are_those_that_happen(seed: int) -> None:
    dice = random.Random(seed)
    for number in range(60):
        case = drawn(number, dice)
        if case.rules.ends_on_completion or case.rules.disabled:
            continue
        program = Program(dataclasses.replace(case, runs_ms={}), ())
        span = Span(begin=BEGIN, end=BEGIN + 60 * DAY, default_zone="UTC")
        foretold = forecast(program.state, [], span, Effort(1_000_000))
        program.run()
        happened = told(program.facts, case.due)
        for fire in foretold:
            what = "started" if fire.skipped is None else fire.skipped
            expected = happened[fire.at]
            agrees = "blackout" in what if expected == "blackout" else what == expected
            assert agrees, f"seed {seed}: {fire} of {case.plan} was foretold, and then {expected}"


def test_schedules_fire_while_an_instance_is_active_and_at_no_other_time() -> None:
    assert schedule_hours(fires(state_of(plan()))) == [2, 3, 4, 5]


def test_of_instances_beside_each_other_a_schedule_is_told_once() -> None:
    twice = replace(NIGHTLY, cron="0 0 2,3 * * ?")
    assert schedule_hours(fires(state_of(plan(twice, concurrent=True)))) == [2, 3, 4, 5, 6]


def test_the_schedules_of_an_active_instance_fire_until_its_window_closes() -> None:
    of = plan(StartWindow())
    found = fires(state_of(of), [running(of, ends_at=PUSHED + 3 * HOUR)])
    assert schedule_hours(found) == [1, 2]
    assert {fire.instance_id for fire in found} == {RUN}
    assert schedule_hours(fires(state_of(of), [running(of)], end=PUSHED + 4 * HOUR)) == [1, 2, 3, 4]


def test_an_active_instance_of_an_older_version_has_its_own_schedules() -> None:
    old, new = plan(StartWindow(), cron="0 30 * * * ?"), plan(StartWindow())
    state = replace(state_of(new), version=2)
    found = fires(
        state,
        [running(old, version=1, ends_at=PUSHED + 2 * HOUR), running(new, version=2)],
        end=PUSHED + 2 * HOUR,
    )
    assert [(fire.at - PUSHED) // (HOUR // 2) for fire in found] == [1, 2, 3, 4]
    assert [fire.plan_version for fire in found] == [1, 2, 1, 2]


def test_what_will_not_happen_is_told_with_its_reason() -> None:
    of = plan(StartWindow())
    (off, *_) = fires(state_of(of), [running(of, disabled=True)])
    assert off.skipped == "schedules are disabled"
    state = replace(state_of(plan()), standing=PlanStanding.DISABLED)
    assert [fire.skipped for fire in fires(state)] == ["plan disabled"]
    busy = fires(state_of(plan()), [running(plan())])
    assert [fire.skipped for fire in busy if fire.kind == "instance"] == ["another instance is active"]
    waits = fires(state_of(plan(end_on_completion=True)), [running(plan())])
    assert [fire.skipped for fire in waits if fire.kind == "instance"] == [None]


@pytest.mark.parametrize(
    ("order", "starts", "hours"),
    [
        (None, [None, None], [2, 3, 4, 5, 26, 27, 28, 29]),
        (EndInstance(), ["ended before its start", None], [26, 27, 28, 29]),
        (RunUntilEnded(), [None, "another instance is active"], list(range(2, 49))),
    ],
    ids=["as it is", "called off", "until ended"],
)
def test_what_was_set_on_the_prepared_instance_is_heeded(
    order: Order | None, starts: list[str | None], hours: list[int]
) -> None:
    state, instance = with_prepared(plan(), order)
    span = Span(begin=PUSHED, end=PUSHED + 2 * DAY, default_zone="UTC")
    found = list(forecast(state, [], span, Effort(100_000), lambda: instance))
    assert [fire.skipped for fire in found if fire.kind == "instance"] == starts
    assert schedule_hours(found) == hours


def test_schedules_that_are_switched_off_on_the_prepared_instance_are_so_in_it_alone() -> None:
    state, instance = with_prepared(plan(), DisableSchedules())
    span = Span(begin=PUSHED, end=PUSHED + 2 * DAY, default_zone="UTC")
    found = forecast(state, [], span, Effort(100_000), lambda: instance)
    off = {fire.at for fire in found if fire.skipped == "schedules are disabled"}
    assert {(at - PUSHED) // HOUR for at in off} == {2, 3, 4, 5}


def test_the_prepared_instance_is_looked_at_only_if_its_start_is_asked_about() -> None:
    state, _ = with_prepared(plan(), None)

    def never() -> InstanceState:
        raise AssertionError("nobody asked about its start")

    span = Span(begin=PUSHED, end=PUSHED + HOUR, default_zone="UTC")
    assert list(forecast(state, [], span, Effort(100_000), never)) == []


def test_what_starts_by_hand_or_is_listed_nowhere_is_not_foretold() -> None:
    of = plan()
    (job,) = of.jobs
    manual = replace(of, jobs=(replace(job, startup=StartupControl.MANUAL),))
    unlisted = replace(of, root=Context(name="nightly"))
    for each in (manual, unlisted):
        assert schedule_hours(fires(state_of(each))) == []


def test_nothing_is_foretold_of_a_deleted_plan_or_of_what_is_accounted_for() -> None:
    state = state_of(plan())
    assert fires(replace(state, standing=PlanStanding.DELETING)) == []
    assert [fire.kind for fire in fires(replace(state, accounted_through=PUSHED + 2 * HOUR))] == []


def test_a_window_that_opened_before_the_span_counts() -> None:
    found = fires(state_of(plan()), begin=PUSHED + 4 * HOUR, end=PUSHED + DAY)
    assert schedule_hours(found) == [4, 5]


def test_no_more_is_worked_out_than_is_asked_for() -> None:
    every_second = StartWindow(cron="* * * * * ?", zone="UTC", time_to_live_ms=1000)
    span = Span(begin=PUSHED, end=PUSHED + 365 * DAY, default_zone="UTC")
    state = state_of(plan(every_second, cron="* * * * * ?", concurrent=True))
    assert len(list(islice(forecast(state, [], span, Effort(100)), 20))) == 20
    with pytest.raises(TooMuch):
        list(forecast(state, [], span, Effort(100)))
