"""``--json`` everywhere: every command that tells something tells it to scripts too, and nothing else."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from fake_dashboard import FakeDashboard, Reply, instance, job, page, with_nightly
from jobledger.cli.main import cli
from jobledger.storage.segment_log import SegmentLog
from real_dashboard import dashboard_on_a_port

WITHOUT = {
    ("dashboard",): "it serves; its one line is what those wait for who start it, its log is JSON",
    ("agent",): "as the dashboard",
    ("key", "renew"): "it is a filter: what it writes is the file that it read",
}
ELSEWHERE = {
    ("up",): "test_servers_up.py",
    ("demo",): "test_demo.py",
    ("instance", "watch"): "test_instance_watch.py",
    ("log", "read"): "test_cli_log.py",
}
"""Those that tell a document on each line as things happen, or run for long; tested there."""

PLAN = """\
plan: night
agent: host
start: {time_to_live: 1h}
locks:
  disk: {count: 1, jobs: [load]}
jobs:
  load: {command: ./load.sh, parameters: {DAY: today}}
  check: {command: ./check.sh, after: load}
  night is over: {event: global, after: check}
"""
INVALID = "plan: night\njobs: {check: {command: ./check.sh, agent: host, after: nobody}}\n"


def commands(
    command: click.Command = cli, path: tuple[str, ...] = (), above: click.Context | None = None
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, by the words that name it."""
    context = click.Context(command, info_name=path[-1] if path else "jobledger", parent=above)
    if not isinstance(command, click.Group):
        yield path, command
        return
    if command.invoke_without_command and path:
        yield path, command
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, (*path, name), context)


def takes_json(command: click.Command) -> bool:
    return any("--json" in option.opts for option in command.params)


def test_every_command_that_tells_something_takes_json() -> None:
    without = {path for path, command in commands() if not takes_json(command)}
    assert without == set(WITHOUT)


class Story:
    """Commands one after another, each with ``--json``, and which of them there were."""

    def __init__(self) -> None:
        self.told: set[tuple[str, ...]] = set()
        self._known = {path for path, _command in commands()}

    def run(self, *arguments: str, code: int = 0, given: str | None = None) -> Any:
        """The one document that the command prints."""
        result: Result = CliRunner().invoke(cli, [*arguments, "--json"], input=given, prog_name="jobledger")
        assert result.exit_code == code, f"{arguments}: {result.output}"
        self.told.add(self._named(arguments))
        return json.loads(result.stdout)

    def _named(self, arguments: Sequence[str]) -> tuple[str, ...]:
        words = tuple(arguments)
        return next(words[:count] for count in (2, 1) if words[:count] in self._known)


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("JOBLEDGER_TOKEN", raising=False)
    return Story()


def test_every_command_prints_one_document_of_json_and_nothing_else(
    story: Story, fake: FakeDashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dashboard_on_a_port(tmp_path / "dashboard") as url:
        monkeypatch.setenv("JOBLEDGER_URL", url)
        _of_plans(story, tmp_path)
        _of_instances(story)
        _of_jobs(story)
        _of_the_rest(story, tmp_path)
    _on_this_host(story, tmp_path)
    monkeypatch.setenv("JOBLEDGER_URL", fake.url)
    _of_what_only_a_stand_in_has(story, fake)

    assert {path for path, command in commands() if takes_json(command)} - story.told == set(ELSEWHERE)


def _of_plans(story: Story, folder: Path) -> None:
    file = folder / "night.yaml"
    file.write_text(INVALID)
    assert story.run("plan", "validate", str(file), code=1)["valid"] is False
    file.write_text(PLAN)
    assert story.run("plan", "validate", str(file))["valid"] is True
    assert story.run("plan", "push", str(file))["version"] == 1
    story.run("plan", "hold", "night", "check")
    story.run("plan", "release", "night", "check")
    story.run("plan", "skip", "night", "check")
    assert story.run("plan", "enable", "night", "check")["skipped_in"] == []
    story.run("plan", "schedules", "night", "disable")
    assert story.run("plan", "diff", "night")["to"] == 6
    assert len(story.run("plan", "versions", "night")) == 6
    assert [each["name"] for each in story.run("plan", "list")] == ["night"]
    assert story.run("plan", "show", "night")["version"] == 6
    assert story.run("plan", "graph", "night")["dependencies"][0]["after"] == ["host-load"]
    assert story.run("plan", "disable", "night")["facts"][0]["type"] == "PlanDisabled"
    assert story.run("plan", "enable", "night")["facts"][0]["type"] == "PlanEnabled"
    assert story.run("plan", "log", "night")[-1]["type"] == "PlanEnabled"
    story.run("plan", "export", "night", "-o", str(folder / "night.zip"))
    assert (folder / "night.zip").is_file()


def _of_instances(story: Story) -> None:
    started = story.run("instance", "start", "night")["instance_id"]
    assert [each["instance_id"] for each in story.run("instance", "list")] == [started]
    story.run("instance", "hold", "night")
    story.run("instance", "release", "night")
    story.run("instance", "skip", "night")
    story.run("instance", "enable", "night")
    story.run("instance", "set", "night", "DAY=tomorrow")
    story.run("instance", "schedules", "night", "on")
    story.run("instance", "keep", "night")
    position = story.run("instance", "show", "night")["position"]
    assert story.run("instance", "log", "night")[-1]["position"] == position
    assert story.run("instance", "audit", "night")[-1]["after"] == position
    assert story.run("instance", "end", "night")["facts"][-1]["type"] == "InstanceEnded"
    story.run("instance", "start", "night")
    assert story.run("instance", "reset", "night")["instance_id"] != started


def _of_jobs(story: Story) -> None:
    load = ("night", "load")
    story.run("job", "hold", *load)
    assert story.run("job", "why", *load)["blockers"][0]["kind"] == "held"
    story.run("job", "release", *load)
    story.run("job", "skip", "night", "check")
    story.run("job", "enable", "night", "check")
    story.run("job", "submit", *load)
    assert story.run("job", "show", *load)["initiated"] is True
    assert story.run("job", "parameters", *load)["items"][0]["name"] == "DAY"
    _report(story, successful=False, returnCode=3)
    story.run("job", "acknowledge", *load, "--ticket", "OPS-1")
    assert story.run("job", "dependants", *load)["dependants"][0]["identifier"] == "host-check"
    story.run("job", "fire-dependants", *load)
    story.run("job", "reset", *load)
    story.run("job", "submit", *load)
    _report(story, jobStarting=True, pid=4711)
    assert story.run("lock", "list")[0]["name"] == "disk"
    story.run("job", "kill", *load)
    story.run("lock", "reset", "disk")


def _report(story: Story, **more: Any) -> None:
    """Have the instance hear of ``load``, and wait until it has."""
    shown = story.run("instance", "show", "night")
    event = {"agentName": "host", "jobName": "load", "contextInstanceId": shown["instance_id"], **more}
    story.run("event", "send", "-", given=json.dumps(event))
    _as_soon_as_there_is(lambda: story.run("instance", "log", "night", "--after", str(shown["position"])))


def _as_soon_as_there_is(asked: Callable[[], Any]) -> Any:
    pause = threading.Event()
    for _ in range(1000):
        if answer := asked():
            return answer
        pause.wait(0.01)
    raise AssertionError("it was not heard of")


def _of_the_rest(story: Story, folder: Path) -> None:
    story.run("event", "send", "--global", "market closed")
    stray = {
        "agentName": "host",
        "jobName": "load",
        "contextInstanceId": "f" * 8 + "-0000-4000-8000-" + "0" * 12,
    }
    story.run("event", "send", "-", given=json.dumps(stray))
    (letter,) = _as_soon_as_there_is(lambda: story.run("dead-letter", "list"))
    story.run("dead-letter", "resubmit", str(letter["id"]))
    assert story.run("agent", "list") == []
    assert story.run("parameters", "list")["items"] == []
    assert story.run("parameters", "refresh")["items"] == []
    assert story.run("encrypt", given="hunter2")["token"]
    assert story.run("notification", "list") == []
    assert story.run("forecast") == []
    assert story.run("plan", "delete", "night", "--yes")["standing"] in {"DELETING", "DELETED"}


def _on_this_host(story: Story, folder: Path) -> None:
    keys = ("--key-file", str(folder / "keys"))
    assert story.run("key", "create", *keys)["keys"] == 1
    assert story.run("key", "rotate", *keys)["keys"] == 2
    accounts = ("--data-dir", str(folder / "dashboard"))
    assert story.run("user", "add", "you", "--role", "admin", *accounts)["name"] == "you"
    assert story.run("user", "list", *accounts)[0]["name"] == "you"
    story.run("user", "remove", "you", *accounts)
    assert story.run("log", "rebuild", *accounts)["instances"] == 3
    log, _report = SegmentLog.open(folder / "log")
    log.append({"what": "one record"})
    log.close()
    assert story.run("log", "repair", str(folder / "log"), str(folder / "mended"))["unreadable"] == []


def _of_what_only_a_stand_in_has(story: Story, fake: FakeDashboard) -> None:
    shown = instance(job("load", "COMPLETE"))
    with_nightly(fake, shown)
    output = f"/api/v1/instances/{shown['instance_id']}/contexts/nightly/jobs/host-load/log/stdout"
    fake.on("GET", output, lambda asked: Reply(b"" if int(asked.query["offset"]) else b"hello\n"))
    assert story.run("job", "output", "nightly", "load")["output"] == "hello\n"
    fake.on("POST", "/api/v1/notifications/1/resend", {"id": "1"})
    assert story.run("notification", "resend", "1") == [{"id": "1"}]
    fake.on("POST", "/api/v1/notifications/test", {"done": "sent"})
    assert story.run("notification", "test", "--to", "a@example.org") == {"done": "sent"}
    fake.on("GET", "/api/v1/plans", page())
    assert story.run("plan", "list") == []
