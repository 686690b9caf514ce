"""Why a job is not running, and why it ran, as a caller is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from dashboard_over_http import START, Served, eventually, finished, served
from jobledger.actors.dashboard import instance_actor
from jobledger.domain.facts import Recorded
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
    Trigger,
)
from jobledger.http.dashboard.auth import ByAccount
from jobledger.storage.accounts import Role
from jobledger.storage.records import Inbound
from test_dashboard_auth import Book, account, bearer


def evening(name: str = "evening", group: str | None = None) -> JobPlan:
    """A clock and a file start load; check follows it; the books are closed; report needs all."""
    closed = EventJob.listed(EventKind.GLOBAL, "closed")
    jobs = (
        ScheduleJob(agent="host", name="clock", trigger=Trigger(cron="0 0 7 * * ?", zone="UTC")),
        FileJob(
            agent="host",
            name="file",
            trigger=Trigger(cron="0 * * * * ?"),
            file_path="/in",
            filenames=("x.*",),
        ),
        *(CommandJob(agent="host", name=each, command_line="true") for each in ("load", "check", "report")),
        closed,
    )
    return JobPlan(
        root=Context(
            name=name,
            jobs=tuple(ListedJob(job.agent, job.name) for job in jobs),
            dependencies=(
                Dependency("host-load", Grouping(all_of=("host-clock", "host-file"))),
                Dependency("host-check", Grouping(all_of=("host-load",))),
                Dependency(closed.identifier, Grouping(all_of=("host-check",))),
                Dependency("host-report", Grouping(all_of=(closed.identifier,))),
            ),
            locks=(
                Lock(
                    "disk",
                    1,
                    participants=(LockParticipant(name, "host-load"), LockParticipant(name, "host-check")),
                ),
            ),
        ),
        jobs=jobs,
        environment_group=group,
        concurrent=True,
    )


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        running.push(evening())
        yield running


class Asked:
    """An instance that is asked about."""

    def __init__(self, dashboard: Served, plan: str = "evening") -> None:
        self.dashboard = dashboard
        self.plan = plan
        self.id = dashboard.start(plan)
        self.path = f"/api/v1/instances/{self.id}"

    def job(self, name: str) -> str:
        agent = "GLOBAL_EVENT" if name == "closed" else "host"
        return f"{self.path}/contexts/{self.plan}/jobs/{agent}-{name}"

    def why(self, name: str, **more: Any) -> Any:
        answer = self.dashboard.get(f"{self.job(name)}/why", **more)
        assert answer.status_code == 200, answer.text
        return answer.json

    def order(self, name: str, command: str, **body: Any) -> Any:
        answer = self.dashboard.post(f"{self.job(name)}/{command}", body)
        assert answer.status_code == 200, answer.text
        return answer.json

    def report(self, name: str, **more: Any) -> None:
        position = self.dashboard.shown(self.id)["position"]
        event = finished(self.id, name, contextName=self.plan, **more)
        assert self.dashboard.put("/rest/event/scheduled", event).status_code == 200
        eventually(lambda: self.dashboard.shown(self.id)["position"] > position)

    def blockers(self, name: str) -> list[tuple[str, str]]:
        return [(each["kind"], each["job"]["name"]) for each in self.why(name)["blockers"]]

    def chain(self, name: str) -> list[tuple[str, str]]:
        steps = (each["fact"] for each in self.why(name)["chain"])
        return [(fact["type"], fact["data"].get("job", "")) for fact in steps]


# --- what keeps it from running -----------------------------------------------------------------------------


def test_what_is_waited_for_is_told_down_to_what_really_blocks_it(dashboard: Served) -> None:
    asked = Asked(dashboard)

    told = asked.why("report")

    assert [(each["kind"], each["job"]["name"]) for each in told["blockers"]] == [
        ("schedule", "clock"),
        ("file", "file"),
    ]
    clock, file = told["blockers"]
    assert clock["trigger"] == {"cron": "0 0 7 * * ?", "zone": "UTC"}
    assert file["trigger"] == {"cron": "0 * * * * ?", "zone": None, "file_path": "/in", "filenames": ["x.*"]}
    assert [each["identifier"] for each in told["jobs"]] == [
        "host-report", "GLOBAL_EVENT-closed", "host-check", "host-load", "host-clock", "host-file",
    ]  # fmt: skip
    assert told["jobs"][3]["waits"] == [
        {"context": "evening", "lacks": {"all_of": [{"lacking": "host-clock"}, {"lacking": "host-file"}]}}
    ]
    assert (told["latest"], told["ended"], told["chain"]) == (None, None, [])
    assert (told["blockers_count"], told["jobs_count"], told["chain_count"]) == (2, 6, 0)
    assert told["job"]["status"] == "WAITING"


def test_who_holds_a_job_since_when_and_why_is_told(dashboard: Served) -> None:
    asked = Asked(dashboard)
    asked.order("load", "hold", reason="books are open")
    asked.report("clock")
    asked.report("file")

    told = asked.why("report")

    (blocker,) = told["blockers"]
    assert (blocker["kind"], blocker["job"]["held"]) == ("held", True)
    fact = blocker["fact"]
    assert (fact["type"], fact["position"]) == ("JobHeld", 2)
    assert fact["at"].startswith("2026-09-21T")
    assert (fact["cause"]["by"], fact["cause"]["reason"]) == ("anonymous", "books are open")
    # It was ready already: what it was kept for is told of the held job itself.
    assert asked.chain("load") == [("JobCompleted", "host-file")]
    assert asked.why("load")["latest"]["type"] == "JobHeld"


def test_who_skipped_a_job_is_told(dashboard: Served) -> None:
    asked = Asked(dashboard)
    asked.order("check", "skip", reason="not today")
    told = asked.why("check")
    assert told["blockers"][0]["kind"] == "skipped"
    assert told["blockers"][0]["fact"]["cause"]["reason"] == "not today"


def test_an_agent_that_has_not_taken_the_order_is_told_apart_from_one_that_has(dashboard: Served) -> None:
    asked = Asked(dashboard)
    asked.order("load", "submit")
    (blocker,) = asked.why("check")["blockers"]
    assert (blocker["kind"], blocker["job"]["name"], blocker["undelivered"]) == ("on its way", "load", True)
    assert (blocker["agent"]["name"], blocker["agent"]["announced"]) == ("host", False)
    assert blocker["fact"]["type"] == "JobInitiated"

    dashboard.put("/api/v1/agents/host", {"url": "http://127.0.0.1:9", "running": 3, "queued": 4})

    def delivered() -> bool:
        return not asked.why("check")["blockers"][0]["undelivered"]

    eventually(delivered)
    agent = asked.why("check")["blockers"][0]["agent"]
    assert (agent["announced"], agent["reachable"], agent["running"], agent["queued"]) == (True, True, 3, 4)
    assert agent["last_seen"].startswith("2026-09-21T")

    dashboard.dashboard.clock.advance(60_000)  # type: ignore[attr-defined]  the test's clock
    assert asked.why("check")["blockers"][0]["agent"]["reachable"] is False


def test_what_runs_since_when_is_told(dashboard: Served) -> None:
    asked = Asked(dashboard)
    asked.report("load", jobStarting=True, successful=False, pid=77)
    (blocker,) = asked.why("check")["blockers"]
    assert (blocker["kind"], blocker["job"]["pid"], blocker["fact"]["type"]) == ("running", 77, "JobStarted")


def test_a_failure_nobody_accepted_is_told_with_its_return_code(dashboard: Served) -> None:
    asked = Asked(dashboard)
    asked.report("load", successful=False, returnCode=3)
    (blocker,) = asked.why("report")["blockers"]
    assert (blocker["kind"], blocker["job"]["return_code"]) == ("error", 3)
    assert "acknowledge" in blocker["job"]["permitted"]


def test_who_holds_the_lock_and_who_is_before_it_is_told(dashboard: Served) -> None:
    holder, waiter = Asked(dashboard), Asked(dashboard)
    holder.order("load", "submit")
    holder.order("check", "submit")
    waiter.order("load", "submit")

    (blocker,) = waiter.why("check")["blockers"]

    assert (blocker["kind"], blocker["job"]["name"]) == ("lock", "load")
    lock = blocker["lock"]
    assert (lock["name"], lock["ahead"]) == ("disk", 1)
    assert [(each["instance_id"], each["job"]) for each in lock["held_by"]] == [(holder.id, "host-load")]
    assert (lock["first_ahead"]["instance_id"], lock["first_ahead"]["job"]) == (holder.id, "host-check")
    assert blocker["fact"]["type"] == "JobLockQueued"
    assert dashboard.get(waiter.job("load")).json["lock_wait"] == lock


def test_an_event_that_could_not_be_processed_is_told_with_the_job_it_is_about(
    dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(dashboard)
    asked.report("load", jobStarting=True, successful=False)
    real = instance_actor.advance

    def broken(state: Any, command: Any, **rest: Any) -> Any:
        if getattr(getattr(command, "event", None), "successful", False):
            raise RuntimeError("a fault of this release")
        return real(state, command, **rest)

    monkeypatch.setattr(instance_actor, "advance", broken)
    asked.report("load")

    (blocker,) = asked.why("check")["blockers"]

    assert blocker["kind"] == "running"
    (letter,) = blocker["dead_letters"]
    assert "a fault of this release" in letter["error"]
    assert letter["event"]["job"] == "load"
    monkeypatch.undo()
    assert dashboard.post(f"/api/v1/dead-letters/{letter['id']}/resubmit").status_code == 200
    eventually(lambda: asked.blockers("check") == [("on its way", "check")])


def test_a_letter_that_does_not_read_is_no_obstacle_to_the_answer(dashboard: Served) -> None:
    asked = Asked(dashboard)
    garbage = Inbound(stream=UUID(asked.id), kind="event", payload=b"\xc1", source="x")
    dashboard.dashboard.ledger.receive([garbage])
    eventually(lambda: bool(dashboard.dashboard.dead_letters()))
    assert asked.blockers("load") == [("schedule", "clock"), ("file", "file")]


def test_in_an_instance_that_ended_it_is_told_who_ended_it(dashboard: Served) -> None:
    asked = Asked(dashboard)
    dashboard.post(f"{asked.path}/end", {"reason": "wrong day"})
    for _ in range(70):
        asked.report("clock")

    told = asked.why("report")

    assert [each["kind"] for each in told["blockers"]] == ["ended"]
    assert (told["ended"]["type"], told["ended"]["cause"]["reason"]) == ("InstanceEnded", "wrong day")


# --- why it ran ---------------------------------------------------------------------------------------------


def test_a_run_is_explained_back_to_the_order_that_began_it(dashboard: Served) -> None:
    asked = Asked(dashboard)
    asked.order("load", "submit", reason="late file")
    asked.report("load", jobStarting=True, successful=False)
    asked.report("load")
    asked.report("check", jobStarting=True, successful=False)

    told = asked.why("check")

    assert told["blockers"] == []
    assert told["job"]["status"] == "RUNNING"
    assert asked.chain("check") == [
        ("JobStarted", "host-check"),
        ("JobInitiated", "host-check"),
        ("JobCompleted", "host-load"),
        ("JobInitiated", "host-load"),
    ]
    started, initiated, completed, submitted = told["chain"]
    assert started["event"]["job"] == "check"
    assert completed["event"]["return_code"] == 0
    assert initiated["fact"]["cause"]["position"] == completed["fact"]["cause"]["position"]
    cause = submitted["fact"]["cause"]
    assert (cause["command"], cause["by"], cause["reason"]) == ("SubmitJob", "anonymous", "late file")
    positions = [each["fact"]["position"] for each in told["chain"]]
    assert positions == sorted(positions, reverse=True)


def test_a_run_is_explained_back_to_the_schedule_and_through_what_was_passed_over(dashboard: Served) -> None:
    asked = Asked(dashboard)
    asked.order("load", "skip", reason="no data")
    asked.report("file")
    asked.report("clock", fireTime=START)

    assert asked.chain("check") == [
        ("JobInitiated", "host-check"),
        ("JobPassedOver", "host-load"),
        ("JobCompleted", "host-clock"),
    ]
    passed_over = asked.why("check")["chain"][1]
    assert passed_over["skipped"]["cause"]["reason"] == "no data"


def test_a_global_event_is_explained_by_the_instance_that_raised_it(dashboard: Served) -> None:
    raiser, hearer = Asked(dashboard), Asked(dashboard)
    raiser.report("check")
    eventually(lambda: hearer.chain("report") != [])

    told = hearer.why("report")
    assert [each["fact"]["type"] for each in told["chain"]] == ["JobInitiated", "JobCompleted"]
    assert told["chain"][-1]["raised_by"] == raiser.id
    own = raiser.chain("report")
    assert own == [
        ("JobInitiated", "host-report"),
        ("JobCompleted", "GLOBAL_EVENT-closed"),
        ("GlobalEventRaised", "GLOBAL_EVENT-closed"),
        ("JobCompleted", "host-check"),
    ]


def test_a_global_event_from_outside_is_explained_by_its_event(dashboard: Served) -> None:
    asked = Asked(dashboard)
    dashboard.post("/api/v1/global-events/closed")
    eventually(lambda: asked.chain("report") != [])
    last = asked.why("report")["chain"][-1]
    assert "raised_by" not in last
    assert last["event"]["job"] == "closed"


def test_a_job_that_waited_for_its_lock_is_explained_by_what_made_it_ready(dashboard: Served) -> None:
    holder, waiter = Asked(dashboard), Asked(dashboard)
    holder.order("load", "submit")
    waiter.report("clock")
    waiter.report("file")
    assert waiter.chain("load") == [("JobLockQueued", "host-load"), ("JobCompleted", "host-file")]
    holder.report("load", initiationId=f"{holder.id}-1")
    eventually(lambda: waiter.chain("load")[0][0] == "JobInitiated")
    assert waiter.chain("load") == [("JobInitiated", "host-load"), ("JobCompleted", "host-file")]


# --- how much, for whom, at what cost -----------------------------------------------------------------------


def wide(jobs: int) -> JobPlan:
    names = [f"j{number}" for number in range(jobs)]
    return JobPlan(
        root=Context(
            name="wide",
            jobs=tuple(ListedJob("host", name) for name in (*names, "end")),
            dependencies=(Dependency("host-end", Grouping(all_of=tuple(f"host-{name}" for name in names))),),
        ),
        jobs=tuple(CommandJob(agent="host", name=name, command_line="true") for name in (*names, "end")),
        concurrent=True,
    )


def test_long_lists_are_cut_and_counted(dashboard: Served) -> None:
    dashboard.push(wide(300))
    asked = Asked(dashboard, "wide")
    told = asked.why("end", params={"limit": 7})
    assert (len(told["blockers"]), told["blockers_count"]) == (7, 300)
    assert (len(told["jobs"]), told["jobs_count"]) == (7, 301)
    assert dashboard.get(f"{asked.job('end')}/why?limit=0").status_code == 400


def line(jobs: int) -> JobPlan:
    names = [f"j{number}" for number in range(jobs)]
    return JobPlan(
        root=Context(
            name="line",
            jobs=tuple(ListedJob("host", name) for name in names),
            dependencies=tuple(
                Dependency(f"host-j{number}", Grouping(all_of=(f"host-j{number - 1}",)))
                for number in range(1, jobs)
            ),
        ),
        jobs=tuple(CommandJob(agent="host", name=name, command_line="true") for name in names),
        concurrent=True,
    )


def test_of_a_long_chain_of_causes_the_latest_and_the_first_are_told(dashboard: Served) -> None:
    dashboard.push(line(30))
    asked = Asked(dashboard, "line")
    asked.order("j0", "submit", reason="first of all")
    for number in range(29):
        asked.report(f"j{number}")
    told = asked.why("j29", params={"limit": 5})
    assert told["chain_count"] == 59
    assert [each["fact"]["data"]["job"] for each in told["chain"]] == [
        "host-j29", "host-j28", "host-j28", "host-j27", "host-j0",
    ]  # fmt: skip
    assert told["chain"][-1]["fact"]["cause"]["reason"] == "first of all"


def test_what_an_answer_costs_does_not_follow_the_length_of_the_log(
    dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    dashboard.push(line(3))
    asked = Asked(dashboard, "line")
    asked.order("j1", "hold")
    events = [finished(asked.id, f"unknown{number}", contextName="line") for number in range(1_500)]
    assert dashboard.post("/api/v1/events", events).status_code in {200, 202}
    eventually(lambda: dashboard.shown(asked.id)["position"] >= 1_502)
    asked.report("j0")
    assert dashboard.shown(asked.id)["position"] > 1_500
    read: list[int] = []
    real = dashboard.dashboard.ledger.facts

    def counted(*arguments: Any, **named: Any) -> list[Recorded]:
        found = real(*arguments, **named)
        read.append(len(found))
        return found

    monkeypatch.setattr(dashboard.dashboard.ledger, "facts", counted)

    told = asked.why("j2")

    assert [each["kind"] for each in told["blockers"]] == ["held"]
    assert sum(read) < 200, f"{sum(read)} facts were read of {told['position']}"


def test_who_is_limited_to_plans_is_not_told_of_the_jobs_of_others_that_hold_a_lock(tmp_path: Path) -> None:
    book = Book(
        account(name="admin", role=Role.ADMIN),
        account(name="evening-reader", role=Role.READ, plans=frozenset({"evening"})),
        account(name="nightly-reader", role=Role.READ, plans=frozenset({"nightly"})),
    )
    with served(tmp_path, authentication=ByAccount(book)) as dashboard:
        dashboard.headers = bearer("admin")
        dashboard.push(evening())
        dashboard.push(evening("secret plan"))
        other, own = Asked(dashboard, "secret plan"), Asked(dashboard)
        other.order("load", "submit")
        own.order("load", "submit")
        assert own.why("load")["blockers"][0]["lock"]["held_by"][0]["plan"] == "secret plan"

        dashboard.headers = bearer("evening-reader")
        lock = own.why("load")["blockers"][0]["lock"]
        assert (lock["held_by"], lock["held_by_count"], lock["first_ahead"]) == ([], 1, None)
        assert dashboard.get(own.job("load")).json["lock_wait"] == lock
        dashboard.headers = bearer("nightly-reader")
        assert dashboard.get(f"{own.job('load')}/why").status_code == 403
        assert dashboard.get(f"{own.job('load')}/dependants").status_code == 403


def test_what_is_not_there_is_not_found(dashboard: Served) -> None:
    asked = Asked(dashboard)
    for path in (
        "/api/v1/instances/6f1c2f9e-0d6b-4f0e-9a53-1f2f5c1b7a11/contexts/evening/jobs/host-load",
        f"{asked.path}/contexts/nowhere/jobs/host-load",
        f"{asked.path}/contexts/evening/jobs/host-nothing",
    ):
        assert dashboard.get(f"{path}/why").status_code == 404


# --- details ------------------------------------------------------------------------------------------------


def test_a_job_is_shown_with_its_template_and_which_of_its_dependencies_are_satisfied(
    dashboard: Served,
) -> None:
    asked = Asked(dashboard)
    asked.report("clock")

    shown = dashboard.get(asked.job("load")).json

    assert shown["contexts"] == ["evening"]
    assert shown["template"]["command_line"] == "true"
    assert shown["initiation_id"] is None
    assert shown["lock"]["name"] == "disk"
    assert shown["lock_wait"] is None
    assert "submit" in shown["permitted"]
    (dependency,) = shown["dependencies"]
    assert dependency["context"] == "evening"
    grouping = dependency["grouping"]
    assert grouping["holds"] is False
    assert [(each["identifier"], each["status"], each["holds"]) for each in grouping["all_of"]] == [
        ("host-clock", "COMPLETE", True),
        ("host-file", "WAITING", False),
    ]
    asked.report("file")
    assert dashboard.get(asked.job("load")).json["initiation_id"] == f"{asked.id}-1"
    assert dashboard.get(asked.job("load")).json["dependencies"][0]["grouping"]["holds"] is True


def test_a_job_is_shown_with_its_parameters_and_where_they_come_from_and_with_no_secret(
    dashboard: Served,
) -> None:
    load = CommandJob(
        agent="host",
        name="load",
        command_line="true",
        parameters=(Parameter("region", "south"), Parameter("DB_PASSWORD", "hush"), Parameter("depth")),
    )
    dashboard.push(
        JobPlan(
            root=Context(name="secretive", jobs=(ListedJob("host", "load"),)), jobs=(load,), concurrent=True
        )
    )
    asked = Asked(dashboard, "secretive")
    dashboard.post(f"{asked.path}/parameters", {"parameters": {"region": "north", "DB_PASSWORD": "hush too"}})

    shown = dashboard.get(asked.job("load"))

    assert "hush" not in shown.text
    assert [(each["name"], each["value"], each["source"]) for each in shown.json["parameters"]] == [
        ("region", "north", "instance"),
        ("DB_PASSWORD", "********", "instance"),
        ("depth", None, None),
    ]
    submitted = dashboard.post(f"{asked.job('load')}/submit", {"parameters": {"DB_PASSWORD": "hush three"}})
    assert submitted.status_code == 200
    assert "hush" not in submitted.text
    asked.report("load", jobStarting=True, successful=False)
    assert "hush" not in dashboard.get(f"{asked.job('load')}/why").text
    assert "hush" not in dashboard.get(f"{asked.job('load')}/dependants?after=success").text
