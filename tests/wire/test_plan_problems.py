"""Every error and warning that a push can tell of, one by one, each with its context and its job."""

import json
from typing import Any

import pytest
from jobledger.domain.problems import Problem
from jobledger.domain.validation import validate
from jobledger.http.wire.bundles import read_json, read_plan_file
from jobledger.http.wire.documents import WireError

DAILY = {"timeWindowStart": "0 0 1 ? * *", "contextTtlMilliseconds": 3_600_000}


def listing(name: str, agent: str = "x") -> dict[str, Any]:
    return {"agentName": agent, "jobName": name, "identifier": f"{agent}-{name}"}


def command(name: str, **fields: Any) -> dict[str, Any]:
    return {**listing(name), "commandLine": "true", **fields}


def schedule(name: str, **fields: Any) -> dict[str, Any]:
    return {**listing(name), "cronExpression": "0 0 7 * * ?", **fields}


def after(job: str, *members: str, **grouping: Any) -> dict[str, Any]:
    return {
        "jobIdentifier": f"x-{job}",
        "logicalGrouping": grouping or {"and": [{"identifier": f"x-{member}"} for member in members]},
    }


def child(**fields: Any) -> dict[str, Any]:
    """A context ``c`` of two jobs in which nothing is wrong, but for what is given."""
    whole = {
        "name": "c",
        "scheduledJobs": [listing("a"), listing("b")],
        "jobDependencies": [after("b", "a")],
        **fields,
    }
    return {name: value for name, value in whole.items() if value is not None}


def bundle(*contexts: dict[str, Any], jobs: list[dict[str, Any]] | None = None, **root: Any) -> bytes:
    plan = {"name": "p", **DAILY, "contexts": list(contexts), **root}
    templates = [command("a"), command("b")] if jobs is None else jobs
    return json.dumps({"contextTemplate": plan, "schedulerJobs": templates}).encode()


def problems_of(raw: bytes, **options: Any) -> list[Problem]:
    """What a push tells of a bundle: what does not read, and what is wrong with the plan."""
    try:
        found = read_json(raw)
    except WireError as error:
        flaws = [
            Problem("error", each.context, each.job, each.message, each.pointer) for each in error.problems
        ]
        return [*flaws, *([] if error.plan is None else validate(error.plan, **options))]
    return [*found.warnings, *validate(found.plan, **options)]


def lock(**fields: Any) -> dict[str, Any]:
    return {"name": "l", "lockCount": 1, "jobs": {"c": [listing("a")]}, **fields}


ERRORS = {
    "context name twice": (bundle(child(), child(contexts=[{"name": "p"}])), [("c", None), ("p", None)]),
    "context name unknown, held": (
        bundle(child(), jobs=[command("a", heldContexts={"z": True}), command("b")]),
        [("c", "x-a")],
    ),
    "context name unknown, skipped": (
        bundle(child(), jobs=[command("a"), command("b", skippedContexts={"z": True})]),
        [("c", "x-b")],
    ),
    "job without a template": (bundle(child(), jobs=[command("a")]), [("c", "x-b")]),
    "job without a name": (
        bundle(child(scheduledJobs=[listing("a"), listing("b"), {"agentName": "x"}])),
        [("c", "x-")],
    ),
    "job without an agent": (
        bundle(child(scheduledJobs=[listing("a"), listing("b"), {"jobName": "z"}])),
        [("c", "-z")],
    ),
    "template without a name": (
        bundle(child(), jobs=[command("a"), command("b"), {"agentName": "x", "commandLine": "true"}]),
        [(None, "x-")],
    ),
    "dependency of no job of the context": (
        bundle(child(jobDependencies=[after("b", "a"), after("z", "a")])),
        [("c", "x-z")],
    ),
    "member that is no job of the context": (
        bundle(child(jobDependencies=[after("b", "a"), after("a", "z")])),
        [("c", "x-a")],
    ),
    "grouping of not alone": (
        bundle(child(jobDependencies=[after("b", **{"not": ["x-a"]})])),
        [("c", "x-b")],
    ),
    "grouping that contradicts itself": (
        bundle(child(jobDependencies=[after("b", **{"and": ["x-a"], "not": ["x-a"]})])),
        [("c", "x-b")],
    ),
    "cycle": (bundle(child(jobDependencies=[after("a", "b"), after("b", "a")])), [("c", "x-a")]),
    "cron of the plan": (bundle(child(), timeWindowStart="at noon"), [("p", None)]),
    "cron of a job": (
        bundle(
            child(jobDependencies=[after("a", "b")]), jobs=[command("a"), schedule("b", cronExpression="0")]
        ),
        [("c", "x-b")],
    ),
    "time zone of the plan": (bundle(child(), timezone="Mars/Base"), [("p", None)]),
    "time zone of a job": (
        bundle(child(jobDependencies=[after("a", "b")]), jobs=[command("a"), schedule("b", timeZone="Mars")]),
        [("c", "x-b")],
    ),
    "negative time to live": (bundle(child(), contextTtlMilliseconds=-1), [("p", None)]),
    "time to live as long as the time between starts": (
        bundle(child(), contextTtlMilliseconds=86_400_000),
        [("p", None)],
    ),
    "lock participant of no context": (
        bundle(child(jobLocks=[lock(jobs={"z": [listing("a")]})])),
        [("z", "x-a")],
    ),
    "lock participant that the context does not list": (
        bundle(child(jobLocks=[lock(jobs={"c": [listing("z")]})])),
        [("c", "x-z")],
    ),
    "lock of nothing": (bundle(child(jobLocks=[lock(lockCount=0)])), [("c", None)]),
    "lock participant of nothing": (
        bundle(child(jobLocks=[lock(jobs={"c": [{**listing("a"), "lockCount": 0}]})])),
        [("c", "x-a")],
    ),
    "lock without a name": (bundle(child(jobLocks=[lock(name="")])), [("c", None)]),
    "locks of one name with two counts": (
        bundle(child(jobLocks=[lock(lockCount=2)]), jobLocks=[lock()]),
        [("c", None)],
    ),
    "parameter twice in a context": (
        bundle(child(contextParameters=[{"name": "d"}, {"name": "d"}])),
        [("c", None)],
    ),
    "parameter twice in a job": (
        bundle(child(), jobs=[command("a", contextParameters=[{"name": "d"}, {"name": "d"}]), command("b")]),
        [("c", "x-a")],
    ),
    "command without a command line": (
        bundle(child(), jobs=[command("a", commandLine=None), command("b")]),
        [("c", "x-a")],
    ),
    "return code that is no number": (
        bundle(child(), jobs=[command("a", successfulReturnCodes=["0", "fine"]), command("b")]),
        [("c", "x-a")],
    ),
    "minimum above maximum execution time": (
        bundle(child(), jobs=[command("a", minExecutionTime=9, maxExecutionTime=8), command("b")]),
        [("c", "x-a")],
    ),
    "schedule that waits for something": (
        bundle(child(), jobs=[command("a"), schedule("b")]),
        [("c", "x-b")],
    ),
    "two templates of one job": (
        bundle(child(), jobs=[command("a"), command("b"), command("b", jobRepeatable=True)]),
        [("c", "x-b")],
    ),
    "blackout that ends before it begins": (
        bundle(child(), blackoutWindowDateTimeRanges={"9": 8}),
        [("p", None)],
    ),
    "blackout that is no cron": (bundle(child(), blackoutWindowCronExpressions=["x"]), [("p", None)]),
}

WARNINGS = {
    "job that no dependency mentions": (
        bundle(child(jobDependencies=None)),
        [("c", "x-a"), ("c", "x-b")],
        "no dependency",
    ),
    "template that no context lists": (
        bundle(child(), jobs=[command("a"), command("b"), command("z")]),
        [(None, "x-z")],
        "never runs",
    ),
    "no time to live": (bundle(child(), contextTtlMilliseconds=0), [("p", None)], "by hand only"),
    "start window of a child": (
        bundle(child(timeWindowStart="0 0 1 ? * *")),
        [("c", None)],
        "start window of its own",
    ),
    "lock participant that takes more than there is": (
        bundle(child(jobLocks=[lock(jobs={"c": [{**listing("a"), "lockCount": 2}]})])),
        [("c", "x-a")],
        "it takes 2",
    ),
    "agent that is not known": (bundle(child()), [("c", "x-a")], "not been heard of"),
    "context dependencies": (
        bundle(child(contextDependencies=[{"contextIdentifier": "p"}])),
        [("c", None)],
        "not enforced",
    ),
    "lock participant that is no command": (
        bundle(
            child(jobDependencies=[after("a", "b")], jobLocks=[lock(jobs={"c": [listing("b")]})]),
            jobs=[command("a"), schedule("b")],
        ),
        [("c", "x-b")],
        "runs no command",
    ),
    "file pattern that is none": (
        bundle(
            child(jobDependencies=[after("a", "b")]),
            jobs=[command("a"), schedule("b", filePath="/in", filenames=["*.csv"])],
        ),
        [("c", "x-b")],
        "no regular expression",
    ),
    "file pattern without a directory": (
        bundle(
            child(jobDependencies=[after("a", "b")]),
            jobs=[command("a"), schedule("b", filenames=["x.csv"])],
        ),
        [("c", "x-b")],
        "names no directory",
    ),
    "directory that is not absolute": (
        bundle(
            child(jobDependencies=[after("a", "b")]),
            jobs=[command("a"), schedule("b", filePath="in", filenames=["x.csv"])],
        ),
        [("c", "x-b")],
        "no absolute path",
    ),
}


def test_the_bundle_that_all_others_are_made_of_has_nothing_wrong() -> None:
    assert problems_of(bundle(child()), known_agents=["x"]) == []


@pytest.mark.parametrize("which", ERRORS)
def test_an_error_names_its_context_and_its_job(which: str) -> None:
    raw, places = ERRORS[which]
    errors = [problem for problem in problems_of(raw, known_agents=["x"]) if problem.is_error]
    assert [(problem.context, problem.job) for problem in errors] == places, [str(each) for each in errors]
    assert all(problem.pointer and problem.message for problem in errors)


@pytest.mark.parametrize("which", WARNINGS)
def test_a_warning_names_its_context_and_its_job_and_is_no_error(which: str) -> None:
    raw, places, words = WARNINGS[which]
    problems = problems_of(raw, known_agents=["y"])
    assert [problem for problem in problems if problem.is_error] == []
    told = [(problem.context, problem.job) for problem in problems if words in problem.message]
    assert told == places, [str(each) for each in problems]


def test_what_does_not_read_and_what_cannot_be_are_told_together() -> None:
    raw = bundle(
        child(jobDependencies=[after("a", "b"), after("b", "a")]),
        jobs=[command("a", successfulReturnCodes=["fine"]), command("b", daysOfWeekToRun=[8])],
        timezone="Mars/Base",
        contextTtlMilliseconds="long",
    )
    told = " ".join(problem.message for problem in problems_of(raw) if problem.is_error)
    for words in ("a return code", "a day is", "a cycle", "'Mars/Base'", "a whole number, not a text"):
        assert words in told


@pytest.mark.parametrize(
    "flawed",
    [
        bundle(child(scheduledJobs=[listing("a"), {**listing("b"), "jobName": 5}])),
        bundle(child(jobDependencies=[after("a", "b"), {"jobIdentifier": 5}])),
        bundle(child(), jobs=[command("a"), command("b", commandLine=5)]),
        bundle(child(), jobs=[command("a"), 5]),  # type: ignore[list-item]
        bundle(child(), contexts=[child(), 5]),
    ],
)
def test_a_flaw_that_leaves_something_out_makes_no_errors_elsewhere(flawed: bytes) -> None:
    errors = [problem for problem in problems_of(flawed) if problem.is_error]
    assert len(errors) == 1, [str(each) for each in errors]


def test_a_plan_file_with_a_misspelt_field_is_told_its_other_errors_too() -> None:
    with pytest.raises(WireError) as refused:
        read_plan_file(
            """
            plan: p
            agent: x
            jobs:
              a: {command: run, sucess: 0, after: b}
              b: {command: run, after: a}
            """
        )
    (flaw,) = refused.value.problems
    assert (flaw.context, flaw.job, flaw.pointer) == ("p", "x-a", "/jobs/a/sucess")
    assert refused.value.plan is not None
    assert ["a cycle" in each.message for each in validate(refused.value.plan) if each.is_error] == [True]


@pytest.mark.parametrize("text", ["jobs: {a: {comand: x}, b: {command: x, after: a}}", "agent: 5"])
def test_a_plan_file_whose_jobs_cannot_be_told_is_told_only_that(text: str) -> None:
    with pytest.raises(WireError) as refused:
        read_plan_file(f"plan: p\n{text}")
    assert refused.value.plan is None


def test_a_cycle_is_told_at_the_dependency_that_makes_it() -> None:
    raw = bundle(
        child(jobDependencies=[after("b", "a")]),
        {**child(), "name": "d", "jobDependencies": [after("a", "b")]},
    )
    (cycle,) = [problem for problem in problems_of(raw) if problem.is_error]
    assert (cycle.context, cycle.job, cycle.pointer) == ("d", "x-a", "/root/contexts/1/dependencies/0")
