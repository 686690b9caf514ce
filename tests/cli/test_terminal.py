"""Colour for a person at a terminal, plain text into a pipe: the same words, whoever reads."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_dashboard import dashboard_on_a_port

PLAN = """\
plan: night
agent: host
start: {time_to_live: 1h}
jobs:
  load: {command: ./load.sh}
contexts:
  reports:
    jobs:
      print: {command: ./print.sh}
"""
COLOUR = re.compile(r"\x1b\[(?:\d+;)*3[0-7]m")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Person:
    """Gives commands to a dashboard, at a terminal or in a pipe."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self._environment = {
            **kept,
            "HOME": str(folder),
            "JOBLEDGER_URL": url,
            "TERM": "xterm-256color",
            "COLUMNS": "120",
        }

    def piped(self, *arguments: str, given: str | None = None, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "jobledger", *arguments],
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def sees(self, *arguments: str, code: int = 0, **more: str) -> str:
        """What stands on the terminal afterwards, escapes and all."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "jobledger", *arguments],
            env={**self._environment, **more},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            close_fds=True,
        ) as command:
            os.close(theirs)
            seen = b""
            try:
                while part := os.read(ours, 65536):
                    seen += part
            except OSError:
                pass  # how a terminal says that nobody writes to it any more
            assert command.wait(60) == code, seen
        os.close(ours)
        return seen.decode()

    def until(self, *arguments: str, holds: str) -> None:
        pause = threading.Event()
        for _ in range(200):
            if holds in self.piped(*arguments):
                return
            pause.wait(0.01)
        raise AssertionError(f"{holds} did not come to pass")


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """There is an instance with a job in ERROR and one that is COMPLETE."""
    with dashboard_on_a_port(tmp_path / "dashboard") as url:
        someone = Person(tmp_path, url)
        file = tmp_path / "night.yaml"
        file.write_text(PLAN)
        someone.piped("plan", "push", str(file))
        instance = someone.piped("instance", "start", "night").strip()
        common = {"agentName": "host", "contextInstanceId": instance}
        events = [
            {**common, "jobName": "load", "successful": False, "returnCode": 3},
            {**common, "jobName": "print", "successful": True},
        ]
        someone.piped("event", "send", "-", given=json.dumps(events))
        someone.until("instance", "list", holds="1 COMPLETE")
        yield someone


@pytest.mark.parametrize(
    "arguments",
    [("instance", "show", "night"), ("instance", "list")],
    ids=" ".join,
)
def test_a_status_is_coloured_in_a_terminal_and_plain_when_piped(
    person: Person, arguments: tuple[str, ...]
) -> None:
    seen, piped = person.sees(*arguments), person.piped(*arguments)
    assert "\x1b" not in piped
    assert COLOUR.search(seen), seen
    assert piped.split()[0] in ESCAPE.sub("", seen)


@pytest.mark.parametrize(
    "arguments",
    [
        ("instance", "audit", "night"),
        ("instance", "log", "night"),
        ("plan", "list"),
        ("plan", "versions", "night"),
        ("plan", "graph", "night"),
        ("job", "show", "night", "load"),
        ("job", "why", "night", "load"),
        ("agent", "list"),
        ("lock", "list"),
        ("dead-letter", "list"),
    ],
    ids=" ".join,
)
def test_nothing_that_is_piped_has_an_escape_in_it(person: Person, arguments: tuple[str, ...]) -> None:
    piped = person.piped(*arguments)
    assert piped
    assert "\x1b" not in piped
    person.sees(*arguments)


def test_a_watch_is_drawn_in_a_terminal_and_is_plain_lines_when_piped(person: Person) -> None:
    seen = person.sees("instance", "watch", "night", code=6)
    piped = person.piped("instance", "watch", "night", code=6)
    assert COLOUR.search(seen), seen
    assert {"night", "reports", "load", "print"} <= set(ESCAPE.sub("", seen).split())
    assert "\x1b" not in piped


def test_who_wants_no_colour_and_whose_terminal_has_none_gets_none(person: Person) -> None:
    assert not COLOUR.search(person.sees("instance", "show", "night", NO_COLOR="1"))
    assert "\x1b" not in person.sees("instance", "show", "night", TERM="dumb")
