"""A database that is full, or breaks during a commit: what was to happen happens later, and only once."""

import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from dashboard_rig import OPERATOR, Bench, plan_of
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.errors import NotPermitted
from jobledger.actors.dashboard.host import Host
from jobledger.actors.dashboard.instance_actor import PlanInstanceActor
from jobledger.actors.pool import live_actors
from jobledger.domain.commands import EndInstance, SkipJob
from jobledger.domain.facts import InstanceDue, StartSkipped
from jobledger.domain.plan import CommandJob, Context, JobPlan, ListedJob, StartWindow
from jobledger.domain.plan_log import plan_stream
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Inbound, Unavailable
from simulated_database import Fate, SimulatedDatabase, SimulatedEngine

MINUTE = 60_000
NOON = 1_800_014_400_000  # 2027-01-15T12:00Z
HOURLY = StartWindow(cron="0 0 * * * ?", zone="UTC", time_to_live_ms=30 * MINUTE)
ONE = NOON + 60 * MINUTE


class _OnDatabase(Host):
    def __init__(self, database: SimulatedDatabase) -> None:
        self._database = database

    def ledger(self, _database_url: str | None, _data_dir: Path) -> Ledger:
        return Ledger(SimulatedEngine(self._database))


class FailingBench(Bench):
    """A dashboard whose database fails as the test says."""

    def __init__(self, folder: Path) -> None:
        self.database = SimulatedDatabase()
        super().__init__(folder)

    def _open(self) -> Dashboard:
        dashboard = Dashboard(
            DashboardConfig(data_dir=self.folder, threads=4),
            open_transport=lambda url: self.agents[url],
            clock=lambda: self.now,
            host=_OnDatabase(self.database),
        )
        dashboard.start()
        return dashboard

    @contextmanager
    def commits_are(self, fate: Fate, at_least: int = 1):
        """Within, every commit fails like this; at the end so many have."""
        met = threading.Semaphore(0)

        def fail() -> Fate:
            met.release()
            return fate

        self.database.next_fate = fail
        try:
            yield
            for _ in range(at_least):
                assert met.acquire(timeout=10), "no commit was tried"
        finally:
            self.database.next_fate = lambda: Fate.DONE

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Let time pass, second by second, until it is so."""
        for _ in range(500):
            if condition():
                return
            threading.Event().wait(0.01)
            self.pass_time(self.now + 1_000)
        raise AssertionError(f"waited in vain until {what}")

    def starts(self, plan: str) -> list[InstanceDue | StartSkipped]:
        facts = (each.fact for each in self.dashboard.ledger.facts(plan_stream(plan)))
        return [fact for fact in facts if isinstance(fact, InstanceDue | StartSkipped)]


@pytest.fixture
def here(tmp_path: Path):
    bench = FailingBench(tmp_path)
    bench.now = NOON
    try:
        yield bench
    finally:
        bench.dashboard.close()


def test_a_start_that_was_due_while_the_disk_was_full_happens_once_there_is_space(here: FailingBench) -> None:
    here.dashboard.push_plan(plan_of("hourly", ["a"], window=HOURLY), {}, OPERATOR)
    with here.commits_are(Fate.FULL):
        here.pass_time(ONE)
    assert here.starts("hourly") == []
    here.until(lambda: here.starts("hourly"), "the start has happened")
    (due,) = here.starts("hourly")
    assert isinstance(due, InstanceDue)
    assert due.due_at == ONE
    here.pass_time(ONE + 60 * MINUTE)
    here.until(lambda: len(here.starts("hourly")) == 2, "the next one has happened too")


def test_an_instance_whose_start_was_reported_as_failed_is_active_all_the_same(here: FailingBench) -> None:
    here.dashboard.push_plan(plan_of("hourly", ["a"], window=HOURLY), {}, OPERATOR)
    with here.commits_are(Fate.IN_DOUBT), pytest.raises(Unavailable):
        here.dashboard.start_instance("hourly", OPERATOR, key="the first")
    with pytest.raises(NotPermitted, match="one instance at a time"):
        here.dashboard.start_instance("hourly", OPERATOR, key="the second")
    (active,) = here.dashboard.active_instances("hourly")
    here.pass_time(NOON + 31 * MINUTE)
    ended = here.wait(active.instance_id, lambda state: state.ended)
    assert ended.end_reason == "window closed"


def test_an_instance_whose_start_was_reported_as_failed_is_known_before_anybody_asks(
    here: FailingBench,
) -> None:
    here.dashboard.push_plan(plan_of("hourly", ["a"], window=HOURLY), {}, OPERATOR)
    with here.commits_are(Fate.IN_DOUBT), pytest.raises(Unavailable):
        here.dashboard.start_instance("hourly", OPERATOR, key="the first")
    here.until(lambda: here.dashboard._active.of_plan("hourly"), "the instance is known")
    here.pass_time(NOON + 31 * MINUTE)
    here.until(lambda: here.dashboard.instances(active=False).items, "its window has closed by itself")


def test_an_instance_whose_end_was_reported_as_failed_is_in_nobodys_way(here: FailingBench) -> None:
    here.dashboard.push_plan(plan_of("hourly", ["a"], window=HOURLY), {}, OPERATOR)
    first = here.dashboard.start_instance("hourly", OPERATOR)
    with here.commits_are(Fate.IN_DOUBT), pytest.raises(Unavailable):
        here.dashboard.command(first, EndInstance(), OPERATOR)
    here.until(lambda: not here.dashboard._active.of_plan("hourly"), "the instance is known to have ended")
    assert here.dashboard.start_instance("hourly", OPERATOR, key="the second") != first


def test_a_window_that_closed_while_the_disk_was_full_is_closed_once_there_is_space(
    here: FailingBench,
) -> None:
    here.dashboard.push_plan(plan_of("hourly", ["a"], window=HOURLY), {}, OPERATOR)
    instance = here.dashboard.start_instance("hourly", OPERATOR)
    with here.commits_are(Fate.FULL):
        here.pass_time(NOON + 31 * MINUTE)
    here.until(lambda: here.dashboard.instance(instance).ended, "the window is closed")
    assert here.dashboard.instance(instance).end_reason == "window closed"


def test_an_actor_goes_to_sleep_although_its_snapshot_cannot_be_stored(here: FailingBench) -> None:
    here.dashboard.push_plan(plan_of("hourly", ["a"]), {}, OPERATOR)
    instance = here.dashboard.start_instance("hourly", OPERATOR)
    here.dashboard.command(instance, SkipJob(job="host-a", context="hourly"), OPERATOR)

    def awake() -> list[object]:
        actors = [each._actor_weakref() for each in live_actors(PlanInstanceActor)]
        return [each for each in actors if each is not None and each.instance_id == instance]

    assert len(awake()) == 1
    with here.commits_are(Fate.FULL):
        here.pass_time(NOON + 2 * MINUTE)
    here.until(lambda: not awake(), "the actor sleeps")
    assert here.dashboard.instance(instance).position > 1


def test_an_instance_that_ends_as_it_starts_is_not_active(here: FailingBench) -> None:
    job = CommandJob(agent="host", name="a", command_line="true", skipped_in=("brief",))
    root = Context(name="brief", jobs=(ListedJob("host", "a"),))
    here.dashboard.push_plan(JobPlan(root=root, jobs=(job,), end_on_completion=True), {}, OPERATOR)
    instance = here.dashboard.start_instance("brief", OPERATOR)
    assert here.dashboard.instance(instance).ended
    assert here.dashboard.active_instances() == []
    assert isinstance(here.dashboard.start_instance("brief", OPERATOR, key="the second"), UUID)


def test_a_dead_letter_whose_resubmission_was_reported_as_failed_is_processed_all_the_same(
    here: FailingBench,
) -> None:
    here.dashboard.push_plan(plan_of("hourly", ["a"]), {}, OPERATOR)
    instance = here.dashboard.start_instance("hourly", OPERATOR)
    here.dashboard.ledger.receive([Inbound(stream=instance, kind="event", payload=b"\xc1", source="x")])
    here.until(here.dashboard.dead_letters, "the event is parked")
    (letter,) = here.dashboard.dead_letters()
    here.report(instance, "a", successful=True, id="later")
    position = here.wait(instance, lambda state: state.status == "COMPLETE").position
    with here.commits_are(Fate.IN_DOUBT), pytest.raises(Unavailable):
        here.dashboard.resubmit(letter.position)
    here.until(
        lambda: here.dashboard.instance(instance).position > position, "the instance has looked at it again"
    )
    here.until(here.dashboard.dead_letters, "it is parked again, for it still does not read")


def test_an_event_for_no_instance_is_parked_once_there_is_space_again(here: FailingBench) -> None:
    fates = iter([Fate.DONE, Fate.FULL])
    failed = threading.Event()

    def next_fate() -> Fate:
        fate = next(fates, Fate.DONE)
        if fate is Fate.FULL:
            failed.set()
        return fate

    here.database.next_fate = next_fate
    here.report(UUID(int=9), "a", successful=True, id="stray")
    assert failed.wait(10)
    here.until(here.dashboard.dead_letters, "it is a dead letter")
    (letter,) = here.dashboard.dead_letters()
    assert "no instance" in (letter.error or "")


def test_whoever_looks_at_a_prepared_instance_that_a_push_in_doubt_has_replaced_sees_its_end(
    here: FailingBench,
) -> None:
    here.dashboard.push_plan(plan_of("hourly", ["a"], window=HOURLY), {}, OPERATOR)
    (prepared,) = here.dashboard.prepared_instances()
    assert here.dashboard.instance(prepared.instance_id).prepared
    with here.commits_are(Fate.IN_DOUBT), pytest.raises(Unavailable):
        here.dashboard.push_plan(plan_of("hourly", ["a", "b"], window=HOURLY), {}, OPERATOR)
    assert here.dashboard.instance(prepared.instance_id).end_reason == "replaced"


def test_an_agent_is_told_of_what_is_active_on_disk_although_nobody_has_heard_of_it_yet(
    here: FailingBench,
) -> None:
    here.dashboard.push_plan(plan_of("hourly", ["a"], window=HOURLY), {}, OPERATOR)
    with here.commits_are(Fate.IN_DOUBT), pytest.raises(Unavailable):
        here.dashboard.start_instance("hourly", OPERATOR, key="the first")
    (active,) = here.dashboard.instances_for_agent("host")
    with here.commits_are(Fate.IN_DOUBT), pytest.raises(Unavailable):
        here.dashboard.command(active.instance_id, EndInstance(), OPERATOR)
    assert here.dashboard.instances_for_agent("host") == []
