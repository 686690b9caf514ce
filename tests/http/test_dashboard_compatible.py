"""The services of statuses that existing clients call, in the shapes that they read."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from dashboard_over_http import Served, eventually, finished, nightly, served
from jobledger.domain.plan import StartWindow
from jobledger.http.wire.instances import decode_instances


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


@pytest.fixture
def loaded(dashboard: Served) -> str:
    """An instance whose first job is complete."""
    instance_id = dashboard.start()
    dashboard.put("/rest/event/scheduled", finished(instance_id))
    eventually(lambda: dashboard.shown(instance_id)["position"] == 3)
    return instance_id


def test_the_status_of_a_context_is_a_line_for_each_active_instance(dashboard: Served, loaded: str) -> None:
    other = dashboard.start()

    answer = dashboard.get("/rest/contextStatus/nightly/nightly checks")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert sorted(answer.text.split("\n")) == sorted([f"{loaded}=RUNNING", f"{other}=WAITING"])
    assert f"{loaded}=RUNNING" in dashboard.get("/rest/contextStatus/nightly/nightly").text


@pytest.mark.parametrize("job", ["host-load", "load"])
def test_the_status_of_a_job_is_asked_by_identifier_or_by_name(
    dashboard: Served, loaded: str, job: str
) -> None:
    assert dashboard.get(f"/rest/contextStatus/nightly/nightly/{job}").text == f"{loaded}=COMPLETE"
    document = dashboard.get(f"/rest/contextStatus/json/nightly/nightly/{job}").json
    assert document[loaded]["status"] == "COMPLETE"
    assert document[loaded]["identifier"] == "host-load"
    assert document[loaded]["contextInstanceId"] == loaded


def test_no_active_instance_is_no_content(dashboard: Served) -> None:
    assert dashboard.get("/rest/contextStatus/nightly/nightly").status_code == 204
    assert dashboard.get("/rest/contextStatus/nightly/nightly/host-load").status_code == 204
    assert dashboard.get("/rest/contextStatus/json/nightly/nightly").json == {}


@pytest.mark.parametrize("place", ["daily/daily", "nightly/nowhere", "nightly/nightly/host-nothing"])
@pytest.mark.parametrize("form", ["", "json/"])
def test_a_name_that_is_not_there_is_not_found(dashboard: Served, loaded: str, place: str, form: str) -> None:
    answer = dashboard.get(f"/rest/contextStatus/{form}{place}")

    assert answer.status_code == 404
    assert list(answer.json) == ["errorMessage"]
    assert loaded


def test_a_context_is_shown_as_an_instance_of_its_template(dashboard: Served, loaded: str) -> None:
    document = dashboard.get("/rest/contextStatus/json/nightly/nightly").json[loaded]

    assert document["id"] == loaded
    assert document["name"] == "nightly"
    assert document["status"] == "RUNNING"
    assert isinstance(document["createdDateTime"], int)
    assert document["endTime"] == 0
    load = document["scheduledJobs"][0]
    assert load["initiationEventRaised"] is False
    assert (load["contextName"], load["childContextName"]) == ("nightly", "nightly")
    assert load["childContextNames"] == ["nightly", "nightly checks"]
    assert load["scheduledProcessEvent"]["returnCode"] == 0
    assert load["scheduledProcessEvent"]["successful"] is True
    (inner,) = document["contexts"]
    check = inner["scheduledJobs"][1]
    assert (check["status"], check["initiationEventRaised"], check["held"]) == ("WAITING", True, False)
    assert inner["jobDependencies"] == [
        {"jobIdentifier": "host-check", "logicalGrouping": {"and": [{"identifier": "host-load"}]}}
    ]
    assert dashboard.get("/rest/contextStatus/json/nightly/nightly checks").json == {loaded: inner}
    assert inner["id"] != loaded


def test_all_active_instances_are_listed(dashboard: Served, loaded: str) -> None:
    ended = dashboard.start()
    dashboard.post(f"/api/v1/instances/{ended}/end")

    for query in ("", "?includePrepared=true", "?includePrepared=false"):
        assert dashboard.get(f"/rest/contextStatus/json/allInstance{query}").json == {
            "contextMachineStatusList": [
                {"contextName": "nightly", "contextInstanceId": loaded, "instanceStatus": "RUNNING"}
            ]
        }


def test_the_jobs_of_active_instances_are_listed_by_status(dashboard: Served, loaded: str) -> None:
    def details(path: str) -> dict[str, str]:
        (plan,) = dashboard.get(f"/rest/contextStatus/json/jobStatus{path}").json["jobPlans"]
        assert plan["contextInstanceId"] == loaded
        return {job["jobName"]: job["instanceStatus"] for job in plan["jobDetails"]}

    everything = {"load": "COMPLETE", "check": "WAITING", "market closed": "WAITING"}
    assert details("") == everything
    assert details("/nightly") == everything
    assert details("/nightly?instanceStatus=COMPLETE") == {"load": "COMPLETE"}
    assert details("?instanceStatus=ERROR") == {}
    assert dashboard.get("/rest/contextStatus/json/jobStatus?instanceStatus=BROKEN").status_code == 400
    assert dashboard.get("/rest/contextStatus/json/jobStatus/daily").status_code == 404


def test_jobs_are_listed_by_every_word_that_existing_clients_know_as_a_status(
    dashboard: Served, loaded: str
) -> None:
    dashboard.put("/rest/event/scheduled", finished(loaded, "check", successful=False, returnCode=3))
    eventually(lambda: dashboard.shown(loaded)["counts"].get("ERROR") == 1)

    def named(status: str) -> list[str]:
        path = f"/rest/contextStatus/json/jobStatus/nightly?instanceStatus={status}"
        (plan,) = dashboard.get(path).json["jobPlans"]
        return [job["jobName"] for job in plan["jobDetails"]]

    assert named("ERROR") == ["check"]
    assert named("RELEASED") == named("WAITING") == ["market closed"]
    assert [named(each) for each in ("KILLED", "ERROR_ACKNOWLEDGED", "ENDED", "PREPARED")] == [[], [], [], []]
    job = f"/api/v1/instances/{loaded}/contexts/nightly%20checks/jobs/host-check"
    assert dashboard.post(f"{job}/acknowledge").status_code == 200
    assert named("ERROR_ACKNOWLEDGED") == named("ERROR") == ["check"]


def test_a_job_that_was_killed_is_listed_as_killed(dashboard: Served) -> None:
    instance_id = dashboard.start()
    job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load"
    dashboard.post(f"{job}/submit")
    started = finished(instance_id, jobStarting=True, successful=False, pid=77, completionTime=0)
    dashboard.put("/rest/event/scheduled", {**started, "initiationId": f"{instance_id}-1"})
    eventually(lambda: dashboard.get(job).json["status"] == "RUNNING")
    assert dashboard.post(f"{job}/kill").status_code == 200
    ended = finished(instance_id, successful=False, returnCode=143)
    dashboard.put("/rest/event/scheduled", {**ended, "initiationId": f"{instance_id}-1"})
    eventually(lambda: dashboard.get(job).json["status"] == "ERROR")

    (plan,) = dashboard.get("/rest/contextStatus/json/jobStatus?instanceStatus=KILLED").json["jobPlans"]
    assert [job["jobName"] for job in plan["jobDetails"]] == ["load"]


def test_instances_past_their_projected_end_are_listed(dashboard: Served, loaded: str) -> None:
    assert dashboard.get("/rest/contextStatus/overRunningJobPlans").json == []

    dashboard.push(msgspec.structs.replace(nightly("short"), window=StartWindow(time_to_live_ms=3_600_000)))
    started = dashboard.post("/api/v1/plans/short/instances", {"run_until_ended": True}).json
    instance_id = started["instance_id"]
    dashboard.dashboard.clock.advance(3_700_000)

    (late,) = dashboard.get("/rest/contextStatus/overRunningJobPlans").json
    assert late["contextInstanceId"] == instance_id
    assert late["contextName"] == "short"
    shown = dashboard.get("/rest/contextStatus/json/short/short").json[instance_id]
    assert shown["runContextUntilManuallyEnded"] is True
    assert shown["projectedEndTime"] == late["projectedEndTime"] == shown["startTime"] + 3_600_000
    assert loaded


def test_an_agent_is_told_of_the_active_instances_that_use_it(dashboard: Served, loaded: str) -> None:
    document = dashboard.get("/rest/jobContext/getByAgentName?agentName=host").json

    assert list(document) == [loaded]
    assert document[loaded]["name"] == "nightly"
    assert document[loaded]["status"] == "RUNNING"
    assert dashboard.get("/rest/jobContext/getByAgentName?agentName=stranger").json == {}


def test_our_agents_read_what_they_are_told(dashboard: Served, loaded: str) -> None:
    answer = dashboard.get("/rest/jobContext/getByAgentName?agentName=host")

    (published,) = decode_instances(answer.content)
    assert published.instance_id == loaded
    assert published.plan == "nightly"
    assert published.contexts["host-load"] == ("nightly", "nightly checks")
    assert published.contexts["host-check"] == ("nightly checks",)
    assert published.ends_at is None
