"""Orders about jobs, contexts and instances: what is asked, what is told of it, and what to do instead."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from click.testing import Result
from fake_dashboard import INSTANCE_ID, FakeDashboard, Reply, instance, job, with_nightly

Run: TypeAlias = Callable[..., Result]

ONE = f"/api/v1/instances/{INSTANCE_ID}"
LOAD = f"{ONE}/contexts/nightly/jobs/host-load"


def fact(kind: str, name: str = "host-load", position: int = 6) -> dict[str, Any]:
    data = {"job": name} if name else {}
    return {"position": position, "at": "2026-03-01T02:00:00.000Z", "type": kind, "data": data, "cause": {}}


def accepted(*facts: dict[str, Any]) -> dict[str, Any]:
    return {"position": 9, "facts": list(facts)}


# --- about a job --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "body", "kind", "told"),
    [
        (
            ("submit", "-p", "A=1"),
            {"parameters": {"A": "1"}},
            "JobInitiated",
            "submitted host-load in nightly",
        ),
        (("hold",), {}, "JobHeld", "held host-load in nightly"),
        (("release",), {}, "JobReleased", "released host-load in nightly"),
        (("skip",), {}, "JobSkipped", "skipped host-load in nightly"),
        (("enable",), {}, "JobEnabled", "enabled host-load in nightly"),
        (("reset",), {}, "JobReset", "reset host-load in nightly"),
        (
            ("acknowledge", "--ticket", "OPS-7"),
            {"ticket": "OPS-7"},
            "ErrorAcknowledged",
            "acknowledged host-load in nightly",
        ),
        (("kill",), {"force": False}, "KillRequested", "asked agent host to kill host-load in nightly"),
        (
            ("kill", "--force"),
            {"force": True},
            "KillRequested",
            "asked agent host to kill host-load in nightly",
        ),
        (("fire-dependants",), {}, "DependantsFired", "fired the dependants of host-load in nightly"),
    ],
)
def test_an_order_says_what_it_is_for_and_is_told_in_a_sentence(
    fake: FakeDashboard, run: Run, words: tuple[str, ...], body: dict[str, Any], kind: str, told: str
) -> None:
    with_nightly(fake, instance(job("load")))
    fake.on("POST", f"{LOAD}/{words[0]}", accepted(fact(kind)))

    result = run("job", words[0], "nightly", "load", *words[1:], "--reason", "as agreed")

    assert result.output == f"{told}\n"
    assert fake.last("POST").document == {**body, "reason": "as agreed"}


def test_what_followed_is_told_by_kind_and_long_lists_are_cut(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load", "ON_HOLD")))
    followers = [fact("JobInitiated", f"host-{number}") for number in range(8)]
    document = accepted(
        fact("JobReleased"), *followers, fact("JobPassedOver", "host-x"), fact("InstanceEnded", "")
    )
    fake.on("POST", f"{LOAD}/release", document)

    assert run("job", "release", "nightly", "load").output.splitlines() == [
        "released host-load in nightly",
        "  initiated: host-0, host-1, host-2, host-3, host-4 and 3 more",
        "  passed over: host-x",
        "  the instance ended",
    ]


def test_a_release_of_what_is_not_held_says_that_nothing_changed(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load")))
    fake.on("POST", f"{LOAD}/release", accepted())
    result = run("job", "release", "nightly", "load")
    assert (result.exit_code, result.output) == (0, "host-load in nightly is not held: nothing changed\n")


def test_a_submitted_job_that_has_to_wait_for_its_lock_is_told_so(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load")))
    fake.on("POST", f"{LOAD}/submit", accepted(fact("JobLockQueued")))
    assert run("job", "submit", "nightly", "load").output.splitlines() == [
        "submitted host-load in nightly",
        "  waiting for a lock: host-load",
    ]


def test_a_reset_may_go_downstream_and_run_the_job_again(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load", "ERROR")))
    document = accepted(fact("JobReset"), fact("JobReset", "host-check"), fact("JobInitiated"))
    fake.on("POST", f"{LOAD}/reset-downstream", document)

    result = run("job", "reset", "nightly", "load", "--downstream", "--submit", "-p", "A=1")

    assert result.output.splitlines() == [
        "reset host-load in nightly and everything downstream",
        "  reset: host-load, host-check",
        "  initiated: host-load",
    ]
    assert fake.last("POST").document == {"submit": True, "parameters": {"A": "1"}}


@pytest.mark.parametrize("words", [("--submit",), ("--downstream", "-p", "A=1")])
def test_options_of_a_reset_that_would_do_nothing_are_a_mistake(
    fake: FakeDashboard, run: Run, words: tuple[str, ...]
) -> None:
    result = run("job", "reset", "nightly", "load", *words)
    assert result.exit_code == 2
    assert fake.asked == []


def test_json_is_the_answer_as_it_came(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load")))
    fake.on("POST", f"{LOAD}/hold", accepted(fact("JobHeld")))
    assert '"JobHeld"' in run("job", "hold", "nightly", "load", "--json").output


# --- finding the job ----------------------------------------------------------------------------------------


def test_a_job_is_found_by_its_name_and_its_context_by_itself(fake: FakeDashboard, run: Run) -> None:
    child = {"name": "late", "status": "WAITING", "jobs": [job("report")], "contexts": []}
    with_nightly(fake, instance(job("load"), children=(child,)))
    path = f"{ONE}/contexts/late/jobs/host-report/submit"
    fake.on("POST", path, accepted(fact("JobInitiated", "host-report")))
    assert run("job", "submit", "nightly", "report").output == "submitted host-report in late\n"


def test_a_name_that_two_agents_have_is_not_guessed(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load"), {**job("load"), "identifier": "other-load"}))
    result = run("job", "hold", "nightly", "load")
    assert result.exit_code == 2
    assert "host-load" in result.output
    assert "other-load" in result.output


def test_an_unknown_job_is_told_with_where_to_look(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load")))
    result = run("job", "hold", "nightly", "nosuch")
    assert result.exit_code == 5
    assert "jobledger instance show" in result.output


def test_a_job_that_is_one_of_its_own_in_each_context_has_to_be_named_with_one(
    fake: FakeDashboard, run: Run
) -> None:
    def child(name: str) -> dict[str, Any]:
        return {"name": name, "status": "WAITING", "jobs": [job("load", context=name)], "contexts": []}

    with_nightly(fake, instance(children=(child("east"), child("west"))))
    fake.on("POST", f"{ONE}/contexts/west/jobs/host-load/hold", accepted(fact("JobHeld")))

    guessed = run("job", "hold", "nightly", "load")
    assert guessed.exit_code == 2
    assert "--context" in guessed.output
    assert "east" in guessed.output
    assert run("job", "hold", "nightly", "load", "--context", "west").output == "held host-load in west\n"


def test_a_shared_job_is_one_wherever_it_stands(fake: FakeDashboard, run: Run) -> None:
    child = {"name": "late", "status": "WAITING", "jobs": [job("load")], "contexts": []}
    with_nightly(fake, instance(job("load"), children=(child,)))
    fake.on("POST", f"{LOAD}/hold", accepted(fact("JobHeld")))
    assert run("job", "hold", "nightly", "load").output == "held host-load in nightly\n"


# --- refused ------------------------------------------------------------------------------------------------


def refusal(status: str, permitted: list[str], permitted_in: list[str]) -> Reply:
    document = {
        "title": "Not permitted now",
        "status": status,
        "detail": f"job host-load in context nightly is {status}",
        "permitted": permitted,
        "permitted_in": permitted_in,
        "errors": [{"detail": f"job host-load in context nightly is {status}", "pointer": ""}],
    }
    return Reply(document, 409)


@pytest.mark.parametrize(
    ("order", "status", "permitted", "permitted_in", "next_step"),
    [
        ("submit", "RUNNING", ["acknowledge", "kill"], ["WAITING", "ERROR"],
         "wait until it has ended, or `jobledger job kill nightly load`"),
        ("hold", "RUNNING", ["acknowledge", "kill"], ["WAITING", "LOCK_QUEUED"],
         "wait until it has ended, or `jobledger job kill nightly load`"),
        ("skip", "ON_HOLD", ["submit", "release"], ["WAITING"], "`jobledger job release nightly load` first"),
        ("hold", "SKIPPED", ["submit", "enable"], ["WAITING"], "`jobledger job enable nightly load` first"),
        ("hold", "COMPLETE", ["submit", "reset"], ["WAITING"], "`jobledger job reset nightly load` first"),
        ("submit", "LOCK_QUEUED", ["hold", "reset"], ["WAITING"],
         "wait for its lock, or `jobledger job reset nightly load` to leave the queue"),
        ("hold", "WAITING", ["reset"], [], "`jobledger job reset nightly load` first"),
        ("kill", "COMPLETE", ["submit", "reset"], ["RUNNING"],
         "it is permitted in RUNNING; now it accepts submit, reset"),
        ("fire-dependants", "WAITING", ["submit", "hold"], ["ERROR"],
         "it is permitted in ERROR; now it accepts submit, hold"),
        ("hold", "ENDED", [], [], "`jobledger instance start nightly` starts a new one"),
        ("submit", "PREPARED", [], [],
         "wait for its start; until then it takes hold, release, skip, enable and parameters"),
    ],
)  # fmt: skip
def test_a_refused_order_says_in_a_sentence_why_and_what_to_do_instead(
    fake: FakeDashboard,
    run: Run,
    order: str,
    status: str,
    permitted: list[str],
    permitted_in: list[str],
    next_step: str,
) -> None:
    with_nightly(fake, instance(job("load", status)))
    fake.on("POST", f"{LOAD}/{order}", refusal(status, permitted, permitted_in))

    result = run("job", order, "nightly", "load")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"jobledger: job host-load in context nightly is {status}",
        f"Next: {next_step}",
    ]


def test_the_next_step_can_be_pasted_whatever_the_names_are(fake: FakeDashboard, run: Run) -> None:
    shown = instance({**job("load it"), "identifier": "host-load it"}, status="RUNNING")
    with_nightly(fake, shown)
    fake.on(
        "POST", f"{ONE}/contexts/nightly/jobs/host-load it/hold", refusal("COMPLETE", ["reset"], ["WAITING"])
    )
    result = run("job", "hold", "nightly", "load it", "--context", "nightly")
    assert "`jobledger job reset nightly 'load it' --context nightly` first" in result.output


# --- what would follow --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "after"), [("ERROR", "failure"), ("WAITING", "success")])
def test_dependants_are_asked_for_as_the_job_stands(
    fake: FakeDashboard, run: Run, status: str, after: str
) -> None:
    with_nightly(fake, instance(job("load", status)))
    preview = {
        "initiated": ["host-check"],
        "dependants": [{"identifier": "host-check", "context": None, "effect": "initiated"}],
        "ends_instance": True,
    }
    fake.on("GET", f"{LOAD}/dependants", preview)

    result = run("job", "dependants", "nightly", "load")

    assert fake.last("GET").query == {"after": after}
    assert [line.split() for line in result.output.splitlines()[:2]] == [
        ["job", "would", "be"],
        ["host-check", "initiated"],
    ]
    assert "would end" in result.output


def test_nothing_that_would_follow_is_said_to_be_nothing(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load")))
    fake.on("GET", f"{LOAD}/dependants", {"initiated": [], "dependants": [], "ends_instance": False})
    assert run("job", "dependants", "nightly", "load").output == "nothing would follow from host-load\n"


# --- about a context, about an instance ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "kind", "done"),
    [
        ("hold", "JobHeld", "held"),
        ("release", "JobReleased", "released"),
        ("skip", "JobSkipped", "skipped"),
        ("enable", "JobEnabled", "enabled"),
    ],
)
def test_an_order_about_a_context_counts_the_jobs_and_without_one_is_about_all(
    fake: FakeDashboard, run: Run, order: str, kind: str, done: str
) -> None:
    with_nightly(fake, instance(job("load")))
    fake.on("POST", f"{ONE}/contexts/late/{order}", accepted(fact(kind, "host-a"), fact(kind, "host-b")))
    fake.on("POST", f"{ONE}/contexts/nightly/{order}", accepted())

    told = run("instance", order, "nightly", "late", "--reason", "freeze")
    assert told.output == f"{done} 2 jobs beneath late: host-a, host-b\n"
    assert fake.last("POST").document == {"reason": "freeze"}
    told = run("instance", order, "nightly")
    assert told.output == f"nothing beneath nightly could be {done}: nothing changed\n"


def test_parameters_are_set_everywhere_or_in_a_context(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", f"{ONE}/parameters", accepted(fact("ParametersSet", "")))
    result = run("instance", "set", INSTANCE_ID, "A=1", "B=x=y", "--reason", "new day")
    assert result.output == "set A, B\n"
    assert fake.last("POST").document == {"parameters": {"A": "1", "B": "x=y"}, "reason": "new day"}
    result = run("instance", "set", INSTANCE_ID, "A=1", "--context", "late")
    assert result.output == "set A for late\n"
    assert fake.last("POST").document == {"parameters": {"A": "1"}, "context": "late"}


def test_the_value_of_a_parameter_is_not_printed(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", f"{ONE}/parameters", accepted(fact("ParametersSet", "")))
    assert "hush" not in run("instance", "set", INSTANCE_ID, "PASSWORD=hush").output


@pytest.mark.parametrize("words", [(), ("A",), ("A=1", "A=2")])
def test_what_sets_no_parameter_is_a_mistake_of_the_command_line(
    fake: FakeDashboard, run: Run, words: tuple[str, ...]
) -> None:
    assert run("instance", "set", INSTANCE_ID, *words).exit_code == 2
    assert fake.asked == []


def test_schedules_are_switched_on_and_off(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", f"{ONE}/schedules", accepted(fact("SchedulesDisabled", "")))
    assert run("instance", "schedules", INSTANCE_ID, "off").output == "schedules are off\n"
    assert fake.last("POST").document == {"enabled": False}
    fake.on("POST", f"{ONE}/schedules", accepted())
    told = run("instance", "schedules", INSTANCE_ID, "on")
    assert told.output == "schedules are on; it was so already\n"


def test_an_instance_is_kept_until_it_is_ended(fake: FakeDashboard, run: Run) -> None:
    fake.on("POST", f"{ONE}/run-until-ended", accepted(fact("RunsUntilEnded", "")))
    assert run("instance", "keep", INSTANCE_ID).output == "it goes on until you end it\n"
