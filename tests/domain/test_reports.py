"""What an instance makes of reports that are not of the execution that they seem to be of."""

from uuid import UUID

import pytest
from jobledger.domain.commands import AcknowledgeError, Command, KillJob, ReportEvent, SubmitJob
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import Cause, EventIgnored, InstanceStarted
from jobledger.domain.instance import InstanceState
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import CommandJob, Context, Dependency, Grouping, JobPlan, ListedJob
from jobledger.domain.status import JobStatus
from jobledger.domain.topology import Topology

INSTANCE = UUID(int=7)
CAUSE = Cause(command="Test")


def begun(*, here_only: bool = False) -> InstanceState:
    jobs = (
        CommandJob(agent="x", name="a", command_line="true", target_residing_context_only=here_only),
        CommandJob(agent="x", name="b", command_line="true"),
    )
    child = Context(name="child", jobs=(ListedJob("x", "a"),))
    root = Context(
        name="p",
        jobs=(ListedJob("x", "a"), ListedJob("x", "b")),
        dependencies=(Dependency("x-b", Grouping(all_of=("x-a",))),),
        contexts=(child,) if here_only else (),
    )
    fact = InstanceStarted(plan="p", plan_version=1, agents=("x",))
    return start(
        Topology(JobPlan(root=root, jobs=jobs)), instance_id=INSTANCE, fact=fact, at=0, cause=CAUSE
    ).state


def after(state: InstanceState, *commands: Command) -> InstanceState:
    for command in commands:
        step = advance(state, command, at=1_000, cause=CAUSE)
        assert isinstance(step, Step)
        state = step.state
    return state


def report(number: int | str | None = None, **told: object) -> ReportEvent:
    initiation = None if number is None else f"{INSTANCE}-{number}"
    event = ProcessEvent(agent="x", job="a", instance_id=str(INSTANCE), initiation_id=initiation)
    return ReportEvent(
        event=ProcessEvent(**{**{f: getattr(event, f) for f in event.__struct_fields__}, **told})
    )


def job_of(state: InstanceState, context: str = "p", job: str = "x-a") -> object:
    unit = state.topology.unit_in(context, job)
    assert unit is not None
    return state.job(unit.index)


@pytest.mark.parametrize("number", [2, 10**12, 0, "01", "+1"])
def test_an_initiation_that_was_never_raised_takes_nothing_away_from_those_to_come(number: int | str) -> None:
    state = after(begun(), SubmitJob(job="x-a", context="p"), report(1, starting=True, fired_at=3))
    state = after(state, report(number, starting=True, fired_at=5), report(1, successful=True, fired_at=3))
    assert job_of(state).status is JobStatus.COMPLETE


def test_an_outcome_counts_only_in_the_context_that_its_initiation_was_for() -> None:
    here, there = SubmitJob(job="x-a", context="p"), SubmitJob(job="x-a", context="child")
    state = after(begun(here_only=True), here, there)
    number = job_of(state, "child").initiation
    assert number > job_of(state, "p").initiation
    state = after(state, report(number, successful=True))
    assert job_of(state, "child").status is JobStatus.COMPLETE
    assert job_of(state, "p").status is JobStatus.WAITING
    assert not job_of(state, "p", "x-b").initiated


def test_an_initiation_of_another_job_says_nothing_of_this_one() -> None:
    state = after(begun(), SubmitJob(job="x-a", context="p"), SubmitJob(job="x-b", context="p"))
    step = advance(state, report(2, successful=True), at=1_000, cause=CAUSE)
    assert isinstance(step, Step)
    assert [type(each.fact) for each in step.facts] == [EventIgnored]
    assert job_of(after(step.state, report(1, successful=True))).status is JobStatus.COMPLETE


def test_a_run_that_somebody_else_starts_is_not_one_that_was_killed() -> None:
    state = after(begun(), SubmitJob(job="x-a", context="p"), report(1, starting=True, fired_at=10, pid=7))
    state = after(
        state, KillJob(job="x-a", context="p"), report(1, return_code=143, killed=True, fired_at=10)
    )
    assert job_of(state).killed
    running = after(state, report(starting=True, fired_at=20))
    assert (job_of(running).status, job_of(running).killed) == (JobStatus.RUNNING, False)
    failed = after(running, report(return_code=1, fired_at=20))
    assert (job_of(failed).status, job_of(failed).killed) == (JobStatus.ERROR, False)
    complete = after(state, report(successful=True, fired_at=20))
    assert (job_of(complete).status, job_of(complete).killed) == (JobStatus.COMPLETE, False)


def test_a_start_that_is_told_twice_leaves_a_kill_asked_for() -> None:
    state = after(begun(), SubmitJob(job="x-a", context="p"), report(1, starting=True, fired_at=10, pid=7))
    state = after(
        state, KillJob(job="x-a", context="p"), report(1, starting=True, fired_at=10, pid=7, id="again")
    )
    assert job_of(after(state, report(1, return_code=143, fired_at=10))).killed


def test_what_was_acknowledged_is_not_the_failure_of_a_run_that_somebody_else_starts() -> None:
    state = after(begun(), SubmitJob(job="x-a", context="p"), report(1, return_code=1, fired_at=10))
    state = after(state, AcknowledgeError(job="x-a", context="p"), report(starting=True, fired_at=20))
    state = after(state, report(return_code=2, fired_at=20))
    assert not job_of(state).acknowledged
    assert not job_of(state, job="x-b").initiated
