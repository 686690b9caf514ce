"""What the start of a dashboard costs: ten thousand active instances of a thousand plans.

    python benchmarks/restart.py [--json]

Each plan has a clock, an instance that is prepared for its next start and ten that are active. The
dashboard is opened on that: until it takes requests, until each plan has looked at its clock, and, its
agent being back, until that has heard again of all that is active. Then starts came due meanwhile, one of
each plan. What a plan takes is set beside what it takes when there are a tenth as many, and starts beside
what the disk could do.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.origin import Origin
from jobledger.actors.dashboard.ports import AgentTransport, AgentUnreachable
from jobledger.domain.instants import Instant, parse_rfc3339
from jobledger.domain.messages import Initiation
from jobledger.domain.plan import CommandJob, Context, JobPlan, ListedJob, StartWindow
from report import amount, fdatasync_per_second, show

PLANS = amount(1_000, 20)
FEWER = PLANS // 10
INSTANCES_OF_A_PLAN = 10
JOBS = 10
ROUNDS = amount(3, 1)
HOUR = 3_600_000
NOON: Instant = parse_rfc3339("2026-01-05T12:00:00Z")
MIDNIGHT = NOON + 12 * HOUR
WHO = Origin(by="benchmark")


class Agent:
    """Takes everything, and counts what it is told to know."""

    recognises_repeats = True

    def __init__(self) -> None:
        self.published = 0

    def provision(self, *_given: object, **_how: object) -> None:
        """Take it."""

    def withdraw(self, *_given: object, **_how: object) -> None:
        """Take it."""

    def publish(self, *_given: object, **_how: object) -> None:
        """Take it, and count."""
        self.published += 1

    def remove(self, *_given: object, **_how: object) -> None:
        """Take it."""

    def initiate(self, initiations: Sequence[Initiation]) -> list[str | None]:
        """Take them all."""
        return [None] * len(initiations)

    def kill(self, *_given: object, **_how: object) -> None:
        """Take it."""

    def output(self, *_given: object) -> bytes:
        """It has none."""
        return b""

    def queues(self, *_given: object) -> bytes:
        """It has none."""
        return b"[]"

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class Seconds:
    """Of one start."""

    began: float
    """By the clock of the benchmark; the others count from there."""
    ready: float
    looked: float = 0.0


def nightly(number: int) -> JobPlan:
    """A plan whose instances start at midnight."""
    names = [f"job-{n}" for n in range(JOBS)]
    return JobPlan(
        root=Context(name=f"plan-{number}", jobs=tuple(ListedJob("host", name) for name in names)),
        jobs=tuple(CommandJob(agent="host", name=name, command_line="true") for name in names),
        window=StartWindow(cron="0 0 0 * * ?", zone="UTC", time_to_live_ms=40 * HOUR),
        concurrent=True,
    )


@contextmanager
def opened(folder: Path, now: Instant, agent: Agent | None) -> Iterator[tuple[Dashboard, Seconds]]:
    """A dashboard at an instant, whose agent may be away; and how long it took until it was ready."""

    def connect(url: str) -> AgentTransport:
        if agent is None:
            raise AgentUnreachable(url)
        return agent

    began = time.perf_counter()
    dashboard = Dashboard(DashboardConfig(data_dir=folder), open_transport=connect, clock=lambda: now)
    dashboard.start()
    try:
        yield dashboard, Seconds(began, time.perf_counter() - began)
    finally:
        dashboard.close()


def fill(folder: Path, plans: int) -> None:
    """Push the plans and start their instances, from as many sides as there are cores to share."""
    agent = Agent()
    with opened(folder, NOON, agent) as (dashboard, _):
        dashboard.announce("host", url="memory", host="here", version="1")
        each_does(plans, lambda number: _fill_one(dashboard, number))
        heard(agent, plans * INSTANCES_OF_A_PLAN)


def _fill_one(dashboard: Dashboard, number: int) -> None:
    dashboard.push_plan(nightly(number), {}, WHO)
    for _ in range(INSTANCES_OF_A_PLAN):
        dashboard.start_instance(f"plan-{number}", WHO)


def each_does(number: int, work: Callable[[int], object], sides: int = 16) -> None:
    """Have it done for each number, from several sides at once: commits are shared."""

    def side(first: int) -> None:
        for each in range(first, number, sides):
            work(each)

    threads = [threading.Thread(target=side, args=(first,)) for first in range(sides)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def heard(agent: Agent, number: int) -> None:
    """Return once the agent has been told to know so many instances."""
    while agent.published < number:
        time.sleep(0.01)


def start(folder: Path, plans: int, now: Instant, instances: int) -> Seconds:
    """Open what is there while the agent is away, and have each plan look at its clock."""
    with opened(folder, now, None) as (dashboard, seconds):
        for number in range(plans):
            # Behind what the start told its actor: the answer says that this plan has looked.
            dashboard.plan_as_it_stands(f"plan-{number}")
        looked = time.perf_counter() - seconds.began
        active = sum(len(dashboard.active_of(f"plan-{number}")) for number in range(plans))
        assert active == instances, f"{active} instances are active, not {instances}"
    return replace(seconds, looked=looked)


def tell_again(folder: Path, now: Instant, instances: int) -> float:
    """Seconds until the agent, back again, has heard of all that is active."""
    agent = Agent()
    with opened(folder, now, agent) as (_, seconds):
        heard(agent, instances)
        return time.perf_counter() - seconds.began


def measured(plans: int) -> tuple[Seconds, float, Seconds]:
    """When nothing was due, the best of three; then with the agent; then when a start of each was due."""
    active = plans * INSTANCES_OF_A_PLAN
    with tempfile.TemporaryDirectory(prefix="jobledger-", dir=Path.cwd()) as name:
        folder = Path(name)
        fill(folder, plans)
        quiet = min(
            (start(folder, plans, NOON + HOUR, active) for _ in range(ROUNDS)), key=lambda each: each.looked
        )
        told = tell_again(folder, NOON + HOUR, active)
        due = start(folder, plans, MIDNIGHT + HOUR, active + plans)
    return quiet, told, due


def main() -> None:
    """Few plans, then many; then the ratio of what one of them takes."""
    fewer_quiet, _, fewer_due = measured(FEWER)
    quiet, told, due = measured(PLANS)
    syncs = fdatasync_per_second()

    def ratio(many: float, few: float) -> float:
        return (many / PLANS) / (few / FEWER)

    show(
        "restart",
        {
            "plans": PLANS,
            "active instances": PLANS * INSTANCES_OF_A_PLAN,
            "seconds until it takes requests": quiet.ready,
            "seconds until each plan has looked": quiet.looked,
            f"a plan's share among {PLANS} / among {FEWER} (floor 2)": ratio(
                quiet.looked, fewer_quiet.looked
            ),
            "a start of each is due: seconds until begun": due.looked,
            f"such a plan's share in {PLANS} / in {FEWER}": ratio(due.looked, fewer_due.looked),
            "starts/s": PLANS / due.looked,
            "seconds until an agent has heard again": told,
            "instances told of/s": PLANS * INSTANCES_OF_A_PLAN / told,
            "fdatasync/s of this disk": syncs,
            "starts / fdatasyncs": PLANS / due.looked / syncs,
        },
    )


if __name__ == "__main__":
    main()
