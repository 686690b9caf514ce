"""The demo keeps what it promises, says so when it does not, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_dashboard import INSTANCE_ID, FakeDashboard, Reply, page, serving
from jobledger.cli.client import Client
from jobledger.cli.demo_proof import Proof
from jobledger.cli.demo_run import Ran
from jobledger.cli.replaying import replayed_view
from jobledger.cli.settings import Connection
from jobledger.domain.plan import JobPlan
from jobledger.http.wire.plan_yaml import read_plan_text

PLAN = """
plan: small
agent: host
jobs:
  go: {event: local}
  load: {command: 'true', after: go}
"""
AT = "2026-03-01T02:00:0{}.000Z"


def facts() -> list[dict[str, Any]]:
    """The log of an instance of that plan that is COMPLETE."""
    told = [
        ("InstanceStarted", {"plan": "small", "plan_version": 1, "agents": ["host"]}),
        ("JobCompleted", {"job": "LOCAL_EVENT_JOB-go", "by_hand": True}),
        ("JobInitiated", {"job": "host-load", "initiation": 1, "agent": "host", "contexts": ["small"]}),
        ("JobStarted", {"job": "host-load", "initiation": 1, "fired_at": AT.format(4), "pid": 7}),
        (
            "JobCompleted",
            {"job": "host-load", "initiation": 1, "completed_at": AT.format(5), "return_code": 0},
        ),
    ]
    return [
        {"position": number, "at": AT.format(number), "type": name, "data": data, "cause": {}}
        for number, (name, data) in enumerate(told, 1)
    ]


def checks(
    tmp_path: Path, *, ran: str = "load", live: dict[str, Any] | None = None, outlived: bool = True
) -> dict[str, bool]:
    """What the proof says of a night; by default one in which all went well."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "ran").write_text(ran)
    (tmp_path / "plan.yaml").write_text(PLAN)
    plan: JobPlan = read_plan_text(PLAN)
    true = replayed_view(plan, INSTANCE_ID, facts())
    path = f"/api/v1/instances/{INSTANCE_ID}"
    with serving() as fake, Client(Connection(url=fake.url)) as client:
        _answer(fake, path, live or true, true)
        night = Ran(
            instance_id=INSTANCE_ID,
            survivors={"load": 7},
            outlived=("load",) if outlived else (),
            seconds=1.0,
        )
        return Proof(client, night, tmp_path / "plan.yaml", tmp_path).verdict().checks


def _answer(fake: FakeDashboard, path: str, live: dict[str, Any], past: dict[str, Any]) -> None:
    fake.on("GET", path, lambda asked: Reply(past if "at" in asked.query else live))
    fake.on("GET", path + "/log", page(*facts()))
    fake.on("GET", path + "/audit", page())


def broken(found: dict[str, bool]) -> list[str]:
    return [promise for promise, kept in found.items() if not kept]


def test_the_proof_is_content_with_a_night_in_which_all_went_well(tmp_path: Path) -> None:
    assert broken(checks(tmp_path)) == []


@pytest.mark.parametrize("ran", ["", "load load", "load stranger"])
def test_the_proof_sees_a_command_that_ran_not_once(tmp_path: Path, ran: str) -> None:
    [promise] = broken(checks(tmp_path, ran=ran))
    assert "exactly once" in promise


def test_the_proof_sees_a_live_state_that_the_log_does_not_give(tmp_path: Path) -> None:
    live = replayed_view(read_plan_text(PLAN), INSTANCE_ID, facts())
    live["root"]["jobs"][1]["return_code"] = 1
    assert len(broken(checks(tmp_path, live=live))) == 2


def test_the_proof_sees_an_instance_that_is_not_complete(tmp_path: Path) -> None:
    live = replayed_view(read_plan_text(PLAN), INSTANCE_ID, facts()[:4])
    assert "the instance is COMPLETE" in broken(checks(tmp_path, live=live))


def test_the_proof_sees_commands_that_died_with_their_agent(tmp_path: Path) -> None:
    [promise] = broken(checks(tmp_path, outlived=False))
    assert "lived on" in promise


def _demo(tmp_path: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "jobledger", "demo", *options],
        env={**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _left_behind(tmp_path: Path) -> list[str]:
    """Processes that know the directory in which a demo worked, and what is left in it."""
    left = [str(path) for path in tmp_path.iterdir()]
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(
            "jobledger-demo-" in each and str(tmp_path) in each for each in words
        ):
            left.append(" ".join(process.cmdline()))
    return left


def test_the_demo_keeps_every_promise_within_thirty_seconds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    began = time.monotonic()
    with _demo(tmp_path) as demo:
        told, _nothing = demo.communicate(timeout=90)
    assert demo.returncode == 0, told
    assert time.monotonic() - began < 30
    assert "SIGKILL to the agent" in told
    assert "BROKEN" not in told
    assert told.count("kept  ") == 5
    assert _left_behind(tmp_path) == []


def test_the_demo_tells_scripts_its_verdict_as_json(tmp_path: Path) -> None:
    with _demo(tmp_path, "--json") as demo:
        told, _nothing = demo.communicate(timeout=90)
    verdict = json.loads(told)
    assert verdict["good"] is True
    assert set(verdict["checks"].values()) == {True}
    assert verdict["audit"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_takes_its_servers_and_commands_with_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    with _demo(tmp_path) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "validate-trades" in line or "fetch-bonds" in line:
                break
        demo.send_signal(number)
        told, _nothing = demo.communicate(timeout=60)
    assert demo.returncode not in (0, None), told
    assert _left_behind(tmp_path) == []
