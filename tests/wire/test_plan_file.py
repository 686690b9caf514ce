import json
import re
from pathlib import Path

import pytest
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    FileJob,
    Grouping,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Parameter,
    ScheduleJob,
    StartupControl,
    StartWindow,
    Trigger,
)
from jobledger.domain.validation import validate
from jobledger.http.wire.bundles import read_documents, read_json, read_plan_file
from jobledger.http.wire.documents import MAX_DEPTH, WireError, WireProblem

DOCS = Path(__file__).parents[2] / "docs" / "plan-file.md"


def plan_of(text: str) -> JobPlan:
    return read_plan_file(text).plan


def problems_of(text: str) -> dict[str, str]:
    with pytest.raises(WireError) as refused:
        read_plan_file(text)
    return {problem.pointer: problem.message for problem in refused.value.problems}


def test_the_shortest_plan_is_a_name() -> None:
    assert plan_of("plan: p") == JobPlan(root=Context(name="p"))


def test_a_whole_plan_is_read() -> None:
    plan = plan_of(
        """
        plan: end-of-day
        description: Books the day
        agent: scheduler-agent
        environment_group: prod
        start:
          cron: 0 0 18 ? * MON-FRI
          zone: Europe/London
          time_to_live: 1d 2h
          working_days: true
          blackout:
            - "* * * 25 12 ?"
            - {from: 2026-12-31T00:00:00Z, to: 2027-01-01T00:00:00Z}
        concurrent: true
        end_on_completion: true
        parameters: {day: 20260101, zone: }
        jobs:
          six: {schedule: 0 0 18 * * ?}
          load:
            command: ./load.sh
            after: six
            success: [0, 4]
            max_time: 2h
            days: [MON, sunday]
            parameters: {rate: 1.5, really: true}
        contexts:
          report:
            description: What people read
            jobs:
              print: {command: print, after: {any: [load, {all: [six], none: load}]}, held: true}
        locks:
          database: {count: 2, jobs: {load: 2, print: 1}}
        """
    )
    assert plan.window == StartWindow(
        cron="0 0 18 ? * MON-FRI",
        zone="Europe/London",
        time_to_live_ms=26 * 3_600_000,
        working_days=True,
        blackout_expressions=("* * * 25 12 ?",),
        blackout_ranges=((1_798_675_200_000, 1_798_761_600_000),),
    )
    assert (plan.environment_group, plan.concurrent, plan.end_on_completion) == ("prod", True, True)
    six, load, printed = plan.jobs
    assert isinstance(six, ScheduleJob)
    assert isinstance(load, CommandJob)
    assert (load.successful_return_codes, load.max_execution_minutes, load.days_of_week) == (
        (0, 4),
        120,
        (2, 1),
    )
    of_the_plan = (Parameter("day"), Parameter("zone"))
    assert load.parameters == (Parameter("rate", "1.5"), Parameter("really", "true"), *of_the_plan)
    assert isinstance(printed, CommandJob)
    assert printed.parameters == of_the_plan
    assert load.participates_in_lock
    assert load.contexts == ("end-of-day", "report"), "it came to stand where it was mentioned"
    assert printed.held_in == ("report",)
    assert plan.root.parameters == (Parameter("day", "20260101"), Parameter("zone"))
    (report,) = plan.root.contexts
    assert [job.name for job in report.jobs] == ["print", "load", "six"]
    member = Grouping(all_of=("scheduler-agent-six",), none_of=("scheduler-agent-load",))
    assert report.dependencies == (
        Dependency("scheduler-agent-print", Grouping(any_of=("scheduler-agent-load", member))),
    )
    assert plan.root.locks == (
        Lock(
            "database",
            2,
            participants=(
                LockParticipant("end-of-day", "scheduler-agent-load", 2),
                LockParticipant("report", "scheduler-agent-load", 2),
                LockParticipant("report", "scheduler-agent-print", 1),
            ),
        ),
    )
    assert [problem for problem in validate(plan) if problem.severity == "error"] == []


def test_jobs_of_every_kind_are_read() -> None:
    plan = plan_of(
        """
        plan: p
        jobs:
          c:
            agent: a
            name: real-name
            command: x
            directory: /d
            success: 3
            min_time: 1m
            timeout: 1h 30m
            once_per_context: true
            repeatable: true
            shell: /bin/ksh|-c
            startup: manual
          f:
            agent: b
            file: [".*[.]csv", x]
            in: /data
            every: 0 0/1 * * * ?
            min_age: 30s
            depth: 2
            move_to: /done
            sla: 0 0 9 * * ?
          e: {event: global}
          l: {event: local}
        """
    )
    command, file, event, local = plan.jobs
    assert command == CommandJob(  # noqa: S604 - the shell of a job, not of Python
        agent="a",
        name="real-name",
        contexts=("p",),
        command_line="x",
        working_directory="/d",
        successful_return_codes=(3,),
        min_execution_minutes=1,
        timeout_minutes=90,
        target_residing_context_only=True,
        repeatable=True,
        shell="/bin/ksh|-c",
        startup=StartupControl.MANUAL,
    )
    assert file == FileJob(
        agent="b",
        name="f",
        contexts=("p",),
        trigger=Trigger(cron="0 0/1 * * * ?", ignore_misfire=True),
        filenames=(".*[.]csv", "x"),
        file_path="/data",
        min_file_age_seconds=30,
        directory_depth=2,
        move_directory="/done",
        sla_cron="0 0 9 * * ?",
    )
    assert event == EventJob(agent="GLOBAL_EVENT", name="e", contexts=("p",), kind=EventKind.GLOBAL)
    assert local == EventJob(agent="LOCAL_EVENT_JOB", name="l", contexts=("p",), kind=EventKind.LOCAL)


@pytest.mark.parametrize(
    ("after", "grouping"),
    [
        ("a", Grouping(all_of=("x-a",))),
        ("[a, b]", Grouping(all_of=("x-a", "x-b"))),
        ("{any: [a, b]}", Grouping(any_of=("x-a", "x-b"))),
        ("{all: a, any: b}", Grouping(all_of=("x-a",), any_of=("x-b",))),
        ("{all: a, none: b}", Grouping(all_of=("x-a",), none_of=("x-b",))),
        ("{any: [a], and: {any: [b]}}", Grouping(any_of=("x-a",), nested=Grouping(any_of=("x-b",)))),
        ("[a, {any: [b]}]", Grouping(all_of=("x-a", Grouping(any_of=("x-b",))))),
    ],
)
def test_what_a_job_comes_after_may_be_said_in_several_ways(after: str, grouping: Grouping) -> None:
    plan = plan_of(
        "{plan: p, agent: x, jobs: {a: {command: a}, b: {command: b}, "
        f"c: {{command: c, after: {after}}}}}}}"
    )
    assert plan.root.dependencies == (Dependency("x-c", grouping),)


@pytest.mark.parametrize("after", ["", "[]", "null"])
def test_a_job_after_nothing_starts_from_outside(after: str) -> None:
    plan = plan_of(f"{{plan: p, agent: x, jobs: {{a: {{command: a, after: {after} }}}}}}")
    assert plan.root.dependencies == ()


def test_a_job_may_be_described_once_and_named_in_other_contexts() -> None:
    plan = plan_of(
        """
        plan: p
        agent: x
        contexts:
          one: {jobs: {shared: }}
          two: {agent: y, jobs: {shared: {command: s}, own: {command: o}}}
          three: {jobs: {shared: {after: own}}}
        """
    )
    assert {job.identifier: job.contexts for job in plan.jobs} == {
        "y-shared": ("one", "two", "three"),
        "y-own": ("two", "three"),
    }
    assert plan.root.contexts[2].dependencies == (Dependency("y-shared", Grouping(all_of=("y-own",))),)
    assert plan.root.contexts[2].jobs == (ListedJob("y", "shared"), ListedJob("y", "own"))


def test_a_plan_file_may_be_json() -> None:
    value = {"plan": "p", "agent": "x", "jobs": {"a": {"command": "ls"}}}
    text = json.dumps(value)
    assert read_plan_file(text) == read_json(text.encode())
    assert read_plan_file(text).plan.jobs[0].identifier == "x-a"


def test_a_plan_file_is_stored_as_the_documents_of_an_export() -> None:
    found = read_plan_file("{plan: p, agent: x, jobs: {a: {command: ls}, go: {event: global}}}")
    assert set(found.documents) == {"context/p.json", "jobs/internal/a.json", "jobs/global/go.json"}
    assert read_documents(found.documents).plan == found.plan


# --- what is refused ----------------------------------------------------------------------------------------


def test_every_flaw_of_a_plan_file_is_named_at_once() -> None:
    found = problems_of(
        """
        plan: p
        colour: red
        start: {cron: 5, time_to_live: 23}
        jobs:
          a: {command: x, after: nobody, success: [x], days: someday, max_time: 90s, startup: later}
          b: {schedule: x, file: y}
          c: {command: x, comand: y}
          d: {event: universal}
          e: {after: a}
        locks: {l: {jobs: [a, nobody]}}
        """
    )
    assert set(found) == {
        "/colour",
        "/start/cron",
        "/start/time_to_live",
        "/jobs/a/after",
        "/jobs/a/success",
        "/jobs/a/days",
        "/jobs/a/max_time",
        "/jobs/a/startup",
        "/jobs/b",
        "/jobs/b/file",
        "/jobs/c/comand",
        "/jobs/d/event",
        "/jobs/e",
        "/locks/l/jobs",
    }
    assert "such as 30s" in found["/start/time_to_live"]
    assert "nobody" in found["/jobs/a/after"]


def test_a_job_that_is_described_twice_is_named() -> None:
    found = problems_of("{plan: p, jobs: {a: {command: x}}, contexts: {c: {jobs: {a: {command: y}}}}}")
    assert list(found) == ["/contexts/c/jobs/a"]


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    with pytest.raises(WireError, match=r"line 4: the key 'a' stands twice"):
        read_plan_file("plan: p\njobs:\n  a: {command: x}\n  a: {command: y}\n")


@pytest.mark.parametrize(
    "blackout", ["[{from: 2026-01-01, to: x}]", "[{from: 2026-01-01T00:00:00Z}]", "[5]", "[{cron: x}]"]
)
def test_a_blackout_that_cannot_be_understood_is_named(blackout: str) -> None:
    found = problems_of(f"{{plan: p, start: {{blackout: {blackout}}}}}")
    assert all(pointer.startswith("/start/blackout/0") for pointer in found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "plan: [",
        "plan: &a p\ndescription: *a",
        "a: &a [*a]",
        "plan: !!python/object/apply:os.system [id]",
        "plan: !!binary aGVsbG8=",
        "plan: !!int 5",
        "plan: !mine p",
        "plan: !!set {p}",
        "!!python/object:x {plan: p}",
        "plan: p\n<<: {plan: q}",
        "{a: b}: c",
        "plan: p\nplan: p",
        "plan: p\n'plan': p",
        "? [a]\n: b",
        "plan: p\x00",
        "plan: p\n---\nplan: q",
        "%YAML 9.9\n---\nplan: p",
        "{plan: p, jobs: 5}",
        "{plan: 5}",
        "{plan: }",
    ],
)
def test_what_is_no_plan_file_is_refused_in_words(text: str) -> None:
    assert problems_of(text)


def test_laughs_are_refused_before_they_grow() -> None:
    text = "a: &a [lol]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
    )
    with pytest.raises(WireError, match="anchors and aliases"):
        read_plan_file(text)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 20_000])
def test_a_plan_file_nested_too_deeply_is_refused(opening: str, levels: int) -> None:
    with pytest.raises(WireError):
        read_plan_file(opening * levels)


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "12:30", "2026-01-01", "0x1F", "0o17", "1_000", "1e3", "<<"]
)
def test_words_that_yaml_would_turn_into_something_else_stay_words(word: str) -> None:
    assert plan_of(f"plan: p\ndescription: {word}").root.description == word


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("5", "5"),
        ("-0.50", "-0.5"),
        ("'true'", "true"),
        ('"null"', "null"),
        ("!!str 0.50", "0.50"),
        ("! 007", "007"),
        ("|\n   two\n   lines\n", "two\nlines\n"),
        (">-\n   one\n   line\n", "one line"),
        ("'quoted: \"twice\"'", 'quoted: "twice"'),
        ("1234567890123456789012", "1234567890123456789012"),
    ],
)
def test_a_value_is_read_as_it_is_written(written: str, read: str) -> None:
    (parameter,) = plan_of(f"plan: p\nparameters:\n  a: {written}").root.parameters
    assert parameter.default == read


def test_a_key_is_a_text_whatever_it_looks_like() -> None:
    plan = plan_of("plan: p\nparameters: {1: a, true: b, null: c, 1.50: d, ~: e, '': f}")
    assert [each.name for each in plan.root.parameters] == ["1", "true", "null", "1.50", "~", ""]


def test_problems_are_values_that_print_with_their_place() -> None:
    assert str(WireProblem("/a", "wrong", "x.json")) == "x.json:/a: wrong"
    assert str(WireProblem("", "wrong")) == "wrong"


# --- the document that describes the format -----------------------------------------------------------------


@pytest.mark.parametrize(
    "example", re.findall(r"```yaml\n(plan:.*?)```", DOCS.read_text(), re.DOTALL), ids=lambda text: text[:20]
)
def test_every_example_in_the_description_is_a_valid_plan(example: str) -> None:
    assert [problem for problem in validate(plan_of(example)) if problem.severity == "error"] == []
