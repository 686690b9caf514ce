"""``jobledger plan`` against a real dashboard."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from command_line import Run, command_line
from real_dashboard import dashboard_on_a_port

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
    monkeypatch.chdir(tmp_path)
    return command_line(url, monkeypatch, tmp_path)


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
        *(f"+ parameter zone of job host-{job} nothing" for job in ("load", "check", "print")),
    ]
    assert [each["what"] for each in as_json(run("plan", "diff", name, "--json"))["changes"]] == [
        "parameter",
        "dependency",
        "job",
        *("parameter" for _job in ("load", "check", "print")),
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


# --- exports and tokens -------------------------------------------------------------------------------------


def tokens_file(tmp_path: Path, name: str, text: str) -> str:
    (tmp_path / name).write_text(text)
    return name


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tokens", "# of production\nagent.name = other = host\n\n[[env.name]]=TEST\n"),
        ("tokens.properties", "agent.name=other = host\nenv.name=TEST"),
        ("tokens.toml", 'agent.name = "other = host"\n[env]\nname = "TEST"\n'),
        ("tokens.json", '{"agent.name": "other = host", "env": {"name": "TEST"}}'),
    ],
)
def test_an_export_with_tokens_is_pushed_elsewhere_with_a_file_of_their_values(
    run: Run, push: Callable[..., str], tmp_path: Path, file: str, text: str
) -> None:
    name = push()
    assert run("plan", "export", name, "--tokens", "-o", "plan.zip").exit_code == 0

    result = run("plan", "push", "plan.zip", "--tokens", tokens_file(tmp_path, file, text))

    assert result.exit_code == 0, result.output
    there = as_json(run("plan", "show", f"{name.rpartition('_')[0]}_TEST", "--json"))["plan"]
    assert {job["agent"] for job in there["jobs"]} == {"other = host"}


def test_a_bundle_with_a_token_left_is_not_pushed(run: Run, push: Callable[..., str], tmp_path: Path) -> None:
    name = push()
    run("plan", "export", name, "--tokens", "-o", "plan.zip")
    for options in ((), ("--tokens", tokens_file(tmp_path, "tokens", "env.name = TEST"))):
        for command in ("push", "validate"):
            result = run("plan", command, "plan.zip", *options)
            assert result.exit_code == 1
            assert "the token [[agent.name]] is left; give a value for agent.name" in result.output
    assert run("plan", "show", f"{name.rpartition('_')[0]}_TEST").exit_code == 5


def test_a_bundle_in_json_takes_values_for_its_tokens_too(run: Run, tmp_path: Path) -> None:
    document = {"contextTemplate": {"name": "json_[[env.name]]"}}
    (tmp_path / "plan.json").write_text(json.dumps(document))
    file = tokens_file(tmp_path, "tokens", "env.name = PROD")
    assert run("plan", "push", "plan.json", "--tokens", file).exit_code == 0
    assert run("plan", "show", "json_PROD").exit_code == 0


def test_what_older_exports_with_tokens_damage_is_told_once_their_tokens_are_filled_in(
    run: Run, tmp_path: Path
) -> None:
    listed = {"agentName": "[[agent.name]]", "jobName": "a", "identifier": "[[agent.name]]-a"}
    dependency = {"jobIdentifier": "[[agent.name]]-a", "logicalGrouping": {"and": ["[[agent.name]]-a"]}}
    context = {"name": "damaged", "scheduledJobs": [listed], "jobDependencies": [dependency]}
    with zipfile.ZipFile(tmp_path / "plan.zip", "w") as archive:
        archive.writestr("1-damaged/context/damaged.json", json.dumps(context))
        archive.writestr("1-damaged/jobs/internal/a.json", json.dumps({**listed, "commandLine": "true"}))
    file = tokens_file(tmp_path, "tokens", "agent.name = host")

    for command in ("validate", "push"):
        result = run("plan", command, "plan.zip", "--tokens", file)
        assert result.exit_code == 0, result.output
        assert "depended on itself alone" in result.output


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("tokens", "agent.name", "line 1 is not NAME = VALUE"),
        ("tokens", "a.b = 1\na.b = 2", "line 2 gives a.b a second time"),
        ("tokens.json", "[1]", "it holds no names"),
        ("tokens.json", '{"a": {"b": 5}}', "the value of a.b is no text"),
        ("tokens.json", '{"a": null}', "a has no value"),
        ("tokens.json", "{", "does not read"),
        ("tokens.json", '{"a":' * 100_000, "does not read"),
        ("tokens.toml", "a = ", "does not read"),
    ],
)
def test_a_file_of_tokens_that_does_not_read_says_what_is_wrong(
    run: Run, tmp_path: Path, file: str, text: str, words: str
) -> None:
    (tmp_path / "plan.json").write_text('{"contextTemplate": {"name": "x"}}')
    result = run("plan", "push", "plan.json", "--tokens", tokens_file(tmp_path, file, text))
    assert result.exit_code == 1
    assert words in result.output


def test_a_file_of_tokens_that_is_missing_or_no_text_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"contextTemplate": {"name": "x"}}')
    assert run("plan", "push", "plan.json", "--tokens", "missing").exit_code == 5
    (tmp_path / "tokens").write_bytes(b"\xff")
    result = run("plan", "push", "plan.json", "--tokens", "tokens")
    assert (result.exit_code, "not UTF-8" in result.output) == (1, True)


def test_a_plan_file_takes_no_tokens(run: Run, push: Callable[..., str], tmp_path: Path) -> None:
    push()
    result = run("plan", "push", "plan.yaml", "--tokens", tokens_file(tmp_path, "tokens", "a.b = c"))
    assert (result.exit_code, "those have no tokens" in result.output) == (1, True)


def test_a_split_export_and_one_of_an_older_version_are_written(
    run: Run, push: Callable[..., str], tmp_path: Path
) -> None:
    push()
    name = push(today="tomorrow")
    assert run("plan", "export", name, "--split", "--version", "1", "-o", "plan.zip").exit_code == 0
    with zipfile.ZipFile(tmp_path / "plan.zip") as archive:
        assert any(each.endswith(f"context/{name}/reports.json") for each in archive.namelist())
    assert run("plan", "push", "plan.zip").exit_code == 0
    same = run("plan", "diff", name, "--from", "1", "--to", "3").output
    assert same.splitlines() == [f"~ document context/{name}.json", f"+ document context/{name}/reports.json"]


# --- how new instances start --------------------------------------------------------------------------------


def test_a_job_is_held_and_released_in_a_plan(run: Run, push: Callable[..., str]) -> None:
    name = push()
    held = run("plan", "hold", name, "load", "--reason", "moving the disks")
    assert held.output == f"host-load starts held in {name}, reports, from version 2 of {name} on\n"
    again = run("plan", "hold", name, "host-load")
    assert again.output == f"host-load starts held in {name}, reports already: version 2 of {name}\n"
    one = run("plan", "release", name, "load", "--context", "reports")
    assert one.output == f"host-load starts held in {name}, from version 3 of {name} on\n"
    rest = run("plan", "release", name, "load")
    assert rest.output == f"host-load starts neither held nor skipped, from version 4 of {name} on\n"
    assert as_json(run("plan", "versions", name, "--json"))[2]["reason"] == "moving the disks"


def test_a_job_is_skipped_and_enabled_in_a_plan(run: Run, push: Callable[..., str]) -> None:
    name = push()
    document = as_json(
        run("plan", "skip", name, "check", "--context", name, "--context", "reports", "--json")
    )
    assert document["skipped_in"] == [name, "reports"]
    assert as_json(run("plan", "enable", name, "check", "--json"))["skipped_in"] == []


def test_schedules_of_a_plan_are_disabled_and_enabled(run: Run, push: Callable[..., str]) -> None:
    name = push()
    assert run("plan", "schedules", name, "disable").output == (
        f"schedules of {name} start disabled from version 2 on\n"
    )
    assert run("plan", "schedules", name, "disable").output == (
        f"schedules of {name} start disabled already: version 2\n"
    )
    assert as_json(run("plan", "schedules", name, "enable", "--json"))["schedules_disabled"] is False


def test_a_job_that_a_plan_does_not_have_is_told(run: Run, push: Callable[..., str]) -> None:
    name = push()
    result = run("plan", "hold", name, "nothing")
    assert (result.exit_code, f"plan {name} has no job nothing" in result.output) == (5, True)
    assert run("plan", "hold", name, "load", "--context", "nowhere").exit_code == 5
    assert run("plan", "hold", "no such plan", "load").exit_code == 5


def test_a_name_that_two_agents_have_in_a_plan_is_not_guessed(run: Run, push: Callable[..., str]) -> None:
    name = push(**{"  check: {": "  other: {agent: b, name: load, command: x, after: load}\n  check: {"})
    result = run("plan", "hold", name, "load")
    assert result.exit_code == 2
    assert "b-load" in result.output
    assert run("plan", "hold", name, "b-load").exit_code == 0


# --- graphs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "begin"), [("text", ""), ("dot", "digraph"), ("mermaid", "flowchart")])
def test_a_plan_is_drawn_from_the_dashboard_and_from_its_file(
    run: Run, push: Callable[..., str], form: str, begin: str
) -> None:
    name = push()
    drawn = run("plan", "graph", name, "--format", form)
    assert drawn.exit_code == 0, drawn.output
    assert drawn.output.startswith(begin or name)
    assert run("plan", "graph", "--file", "plan.yaml", "--format", form).output == drawn.output


def test_a_graph_is_of_one_plan(run: Run) -> None:
    assert run("plan", "graph").exit_code == 2
    assert run("plan", "graph", "p", "--file", "plan.yaml").exit_code == 2
    assert run("plan", "graph", "no such plan").exit_code == 5
