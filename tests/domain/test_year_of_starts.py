"""A year of starts of two hundred plans: what the log says, and what a plain second account says."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from jobledger.domain.facts import Cause, InstanceDue, PlanDisabled, PlanEnabled, PlanFact, StartSkipped
from jobledger.domain.plan import Context, JobPlan, StartWindow
from jobledger.domain.plan_log import PlanState, evolve_plan, plan_stream, push, record
from jobledger.domain.starts import Surrounding, next_look, next_start_fact
from start_oracle import DAY, HOUR, MINUTE, EverySoOften, FixedTimes, PlainAccount, Rules, apart, epoch_ms

ZONES = (
    "UTC",
    "Europe/London",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "America/St_Johns",
)
BEGIN = epoch_ms(datetime(2026, 1, 1, tzinfo=UTC))
END = epoch_ms(datetime(2027, 1, 1, tzinfo=UTC))
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
CLOCK = Cause(command="AccountForStarts", by="clock")


@dataclass(frozen=True)
class Case:
    """A plan, its rules in plain words, and what happens around it in the year."""

    plan: JobPlan
    rules: Rules
    runs_ms: dict[int, int]
    due: tuple[int, ...]


def drawn(number: int, dice: random.Random) -> Case:
    zone = dice.choice(ZONES)
    cron, working_days, times = _clock(number, dice)
    due = tuple(times.between(BEGIN, END, ZoneInfo(zone)))
    shortest = apart(due)
    lives_ms = dice.choice((shortest // 3, shortest - MINUTE, shortest, shortest * 2 + MINUTE, 26 * HOUR))
    lives_ms = max(MINUTE, min(lives_ms, 40 * DAY))
    hours = frozenset(dice.sample(range(24), dice.choice((0, 0, 0, 1, 3))))
    rules = Rules(
        times=times,
        zone=ZoneInfo(zone),
        lives_ms=lives_ms,
        concurrent=dice.random() < 0.3,
        ends_on_completion=dice.random() < 0.5,
        dark_hours=hours,
        dark=_spans(dice, dice.choice((0, 0, 2)), 3 * DAY),
        disabled=_spans(dice, dice.choice((0, 0, 1, 3)), 5 * DAY),
    )
    window = StartWindow(
        cron=cron,
        zone=zone,
        working_days=working_days,
        time_to_live_ms=lives_ms,
        blackout_expressions=tuple(f"* * {hour} * * ?" for hour in sorted(hours)),
        blackout_ranges=rules.dark,
    )
    plan = JobPlan(
        root=Context(name=f"plan {number}"),
        window=window,
        concurrent=rules.concurrent,
        end_on_completion=rules.ends_on_completion,
    )
    runs_ms = {at: dice.randint(1, 2 * max(lives_ms, shortest)) for at in due if dice.random() < 0.9}
    return Case(plan, rules, runs_ms, due)


def _clock(number: int, dice: random.Random) -> tuple[str, bool, FixedTimes | EverySoOften]:
    if number % 40 == 7:
        minutes = dice.choice((30, 30, 15))
        return f"0 0/{minutes} * * * ?", False, EverySoOften(minutes)
    hours = sorted(dice.sample(range(24), dice.choice((1, 1, 1, 2, 3))))
    minutes_of = sorted(dice.sample(range(60), dice.choice((1, 1, 2))))
    when = f"0 {','.join(map(str, minutes_of))} {','.join(map(str, hours))}"
    times = tuple((hour, minute) for hour in hours for minute in minutes_of)
    kind = dice.choice(("daily", "daily", "weekdays", "weekdays", "working day", "last"))
    if kind == "weekdays":
        days = sorted(dice.sample(range(7), dice.randint(1, 6)))
        names = ",".join(_DAYS[day] for day in days)
        return f"{when} ? * {names}", False, FixedTimes(times, weekdays=frozenset(days))
    if kind == "working day":
        nth = dice.randint(1, 26)
        return f"{when} {nth}W * ?", True, FixedTimes(times, working_day=nth)
    if kind == "last":
        return f"{when} L * ?", False, FixedTimes(times, last_of_month=True)
    return f"{when} * * ?", False, FixedTimes(times)


def _spans(dice: random.Random, count: int, longest: int) -> tuple[tuple[int, int], ...]:
    """Spans that do not touch, off the minute, so that nothing is due at their very edges."""
    begins = sorted(dice.sample(range(2, 360, 8), count))
    return tuple(
        (BEGIN + day * DAY + 17_123, BEGIN + day * DAY + 17_123 + dice.randrange(MINUTE, longest, MINUTE))
        for day in begins
    )


class Program:
    """The pure log of one plan, driven by nothing but its own alarms, the ends of instances and people."""

    def __init__(self, case: Case, down: Sequence[tuple[int, int]]) -> None:
        self._case = case
        self._down = down
        self._ends: list[int] = []
        self.facts: list[PlanFact] = []
        self._stream = plan_stream(case.plan.name)
        pushed = push(None, case.plan, {})
        assert pushed is not None
        self.state: PlanState = evolve_plan(
            None, record(None, self._stream, pushed, at=BEGIN, cause=Cause(command="PlanPushed"))
        )

    def run(self) -> None:
        orders = [
            (self._there(at), fact)
            for begin, end in self._case.rules.disabled
            for at, fact in ((begin, PlanDisabled()), (end, PlanEnabled()))
        ]
        restarts = [up for _, up in self._down]
        now = BEGIN
        while now < END:
            alarm = next_look(self.state, "UTC")
            upcoming = [at for at, _ in orders] + restarts + self._ends + ([] if alarm is None else [alarm])
            now = min(END, self._there(min((each for each in upcoming if each > now), default=END)))
            self._ends = [each for each in self._ends if each > now]
            self._account(now)
            while orders and orders[0][0] <= now:
                self._take(orders.pop(0)[1], now)

    def _there(self, at: int) -> int:
        return next((up for down, up in self._down if down <= at < up), at)

    def _account(self, now: int) -> None:
        while True:
            around = Surrounding(now=now, default_zone="UTC", active=bool(self._ends))
            fact = next_start_fact(self.state, around)
            if fact is None:
                return
            self._take(fact, now)
            if isinstance(fact, InstanceDue):
                assert fact.due_at is not None
                end = fact.due_at + self._case.rules.lives_ms
                if self._case.rules.ends_on_completion and fact.due_at in self._case.runs_ms:
                    end = min(end, now + self._case.runs_ms[fact.due_at])
                self._ends.append(end)

    def _take(self, fact: PlanFact, now: int) -> None:
        self.facts.append(fact)
        self.state = evolve_plan(self.state, record(self.state, self._stream, fact, at=now, cause=CLOCK))


def told(facts: Sequence[PlanFact], due: Sequence[int]) -> dict[int, str]:
    """What the facts say of each due start; each must be told of once."""
    outcomes: dict[int, str] = {}
    all_due = set(due)
    for fact in facts:
        match fact:
            case InstanceDue(due_at=int(at)):
                starts, what = [at], "started"
            case StartSkipped(due_at=first, through=through, count=count, reason=reason):
                starts, what = list(due[bisect_left(due, first) : bisect_right(due, through)]), reason
                assert len(starts) == count, f"{count} starts were told of, {len(starts)} were due: {fact}"
            case _:
                continue
        for at in starts:
            assert at in all_due, f"{what} at {at}, when nothing was due"
            assert at not in outcomes, f"the start of {at} was told of twice"
            outcomes[at] = what
    return outcomes


@pytest.mark.parametrize("seed", [20261124])
def test_every_start_of_a_year_is_accounted_for_once_and_as_a_plain_account_has_it(seed: int) -> None:
    dice = random.Random(seed)
    down = _spans(dice, 12, 2 * DAY)
    starts = 0
    kinds: set[str] = set()
    for number in range(200):
        case = drawn(number, dice)
        program = Program(case, down)
        program.run()
        outcomes = told(program.facts, case.due)
        expected = PlainAccount(case.rules, case.runs_ms, down).tell(BEGIN, END, case.due)
        assert outcomes == expected, f"seed {seed}, {case.plan}"
        waiting = {program.state.deferred} - {None}
        assert set(outcomes) | waiting == set(case.due), f"seed {seed}, {case.plan}: not all is accounted for"
        starts += len(outcomes)
        kinds.update(outcomes.values())
    assert starts > 50_000
    assert kinds == {
        "started",
        "blackout",
        "window passed",
        "plan disabled",
        "another instance is active",
    }
