"""Encrypting, keys and parameter sources from the command line."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Run, command_line
from jobledger.storage.secret_keys import KeyFile
from real_dashboard import dashboard_on_a_port

PLAN = """
plan: nightly
agent: host
parameters: {DAY: "${business_date:%Y%m%d}", REGION: }
jobs:
  load: {command: ./load.sh, parameters: {DB_PASSWORD: }}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dashboard")
    (made / "parameters.toml").write_text('nightly = "nightly.properties"\n')
    (made / "nightly.properties").write_text("REGION=north\n")
    return made


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with dashboard_on_a_port(folder / "data", parameters_file=folder / "parameters.toml") as address:
        yield address


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return command_line(url, monkeypatch, tmp_path)


# --- keys ---------------------------------------------------------------------------------------------------


def test_a_key_file_is_made_once_and_then_rotated(run: Run, tmp_path: Path) -> None:
    made = run("key", "create", "--data-dir", str(tmp_path / "d"))
    assert made.exit_code == 0
    file = tmp_path / "d" / "secrets.key"
    assert "has 1 key, the newest seals" in made.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = run("key", "create", "--data-dir", str(tmp_path / "d"))
    assert again.exit_code == 1
    assert "`jobledger key rotate` adds a new one" in again.output
    token = KeyFile(file).seal("old")
    assert "has 2 keys" in run("key", "rotate", "--key-file", str(file)).output
    assert KeyFile(file).open(token) == "old"
    for key in [line for line in file.read_text().splitlines() if not line.startswith("#")]:
        assert key not in made.output + again.output


def test_a_rotation_without_keys_and_a_command_without_a_file_say_what_to_do(
    run: Run, tmp_path: Path
) -> None:
    missing = run("key", "rotate", "--key-file", str(tmp_path / "none"))
    assert (missing.exit_code, "jobledger key create" in missing.output) == (5, True)
    for options in ((), ("--data-dir", str(tmp_path), "--key-file", str(tmp_path / "k"))):
        unnamed = run("key", "create", *options)
        assert (unnamed.exit_code, "--data-dir DIR or --key-file FILE" in unnamed.output) == (2, True)


def test_tokens_in_a_file_are_renewed_and_nothing_else_in_it_is_changed(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys = KeyFile(file)
    raw = b"a: " + keys.seal("one").encode() + b"\r\n\xff # " + keys.seal("two").encode()
    keys.add()
    renewed = run("key", "renew", "--key-file", str(file), given=raw)
    assert renewed.exit_code == 0
    newest = tmp_path / "newest"
    newest.write_text(file.read_text().splitlines()[1])
    newest.chmod(0o600)
    opened = KeyFile(newest).open(renewed.stdout_bytes.decode("latin-1"))
    assert opened == "a: one\r\n\xff # two"
    stranger = run("key", "renew", "--key-file", str(tmp_path / "other"), given=raw)
    assert stranger.exit_code == 1
    assert "one" not in stranger.output


def test_a_key_file_that_others_can_read_is_told_with_what_to_do(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    KeyFile(file).seal("x")
    file.chmod(0o644)
    told = run("encrypt", "--key-file", str(file), given="x")
    assert told.exit_code == 1
    assert "chmod 600" in told.output


# --- encrypting ---------------------------------------------------------------------------------------------


def test_a_value_on_standard_input_is_encrypted_without_its_last_line_break(run: Run, folder: Path) -> None:
    keys = KeyFile(folder / "data" / "secrets.key")
    for given, meant in (
        ("hunter2\n", "hunter2"),
        ("a line\n\n", "a line\n"),
        (" two words \r\n", " two words "),
        ("üäö", "üäö"),
    ):
        result = run("encrypt", given=given)
        assert result.exit_code == 0, result.output
        assert keys.open(result.output.strip()) == meant
        assert given.strip() not in result.output
    document = json.loads(run("encrypt", "--json", given="x").output)
    assert keys.open(document["token"]) == "x"


def test_a_value_is_encrypted_without_a_dashboard_by_the_key_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    result = run("encrypt", "--key-file", str(file), "--url", "http://127.0.0.1:1", given="x")
    assert KeyFile(file).open(result.output.strip()) == "x"


@pytest.mark.parametrize("given", ["", "\n", b"\xff"])
def test_nothing_to_encrypt_is_a_mistake_of_the_command_line(run: Run, given: str | bytes) -> None:
    assert run("encrypt", given=given).exit_code == 2


def test_a_value_that_is_asked_for_is_not_echoed_and_the_token_alone_goes_to_standard_output(
    tmp_path: Path,
) -> None:
    file, output = tmp_path / "keys", tmp_path / "output"
    command = f"exec {sys.executable} -m jobledger encrypt --key-file {file} > {output}"
    in_a_terminal = f"import pty; pty.spawn(['/bin/sh', '-c', {command!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", in_a_terminal],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    ) as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        seen = b""
        for prompt in (b"Value: ", b"confirmation: "):
            while prompt not in seen:
                part = os.read(terminal.stdout.fileno(), 1000)
                assert part, seen
                seen += part
            terminal.stdin.write(b"hunter2\n")
            terminal.stdin.flush()
        seen += terminal.stdout.read()
    assert terminal.returncode == 0
    assert b"hunter2" not in seen
    assert KeyFile(file).open(output.read_text().strip()) == "hunter2"


# --- sources and parameters ---------------------------------------------------------------------------------


def test_sources_are_listed_and_refreshed_and_a_broken_one_is_told(run: Run, folder: Path) -> None:
    assert run("plan", "push", str(plan_file(folder))).exit_code == 0
    listed = run("parameters", "list").output
    assert "nightly" in listed
    assert "nightly.properties" in listed
    assert "north" not in listed
    (folder / "nightly.properties").write_bytes(b"\xff")
    broken = run("parameters", "refresh")
    assert broken.exit_code == 1
    assert "is not in UTF-8" in broken.output
    assert "what was read before stays in use" in broken.output
    (folder / "nightly.properties").write_text("REGION=east\n")
    assert run("parameters", "refresh").exit_code == 0
    (item,) = json.loads(run("parameters", "refresh", "--json").output)["items"]
    assert (item["names"], item["error"]) == (["REGION"], None)


def test_an_instance_is_started_for_a_day_and_says_what_its_jobs_would_get(run: Run, folder: Path) -> None:
    assert run("plan", "push", str(plan_file(folder))).exit_code == 0
    run("parameters", "refresh")
    started = run(
        "instance", "start", "nightly", "--business-date", "2026-03-31", "-p", "DB_PASSWORD=hunter2", "--json"
    )
    assert started.exit_code == 0, started.output
    instance = json.loads(started.output)["instance_id"]
    shown = json.loads(run("job", "parameters", instance, "load", "--json").output)["items"]
    assert [(each["name"], each["value"], each["source"]) for each in shown] == [
        ("DB_PASSWORD", "********", "instance"),
        ("DAY", "20260331", "plan"),
        ("REGION", "east", "source"),
    ]
    table = run("job", "parameters", instance, "load").output
    assert "hunter2" not in table
    assert "20260331" in table
    wrong = run("instance", "start", "nightly", "--business-date", "31.3.2026")
    assert wrong.exit_code == 1
    assert "/business_date" in wrong.output


def plan_file(folder: Path) -> Path:
    path = folder / "plan.yaml"
    path.write_text(PLAN)
    return path


def test_a_dashboard_does_not_start_on_a_file_that_names_no_sources(run: Run, tmp_path: Path) -> None:
    (tmp_path / "parameters.toml").write_text("nightly = 5\n")
    told = run(
        "dashboard", "--data-dir", str(tmp_path / "d"), "--parameters", str(tmp_path / "parameters.toml")
    )
    assert told.exit_code == 1
    assert '"plan" = "FILE"' in told.output
