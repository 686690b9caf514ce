"""The command itself: it is there at once, it explains itself, and it keeps what it imports small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from jobledger.cli.main import _COMMANDS, cli


def test_every_command_of_the_help_is_there_and_explains_itself() -> None:
    for name in _COMMANDS:
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0, f"{name}: {result.output}"
        assert "Usage:" in result.output


def test_the_version_is_told_without_importing_what_only_servers_and_terminals_need() -> None:
    script = "import sys, jobledger.cli.main\nprint([n for n in sys.argv[1:] if n in sys.modules])"
    unwanted = ["rich", "urllib3", "falcon", "waitress", "pykka", "eventsourcing", "msgspec", "sqlite3"]
    told = subprocess.run(
        [sys.executable, "-c", script, *unwanted],
        capture_output=True,
        text=True,
        check=True,
        env=_environment(),
    )
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["--name", "--data-dir", "--dashboard-url"])
def test_an_agent_says_which_option_it_lacks(missing: str, tmp_path: Path) -> None:
    options = {"--name": "a", "--data-dir": str(tmp_path), "--dashboard-url": "http://127.0.0.1:1"}
    del options[missing]
    result = CliRunner().invoke(cli, ["agent", *(word for pair in options.items() for word in pair)])
    assert result.exit_code == 2
    assert f"Missing option '{missing}'" in result.output


def test_an_unknown_command_is_a_mistake_of_the_command_line() -> None:
    assert CliRunner().invoke(cli, ["nosuch"]).exit_code == 2


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}
