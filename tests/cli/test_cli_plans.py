"""``jobledger plan`` against a real dashboard."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result
from jobledger.cli.main import cli
from real_dashboard import dashboard_on_a_port

Run: TypeAlias = Callable[..., Result]

PLAN = """\
plan: nightly
agent: host
parameters: {day: today}
jobs:
  load: {command: ./load.sh}
  check: {command: ./check.sh, after: load}
contexts:
  reports:
    jobs:
      print: {command: ./print.sh, after: [load, check]}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dashboard_on_a_port(tmp_path_factory.mktemp("dashboard")) as address:
        yield address


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JOBLEDGER_URL", url)
    monkeypatch.delenv("JOBLEDGER_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, prog_name="jobledger")

    return invoke


@pytest.fixture
def push(run: Run, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Pushes the plan under a name of the test's own, with texts in it replaced; returns the name."""
    name = request.node.name[5:60]

    def pushed(**replaced: str) -> str:
        text = PLAN.replace("plan: nightly", f"plan: {name}")
        for old, new in replaced.items():
            text = text.replace(old, new)
        (tmp_path / "plan.yaml").write_text(text)
        result = run("plan", "push", "plan.yaml")
        assert result.exit_code == 0, result.output
        return name

    return pushed


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


# --- versions -----------------------------------------------------------------------------------------------


def test_a_diff_tells_each_change_on_a_line(run: Run, push: Callable[..., str]) -> None:
    push()
    name = push(
        **{
            "./load.sh}": "./load.sh --all}",
            "after: [load, check]": "after: {any: [load, check]}",
            "day: today": "day: today, zone: ",
        }
    )
    assert run("plan", "diff", name).output.splitlines() == [
        f"+ parameter zone of context {name} nothing",
        (
            "~ host-print in context reports starts after host-load and host-check"
            " -> after host-load or host-check"
        ),
        "~ job host-load command_line: ./load.sh -> ./load.sh --all",
    ]
    assert [each["what"] for each in as_json(run("plan", "diff", name, "--json"))["changes"]] == [
        "parameter",
        "dependency",
        "job",
    ]


def test_a_diff_backwards_and_one_with_itself(run: Run, push: Callable[..., str]) -> None:
    push()
    name = push(**{"  check: {command: ./check.sh, after: load}\n": "", "[load, check]": "load"})
    described = as_json(run("plan", "show", name, "--version", "1", "--json"))["plan"]["jobs"][1]
    described = json.dumps(described, separators=(",", ":"))
    assert run("plan", "diff", name, "--from", "2", "--to", "1").output.splitlines() == [
        f"+ host-check in context {name}",
        f"+ host-check in context {name} starts after host-load",
        "+ host-check in context reports",
        "~ host-print in context reports starts after host-load -> after host-load and host-check",
        f"+ job host-check: {described}",
    ]
    same = run("plan", "diff", name, "--from", "1", "--to", "1").output
    assert same == f"{name}: nothing changed from version 1 to 1\n"


def test_a_version_that_is_not_there_has_no_diff(run: Run, push: Callable[..., str]) -> None:
    name = push()
    result = run("plan", "diff", name, "--from", "1", "--to", "7")
    assert result.exit_code == 5
    assert "no version 7" in result.output
    assert run("plan", "diff", "no such plan").exit_code == 5


def test_a_dry_push_tells_the_changes_and_makes_none(
    run: Run, push: Callable[..., str], tmp_path: Path
) -> None:
    name = push()
    text = (tmp_path / "plan.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text.replace("./check.sh", "./check.sh -v"))
    result = run("plan", "push", "--dry-run", "other.yaml")
    assert "~ job host-check command_line: ./check.sh -> ./check.sh -v" in result.output.splitlines()
    assert f"{name} would become version 2" in result.output
    assert as_json(run("plan", "show", name, "--json"))["version"] == 1


def test_the_versions_are_listed_newest_first_with_who_made_them(run: Run, push: Callable[..., str]) -> None:
    push()
    name = push(today="tomorrow")
    rows = as_json(run("plan", "versions", name, "--json"))
    assert [(row["version"], row["pushed_by"], row["command"]) for row in rows] == [
        (2, "anonymous", "PlanPushed"),
        (1, "anonymous", "PlanPushed"),
    ]
    assert run("plan", "versions", name).output.splitlines()[1].split()[0] == "2"
