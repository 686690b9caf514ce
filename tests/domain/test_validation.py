import sys
from collections.abc import Callable
from itertools import combinations
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.domain.deadlocks import deadlocks
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    FileJob,
    Grouping,
    Job,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Member,
    Parameter,
    ScheduleJob,
    StartupControl,
    StartWindow,
    Trigger,
)
from jobledger.domain.possible import can_hold
from jobledger.domain.validation import Problem, validate
from random_plans import groupings

DAILY = StartWindow(cron="0 0 1 ? * *", time_to_live_ms=3_600_000)
NIGHTLY = Trigger(cron="0 0 7 * * ?")


def command(name: str, **fields: object) -> CommandJob:
    return CommandJob(**{"agent": "x", "name": name, "command_line": "true", **fields})


def after(job: str, *members: Member, **grouping: object) -> Dependency:
    if members:
        grouping["all_of"] = members
    return Dependency(f"x-{job}", Grouping(**grouping))


def context(name: str, jobs: str, *dependencies: Dependency, **fields: object) -> Context:
    listed = tuple(ListedJob("x", job) for job in jobs.split())
    return Context(name=name, jobs=listed, dependencies=dependencies, **fields)


def plan_of(root: Context, *described: Job, window: StartWindow = DAILY, **fields: object) -> JobPlan:
    """A plan whose jobs, unless described otherwise, are commands."""
    by_identifier = {job.identifier: job for job in described}
    for each in root.walk():
        for listed in each.jobs:
            if listed.agent == "x":
                by_identifier.setdefault(listed.identifier, command(listed.name))
    return JobPlan(root=root, jobs=tuple(by_identifier.values()), window=window, **fields)


def found_in(plan: JobPlan, severity: str = "error", **options: object) -> list[Problem]:
    return [problem for problem in validate(plan, **options) if problem.severity == severity]


def the_error(plan: JobPlan, **options: object) -> Problem:
    errors = found_in(plan, **options)
    assert len(errors) == 1, [str(error) for error in errors]
    return errors[0]


def the_warning(plan: JobPlan, words: str, **options: object) -> Problem:
    assert found_in(plan, **options) == []
    (warning,) = [each for each in found_in(plan, "warning", **options) if words in each.message]
    return warning


def test_a_plan_with_nothing_wrong_has_no_problems() -> None:
    root = context("p", "a b", after("b", "x-a"), contexts=(context("c", "b d", after("d", "x-b")),))
    assert validate(plan_of(root)) == []


def test_all_problems_are_found_at_once_each_with_its_place() -> None:
    root = context(
        "p",
        "a b",
        after("b", "x-missing"),
        contexts=(context("p", "c", after("c", none_of=("x-c",))),),
        locks=(Lock("", 0),),
    )
    plan = plan_of(
        root, command("a", command_line=" "), window=StartWindow(cron="nonsense", zone="Mars/Base")
    )
    errors = found_in(plan)
    assert {error.pointer for error in errors} == {
        "/window/cron",
        "/window/zone",
        "/root/contexts/0/name",
        "/root/dependencies/0/grouping",
        "/root/contexts/0/dependencies/0/grouping",
        "/root/locks/0/name",
        "/root/locks/0/count",
        "/jobs/0/command_line",
    }
    assert ("p", "x-b") in {(error.context, error.job) for error in errors}
    assert all(str(error).startswith("error: ") for error in errors)


# --- contexts and their jobs --------------------------------------------------------------------------------


def test_a_context_name_that_is_used_twice_is_an_error_wherever_the_two_are() -> None:
    twice = context("twice", "a b", after("b", "x-a"))
    error = the_error(plan_of(Context(name="p", contexts=(Context(name="c", contexts=(twice,)), twice))))
    assert (error.context, error.pointer) == ("twice", "/root/contexts/1/name")


def test_a_context_without_a_name_is_an_error() -> None:
    assert (
        the_error(plan_of(Context(name="p", contexts=(Context(name=""),)))).pointer == "/root/contexts/0/name"
    )


@pytest.mark.parametrize("field", ["held_in", "skipped_in"])
def test_a_context_that_the_plan_does_not_have_is_an_error_where_a_job_names_it(field: str) -> None:
    root = context("p", "a b", after("b", "x-a"))
    error = the_error(plan_of(root, command("a", **{field: ("p", "elsewhere")})))
    assert "'elsewhere'" in error.message
    assert error.job == "x-a"


def test_a_listed_job_that_no_dependency_mentions_is_a_warning() -> None:
    warning = the_warning(plan_of(context("p", "a b c", after("b", "x-a"))), "no dependency")
    assert (warning.context, warning.job) == ("p", "x-c")


def test_a_job_mentioned_in_a_nested_grouping_or_after_not_is_mentioned() -> None:
    grouping = Grouping(
        all_of=("x-a",), none_of=("x-b",), nested=Grouping(any_of=(Grouping(all_of=("x-c",)),))
    )
    assert validate(plan_of(context("p", "a b c d", Dependency("x-d", grouping)))) == []


def test_a_listed_job_without_a_template_is_an_error() -> None:
    plan = plan_of(context("p", "a b", after("b", "x-a")))
    error = the_error(msgspec.structs.replace(plan, jobs=plan.jobs[:1]))
    assert (error.context, error.job) == ("p", "x-b")


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_job_needs_no_template(kind: EventKind) -> None:
    root = Context(
        name="p",
        jobs=(ListedJob("x", "a"), ListedJob(kind.value, "e")),
        dependencies=(Dependency(f"{kind.value}-e", Grouping(all_of=("x-a",))),),
    )
    assert validate(plan_of(root)) == []


def test_a_template_that_no_context_lists_is_a_warning() -> None:
    assert the_warning(plan_of(Context(name="p"), command("a")), "never runs").job == "x-a"


def test_two_templates_of_one_job_are_an_error() -> None:
    plan = plan_of(context("p", "a b", after("b", "x-a")))
    twice = msgspec.structs.replace(plan, jobs=(*plan.jobs, command("a", repeatable=True)))
    assert the_error(twice).pointer == "/jobs/2"


@pytest.mark.parametrize(("agent", "name"), [("", "a"), ("x", "")])
def test_a_job_without_agent_or_name_is_an_error_where_it_is_listed_and_described(
    agent: str, name: str
) -> None:
    job = CommandJob(agent=agent, name=name, command_line="true")
    root = Context(name="p", jobs=(ListedJob(agent, name),))
    pointers = [error.pointer for error in found_in(JobPlan(root=root, jobs=(job,), window=DAILY))]
    assert pointers == ["/root/jobs/0", "/jobs/0"]


def test_a_dependency_of_a_job_that_the_context_does_not_list_is_an_error() -> None:
    root = context("p", "a", after("b", "x-a"), contexts=(context("c", "b d", after("d", "x-b")),))
    assert the_error(plan_of(root)).pointer == "/root/dependencies/0/dependant"


def test_a_member_that_only_another_context_lists_is_an_error() -> None:
    root = context(
        "p",
        "a b",
        after("b", "x-a", Grouping(any_of=("x-c",))),
        contexts=(context("c", "c d", after("d", "x-c")),),
    )
    error = the_error(plan_of(root))
    assert (error.context, error.job) == ("p", "x-b")
    assert "'x-c'" in error.message


@pytest.mark.parametrize(
    "job",
    [
        ScheduleJob(agent="x", name="s", trigger=NIGHTLY),
        FileJob(agent="x", name="s", trigger=NIGHTLY, filenames=("/in/f",)),
    ],
)
def test_a_schedule_or_file_watcher_that_depends_on_something_is_an_error(job: Job) -> None:
    assert "starts from outside" in the_error(plan_of(context("p", "a s", after("s", "x-a")), job)).message
    assert validate(plan_of(context("p", "a s", Dependency("x-s"), after("a", "x-s")), job)) == []


# --- groupings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grouping",
    [
        Grouping(),
        Grouping(none_of=("x-a",)),
        Grouping(all_of=("x-a",), none_of=("x-a",)),
        Grouping(any_of=("x-a", "x-b"), none_of=("x-a", "x-b")),
        Grouping(all_of=("x-a", Grouping(none_of=("x-b",)))),
        Grouping(any_of=(Grouping(none_of=("x-b",)),)),
        Grouping(all_of=("x-a",), nested=Grouping(none_of=("x-b",))),
        Grouping(all_of=("x-a",), nested=Grouping(any_of=("x-b",), none_of=("x-a",))),
        Grouping(none_of=("x-a",), nested=Grouping(all_of=("x-a", "x-b"))),
        Grouping(all_of=("x-a", Grouping(any_of=("x-b",), none_of=("x-a",)))),
    ],
)
def test_a_grouping_that_can_never_hold_is_an_error(grouping: Grouping) -> None:
    error = the_error(plan_of(context("p", "a b c", after("b", "x-a"), Dependency("x-c", grouping))))
    assert "can never hold" in error.message
    assert error.job == "x-c"


@pytest.mark.parametrize(
    "grouping",
    [
        Grouping(nested=Grouping(all_of=("x-a",))),
        Grouping(none_of=("x-b",), nested=Grouping(all_of=("x-a",))),
        Grouping(any_of=("x-a", "x-b"), none_of=("x-a",)),
        Grouping(all_of=("x-a",), any_of=("x-b",), none_of=("x-a",)),
        Grouping(any_of=("x-a", Grouping(none_of=("x-b",)))),
        Grouping(all_of=("x-a",), none_of=(Grouping(all_of=("x-a", "x-b")),)),
    ],
)
def test_a_grouping_that_may_hold_is_none(grouping: Grouping) -> None:
    assert found_in(plan_of(context("p", "a b c", after("b", "x-a"), Dependency("x-c", grouping)))) == []


JOBS = ("x-a", "x-b", "x-c")


def holds(member: Member, satisfied: frozenset[str]) -> bool:
    """The rule in the plainest words: nested and (all or any) and not none."""
    if isinstance(member, str):
        return member in satisfied
    either = bool(member.all_of) and all(holds(each, satisfied) for each in member.all_of)
    either = either or any(holds(each, satisfied) for each in member.any_of)
    if not (member.all_of or member.any_of):
        either = member.nested is not None
    blocked = any(holds(each, satisfied) for each in member.none_of)
    return either and not blocked and (member.nested is None or holds(member.nested, satisfied))


@given(groupings(JOBS))
@settings(max_examples=500, deadline=None)
def test_a_grouping_can_hold_exactly_when_some_outcome_of_its_jobs_makes_it_hold(grouping: Grouping) -> None:
    assert can_hold(grouping) == holds_some_day(grouping)


def holds_some_day(grouping: Grouping) -> bool:
    jobs = sorted(set(grouping.identifiers()))
    outcomes = (frozenset(some) for size in range(len(jobs) + 1) for some in combinations(jobs, size))
    return any(holds(grouping, outcome) for outcome in outcomes)


def test_a_grouping_too_tangled_to_be_understood_is_given_the_benefit_of_the_doubt() -> None:
    """More jobs than boxes, each in one and no two in the same: no short proof shows that this cannot be."""
    jobs, boxes = range(9), range(8)

    def is_in(job: int, box: int) -> str:
        return f"x-{job}in{box}"

    crowded = [
        Grouping(all_of=(is_in(one, box), is_in(other, box)))
        for box in boxes
        for one, other in combinations(jobs, 2)
    ]
    each_somewhere = [Grouping(any_of=tuple(is_in(job, box) for box in boxes)) for job in jobs]
    assert can_hold(Grouping(all_of=tuple(each_somewhere), none_of=tuple(crowded)))


# --- cycles -------------------------------------------------------------------------------------------------


def test_a_cycle_is_an_error_that_names_its_jobs() -> None:
    root = context("p", "a b c", after("a", "x-c"), after("b", "x-a"), after("c", "x-b"))
    error = the_error(plan_of(root))
    assert "cycle" in error.message
    assert error.message.count("waits for") == 3


def test_a_job_that_waits_for_itself_is_an_error() -> None:
    assert "x-a waits for x-a" in the_error(plan_of(context("p", "a", after("a", "x-a")))).message


def test_a_cycle_through_two_contexts_by_shared_jobs_is_an_error() -> None:
    root = context("p", "a b", after("b", "x-a"), contexts=(context("c", "a b", after("a", "x-b")),))
    assert "cycle" in the_error(plan_of(root)).message


def test_jobs_of_their_own_in_each_context_make_no_cycle_between_contexts() -> None:
    root = context("p", "a b", after("b", "x-a"), contexts=(context("c", "a b", after("a", "x-b")),))
    assert found_in(plan_of(root, command("a", target_residing_context_only=True))) == []


def test_a_cycle_within_nested_groupings_is_an_error() -> None:
    nested = Grouping(nested=Grouping(any_of=(Grouping(all_of=("x-b",)), Grouping(any_of=("x-b",)))))
    assert (
        "cycle"
        in the_error(plan_of(context("p", "a b", Dependency("x-a", nested), after("b", "x-a")))).message
    )


@pytest.mark.parametrize(
    "way_out",
    [
        after("a", any_of=("x-b", "x-go")),
        after("a", "x-b", any_of=("x-go",)),
        after("a", nested=Grouping(any_of=("x-b", Grouping(all_of=("x-go",))))),
    ],
)
def test_a_cycle_that_another_job_can_start_is_none(way_out: Dependency) -> None:
    assert validate(plan_of(context("p", "go a b", way_out, after("b", "x-a")))) == []


def test_a_cycle_that_another_dependency_starts_is_none_in_whichever_context_it_is() -> None:
    inside = context("p", "go a b", after("a", "x-b"), after("a", "x-go"), after("b", "x-a"))
    assert validate(plan_of(inside)) == []
    outside = context("c", "go a", after("a", "x-go"))
    root = context("p", "a b", after("a", "x-b"), after("b", "x-a"), contexts=(outside,))
    assert validate(plan_of(root)) == []


def test_a_way_out_that_needs_the_cycle_too_is_none() -> None:
    root = context("p", "go a b", after("a", "x-b", "x-go"), after("b", "x-a"))
    assert "cycle" in the_error(plan_of(root)).message


@pytest.mark.parametrize(
    "contradiction",
    [
        Grouping(all_of=("x-go",), none_of=("x-go",)),
        Grouping(none_of=("x-go",)),
        Grouping(all_of=(Grouping(any_of=("x-go",)),), none_of=(Grouping(any_of=("x-go", "x-c")),)),
    ],
)
def test_an_alternative_that_contradicts_itself_is_no_way_out_of_a_cycle(contradiction: Grouping) -> None:
    root = context("p", "go a b c", after("a", any_of=("x-b", contradiction)), after("b", "x-a"))
    error = the_error(plan_of(root))
    assert "a cycle: x-a waits for x-b waits for x-a" in error.message
    assert (error.context, error.pointer) == ("p", "/root/dependencies/0")


def test_waiting_for_a_job_not_to_complete_makes_no_cycle() -> None:
    root = context("p", "go a b", after("a", "x-go", none_of=("x-b",)), after("b", "x-a"))
    assert validate(plan_of(root)) == []


def test_a_cycle_of_repeatable_jobs_alone_is_a_loop_that_somebody_starts() -> None:
    root = context("p", "a b", after("a", "x-b"), after("b", "x-a"))
    loop = plan_of(root, command("a", repeatable=True), command("b", repeatable=True))
    assert "by hand" in the_warning(loop, "cycle").message
    assert "cycle" in the_error(plan_of(root, command("a", repeatable=True))).message


@pytest.mark.parametrize(
    "starts_otherwise",
    [
        EventJob(agent="GLOBAL_EVENT", name="g", kind=EventKind.GLOBAL),
        CommandJob(agent="x", name="g", command_line="true", startup=StartupControl.MANUAL),
    ],
)
def test_what_others_raise_or_an_operator_starts_waits_for_no_cycle(starts_otherwise: Job) -> None:
    root = Context(
        name="p",
        jobs=(ListedJob("x", "a"), ListedJob(starts_otherwise.agent, "g")),
        dependencies=(
            after("a", starts_otherwise.identifier),
            Dependency(starts_otherwise.identifier, Grouping(all_of=("x-a",))),
        ),
    )
    assert found_in(plan_of(root, starts_otherwise)) == []


def test_what_waits_for_a_cycle_is_not_blamed_for_it() -> None:
    root = context("p", "a b c d", after("a", "x-b"), after("b", "x-a"), after("c", "x-b"), after("d", "x-c"))
    error = the_error(plan_of(root))
    assert "x-c" not in error.message


def test_every_cycle_is_named_and_a_cycle_that_another_would_start_is_not() -> None:
    root = context(
        "p",
        "a b c d e f",
        after("a", "x-b"),
        after("b", "x-a"),
        after("c", "x-d"),
        after("d", "x-c"),
        after("e", any_of=("x-f", "x-a")),
        after("f", "x-e"),
    )
    assert [set(found.jobs) for found in deadlocks(plan_of(root))] == [{"x-a", "x-b"}, {"x-c", "x-d"}]


def test_a_missing_member_is_told_once_and_not_as_a_cycle_as_well() -> None:
    root = context("p", "a b", after("a", "x-missing", "x-b"), after("b", any_of=("x-gone", "x-a")))
    messages = [error.message for error in found_in(plan_of(root))]
    assert len(messages) == 2
    assert all("does not list" in message for message in messages)


@st.composite
def tangled(draw: st.DrawFn) -> JobPlan:
    names = "abcdef"[: draw(st.integers(1, 6))]
    described = [
        command(
            name,
            target_residing_context_only=draw(st.integers(0, 3)) == 0,
            startup=draw(st.sampled_from([StartupControl.AUTOMATIC] * 5 + [StartupControl.MANUAL])),
        )
        for name in names
    ]
    contexts = []
    for name in ("p", "q", "r")[: draw(st.integers(1, 3))]:
        jobs = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        possible = groupings([f"x-{job}" for job in jobs]).filter(can_hold)
        dependencies = draw(
            st.lists(
                st.builds(
                    lambda job, grouping: Dependency(f"x-{job}", grouping),
                    st.sampled_from(jobs),
                    st.none() | possible,
                ),
                max_size=4,
            )
        )
        contexts.append(context(name, " ".join(jobs), *dependencies))
    root = msgspec.structs.replace(contexts[0], contexts=tuple(contexts[1:]))
    return plan_of(root, *described)


def stuck_jobs(plan: JobPlan) -> set[tuple[str, str]]:
    """What never starts, found by trying again and again; a job is known by itself, or with its context."""
    own = {job.identifier for job in plan.jobs if getattr(job, "target_residing_context_only", False)}
    manual = {job.identifier for job in plan.jobs if job.startup is StartupControl.MANUAL}

    def unit(context_name: str, job: str) -> tuple[str, str]:
        return (job, context_name if job in own else "")

    contexts = list(plan.root.walk())
    units = {unit(each.name, job.identifier) for each in contexts for job in each.jobs}
    rules = [(each, rule) for each in contexts for rule in each.dependencies if rule.grouping is not None]
    ruled = {unit(each.name, rule.dependant) for each, rule in rules}
    started = {each for each in units if each not in ruled or each[0] in manual}
    while True:
        more = {
            unit(each.name, rule.dependant)
            for each, rule in rules
            if reachable(
                rule.grouping,
                {job.identifier for job in each.jobs if unit(each.name, job.identifier) in started},
            )
        }
        if more <= started:
            return units - started
        started |= more


def reachable(member: Member | None, started: set[str]) -> bool:
    """As ``holds``, with what must not be satisfied left out: it keeps no job from being reached.

    Only a member that contradicts itself is of no use.
    """
    if not isinstance(member, Grouping):
        return member is None or member in started
    if not holds_some_day(member):
        return False
    either = bool(member.all_of) and all(reachable(each, started) for each in member.all_of)
    either = either or any(reachable(each, started) for each in member.any_of)
    return (either or not (member.all_of or member.any_of)) and reachable(member.nested, started)


@given(tangled())
@settings(max_examples=200, deadline=None)
def test_a_plan_has_a_cycle_exactly_when_something_in_it_can_never_start(plan: JobPlan) -> None:
    stuck = {job for job, _ in stuck_jobs(plan)}
    found = deadlocks(plan)
    assert bool(found) == bool(stuck)
    for deadlock in found:
        assert set(deadlock.jobs) <= stuck


@given(tangled())
@settings(max_examples=150, deadline=None)
def test_removing_a_dependency_of_each_named_cycle_again_and_again_frees_the_plan(plan: JobPlan) -> None:
    for _ in range(40):
        found = deadlocks(plan)
        if not found:
            break
        plan = without_dependencies_of(plan, found[0].jobs[0], found[0].context)
    assert not stuck_jobs(plan)


def without_dependencies_of(plan: JobPlan, job: str, within: str) -> JobPlan:
    own = any(
        isinstance(each, CommandJob) and each.target_residing_context_only and each.identifier == job
        for each in plan.jobs
    )

    def freed(each: Context) -> Context:
        kept = tuple(
            rule for rule in each.dependencies if rule.dependant != job or (own and each.name != within)
        )
        return msgspec.structs.replace(
            each, dependencies=kept, contexts=tuple(freed(child) for child in each.contexts)
        )

    return msgspec.structs.replace(plan, root=freed(plan.root))


# --- templates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "pointer"),
    [
        (command("a", command_line=""), "/jobs/0/command_line"),
        (command("a", command_line=" \n"), "/jobs/0/command_line"),
        (command("a", min_execution_minutes=5, max_execution_minutes=4), "/jobs/0/min_execution_minutes"),
        (
            command("a", parameters=(Parameter("d"), Parameter("e"), Parameter("d", "1"))),
            "/jobs/0/parameters/2",
        ),
        (ScheduleJob(agent="x", name="a", trigger=Trigger()), "/jobs/0/trigger/cron"),
        (ScheduleJob(agent="x", name="a", trigger=Trigger(cron="0 0 25 * * ?")), "/jobs/0/trigger/cron"),
        (
            ScheduleJob(agent="x", name="a", trigger=Trigger(cron="0 0 7 * * ?", zone="Nowhere")),
            "/jobs/0/trigger/zone",
        ),
        (
            ScheduleJob(
                agent="x", name="a", trigger=Trigger(cron="0 0 7 * * ?", blackout_expressions=("x",))
            ),
            "/jobs/0/trigger/blackout_expressions/0",
        ),
        (
            ScheduleJob(agent="x", name="a", trigger=Trigger(cron="0 0 7 * * ?", blackout_ranges=((5, 4),))),
            "/jobs/0/trigger/blackout_ranges/0",
        ),
        (
            FileJob(agent="x", name="a", trigger=NIGHTLY, filenames=("f",), sla_cron="late"),
            "/jobs/0/sla_cron",
        ),
    ],
)
def test_what_is_wrong_with_a_template_is_an_error_with_its_field(job: Job, pointer: str) -> None:
    error = the_error(plan_of(context("p", "a b", after("b", "x-a")), job))
    assert (error.pointer, error.job) == (pointer, "x-a")


def test_equal_minimum_and_maximum_execution_times_are_fine() -> None:
    job = command("a", min_execution_minutes=5, max_execution_minutes=5)
    assert validate(plan_of(context("p", "a b", after("b", "x-a")), job)) == []


def test_an_agent_that_has_not_been_heard_of_is_a_warning_for_its_jobs_alone() -> None:
    root = Context(
        name="p",
        jobs=(ListedJob("x", "a"), ListedJob("y", "b"), ListedJob("GLOBAL_EVENT", "g")),
        dependencies=(
            Dependency("y-b", Grouping(all_of=("x-a",))),
            Dependency("GLOBAL_EVENT-g", Grouping(all_of=("y-b",))),
        ),
    )
    plan = plan_of(root, CommandJob(agent="y", name="b", command_line="true"))
    assert validate(plan) == []
    assert the_warning(plan, "not been heard of", known_agents=["x"]).job == "y-b"


# --- when a plan starts -------------------------------------------------------------------------------------


def started(cron: str | None, minutes: float, **fields: object) -> JobPlan:
    window = StartWindow(cron=cron, time_to_live_ms=int(minutes * 60_000))
    return plan_of(Context(name="p"), window=window, **fields)


def test_a_time_to_live_of_nothing_is_a_warning_and_a_negative_one_an_error() -> None:
    assert "by hand only" in the_warning(started("0 0 1 ? * *", 0), "time to live").message
    assert the_error(started("0 0 1 ? * *", -1)).pointer == "/window/time_to_live_ms"


@pytest.mark.parametrize(
    ("cron", "minutes", "multiple", "fits"),
    [
        ("0 0/2 * ? * *", 2, 1, False),
        ("0 0/2 * ? * *", 2, 2, True),
        ("0 0/2 * ? * *", 1.99, 1, True),
        ("0 0/3 * ? * *", 23 * 60, 3, False),
        ("0 0 1 ? * *", 23 * 60, 1, True),
        ("0 0 1 ? * *", 24 * 60, 1, False),
        ("* * * ? * *", 1, 1, False),
        ("0 0 9,17 * * ?", 10 * 60, 1, False),
        ("0 0 9,17 * * ?", 7 * 60, 1, True),
        ("0 0 9 ? * MON-FRI", 48 * 60, 1, False),
        ("0 0 9 1 1 ? 2030", 10**6, 1, True),
        (None, 10**6, 1, True),
    ],
)
def test_instances_of_a_plan_that_is_not_concurrent_live_shorter_than_the_time_between_starts(
    cron: str | None, minutes: float, multiple: float, fits: bool
) -> None:
    plan = started(cron, minutes)
    assert (found_in(plan, start_interval_multiple=multiple) == []) is fits
    concurrent = msgspec.structs.replace(plan, concurrent=True)
    assert found_in(concurrent, start_interval_multiple=multiple) == []


def test_the_day_on_which_the_clock_is_set_forward_shortens_no_time_to_live() -> None:
    window = StartWindow(cron="0 0 1 ? * *", zone="Europe/London", time_to_live_ms=int(23.5 * 3_600_000))
    assert found_in(plan_of(Context(name="p"), window=window)) == []


def test_working_days_in_a_cron_expression_are_read_only_where_the_plan_has_them() -> None:
    window = StartWindow(cron="0 0 1 23W * ?", time_to_live_ms=1000, working_days=True)
    assert found_in(plan_of(Context(name="p"), window=window)) == []


def test_a_blackout_that_cannot_be_understood_is_an_error() -> None:
    window = msgspec.structs.replace(
        DAILY, blackout_expressions=("* * * 25 12 ?", "?"), blackout_ranges=((9, 8),)
    )
    pointers = [error.pointer for error in found_in(plan_of(Context(name="p"), window=window))]
    assert pointers == ["/window/blackout_expressions/1", "/window/blackout_ranges/0"]


def test_parameters_of_one_name_are_an_error_in_a_context() -> None:
    root = Context(name="p", contexts=(Context(name="c", parameters=(Parameter("d"), Parameter("d"))),))
    error = the_error(plan_of(root))
    assert (error.context, error.pointer) == ("c", "/root/contexts/0/parameters/1")


# --- locks --------------------------------------------------------------------------------------------------


def locked(*locks: Lock, **fields: object) -> JobPlan:
    return plan_of(context("p", "a b", after("b", "x-a"), locks=locks, **fields))


@pytest.mark.parametrize(
    ("lock", "pointer"),
    [
        (Lock(""), "/root/locks/0/name"),
        (Lock("l", 0), "/root/locks/0/count"),
        (Lock("l", -1), "/root/locks/0/count"),
        (Lock("l", participants=(LockParticipant("q", "x-a"),)), "/root/locks/0/participants/0"),
        (Lock("l", participants=(LockParticipant("p", "x-c"),)), "/root/locks/0/participants/0"),
        (Lock("l", participants=(LockParticipant("p", "x-a", 0),)), "/root/locks/0/participants/0/count"),
    ],
)
def test_what_is_wrong_with_a_lock_is_an_error_with_its_place(lock: Lock, pointer: str) -> None:
    assert the_error(locked(lock)).pointer == pointer


def test_a_participant_that_takes_more_than_there_is_is_a_warning() -> None:
    lock = Lock("l", 2, participants=(LockParticipant("p", "x-a", 3), LockParticipant("p", "x-b", 2)))
    assert the_warning(locked(lock), "it takes 3").job == "x-a"


def test_two_locks_of_one_name_have_one_count() -> None:
    child = Context(name="c", locks=(Lock("l", 3),))
    error = the_error(locked(Lock("l", 2), contexts=(child,)))
    assert error.pointer == "/root/contexts/0/locks/0/count"
    same = Context(name="c", locks=(Lock("l", 2),))
    assert found_in(locked(Lock("l", 2), contexts=(same,))) == []


def test_two_locks_of_one_name_are_both_exclusive_or_neither_is() -> None:
    error = the_error(locked(Lock("l"), contexts=(Context(name="c", locks=(Lock("l", exclusive=True),)),)))
    assert error.pointer == "/root/contexts/0/locks/0/exclusive"
    assert found_in(locked(Lock("l", exclusive=True), Lock("l", exclusive=True))) == []


def both_taking(first: str, second: str, **described: object) -> JobPlan:
    """A plan whose job x-a stands in contexts p and c, and takes a lock for each."""
    child = context("c", "a", locks=(Lock(second, participants=(LockParticipant("c", "x-a", 2),)),))
    lock = Lock(first, participants=(LockParticipant("p", "x-a"),))
    root = context("p", "a b", after("b", "x-a"), locks=(lock,), contexts=(child,))
    return plan_of(root, command("a", **described))


def test_a_job_takes_one_lock_also_where_it_stands_in_several_contexts() -> None:
    error = the_error(both_taking("l", "m"))
    assert (error.context, error.job) == ("c", "x-a")
    assert error.pointer == "/root/contexts/0/locks/0/participants/0"
    assert error.message == (
        "it takes part in lock 'm', but in context 'p', where it is one job, also in lock 'l', and a job "
        "takes one lock; remove it from one of them, or make one lock of the two"
    )
    assert found_in(both_taking("l", "l")) == []


def test_a_job_that_targets_its_residing_context_may_take_another_lock_in_each() -> None:
    assert found_in(both_taking("l", "m", target_residing_context_only=True)) == []
    takes = (LockParticipant("p", "x-a"),)
    twice = locked(Lock("l", participants=takes), Lock("m", participants=takes))
    only_there = command("a", target_residing_context_only=True)
    for plan in (twice, msgspec.structs.replace(twice, jobs=(only_there, command("b")))):
        error = the_error(plan)
        assert error.pointer == "/root/locks/1/participants/0"
        assert error.message.startswith("it takes part in lock 'm', but also in lock 'l'")


@pytest.mark.parametrize("described", [(), (EventJob.listed(EventKind.LOCAL, "e"),)])
def test_a_participant_that_runs_no_command_is_a_warning(described: tuple[Job, ...]) -> None:
    lock = Lock("l", participants=(LockParticipant("p", "LOCAL_EVENT_JOB-e"),))
    root = Context(name="p", jobs=(ListedJob("LOCAL_EVENT_JOB", "e"),), locks=(lock,))
    assert the_warning(plan_of(root, *described), "it takes no lock").job == "LOCAL_EVENT_JOB-e"
    timed = ScheduleJob(agent="x", name="a", trigger=NIGHTLY)
    lock = Lock("l", participants=(LockParticipant("p", "x-a"),))
    plan = plan_of(context("p", "a b", after("b", "x-a"), locks=(lock,)), timed)
    assert the_warning(plan, "it takes no lock").job == "x-a"


# --- size ---------------------------------------------------------------------------------------------------


def sized(shape: str, count: int) -> JobPlan:
    """A plan of so many jobs whose dependencies have that shape."""
    names = [f"j{number}" for number in range(count)]
    identifiers = tuple(f"x-{name}" for name in names)
    following = [after(name, before) for before, name in zip(identifiers, names[1:], strict=False)]
    dependencies = {
        "chain": following,
        "cycle": [*following, after("j0", identifiers[-1])],
        "join": [after("j0", *identifiers[1:])],
        "fan": [after(name, "x-j0") for name in names[1:]],
        "ladder": [
            after(name, any_of=(f"x-j{number ^ 1}", f"x-j{(number + 2) % count}"))
            for number, name in enumerate(names)
        ],
    }[shape]
    return plan_of(context("p", " ".join(names), *dependencies))


def lines_run(act: Callable[[], object]) -> int:
    """How many lines of Python run: the same on every machine, however busy it is."""
    count = 0

    def traced(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return traced

    before = sys.gettrace()
    sys.settrace(traced)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("shape", ["chain", "cycle", "join", "fan", "ladder"])
def test_ten_times_as_many_jobs_take_ten_times_the_work_to_validate(shape: str) -> None:
    small, large = sized(shape, 400), sized(shape, 4_000)
    assert len(found_in(large)) == (shape in {"cycle", "ladder"})
    assert lines_run(lambda: validate(large)) < 12 * lines_run(lambda: validate(small))


@pytest.mark.parametrize("shape", ["chain", "cycle", "join", "fan", "ladder"])
def test_ten_thousand_jobs_neither_overwhelm_the_validation_nor_hide_a_cycle(shape: str) -> None:
    assert len(found_in(sized(shape, 10_000))) == (shape in {"cycle", "ladder"})
