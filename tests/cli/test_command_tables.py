"""The page about commands says what the code decides by."""

from pathlib import Path

import pytest
from jobledger.cli.command_tables import with_tables
from jobledger.domain.commands import JOB_COMMANDS
from jobledger.domain.status import PERMITTED, JobStatus

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_has_the_tables_that_the_code_decides_by() -> None:
    page = PAGE.read_text("utf-8")
    assert with_tables(page) == page, (
        "docs/commands.md is not what the code does: "
        "run `python -m jobledger.cli.command_tables docs/commands.md`"
    )


def test_every_command_of_the_table_is_explained() -> None:
    assert [each.name for each in JOB_COMMANDS] == list(PERMITTED)


def test_every_status_is_explained() -> None:
    page = PAGE.read_text("utf-8")
    assert [status for status in JobStatus if f"| {status} | " not in page] == []


def test_a_page_without_a_place_for_a_table_is_told() -> None:
    with pytest.raises(ValueError, match="statuses"):
        with_tables(PAGE.read_text("utf-8").replace("<!-- statuses -->", ""))


def test_a_change_of_the_table_shows_in_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    page = PAGE.read_text("utf-8")
    monkeypatch.setitem(PERMITTED, "kill", frozenset({JobStatus.COMPLETE}))
    assert with_tables(page) != page
