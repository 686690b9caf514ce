"""Plans are enabled, disabled and deleted; their agents are told, at once or with the next instance."""

import threading
from pathlib import Path

import dashboard_rig
import pytest
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.dashboard.errors import NotPermitted, UnknownName
from jobledger.actors.dashboard.plan_actor import Delete
from jobledger.domain.commands import SubmitJob
from jobledger.domain.facts import (
    InstanceDue,
    InstanceEnded,
    PlanDeleted,
    PlanDeletionBegun,
    PlanDisabled,
    PlanEnabled,
    StartSkipped,
)
from jobledger.domain.plan import Context, JobPlan, ListedJob, ScheduleJob, StartWindow, Trigger
from jobledger.domain.plan_log import PlanStanding
from plan_rig import (
    DAY,
    HOUR,
    NIGHTLY,
    NOON,
    TWO,
    begin,
    kinds_of,
    log_of,
    push,
    starts,
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


# --- enabled and disabled -----------------------------------------------------------------------------------


def test_a_disabled_plan_starts_nothing_tells_of_each_start_and_starts_again_when_enabled(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.dashboard.disable_plan("nightly", OPERATOR)
        here.pass_time(TWO)
        (skipped,) = wait_starts(here, 1)
        assert skipped == StartSkipped(due_at=TWO, through=TWO, reason="plan disabled")
        here.now = TWO + HOUR
        here.dashboard.enable_plan("nightly", OPERATOR)
        assert len(starts(here.dashboard)) == 1, "a start was made up for although the plan was disabled"
        here.pass_time(TWO + DAY)
        assert isinstance(wait_starts(here, 2)[1], InstanceDue)


def test_who_disabled_and_enabled_a_plan_when_from_where_and_why_is_told_once(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        for _ in range(2):
            here.dashboard.disable_plan("nightly", OPERATOR)
        assert here.dashboard.enable_plan("nightly", OPERATOR)
        assert here.dashboard.enable_plan("nightly", OPERATOR) == ()
        told = [each for each in log_of(here.dashboard) if isinstance(each.fact, PlanDisabled | PlanEnabled)]
        assert [type(each.fact) for each in told] == [PlanDisabled, PlanEnabled]
        assert {(each.at, each.cause.by, each.cause.source, each.cause.reason) for each in told} == {
            (here.now, "olga", "10.0.0.7", "test")
        }


def test_an_instance_that_is_active_goes_on_when_its_plan_is_disabled(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = begin(here)
        here.dashboard.disable_plan("nightly", OPERATOR)
        here.dashboard.command(instance_id, SubmitJob(job="host-a", context="nightly"), OPERATOR)
        assert here.dashboard.instance(instance_id).status == "WAITING"
        assert here.dashboard.instance(instance_id).initiations == 1


def test_a_disabled_plan_is_not_started_by_hand_and_says_what_would_help(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.dashboard.disable_plan("nightly", OPERATOR)
        with pytest.raises(NotPermitted, match="enable it first") as refused:
            here.dashboard.start_instance("nightly", OPERATOR)
        assert refused.value.refused.status == "DISABLED"
        assert refused.value.refused.permitted_in == ("ENABLED",)


def test_a_push_leaves_a_plan_disabled_unless_it_says_otherwise_than_the_push_before(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.dashboard.disable_plan("nightly", OPERATOR)
        push(here, ["a", "b"])
        assert state_of(here).standing is PlanStanding.DISABLED
        push(here, ["a", "b", "c"], disabled=True)
        here.dashboard.enable_plan("nightly", OPERATOR)
        push(here, ["a"], disabled=True)
        assert state_of(here).standing is PlanStanding.ENABLED
        push(here, ["a"], disabled=False)
        push(here, ["a"], disabled=True)
        assert state_of(here).standing is PlanStanding.DISABLED
        assert here.dashboard.plans()[0].disabled


# --- deleted ------------------------------------------------------------------------------------------------


def test_deleting_ends_what_is_active_and_then_takes_the_jobs_from_the_agents(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        push(here, concurrent=True)
        running = here.dashboard.start_instance("nightly", OPERATOR)
        here.dashboard.command(running, SubmitJob(job="host-a", context="nightly"), OPERATOR)
        agent.wait_for(lambda told: bool(told.initiations))
        waiting = here.dashboard.start_instance("nightly", OPERATOR)
        here.dashboard.delete_plan("nightly", OPERATOR)
        wait_fact(here, PlanDeleted)
        agent.wait_for(lambda told: "withdraw nightly" in told.told)
        assert sorted(agent.told[-4:]) == ["kill None", "remove", "remove", "withdraw nightly"]
        assert agent.told[-1] == "withdraw nightly"
        for instance_id in (running, waiting):
            ended = here.dashboard.log(instance_id)[-1]
            assert ended.fact == InstanceEnded(reason="plan deleted", agents=("host",))
            assert (ended.cause.by, ended.cause.reason) == ("olga", "test")


def test_a_deleted_plan_is_gone_and_its_history_can_be_read(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = here.dashboard.start_instance("nightly", OPERATOR)
        here.dashboard.delete_plan("nightly", OPERATOR)
        wait_fact(here, PlanDeleted)
        here.restart()
        assert here.dashboard.plans() == []
        with pytest.raises(UnknownName, match="was deleted"):
            here.dashboard.plan("nightly")
        for order in (
            lambda: here.dashboard.start_instance("nightly", OPERATOR),
            lambda: here.dashboard.enable_plan("nightly", OPERATOR),
            lambda: here.dashboard.disable_plan("nightly", OPERATOR),
            lambda: here.dashboard.delete_plan("nightly", OPERATOR),
        ):
            with pytest.raises(UnknownName, match="was deleted"):
                order()
        assert here.dashboard.plan("nightly", 1).version == 1
        assert here.dashboard.instance(instance_id).end_reason == "plan deleted"
        assert len(here.dashboard.log(instance_id)) == 2
        here.pass_time(TWO)
        assert not any(each for each in starts(here.dashboard) if each.due_at is not None)


def test_a_push_of_a_deleted_plans_name_begins_a_new_life_under_the_next_version(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        push(here)
        old = here.dashboard.start_instance("nightly", OPERATOR)
        here.dashboard.disable_plan("nightly", OPERATOR)
        here.dashboard.delete_plan("nightly", OPERATOR)
        wait_fact(here, PlanDeleted)
        here.now += HOUR
        pushed = here.dashboard.push_plan(plan_of("nightly", ["a"], window=NIGHTLY), {}, OPERATOR)
        assert (pushed.created, pushed.version) == (True, 2)
        assert state_of(here).standing is PlanStanding.ENABLED
        fresh = here.dashboard.start_instance("nightly", OPERATOR)
        assert here.dashboard.instance(fresh).plan_version == 2
        assert here.dashboard.instance(old).plan_version == 1
        agent.wait_for(lambda told: told.told[-2:] == ["provision nightly", "publish nightly"])


def delete_half(here: Bench) -> None:
    """As far as a process gets that is killed before the instances hear of it."""
    here.dashboard.ledger.on_received = lambda _entries: None
    here.dashboard._ask_plan("nightly", Delete(OPERATOR))


def test_a_deletion_that_a_restart_interrupts_is_finished(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = here.dashboard.start_instance("nightly", OPERATOR)
        delete_half(here)
        assert state_of(here).standing is PlanStanding.DELETING
        assert len(here.dashboard.instances(active=True).items) == 1
        here.restart()
        here.restart()
        wait_fact(here, PlanDeleted)
        kinds = kinds_of(here.dashboard)
        assert (kinds.count("PlanDeletionBegun"), kinds.count("PlanDeleted")) == (1, 1)
        ends = [each for each in here.dashboard.log(instance_id) if isinstance(each.fact, InstanceEnded)]
        assert len(ends) == 1


def test_while_a_plan_is_being_deleted_nothing_starts_and_a_push_says_to_wait(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here, concurrent=True)
        here.dashboard.start_instance("nightly", OPERATOR)
        delete_half(here)
        for order in (
            lambda: push(here, ["b"]),
            lambda: here.dashboard.start_instance("nightly", OPERATOR),
            lambda: here.dashboard.enable_plan("nightly", OPERATOR),
        ):
            with pytest.raises(NotPermitted, match="being deleted") as refused:
                order()
            assert refused.value.refused.status == "DELETING"
        assert here.dashboard._ask_plan("nightly", Delete(OPERATOR)) == ()


def test_a_start_that_comes_while_a_plan_is_deleted_does_not_outlive_it(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here, concurrent=True)
        begun = threading.Barrier(3)

        def start() -> None:
            begun.wait()
            for _ in range(20):
                try:
                    here.dashboard.start_instance("nightly", OPERATOR)
                except (NotPermitted, UnknownName):
                    return

        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        begun.wait()
        here.dashboard.delete_plan("nightly", OPERATOR)
        for thread in threads:
            thread.join()
        wait_fact(here, PlanDeleted)
        assert here.dashboard.instances(active=True).items == []
        assert isinstance(log_of(here.dashboard)[-1].fact, PlanDeleted)
        facts = [each.fact for each in log_of(here.dashboard)]
        later = facts[facts.index(PlanDeletionBegun()) :]
        assert not any(isinstance(fact, InstanceDue) for fact in later)


# --- agents -------------------------------------------------------------------------------------------------


def on_agents(*agents: str, **fields: object) -> JobPlan:
    jobs = tuple(ScheduleJob(agent=each, name="s", trigger=Trigger(cron="0 0 3 * * ?")) for each in agents)
    listed = tuple(ListedJob(each, "s") for each in agents)
    root = Context(name="late", jobs=listed)
    window = StartWindow(time_to_live_ms=HOUR)
    return JobPlan(root=root, jobs=jobs, window=window, **fields)  # type: ignore[arg-type]


def test_agents_are_told_of_a_push_that_is_to_wait_when_the_next_instance_starts(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        first, second, third = (here.agent(name) for name in ("first", "second", "third"))
        here.dashboard.push_plan(on_agents("first", "second", concurrent=True), {}, OPERATOR)
        second.wait_for(lambda told: told.told == ["provision late"])
        later = on_agents("second", "third", concurrent=True, delay_agent_synchronisation=True)
        here.dashboard.push_plan(later, {}, OPERATOR)
        here.restart()
        here.dashboard.start_instance("late", OPERATOR)
        here.dashboard.start_instance("late", OPERATOR)
        third.wait_for(lambda told: len(told.told) == 3)
        assert third.told == ["provision late", "publish late", "publish late"]
        second.wait_for(lambda told: len(told.told) == 4)
        assert second.told == ["provision late", "provision late", "publish late", "publish late"]
        first.wait_for(lambda told: told.told == ["provision late", "withdraw late"])


def test_agents_hear_of_what_several_delayed_pushes_amount_to(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agents = {name: here.agent(name) for name in ("first", "second", "third")}
        delayed = {"concurrent": True, "delay_agent_synchronisation": True}
        here.dashboard.push_plan(on_agents("first", concurrent=True), {}, OPERATOR)
        here.dashboard.push_plan(on_agents("second", **delayed), {}, OPERATOR)
        here.dashboard.push_plan(on_agents("third", **delayed), {}, OPERATOR)
        here.dashboard.start_instance("late", OPERATOR)
        agents["third"].wait_for(lambda told: told.told == ["provision late", "publish late"])
        agents["first"].wait_for(lambda told: told.told == ["provision late", "withdraw late"])
        assert agents["second"].told == []


def test_a_push_is_given_to_an_agent_that_was_away_as_soon_as_it_is_back(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        agent.reachable = False
        push(here)
        assert here.dashboard.plan_awaits("nightly") == ["host"]
        here.restart()
        agent.reachable = True
        here.agent()
        agent.wait_for(lambda told: told.told == ["provision nightly"])
        wait_until(lambda: here.dashboard.plan_awaits("nightly") == [], lambda: agent.told)


def test_schedules_that_the_plan_disables_are_disabled_from_the_start(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.dashboard.push_plan(on_agents("first", schedules_disabled=True), {}, OPERATOR)
        state = here.dashboard.instance(here.dashboard.start_instance("late", OPERATOR))
        assert state.schedules_disabled
        assert state.counts() == {"DISABLED": 1}


# --- cost ---------------------------------------------------------------------------------------------------


def test_neither_a_message_nor_a_restart_reads_the_whole_log_of_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_minute = StartWindow(cron="0 * * * * ?", zone="UTC", time_to_live_ms=30_000)
    with bench(tmp_path) as here:
        push(here, window=every_minute, disabled=True)
        for minute in range(1, 400):
            here.now = NOON + minute * 60_000
            here.dashboard.disable_plan("nightly", OPERATOR)
        wait_starts(here, 399)
        read: list[int] = []
        monkeypatch.setattr(
            type(here.dashboard.ledger._mapper),
            "decode",
            _counted(type(here.dashboard.ledger._mapper).decode, read),
        )
        here.dashboard.enable_plan("nightly", OPERATOR)
        assert len(read) <= 5, "an order read more of the log than its own facts"
        read.clear()
        here.restart()
        state_of(here)
        assert len(read) < 150, f"a restart read {len(read)} facts of a plan's log"


def _counted(decode: object, read: list[int]) -> object:
    def counting(self: object, stream: object, position: int, topic: str, state: bytes) -> object:
        read.append(position)
        return decode(self, stream, position, topic, state)  # type: ignore[operator]

    return counting
