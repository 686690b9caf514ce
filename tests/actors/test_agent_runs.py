"""What an agent makes of initiations: run once, reported in order, whatever fails in between."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest
from agent_rig import AGENT, WAIT_SECONDS, InMemoryDashboard, ManualTime, agent_in, initiation
from jobledger.actors.agent.agent import Agent
from jobledger.actors.agent.intake import Accepted, Intake
from jobledger.actors.agent.job_queue import JobQueueActor
from jobledger.actors.agent.launcher import Launcher
from jobledger.actors.agent.markers import Recovered
from jobledger.actors.agent.orders import QueueKey
from jobledger.actors.agent.ports import Announcement, DashboardRefused
from jobledger.actors.agent.registration import RegistrationActor
from jobledger.domain.messages import DryRun, Initiation, Outcome, ProcessEvent, ProvisionedJobs
from jobledger.domain.plan import CommandJob
from jobledger.storage.segment_log import LogFull, SegmentLog


@pytest.fixture
def dashboard() -> InMemoryDashboard:
    return InMemoryDashboard()


def wait_until(holds: Callable[[], bool]) -> None:
    """For what nobody tells of."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def command(script: str, **more: object) -> CommandJob:
    return msgspec.structs.replace(CommandJob(agent=AGENT, name="job", command_line=script), **more)


def test_a_command_is_reported_started_and_then_finished_with_its_return_code(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    with agent_in(tmp_path, dashboard) as agent:
        assert agent.initiate([initiation(1, "echo out; echo err >&2; exit 3", contexts=("c1",))]) == [None]
        dashboard.told.wait_finished("id-1")
        started, finished = dashboard.told.events
    assert (started.id, started.starting, started.successful) == ("id-1/started", True, False)
    assert (finished.id, finished.starting, finished.successful) == ("id-1/finished", False, False)
    assert finished.return_code == 3
    assert started.pid == finished.pid
    assert started.pid is not None
    assert started.contexts == finished.contexts == ("c1",)
    assert started.fired_at is not None
    assert finished.completed_at is not None
    assert started.fired_at <= finished.completed_at
    assert started.outcome is Outcome.EXECUTION_INVOKED
    assert Path(finished.output_path or "").read_text() == "out\n"
    assert Path(finished.error_path or "").read_text() == "err\n"


def test_return_codes_of_the_job_say_what_success_is(tmp_path: Path, dashboard: InMemoryDashboard) -> None:
    accepted = command("exit 3", successful_return_codes=(3, 4))
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(1, template=accepted), initiation(2, "kill -9 $$")])
        ends = dashboard.told.wait_finished("id-1", "id-2")
    assert ends["id-1"].successful
    assert (ends["id-2"].return_code, ends["id-2"].successful) == (137, False)


def test_the_same_initiation_again_runs_nothing_twice(tmp_path: Path, dashboard: InMemoryDashboard) -> None:
    effect = tmp_path / "effect"
    order = initiation(1, f"echo ran >> {effect}")
    with agent_in(tmp_path / "agent", dashboard) as agent:
        threads = [threading.Thread(target=agent.initiate, args=([order],)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert agent.initiate([order, order]) == [None, None]
        dashboard.told.wait_finished("id-1")
        assert agent.initiate([order]) == [None]
    with agent_in(tmp_path / "agent", dashboard) as agent:
        assert agent.initiate([order]) == [None], "long after it finished, and after a restart"
        agent.initiate([initiation(2, job=order.job)])
        dashboard.told.wait_finished("id-2")
    assert lines(effect) == ["ran"]
    assert len(dashboard.told.events) == 4


def test_initiations_of_one_job_for_one_instance_run_one_after_another(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    effect = tmp_path / "effect"
    script = f"echo begin$N >> {effect}; sleep 0.05; echo end$N >> {effect}"
    with agent_in(tmp_path / "agent", dashboard) as agent:
        agent.initiate([initiation(n, script, job="same", parameters={"N": str(n)}) for n in range(4)])
        dashboard.told.wait_finished("id-0", "id-1", "id-2", "id-3")
    assert lines(effect) == ["begin0", "end0", "begin1", "end1", "begin2", "end2", "begin3", "end3"]


def test_one_hung_run_blocks_neither_another_job_nor_another_instance(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(1, "sleep 600", job="same")])
        agent.initiate([initiation(2, job="other"), initiation(3, job="same", instance="i2")])
        dashboard.told.wait_finished("id-2", "id-3")
        assert agent.kill("id-1", force=True)
        assert dashboard.told.wait_finished("id-1")["id-1"].killed


def test_no_more_commands_run_at_once_than_the_limit_allows(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    effect = tmp_path / "effect"
    script = f"echo 1 >> {effect}; sleep 0.03; echo -1 >> {effect}"
    ids = [f"id-{n}" for n in range(8)]
    with agent_in(tmp_path / "agent", dashboard, max_jobs=2) as agent:
        agent.initiate([initiation(n, script) for n in range(8)])
        dashboard.told.wait_finished(*ids)
    running = [sum(map(int, lines(effect)[: n + 1])) for n in range(16)]
    assert max(running) <= 2
    assert running[-1] == 0


def test_an_unknown_job_is_refused_and_nothing_is_stored(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    with agent_in(tmp_path / "agent", dashboard) as agent:
        unknown = msgspec.structs.replace(initiation(1), template=None)
        stranger = msgspec.structs.replace(initiation(2), agent="elsewhere")
        refusals = agent.initiate([unknown, stranger, initiation(3)])
        dashboard.told.wait_finished("id-3")
    assert [refusal is None for refusal in refusals] == [False, False, True]
    assert "job1" in (refusals[0] or "")
    log, report = SegmentLog.open(tmp_path / "agent" / "log" / "inbound")
    log.close()
    assert report.records == 1


def test_without_a_template_the_provisioned_one_runs_even_if_it_is_replaced_meanwhile(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    def provisioned(code: int) -> ProvisionedJobs:
        return ProvisionedJobs(plan="plan", jobs=(command(f"sleep 0.05; exit {code}"),))

    with agent_in(tmp_path, dashboard) as agent:
        assert agent.provision([provisioned(1)]) == []
        orders = [msgspec.structs.replace(initiation(n, job="job"), template=None) for n in range(3)]
        assert agent.initiate(orders) == [None] * 3
        assert agent.provision([provisioned(2)]) == []
        ends = dashboard.told.wait_finished("id-0", "id-1", "id-2")
        assert [end.return_code for end in ends.values()] == [1, 1, 1]
        agent.withdraw("plan")
        assert agent.initiate(orders) == [None] * 3, "known ones are recognised"
        assert agent.initiate([msgspec.structs.replace(orders[0], id="new")]) != [None]


@pytest.mark.parametrize(
    ("order", "outcome"),
    [
        (initiation(1, "exit 1", skipped=True), Outcome.EXECUTION_INVOKED),
        (initiation(1, "exit 1", dry_run=DryRun()), Outcome.EXECUTION_INVOKED),
        (initiation(1, "exit 1", dry_run=DryRun(fixed_ms=20)), Outcome.EXECUTION_INVOKED),
    ],
    ids=["skipped", "dry run", "dry run of some time"],
)
def test_what_is_not_run_is_reported_as_started_and_finished_well(
    tmp_path: Path, dashboard: InMemoryDashboard, order: Initiation, outcome: Outcome
) -> None:
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([order])
        end = dashboard.told.wait_finished("id-1")["id-1"]
        start = dashboard.told.events[0]
    assert (start.starting, start.pid, end.pid) == (True, None, None)
    assert (end.successful, end.outcome) == (True, outcome)
    assert (end.skipped, end.dry_run) == (order.skipped, order.dry_run is not None)


def test_a_dry_run_fails_when_it_is_told_to(tmp_path: Path, dashboard: InMemoryDashboard) -> None:
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate(
            [
                initiation(1, dry_run=DryRun(error=True)),
                initiation(2, dry_run=DryRun(error_percentage=100.0)),
                initiation(3, dry_run=DryRun(error_percentage=0.0)),
            ]
        )
        ends = dashboard.told.wait_finished("id-1", "id-2", "id-3")
    assert [ends[f"id-{number}"].successful for number in (1, 2, 3)] == [False, False, True]


def test_a_job_excluded_on_this_day_of_the_week_counts_as_finished(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    sunday = 1_796_515_200_000  # 2026-12-06T00:00Z
    with agent_in(tmp_path, dashboard, clock=lambda: sunday, time_zone="UTC") as agent:
        agent.initiate(
            [
                initiation(1, template=command("exit 1", days_of_week=(2, 3, 4, 5, 6, 7))),
                initiation(2, template=command("exit 7", days_of_week=(1,)), job="other"),
            ]
        )
        ends = dashboard.told.wait_finished("id-1", "id-2")
    assert (ends["id-1"].outcome, ends["id-1"].successful) == (Outcome.IGNORED_DAY_OF_WEEK, True)
    assert (ends["id-2"].outcome, ends["id-2"].return_code) == (Outcome.EXECUTION_INVOKED, 7)


@pytest.mark.parametrize(
    ("template", "word"),
    [
        (command("true", working_directory="/no/such/place"), "/no/such/place"),
        (msgspec.structs.replace(command("true"), shell="/no/such/shell|-c"), "/no/such/shell"),  # noqa: S604  a field
        (command("echo a\0b"), "NUL"),
    ],
    ids=["directory", "shell", "script"],
)
def test_what_cannot_start_is_finished_with_the_reason_and_blocks_nothing(
    tmp_path: Path, dashboard: InMemoryDashboard, template: CommandJob, word: str
) -> None:
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(1, template=template, job="same"), initiation(2, job="same")])
        ends = dashboard.told.wait_finished("id-1", "id-2")
    assert not ends["id-1"].successful
    assert word in (ends["id-1"].details or "")
    assert ends["id-2"].successful


def test_a_job_that_takes_too_long_is_ended_and_said_to_have_timed_out(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    with agent_in(tmp_path, dashboard, timeout_minutes=0) as agent:
        agent.initiate([initiation(1, "sleep 600")])
        end = dashboard.told.wait_finished("id-1")["id-1"]
    assert not end.successful
    assert "timed out" in (end.details or "")


def test_secrets_are_covered_in_what_people_see_and_not_in_what_commands_get(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    order = initiation(
        1, 'echo "$DB_PASSWORD $REGION"', parameters={"DB_PASSWORD": "hunter22", "REGION": "north"}
    )
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([order])
        end = dashboard.told.wait_finished("id-1")["id-1"]
    assert Path(end.output_path or "").read_text() == "hunter22 north\n"
    assert "REGION=north" in (end.details or "")
    assert "hunter22" not in "".join(str(event) for event in dashboard.told.events)


def test_a_waiting_initiation_that_is_killed_never_runs(tmp_path: Path, dashboard: InMemoryDashboard) -> None:
    effect = tmp_path / "effect"
    with agent_in(tmp_path / "agent", dashboard, max_jobs=1) as agent:
        agent.initiate([initiation(1, "sleep 600")])
        dashboard.told.wait_for(lambda events: len(events) == 1)
        agent.initiate([initiation(2, f"echo ran >> {effect}"), initiation(3, job="job1")])
        assert agent.kill("id-2", force=False)
        assert agent.kill("id-3", force=False)
        ends = dashboard.told.wait_finished("id-2", "id-3")
        assert all(end.killed and not end.successful for end in ends.values())
        assert not agent.kill("id-2", force=False)
        assert agent.kill("id-1", force=False)
        dashboard.told.wait_finished("id-1")
    assert lines(effect) == []


def test_only_processes_of_this_agents_jobs_are_killed_by_number(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(1, "sleep 600")])
        started = dashboard.told.wait_for(lambda events: len(events) == 1)[0]
        assert not agent.kill_pid(1, force=True)
        assert not agent.kill_pid(2**22, force=True)
        assert started.pid is not None
        assert agent.kill_pid(started.pid, force=False)
        end = dashboard.told.wait_finished("id-1")["id-1"]
    assert (end.killed, end.return_code) == (True, 143)


def test_a_command_outlives_its_agent_and_is_reported_by_the_next(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    gate, effect = tmp_path / "gate", tmp_path / "effect"
    script = f"until [ -e {gate} ]; do sleep 0.01; done; echo ran >> {effect}; exit 5"
    with agent_in(tmp_path / "agent", dashboard) as agent:
        agent.initiate([initiation(1, script, job="same"), initiation(2, job="same")])
        dashboard.told.wait_for(lambda events: len(events) == 1)
    with agent_in(tmp_path / "agent", dashboard, max_jobs=1) as agent:
        assert [row.phase for row in agent.runs()] == ["running", "queued"]
        gate.touch()
        ends = dashboard.told.wait_finished("id-1", "id-2")
    assert ends["id-1"].return_code == 5
    assert lines(effect) == ["ran"]
    assert [event.id for event in dashboard.told.events] == [
        "id-1/started",
        "id-1/finished",
        "id-2/started",
        "id-2/finished",
    ]


def test_events_wait_for_a_dashboard_that_is_away_and_arrive_in_order(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    dashboard.away.set()
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(n, job="same") for n in range(3)])
        wait_until(lambda: not agent.runs())
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(3, job="same")])
        wait_until(lambda: not agent.runs())
        dashboard.away.clear()
        dashboard.told.wait_finished("id-3")
    expected = [f"id-{n}/{what}" for n in range(4) for what in ("started", "finished")]
    assert [event.id for event in dashboard.told.events] == expected


def test_a_refused_event_is_parked_and_the_others_go_on(tmp_path: Path, dashboard: InMemoryDashboard) -> None:
    refusal = DashboardRefused(422, "no such instance")
    dashboard.refuses = lambda event: refusal if event.id == "id-1/started" else None
    dashboard.away.set()
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(n, job="same") for n in range(3)])
        wait_until(lambda: not agent.runs())
        dashboard.away.clear()
        dashboard.told.wait_finished("id-0", "id-1", "id-2")
        outbound = agent.snapshots()[0]
        wait_until(lambda: any(each.problems for each in dashboard.announcements))
    assert dashboard.announcements[-1].problems == (
        "1 event refused by the dashboard and kept in its dead letters",
    )
    assert [event.id for event in dashboard.told.events] == [
        "id-0/started",
        "id-0/finished",
        "id-1/finished",
        "id-2/started",
        "id-2/finished",
    ]
    assert outbound["dead_letters"] == {"count": 1, "oldest": "no such instance"}


class FullDisk:
    """Makes appends to one of the agent's logs fail for as long as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, log_name: str) -> None:
        self.full = threading.Event()
        append_many = SegmentLog.append_many

        def append(log: SegmentLog, payloads: list[object]) -> list[int]:
            if self.full.is_set() and log.directory.name == log_name:
                raise LogFull(f"{log.directory}: {errno.ENOSPC}")
            return append_many(log, payloads)

        monkeypatch.setattr(SegmentLog, "append_many", append)


def test_an_initiation_that_finds_the_disk_full_is_not_accepted_and_can_be_given_again(
    tmp_path: Path, dashboard: InMemoryDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, "inbound")
    with agent_in(tmp_path, dashboard) as agent:
        disk.full.set()
        with pytest.raises(LogFull):
            agent.initiate([initiation(1)])
        assert agent.runs() == []
        disk.full.clear()
        assert agent.initiate([initiation(1)]) == [None]
        dashboard.told.wait_finished("id-1")


def test_no_report_is_lost_while_the_disk_is_full(
    tmp_path: Path, dashboard: InMemoryDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, "outbound")
    effect = tmp_path / "effect"
    with agent_in(tmp_path / "agent", dashboard) as agent:
        disk.full.set()
        agent.initiate([initiation(n, f"echo ran{n} >> {effect}", job="same") for n in range(2)])
        wait_until(lambda: lines(effect) == ["ran0"])
        assert dashboard.told.events == []
        disk.full.clear()
        dashboard.told.wait_finished("id-0", "id-1")
    assert lines(effect) == ["ran0", "ran1"]
    assert [event.id for event in dashboard.told.events] == [
        "id-0/started",
        "id-0/finished",
        "id-1/started",
        "id-1/finished",
    ]


def test_a_queue_that_fails_is_begun_anew_and_runs_nothing_twice(
    tmp_path: Path, dashboard: InMemoryDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    effect = tmp_path / "effect"
    started = JobQueueActor._started
    failures = iter([True, True])

    def fail_twice(self: JobQueueActor, *arguments: object) -> None:
        if next(failures, False):
            raise ZeroDivisionError("a bug")
        started(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(JobQueueActor, "_started", fail_twice)
    with agent_in(tmp_path / "agent", dashboard) as agent:
        agent.initiate([initiation(n, f"echo ran{n} >> {effect}; sleep 0.1", job="same") for n in range(2)])
        ends = dashboard.told.wait_finished("id-0", "id-1")
    assert [end.successful for end in ends.values()] == [True, True]
    assert lines(effect) == ["ran0", "ran1"]


def test_an_order_that_fails_its_queue_again_and_again_is_given_up_and_the_next_goes_on(
    tmp_path: Path, dashboard: InMemoryDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = JobQueueActor._begin_anew

    def fail(self: JobQueueActor, order: object) -> None:
        if self._orders[0].id == "id-0":
            raise ZeroDivisionError("a bug")
        begin(self, order)  # type: ignore[arg-type]

    monkeypatch.setattr(JobQueueActor, "_begin_anew", fail)
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(n, job="same") for n in range(2)])
        ends = dashboard.told.wait_finished("id-0", "id-1")
    assert "a bug" in (ends["id-0"].details or "")
    assert (ends["id-0"].successful, ends["id-1"].successful) == (False, True)


def test_a_queue_that_fails_when_there_are_no_descriptors_left_is_begun_anew_once_there_are(
    tmp_path: Path, dashboard: InMemoryDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, recover = JobQueueActor._started, Launcher.recover
    failures = iter([True])
    scarce = iter([True, True])

    def fail(self: JobQueueActor, *arguments: object) -> None:
        if next(failures, False):
            raise ZeroDivisionError("a bug")
        started(self, *arguments)  # type: ignore[arg-type]

    def find_out(self: Launcher, initiation_id: str) -> Recovered:
        if next(scarce, False):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return recover(self, initiation_id)

    monkeypatch.setattr(JobQueueActor, "_started", fail)
    monkeypatch.setattr(Launcher, "recover", find_out)
    effect = tmp_path / "effect"
    with agent_in(tmp_path / "agent", dashboard) as agent:
        agent.initiate([initiation(n, f"echo ran{n} >> {effect}", job="same") for n in range(2)])
        ends = dashboard.told.wait_finished("id-0", "id-1")
        check_nothing_is_left(agent)
    assert [end.successful for end in ends.values()] == [True, True]
    assert lines(effect) == ["ran0", "ran1"]


def test_an_order_that_is_given_up_while_its_command_runs_keeps_its_marker_and_holds_up_nobody(
    tmp_path: Path, dashboard: InMemoryDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, effect = tmp_path / "gate", tmp_path / "effect"
    started = JobQueueActor._started

    def fail(self: JobQueueActor, *arguments: object) -> None:
        if self._orders[0].id == "id-0":
            raise ZeroDivisionError("a bug")
        started(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(JobQueueActor, "_started", fail)
    with agent_in(tmp_path / "agent", dashboard) as agent:
        script = f"until [ -e {gate} ]; do sleep 0.01; done; echo ran >> {effect}"
        agent.initiate([initiation(0, script, job="same"), initiation(1, job="same")])
        ends = dashboard.told.wait_finished("id-0", "id-1")
        assert (ends["id-0"].successful, ends["id-1"].successful) == (False, True)
        check_nothing_is_left(agent)
        assert len(list((tmp_path / "agent" / "runs").glob("*.run"))) == 1, "it could be started once more"
        agent.initiate([initiation(2)])
        dashboard.told.wait_finished("id-2")
        check_nothing_is_left(agent)
        gate.touch()
        wait_until(lambda: lines(effect) == ["ran"])


def test_a_kill_that_comes_while_a_queue_begins_anew_is_not_answered_as_if_there_were_nothing_to_kill(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(1, "sleep 60")])
        dashboard.told.wait_for(lambda events: len(events) == 1)
        (queue,) = agent._queues._queues.values()
        queue.actor.stop()
        with pytest.raises(TimeoutError):
            agent.kill("id-1", force=True)
        agent._queues._failed(queue_key(agent), ZeroDivisionError("a bug"))
        assert agent.kill("id-1", force=True)
        assert dashboard.told.wait_finished("id-1")["id-1"].killed
        assert not agent.kill("id-1", force=True)


def queue_key(agent: Agent) -> QueueKey:
    (key,) = agent._queues._queues
    return key


def test_ten_thousand_orders_of_one_job_at_once_are_taken_in_a_time_that_grows_with_their_number(
    tmp_path: Path,
) -> None:
    seconds = {}
    for number in (1_000, 10_000):
        log, _ = SegmentLog.open(tmp_path / str(number))
        accepted: list[Accepted] = []
        intake = Intake(log, accepted.extend)
        orders = [initiation(n, job="same") for n in range(number)]
        began = time.perf_counter()
        intake.accept(orders, 5_000, reports_after=0)
        seconds[number] = time.perf_counter() - began
        log.close()
        assert [each.accepted_at for each in accepted] == list(range(5_000, 5_000 + number))
    assert seconds[10_000] < 50 * seconds[1_000], seconds


def test_orders_of_one_job_keep_times_of_their_own_and_follow_a_clock_that_is_set_back(
    tmp_path: Path,
) -> None:
    log, _ = SegmentLog.open(tmp_path)
    accepted: list[Accepted] = []
    intake = Intake(log, accepted.extend)
    hour = 3_600_000
    for number, at in enumerate((2 * hour, 2 * hour, 2 * hour + 1, hour, hour, 3 * hour)):
        intake.accept([initiation(number, job="same"), initiation(f"beside-{number}")], at, reports_after=0)
    log.close()
    same = [each.accepted_at for each in accepted if each.initiation.job == "same"]
    assert same == [2 * hour, 2 * hour + 1, 2 * hour + 2, hour, hour + 1, 3 * hour]


def test_what_a_full_disk_does_not_note_as_delivered_keeps_nothing_else_from_being_delivered(
    tmp_path: Path, dashboard: InMemoryDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = threading.Event()
    acknowledge = SegmentLog.acknowledge

    def refuse(log: SegmentLog, positions: Iterable[int]) -> None:
        if full.is_set() and log.directory.name == "outbound":
            raise LogFull("no space")
        acknowledge(log, positions)

    monkeypatch.setattr(SegmentLog, "acknowledge", refuse)
    with agent_in(tmp_path, dashboard) as agent:
        full.set()
        for number in range(3):
            agent.initiate([initiation(number)])
            dashboard.told.wait_finished(f"id-{number}")
            wait_until(lambda: agent.snapshots()[0]["last_error"] == "no space")
        full.clear()
        check_nothing_is_left(agent)
    expected = [f"id-{number}/{what}" for number in range(3) for what in ("started", "finished")]
    assert [event.id for event in dashboard.told.events] == expected


def test_a_dashboard_without_ids_can_send_the_same_order_again_only_once_it_is_finished(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    gate = tmp_path / "gate"
    order = initiation("none", f"until [ -e {gate} ]; do sleep 0.01; done")
    ends: list[ProcessEvent] = []
    with agent_in(tmp_path / "agent", dashboard) as agent:
        for _ in range(3):
            assert agent.initiate_unnamed(order) is None
        assert len(agent.runs()) == 1
        gate.touch()
        dashboard.told.wait_for(lambda events: len(events) == 2)
        wait_until(lambda: not agent.runs())
        assert agent.initiate_unnamed(order) is None
        ends = dashboard.told.wait_for(lambda events: len(events) == 4)
    assert len({event.initiation_id for event in ends}) == 2


def test_an_agent_announces_itself_until_and_after_it_is_heard(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    dashboard.away.set()
    with agent_in(tmp_path, dashboard, heartbeat_seconds=0.02):
        wait_until(lambda: dashboard.questions > 1)
        dashboard.away.clear()
        wait_until(lambda: len(dashboard.announcements) > 2)
    announced = dashboard.announcements[0]
    assert (announced.name, announced.url, announced.version) == (AGENT, "http://127.0.0.1:1", "test")


def test_an_agent_that_is_heard_again_asks_at_once_what_is_active(dashboard: InMemoryDashboard) -> None:
    """Until it knows nothing fires; by then it may ask only every half minute."""
    alarms = ManualTime(0)
    answered = threading.Event()
    dashboard.away.set()
    actor = RegistrationActor.start(
        client=dashboard,
        announcement=lambda: Announcement(name=AGENT, url="", version="", host=""),
        begin_asking=lambda: 0,
        on_instances=lambda _instances, _mark: answered.set(),
        on_heard=lambda: None,
        alarms=alarms,
        clock=alarms,
        heartbeat_ms=1,
    )
    try:
        wait_until(
            lambda: {("registration", "heartbeat"), ("registration", "instances")} <= alarms.alarms.keys()
        )
        del alarms.alarms["registration", "instances"]
        dashboard.away.clear()
        alarms.move_to(1)
        assert answered.wait(WAIT_SECONDS)
    finally:
        actor.stop()


def test_two_thousand_skipped_orders_of_one_job_pass_through_one_queue(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    orders = [initiation(n, job="same", skipped=True) for n in range(2_000)]
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate(orders)
        events = dashboard.told.wait_for(lambda events: len(events) == 4_000)
        check_nothing_is_left(agent)
    assert [event.initiation_id for event in events[::2]] == [order.id for order in orders]


def check_nothing_is_left(agent: Agent) -> None:
    wait_until(lambda: agent._intake.size == 0 and agent._reports.size == 0)
    assert agent.runs() == []
    assert agent._queues._queues == {}
    assert agent._queues._keys == {}
    assert agent._slots.held == 0


def test_what_is_not_begun_when_an_agent_stops_is_begun_by_the_next_and_not_given_up(
    tmp_path: Path, dashboard: InMemoryDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[BaseException | None] = []
    on_failure = JobQueueActor.on_failure
    monkeypatch.setattr(
        JobQueueActor,
        "on_failure",
        lambda self, kind, error, trace: (failed.append(error), on_failure(self, kind, error, trace)),
    )
    with agent_in(tmp_path, dashboard) as agent:
        agent._launcher.close()
        assert agent.initiate([initiation(1, f"echo ran >> {tmp_path}/ran")]) == [None]
        wait_until(lambda: [row.phase.value for row in agent.runs()] == ["starting"])
        agent.snapshots()
    assert failed == []
    assert dashboard.told.events == []
    with agent_in(tmp_path, dashboard):
        finished = dashboard.told.wait_finished("id-1")["id-1"]
    assert finished.successful
    assert lines(tmp_path / "ran") == ["ran"]
