"""Every scenario file, played against the pure core, the actors on a real ledger, and over HTTP."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from jobledger.actors.dashboard import gateway
from runner import Happening, Play, play, trace
from scenario_actors import ActorStage
from scenario_core import CoreStage
from scenario_http import HttpStage
from scenario_language import Scenario, Tell, read
from scenario_stage import Stage

SCENARIOS = sorted(Path(__file__).parent.rglob("*.scenario"), key=lambda path: path.stem)


@pytest.fixture(autouse=True)
def _clock_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two lines no time passes: what an agent has taken is confirmed at once, not a moment later."""
    monkeypatch.setattr(gateway, "CONFIRM_AFTER_MS", 0)


@contextmanager
def stage(depth: str, folder: Path, scenario: Scenario) -> Iterator[Stage]:
    """A stage of that depth, closed at the end."""
    sources = any(isinstance(step, Tell) and step.words[0] == "source" for step in scenario.steps)
    if depth == "core":
        yield CoreStage()
    else:
        kind = ActorStage if depth == "actors" else HttpStage
        with closing(kind(folder, sources=sources)) as opened:
            yield opened


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("depth", ["core", "actors", "http"])
def test_scenario(depth: str, path: Path, tmp_path: Path) -> None:
    scenario = read(path)
    with stage(depth, tmp_path, scenario) as opened:
        happenings = play(scenario, opened)
    _must_be_right(scenario, depth, happenings)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario_with_a_restart_before_every_line(path: Path, tmp_path: Path) -> None:
    scenario = read(path)
    with stage("actors", tmp_path, scenario) as opened:
        happenings = play(scenario, opened, between=Play.restart)
    _must_be_right(scenario, "actors, restarted before every line", happenings)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario_with_every_report_again_before_every_line(path: Path) -> None:
    scenario = read(path)
    happenings = play(scenario, CoreStage(), between=Play.report_everything_again)
    _must_be_right(scenario, "core, every report again before every line", happenings)


def _must_be_right(scenario: Scenario, depth: str, happenings: list[Happening]) -> None:
    if any(each.wrong for each in happenings):
        pytest.fail(f"{scenario.name}, {depth}: {scenario.remark}\n\n{trace(happenings)}", pytrace=False)
