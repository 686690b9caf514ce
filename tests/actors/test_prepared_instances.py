"""The next instance exists ahead of its start: what it is not yet, and what becomes of what is set on it."""

import threading
from pathlib import Path
from uuid import UUID

import dashboard_rig
import pytest
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.dashboard.errors import NotPermitted
from jobledger.domain.commands import (
    DisableSchedules,
    EndInstance,
    HoldJob,
    ReleaseJob,
    RunUntilEnded,
    SetParameters,
    SkipJob,
    SubmitJob,
)
from jobledger.domain.facts import (
    DroppedOrder,
    EventIgnored,
    InstanceDue,
    InstanceEnded,
    InstanceStarted,
    JobHeld,
    NextDropped,
    NextPrepared,
    StartMoved,
    StartSkipped,
)
from jobledger.domain.instance import InstanceState, replay
from jobledger.domain.plan import Context, EventJob, EventKind, JobPlan, ListedJob, StartWindow
from jobledger.domain.snapshots import digest
from jobledger.domain.status import JobStatus
from msgspec.structs import replace
from plan_rig import (
    DAY,
    HOUR,
    NIGHTLY,
    NOON,
    TWO,
    begin,
    kinds_of,
    log_of,
    prepared_id,
    push,
    state_of,
    wait_fact,
    wait_starts,
    wait_until,
)


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on the embedded database and on a real server."""
    if request.param == "postgresql":
        monkeypatch.setattr(dashboard_rig, "DATABASE_URL", request.getfixturevalue("fresh_postgres_url"))


def status_of(state: InstanceState, job: str) -> JobStatus:
    unit = state.topology.unit_of(f"host-{job}", None)
    assert unit is not None
    return state.job(unit.index).status


def order(here: Bench, instance_id: UUID, command: object) -> None:
    here.dashboard.command(instance_id, command, OPERATOR)  # type: ignore[arg-type]


def hold(job: str) -> HoldJob:
    return HoldJob(job=f"host-{job}", context="nightly")


def skip(job: str) -> SkipJob:
    return SkipJob(job=f"host-{job}", context="nightly")


# --- what it is ---------------------------------------------------------------------------------------------


def test_the_next_instance_is_there_and_is_neither_active_nor_published(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        push(here)
        agent.wait_for(lambda told: bool(told.told))
        state = here.dashboard.instance(prepared_id(here))
        assert (state.status, state.due_at, state.started_at) == ("PREPARED", TWO, TWO)
        assert here.dashboard.instances(active=True).items == []
        assert here.dashboard.active_instances() == []
        assert [row.status for row in here.dashboard.instances().items] == ["PREPARED"]
        here.restart()
        assert here.dashboard.active_instances() == []
        assert agent.told == ["provision nightly"]


def test_it_takes_no_events_until_it_starts(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = prepared_id(here)
        here.report(instance_id, "a", successful=True, id="early")
        state = here.wait(instance_id, lambda each: each.position == 2)
        ignored = here.dashboard.log(instance_id)[-1].fact
        assert ignored == EventIgnored(reason="instance prepared", job="host-a", event_id="early")
        assert state.counts() == {"WAITING": 1}
        with pytest.raises(NotPermitted, match="has not started"):
            order(here, instance_id, SubmitJob(job="host-a", context="nightly"))


def test_a_global_event_does_not_reach_it(tmp_path: Path) -> None:
    event = EventJob(agent=EventKind.GLOBAL.value, name="closed", kind=EventKind.GLOBAL)
    root = Context(name="nightly", jobs=(ListedJob(EventKind.GLOBAL.value, "closed"),))
    with bench(tmp_path) as here:
        here.now = NOON
        here.dashboard.push_plan(JobPlan(root=root, jobs=(event,), window=NIGHTLY), {}, OPERATOR)
        assert here.dashboard.raise_global_event("closed", OPERATOR) == 0
        begin(here)
        assert here.dashboard.raise_global_event("closed", OPERATOR) == 1


def test_what_operators_set_on_it_holds_when_it_starts(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        push(here, ["a", "b", "c"])
        instance_id = prepared_id(here)
        for command in (hold("a"), skip("b"), SetParameters(parameters={"day": "1"}), RunUntilEnded()):
            order(here, instance_id, command)
        assert begin(here) == instance_id
        state = here.dashboard.instance(instance_id)
        assert (state.status, status_of(state, "a")) == ("WAITING", JobStatus.ON_HOLD)
        assert status_of(state, "b") is JobStatus.SKIPPED_COMPLETE
        assert (state.parameters, state.ends_at) == ({"day": "1"}, None)
        agent.wait_for(lambda told: told.told == ["provision nightly", "publish nightly"])
        live, stored = state, here.dashboard.ledger.facts(instance_id)
        assert digest(replay(live.topology, stored)) == digest(live)


def test_the_one_after_it_is_prepared_as_soon_as_it_starts(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        first = begin(here)
        second = prepared_id(here)
        assert second != first
        assert here.dashboard.instance(second).due_at == TWO + DAY
        assert kinds_of(here.dashboard) == ["PlanPushed", "NextPrepared", "InstanceDue", "NextPrepared"]


def test_a_start_by_hand_does_not_use_it_up(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here, concurrent=True)
        prepared = prepared_id(here)
        by_hand = here.dashboard.start_instance("nightly", OPERATOR)
        assert by_hand != prepared
        assert prepared_id(here) == prepared
        assert begin(here, number=2) == prepared


def test_starts_in_a_blackout_are_passed_over_for_it(tmp_path: Path) -> None:
    dark = StartWindow(cron="0 0 2 * * ?", zone="UTC", time_to_live_ms=HOUR, blackout_ranges=((TWO, TWO),))
    with bench(tmp_path) as here:
        push(here, window=dark)
        assert state_of(here).prepared.due_at == TWO + DAY  # type: ignore[union-attr]


def test_there_is_none_for_a_plan_that_starts_by_hand_only(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here, window=StartWindow(cron="0 0 2 * * ?", zone="UTC"))
        assert state_of(here).prepared is None
        assert here.dashboard.instances().items == []


def test_a_restart_finds_the_same_one(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = prepared_id(here)
        order(here, instance_id, hold("a"))
        for _ in range(2):
            here.restart()
        assert prepared_id(here) == instance_id
        assert len(here.dashboard.instances().items) == 1
        assert begin(here) == instance_id
        assert status_of(here.dashboard.instance(instance_id), "a") is JobStatus.ON_HOLD


# --- another version ----------------------------------------------------------------------------------------


def test_a_new_version_takes_its_place_and_carries_over_what_was_set(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here, ["a", "b", "c"])
        old = prepared_id(here)
        for command in (hold("a"), skip("b"), SetParameters(parameters={"day": "1"}), DisableSchedules()):
            order(here, old, command)
        push(here, ["a", "b", "d"])
        fresh = prepared_id(here)
        assert fresh != old
        assert here.dashboard.log(old)[-1].fact == InstanceEnded(reason="replaced")
        state = here.dashboard.instance(fresh)
        assert (state.plan_version, state.status, state.due_at) == (2, "PREPARED", TWO)
        assert (status_of(state, "a"), status_of(state, "b")) == (JobStatus.ON_HOLD, JobStatus.SKIPPED)
        assert (state.parameters, state.schedules_disabled) == ({"day": "1"}, True)
        told = wait_fact(here, NextPrepared).fact
        assert isinstance(told, NextPrepared)
        assert (told.replaces, told.dropped) == (old, ())
        assert begin(here) == fresh


def test_what_does_not_apply_to_the_new_version_is_told(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here, ["a", "b"])
        for command in (hold("a"), skip("b")):
            order(here, prepared_id(here), command)
        push(here, ["b", "c"])
        told = wait_fact(here, NextPrepared).fact
        assert isinstance(told, NextPrepared)
        assert told.dropped == (
            DroppedOrder(
                order="HoldJob", reason="context nightly lists no job host-a", job="host-a", context="nightly"
            ),
        )
        assert here.dashboard.instance(prepared_id(here)).counts() == {"SKIPPED": 1, "WAITING": 1}


def test_what_the_template_holds_and_an_operator_released_stays_released(tmp_path: Path) -> None:
    plan = plan_of("nightly", ["a", "b"], window=NIGHTLY)
    held = replace(plan, jobs=tuple(replace(job, held_in=("nightly",)) for job in plan.jobs))
    with bench(tmp_path) as here:
        here.now = NOON
        here.dashboard.push_plan(held, {}, OPERATOR)
        order(here, prepared_id(here), ReleaseJob(job="host-a", context="nightly"))
        here.dashboard.push_plan(replace(held, concurrent=True), {}, OPERATOR)
        assert here.dashboard.instance(prepared_id(here)).counts() == {"WAITING": 1, "ON_HOLD": 1}


def test_a_new_version_with_another_clock_moves_what_was_set_to_the_new_start(tmp_path: Path) -> None:
    four = StartWindow(cron="0 0 4 * * ?", zone="UTC", time_to_live_ms=HOUR)
    with bench(tmp_path) as here:
        push(here)
        order(here, prepared_id(here), hold("a"))
        push(here, window=four)
        state = here.dashboard.instance(prepared_id(here))
        assert (state.due_at, state.ends_at) == (TWO + 2 * HOUR, TWO + 3 * HOUR)
        assert status_of(state, "a") is JobStatus.ON_HOLD


def test_a_version_without_a_clock_drops_it_and_says_what_is_lost(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        old = prepared_id(here)
        order(here, old, hold("a"))
        push(here, window=StartWindow())
        dropped = wait_fact(here, NextDropped).fact
        lost = DroppedOrder(order="HoldJob", reason="no start", job="host-a", context="nightly")
        assert dropped == NextDropped(instance_id=old, dropped=(lost,))
        assert here.dashboard.log(old)[-1].fact == InstanceEnded(reason="no start")
        assert here.dashboard.instances(active=True).items == []


# --- another start ------------------------------------------------------------------------------------------


def test_when_its_start_is_skipped_it_is_for_the_next_one_with_all_that_was_set(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = prepared_id(here)
        order(here, instance_id, hold("a"))
        by_hand = here.dashboard.start_instance("nightly", OPERATOR, run_until_ended=True)
        here.pass_time(TWO)
        wait_starts(here, 2)
        state = here.dashboard.instance(instance_id)
        assert (state.status, state.due_at) == ("PREPARED", TWO + DAY)
        moved = here.dashboard.log(instance_id)[-1].fact
        assert isinstance(moved, StartMoved)
        assert (moved.due_at, moved.business_date) == (TWO + DAY, "2027-01-17")
        order(here, by_hand, EndInstance())
        assert begin(here, TWO + DAY, number=3) == instance_id
        assert status_of(here.dashboard.instance(instance_id), "a") is JobStatus.ON_HOLD


def test_ending_it_calls_its_start_off_and_only_that_one(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        called_off = prepared_id(here)
        order(here, called_off, EndInstance())
        push(here, ["a", "b"])
        here.restart()
        assert here.dashboard.instance(called_off).never_began
        assert [row.instance_id for row in here.dashboard.instances().items if row.never_began] == [
            called_off
        ]
        here.pass_time(TWO)
        (skipped,) = wait_starts(here, 1)
        assert skipped == StartSkipped(due_at=TWO, through=TWO, reason="ended before its start")
        assert begin(here, TWO + DAY, number=2) == wait_starts(here, 2)[1].instance_id  # type: ignore[union-attr]


def test_while_the_plan_is_disabled_what_was_set_on_it_is_kept(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = prepared_id(here)
        order(here, instance_id, hold("a"))
        here.dashboard.disable_plan("nightly", OPERATOR)
        here.pass_time(TWO + DAY)
        wait_starts(here, 1)
        here.dashboard.enable_plan("nightly", OPERATOR)
        assert prepared_id(here) == instance_id
        here.pass_time(TWO + 2 * DAY)
        wait_until(
            lambda: any(isinstance(each.fact, InstanceDue) for each in log_of(here.dashboard)),
            lambda: kinds_of(here.dashboard),
        )
        assert status_of(here.dashboard.instance(instance_id), "a") is JobStatus.ON_HOLD


def test_a_deleted_plan_leaves_none_behind(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = prepared_id(here)
        here.dashboard.delete_plan("nightly", OPERATOR)
        assert here.dashboard.instance(instance_id).end_reason == "plan deleted"
        assert here.dashboard.instances(status="PREPARED").items == []


# --- at the same moment -------------------------------------------------------------------------------------


def test_orders_that_come_at_the_moment_of_its_start_are_obeyed_before_or_after_it(tmp_path: Path) -> None:
    jobs = [f"j{number}" for number in range(40)]
    with bench(tmp_path) as here:
        push(here, jobs)
        instance_id = prepared_id(here)
        go = threading.Barrier(3)

        def give(part: list[str]) -> None:
            go.wait()
            for job in part:
                order(here, instance_id, hold(job))

        threads = [threading.Thread(target=give, args=(jobs[number::2],)) for number in range(2)]
        for thread in threads:
            thread.start()
        go.wait()
        here.pass_time(TWO)
        for thread in threads:
            thread.join()
        wait_starts(here, 1)
        state = here.wait(instance_id, lambda each: not each.prepared)
        assert state.counts() == {"ON_HOLD": 40}
        facts = [each.fact for each in here.dashboard.ledger.facts(instance_id)]
        assert sum(isinstance(fact, InstanceStarted) for fact in facts) == 1
        assert sum(isinstance(fact, JobHeld) for fact in facts) == 40


def test_whoever_looks_at_it_sees_its_start_at_once(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = prepared_id(here)
        order(here, instance_id, hold("a"))
        assert here.dashboard.instance(instance_id).status == "PREPARED"
        begin(here)
        assert here.dashboard.instance(instance_id).status == "WAITING"
        seen = here.dashboard.wait_for_change(instance_id, 0, 0.1)
        assert seen.status == "WAITING"
