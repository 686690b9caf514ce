"""What changed between two versions of a plan."""

import time
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jobledger.domain.notification_settings import (
    JobNotification,
    MonitorType,
    NotificationSettings,
    PlanNotifications,
)
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    Grouping,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Parameter,
    ScheduleJob,
    StartWindow,
    Trigger,
)
from jobledger.domain.plan_diff import PlanChange, document_changes, plan_changes
from jobledger.domain.plan_words import condition
from jobledger.domain.standings import with_standings
from wire.wire_strategies import plans, unhurried

NIGHTLY = ScheduleJob(agent="x", name="night", trigger=Trigger(cron="0 0 1 * * ?"))


def command(name: str, **fields: Any) -> CommandJob:
    return CommandJob(**{"agent": "x", "name": name, "command_line": "true", **fields})


def after(job: str, *members: str) -> Dependency:
    return Dependency(f"x-{job}", Grouping(all_of=tuple(f"x-{member}" for member in members)))


def context(name: str, jobs: str, *dependencies: Dependency, **fields: Any) -> Context:
    listed = tuple(ListedJob("x", job) for job in jobs.split())
    return Context(name=name, jobs=listed, dependencies=dependencies, **fields)


def plan(root: Context, *jobs: Any, **fields: Any) -> JobPlan:
    return JobPlan(root=root, jobs=with_standings(root, jobs), **fields)


def changes(before: JobPlan, after_it: JobPlan) -> list[dict[str, Any]]:
    raw = msgspec.json.encode(list(plan_changes(before, after_it)))
    told: list[dict[str, Any]] = msgspec.json.decode(raw)
    return told


BASE = plan(
    context(
        "p",
        "a b",
        after("b", "a"),
        contexts=(context("c", "b c", after("c", "b")),),
        parameters=(Parameter("day", "1"),),
        locks=(Lock("l", 1, participants=(LockParticipant("p", "x-a"),)),),
    ),
    command("a"),
    command("b"),
    command("c"),
)


TELL_OPS = NotificationSettings(plan=PlanNotifications(monitor_types=(MonitorType.ERROR,), to=("ops@x",)))


def with_root(**fields: Any) -> JobPlan:
    root = msgspec.structs.replace(BASE.root, **fields)
    return plan(root, *BASE.jobs)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            plan(BASE.root, *BASE.jobs, concurrent=True),
            {
                "change": "changed",
                "what": "plan",
                "name": "p",
                "field": "concurrent",
                "before": False,
                "after": True,
            },
        ),
        (
            plan(BASE.root, *BASE.jobs, window=StartWindow(cron="0 0 1 ? * *")),
            {"change": "changed", "what": "window", "name": "p", "field": "cron", "after": "0 0 1 ? * *"},
        ),
        (
            plan(BASE.root, command("a", command_line="false"), command("b"), command("c")),
            {
                "change": "changed",
                "what": "job",
                "name": "x-a",
                "field": "command_line",
                "before": "true",
                "after": "false",
            },
        ),
        (
            plan(BASE.root, command("a", parameters=(Parameter("d", "1"),)), command("b"), command("c")),
            {"change": "added", "what": "parameter", "name": "d", "job": "x-a", "after": {"default": "1"}},
        ),
        (
            plan(BASE.root, *BASE.jobs, notifications=TELL_OPS),
            {
                "change": "added",
                "what": "notification",
                "name": "p",
                "after": {"monitor_types": ["ERROR"], "to": ["ops@x"]},
            },
        ),
        (
            plan(
                BASE.root,
                *BASE.jobs,
                notifications=NotificationSettings(
                    jobs=(JobNotification(job="a", monitor_type=MonitorType.START, context="c"),)
                ),
            ),
            {
                "change": "added",
                "what": "notification",
                "name": "START",
                "job": "a",
                "context": "c",
                "after": {"job": "a", "monitor_type": "START", "context": "c"},
            },
        ),
        (
            with_root(parameters=(Parameter("day", "2"),)),
            {
                "change": "changed",
                "what": "parameter",
                "name": "day",
                "context": "p",
                "before": {"default": "1"},
                "after": {"default": "2"},
            },
        ),
        (
            with_root(dependencies=(after("b", "a"), after("a", "b"))),
            {
                "change": "added",
                "what": "dependency",
                "name": "x-a",
                "context": "p",
                "after": {"all_of": ["x-b"]},
            },
        ),
        (
            with_root(dependencies=(Dependency("x-b"),)),
            {
                "change": "changed",
                "what": "dependency",
                "name": "x-b",
                "context": "p",
                "before": {"all_of": ["x-a"]},
            },
        ),
        (
            with_root(context_dependencies=('{"contextIdentifier":"c"}',)),
            {
                "change": "changed",
                "what": "context",
                "name": "p",
                "field": "context_dependencies",
                "before": [],
                "after": ['{"contextIdentifier":"c"}'],
            },
        ),
        (
            with_root(jobs=(ListedJob("x", "b"), ListedJob("x", "a"))),
            {
                "change": "changed",
                "what": "context",
                "name": "p",
                "field": "order of jobs",
                "before": ["x-a", "x-b"],
                "after": ["x-b", "x-a"],
            },
        ),
        (
            with_root(locks=(Lock("l", 2, participants=(LockParticipant("p", "x-a"),)),)),
            {
                "change": "changed",
                "what": "lock",
                "name": "l",
                "context": "p",
                "field": "count",
                "before": 1,
                "after": 2,
            },
        ),
        (
            with_root(locks=(Lock("l", 1, participants=(LockParticipant("p", "x-a", 2),)),)),
            {
                "change": "changed",
                "what": "participant",
                "name": "l",
                "context": "p",
                "job": "x-a",
                "before": 1,
                "after": 2,
            },
        ),
    ],
)
def test_one_change_is_told_as_one_change(changed: JobPlan, told: dict[str, Any]) -> None:
    assert changes(BASE, changed) == [told]


def test_a_job_that_becomes_of_another_kind_is_told_whole() -> None:
    root = context("p", "night b", after("b", "night"))
    before = plan(root, command("night"), command("b"))
    (change,) = changes(before, plan(root, NIGHTLY, command("b")))
    assert (change["name"], change["field"]) == ("x-night", "kind")
    assert (change["before"]["type"], change["after"]["type"]) == ("command", "schedule")


def test_a_new_trigger_is_told_by_the_field_that_changed() -> None:
    root = context("p", "night")
    later = msgspec.structs.replace(NIGHTLY, trigger=Trigger(cron="0 0 2 * * ?"))
    (change,) = changes(plan(root, NIGHTLY), plan(root, later))
    assert (change["field"], change["before"], change["after"]) == (
        "trigger.cron",
        "0 0 1 * * ?",
        "0 0 2 * * ?",
    )


def test_a_new_job_is_told_with_all_that_comes_with_it() -> None:
    root = msgspec.structs.replace(
        BASE.root,
        jobs=(*BASE.root.jobs, ListedJob("x", "d")),
        dependencies=(*BASE.root.dependencies, after("d", "b")),
    )
    told = changes(BASE, plan(root, *BASE.jobs, command("d")))
    assert [(each["change"], each["what"], each["name"]) for each in told] == [
        ("added", "listing", "x-d"),
        ("added", "dependency", "x-d"),
        ("added", "job", "x-d"),
    ]


def test_a_context_that_is_moved_is_not_told_as_removed_and_added() -> None:
    moved = context("p", "", contexts=(context("q", "", contexts=(context("c", "a"),)), context("r", "")))
    before = context("p", "", contexts=(context("q", ""), context("r", "", contexts=(context("c", "a"),))))
    (change,) = changes(plan(before, command("a")), plan(moved, command("a")))
    assert (change["field"], change["before"], change["after"]) == ("parent", "r", "q")


def test_a_context_that_is_gone_is_told_with_what_was_in_it() -> None:
    told = changes(BASE, plan(msgspec.structs.replace(BASE.root, contexts=()), *BASE.jobs))
    assert [(each["change"], each["what"], each["name"]) for each in told] == [
        ("removed", "context", "c"),
        ("removed", "listing", "x-b"),
        ("removed", "listing", "x-c"),
        ("removed", "dependency", "x-c"),
    ]


def test_documents_are_told_by_their_path() -> None:
    before = {"profiles/a.json": b"1", "profiles/b.json": b"1"}
    told = list(document_changes(before, {"profiles/b.json": b"2", "profiles/c.json": b"1"}))
    assert [(each.change, each.name) for each in told] == [
        ("removed", "profiles/a.json"),
        ("changed", "profiles/b.json"),
        ("added", "profiles/c.json"),
    ]


@given(plans(), plans())
@unhurried
def test_two_plans_differ_exactly_when_something_is_told(one: JobPlan, other: JobPlan) -> None:
    other = msgspec.structs.replace(other, root=msgspec.structs.replace(other.root, name=one.name))
    assume(len({each.name for each in other.root.walk()}) == sum(1 for _ in other.root.walk()))
    assert bool(list(plan_changes(one, other))) == (one != normal(other))
    assert list(plan_changes(one, one)) == []


@given(plans(), st.data())
@unhurried
def test_a_change_of_one_value_anywhere_is_told(one: JobPlan, data: st.DataObject) -> None:
    raw = msgspec.to_builtins(one)
    if not changed_somewhere(raw, data):
        return
    try:
        other = normal(msgspec.convert(raw, JobPlan))
    except msgspec.ValidationError:
        return
    if other.name == one.name and same_keys(one, other):
        assert bool(list(plan_changes(one, other))) == (one != other)


@given(plans(), plans())
@unhurried
def test_the_way_back_is_the_mirror_of_the_way_there(one: JobPlan, other: JobPlan) -> None:
    there, back = list(plan_changes(one, other)), list(plan_changes(other, one))
    mirrored = {"added": "removed", "removed": "added", "changed": "changed"}

    def key(each: PlanChange, change: str) -> tuple[object, ...]:
        return (change, each.what, each.name, each.context or "", each.job or "", each.field or "")

    mine = sorted(key(each, each.change) for each in there if each.what != "plan")
    others = sorted(key(each, mirrored[each.change]) for each in back if each.what != "plan")
    renamed = {one.name, other.name}
    assert [each for each in mine if each[2] not in renamed] == [
        each for each in others if each[2] not in renamed
    ]


def normal(plan_as_given: JobPlan) -> JobPlan:
    """The plan with what is derived of it derived anew, as reading it from documents does."""
    jobs = with_standings(plan_as_given.root, plan_as_given.jobs)
    return msgspec.structs.replace(plan_as_given, jobs=jobs)


def same_keys(one: JobPlan, other: JobPlan) -> bool:
    names = [each.name for each in other.root.walk()]
    return len(set(names)) == len(names) and len({job.identifier for job in other.jobs}) == len(other.jobs)


def changed_somewhere(value: Any, data: st.DataObject) -> bool:
    """Change one value of a JSON document in place; false when the walk led to nothing that can be."""
    while isinstance(value, dict | list) and value:
        key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        match value[key]:
            case bool():
                value[key] = not value[key]
                return True
            case int():
                value[key] += 1
                return True
            case str():
                value[key] += "!"
                return True
            case list() if value[key] and data.draw(st.booleans()):
                value[key] = value[key][1:] if data.draw(st.booleans()) else list(reversed(value[key]))
                return True
            case inner:
                value = inner
    return False


def test_ten_thousand_jobs_are_compared_in_a_moment() -> None:
    names = [f"j{number}" for number in range(10_000)]
    rules = [after(name, before) for before, name in pairwise(names)]
    before = plan(context("p", " ".join(names), *rules), *map(command, names))
    later = plan(context("p", " ".join(reversed(names)), *reversed(rules)), *map(command, names))
    begun = time.perf_counter()
    told = list(plan_changes(before, later))
    assert time.perf_counter() - begun < 5
    assert [each.field for each in told] == ["order of jobs", "order of dependencies"]


@pytest.mark.parametrize(
    ("grouping", "words"),
    [
        (None, ""),
        (Grouping(all_of=("a",)), "a"),
        (Grouping(all_of=("a", "b"), any_of=("c",)), "(a and b) or c"),
        (Grouping(all_of=("a",), any_of=("b", "c"), none_of=("d",)), "(a or b or c) and not d"),
        (Grouping(all_of=("a", Grouping(any_of=("b", "c")))), "a and (b or c)"),
        (Grouping(any_of=("a",), nested=Grouping(any_of=("b", "c"))), "(b or c) and a"),
        (Grouping(all_of=("a",), none_of=(Grouping(all_of=("b", "c")),)), "a and not (b and c)"),
        (Grouping(all_of=("(a", "b)")), "(a and b)"),
    ],
)
def test_a_grouping_is_told_in_words(grouping: Grouping | None, words: str) -> None:
    assert condition(grouping) == words
