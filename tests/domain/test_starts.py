"""What becomes of each due start, one rule at a time."""

from dataclasses import dataclass

import pytest
from jobledger.domain.facts import (
    Cause,
    ClockSetBack,
    InstanceDue,
    NextPrepared,
    PlanDeletionBegun,
    PlanDisabled,
    PlanFact,
    StartDeferred,
    StartSkipped,
)
from jobledger.domain.instants import Instant, parse_rfc3339
from jobledger.domain.plan import Context, JobPlan, StartWindow
from jobledger.domain.plan_log import PlanState, evolve_plan, plan_stream, push, record
from jobledger.domain.starts import (
    MOST_COUNTED,
    Surrounding,
    next_look,
    next_start_fact,
    next_to_prepare,
)
from msgspec.structs import replace

HOUR = 3_600_000
DAY = 24 * HOUR
PUSHED = parse_rfc3339("2026-06-01T00:00:00Z")
TWO = PUSHED + 2 * HOUR
NIGHTLY = StartWindow(cron="0 0 2 * * ?", zone="UTC", time_to_live_ms=6 * HOUR)


@dataclass
class Plan:
    """A plan's log in memory."""

    state: PlanState

    def told(
        self, now: Instant, *, active: bool = False, closing: bool = False, prepared_ended: bool = False
    ) -> list[PlanFact]:
        """All that is said about starts at an instant, and taken into the log."""
        facts: list[PlanFact] = []
        while True:
            around = Surrounding(
                now=now,
                default_zone="UTC",
                active=active,
                closing=closing,
                prepared_ended=prepared_ended,
            )
            fact = next_start_fact(self.state, around)
            if fact is None:
                return facts
            facts.append(fact)
            self.take(fact, now)
            active = active or isinstance(fact, InstanceDue)

    def take(self, fact: PlanFact, at: Instant = PUSHED) -> None:
        """One more fact."""
        recorded = record(self.state, self.state.stream, fact, at=at, cause=Cause(command="test"))
        self.state = evolve_plan(self.state, recorded)

    def push(self, at: Instant, window: StartWindow = NIGHTLY, **fields: object) -> None:
        """Another version."""
        plan = JobPlan(root=Context(name="nightly"), window=window, **fields)  # type: ignore[arg-type]
        fact = push(self.state, plan, {})
        assert fact is not None
        self.take(fact, at)


def plan(window: StartWindow = NIGHTLY, **fields: object) -> Plan:
    """A plan that was pushed at midnight."""
    pushed = push(None, JobPlan(root=Context(name="nightly"), window=window, **fields), {})  # type: ignore[arg-type]
    assert pushed is not None
    stream = plan_stream("nightly")
    recorded = record(None, stream, pushed, at=PUSHED, cause=Cause(command="PlanPushed"))
    return Plan(evolve_plan(None, recorded))


def skipped(due_at: Instant, reason: str, **more: object) -> StartSkipped:
    fields = {"through": due_at, **more}
    return StartSkipped(due_at=due_at, reason=reason, **fields)  # type: ignore[arg-type]


def kinds(facts: list[PlanFact]) -> list[str]:
    return [type(fact).__name__ for fact in facts]


# --- one start ----------------------------------------------------------------------------------------------


def test_nothing_is_said_before_a_start_is_due() -> None:
    assert plan().told(TWO - 1) == []


def test_a_start_that_is_due_becomes_an_instance_and_is_not_told_again() -> None:
    nightly = plan()
    (due,) = nightly.told(TWO)
    assert isinstance(due, InstanceDue)
    assert (due.due_at, due.version) == (TWO, 1)
    assert nightly.told(TWO) == []
    assert nightly.told(TWO + DAY - 1) == []


def test_the_same_decision_gives_the_same_id_and_another_start_gives_another() -> None:
    first, again, later = plan(), plan(), plan()
    later.told(TWO)
    ids = [
        fact.instance_id
        for each, at in ((first, TWO), (again, TWO), (later, TWO + DAY))
        for fact in each.told(at)
        if isinstance(fact, InstanceDue)
    ]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("late", "what"), [(0, "InstanceDue"), (6 * HOUR - 1, "InstanceDue"), (6 * HOUR, "StartSkipped")]
)
def test_a_start_happens_as_long_as_its_window_is_open(late: int, what: str) -> None:
    assert kinds(plan().told(TWO + late)) == [what]


def test_a_plan_without_a_time_to_live_or_a_clock_starts_by_hand_only() -> None:
    for window in (StartWindow(), replace(NIGHTLY, time_to_live_ms=0)):
        byhand = plan(window)
        assert byhand.told(TWO + DAY) == []
        assert next_look(byhand.state, "UTC") is None
        assert next_to_prepare(byhand.state, "UTC") is None


def test_a_start_in_a_blackout_is_skipped_with_what_covers_it() -> None:
    by_range = plan(replace(NIGHTLY, blackout_ranges=((TWO, TWO),)))
    (told,) = by_range.told(TWO)
    assert isinstance(told, StartSkipped)
    assert (told.reason, told.detail[:15]) == ("blackout", "in the blackout")
    by_cron = plan(replace(NIGHTLY, blackout_expressions=("0 0 5 * * ?", "* * 2 * * ?")))
    (told,) = by_cron.told(TWO)
    assert isinstance(told, StartSkipped)
    assert "* * 2 * * ?" in told.detail


def test_a_start_that_is_late_does_not_happen_in_a_blackout_and_a_punctual_one_does() -> None:
    dark = replace(NIGHTLY, blackout_ranges=((TWO + 1, TWO + 2 * HOUR),))
    assert kinds(plan(dark).told(TWO + 4000)) == ["InstanceDue"]
    (told,) = plan(dark).told(TWO + HOUR)
    assert isinstance(told, StartSkipped)
    assert told.detail.startswith("late, and now in the blackout")


def test_a_start_whose_prepared_instance_somebody_ended_is_called_off() -> None:
    nightly = plan()
    nightly.take(NextPrepared(instance_id=nightly.state.stream, version=1, due_at=TWO))
    assert nightly.told(TWO, prepared_ended=True) == [skipped(TWO, "ended before its start")]
    assert nightly.state.prepared is None
    assert kinds(nightly.told(TWO + DAY)) == ["InstanceDue"]


# --- while an instance is active ----------------------------------------------------------------------------


def test_a_start_is_skipped_while_an_instance_is_active_unless_the_plan_is_concurrent() -> None:
    assert plan().told(TWO, active=True) == [skipped(TWO, "another instance is active")]
    assert kinds(plan(concurrent=True).told(TWO, active=True)) == ["InstanceDue"]


def test_a_start_waits_for_an_instance_that_ends_on_completion_as_long_as_its_window_is_open() -> None:
    nightly = plan(end_on_completion=True)
    assert nightly.told(TWO, active=True) == [StartDeferred(due_at=TWO)]
    assert nightly.told(TWO + HOUR, active=True) == []
    assert next_look(nightly.state, "UTC") == TWO + 6 * HOUR
    assert next_to_prepare(nightly.state, "UTC") == TWO
    (due,) = nightly.told(TWO + 2 * HOUR)
    assert isinstance(due, InstanceDue)
    assert due.due_at == TWO
    assert nightly.state.deferred is None


def test_a_start_waits_for_an_instance_that_is_about_to_be_ended_by_the_clock() -> None:
    nightly = plan()
    assert nightly.told(TWO, active=True, closing=True) == [StartDeferred(due_at=TWO)]
    assert nightly.told(TWO + 1, active=True, closing=True) == []
    (due,) = nightly.told(TWO + 2)
    assert isinstance(due, InstanceDue)
    assert due.due_at == TWO


def test_a_start_that_waited_until_its_window_closed_is_skipped() -> None:
    nightly = plan(end_on_completion=True)
    nightly.told(TWO, active=True)
    (told,) = nightly.told(TWO + 6 * HOUR, active=True)
    assert isinstance(told, StartSkipped)
    assert (told.due_at, told.reason) == (TWO, "another instance is active")
    assert nightly.told(TWO + 6 * HOUR) == []


def test_of_two_starts_that_wait_the_older_is_skipped() -> None:
    nightly = plan(replace(NIGHTLY, time_to_live_ms=30 * HOUR), end_on_completion=True)
    nightly.told(TWO, active=True)
    facts = nightly.told(TWO + DAY, active=True)
    assert kinds(facts) == ["StartSkipped", "StartDeferred"]
    assert nightly.state.deferred == TWO + DAY


def test_a_start_that_waits_is_skipped_when_its_plan_is_disabled_or_loses_its_clock() -> None:
    disabled, changed = plan(end_on_completion=True), plan(end_on_completion=True)
    for each in (disabled, changed):
        each.told(TWO, active=True)
    disabled.take(PlanDisabled())
    assert disabled.told(TWO + HOUR, active=True) == [skipped(TWO, "plan disabled")]
    changed.push(TWO + HOUR, StartWindow(), end_on_completion=True)
    (told,) = changed.told(TWO + HOUR, active=True)
    assert isinstance(told, StartSkipped)
    assert told.reason == "plan changed"


# --- several starts -----------------------------------------------------------------------------------------


def test_starts_in_a_row_that_share_a_reason_are_one_fact() -> None:
    (told, due) = plan().told(TWO + 3 * DAY)
    assert told == skipped(TWO, "window passed", through=TWO + 2 * DAY, count=3)
    assert isinstance(due, InstanceDue)
    off = plan(disabled=True)
    assert off.told(TWO + 3 * DAY) == [skipped(TWO, "plan disabled", through=TWO + 3 * DAY, count=4)]


def test_a_blackout_among_missed_starts_is_told_apart() -> None:
    dark = replace(NIGHTLY, blackout_ranges=((TWO + DAY, TWO + DAY),))
    facts = plan(dark).told(TWO + 2 * DAY + 7 * HOUR)
    assert [(fact.reason, fact.count) for fact in facts if isinstance(fact, StartSkipped)] == [
        ("window passed", 1),
        ("blackout", 1),
        ("window passed", 1),
    ]


def test_a_plan_that_runs_one_at_a_time_makes_up_for_the_first_start_that_is_still_open() -> None:
    long = replace(NIGHTLY, time_to_live_ms=50 * HOUR)
    facts = plan(long).told(TWO + 2 * DAY)
    assert kinds(facts) == ["InstanceDue", "StartSkipped"]
    assert facts[1] == skipped(TWO + DAY, "another instance is active", through=TWO + 2 * DAY, count=2)
    assert kinds(plan(long, concurrent=True).told(TWO + 2 * DAY)) == ["InstanceDue"] * 3


@pytest.mark.parametrize("disabled", [False, True])
def test_years_of_missed_seconds_are_told_at_once_and_counted_as_far_as_is_sensible(disabled: bool) -> None:
    every_second = StartWindow(cron="* * * * * ?", zone="UTC", time_to_live_ms=1000)
    now = PUSHED + 3000 * DAY
    facts = plan(every_second, disabled=disabled, concurrent=True).told(now)
    first = facts[0]
    assert isinstance(first, StartSkipped)
    assert (first.count, first.at_least) == (MOST_COUNTED, True)
    assert first.through == (now if disabled else now - 1000)
    assert len(facts) == (1 if disabled else 2)


def test_a_start_is_accounted_for_under_the_version_that_it_was_due_under() -> None:
    nightly = plan()
    nightly.push(TWO + HOUR, replace(NIGHTLY, cron="0 30 2 * * ?"))
    assert nightly.told(TWO + HOUR) == [], "the new version's clock called for a start before its push"
    assert next_look(nightly.state, "UTC") == TWO + DAY + HOUR // 2


# --- standing -----------------------------------------------------------------------------------------------


def test_nothing_is_said_of_a_plan_that_is_being_deleted() -> None:
    nightly = plan()
    nightly.take(PlanDeletionBegun())
    assert nightly.told(TWO + 5 * DAY) == []
    assert next_look(nightly.state, "UTC") is None
    assert next_to_prepare(nightly.state, "UTC") is None


# --- the clock ----------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_by_less_than_a_day_repeats_nothing() -> None:
    nightly = plan()
    nightly.told(TWO)
    assert nightly.told(TWO - 23 * HOUR) == []
    assert nightly.told(TWO) == []


def test_a_clock_that_was_a_year_ahead_and_is_put_right_leaves_starts_to_come() -> None:
    nightly = plan()
    nightly.told(TWO + 365 * DAY)
    (back,) = nightly.told(PUSHED + HOUR)
    assert back == ClockSetBack(accounted_through=PUSHED + HOUR)
    (due,) = nightly.told(TWO)
    assert isinstance(due, InstanceDue)
    assert due.due_at == TWO


def test_starts_are_counted_in_the_zone_of_the_dashboard_where_a_plan_names_none() -> None:
    nightly = plan(replace(NIGHTLY, zone=None))
    assert next_look(nightly.state, "UTC") == TWO
    assert next_look(nightly.state, "America/New_York") == TWO + 4 * HOUR
