"""Instances over HTTP: started, listed, shown as they are and as they were, commanded and read."""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from dashboard_over_http import Served, eventually, finished, nightly, served
from jobledger.domain.plan import StartWindow


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def complete(dashboard: Served, instance_id: str, job: str = "load") -> None:
    position = dashboard.shown(instance_id)["position"]
    answer = dashboard.put("/rest/event/scheduled", finished(instance_id, job))
    assert answer.status_code == 200, answer.text
    eventually(lambda: dashboard.shown(instance_id)["position"] > position)


def test_a_started_instance_is_shown_as_the_tree_of_its_plan(dashboard: Served) -> None:
    shown = dashboard.shown(dashboard.start())

    assert shown["plan"] == "nightly"
    assert shown["status"] == "WAITING"
    assert shown["position"] == 1
    assert shown["ended_at"] is None
    assert shown["counts"] == {"WAITING": 4}
    assert shown["root"]["name"] == "nightly"
    assert [job["identifier"] for job in shown["root"]["jobs"]] == ["host-load", "GLOBAL_EVENT-market closed"]
    (inner,) = shown["root"]["contexts"]
    assert inner["name"] == "nightly checks"
    check = inner["jobs"][1]
    assert check["identifier"] == "host-check"
    assert (check["kind"], check["status"], check["permitted"]) == (
        "command",
        "WAITING",
        ["submit", "hold", "skip", "reset", "reset-downstream", "acknowledge"],
    )
    assert (check["held"], check["skipped"], check["initiated"], check["killed"]) == (False,) * 4


def test_times_are_rfc_3339_in_utc(dashboard: Served) -> None:
    assert dashboard.shown(dashboard.start())["started_at"].startswith("2026-09-21T")
    assert dashboard.shown(dashboard.start())["started_at"].endswith("Z")


def test_starting_takes_parameters_and_says_where_the_instance_is(dashboard: Served) -> None:
    answer = dashboard.post(
        "/api/v1/plans/nightly/instances", {"parameters": {"region": "north"}, "reason": "asked for"}
    )

    assert answer.status_code == 201
    location = answer.headers["location"]
    assert location == f"/api/v1/instances/{answer.json['instance_id']}"
    assert dashboard.get(location).json["parameters"] == {"region": "north"}
    (fact,) = dashboard.get(f"{location}/log").json["items"]
    assert fact["cause"]["reason"] == "asked for"
    assert fact["cause"]["by"] == "anonymous"


@pytest.mark.parametrize("dry_run", [True, {"fixed_ms": 5, "error_percentage": 2.5}])
def test_an_instance_may_run_dry(dashboard: Served, dry_run: object) -> None:
    answer = dashboard.post("/api/v1/plans/nightly/instances", {"dry_run": dry_run})

    assert answer.status_code == 201, answer.text
    (fact,) = dashboard.get(f"{answer.headers['location']}/log").json["items"]
    assert "dry_run" in fact["data"]


def test_starting_an_instance_of_no_plan_is_not_found(dashboard: Served) -> None:
    answer = dashboard.post("/api/v1/plans/daily/instances", {})

    assert answer.status_code == 404
    assert "daily" in answer.json["detail"]


def test_instances_are_listed_newest_first_in_pages(dashboard: Served) -> None:
    started = [dashboard.start() for _ in range(5)]

    listed: list[str] = []
    path = "/api/v1/instances"
    page = dashboard.get(path, params={"plan": "nightly", "limit": 2}).json
    while True:
        listed.extend(item["instance_id"] for item in page["items"])
        if page["next"] is None:
            break
        page = dashboard.get(path, params={"cursor": page["next"], "plan": "nightly", "limit": 2}).json

    assert listed == started[::-1]


def test_a_list_can_be_narrowed_to_what_is_active(dashboard: Served) -> None:
    ended, active = dashboard.start(), dashboard.start()
    assert dashboard.post(f"/api/v1/instances/{ended}/end").status_code == 200

    def listed(query: str) -> list[str]:
        return [item["instance_id"] for item in dashboard.get(f"/api/v1/instances?{query}").json["items"]]

    assert listed("active=true") == [active]
    assert listed("active=false") == [ended]
    assert listed("status=ENDED") == [ended]
    assert listed("plan=another") == []


def test_an_event_shows_in_the_tree_the_log_and_the_audit(dashboard: Served) -> None:
    instance_id = dashboard.start()
    complete(dashboard, instance_id)

    shown = dashboard.shown(instance_id)
    assert shown["root"]["jobs"][0]["status"] == "COMPLETE"
    assert shown["root"]["jobs"][0]["return_code"] == 0
    assert shown["root"]["contexts"][0]["jobs"][1]["initiated"] is True

    log = dashboard.get(f"/api/v1/instances/{instance_id}/log").json["items"]
    assert [fact["type"] for fact in log] == ["InstanceStarted", "JobCompleted", "JobInitiated"]
    assert [fact["position"] for fact in log] == [1, 2, 3]
    assert isinstance(log[1]["cause"]["position"], int)
    assert log[1]["data"]["completed_at"] == "2026-09-21T14:13:20.005Z"

    rows = dashboard.get(f"/api/v1/instances/{instance_id}/audit").json["items"]
    assert rows[0]["event"] == "StartInstance"
    assert rows[1]["event"]["job"] == "load"
    assert rows[1]["event"]["completed_at"] == "2026-09-21T14:13:20.005Z"
    assert rows[1]["changed"] == [
        {"context": context, "job": "host-load", "from": "WAITING", "to": "COMPLETE"}
        for context in ("nightly", "nightly checks")
    ]
    assert rows[1]["initiated"] == ["host-check"]
    assert (rows[1]["before"], rows[1]["after"]) == (1, 3)


def test_the_log_is_read_in_pages_that_join_without_gap_or_repeat(dashboard: Served) -> None:
    instance_id = dashboard.start()
    for number in range(7):
        complete(dashboard, instance_id, f"unknown {number}")

    positions, after = [], "0"
    while after is not None:
        page = dashboard.get(f"/api/v1/instances/{instance_id}/log?after={after}&limit=3").json
        positions.extend(fact["position"] for fact in page["items"])
        after = page["next"]

    assert positions == list(range(1, 9))


def test_an_instance_is_shown_as_it_was_at_a_position_and_at_an_instant(dashboard: Served) -> None:
    instance_id = dashboard.start()
    before = dashboard.shown(instance_id)
    complete(dashboard, instance_id)
    path = f"/api/v1/instances/{instance_id}"

    assert dashboard.get(f"{path}?at=1").json == before
    assert dashboard.get(path, params={"at": before["started_at"]}).json == before
    latest = dashboard.shown(instance_id)
    assert dashboard.get(path, params={"at": "2100-01-01T00:00:00+02:00"}).json == latest
    assert dashboard.get(f"{path}?at=2100-01-01T00:00:00+02:00").json == latest


@pytest.mark.parametrize(
    ("at", "status"),
    [
        ("99", 404),
        ("0", 404),
        ("9" * 18, 404),
        ("9" * 40, 400),
        ("1969-01-01T00:00:00Z", 404),
        ("0001-01-01T00:00:00+14:00", 404),
        ("9999-12-31T23:59:59-14:00", 200),
        ("yesterday", 400),
        ("2026-01-01T00:00:00", 400),
        ("", 400),
        ("-1", 400),
    ],
)
def test_a_moment_that_cannot_be_shown_is_refused(dashboard: Served, at: str, status: int) -> None:
    instance_id = dashboard.start()

    answer = dashboard.get(f"/api/v1/instances/{instance_id}", params={"at": at})

    assert answer.status_code == status, answer.text


def test_who_waits_for_a_change_is_answered_as_soon_as_it_comes(dashboard: Served) -> None:
    instance_id = dashboard.start()
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(
            dashboard.get(f"/api/v1/instances/{instance_id}?after=1&wait=30").json["position"]
        )
    )
    waiter.start()

    dashboard.put("/rest/event/scheduled", finished(instance_id))
    waiter.join(timeout=15)

    assert not waiter.is_alive(), "the change did not wake who waited for it"
    assert answers[0] > 1


def test_waiting_ends_when_its_time_is_over(dashboard: Served) -> None:
    instance_id = dashboard.start()

    assert dashboard.get(f"/api/v1/instances/{instance_id}?after=1&wait=0.05").json["position"] == 1


def test_who_is_behind_already_does_not_wait(dashboard: Served) -> None:
    instance_id = dashboard.start()

    assert dashboard.get(f"/api/v1/instances/{instance_id}?after=0&wait=60").json["position"] == 1


def test_more_than_may_wait_are_answered_at_once(tmp_path: Path) -> None:
    with served(tmp_path, waiting_places=1) as dashboard:
        instance_id = dashboard.start()
        path = f"/api/v1/instances/{instance_id}?after=1&wait=60"
        holder = threading.Thread(target=lambda: dashboard.get(path))
        holder.start()
        waiting = dashboard.application.services.waiting
        eventually(lambda: waiting.free == 0)

        assert dashboard.get(path).json["position"] == 1

        dashboard.put("/rest/event/scheduled", finished(instance_id))
        holder.join(timeout=15)
        assert not holder.is_alive()


def test_ending_answers_with_its_facts_and_ending_twice_is_refused(dashboard: Served) -> None:
    instance_id = dashboard.start()

    first = dashboard.post(f"/api/v1/instances/{instance_id}/end", {"reason": "no longer needed"})
    assert first.status_code == 200
    assert first.json["position"] == 2
    assert [fact["type"] for fact in first.json["facts"]] == ["InstanceEnded"]
    assert first.json["facts"][0]["cause"]["reason"] == "no longer needed"

    second = dashboard.post(f"/api/v1/instances/{instance_id}/end")
    assert second.status_code == 409
    assert second.json["status"] == "ENDED"
    assert second.json["permitted"] == []
    assert dashboard.shown(instance_id)["position"] == 2


def test_a_job_is_submitted_by_hand_with_parameters(dashboard: Served) -> None:
    instance_id = dashboard.start()
    job = f"/api/v1/instances/{instance_id}/contexts/nightly checks/jobs/host-check"

    answer = dashboard.post(f"{job}/submit", {"parameters": {"depth": "3"}, "reason": "try it"})

    assert answer.status_code == 200, answer.text
    (fact,) = answer.json["facts"]
    assert fact["type"] == "JobInitiated"
    assert fact["data"]["parameters"] == {"depth": "3"}
    assert answer.json["position"] == fact["position"] == 2
    assert dashboard.get(job).json["initiated"] is True


def test_a_command_that_the_status_does_not_permit_says_which_would(dashboard: Served) -> None:
    instance_id = dashboard.start()
    dashboard.put(
        "/rest/event/scheduled", finished(instance_id, jobStarting=True, successful=False, pid=4711)
    )
    job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load"
    eventually(lambda: dashboard.get(job).json["status"] == "RUNNING")
    before = dashboard.digest()

    answer = dashboard.post(f"{job}/submit")

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == "RUNNING"
    assert answer.json["permitted"] == ["acknowledge", "kill"]
    assert "WAITING" in answer.json["permitted_in"]
    assert "RUNNING" not in answer.json["permitted_in"]
    assert dashboard.digest() == before


@pytest.mark.parametrize(
    "place",
    ["contexts/nowhere/jobs/host-load", "contexts/nightly/jobs/host-check", "contexts/nightly/jobs/nothing"],
)
def test_a_job_that_is_not_there_is_not_found(dashboard: Served, place: str) -> None:
    instance_id = dashboard.start()

    assert dashboard.get(f"/api/v1/instances/{instance_id}/{place}").status_code == 404
    assert dashboard.post(f"/api/v1/instances/{instance_id}/{place}/submit").status_code == 404
    assert dashboard.get(f"/api/v1/instances/{instance_id}/{place}/log/stdout").status_code == 404


@pytest.mark.parametrize(
    "instance_id",
    ["6f1c2f9e-0d6b-4f0e-9a53-1f2f5c1b7a11", "0", "not-a-uuid", "00000000-0000-0000-0000-00000000000g"],
)
@pytest.mark.parametrize("what", ["", "/log", "/audit", "/end"])
def test_an_instance_that_is_not_there_is_not_found(dashboard: Served, instance_id: str, what: str) -> None:
    method = "POST" if what == "/end" else "GET"

    answer = dashboard.call(method, f"/api/v1/instances/{instance_id}{what}")

    assert answer.status_code == 404
    assert answer.json["status"] == 404


def test_output_is_read_from_the_agent_in_parts(dashboard: Served) -> None:
    dashboard.put("/api/v1/agents/host", {"url": "http://127.0.0.1:1", "version": "1", "host": "h"})
    instance_id = dashboard.start()
    job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load"
    assert dashboard.post(f"{job}/submit").status_code == 200
    dashboard.agent.written[f"{instance_id}-1", "stdout"] = "loaded 5 rows\nä\n".encode()

    whole = dashboard.get(f"{job}/log/stdout")
    assert whole.content == "loaded 5 rows\nä\n".encode()
    assert whole.headers["content-type"].startswith("text/plain")
    assert whole.headers["next-offset"] == "17"
    assert dashboard.get(f"{job}/log/stdout?offset=7&limit=1").content == b"5"
    assert dashboard.get(f"{job}/log/stdout?offset=1000").content == b""
    assert dashboard.get(f"{job}/log/stderr").content == b""


def test_output_of_an_agent_that_cannot_be_reached_is_a_bad_gateway(dashboard: Served) -> None:
    instance_id = dashboard.start()
    job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load"
    assert dashboard.get(f"{job}/log/stdout").status_code == 404
    dashboard.post(f"{job}/submit")
    assert dashboard.get(f"{job}/log/stdout").status_code == 502

    dashboard.put("/api/v1/agents/host", {"url": "http://127.0.0.1:1"})
    dashboard.agent.reachable = False
    answer = dashboard.get(f"{job}/log/stdout")
    assert answer.status_code == 502
    assert "host" in answer.json["detail"]


def test_a_window_beyond_the_calendar_is_shown_as_its_end(dashboard: Served) -> None:
    plan = msgspec.structs.replace(
        nightly("eternal"), window=StartWindow(time_to_live_ms=9_000_000_000_000_000)
    )
    dashboard.push(plan)

    assert dashboard.shown(dashboard.start("eternal"))["ends_at"] == "9999-12-31T23:59:59.999Z"


def test_the_jobs_that_are_named_fail_in_a_dry_run_and_no_others(dashboard: Served) -> None:
    answer = dashboard.post(
        "/api/v1/plans/nightly/instances", {"dry_run": {"max_ms": 5, "jobs_in_error": ["host-load"]}}
    )
    instance_id = answer.json["instance_id"]
    for context, job in (("nightly", "host-load"), ("nightly checks", "host-check")):
        dashboard.post(f"/api/v1/instances/{instance_id}/contexts/{context}/jobs/{job}/submit")

    facts = dashboard.get(f"/api/v1/instances/{instance_id}/log").json["items"]

    fails = {f["data"]["job"]: "error" in f["data"]["dry_run"] for f in facts if f["type"] == "JobInitiated"}
    assert fails == {"host-load": True, "host-check": False}
