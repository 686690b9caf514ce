"""Every due fire of a schedule happens once, or is said not to have: late, asleep, restarted or full."""

import errno
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pykka
import pytest
from agent_rig import AGENT, InMemoryDashboard, ManualTime, agent_in
from hypothesis import given
from hypothesis import strategies as st
from jobledger.actors.agent.fire_marks import FireMarks
from jobledger.actors.agent.instance_store import InstanceStore
from jobledger.actors.agent.provision_store import ProvisionStore
from jobledger.actors.agent.reports import Reports
from jobledger.actors.agent.schedules import (
    Disarm,
    ReadSchedules,
    Refresh,
    Release,
    Retime,
    SchedulesActor,
)
from jobledger.actors.agent.triggers import ON_TIME_MS, Fired, InBlackout, Missed, Timetable
from jobledger.actors.pool import ActorPool
from jobledger.domain.instants import Instant
from jobledger.domain.messages import Outcome, ProcessEvent, ProvisionedJobs, PublishedInstance
from jobledger.domain.plan import ScheduleJob, StartupControl, Trigger
from jobledger.storage.segment_log import LogFull, SegmentLog
from simulated_disk import Crashed, SimulatedDisk

UTC = ZoneInfo("UTC")
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
SIX = 1_796_536_800_000  # 2026-12-06T06:00.000Z
HOURLY = "0 0 * * * ?"


def schedule(cron: str = HOURLY, name: str = "tick", **more: object) -> ScheduleJob:
    startup = more.pop("startup", StartupControl.AUTOMATIC)
    assert isinstance(startup, StartupControl)
    return ScheduleJob(
        agent=AGENT, name=name, startup=startup, trigger=Trigger(cron=cron, zone="UTC", **more)
    )  # type: ignore[arg-type]


def instance(number: str = "i1", started_at: Instant = SIX - MINUTE, **more: object) -> PublishedInstance:
    return PublishedInstance(
        instance_id=number,
        plan="plan",
        jobs=(f"{AGENT}-tick",),
        contexts={f"{AGENT}-tick": ("c1", "c2")},
        started_at=started_at,
        **more,  # type: ignore[arg-type]
    )


class Bench:
    """The schedules of an agent whose time is moved by hand; can be stopped and begun again from its disk."""

    def __init__(self, folder: Path, now: Instant) -> None:
        self.folder = folder
        self.time = ManualTime(now)
        self._log: SegmentLog | None = None

    def begin(self, *, release: bool = True) -> None:
        self._log, _ = SegmentLog.open(self.folder / "outbound")
        self.reports = Reports(self._log, lambda: None)
        self.provision = ProvisionStore(self.folder / "provisioned.json", lambda: None)
        self.instances = InstanceStore(self.folder / "instances", lambda: None)
        marks = FireMarks(self.folder / "fires.json")
        marks.bring_forward(self.reports.reported(marks.reported_through))
        self._pool = ActorPool(2)
        self.actor: pykka.ActorRef[SchedulesActor] = SchedulesActor.start(
            pool=self._pool,
            agent=AGENT,
            host="here",
            instances=self.instances,
            provision=self.provision,
            marks=marks,
            reports=self.reports,
            alarms=self.time,
            clock=self.time,
            zone=UTC,
            on_failed=lambda: None,
        )
        if release:
            self.actor.tell(Release())
        self.settle()

    def end(self) -> None:
        if self._log is not None:
            self.actor.stop(timeout=10)
            self._pool.close()
            self._log.close()
            self._log = None
            self.time.alarms.clear()

    def restart(self, now: Instant, *, release: bool = True) -> None:
        self.end()
        self.time.now = now
        self.begin(release=release)

    def settle(self) -> dict[str, object]:
        answer: dict[str, object] = self.actor.ask(ReadSchedules(), timeout=10)
        return answer

    def refresh(self) -> None:
        self.actor.tell(Refresh())
        self.settle()

    def arm(self, *instances: PublishedInstance, job: ScheduleJob | None = None) -> None:
        self.provide(job or schedule())
        self.instances.save(instances or [instance()])
        self.refresh()

    def provide(self, *jobs: ScheduleJob) -> None:
        given = ProvisionedJobs(plan="plan", jobs=jobs)
        assert self.actor.ask(Retime((given,)), timeout=10) is None
        self.provision.replace([given])
        self.refresh()

    def disarm(self, *instance_ids: str, ended_at: Instant | None = None) -> None:
        assert self.actor.ask(Disarm(instance_ids, ended_at), timeout=10) is None
        self.refresh()

    def move_to(self, now: Instant) -> None:
        self.time.move_to(now)
        self.settle()

    @property
    def events(self) -> list[ProcessEvent]:
        return list(self.reports.reported(0))

    @property
    def fires(self) -> list[tuple[Instant | None, Outcome]]:
        return [(event.fired_at, event.outcome) for event in self.events]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, SIX - MINUTE)
    made.begin()
    yield made
    made.end()


HAPPENED, SKIPPED = Outcome.EXECUTION_INVOKED, Outcome.FIRE_SKIPPED


def test_a_schedule_fires_at_its_instant_for_each_armed_instance(bench: Bench) -> None:
    bench.arm(instance("i1"), instance("i2"))
    bench.move_to(SIX - 1)
    assert bench.events == []
    bench.move_to(SIX)
    bench.move_to(SIX + MINUTE)
    assert [(event.instance_id, event.fired_at) for event in bench.events] == [("i1", SIX), ("i2", SIX)]
    event = bench.events[0]
    assert (event.successful, event.starting, event.contexts) == (True, False, ("c1", "c2"))
    assert event.next_fire_at == SIX + HOUR


def test_many_changes_that_are_told_late_are_looked_at_once_and_none_is_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    refresh = SchedulesActor._refresh
    monkeypatch.setattr(SchedulesActor, "_refresh", lambda self: (looked.append(1), refresh(self)))
    bench.provision.replace([ProvisionedJobs(plan="plan", jobs=(schedule(),))])
    for number in range(100):
        bench.instances.save([instance(f"i{number}")])
    for _ in range(101):
        bench.actor.tell(Refresh())
    assert bench.settle()["armed"] == 100
    assert len(looked) == 1
    bench.instances.save([instance("late")])
    bench.refresh()
    bench.refresh()
    assert bench.settle()["armed"] == 101
    assert len(looked) == 2


def test_an_instance_that_is_removed_is_not_fired_for_any_more(bench: Bench) -> None:
    bench.arm(instance("i1"), instance("i2"))
    bench.disarm("i1")
    bench.move_to(SIX)
    assert [event.instance_id for event in bench.events] == ["i2"]


def test_schedules_that_fail_are_begun_anew_and_lose_no_fire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dashboard, write, failed = InMemoryDashboard(), Reports.write, threading.Event()

    def fails_once(reports: Reports, events: list[ProcessEvent]) -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a fault of this release")
        write(reports, events)

    monkeypatch.setattr(Reports, "write", fails_once)
    with agent_in(tmp_path, dashboard) as agent:
        assert agent.provision([ProvisionedJobs(plan="plan", jobs=(schedule("* * * * * ?"),))]) == []
        began = time.time_ns() // 1_000_000
        agent.publish([instance(started_at=began)])
        told = dashboard.told.wait_for(lambda events: len(events) >= 3)
    assert failed.is_set()
    first = -(-began // SECOND) * SECOND
    assert [event.fired_at for event in told[:3]] == [first, first + SECOND, first + 2 * SECOND]


@pytest.mark.parametrize("startup", [StartupControl.MANUAL, StartupControl.DISABLED])
def test_a_job_that_is_not_to_start_by_itself_does_not_fire(bench: Bench, startup: StartupControl) -> None:
    bench.arm(job=schedule(startup=startup))
    bench.move_to(SIX)
    assert bench.events == []


def test_nothing_fires_before_the_active_instances_are_known_and_then_nothing_is_forgotten(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, SIX - MINUTE)
    bench.begin(release=False)
    bench.arm()
    bench.move_to(SIX + MINUTE)
    assert bench.events == []
    bench.actor.tell(Release())
    bench.settle()
    assert bench.fires == [(SIX, HAPPENED)]
    bench.end()


def test_a_fire_missed_by_less_than_the_tolerance_happens_once_at_recovery(bench: Bench) -> None:
    bench.arm()
    bench.restart(SIX + 29 * MINUTE)
    bench.restart(SIX + 29 * MINUTE)
    assert bench.fires == [(SIX, HAPPENED)]


def test_a_fire_missed_by_more_is_said_to_be_skipped_once(bench: Bench) -> None:
    bench.arm()
    bench.restart(SIX + 31 * MINUTE)
    bench.restart(SIX + 32 * MINUTE)
    assert bench.fires == [(SIX, SKIPPED)]
    assert "missed" in (bench.events[0].details or "")


def test_a_job_without_recovery_says_that_the_fire_was_missed(bench: Bench) -> None:
    bench.arm(job=schedule(persistent_recovery=False))
    bench.restart(SIX + MINUTE)
    assert bench.fires == [(SIX, SKIPPED)]


def test_of_several_missed_fires_the_last_happens_and_the_others_are_told_together(bench: Bench) -> None:
    bench.arm(job=schedule("0 0/10 * * * ?"))
    bench.restart(SIX + 25 * MINUTE)
    assert bench.fires == [(SIX + 10 * MINUTE, SKIPPED), (SIX + 20 * MINUTE, HAPPENED)]
    assert "2 fires" in (bench.events[0].details or "")


def test_a_crash_between_the_event_and_the_mark_repeats_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.arm()
    with monkeypatch.context() as patched:
        patched.setattr(FireMarks, "write", lambda *_arguments: None)
        bench.move_to(SIX)
    bench.restart(SIX + 2 * HOUR)
    assert [fire[0] for fire in bench.fires] == [SIX, SIX + HOUR, SIX + 2 * HOUR]


def test_no_fire_is_lost_while_the_disk_is_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.arm()

    def full(_log: SegmentLog, _payloads: object) -> list[int]:
        raise LogFull("no space")

    with monkeypatch.context() as patched:
        patched.setattr(SegmentLog, "append_many", full)
        bench.move_to(SIX)
        bench.move_to(SIX + HOUR + MINUTE)
    bench.move_to(SIX + HOUR + 2 * MINUTE)
    bench.move_to(SIX + HOUR + 2 * MINUTE + 1)
    assert bench.fires == [(SIX, HAPPENED), (SIX + HOUR, HAPPENED)]


def test_in_a_blackout_the_fire_is_ignored_and_counts_as_having_happened(bench: Bench) -> None:
    bench.arm(job=schedule(blackout_ranges=((SIX - 1, SIX + 1),)))
    bench.move_to(SIX)
    event = bench.events[0]
    assert (event.outcome, event.successful) == (Outcome.IGNORED_IN_BLACKOUT, True)


def test_in_a_blackout_that_drops_its_events_nothing_is_sent(bench: Bench) -> None:
    bench.arm(job=schedule(blackout_ranges=((SIX - 1, SIX + 1),), drop_event_on_blackout=True))
    bench.move_to(SIX)
    bench.restart(SIX + MINUTE)
    assert bench.events == []


def test_with_schedules_disabled_for_the_instance_the_fire_is_said_to_be_skipped(bench: Bench) -> None:
    bench.arm(instance(schedules_disabled=True))
    bench.move_to(SIX)
    assert bench.fires == [(SIX, SKIPPED)]


def test_pass_through_properties_travel_with_the_event(bench: Bench) -> None:
    bench.arm(job=schedule(passthrough={"region": "north"}))
    bench.move_to(SIX)
    assert "region=north" in (bench.events[0].details or "")


def test_a_new_timetable_counts_from_when_it_came(bench: Bench) -> None:
    bench.arm()
    bench.move_to(SIX + 20 * MINUTE)
    bench.arm(job=schedule("0 0/15 * * * ?"))
    bench.move_to(SIX + 30 * MINUTE)
    assert bench.fires == [(SIX, HAPPENED), (SIX + 30 * MINUTE, HAPPENED)]


def test_a_clock_that_is_set_back_fires_nothing_twice(bench: Bench) -> None:
    bench.arm()
    bench.move_to(SIX)
    bench.move_to(SIX - 30 * MINUTE)
    bench.refresh()
    bench.move_to(SIX)
    bench.move_to(SIX + HOUR)
    assert bench.fires == [(SIX, HAPPENED), (SIX + HOUR, HAPPENED)]


def test_a_clock_that_was_years_ahead_does_not_silence_schedules_for_years(bench: Bench) -> None:
    years = 3 * 365 * 24 * HOUR
    bench.arm()
    bench.move_to(SIX + years)
    told = len(bench.events)
    bench.restart(SIX - MINUTE)
    bench.move_to(SIX)
    assert bench.fires[told:] == [(SIX, HAPPENED)]


def test_an_instance_that_is_armed_again_is_not_fired_again_for_what_it_had(bench: Bench) -> None:
    bench.arm()
    bench.move_to(SIX)
    bench.disarm("i1")
    bench.arm()
    bench.restart(SIX + MINUTE)
    assert bench.fires == [(SIX, HAPPENED)]


def test_what_was_due_while_the_agent_was_away_is_told_when_the_instance_has_ended_meanwhile(
    bench: Bench,
) -> None:
    bench.arm(job=schedule("0 0/20 * * * ?"))
    bench.restart(SIX + 2 * HOUR, release=False)
    bench.disarm("i1", ended_at=SIX + HOUR - 1)
    bench.actor.tell(Release())
    bench.move_to(SIX + 3 * HOUR)
    assert bench.fires == [(SIX + 40 * MINUTE, SKIPPED)]
    told = bench.events[0].details or ""
    assert told.startswith("3 fires due from 2026-12-06T06:00:00.000Z to 2026-12-06T06:40:00.000Z, missed")
    assert "ended" in told


def test_an_instance_that_began_and_ended_while_the_agent_was_away_is_accounted_for_from_its_start(
    bench: Bench,
) -> None:
    bench.restart(SIX + 2 * HOUR, release=False)
    bench.arm(instance(started_at=SIX))
    bench.disarm("i1", ended_at=SIX + HOUR)
    assert bench.fires == [(SIX + HOUR, SKIPPED)]
    assert "2 fires" in (bench.events[0].details or "")


def test_what_was_accounted_for_is_not_told_again_when_its_instance_is_removed(bench: Bench) -> None:
    bench.arm()
    bench.move_to(SIX)
    bench.disarm("i1", ended_at=SIX + 1)
    bench.disarm("i1", ended_at=SIX + 1)
    assert bench.fires == [(SIX, HAPPENED)]


def test_what_a_dashboard_with_another_clock_says_is_in_the_future_was_not_due(bench: Bench) -> None:
    bench.arm()
    bench.disarm("i1", ended_at=SIX + 24 * HOUR)
    assert bench.events == []


def test_of_an_instance_that_is_not_listed_any_more_it_is_told_once_its_removal_says_when_it_ended(
    bench: Bench,
) -> None:
    bench.arm()
    bench.restart(SIX + 2 * HOUR + MINUTE, release=False)
    bench.instances.replace_all([], bench.instances.mark(), bench.time.now)
    bench.actor.tell(Release())
    bench.settle()
    assert bench.events == []
    assert bench.instances.all() == []
    bench.disarm("i1", ended_at=SIX + HOUR)
    assert bench.fires == [(SIX + HOUR, SKIPPED)]


def test_of_an_instance_that_is_not_listed_any_more_and_never_removed_it_is_told_after_a_while(
    bench: Bench,
) -> None:
    bench.arm()
    bench.restart(SIX + 2 * HOUR - 1, release=False)
    bench.instances.replace_all([], bench.instances.mark(), bench.time.now)
    bench.actor.tell(Release())
    bench.settle()
    bench.move_to(SIX + 3 * HOUR)
    assert bench.fires == [(SIX + HOUR, SKIPPED)]
    assert bench.instances.kept() == []


def test_a_fire_that_was_due_by_the_timetable_of_before_is_told_when_the_jobs_are_replaced(
    bench: Bench,
) -> None:
    bench.arm(job=schedule(persistent_recovery=False))
    bench.restart(SIX + MINUTE, release=False)
    bench.provide(schedule("0 30 * * * ?"))
    bench.actor.tell(Release())
    bench.move_to(SIX + 30 * MINUTE)
    assert bench.fires == [(SIX, SKIPPED), (SIX + 30 * MINUTE, HAPPENED)]


def test_a_fire_that_was_due_is_told_when_the_plan_is_withdrawn_and_none_that_came_later(
    bench: Bench,
) -> None:
    bench.arm(job=schedule(persistent_recovery=False))
    bench.restart(SIX + MINUTE, release=False)
    bench.provide()
    bench.actor.tell(Release())
    bench.move_to(SIX + HOUR + MINUTE)
    bench.provide(schedule())
    bench.move_to(SIX + 2 * HOUR)
    assert bench.fires == [(SIX, SKIPPED), (SIX + 2 * HOUR, HAPPENED)]


class Lonely:
    """The schedules of an agent without threads, on a disk that fails or crashes at any of its calls."""

    def __init__(self, disk: SimulatedDisk, now: Instant) -> None:
        log, _ = SegmentLog.open(Path("/outbound"), files=disk)
        self.reports = Reports(log, lambda: None)
        self.provision = ProvisionStore(Path("/provisioned.json"), lambda: None, disk)
        self.instances = InstanceStore(Path("/instances"), lambda: None, disk)
        marks = FireMarks(Path("/fires.json"), disk)
        marks.bring_forward(self.reports.reported(marks.reported_through))
        self.time = ManualTime(now)
        self.actor = SchedulesActor(
            pool=ActorPool(1),
            agent=AGENT,
            host="here",
            instances=self.instances,
            provision=self.provision,
            marks=marks,
            reports=self.reports,
            alarms=self.time,
            clock=self.time,
            zone=UTC,
            on_failed=lambda: None,
        )

    @property
    def told(self) -> list[str]:
        return [event.details or "" for event in self.reports.reported(0)]


def _armed_on(disk: SimulatedDisk) -> None:
    """An agent that fired at six, and is gone."""
    agent = Lonely(disk, SIX)
    agent.provision.replace([ProvisionedJobs(plan="plan", jobs=(schedule(),))])
    agent.instances.save([instance("i1"), instance("i2")])
    agent.actor.on_receive(Release())
    assert len(agent.told) == 2
    agent.reports._log.close()


def _removed_once(
    fault: Callable[[int, str], None], between: Callable[[SimulatedDisk], SimulatedDisk]
) -> bool:
    """Whether a removal went well at the first attempt; at the second, by the next process, it does."""
    disk = SimulatedDisk()
    _armed_on(disk)
    disk = disk.after_kill()
    agent = Lonely(disk, SIX + 3 * HOUR)
    disk.calls, disk.fault = 0, fault
    try:
        went_well = agent.actor.on_receive(Disarm(("i1",), SIX + 2 * HOUR)) is None
    except Crashed:
        went_well = False
    disk = between(disk)
    disk.fault = None
    agent = Lonely(disk, SIX + 4 * HOUR)
    assert agent.actor.on_receive(Disarm(("i1",), SIX + 2 * HOUR)) is None
    assert [each.instance_id for each in agent.instances.kept()] == ["i2"]
    missed = [each for each in agent.told if "fires due" in each]
    assert len(missed) == 1, missed
    assert missed[0].startswith("2 fires due from 2026-12-06T07:00:00.000Z to 2026-12-06T08:00:00.000Z")
    return went_well


@pytest.mark.parametrize("how", ["killed", "power lost"])
def test_killed_at_any_step_of_a_removal_what_was_due_is_told_once(how: str) -> None:
    def between(disk: SimulatedDisk) -> SimulatedDisk:
        return disk.after_kill() if how == "killed" else disk.after_power_loss(random.Random(1))

    for number in itertools.count(1):

        def crash(call: int, _name: str, number: int = number) -> None:
            if call == number:
                raise Crashed

        if _removed_once(crash, between):
            assert number > 8, "there is more than that to be killed at"
            return


def test_a_removal_that_the_disk_does_not_take_is_refused_and_loses_nothing() -> None:
    for number in itertools.count(1):

        def fail(call: int, _name: str, number: int = number) -> None:
            if call == number:
                raise OSError(errno.EIO, "the disk does not answer")

        disk = SimulatedDisk()
        _armed_on(disk)
        disk = disk.after_kill()
        agent = Lonely(disk, SIX + 3 * HOUR)
        disk.calls, disk.fault = 0, fail
        first = agent.actor.on_receive(Disarm(("i1",), SIX + 2 * HOUR))
        disk.fault = None
        assert agent.actor.on_receive(Disarm(("i1",), SIX + 2 * HOUR)) is None
        assert len([each for each in agent.told if each.startswith("2 fires due")]) == 1
        assert [each.instance_id for each in agent.instances.kept()] == ["i2"]
        if disk.calls < number:
            assert first is None
            return


@given(st.lists(st.integers(1, 3 * HOUR), min_size=1, max_size=12), st.booleans())
def test_however_time_passes_every_due_fire_is_accounted_for_exactly_once(
    steps: list[int], recovery: bool
) -> None:
    timetable = Timetable(Trigger(cron="0 0/20 * * * ?", persistent_recovery=recovery), UTC)
    mark = now = SIX
    accounted: list[Instant] = []
    for step in steps:
        now += step
        for verdict in timetable.account(mark, now):
            if isinstance(verdict, Missed):
                accounted += _missed(timetable, mark, verdict)
            else:
                accounted.append(verdict.due)
                late = now - verdict.due
                assert late <= (30 * MINUTE if recovery else ON_TIME_MS)
            mark = max(mark, verdict.due)
    assert timetable.cron is not None
    assert accounted == list(timetable.cron.fires_between(SIX, now, UTC))


def _missed(timetable: Timetable, mark: Instant, verdict: Missed) -> list[Instant]:
    assert timetable.cron is not None
    return list(timetable.cron.fires_between(mark, verdict.due, UTC))


def test_a_second_long_schedule_missed_for_a_month_is_told_in_one_line() -> None:
    timetable = Timetable(Trigger(cron="* * * * * ?"), UTC)
    verdicts = timetable.account(SIX, SIX + 30 * 24 * HOUR)
    assert isinstance(verdicts[0], Missed)
    assert "more than 1000 fires" in verdicts[0].reason
    assert all(isinstance(each, Fired) for each in verdicts[1:])
    dues = [each.due for each in verdicts]
    assert all(later - earlier == SECOND for earlier, later in itertools.pairwise(dues))
    assert dues[-1] == SIX + 30 * 24 * HOUR


def test_a_recovered_fire_is_judged_by_the_blackout_at_the_time_it_was_due() -> None:
    timetable = Timetable(Trigger(cron=HOURLY, blackout_ranges=((SIX, SIX),)), UTC)
    assert [type(each) for each in timetable.account(SIX - MINUTE, SIX + MINUTE)] == [InBlackout]
