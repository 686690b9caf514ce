"""After a restart of the dashboard: every case of the table, and what the clock did meanwhile.

Given what was so when the process was killed, when it is back, then what must have happened.
"""

from pathlib import Path
from uuid import UUID

import dashboard_rig
import pytest
from dashboard_rig import OPERATOR, Bench, bench
from jobledger.domain.commands import EndInstance, RunUntilEnded, SubmitJob
from jobledger.domain.facts import ClockSetBack, InstanceDue, InstanceEnded, StartSkipped
from jobledger.domain.instants import parse_rfc3339
from jobledger.domain.plan import StartWindow
from jobledger.domain.plan_log import PlanState, evolve_plan
from plan_rig import (
    DAY,
    HOUR,
    NIGHTLY,
    NOON,
    TWO,
    begin,
    kinds_of,
    log_of,
    prepared_id,
    push,
    starts,
    state_of,
    wait_fact,
    wait_starts,
    wait_until,
)

SIX_HOURS = NIGHTLY.time_to_live_ms


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on the embedded database and on a real server."""
    if request.param == "postgresql":
        monkeypatch.setattr(dashboard_rig, "DATABASE_URL", request.getfixturevalue("fresh_postgres_url"))


def down_until(here: Bench, at: int) -> None:
    """The dashboard is away, and comes back at an instant."""
    here.dashboard.close()
    here.now = at
    here.dashboard = here._open()


def ends(here: Bench, instance_id: UUID) -> list[str]:
    return [
        each.fact.reason for each in here.dashboard.log(instance_id) if isinstance(each.fact, InstanceEnded)
    ]


# --- an instance is active ----------------------------------------------------------------------------------


def test_given_an_active_instance_with_an_open_window_when_back_then_it_goes_on_and_agents_hear_of_it_again(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        push(here, ["a", "b"], after={"b": ["a"]})
        instance_id = begin(here)
        here.dashboard.command(instance_id, SubmitJob(job="host-a", context="nightly"), OPERATOR)
        agent.wait_for(lambda told: bool(told.initiations))
        agent.reachable = False
        here.dashboard.ledger.on_received = lambda _entries: None
        here.report(instance_id, "a", 1, successful=True, id="unprocessed")
        down_until(here, TWO + HOUR)
        agent.reachable = True
        here.agent()
        agent.wait_for(lambda told: [each.job for each in told.initiations] == ["a", "b"])
        agent.wait_for(lambda told: told.told.count("publish nightly") == 2)
        assert ends(here, instance_id) == []
        here.pass_time(TWO + SIX_HOURS)
        here.wait(instance_id, lambda each: each.ended)


def test_given_an_active_instance_whose_window_closed_when_back_then_it_is_ended_once(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        push(here)
        instance_id = begin(here)
        agent.wait_for(lambda told: "publish nightly" in told.told)
        down_until(here, TWO + SIX_HOURS)
        here.wait(instance_id, lambda each: each.ended)
        here.restart()
        assert ends(here, instance_id) == ["window closed"]
        agent.wait_for(lambda told: told.told == ["provision nightly", "publish nightly", "remove"])


def test_given_one_that_runs_until_ended_by_hand_when_back_after_its_window_then_it_goes_on(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        push(here)
        instance_id = begin(here)
        here.dashboard.command(instance_id, RunUntilEnded(), OPERATOR)
        down_until(here, TWO + SIX_HOURS + HOUR)
        assert not here.dashboard.instance(instance_id).ended
        here.pass_time(TWO + DAY)
        skipped = wait_starts(here, 2)[1]
        assert skipped == StartSkipped(
            due_at=TWO + DAY, through=TWO + DAY, reason="another instance is active"
        )


# --- a start was due ----------------------------------------------------------------------------------------


def test_given_a_start_that_was_due_with_an_open_window_when_back_then_it_starts_as_of_its_time(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        push(here)
        prepared = prepared_id(here)
        down_until(here, TWO + HOUR)
        (due,) = wait_starts(here, 1)
        assert due == InstanceDue(instance_id=prepared, version=1, due_at=TWO)
        state = here.dashboard.instance(prepared)
        assert (state.due_at, state.started_at, state.ends_at) == (TWO, TWO + HOUR, TWO + SIX_HOURS)


def test_given_a_start_that_was_due_with_a_window_closed_too_when_back_then_only_a_fact_tells(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        push(here)
        down_until(here, TWO + SIX_HOURS)
        assert wait_starts(here, 1) == [StartSkipped(due_at=TWO, through=TWO, reason="window passed")]
        assert here.dashboard.instances(active=True).items == []
        assert here.dashboard.instance(prepared_id(here)).due_at == TWO + DAY


def test_given_starts_of_days_when_back_then_those_missed_are_one_fact_and_the_last_starts(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        push(here)
        down_until(here, TWO + 3 * DAY + HOUR)
        missed, due = wait_starts(here, 2)
        assert missed == StartSkipped(due_at=TWO, through=TWO + 2 * DAY, count=3, reason="window passed")
        assert isinstance(due, InstanceDue)
        assert due.due_at == TWO + 3 * DAY


def test_given_an_instance_to_end_and_a_start_to_do_when_back_then_it_ends_and_the_next_starts(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        push(here)
        first = begin(here)
        down_until(here, TWO + DAY + HOUR)
        second = wait_starts(here, 2)[1]
        assert isinstance(second, InstanceDue), f"{second} although the window of the first has closed"
        assert ends(here, first) == ["window closed"]
        (active,) = here.dashboard.instances(active=True).items
        assert active.instance_id == second.instance_id


@pytest.mark.parametrize("order", ["push", "enable", "disable and enable"])
def test_given_an_instance_to_end_and_a_start_to_do_when_an_order_comes_first_then_the_next_starts_too(
    tmp_path: Path, order: str
) -> None:
    with bench(tmp_path) as here, pytest.MonkeyPatch.context() as slow:
        push(here)
        first = begin(here)
        rung: list[tuple[UUID, int]] = []
        slow.setattr(here.dashboard, "_close_window", lambda *given: rung.append(given))
        here.pass_time(TWO + DAY + HOUR)
        if order == "push":
            push(here, ["a", "b"])
        if order == "disable and enable":
            here.dashboard.disable_plan("nightly", OPERATOR)
        if order != "push":
            here.dashboard.enable_plan("nightly", OPERATOR)
        assert [type(each.fact).__name__ for each in log_of(here.dashboard)].count("InstanceDue") == 1
        wait_until(lambda: bool(rung), lambda: "the alarm of the end did not ring")
        slow.undo()
        here.dashboard._close_window(*rung[0])
        second = wait_starts(here, 2)[1]
        wait_until(lambda: ends(here, first) == ["window closed"], lambda: ends(here, first))
        if order == "disable and enable":
            assert second == StartSkipped(due_at=TWO + DAY, through=TWO + DAY, reason="plan disabled")
        else:
            assert isinstance(second, InstanceDue), f"{second} although the window of the first had closed"
            assert second.due_at == TWO + DAY


def test_given_a_start_that_was_due_and_a_blackout_now_when_back_then_nothing_starts_in_it(
    tmp_path: Path,
) -> None:
    dark = StartWindow(
        cron="0 0 2 * * ?",
        zone="UTC",
        time_to_live_ms=SIX_HOURS,
        blackout_ranges=((TWO + HOUR, TWO + 2 * HOUR),),
    )
    with bench(tmp_path) as here:
        push(here, window=dark)
        down_until(here, TWO + HOUR)
        (skipped,) = wait_starts(here, 1)
        assert isinstance(skipped, StartSkipped)
        assert (skipped.reason, skipped.detail[:8]) == ("blackout", "late, an")


def test_given_a_disabled_plan_when_back_then_its_starts_are_accounted_for_and_none_happens(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.dashboard.disable_plan("nightly", OPERATOR)
        down_until(here, TWO + 2 * DAY + HOUR)
        (skipped,) = wait_starts(here, 1)
        assert skipped == StartSkipped(due_at=TWO, through=TWO + 2 * DAY, count=3, reason="plan disabled")


def test_given_a_start_that_waited_when_back_after_the_end_then_it_starts(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here, end_on_completion=True)
        first = here.dashboard.start_instance("nightly", OPERATOR, run_until_ended=True)
        here.pass_time(TWO)
        wait_until(lambda: kinds_of(here.dashboard)[-1] == "StartDeferred", lambda: kinds_of(here.dashboard))
        down_until(here, TWO + HOUR)
        assert state_of(here).deferred == TWO
        here.dashboard.command(first, EndInstance(), OPERATOR)
        due = wait_starts(here, 2)[1]
        assert isinstance(due, InstanceDue)
        assert here.dashboard.instance(due.instance_id).due_at == TWO


# --- nothing was due, and again -----------------------------------------------------------------------------


def test_given_that_nothing_was_due_when_back_then_nothing_happens(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        push(here)
        agent.wait_for(lambda told: bool(told.told))
        before = kinds_of(here.dashboard)
        down_until(here, TWO - 1)
        state_of(here)
        assert kinds_of(here.dashboard) == before
        assert agent.told == ["provision nightly"]


@pytest.mark.parametrize("hours", [0, 1, 6, 25, 49])
def test_given_any_of_these_when_killed_again_while_coming_back_then_nothing_happens_twice(
    tmp_path: Path, hours: int
) -> None:
    with bench(tmp_path) as here:
        push(here)
        begin(here)
        here.now = TWO + hours * HOUR
        for _ in range(3):
            here.restart()
        wait_until(
            lambda: state_of(here).accounted_through >= here.now - here.now % DAY + 2 * HOUR - DAY,
            lambda: starts(here.dashboard),
        )
        here.restart()
        state_of(here)
        told: dict[int, str] = {}
        for fact in starts(here.dashboard):
            first = fact.due_at or 0
            through = fact.through if isinstance(fact, StartSkipped) else first
            for due_at in range(first, through + 1, DAY):
                assert due_at not in told, f"the start of {due_at} was told of twice"
                told[due_at] = type(fact).__name__
        assert sorted(told) == list(range(TWO, here.now + 1, DAY))
        assert len(here.dashboard.instances(active=True).items) <= 1
        for row in here.dashboard.instances(active=False).items:
            assert len(ends(here, row.instance_id)) == 1


# --- the clock ----------------------------------------------------------------------------------------------


def test_when_the_clock_jumps_ahead_starts_are_accounted_for_as_after_a_restart(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        here.pass_time(TWO + 2 * DAY + HOUR)
        missed, due = wait_starts(here, 2)
        assert missed == StartSkipped(due_at=TWO, through=TWO + DAY, count=2, reason="window passed")
        assert isinstance(due, InstanceDue)


def test_when_the_clock_goes_back_a_little_no_start_happens_twice(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        begin(here)
        here.pass_time(TWO - HOUR)
        here.restart()
        here.pass_time(TWO)
        here.restart()
        state_of(here)
        assert len(starts(here.dashboard)) == 1


def test_when_a_clock_that_was_years_ahead_is_put_right_starts_happen_again(tmp_path: Path) -> None:
    years_ahead = NOON + 2000 * DAY
    with bench(tmp_path) as here:
        push(here)
        here.pass_time(years_ahead)
        (missed,) = wait_starts(here, 1)
        assert isinstance(missed, StartSkipped)
        assert missed.at_least
        here.pass_time(NOON + HOUR)
        assert wait_fact(here, ClockSetBack).fact == ClockSetBack(accounted_through=NOON + HOUR)
        assert here.dashboard.instance(prepared_id(here)).due_at == TWO
        begin(here, number=2)


@pytest.mark.parametrize(
    ("zone", "wall", "due"),
    [
        ("Europe/London", "0 30 1 * * ?", ["2027-03-27T01:30", "2027-03-28T01:30", "2027-03-29T00:30"]),
        ("Europe/London", "0 30 1 * * ?", ["2027-10-30T00:30", "2027-10-31T00:30", "2027-11-01T01:30"]),
    ],
    ids=["spring", "autumn"],
)
def test_over_a_change_of_daylight_saving_each_day_has_its_start(
    tmp_path: Path, zone: str, wall: str, due: list[str]
) -> None:
    wanted = [parse_rfc3339(f"{each}:00Z") for each in due]
    with bench(tmp_path) as here:
        here.now = wanted[0] - HOUR
        push(here, window=StartWindow(cron=wall, zone=zone, time_to_live_ms=HOUR))
        for number, at in enumerate(wanted, 1):
            begin(here, at, number)
            here.pass_time(at + HOUR)
        assert [fact.due_at for fact in starts(here.dashboard)] == wanted
        assert all(isinstance(fact, InstanceDue) for fact in starts(here.dashboard))


def test_the_log_of_a_plan_tells_what_its_state_is_after_any_of_this(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        begin(here)
        down_until(here, TWO + 2 * DAY + HOUR)
        wait_starts(here, 3)
        here.dashboard.disable_plan("nightly", OPERATOR)
        state: PlanState | None = None
        for recorded in log_of(here.dashboard):
            state = evolve_plan(state, recorded)
        assert state == state_of(here)
