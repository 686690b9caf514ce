"""Orders of operators over HTTP: every command in every status, what is refused and how, and keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from dashboard_over_http import Served, eventually, finished, served
from jobledger.domain.commands import CONTEXT_COMMANDS
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    Grouping,
    JobPlan,
    ListedJob,
    Parameter,
    ScheduleJob,
    Trigger,
)
from jobledger.domain.status import PERMITTED, WITHOUT_EFFECT

COMMANDS = tuple(PERMITTED)
UNKNOWN = "6f1c2f9e-0d6b-4f0e-9a53-1f2f5c1b7a11"


def flow() -> JobPlan:
    """Load, then check, then report; a schedule, a local event and a shared job in a context beneath."""
    commands = [
        CommandJob(
            agent="host", name="load", command_line="true", parameters=(Parameter("region", "south"),)
        ),
        CommandJob(agent="host", name="check", command_line="true"),
        CommandJob(agent="far", name="report", command_line="true"),
    ]
    clock = ScheduleJob(agent="host", name="clock", trigger=Trigger(cron="0 0 7 * * ?"))
    event = EventJob.listed(EventKind.LOCAL, "checked")
    return JobPlan(
        root=Context(
            name="flow",
            jobs=(ListedJob("host", "load"), ListedJob("host", "check"), ListedJob("host", "clock")),
            dependencies=(Dependency("host-check", Grouping(all_of=("host-load",))),),
            contexts=(
                Context(
                    name="after",
                    jobs=(
                        ListedJob("host", "check"),
                        ListedJob(event.agent, event.name),
                        ListedJob("far", "report"),
                    ),
                    dependencies=(
                        Dependency(event.identifier, Grouping(all_of=("host-check",))),
                        Dependency("far-report", Grouping(all_of=(event.identifier,))),
                    ),
                ),
            ),
        ),
        jobs=(*commands, clock),
        concurrent=True,
    )


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        running.push(flow())
        yield running


class Run:
    """An instance of the plan, and its jobs by name."""

    places: ClassVar = {
        "load": "contexts/flow/jobs/host-load",
        "check": "contexts/flow/jobs/host-check",
        "clock": "contexts/flow/jobs/host-clock",
        "report": "contexts/after/jobs/far-report",
        "checked": "contexts/after/jobs/LOCAL_EVENT_JOB-checked",
    }

    def __init__(self, dashboard: Served) -> None:
        self.dashboard = dashboard
        self.id = dashboard.start("flow")
        self.path = f"/api/v1/instances/{self.id}"

    def job(self, name: str) -> str:
        return f"{self.path}/{self.places[name]}"

    def order(self, name: str, command: str, body: Any = None, **more: Any) -> Any:
        return self.dashboard.post(f"{self.job(name)}/{command}", body, **more)

    def status(self, name: str) -> str:
        return str(self.dashboard.get(self.job(name)).json["status"])

    def permitted(self, name: str) -> list[str]:
        permitted: list[str] = self.dashboard.get(self.job(name)).json["permitted"]
        return permitted

    def position(self) -> int:
        return int(self.dashboard.shown(self.id)["position"])

    def report(self, name: str, **more: Any) -> None:
        agent, job = ("far", name) if name == "report" else ("host", name)
        event = finished(self.id, job, agentName=agent, contextName="flow", **more)
        before = self.position()
        assert self.dashboard.put("/rest/event/scheduled", event).status_code == 200
        eventually(lambda: self.position() > before)

    def bring(self, name: str, status: str) -> None:
        """Make a job be in a status, by orders and events."""
        match status:
            case "ON_HOLD":
                self.order(name, "hold")
            case "SKIPPED" | "SKIPPED_COMPLETE":
                self.order(name, "skip")
            case "RUNNING":
                self.report(name, jobStarting=True, successful=False, pid=77)
            case "COMPLETE":
                self.report(name)
            case "ERROR":
                self.report(name, successful=False, returnCode=3)
            case "DISABLED":
                self.dashboard.post(f"{self.path}/schedules", {"enabled": False})
        assert self.status(name) == status


STATUSES = (
    ("load", "WAITING"),
    ("load", "ON_HOLD"),
    ("check", "SKIPPED"),
    ("load", "SKIPPED_COMPLETE"),
    ("load", "RUNNING"),
    ("load", "COMPLETE"),
    ("load", "ERROR"),
    ("clock", "DISABLED"),
)


@pytest.mark.parametrize(("name", "status"), STATUSES)
def test_each_command_is_accepted_in_the_statuses_of_the_table_and_refused_in_all_others(
    dashboard: Served, name: str, status: str
) -> None:
    for command in COMMANDS:
        run = Run(dashboard)
        run.bring(name, status)
        offered = run.permitted(name)
        before, digest = run.position(), dashboard.digest()

        answer = run.order(name, command, {"reason": "the table says so"})

        if command in offered:
            assert answer.status_code == 200, f"{command} of a {status} job: {answer.text}"
            assert answer.json["facts"], f"{command} was offered and left no trace"
            assert answer.json["position"] == answer.json["facts"][-1]["position"] == run.position()
            causes = [fact["cause"] for fact in answer.json["facts"]]
            assert {(each["by"], each["reason"]) for each in causes} == {("anonymous", "the table says so")}
        elif status in WITHOUT_EFFECT.get(command, ()) and name != "clock":
            assert (answer.status_code, answer.json) == (200, {"position": before, "facts": []})
            assert dashboard.digest() == digest
        else:
            assert answer.status_code == 409, f"{command} of a {status} job: {answer.text}"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json["status"] == status
            assert answer.json["permitted"] == offered
            accepted = PERMITTED[command] | WITHOUT_EFFECT.get(command, frozenset())
            assert answer.json["permitted_in"] in ([], sorted(accepted))
            assert name in answer.json["detail"]
            assert dashboard.digest() == digest, "what is refused changed something"


def test_a_job_in_error_is_acknowledged_with_a_ticket_and_its_dependants_are_fired(dashboard: Served) -> None:
    run = Run(dashboard)
    run.bring("load", "ERROR")

    told = run.order("load", "acknowledge", {"ticket": "OPS-7", "reason": "known"}).json["facts"]
    assert [(fact["type"], fact["data"]["ticket"]) for fact in told] == [("ErrorAcknowledged", "OPS-7")]
    assert dashboard.get(run.job("load")).json["acknowledged"] is True
    assert run.status("check") == "WAITING", "acknowledging started something"

    told = run.order("load", "fire-dependants").json["facts"]
    assert [(fact["type"], fact["data"]["job"]) for fact in told] == [
        ("DependantsFired", "host-load"),
        ("JobInitiated", "host-check"),
    ]
    assert run.status("load") == "ERROR"


def test_a_held_job_that_became_ready_starts_when_it_is_released(dashboard: Served) -> None:
    run = Run(dashboard)
    run.order("check", "hold", {"reason": "not before the books are closed"})
    run.bring("load", "COMPLETE")
    assert run.status("check") == "ON_HOLD"

    told = run.order("check", "release").json["facts"]

    assert [fact["type"] for fact in told] == ["JobReleased", "JobInitiated"]
    assert told[1]["data"]["catalyst"]["job"] == "host-load"


def test_a_reset_from_here_resets_what_depends_on_it_and_may_submit_it(dashboard: Served) -> None:
    run = Run(dashboard)
    run.bring("load", "COMPLETE")
    run.report("check")
    run.report("report")
    assert run.status("report") == "COMPLETE"

    told = run.order(
        "check", "reset-downstream", {"submit": True, "parameters": {"depth": "2"}, "reason": "bad data"}
    ).json["facts"]

    assert [(fact["type"], fact["data"]["job"]) for fact in told] == [
        ("JobReset", "host-check"),
        ("JobReset", "LOCAL_EVENT_JOB-checked"),
        ("JobReset", "far-report"),
        ("JobInitiated", "host-check"),
    ]
    assert told[-1]["data"]["parameters"] == {"depth": "2"}
    assert run.status("load") == "COMPLETE"


def test_a_reset_from_here_is_refused_with_the_job_that_runs_downstream(dashboard: Served) -> None:
    run = Run(dashboard)
    run.bring("load", "COMPLETE")
    run.report("check")
    run.report("report", jobStarting=True, successful=False)

    answer = run.order("check", "reset-downstream")

    assert answer.status_code == 409
    assert answer.json["status"] == "RUNNING"
    assert "far-report" in answer.json["detail"]
    assert "reset-downstream" not in answer.json["permitted"]


@pytest.mark.parametrize("force", [True, False])
def test_a_kill_says_whether_by_force(dashboard: Served, *, force: bool) -> None:
    run = Run(dashboard)
    run.bring("load", "RUNNING")

    (fact,) = run.order("load", "kill", {"force": force}).json["facts"]

    assert fact["type"] == "KillRequested"
    assert fact["data"].get("force", False) is force


def test_a_context_is_held_and_released_with_all_beneath_it(dashboard: Served) -> None:
    run = Run(dashboard)
    held = dashboard.post(f"{run.path}/contexts/flow/hold", {"reason": "freeze"}).json["facts"]
    assert {fact["data"]["job"] for fact in held} == {"host-load", "host-check", "far-report"}
    assert (run.status("load"), run.status("clock"), run.status("checked")) == (
        "ON_HOLD",
        "WAITING",
        "WAITING",
    )

    released = dashboard.post(f"{run.path}/contexts/after/release").json["facts"]
    assert {fact["data"]["job"] for fact in released} == {"host-check", "far-report"}
    assert run.status("load") == "ON_HOLD"


def test_a_context_is_skipped_and_enabled(dashboard: Served) -> None:
    run = Run(dashboard)
    skipped = dashboard.post(f"{run.path}/contexts/after/skip").json["facts"]
    assert [(fact["type"], fact["data"]["job"]) for fact in skipped] == [("JobSkipped", "far-report")]

    assert dashboard.post(f"{run.path}/contexts/flow/enable").json["facts"][0]["type"] == "JobEnabled"
    assert run.status("report") == "WAITING"


@pytest.mark.parametrize("command", [each.name for each in CONTEXT_COMMANDS])
def test_an_order_about_a_context_that_applies_to_no_job_is_accepted_and_changes_nothing(
    dashboard: Served, command: str
) -> None:
    run = Run(dashboard)
    for name in ("load", "check", "report"):
        run.report(name)
    before = dashboard.digest()

    answer = dashboard.post(f"{run.path}/contexts/flow/{command}")

    assert (answer.status_code, answer.json) == (200, {"position": run.position(), "facts": []})
    assert dashboard.digest() == before


def test_parameters_that_are_set_are_used_from_then_on_in_their_context_alone(dashboard: Served) -> None:
    run = Run(dashboard)
    everywhere = {"parameters": {"region": "north"}, "reason": "as asked"}
    assert dashboard.post(f"{run.path}/parameters", everywhere).status_code == 200
    inner = {"parameters": {"region": "east"}, "context": "after"}
    (fact,) = dashboard.post(f"{run.path}/parameters", inner).json["facts"]
    assert (fact["type"], fact["data"]["context"]) == ("ParametersSet", "after")

    (fact,) = run.order("load", "submit").json["facts"]
    assert fact["data"]["parameters"]["region"] == "north"


def test_schedules_are_disabled_and_enabled_and_what_is_so_already_is_no_fact(dashboard: Served) -> None:
    run = Run(dashboard)
    for enabled, status in ((False, "DISABLED"), (True, "WAITING")):
        body = {"enabled": enabled, "reason": "holiday"}
        assert len(dashboard.post(f"{run.path}/schedules", body).json["facts"]) == 1
        assert dashboard.post(f"{run.path}/schedules", body).json["facts"] == []
        assert run.status("clock") == status


def test_an_instance_is_kept_until_a_person_ends_it(dashboard: Served) -> None:
    run = Run(dashboard)
    (fact,) = dashboard.post(f"{run.path}/run-until-ended", {"reason": "long night"}).json["facts"]
    assert fact["type"] == "RunsUntilEnded"
    assert dashboard.post(f"{run.path}/run-until-ended").json["facts"] == []


# --- refused, unknown, garbage ------------------------------------------------------------------------------


def every_order(run: Run) -> Iterator[tuple[str, Any]]:
    """The path and a good body of every order."""
    for command in COMMANDS:
        yield f"{run.job('load')}/{command}", None
    for command in (each.name for each in CONTEXT_COMMANDS):
        yield f"{run.path}/contexts/flow/{command}", None
    yield f"{run.path}/parameters", {"parameters": {"region": "north"}}
    yield f"{run.path}/schedules", {"enabled": False}
    yield f"{run.path}/run-until-ended", None


def test_an_instance_that_has_ended_refuses_every_order(dashboard: Served) -> None:
    run = Run(dashboard)
    dashboard.post(f"{run.path}/end")
    before = dashboard.digest()

    for path, body in every_order(run):
        answer = dashboard.post(path, body)
        assert answer.status_code == 409, path
        assert (answer.json["status"], answer.json["permitted"]) == ("ENDED", []), path
    assert dashboard.digest() == before


def test_orders_for_what_is_not_there_are_not_found(dashboard: Served) -> None:
    run = Run(dashboard)
    before = dashboard.digest()

    for path, body in every_order(run):
        for known, unknown in (
            (run.id, UNKNOWN),
            ("contexts/flow", "contexts/nowhere"),
            ("host-load", "host-nothing"),
            ("host-load", "far-report"),
        ):
            if known in path:
                answer = dashboard.post(path.replace(known, unknown), body)
                assert answer.status_code == 404, f"{path} of {unknown}: {answer.text}"
    body = {"parameters": {"a": "b"}, "context": "nowhere"}
    assert dashboard.post(f"{run.path}/parameters", body).status_code == 404
    assert dashboard.digest() == before


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("load/hold", {"because": "x"}, "/because"),
        ("load/hold", {"reason": 7}, "/reason"),
        ("load/hold", {"reason": "x" * 10_001}, "/reason"),
        ("load/hold", [], ""),
        ("load/submit", {"parameters": {"": "x"}}, "/parameters"),
        ("load/submit", {"parameters": {"x": 1}}, "/parameters"),
        ("load/submit", {"parameters": ["x"]}, "/parameters"),
        ("load/kill", {"force": "yes"}, "/force"),
        ("load/acknowledge", {"ticket": ""}, "/ticket"),
        ("load/reset-downstream", {"submit": 1}, "/submit"),
        ("parameters", {}, "/parameters"),
        ("parameters", {"parameters": {}}, "/parameters"),
        ("parameters", {"parameters": {"a": None}}, "/parameters"),
        ("schedules", {}, "/enabled"),
        ("schedules", {"enabled": None}, "/enabled"),
        ("run-until-ended", {"enabled": True}, "/enabled"),
    ],
)
def test_a_body_that_says_what_cannot_be_is_refused_with_its_place(
    dashboard: Served, path: str, body: object, pointer: str
) -> None:
    run = Run(dashboard)
    before = dashboard.digest()
    where = path.replace("load/", f"{run.places['load']}/")

    answer = dashboard.post(f"{run.path}/{where}", body)

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"].startswith(pointer)
    assert dashboard.digest() == before


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'{"reason": "\\u0000"}', b"[" * 100_000])
def test_a_body_that_does_not_read_is_refused(dashboard: Served, raw: bytes) -> None:
    run = Run(dashboard)
    before = dashboard.digest()

    for path, _body in every_order(run):
        assert dashboard.post(path, raw).status_code in {400, 422}, path
    assert dashboard.digest() == before


def test_a_reason_that_no_database_can_hold_is_refused_and_the_instance_goes_on(dashboard: Served) -> None:
    run = Run(dashboard)

    answer = run.order("load", "hold", b'{"reason": "\\ud800"}')

    assert answer.status_code in {400, 422}, answer.text
    assert run.order("load", "hold", {"reason": "fine"}).status_code == 200


# --- once ---------------------------------------------------------------------------------------------------


def test_every_order_is_given_once_for_a_key_and_answered_alike(dashboard: Served) -> None:
    for number, (known, _body) in enumerate(every_order(Run(dashboard))):
        run = Run(dashboard)
        statuses = {
            "kill": "RUNNING",
            "fire-dependants": "ERROR",
            "release": "ON_HOLD",
            "enable": "SKIPPED_COMPLETE",
        }
        command = known.rpartition("/")[2]
        if (status := statuses.get(command)) is not None:
            run.bring("load", status)
        path, body = list(every_order(run))[number]
        key = {"Idempotency-Key": f"k-{number}"}

        first = dashboard.post(path, body, headers=key)
        position = run.position()
        second = dashboard.post(path, body, headers=key)

        assert first.status_code == 200, f"{path}: {first.text}"
        assert first.json["facts"], path
        assert second.json == first.json, path
        assert run.position() == position, f"{path} was obeyed twice"


def test_a_key_of_a_refused_order_is_good_once_the_order_is_permitted(dashboard: Served) -> None:
    run = Run(dashboard)
    key = {"Idempotency-Key": "later"}
    assert run.order("load", "kill", headers=key).status_code == 409
    run.bring("load", "RUNNING")
    assert run.order("load", "kill", headers=key).json["facts"][0]["type"] == "KillRequested"


# --- what would follow --------------------------------------------------------------------------------------


def test_the_preview_of_a_failed_jobs_dependants_changes_nothing_and_is_what_firing_them_then_starts(
    dashboard: Served,
) -> None:
    run = Run(dashboard)
    run.bring("load", "ERROR")
    before = dashboard.digest()

    preview = dashboard.get(f"{run.job('load')}/dependants")

    assert preview.status_code == 200
    assert preview.json == {
        "initiated": ["host-check"],
        "dependants": [{"identifier": "host-check", "context": None, "effect": "initiated"}],
        "ends_instance": False,
    }
    assert dashboard.get(f"{run.job('load')}/dependants").json == preview.json
    assert dashboard.digest() == before
    fired = run.order("load", "fire-dependants").json["facts"]
    initiated = [fact["data"]["job"] for fact in fired if fact["type"] == "JobInitiated"]
    assert initiated == preview.json["initiated"]
    assert dashboard.get(f"{run.job('load')}/dependants").json["initiated"] == []


@pytest.mark.parametrize("status", ["WAITING", "RUNNING", "COMPLETE"])
def test_a_preview_of_firing_is_of_a_job_in_error_alone(dashboard: Served, status: str) -> None:
    run = Run(dashboard)
    run.bring("load", status)

    answer = dashboard.get(f"{run.job('load')}/dependants")

    assert answer.status_code == 409
    assert (answer.json["status"], answer.json["permitted_in"]) == (status, ["ERROR"])


def test_what_a_jobs_success_would_start_is_told_before_it_has_run(dashboard: Served) -> None:
    run = Run(dashboard)
    before = dashboard.digest()

    def preview(name: str) -> list[tuple[str, str]]:
        answer = dashboard.get(f"{run.job(name)}/dependants", params={"after": "success"})
        assert answer.status_code == 200, answer.text
        return [(each["identifier"], each["effect"]) for each in answer.json["dependants"]]

    assert preview("load") == [("host-check", "initiated")]
    assert preview("check") == [("LOCAL_EVENT_JOB-checked", "complete"), ("far-report", "initiated")]
    assert preview("report") == []
    assert dashboard.digest() == before
    run.order("check", "hold")
    assert preview("load") == [("host-check", "kept")]


def test_previews_of_what_is_not_there_are_not_found_and_of_what_has_ended_refused(dashboard: Served) -> None:
    run = Run(dashboard)
    for path in (
        f"/api/v1/instances/{UNKNOWN}/{run.places['load']}",
        f"{run.path}/contexts/nowhere/jobs/host-load",
        f"{run.path}/contexts/flow/jobs/far-report",
    ):
        assert dashboard.get(f"{path}/dependants").status_code == 404
        assert dashboard.get(f"{path}/dependants?after=success").status_code == 404
    assert dashboard.get(f"{run.job('load')}/dependants?after=all").status_code == 400
    dashboard.post(f"{run.path}/end")
    assert dashboard.get(f"{run.job('load')}/dependants").status_code == 409
    assert dashboard.get(f"{run.job('load')}/dependants?after=success").json["status"] == "ENDED"
