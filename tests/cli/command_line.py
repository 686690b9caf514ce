"""The command line as a person at a terminal of their own runs it, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result
from jobledger.cli.main import cli

Run: TypeAlias = Callable[..., Result]


def command_line(url: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> Run:
    """Runs a command against the dashboard at an address; ``given`` is what it reads."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("JOBLEDGER_URL", url)
    monkeypatch.delenv("JOBLEDGER_TOKEN", raising=False)

    def invoke(*arguments: str, given: str | bytes | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, input=given, prog_name="jobledger")

    return invoke
