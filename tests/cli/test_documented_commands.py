"""Every command line that the documents and the messages name is one that the program takes."""

import re
import shlex
from collections.abc import Iterator
from configparser import RawConfigParser
from pathlib import Path

import click
import pytest
from jobledger.cli.failures import ExitCode
from jobledger.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ROOMS = ("actors", "cli", "domain", "http", "storage")
UNITS = sorted((ROOT / "docs" / "systemd").glob("*.service"))

_BLOCK = re.compile(r"^```(?:sh|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )?jobledger [^`\n]+)`")
_CALL = re.compile(r"(?:^|[\s/\"(])jobledger (?=[a-z])(?!jobledger)")
_EITHER = re.compile(r"[a-z-]+(?:\|[a-z-]+)+")


def lines_of(text: str) -> Iterator[str]:
    """Command lines without what explains or follows them; ``hold|release`` stands for two."""
    inline = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [each for block in _BLOCK.findall(text) for each in block.replace("\\\n", " ").splitlines()]
    for line in (*lines, *_INLINE.findall(inline)):
        found = _CALL.search(line)
        if found is not None:
            whole = re.split(r"\s#\s|\s[|&<>]|;|\s{3,}", line[found.end() :])[0].strip()
            several = _EITHER.search(whole)
            each_word = several[0].split("|") if several else [""]
            yield from (_EITHER.sub(word, whole, count=1) for word in each_word)


def check(line: str) -> None:
    """Fail if there is no such command, or it has no such option."""
    words = shlex.split(line.replace("…", ""))
    command: click.Command = cli
    context = click.Context(cli, info_name="jobledger")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if command.name == "log" and words[0] not in command.commands:
            words = ["read", *words]
        try:
            name, below, words = command.resolve_command(context, words)
        except click.UsageError as error:
            if command.invoke_without_command:
                break
            raise AssertionError(f"jobledger {line}: {error.message}") from error
        assert below is not None
        context, command = click.Context(below, info_name=name, parent=context), below
    assert not isinstance(command, click.Group) or command.invoke_without_command, f"no command: {line}"
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
    asked = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    assert set(asked) <= known, f"{set(asked) - known} is no option of it: jobledger {line}"


def documented() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in lines_of(page.read_text("utf-8")):
            yield str(page.relative_to(ROOT)), line


def told_by_the_program() -> Iterator[tuple[str, str]]:
    """The next steps that messages name; what is filled in stands as one word."""
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            text = re.sub(r"\{[^{}]*\}", "X", file.read_text("utf-8"))
            for line in lines_of(text):
                if " " in line:  # one word is the name of a family of commands
                    yield str(file.relative_to(ROOT)), line


def test_every_command_line_of_documents_and_messages_is_one_that_the_program_takes() -> None:
    lines = [*documented(), *told_by_the_program()]
    assert len(lines) > 110
    wrong = []
    for page, line in lines:
        try:
            check(line)
        except (AssertionError, ValueError) as error:
            wrong.append(f"{page}: {error}")
    assert wrong == []


@pytest.mark.parametrize("line", ["nosuch list", "plan nosuch x", "plan push x --no-such-option", "plan"])
def test_a_command_line_that_the_program_does_not_take_is_noticed(line: str) -> None:
    with pytest.raises(AssertionError):
        check(line)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_units_start_servers_in_a_way_that_they_take(unit: Path) -> None:
    read = RawConfigParser(strict=False)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(unit.read_text("utf-8").replace("\\\n", " "))
    program, *words = shlex.split(read["Service"]["ExecStart"])
    assert program.endswith("/bin/jobledger")
    check(shlex.join(words))
    name, *options = words
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    given = {word.partition("=")[0] for word in options if word.startswith("--")}
    for option in command.params:
        assert not option.required or given & set(option.opts), f"{option.name} is missing"


def test_the_exit_codes_of_the_documents_are_those_of_the_program() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    _before, _heading, rest = page.partition("\n## Exit codes\n")
    table = rest.partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == [
        int(c) for c in ExitCode
    ]
    used = "".join(file.read_text("utf-8") for file in (ROOT / "cli").rglob("*.py"))
    for code in ExitCode:
        # What went well ends with 0, and a wrong command line with 2, by itself.
        assert f"ExitCode.{code.name}" in used or code in {ExitCode.DONE, ExitCode.USAGE}, (
            f"{code.name} is never given"
        )
