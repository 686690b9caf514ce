"""A job is refused as one that never starts exactly when no order of completions starts it.

The core itself is asked, with every order in which jobs of a small plan can start, complete and start again.
"""

from uuid import UUID

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jobledger.domain.commands import Command, ReportEvent, SubmitJob
from jobledger.domain.deadlocks import what_never_starts
from jobledger.domain.decide import advance, start
from jobledger.domain.facts import Cause, InstanceStarted
from jobledger.domain.instance import InstanceState
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    Grouping,
    JobPlan,
    ListedJob,
    StartupControl,
)
from jobledger.domain.possible import can_hold
from jobledger.domain.status import JobStatus
from jobledger.domain.topology import Topology, Unit
from jobledger.domain.validation import Problem, validate
from random_plans import groupings

CAUSE = Cause(command="Test")


def plan_of(jobs: str, *dependencies: Dependency, **repeatable: bool) -> JobPlan:
    names = jobs.split()
    return JobPlan(
        root=Context(name="p", jobs=tuple(ListedJob("x", n) for n in names), dependencies=dependencies),
        jobs=tuple(
            CommandJob(agent="x", name=name, command_line="true", repeatable=repeatable.get(name, False))
            for name in names
        ),
    )


def after(job: str, *needed: str, unless: tuple[str, ...] = (), any_of: tuple[str, ...] = ()) -> Dependency:
    def named(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"x-{name}" for name in names)

    return Dependency(f"x-{job}", Grouping(all_of=named(needed), any_of=named(any_of), none_of=named(unless)))


def refused(plan: JobPlan) -> list[Problem]:
    return [each for each in validate(plan) if each.severity == "error"]


# --- what is refused ----------------------------------------------------------------------------------------


def test_a_job_after_one_that_starts_after_what_must_not_have_completed_is_an_error_at_its_place() -> None:
    plan = plan_of("a b c", after("b", "a"), after("c", "b", unless=("a",)))
    assert refused(plan) == []  # a starts from outside, so it can start again and fail

    plan = plan_of("go a b c", after("a", "go"), after("b", "a"), after("c", "b", unless=("a",)))
    (error,) = refused(plan)
    assert (error.context, error.job) == ("p", "x-c")
    assert error.pointer == "/root/dependencies/2/grouping"
    assert "no order in which jobs complete starts it" in error.message


def test_what_waits_for_a_job_that_never_starts_is_not_blamed_for_it() -> None:
    plan = plan_of(
        "go a b c d", after("a", "go"), after("b", "a"), after("c", "b", unless=("a",)), after("d", "c", "a")
    )
    assert [error.job for error in refused(plan)] == ["x-c"]


def test_jobs_of_which_either_must_complete_alone_may_both_start() -> None:
    plan = plan_of(
        "go a b both",
        after("a", "go", unless=("b",)),
        after("b", "go", unless=("a",)),
        after("both", "a", "b"),
    )
    assert refused(plan) == []


def test_a_way_that_is_possible_is_found_behind_ones_that_are_not() -> None:
    plan = plan_of(
        "go a b c d",
        after("a", "go"),
        after("b", "a"),
        after("d", "go"),
        after("c", any_of=("b", "d"), unless=("a",)),
    )
    assert refused(plan) == []


def test_a_repeatable_job_is_in_nobodys_way() -> None:
    plan = plan_of("go a b c", after("a", "go"), after("b", "a"), after("c", "b", unless=("a",)), a=True)
    assert refused(plan) == []


def test_a_loop_of_repeatable_jobs_stays_one_that_somebody_starts() -> None:
    plan = plan_of("go a b", after("a", "b", unless=("go",)), after("b", "a"), a=True, b=True)
    assert refused(plan) == []


def test_all_that_can_never_start_is_told_at_once() -> None:
    plan = plan_of(
        "go a b c d e",
        after("a", "go"),
        after("b", "a"),
        after("c", "b", unless=("a",)),
        after("d", "b", unless=("a", "go")),
        after("e", "e"),
    )
    assert {error.job for error in refused(plan)} == {"x-c", "x-d", "x-e"}


# --- against the core ---------------------------------------------------------------------------------------


@st.composite
def small(draw: st.DrawFn, *, repeatable: bool) -> JobPlan:
    names = "abcde"[: draw(st.integers(2, 4 if repeatable else 5))]
    jobs = [
        CommandJob(
            agent="x",
            name=name,
            command_line="true",
            target_residing_context_only=draw(st.integers(0, 3)) == 0,
            repeatable=repeatable and draw(st.booleans()),
            startup=draw(st.sampled_from([StartupControl.AUTOMATIC] * 5 + [StartupControl.MANUAL])),
        )
        for name in names
    ]
    contexts = []
    for name in ("p", "q")[: draw(st.integers(1, 2))]:
        listed = draw(st.lists(st.sampled_from(names), min_size=2, unique=True))
        identifiers = [f"x-{job}" for job in listed]
        grouping = st.one_of(
            st.builds(
                lambda needed, unless: Grouping(all_of=(needed,), none_of=(unless,)),
                st.sampled_from(identifiers),
                st.sampled_from(identifiers),
            ),
            st.builds(lambda needed: Grouping(all_of=(needed,)), st.sampled_from(identifiers)),
            groupings(identifiers),
        ).filter(can_hold)
        rules = st.lists(st.builds(Dependency, st.sampled_from(identifiers), grouping), max_size=5)
        contexts.append(
            Context(
                name=name, jobs=tuple(ListedJob("x", job) for job in listed), dependencies=draw(rules)[:5]
            )
        )
    root = msgspec.structs.replace(contexts[0], contexts=tuple(contexts[1:]))
    return JobPlan(root=root, jobs=tuple(jobs))


def told(plan: JobPlan) -> set[str]:
    """The jobs that validation says never start, without those that only wait for them."""
    cycles, alone = what_never_starts(plan)
    return {job for cycle in cycles for job in cycle.jobs} | {each.job for each in alone}


def never_started(plan: JobPlan) -> set[str]:
    """The jobs that no order starts in one of their contexts."""
    topology = Topology(plan)
    started = started_by_some_order(topology)
    return {unit.identifier for unit in topology.units if unit.index not in started}


def started_by_some_order(topology: Topology) -> set[int]:
    """Every state that reports and starts from outside lead to is gone through, until all have started."""
    fact = InstanceStarted(plan="p", plan_version=1, agents=("x",))
    first = start(topology, instance_id=UUID(int=7), fact=fact, at=0, cause=CAUSE).state
    seen = {_shape(first)}
    waiting = [first]
    started: set[int] = set()
    while waiting and len(started) < len(topology.units):
        state = waiting.pop()
        for command in _possible(state):
            after_it = advance(state, command, at=0, cause=CAUSE).state
            started |= {unit.index for unit in topology.units if after_it.job(unit.index).initiation}
            shape = _shape(after_it)
            if shape not in seen:
                seen.add(shape)
                waiting.append(after_it)
    return started


def _shape(state: InstanceState) -> tuple[object, ...]:
    jobs = (state.job(unit.index) for unit in state.topology.units)
    return tuple((job.status, job.initiated, job.closed) for job in jobs)


def _possible(state: InstanceState) -> list[Command]:
    found: list[Command] = []
    for unit in state.topology.units:
        job = state.job(unit.index)
        if job.under_way:
            told = ProcessEvent(
                agent="x",
                job=unit.job.name,
                instance_id="",
                initiation_id=state.initiation_id(job.initiation),
                contexts=unit.contexts,
            )
            found.append(ReportEvent(event=msgspec.structs.replace(told, successful=True)))
            if job.status is not JobStatus.RUNNING:
                found.append(ReportEvent(event=msgspec.structs.replace(told, starting=True)))
        elif starts_outside(unit):
            found.append(SubmitJob(job=unit.identifier, context=unit.contexts[0]))
    return found


def starts_outside(unit: Unit) -> bool:
    return not unit.dependencies or unit.job.startup is StartupControl.MANUAL


@given(small(repeatable=False))
@settings(max_examples=150, deadline=None)
def test_something_is_told_exactly_when_no_order_of_completions_starts_some_job(plan: JobPlan) -> None:
    never = never_started(plan)
    assert told(plan) <= never
    assert bool(told(plan)) == bool(never)


@given(small(repeatable=True))
@settings(max_examples=100, deadline=None)
def test_no_job_that_some_order_of_completions_starts_is_refused(plan: JobPlan) -> None:
    assume(not any(cycle.repeatable for cycle in what_never_starts(plan)[0]))
    assert told(plan) <= never_started(plan)


# --- size ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3_000])
def test_thousands_of_jobs_that_must_not_have_completed_are_looked_at_in_one_go(count: int) -> None:
    names = [f"j{number}" for number in range(count)]
    chain = [
        after(name, before, unless=(following,))
        for before, name, following in zip(names, names[1:], [*names[2:], "last"], strict=False)
    ]
    held_up = after("last", names[-1], unless=(names[1],))
    plan = plan_of(" ".join([*names, "last"]), *chain, held_up)
    assert [error.job for error in refused(plan)] == ["x-last"]


def test_an_event_job_that_must_not_have_come_is_in_the_way_of_what_comes_after_it() -> None:
    local = EventJob.listed(EventKind.LOCAL, "e")
    root = Context(
        name="p",
        jobs=(ListedJob("x", "a"), ListedJob("x", "b"), ListedJob(local.agent, local.name)),
        dependencies=(
            Dependency(local.identifier, Grouping(all_of=("x-a",))),
            Dependency("x-b", Grouping(all_of=("x-a", local.identifier), none_of=(local.identifier,))),
        ),
    )
    jobs = tuple(CommandJob(agent="x", name=name, command_line="true") for name in "ab")
    (error,) = refused(JobPlan(root=root, jobs=jobs))
    assert error.job == "x-b"
