"""An operator's night on the command line, against a real dashboard."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result
from jobledger.cli.main import cli
from real_dashboard import dashboard_on_a_port

Run: TypeAlias = Callable[..., Result]

PLAN = """\
plan: night
agent: host
start: {time_to_live: 1h}
jobs:
  load: {command: ./load.sh, parameters: {DAY: today}}
  check: {command: ./check.sh, after: load}
contexts:
  reports:
    jobs:
      print: {command: ./print.sh, after: check}
      post: {command: ./post.sh, after: print}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("JOBLEDGER_TOKEN", raising=False)
    with dashboard_on_a_port(tmp_path / "dashboard") as url:
        monkeypatch.setenv("JOBLEDGER_URL", url)

        def invoke(*arguments: str, code: int = 0, given: str | None = None) -> Result:
            result = CliRunner().invoke(cli, arguments, input=given, prog_name="jobledger")
            assert result.exit_code == code, f"{arguments}: {result.output}"
            return result

        plan = tmp_path / "night.yaml"
        plan.write_text(PLAN)
        invoke("plan", "push", str(plan))
        invoke("instance", "start", "night")
        yield invoke


def report(run: Run, job: str, **more: Any) -> None:
    """What an agent would say, and that the instance has heard it."""
    shown = json.loads(run("instance", "show", "night", "--json").output)
    event = {
        "agentName": "host",
        "jobName": job,
        "contextInstanceId": shown["instance_id"],
        "contextName": "night",
        "successful": True,
        "returnCode": 0,
        **more,
    }
    run("event", "send", "-", given=json.dumps(event))
    pause = threading.Event()
    for _ in range(1000):
        log = run("instance", "log", "night", "--after", str(shown["position"]), "--json").output
        if json.loads(log):
            return
        pause.wait(0.01)
    raise AssertionError("the event was not heard")


def status(run: Run, job: str) -> str:
    shown = json.loads(run("instance", "show", "night", "--json").output)
    contexts = [shown["root"], *shown["root"]["contexts"]]
    (found,) = {each["status"] for where in contexts for each in where["jobs"] if each["name"] == job}
    return str(found)


def test_what_is_held_starts_when_it_is_released(run: Run) -> None:
    assert (
        run("job", "hold", "night", "check", "--reason", "books are open").output
        == "held host-check in night\n"
    )
    report(run, "load")
    assert status(run, "check") == "ON_HOLD"

    assert run("job", "release", "night", "check").output.splitlines() == [
        "released host-check in night",
        "  initiated: host-check",
    ]
    log = json.loads(run("instance", "log", "night", "--json").output)
    held = next(each for each in log if each["type"] == "JobHeld")
    assert held["cause"]["reason"] == "books are open"


def test_why_a_job_waits_leads_to_what_can_be_done_and_then_to_what_started_it(run: Run) -> None:
    run("job", "hold", "night", "check", "--reason", "books are open")
    report(run, "load")
    waiting = run("job", "why", "night", "post").output
    assert "What stands in the way\n  host-check: is held since" in waiting
    assert 'by anonymous: "books are open"' in waiting
    (step,) = [line.strip() for line in waiting.splitlines() if "Next:" in line]
    assert step == "Next: `jobledger job release night host-check`"

    run(*step.split("`")[1].split()[1:])
    assert "agent host has not taken it: it never announced" in run("job", "why", "night", "post").output
    report(run, "check")
    report(run, "print")
    lines = run("job", "why", "night", "post").output.splitlines()
    told = [
        line.split("  ")[-1].split(" ")[:2] for line in lines[lines.index("What it does comes from") + 1 :]
    ]
    assert told == [
        ["host-post", "was"],
        ["host-print", "completed,"],
        ["host-print", "was"],
        ["host-check", "completed,"],
        ["host-check", "was"],
        ["host-load", "completed,"],
    ]
    assert "+ host-check  COMPLETE" in run("job", "show", "night", "print").output


def test_a_running_job_is_not_submitted_but_killed(run: Run) -> None:
    run("job", "submit", "night", "load")
    report(run, "load", jobStarting=True, successful=False, pid=4711)

    refused = run("job", "submit", "night", "load", code=1)

    assert refused.output.splitlines() == [
        "jobledger: job host-load in context night is RUNNING",
        "Next: wait until it has ended, or `jobledger job kill night load`",
    ]
    assert run("job", "kill", "night", "load").output == "asked agent host to kill host-load in night\n"


def test_a_failure_is_acknowledged_its_dependants_fired_and_all_of_it_reset(run: Run) -> None:
    report(run, "load", successful=False, returnCode=3)
    assert run("job", "dependants", "night", "load").output.split() == [
        "job",
        "would",
        "be",
        "host-check",
        "initiated",
    ]
    told = run("job", "acknowledge", "night", "load", "--ticket", "OPS-1", "--reason", "known").output
    assert told == "acknowledged host-load in night\n"
    assert run("job", "fire-dependants", "night", "load").output.splitlines() == [
        "fired the dependants of host-load in night",
        "  initiated: host-check",
    ]
    report(run, "check")
    told = run("job", "reset", "night", "load", "--downstream", "--submit").output
    assert told.splitlines()[-1] == "  initiated: host-load"
    assert [status(run, job) for job in ("load", "check", "print")] == ["WAITING"] * 3


def test_a_context_is_skipped_and_passed_over(run: Run) -> None:
    told = run("instance", "skip", "night", "reports").output
    assert told == "skipped 2 jobs beneath reports: host-print, host-post\n"
    report(run, "load")
    report(run, "check")
    assert [status(run, job) for job in ("print", "post")] == ["SKIPPED_COMPLETE"] * 2
    assert run("instance", "enable", "night", "reports").output.startswith("enabled 2 jobs")


def test_everything_is_held_and_parameters_are_set_before_it_goes_on(run: Run) -> None:
    assert run("instance", "hold", "night").output.startswith("held 4 jobs beneath night")
    assert run("instance", "set", "night", "DAY=2026-03-01").output == "set DAY\n"
    assert run("instance", "release", "night").output.startswith("released 4 jobs beneath night")
    told = json.loads(run("job", "submit", "night", "load", "--json").output)
    assert told["facts"][0]["data"]["parameters"]["DAY"] == "2026-03-01"


def test_an_instance_is_kept_beyond_its_time_to_live(run: Run) -> None:
    assert json.loads(run("instance", "show", "night", "--json").output)["ends_at"] is not None
    assert run("instance", "keep", "night").output == "it goes on until you end it\n"
    assert json.loads(run("instance", "show", "night", "--json").output)["ends_at"] is None
    assert run("instance", "schedules", "night", "off").output == "schedules are off\n"


def test_an_ended_instance_takes_no_order_and_says_how_to_start_another(run: Run) -> None:
    run("instance", "end", "night")
    refused = run("job", "hold", "night", "load", code=1).output.splitlines()
    assert refused[-1] == "Next: `jobledger instance start night` starts a new one"
    assert "ended" in refused[0]
    assert run("instance", "hold", "night", code=1).output.startswith("jobledger: the instance has ended")
