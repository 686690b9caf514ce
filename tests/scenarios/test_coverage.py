"""The table of rules and the scenario files name each other."""

import re
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMED = re.findall(r"`([a-z0-9-]+/[a-z0-9*-]+|tests/[\w/]+\.py)`", (HERE / "COVERAGE.md").read_text())
FILES = {f"{path.parent.name}/{path.stem}" for path in HERE.rglob("*.scenario")}


def test_every_file_that_the_table_names_exists() -> None:
    scenarios = {name for name in NAMED if not name.startswith("tests/") and "*" not in name}
    tests = {name for name in NAMED if name.startswith("tests/")}
    assert scenarios
    assert tests
    assert sorted(scenarios - FILES) == []
    assert sorted(name for name in tests if not (ROOT / name).is_file()) == []


def test_every_scenario_is_in_the_table() -> None:
    assert sorted(FILES - set(NAMED)) == []


def test_no_two_scenarios_have_one_name() -> None:
    names = Counter(path.stem for path in HERE.rglob("*.scenario"))
    assert [name for name, times in names.items() if times > 1] == []
