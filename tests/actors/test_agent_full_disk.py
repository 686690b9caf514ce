"""An agent whose disk has no room for a command: what was accepted waits, and runs once there is."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_rig import AgentProcess, InMemoryDashboard, StandInDashboard, agent_in, initiation, wire
from jobledger.actors.agent.agent import Agent
from jobledger.actors.agent.orders import Phase
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import CommandJob
from jobledger.storage.segment_log import LogFull, SegmentLog
from small_disk import fill, small_disk

WAIT_SECONDS = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data directory with a small file system for what belongs to commands; the logs have room."""
    with small_disk(tmp_path / "agent" / "runs"):
        yield tmp_path / "agent"


@pytest.fixture
def dashboard() -> InMemoryDashboard:
    return InMemoryDashboard()


@pytest.fixture
def stand_in() -> Iterator[StandInDashboard]:
    dashboard = StandInDashboard()
    yield dashboard
    dashboard.close()


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        threading.Event().wait(0.01)


def all_wait(agent: Agent, number: int) -> Callable[[], bool]:
    return lambda: [row.phase for row in agent.runs()] == [Phase.NO_ROOM] * number


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def ends(events: list[ProcessEvent]) -> list[str]:
    return [event.initiation_id or "" for event in events if not event.starting]


def test_ten_jobs_that_find_no_room_wait_and_each_runs_once_when_there_is(
    folder: Path, tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    effects = tmp_path / "effects"
    names = [f"id-{number}" for number in range(10)]
    with agent_in(folder, dashboard) as agent:
        ballast = fill(folder / "runs")
        assert agent.initiate([initiation(n, f"echo id-{n} >> {effects}") for n in range(10)]) == [None] * 10
        wait_until(all_wait(agent, 10))
        shortage = agent.shortage
        assert shortage is not None
        assert (shortage.waiting, shortage.reason) == (
            10,
            "cannot prepare to start: No space left on device",
        )
        assert dashboard.told.events == [], "told of something that has not happened"
        wait_until(lambda: dashboard.announcements[-1].queued == 10)
        (problem,) = dashboard.announcements[-1].problems
        assert problem.startswith("no room on its disk since ")
        assert problem.endswith(f"Z, 10 initiations wait: {shortage.reason}")
        ballast.unlink()
        finished = dashboard.told.wait_finished(*names)
        wait_until(lambda: not agent.runs())
        assert agent.shortage is None
        wait_until(lambda: dashboard.announcements[-1].problems == ())
    assert sorted(lines(effects)) == names
    assert all(event.successful for event in finished.values())
    assert sorted(event.id or "" for event in dashboard.told.events) == sorted(
        f"{name}/{what}" for name in names for what in ("started", "finished")
    )


def test_initiations_of_one_job_keep_their_order_over_a_full_disk(
    folder: Path, tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    effects = tmp_path / "effects"
    with agent_in(folder, dashboard, max_jobs=1) as agent:
        ballast = fill(folder / "runs")
        agent.initiate([initiation(n, f"echo {n} >> {effects}", job="same") for n in range(4)])
        agent.initiate([initiation("beside", f"echo beside >> {effects}")])
        wait_until(lambda: agent.shortage is not None)
        ballast.unlink()
        dashboard.told.wait_finished("id-3", "id-beside")
    assert [each for each in lines(effects) if each != "beside"] == ["0", "1", "2", "3"]


def test_what_can_never_start_ends_in_error_when_there_is_room_and_holds_up_nobody(
    folder: Path, tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    template = CommandJob(
        agent="host", name="job0", command_line="true", working_directory=str(tmp_path / "nowhere")
    )
    with agent_in(folder, dashboard) as agent:
        ballast = fill(folder / "runs")
        agent.initiate([initiation(0, template=template)])
        wait_until(all_wait(agent, 1))
        agent.initiate([initiation(n) for n in range(1, 5)])
        wait_until(all_wait(agent, 5))
        ballast.unlink()
        finished = dashboard.told.wait_finished(*(f"id-{n}" for n in range(5)))
    assert "No such file or directory" in (finished["id-0"].details or "")
    assert [finished[f"id-{n}"].successful for n in range(5)] == [False, True, True, True, True]


def test_one_that_is_killed_while_it_waits_for_room_never_runs_and_the_next_of_its_job_does(
    folder: Path, tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    effects = tmp_path / "effects"
    with agent_in(folder, dashboard) as agent:
        ballast = fill(folder / "runs")
        agent.initiate([initiation(n, f"echo {n} >> {effects}", job="same") for n in range(2)])
        wait_until(lambda: agent.shortage is not None)
        assert agent.kill("id-0", force=False)
        killed = dashboard.told.wait_finished("id-0")["id-0"]
        assert (killed.killed, killed.successful, killed.details) == (
            True,
            False,
            "killed before it was started",
        )
        assert not agent.kill("id-0", force=False), "there is nothing left to end"
        ballast.unlink()
        dashboard.told.wait_finished("id-1")
    assert lines(effects) == ["1"]
    assert ends(dashboard.told.events) == ["id-0", "id-1"]


def test_a_kill_that_is_not_on_disk_yet_is_not_answered_well_and_holds_all_the_same(
    folder: Path, tmp_path: Path, dashboard: InMemoryDashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Answered well and forgotten by a crash, the command would run although somebody was told it would not.
    full = threading.Event()
    append_many = SegmentLog.append_many

    def append(log: SegmentLog, payloads: list[object]) -> list[int]:
        if full.is_set() and log.directory.name == "outbound":
            raise LogFull("no space")
        return append_many(log, payloads)

    monkeypatch.setattr(SegmentLog, "append_many", append)
    effects = tmp_path / "effects"
    with agent_in(folder, dashboard) as agent:
        ballast = fill(folder / "runs")
        agent.initiate([initiation(n, f"echo {n} >> {effects}", job="same") for n in range(3)])
        wait_until(lambda: agent.shortage is not None)
        full.set()
        for name in ("id-0", "id-1", "id-0", "id-1"):
            with pytest.raises(LogFull):
                agent.kill(name, force=True)
        ballast.unlink()
        full.clear()
        dashboard.told.wait_finished("id-0", "id-1", "id-2")
        wait_until(lambda: not agent.kill("id-0", force=True))
    assert lines(effects) == ["2"]


def test_an_initiation_whose_secrets_find_no_room_is_refused_and_taken_when_it_comes_again(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    order = initiation(
        1, 'test "$PASSWORD" = s3cret', parameters={"PASSWORD": "s3cret"}, secrets=("PASSWORD",)
    )
    with (
        small_disk(tmp_path / "agent", "size=512k") as data,
        agent_in(data, dashboard) as agent,
    ):
        ballast = fill(data)
        with pytest.raises(OSError, match="No space left"):
            agent.initiate([order])
        assert agent.runs() == []
        ballast.unlink()
        assert agent.initiate([order]) == [None]
        assert dashboard.told.wait_finished("id-1")["id-1"].successful


def test_an_agent_that_is_killed_while_jobs_wait_runs_each_once_when_it_is_back_and_there_is_room(
    folder: Path, tmp_path: Path, stand_in: StandInDashboard
) -> None:
    effects = tmp_path / "effects"
    names = [f"id-{number}" for number in range(10)]
    agent = AgentProcess(tmp_path, stand_in.url)
    with agent:
        ballast = fill(folder / "runs")
        for number in range(10):
            order = wire(number, f"echo id-{number} >> {effects}")
            assert agent.request("PUT", "/rest/schedulerJobInitiation", order)[0] == 200
        wait_until(lambda: waiting(agent) == 10)
        status, ready = agent.request("GET", "/health/ready")
        assert (status, ready["status"]) == (200, "ready")
        assert ready["waiting_for_disk_space"].keys() == {"initiations", "since"}, "everybody may read it"
        runs = agent.request("GET", "/api/v1/runs")[1]["items"]
        assert [run["status"] for run in runs] == ["waiting for disk space"] * 10
        agent.end(signal.SIGKILL)
        agent.start()
        wait_until(lambda: waiting(agent) == 10)
        agent.end(signal.SIGKILL)
        ballast.unlink()
        agent.start()
        events = stand_in.wait_finished(*names)
        wait_until(lambda: agent.request("GET", "/api/v1/runs")[1]["items"] == [])
        assert agent.request("GET", "/health/ready")[1] == {"status": "ready"}
    assert sorted(lines(effects)) == names
    assert sorted(event["id"] for event in events) == sorted(
        f"{name}/{what}" for name in names for what in ("started", "finished")
    )
    log = (tmp_path / "agent.log").read_text()
    assert "no room on the disk: initiations wait" in log
    assert "Traceback" not in log


def waiting(agent: AgentProcess) -> int:
    told: dict[str, Any] = agent.request("GET", "/health/ready")[1]
    return int(told.get("waiting_for_disk_space", {"initiations": 0})["initiations"])


def test_an_agent_that_stops_while_jobs_wait_for_room_stops_at_once_and_the_next_one_runs_them(
    folder: Path, tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    effects = tmp_path / "effects"
    with agent_in(folder, dashboard) as agent:
        ballast = fill(folder / "runs")
        agent.initiate([initiation(1, f"echo ran >> {effects}")])
        wait_until(all_wait(agent, 1))
        began = time.monotonic()
    assert time.monotonic() - began < WAIT_SECONDS / 3
    ballast.unlink()
    with agent_in(folder, dashboard):
        dashboard.told.wait_finished("id-1")
    assert lines(effects) == ["ran"]
