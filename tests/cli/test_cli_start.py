"""The command itself: it is there at once, it explains itself, and it keeps what it imports small."""

import ast
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


@pytest.mark.parametrize(
    "address", ["nonsense", "ftp://dashboard", "http://", "http://a b", "127.0.0.1:9090"]
)
@pytest.mark.parametrize("option", ["--dashboard-url", "--advertise-url"])
def test_an_agent_is_not_started_with_an_address_that_is_none(
    option: str, address: str, tmp_path: Path
) -> None:
    """Else it would ask there for ever, and the mistake would only be seen in its log."""
    result = CliRunner().invoke(
        cli,
        [
            "agent",
            "--name",
            "a",
            "--data-dir",
            str(tmp_path),
            "--dashboard-url",
            "http://x:1",
            option,
            address,
        ],
    )
    assert result.exit_code == 2
    assert "write it like http://HOST:PORT" in " ".join(result.output.split())


def test_a_dashboard_is_not_started_on_another_kind_of_database(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli, ["dashboard", "--data-dir", str(tmp_path), "--database-url", "mysql://x", "--auth", "none"]
    )
    assert result.exit_code == 2
    assert "begins with postgresql://" in " ".join(result.output.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("dashboard", "--auth", "none", "--port", "0"),
        ("agent", "--name", "a", "--dashboard-url", "http://127.0.0.1:1", "--port", "0"),
    ],
    ids=["dashboard", "agent"],
)
def test_a_data_directory_that_cannot_be_made_is_told_with_the_next_step(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobledger", *arguments, "--data-dir", "/proc/nowhere"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=_environment(),
    )
    assert done.returncode in {1, 3}
    assert "/proc/nowhere" in done.stderr
    assert "\nNext: " in done.stderr
    assert "Traceback" not in done.stderr


def test_every_failure_of_the_command_line_says_what_to_do_next() -> None:
    without = [
        f"{file.name}:{call.lineno}"
        for file in sorted((Path(__file__).parents[2] / "cli").glob("*.py"))
        for call in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) == "Failure"
        if not any(keyword.arg == "next_step" for keyword in call.keywords)
    ]
    assert without == []
