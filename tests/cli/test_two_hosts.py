"""Dashboard and agent as on two hosts: with accounts, with the token that they share, and without."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobledger.cli.failures import Failure
from jobledger.cli.processes import ServerProcess

PLAN = """
plan: far
agent: host-a
start: {time_to_live: 1h}
jobs:
  go: {event: local}
  load: {command: 'echo "${JOBLEDGER_TOKEN:-no token} ${JOBLEDGER_AGENT_TOKENS:-here}"', after: go}
"""
GIVE_UP_SECONDS = 30.0


def jobledger(
    home: Path, *arguments: str, url: str = "", token: str = ""
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBLEDGER_")}
    return subprocess.run(
        [sys.executable, "-m", "jobledger", *arguments],
        env={**kept, "HOME": str(home), "JOBLEDGER_URL": url, "JOBLEDGER_TOKEN": token},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class TwoHosts:
    """A dashboard with accounts for an administrator and for an agent, whose address it was told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: list[str] = []
        """What the agent says."""
        self.admin = self._add("ada", "admin")
        self.agents = self._add("host-a", "agent")
        self.agent_port = _free_port()
        tokens = directory / "agents.toml"
        tokens.write_text(f'"http://127.0.0.1:{self.agent_port}" = "{self.agents}"\n')
        options = ("--data-dir", str(directory / "dashboard"), "--port", "0")
        self.dashboard = ServerProcess(
            "dashboard", ("dashboard", *options), environment={"JOBLEDGER_AGENT_TOKENS": str(tokens)}
        )
        self.url = self.dashboard.wait_until_ready()

    def _add(self, name: str, role: str) -> str:
        added = jobledger(self.directory, "user", "add", name, "--role", role, "--data-dir", "dashboard")
        assert added.returncode == 0, added.stderr
        return added.stdout.strip()

    def agent(self, token: str) -> ServerProcess:
        options = (
            "--name",
            "host-a",
            "--data-dir",
            str(self.directory / "agent"),
            "--dashboard-url",
            self.url,
        )
        return ServerProcess(
            "agent",
            ("agent", *options, "--port", str(self.agent_port)),
            environment={"JOBLEDGER_TOKEN": token},
            on_line=lambda _name, line: self.told.append(line),
        )

    def run(self, *arguments: str, code: int = 0, token: str | None = None) -> str:
        given = self.admin if token is None else token
        result = jobledger(self.directory, *arguments, url=self.url, token=given)
        assert result.returncode == code, f"{arguments}: {result.stdout}{result.stderr}"
        return result.stdout


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[TwoHosts]:
    two = TwoHosts(tmp_path)
    with two.dashboard:
        yield two


def test_a_plan_runs_between_hosts_that_share_a_token_and_commands_never_see_it(hosts: TwoHosts) -> None:
    (hosts.directory / "far.yaml").write_text(PLAN)
    with hosts.agent(hosts.agents) as agent:
        agent.wait_until_ready()
        hosts.run("plan", "push", "far.yaml")
        hosts.run("instance", "start", "far")
        hosts.run("job", "submit", "far", "go")
        hosts.run("instance", "watch", "far")
        assert hosts.run("job", "output", "far", "load") == "no token here\n"


def test_an_agent_with_a_wrong_token_is_not_known_and_does_not_give_up(hosts: TwoHosts) -> None:
    with hosts.agent("wrong") as agent:
        agent.wait_until_ready()
        began = time.monotonic()
        while not any("401" in line for line in hosts.told) and time.monotonic() - began < GIVE_UP_SECONDS:
            time.sleep(0.05)
        assert any("401" in line for line in hosts.told), hosts.told
        assert agent.running
        assert json.loads(hosts.run("agent", "list", "--json")) == []


def test_who_gives_no_token_or_one_with_too_little_is_told_so(hosts: TwoHosts) -> None:
    hosts.run("plan", "list", code=4, token="")
    hosts.run("plan", "list", code=4, token="wrong")
    (hosts.directory / "far.yaml").write_text(PLAN)
    hosts.run("plan", "push", "far.yaml", code=4, token=hosts.agents)
    assert json.loads(hosts.run("plan", "list", "--json")) == []


def test_an_account_that_is_removed_opens_nothing_any_more_at_once(hosts: TwoHosts) -> None:
    hosts.run("plan", "list")
    removed = jobledger(hosts.directory, "user", "remove", "ada", "--data-dir", "dashboard")
    assert removed.returncode == 0, removed.stderr
    hosts.run("plan", "list", code=4)


def test_a_file_of_tokens_that_does_not_read_keeps_the_dashboard_from_starting(tmp_path: Path) -> None:
    (tmp_path / "agents.toml").write_text("http://host-a:8080 = secret")
    options = ("dashboard", "--data-dir", str(tmp_path / "d"), "--port", "0")
    server = ServerProcess(
        "dashboard", options, environment={"JOBLEDGER_AGENT_TOKENS": str(tmp_path / "agents.toml")}
    )
    with server, pytest.raises(Failure) as failed:
        server.wait_until_ready()
    assert any("agents.toml does not read" in line for line in failed.value.details)
    assert not any("secret" in line for line in failed.value.details)
