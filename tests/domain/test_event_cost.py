"""What an event costs follows what it changes, and not the size of the plan."""

import sys
from collections.abc import Callable
from uuid import UUID

import pytest
from jobledger.domain.commands import Command, HoldJob, ReleaseJob, ReportEvent, SkipJob, SubmitJob
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import Cause, InstanceStarted
from jobledger.domain.instance import InstanceState, evolve
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import CommandJob, Context, Dependency, Grouping, JobPlan, ListedJob
from jobledger.domain.topology import Topology

CAUSE = Cause(position=1)
FEW, MANY = 10, 10_000


def plan(jobs: int, *, deep: bool) -> JobPlan:
    """Chains of ten, all in one context, or each in a context of its own."""
    names = [[f"j{chain}x{step}" for step in range(10)] for chain in range(jobs // 10)]

    def context(name: str, jobs: list[str], *below: Context) -> Context:
        return Context(
            name=name,
            jobs=tuple(ListedJob("host", job) for job in jobs),
            dependencies=tuple(
                Dependency(f"host-{job}", Grouping(all_of=(f"host-{jobs[n - 1]}",)))
                for n, job in enumerate(jobs)
                if n % 10
            ),
            contexts=below,
        )

    flat = [job for chain in names for job in chain]
    below = [context(f"c{number}", chain) for number, chain in enumerate(names)]
    return JobPlan(
        root=context("plan", [], *below) if deep else context("plan", flat),
        jobs=tuple(CommandJob(agent="host", name=job, command_line="true") for job in flat),
    )


def begun(jobs: int, *, deep: bool) -> InstanceState:
    fact = InstanceStarted(plan="plan", plan_version=1)
    topology = Topology(plan(jobs, deep=deep))
    return start(topology, instance_id=UUID(int=1), fact=fact, at=0, cause=CAUSE).state


def calls_in(act: Callable[[], object]) -> int:
    """How many functions, of Python or of C, are called: what it costs on a machine of any speed."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


def report(job: str, *, starting: bool) -> ReportEvent:
    event = ProcessEvent(
        agent="host",
        job=job,
        instance_id=str(UUID(int=1)),
        starting=starting,
        successful=not starting,
        id=f"{job}{starting}",
    )
    return ReportEvent(event=event)


@pytest.mark.parametrize("deep", [False, True], ids=["in one context", "in many contexts"])
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(lambda context: report("j0x4", starting=True), id="a start"),
        pytest.param(lambda context: report("j0x4", starting=False), id="an end that starts the next"),
        pytest.param(lambda context: report("j0x9", starting=False), id="an end that starts nothing"),
        pytest.param(lambda context: report("nobody", starting=False), id="an event about no job"),
        pytest.param(lambda context: SubmitJob(job="host-j0x0", context=context), id="a submission"),
        pytest.param(lambda context: HoldJob(job="host-j0x5", context=context), id="a hold"),
        pytest.param(lambda context: SkipJob(job="host-j0x5", context=context), id="a skip"),
    ],
)
def test_it_costs_the_same_in_a_plan_of_ten_jobs_and_in_one_of_ten_thousand(
    command: Callable[[str], Command], deep: bool
) -> None:
    given = command("c0" if deep else "plan")
    few, many = begun(FEW, deep=deep), begun(MANY, deep=deep)

    def decide(state: InstanceState) -> Step:
        answer = advance(state, given, at=1, cause=CAUSE)
        assert isinstance(answer, Step)
        return answer

    assert decide(few).facts, "nothing was decided"
    assert decide(many).facts
    cost = calls_in(lambda: decide(few))
    assert calls_in(lambda: decide(many)) <= 1.3 * cost

    one, other = decide(few).facts[0], decide(many).facts[0]
    assert calls_in(lambda: evolve(many, other)) <= 1.3 * calls_in(lambda: evolve(few, one))


def test_what_was_held_costs_the_same_to_release() -> None:
    held = []
    for jobs in (FEW, MANY):
        step = advance(begun(jobs, deep=False), HoldJob(job="host-j0x5", context="plan"), at=1, cause=CAUSE)
        assert isinstance(step, Step)
        held.append(step.state)
    few, many = (
        calls_in(
            lambda state=state: advance(state, ReleaseJob(job="host-j0x5", context="plan"), at=2, cause=CAUSE)
        )
        for state in held
    )
    assert many <= 1.3 * few
