"""``jobledger up`` and the servers it starts: ready, stopped, killed, and used from the command line."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import psutil
import pytest
from jobledger.cli.main import cli
from jobledger.storage.secret_keys import KeyFile
from webhook_server import WebhookServer

PLAN = """
plan: hello
agent: scheduler-agent
parameters: {NAME: world}
jobs:
  go: {event: local}
  greet: {command: 'echo "hello, $NAME"; test "$NAME" != nobody', after: go}
contexts:
  afterwards:
    jobs:
      wave: {command: 'echo "$NAME waves back"', after: greet}
"""


SECRETIVE = """
plan: nightly
agent: scheduler-agent
parameters: {REGION: nowhere}
jobs:
  load:
    command: 'test "$DB_PASSWORD" = sesame && echo "$REGION"'
    parameters: {REGION: , DB_PASSWORD: "TOKEN"}
"""


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBLEDGER_")}
    return {**kept, "HOME": str(tmp_path), **more}


def jobledger(tmp_path: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobledger", *arguments],
        env=environment(tmp_path, **more),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def up(tmp_path: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A running ``up`` and the address of its dashboard; nothing of it is left behind."""
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jobledger",
            "up",
            "--data-dir",
            str(tmp_path / "ledger"),
            "--port",
            "0",
            *arguments,
        ],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    children: list[psutil.Process] = []
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if "--json" in arguments:
            url = json.loads(line)["dashboard"]
        else:
            assert line.startswith("listening on http://"), line
            url = line.split()[-1]
        children = psutil.Process(server.pid).children(recursive=True)
        yield server, url
    finally:
        server.terminate()
        server.wait(timeout=30)
        for child in children:
            if child.is_running():
                child.kill()
        assert server.stdout is not None
        server.stdout.close()


def servers_of(parent: "subprocess.Popen[str]") -> dict[str, psutil.Process]:
    """The dashboard and the agent below an ``up``, by name."""
    found = {}
    for child in psutil.Process(parent.pid).children():
        words = child.cmdline()
        found["dashboard" if "dashboard" in words else "agent"] = child
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_both_servers_and_the_exit_code_is_0(tmp_path: Path, number: signal.Signals) -> None:
    with up(tmp_path) as (server, _url):
        children = servers_of(server)
        assert set(children) == {"dashboard", "agent"}
        server.send_signal(number)
        assert server.wait(timeout=30) == 0
        gone, alive = psutil.wait_procs(list(children.values()), timeout=5)
        assert not alive
        assert len(gone) == 2


def test_scripts_are_told_where_both_servers_are_in_one_line_of_json(tmp_path: Path) -> None:
    with up(tmp_path, "--json") as (server, url):
        listed = json.loads(jobledger(tmp_path, "agent", "list", "--json", "--url", url).stdout)
        assert isinstance(listed, list)
        server.terminate()
        assert server.wait(timeout=30) == 0
        assert server.stdout is not None
        assert server.stdout.read() == ""


@pytest.mark.parametrize("victim", ["dashboard", "agent"])
def test_when_one_server_dies_the_other_is_stopped_and_the_exit_code_says_so(
    tmp_path: Path, victim: str
) -> None:
    with up(tmp_path) as (server, _url):
        children = servers_of(server)
        children[victim].kill()
        assert server.wait(timeout=30) == 1
        assert not psutil.wait_procs(list(children.values()), timeout=5)[1]


def test_parameters_keys_and_notifications_are_given_to_the_dashboard_as_they_are_when_it_serves_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "parameters.toml").write_text('nightly = "nightly.properties"\n')
    (tmp_path / "nightly.properties").write_text("REGION=north\n")
    token = KeyFile(tmp_path / "own.key").seal("sesame")
    (tmp_path / "nightly.yaml").write_text(SECRETIVE.replace("TOKEN", token))
    with WebhookServer() as hook:
        (tmp_path / "notifications.toml").write_text(
            f'[webhooks.ours]\nurl = "{hook.url}"\nmonitor_types = ["START", "COMPLETE"]\n'
        )
        files = {
            "--parameters": "parameters.toml",
            "--key-file": "own.key",
            "--notifications": "notifications.toml",
        }
        given = [word for option, file in files.items() for word in (option, str(tmp_path / file))]
        with up(tmp_path, *given) as (_server, url):

            def run(*arguments: str) -> str:
                result = jobledger(tmp_path, *arguments, JOBLEDGER_URL=url)
                assert result.returncode == 0, f"{arguments}: {result.stdout}{result.stderr}"
                return result.stdout

            run("plan", "push", "nightly.yaml")
            instance = run("instance", "start", "nightly").strip()
            run("job", "submit", instance, "load")
            run("instance", "watch", instance)
            assert run("job", "output", instance, "load") == "north\n"
            assert {each.json["monitor_type"] for each in hook.wait_for(2)} == {"START", "COMPLETE"}
    assert not (tmp_path / "ledger" / "dashboard" / "secrets.key").exists()


def test_the_options_that_both_have_are_the_same() -> None:
    group = click.Context(cli)
    of = {
        name: {option.name: option for option in command.params}
        for name in ("dashboard", "up")
        if (command := cli.get_command(group, name)) is not None
    }
    for name in ("data_dir", "parameters_file", "key_file", "notifications_file"):
        assert of["up"][name].to_info_dict() == of["dashboard"][name].to_info_dict()


def test_what_is_wrong_with_a_file_of_the_dashboard_is_told_by_up_too(tmp_path: Path) -> None:
    (tmp_path / "notifications.toml").write_text("enabled = maybe\n")
    result = jobledger(
        tmp_path,
        *("up", "--data-dir", "ledger", "--port", "0", "--notifications", "notifications.toml"),
    )
    assert result.returncode == 3
    assert "the dashboard did not come up" in result.stderr
    assert "notifications.toml" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = jobledger(
            tmp_path, "dashboard", "--data-dir", str(tmp_path / "d"), "--port", str(port), "--auth", "none"
        )
    assert result.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_data_directory_that_is_a_file_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("")
    result = jobledger(
        tmp_path, "dashboard", "--data-dir", str(tmp_path / "d"), "--port", "0", "--auth", "none"
    )
    assert result.returncode == 2
    assert "is a file" in result.stderr


def test_a_dashboard_without_accounts_is_not_bound_where_others_reach_it(tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path / "d"), "--port", "0", "--auth", "none", "--host", "0.0.0.0")  # noqa: S104  it is to be refused
    result = jobledger(tmp_path, "dashboard", *options)
    assert result.returncode == 2
    assert "loopback" in result.stderr


def test_an_agent_without_a_token_is_not_bound_where_others_reach_it(tmp_path: Path) -> None:
    options = ("--name", "a", "--data-dir", str(tmp_path / "a"), "--dashboard-url", "http://127.0.0.1:1")
    result = jobledger(tmp_path, "agent", *options, "--port", "0", "--host", "0.0.0.0")  # noqa: S104  it is to be refused
    assert result.returncode == 2
    assert "JOBLEDGER_TOKEN" in result.stderr


def test_a_plan_is_pushed_run_watched_and_looked_back_at_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(PLAN)
    with up(tmp_path) as (_server, url):

        def run(*arguments: str, code: int = 0) -> str:
            result = jobledger(tmp_path, *arguments, JOBLEDGER_URL=url)
            assert result.returncode == code, f"{arguments}: {result.stdout}{result.stderr}"
            return result.stdout

        assert run("plan", "push", "hello.yaml", "--dry-run") == "hello would become version 1\n"
        assert run("plan", "push", "hello.yaml") == "hello is now version 1\n"
        assert run("plan", "push", "hello.yaml") == "hello is unchanged: version 1\n"
        assert "scheduler-agent-wave (command) after scheduler-agent-greet" in run("plan", "show", "hello")
        assert run("plan", "list").splitlines()[1].split()[:2] == ["hello", "1"]

        first = run("instance", "start", "hello", "-p", "NAME=Ada").strip()
        run("job", "submit", "hello", "go")
        assert run("instance", "watch", first).splitlines()[-1].endswith("COMPLETE")
        assert run("job", "output", first, "greet") == "hello, Ada\n"
        assert run("job", "output", first, "wave", "--stderr") == ""

        shown = json.loads(run("instance", "show", first, "--json"))
        past = json.loads(run("instance", "show", first, "--at", str(shown["position"]), "--json"))
        assert past == shown
        assert json.loads(run("instance", "show", first, "--at", "1", "--json"))["status"] == "WAITING"
        assert "scheduler-agent-wave" in run("instance", "audit", first)

        facts = json.loads(run("instance", "log", first, "--json"))
        offline = [
            json.loads(line)
            for line in run("log", "ledger/dashboard", "--instance", first, "--json").splitlines()
        ]
        assert [each["type"] for each in offline] == [each["type"] for each in facts]
        assert [each["position"] for each in offline] == list(range(1, len(facts) + 1))

        run("instance", "end", first, "--reason", "seen enough")
        second = run("instance", "start", "hello", "-p", "NAME=nobody").strip()
        run("job", "submit", second, "go")
        assert "host" not in run("instance", "watch", second, code=6)
        run("job", "submit", second, "greet", "-p", "NAME=somebody")
        run("instance", "watch", second)
        assert run("job", "output", second, "greet") == "hello, somebody\n"
        assert [each["instance_id"] for each in json.loads(run("instance", "list", "--json"))] == [
            second,
            first,
        ]

        run("instance", "end", second)
        run("instance", "watch", second)

        agents = json.loads(run("agent", "list", "--json"))
        assert [(each["name"], each["reachable"]) for each in agents] == [("scheduler-agent", True)]
        run("plan", "export", "hello", "-o", "hello.zip")
        assert "hello is valid" in run("plan", "validate", "hello.zip")
        assert run("plan", "push", "hello.zip").startswith("hello is")
        assert json.loads(run("dead-letter", "list", "--json")) == []
        run("instance", "show", "nosuch", code=5)
        read = [json.loads(line) for line in run("log", "ledger/agent", "--json").splitlines()]
        assert {"inbound", "outbound"} <= {Path(each["source"]).name for each in read}
