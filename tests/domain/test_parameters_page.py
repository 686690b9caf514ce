"""The page about parameters: every example in it is true."""

import re
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from jobledger.domain.dates import WRITTEN_OF_DAYS, WRITTEN_OF_MOMENTS, Dates
from jobledger.domain.expansion import Expansion
from jobledger.domain.instants import parse_rfc3339
from jobledger.domain.parameters import ValueSource

PAGE = (Path(__file__).parents[2] / "docs" / "parameters.md").read_text()
DATES = Dates(date(2026, 3, 27), parse_rfc3339("2026-03-27T18:00:00Z"), ZoneInfo("Europe/London"))


def examples() -> list[tuple[str, str, dict[str, str]]]:
    """What is written, what it comes to, and the parameters beside it."""
    table = PAGE.split("<!-- tests read this table -->")[1].split("\n\n* ")[0]
    found = []
    for line in table.splitlines():
        if not line.startswith("| `"):
            continue
        written, comes_to = line.strip("| ").split(" | ")
        value, _, others = written.partition(" with ")
        beside = dict(re.findall(r"`(\w+)` = `([^`]*)`", others))
        found.append((value.strip("`"), comes_to.strip("`"), beside))
    return found


def test_the_page_has_its_examples() -> None:
    assert len(examples()) == 25


@pytest.mark.parametrize(("written", "comes_to", "beside"), examples(), ids=[each[0] for each in examples()])
def test_an_example_of_the_page_is_true(written: str, comes_to: str, beside: dict[str, str]) -> None:
    value = Expansion({"IT": written, **beside}.get, DATES).value("IT")
    assert value is not None
    assert value.text == comes_to


def test_the_page_names_every_directive_and_every_source_of_values() -> None:
    (formats,) = re.findall(r"\* \*\*Formats\*\*(.*?)\n\* ", PAGE, re.DOTALL)
    days, moments = (re.findall(r"%(:z|.)", part) for part in re.findall(r"`([^`]+)`", formats)[:3:2])
    assert set(days) == set(WRITTEN_OF_DAYS)
    assert set(moments) == set(WRITTEN_OF_MOMENTS)
    table = PAGE.split("## Expressions")[0]
    assert re.findall(r"\| `(\w+)` \|", table) == [each.value for each in ValueSource]
