"""What tests of the life of plans share: a nightly plan, and ways to wait for what its clock leads to."""

import threading
from collections.abc import Callable, Sequence
from uuid import UUID

from dashboard_rig import OPERATOR, Bench, plan_of
from jobledger.actors.dashboard.dashboard import Dashboard
from jobledger.domain.facts import InstanceDue, PlanFact, Recorded, StartSkipped
from jobledger.domain.plan import StartWindow
from jobledger.domain.plan_log import PlanState, plan_stream

HOUR = 3_600_000
DAY = 24 * HOUR
NOON = 1_800_014_400_000  # 2027-01-15T12:00Z
NIGHTLY = StartWindow(cron="0 0 2 * * ?", zone="UTC", time_to_live_ms=6 * HOUR)
TWO = NOON + 14 * HOUR
"""The first start of the nightly plan, which is pushed at noon."""


def push(
    here: Bench, jobs: Sequence[str] = ("a",), *, window: StartWindow = NIGHTLY, **fields: object
) -> None:
    """The nightly plan, at noon if it is the first push."""
    here.now = max(here.now, NOON)
    here.dashboard.push_plan(plan_of("nightly", list(jobs), window=window, **fields), {}, OPERATOR)


def log_of(dashboard: Dashboard, plan: str = "nightly") -> list[Recorded]:
    """All facts of a plan."""
    return dashboard.ledger.facts(plan_stream(plan))


def kinds_of(dashboard: Dashboard, plan: str = "nightly") -> list[str]:
    """The kinds of all facts of a plan."""
    return [type(each.fact).__name__ for each in log_of(dashboard, plan)]


def starts(dashboard: Dashboard, plan: str = "nightly") -> list[InstanceDue | StartSkipped]:
    """The starts that are accounted for."""
    facts = (each.fact for each in log_of(dashboard, plan))
    return [fact for fact in facts if isinstance(fact, InstanceDue | StartSkipped)]


def wait_until(done: Callable[[], bool], told: Callable[[], object], seconds: float = 20.0) -> None:
    """Return once it is as the test expects."""
    for _ in range(round(seconds * 100)):
        if done():
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"waited in vain: {told()}")


def wait_starts(here: Bench, number: int, plan: str = "nightly") -> list[InstanceDue | StartSkipped]:
    """The starts that are accounted for, once there are so many."""
    wait_until(lambda: len(starts(here.dashboard, plan)) >= number, lambda: starts(here.dashboard, plan))
    return starts(here.dashboard, plan)


def wait_fact(here: Bench, kind: type[PlanFact], plan: str = "nightly") -> Recorded:
    """The last fact of a kind in the plan's log, once there is one."""

    def found() -> list[Recorded]:
        return [each for each in log_of(here.dashboard, plan) if isinstance(each.fact, kind)]

    wait_until(lambda: bool(found()), lambda: kinds_of(here.dashboard, plan))
    return found()[-1]


def begin(here: Bench, at: int = TWO, number: int = 1) -> UUID:
    """The instance of a start by the clock, which is the n-th that is accounted for."""
    here.pass_time(at)
    due = wait_starts(here, number)[number - 1]
    assert isinstance(due, InstanceDue), due
    return due.instance_id


def prepared_id(here: Bench, plan: str = "nightly") -> UUID:
    """The instance that exists ahead of its start."""
    prepared = state_of(here, plan).prepared
    assert prepared is not None
    return prepared.instance_id


def state_of(here: Bench, plan: str = "nightly") -> PlanState:
    """The plan as it stands."""
    return here.dashboard.plan_as_it_stands(plan)
