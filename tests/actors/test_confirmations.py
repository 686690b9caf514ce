"""Confirmed a moment later: a crash before loses nothing and doubles nothing, a stop leaves nothing to do."""

import shutil
from pathlib import Path
from uuid import UUID

from agent_rig import InMemoryDashboard, agent_in, initiation, now_ms
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.dashboard.gateway import CONFIRM_AFTER_MS
from jobledger.domain.commands import SubmitJob
from ledger_samples import wait_until


def begin(here: Bench) -> UUID:
    """Have one job initiated; the clock of the bench stands still, so no moment passes by itself."""
    here.dashboard.push_plan(plan_of("plan", ["a"], {}), {}, OPERATOR)
    instance_id = here.dashboard.start_instance("plan", OPERATOR)
    here.dashboard.command(instance_id, SubmitJob(job="host-a", context="plan"), OPERATOR)
    return instance_id


def waiting(here: Bench) -> list[str]:
    """What the agent would be told by the next process if this one were killed now, beside what is active."""
    return [each.kind for each in here.dashboard.ledger.outgoing("host") if each.kind != "publish"]


def test_an_initiation_is_sent_again_with_the_same_id_after_a_crash_before_its_confirmation(
    tmp_path: Path,
) -> None:
    with bench(tmp_path / "killed") as here:
        agent = here.agent()
        begin(here)
        agent.wait_for(lambda agent: len(agent.initiations) == 1)
        shutil.copytree(tmp_path / "killed", tmp_path / "next")
        (first,) = agent.initiations
    with bench(tmp_path / "next") as here:
        agent = here.agent()
        agent.wait_for(lambda agent: len(agent.initiations) == 1)
        assert agent.told.count("initiate a") == 1
        assert agent.initiations[0].id == first.id


def test_taken_initiations_are_confirmed_when_the_time_has_come_and_nothing_else_happens(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        begin(here)
        agent.wait_for(lambda agent: len(agent.initiations) == 1)
        assert waiting(here) == ["initiate"]
        here.now += CONFIRM_AFTER_MS
        here.dashboard.look_at_clock()
        wait_until(lambda: waiting(here) == [], "confirmation")


def test_a_dashboard_that_stops_leaves_no_initiation_to_be_sent_again(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        begin(here)
        agent.wait_for(lambda agent: len(agent.initiations) == 1)
        here.restart()
        here.agent()
        assert waiting(here) == []
        assert agent.told.count("initiate a") == 1


def test_an_agent_that_would_run_it_again_is_confirmed_at_once(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        agent.recognises_repeats = False
        begin(here)
        agent.wait_for(lambda agent: len(agent.initiations) == 1)
        wait_until(lambda: waiting(here) == [], "confirmation")


def test_events_that_arrived_are_delivered_again_and_nothing_is_run_again_after_a_crash_before_it_is_noted(
    tmp_path: Path,
) -> None:
    stopped_clock = now_ms()
    effect = tmp_path / "effect"
    ids = ["id-1/started", "id-1/finished"]
    before = InMemoryDashboard()
    with agent_in(tmp_path / "killed", before, clock=lambda: stopped_clock) as agent:
        agent.initiate([initiation(1, f"echo ran >> {effect}")])
        before.told.wait_finished("id-1")
        shutil.copytree(tmp_path / "killed", tmp_path / "next")
    after = InMemoryDashboard()
    with agent_in(tmp_path / "next", after) as agent:
        agent.initiate([initiation(1, f"echo ran >> {effect}"), initiation(2)])
        after.told.wait_finished("id-2")
    assert [event.id for event in before.told.events] == ids
    assert [event.id for event in after.told.events][:2] == ids
    assert effect.read_text() == "ran\n"


def test_an_agent_that_stops_leaves_no_event_to_be_delivered_again(tmp_path: Path) -> None:
    stopped_clock = now_ms()
    dashboard = InMemoryDashboard()
    with agent_in(tmp_path, dashboard, clock=lambda: stopped_clock) as agent:
        agent.initiate([initiation(1)])
        dashboard.told.wait_finished("id-1")
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(2)])
        dashboard.told.wait_finished("id-2")
    assert [event.id for event in dashboard.told.events].count("id-1/finished") == 1
