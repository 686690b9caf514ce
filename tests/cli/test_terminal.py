"""Colour for a person at a terminal, plain text into a pipe: the same words, whoever reads."""

import json
import os
import pty
import re
import signal
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
_IN_ITS_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is told to who runs in it
os.execv(sys.executable, [sys.executable, "-m", "jobledger", *sys.argv[1:]])
"""
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

    def sees(
        self, *arguments: str, code: int = 0, keys_after: tuple[str, str] | None = None, **more: str
    ) -> str:
        """What stands on the terminal afterwards, escapes and all.

        ``keys_after``: what is waited for on the terminal, and what is then typed.
        """
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", _IN_ITS_TERMINAL, *arguments],
            env={**self._environment, **more},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as command:
            os.close(theirs)
            seen = b""
            try:
                while part := os.read(ours, 65536):
                    seen += part
                    if keys_after is not None and keys_after[0].encode() in seen:
                        os.write(ours, keys_after[1].encode())
                        keys_after = None
            except OSError:
                pass  # how a terminal says that nobody writes to it any more
            assert command.wait(60) == code, seen
        os.close(ours)
        return seen.decode()

    def interrupts(self, *arguments: str) -> tuple[str, int]:
        """What a command in a pipe has printed, and its exit code, when Ctrl-C comes after its first line."""
        with subprocess.Popen(
            [sys.executable, "-m", "jobledger", *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as command:
            assert command.stdout is not None
            first = command.stdout.readline()
            command.send_signal(signal.SIGINT)
            rest, _nothing = command.communicate(timeout=30)
        return first + rest, command.returncode

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


def test_a_watch_that_is_interrupted_ends_with_exit_code_130_and_without_a_traceback(person: Person) -> None:
    person.piped("job", "submit", "night", "load")  # so that there is something to wait for
    seen, code = person.interrupts("instance", "watch", "night")
    assert code == 130
    assert "Traceback" not in seen


def test_a_watch_in_a_terminal_that_is_interrupted_keeps_its_last_picture(person: Person) -> None:
    person.piped("job", "submit", "night", "load")
    seen = person.sees("instance", "watch", "night", code=130, keys_after=("reports", "\x03"))
    assert "load" in ESCAPE.sub("", seen)
    assert "Traceback" not in seen


def test_a_question_that_is_interrupted_ends_with_exit_code_130(person: Person) -> None:
    seen = person.sees("encrypt", code=130, keys_after=("Value", "\x03"))
    assert "Traceback" not in seen
