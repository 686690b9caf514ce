"""``jobledger plan disable``, ``enable``, ``delete``, ``log``, ``instance reset`` and ``forecast``."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Run, command_line
from real_dashboard import dashboard_on_a_port

PLAN = """\
plan: NAME
agent: host
start: {cron: "0 0 12 * * ?", zone: UTC, time_to_live: 4h}
jobs:
  load: {command: ./load.sh}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard_on_a_port(tmp_path_factory.mktemp("dashboard")) as address:
        yield address


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return command_line(url, monkeypatch, tmp_path)


@pytest.fixture
def plan(run: Run, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A plan with a clock, under a name of the test's own."""
    name = str(request.node.name[5:50])
    (tmp_path / "plan.yaml").write_text(PLAN.replace("NAME", name))
    result = run("plan", "push", "plan.yaml")
    assert result.exit_code == 0, result.output
    return name


def test_a_plan_is_disabled_and_enabled(run: Run, plan: str) -> None:
    assert run("plan", "disable", plan, "--reason", "month end").output == f"{plan} is disabled\n"
    assert run("plan", "disable", plan).output == f"{plan} is disabled already\n"
    assert "it is DISABLED" in run("plan", "show", plan).output
    refused = run("instance", "start", plan)
    assert refused.exit_code == 1
    assert "enable it first" in refused.output
    assert run("plan", "enable", plan).output == f"{plan} is enabled\n"
    assert run("instance", "start", plan).exit_code == 0


def test_enable_means_the_plan_without_a_job_and_the_job_with_one(run: Run, plan: str) -> None:
    def skipped() -> list[str]:
        (job,) = json.loads(run("plan", "show", plan, "--json").output)["plan"]["jobs"]
        return list(job.get("skipped_in", []))

    def standing() -> str:
        return str(json.loads(run("plan", "show", plan, "--json").output)["standing"])

    run("plan", "disable", plan)
    assert run("plan", "skip", plan, "load").exit_code == 0
    assert (standing(), skipped()) == ("DISABLED", [plan])

    assert f"version 3 of {plan}" in run("plan", "enable", plan, "load").output
    assert (standing(), skipped()) == ("DISABLED", [])

    run("plan", "skip", plan, "load")
    assert run("plan", "enable", plan).output == f"{plan} is enabled\n"
    assert (standing(), skipped()) == ("ENABLED", [plan])


def test_orders_about_a_plan_and_about_its_jobs_answer_as_json(run: Run, plan: str) -> None:
    told = json.loads(run("plan", "disable", plan, "--reason", "month end", "--json").output)
    assert [(each["type"], each["cause"]["reason"]) for each in told["facts"]] == [
        ("PlanDisabled", "month end")
    ]
    assert json.loads(run("plan", "disable", plan, "--json").output) == {
        "position": told["position"],
        "facts": [],
    }
    told = json.loads(run("plan", "enable", plan, "--json").output)
    assert [each["type"] for each in told["facts"]] == ["PlanEnabled"]
    told = json.loads(run("plan", "skip", plan, "load", "--json").output)
    assert (told["identifier"], told["skipped_in"], told["changed"]) == ("host-load", [plan], True)
    told = json.loads(run("plan", "enable", plan, "load", "--json").output)
    assert (told["identifier"], told["skipped_in"], told["changed"]) == ("host-load", [], True)


def test_an_order_that_is_not_for_a_plan_or_not_for_a_job_says_which_is_meant(run: Run, plan: str) -> None:
    refused = run("plan", "disable", plan, "load")
    assert refused.exit_code == 2
    assert f"jobledger plan skip {plan} load" in refused.output
    refused = run("plan", "enable", plan, "--context", plan)
    assert refused.exit_code == 2
    assert "name the JOB too" in refused.output
    for order in ("hold", "release", "skip"):
        assert run("plan", order, plan).exit_code == 2
    assert json.loads(run("plan", "show", plan, "--json").output)["version"] == 1


def test_a_plan_shows_its_next_start_and_what_is_prepared(run: Run, plan: str) -> None:
    shown = run("plan", "show", plan).output
    assert "next start 2026-09-22" in shown
    prepared = json.loads(run("plan", "show", plan, "--json").output)["prepared"]
    assert f"prepared as {prepared}" in shown
    assert "PREPARED" in run("instance", "show", prepared).output
    run("instance", "end", prepared)
    assert f"was called off: {prepared}" in run("plan", "show", plan).output


def test_the_name_of_a_plan_means_the_newest_instance_that_has_begun(
    run: Run, plan: str, tmp_path: Path
) -> None:
    prepared = json.loads(run("plan", "show", plan, "--json").output)["prepared"]
    assert prepared in run("instance", "show", plan, "--json").output
    started = run("instance", "start", plan).output.strip()
    assert started in run("instance", "show", plan, "--json").output
    for command in ("a", "b", "c", "d"):  # each push makes the prepared one anew
        (tmp_path / "plan.yaml").write_text(PLAN.replace("NAME", plan).replace("load.sh", command))
        assert run("plan", "push", "plan.yaml").exit_code == 0
    listed = json.loads(run("instance", "list", "--plan", plan, "--json").output)
    assert [each["instance_id"] for each in listed].index(started) == 5
    assert started in run("instance", "show", plan, "--json").output


def test_an_instance_that_ended_before_its_start_is_listed_without_one(run: Run, plan: str) -> None:
    prepared = json.loads(run("plan", "show", plan, "--json").output)["prepared"]
    run("instance", "end", prepared)
    (line,) = [
        each for each in run("instance", "list", "--plan", plan).output.splitlines() if prepared in each
    ]
    assert line.count("2026-09-2") == 1, "only its end"


def test_a_plan_is_deleted_and_its_log_stays(run: Run, plan: str) -> None:
    run("instance", "start", plan)
    assert run("plan", "delete", plan, "--reason", "gone").output == f"{plan} is deleted\n"
    assert plan not in run("plan", "list").output
    gone = run("plan", "show", plan)
    assert gone.exit_code == 5
    assert "was deleted" in gone.output
    log = run("plan", "log", plan).output
    for kind in (
        "PlanPushed",
        "NextPrepared",
        "InstanceDue",
        "PlanDeletionBegun",
        "NextDropped",
        "PlanDeleted",
    ):
        assert kind in log
    assert "reason=gone" in log
    assert len(json.loads(run("plan", "log", plan, "--after", "1", "--limit", "2", "--json").output)) == 2


def test_an_instance_is_reset(run: Run, plan: str) -> None:
    old = run("instance", "start", plan, "-p", "day=1", "--hold-commands").output.strip()
    assert json.loads(run("instance", "show", old, "--json").output)["counts"] == {"ON_HOLD": 1}
    fresh = run(
        "instance", "reset", plan, "--same-parameters", "-p", "desk=fx", "--reason", "again"
    ).output.strip()
    shown = json.loads(run("instance", "show", fresh, "--json").output)
    assert shown["parameters"] == {"day": "1", "desk": "fx"}
    assert shown["counts"] == {"WAITING": 1}
    assert json.loads(run("instance", "show", old, "--json").output)["end_reason"] == "reset"
    refused = run("instance", "reset", old)
    assert refused.exit_code == 1


def test_a_forecast_is_a_table(run: Run, plan: str) -> None:
    told = run("forecast", "--plan", plan, "--to", "2026-09-23T23:00:00Z").output.splitlines()
    assert told[0].split()[:3] == ["at", "what", "plan"]
    assert [line.split()[0] for line in told[1:]] == ["2026-09-22", "2026-09-23"]
    assert all(plan in line for line in told[1:])
    assert (
        run("forecast", "--plan", plan, "--to", "2026-09-22T11:00:00Z").output
        == "Nothing fires in that time.\n"
    )
    assert run("forecast", "--plan", "nobody").exit_code == 5
    assert run("forecast", "--to", "soon").exit_code == 1
