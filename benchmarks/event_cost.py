"""What an event costs in the pure core, in plans of ten to ten thousand jobs, and replay and validation."""

import time
from uuid import UUID

from jobledger.domain.commands import ReportEvent
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import Cause, InstanceStarted, Recorded
from jobledger.domain.instance import replay
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import CommandJob, Context, Dependency, Grouping, JobPlan, ListedJob
from jobledger.domain.topology import Topology
from jobledger.domain.validation import validate
from report import amount, show

INSTANCE = UUID(int=1)
EVENTS = amount(10_000, 100)
FLOOR_AT = 1_000


def chains(jobs: int) -> JobPlan:
    """Chains of ten commands each."""
    names = [f"j{n}" for n in range(jobs)]
    return JobPlan(
        root=Context(
            name="plan",
            jobs=tuple(ListedJob("host", name) for name in names),
            dependencies=tuple(
                Dependency(f"host-j{n}", Grouping(all_of=(f"host-j{n - 1}",))) for n in range(jobs) if n % 10
            ),
        ),
        jobs=tuple(CommandJob(agent="host", name=name, command_line="true") for name in names),
    )


def events_per_second(jobs: int) -> tuple[float, float]:
    """Started and finished events a second through instances of such a plan, and facts a second in replay."""
    topology = Topology(chains(jobs))
    told, spent = 0, 0.0
    log: list[Recorded] = []
    while told < EVENTS:
        fact = InstanceStarted(plan="plan", plan_version=1)
        step = start(topology, instance_id=INSTANCE, fact=fact, at=0, cause=Cause(command="start"))
        state, log = step.state, list(step.facts)
        commands = [
            ReportEvent(
                event=ProcessEvent(
                    agent="host",
                    job=f"j{n}",
                    instance_id=str(INSTANCE),
                    starting=starting,
                    successful=not starting,
                    id=f"{n}{starting}",
                )
            )
            for n in range(min(jobs, EVENTS // 2))
            for starting in (True, False)
        ]
        began = time.perf_counter()
        for number, command in enumerate(commands):
            answer = advance(state, command, at=number, cause=Cause(position=number))
            assert isinstance(answer, Step)
            state = answer.state
            log += answer.facts
        spent += time.perf_counter() - began
        told += len(commands)
    began = time.perf_counter()
    replay(topology, log)
    return told / spent, len(log) / (time.perf_counter() - began)


def validated_ms(jobs: int) -> float:
    """How long it takes to find nothing wrong with such a plan."""
    plan = chains(jobs)
    began = time.perf_counter()
    assert not any(problem.is_error for problem in validate(plan))
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Several sizes; the cost of an event must not follow the size of the plan."""
    rates = {}
    for jobs in (10, 100, 1_000, 10_000):
        rates[jobs] = max(events_per_second(jobs) for _ in range(3))
    figures: dict[str, object] = {}
    for jobs, (events, facts) in rates.items():
        figures[f"{jobs} jobs: events/s{' (floor 50,000)' if jobs == FLOOR_AT else ''}"] = events
        figures[f"{jobs} jobs: facts/s replayed"] = facts
    figures["cost at 10,000 jobs / cost at 10 (floor 1.3)"] = rates[10][0] / rates[10_000][0]
    figures["10,000 jobs validated, ms"] = min(validated_ms(10_000) for _ in range(3))
    show("event cost", figures)


if __name__ == "__main__":
    main()
