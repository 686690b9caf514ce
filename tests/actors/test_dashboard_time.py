"""Starts by the clock, ends by the clock, and what a dashboard finds when it comes back."""

import threading
from pathlib import Path
from uuid import UUID

import dashboard_rig
import pytest
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.dashboard.dashboard import Dashboard
from jobledger.domain.facts import InstanceDue, InstanceEnded, StartSkipped
from jobledger.domain.plan import StartWindow
from jobledger.domain.plan_log import plan_stream

HOUR = 3_600_000
DAY = 24 * HOUR
NOON = 1_800_014_400_000  # 2027-01-15T12:00Z
NIGHTLY = StartWindow(cron="0 0 2 * * ?", zone="UTC", time_to_live_ms=6 * HOUR)
TWO = NOON + 14 * HOUR


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on the embedded database and on a real server."""
    if request.param == "postgresql":
        monkeypatch.setattr(dashboard_rig, "DATABASE_URL", request.getfixturevalue("fresh_postgres_url"))


def starts(dashboard: Dashboard) -> list[InstanceDue | StartSkipped]:
    facts = (each.fact for each in dashboard.ledger.facts(plan_stream("nightly")))
    return [fact for fact in facts if isinstance(fact, InstanceDue | StartSkipped)]


def wait_starts(here: Bench, number: int) -> list[InstanceDue | StartSkipped]:
    for _ in range(1000):
        if len(found := starts(here.dashboard)) >= number:
            return found
        threading.Event().wait(0.01)
    raise AssertionError(f"only {starts(here.dashboard)}")


def push(here: Bench, **fields: object) -> None:
    here.now = NOON
    here.dashboard.push_plan(plan_of("nightly", ["a"], window=NIGHTLY, **fields), {}, OPERATOR)


def test_an_instance_starts_when_its_time_comes_and_ends_with_its_window(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.pass_time(TWO)
        (due,) = wait_starts(here, 1)
        assert isinstance(due, InstanceDue)
        state = here.dashboard.instance(due.instance_id)
        assert (state.due_at, state.ends_at) == (TWO, TWO + 6 * HOUR)
        here.pass_time(TWO + 6 * HOUR)
        ended = here.wait(due.instance_id, lambda each: each.ended)
        assert ended.end_reason == "window closed"


def test_a_start_that_was_due_while_the_dashboard_was_down_happens_late_if_its_window_is_open(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.now = TWO + HOUR
        here.restart()
        (due,) = wait_starts(here, 1)
        assert isinstance(due, InstanceDue)
        state = here.dashboard.instance(due.instance_id)
        assert (state.due_at, state.started_at, state.ends_at) == (TWO, TWO + HOUR, TWO + 6 * HOUR)


def test_starts_whose_windows_have_passed_are_told_as_missed_and_nothing_starts(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.now = TWO + 2 * DAY + 7 * HOUR
        here.restart()
        (missed,) = wait_starts(here, 1)
        assert missed == StartSkipped(due_at=TWO, through=TWO + 2 * DAY, count=3, reason="window passed")
        assert here.dashboard.instances(active=True).items == []
        here.restart()
        assert starts(here.dashboard) == [missed], "a restart inside a restart told it twice"


def test_an_instance_whose_window_closed_while_the_dashboard_was_down_is_ended(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.pass_time(TWO)
        (due,) = wait_starts(here, 1)
        assert isinstance(due, InstanceDue)
        here.now = TWO + 7 * HOUR
        here.restart()
        here.wait(due.instance_id, lambda each: each.ended)
        ends = [each for each in here.dashboard.log(due.instance_id) if isinstance(each.fact, InstanceEnded)]
        assert len(ends) == 1


def test_no_second_instance_starts_while_one_is_active(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        by_hand: UUID = here.dashboard.start_instance("nightly", OPERATOR, run_until_ended=True)
        here.pass_time(TWO)
        facts = wait_starts(here, 2)
        assert isinstance(facts[0], InstanceDue)
        assert isinstance(facts[1], StartSkipped)
        assert facts[1].reason == "another instance is active"
        assert here.dashboard.instance(by_hand).ends_at is None


def test_a_blackout_and_a_disabled_plan_are_told(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.now = NOON
        dark = StartWindow(
            cron="0 0 2 * * ?", zone="UTC", time_to_live_ms=HOUR, blackout_ranges=((TWO - 1, TWO + 1),)
        )
        here.dashboard.push_plan(plan_of("nightly", ["a"], window=dark), {}, OPERATOR)
        here.pass_time(TWO)
        (first,) = wait_starts(here, 1)
        assert isinstance(first, StartSkipped)
        assert first.reason == "blackout"
        here.dashboard.push_plan(plan_of("nightly", ["a"], window=dark, disabled=True), {}, OPERATOR)
        here.pass_time(TWO + DAY)
        second = wait_starts(here, 2)[1]
        assert isinstance(second, StartSkipped)
        assert second.reason == "plan disabled"


def test_an_instance_that_ends_upon_completion_makes_way_for_the_next(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        push(here, end_on_completion=True)
        here.pass_time(TWO)
        (due,) = wait_starts(here, 1)
        assert isinstance(due, InstanceDue)
        here.report(due.instance_id, "a", successful=True, return_code=0, id="a")
        ended = here.wait(due.instance_id, lambda each: each.ended)
        assert ended.end_reason == "complete"


def test_a_window_closes_in_its_time_although_the_clock_was_set_back(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.pass_time(TWO)
        (due,) = wait_starts(here, 1)
        assert isinstance(due, InstanceDue)
        here.pass_time(TWO - HOUR)
        threading.Event().wait(0.1)
        assert not here.dashboard.instance(due.instance_id).ended
        here.pass_time(TWO + 6 * HOUR)
        assert here.wait(due.instance_id, lambda each: each.ended).end_reason == "window closed"
