"""The agent's services as callers see them, on a real process."""

import base64
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_rig import AgentProcess, StandInDashboard, wire
from jobledger.http.agent_transport import HttpAgentTransport


@pytest.fixture
def dashboard() -> Iterator[StandInDashboard]:
    stand_in = StandInDashboard()
    yield stand_in
    stand_in.close()


@pytest.fixture
def agent(tmp_path: Path, dashboard: StandInDashboard) -> Iterator[AgentProcess]:
    with AgentProcess(tmp_path, dashboard.url) as process:
        yield process


def schedule(name: str, cron: str = "0 0 6 * * ?", **more: Any) -> dict[str, Any]:
    return {"agentName": "host", "jobName": name, "contextName": "plan", "cronExpression": cron, **more}


def instance(*jobs: str, number: str = "i1") -> dict[str, Any]:
    listed = [{"identifier": f"host-{job}", "agentName": "host", "jobName": job} for job in jobs]
    return {"id": number, "name": "plan", "scheduledJobs": listed, "startTime": int(time.time() * 1000)}


def actor(agent: AgentProcess, name: str) -> dict[str, Any]:
    items = agent.request("GET", "/api/v1/actors")[1]["items"]
    return next(item for item in items if item["actor"] == name)


def wait_for_actor(agent: AgentProcess, name: str, field: str, value: object) -> None:
    deadline = time.monotonic() + 10
    while actor(agent, name)[field] != value:
        assert time.monotonic() < deadline, actor(agent, name)
        threading.Event().wait(0.01)


def test_a_reference_dashboards_initiation_runs_and_is_answered_once_it_is_durable(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    assert agent.request("PUT", "/rest/schedulerJobInitiation", wire(1, "exit 4")) == (200, b"")
    events = dashboard.wait_finished("id-1")
    assert [event["jobStarting"] for event in events] == [True, False]
    assert events[1]["returnCode"] == 4


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"agentName": 7}', {**wire(1), "internalEventDrivenJob": None}],
    ids=["empty", "broken", "a list", "wrong type", "unknown job"],
)
def test_what_is_no_initiation_is_refused_with_the_reason_and_stores_nothing(
    agent: AgentProcess, body: object
) -> None:
    status, answer = agent.request("PUT", "/rest/schedulerJobInitiation", body)
    assert status == 400
    assert answer["errorMessage"]
    assert agent.request("GET", "/api/v1/runs")[1] == {"items": [], "next": None}


def test_several_initiations_are_taken_at_once_and_each_bad_one_is_told_apart(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    orders = [wire(1), {"jobName": 3}, {**wire(2), "agentName": "elsewhere"}, wire(3)]
    status, answer = agent.request("POST", "/api/v1/initiations", orders)
    dashboard.wait_finished("id-1", "id-3")
    assert status == 200
    assert [item["refused"] is None for item in answer["items"]] == [True, False, False, True]
    assert [item["initiation_id"] for item in answer["items"]] == ["id-1", None, "id-2", "id-3"]


def test_runs_and_their_output_can_be_read_while_they_go_on(
    agent: AgentProcess, dashboard: StandInDashboard, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    script = f"printf 'h\\303\\251'; echo oops >&2; until [ -e {gate} ]; do sleep 0.01; done; printf llo"
    agent.request("POST", "/api/v1/initiations", [wire(1, script, job="same"), wire(2, job="same")])
    dashboard.wait_for(lambda events: len(events) == 1)
    runs = agent.request("GET", "/api/v1/runs")[1]["items"]
    assert [(run["initiation_id"], run["status"]) for run in runs] == [
        ("id-1", "running"),
        ("id-2", "queued"),
    ]
    assert runs[0]["pid"] == dashboard.events[0]["pid"]
    assert agent.request("GET", "/api/v1/runs?limit=1")[1]["next"] == "1"
    path = "/api/v1/runs/id-1/log"
    deadline = time.monotonic() + 10
    while agent.request("GET", f"{path}/stderr")[1] != b"oops\n":
        assert time.monotonic() < deadline
    assert agent.request("GET", f"{path}/stdout?offset=1&limit=2")[1] == b"\xc3\xa9"
    gate.touch()
    dashboard.wait_finished("id-1", "id-2")
    assert agent.request("GET", f"{path}/stdout?offset=3")[1] == b"llo"
    assert agent.request("GET", f"{path}/stdout?offset=99") == (200, b"")
    assert agent.request("GET", "/api/v1/runs/id-9/log/stdout")[0] == 404
    assert agent.request("GET", f"{path}/stdin")[0] == 404
    assert agent.request("GET", f"{path}/stdout?offset=-1")[0] == 400


def test_only_own_jobs_are_killed(agent: AgentProcess, dashboard: StandInDashboard) -> None:
    agent.request("POST", "/api/v1/initiations", [wire(1, "sleep 600"), wire(2, "sleep 600")])
    dashboard.wait_for(lambda events: len(events) == 2)
    pids = {event["initiationId"]: event["pid"] for event in dashboard.events}
    assert agent.process is not None
    for stranger in ("1", str(agent.process.pid), "abc", "99999999999"):
        assert agent.request("GET", f"/rest/jobUtils/kill/{stranger}?destroy=true")[0] == 400
    assert agent.request("GET", f"/rest/jobUtils/kill/{pids['id-1']}?destroy=maybe")[0] == 400
    assert agent.request("GET", f"/rest/jobUtils/kill/{pids['id-1']}?destroy=true")[0] == 200
    assert agent.request("POST", "/api/v1/runs/id-2/kill")[0] == 200
    events = dashboard.wait_finished("id-1", "id-2")
    codes = {event["initiationId"]: event["returnCode"] for event in events if not event["jobStarting"]}
    assert codes == {"id-1": 137, "id-2": 143}
    assert agent.request("POST", "/api/v1/runs/id-2/kill")[0] == 404


def test_a_run_that_has_ended_is_not_killed_by_the_number_of_its_process(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    """The number may be that of another run by now."""
    transport = HttpAgentTransport(f"http://127.0.0.1:{agent.port}")
    agent.request("PUT", "/rest/schedulerJobInitiation", wire(1, "true"))
    dashboard.wait_finished("id-1")
    agent.request("PUT", "/rest/schedulerJobInitiation", wire(2, "sleep 60"))
    dashboard.wait_for(lambda events: any(event["id"] == "id-2/started" for event in events))
    pid = next(event["pid"] for event in dashboard.events if event["id"] == "id-2/started")
    transport.kill("id-1", pid, force=True)
    assert [run["initiation_id"] for run in agent.request("GET", "/api/v1/runs")[1]["items"]] == ["id-2"]
    transport.kill(None, pid, force=True)
    ends = dashboard.wait_finished("id-2")
    assert [event["returnCode"] for event in ends if event["id"] == "id-2/finished"] == [137]
    transport.close()


def test_a_bad_template_changes_nothing_and_says_what_is_wrong(agent: AgentProcess) -> None:
    assert agent.request("PUT", "/rest/jobProvision", {"jobs": [schedule("daily")]}) == (200, b"")
    agent.request("PUT", "/rest/contextInstance/save", instance("daily"))
    wait_for_actor(agent, "schedules", "armed", 1)
    for bad in (
        {"jobs": [schedule("daily"), schedule("other", "every day")]},
        {"jobs": [schedule("daily", timeZone="Mars/Olympus")]},
        {"jobs": [schedule("daily", agentName="elsewhere")]},
        {"jobs": [{"jobName": "nothing"}]},
        {},
    ):
        status, answer = agent.request("PUT", "/rest/jobProvision", bad)
        assert (status, bool(answer["errorMessage"])) == (400, True)
    assert actor(agent, "schedules")["armed"] == 1


def test_instances_arm_schedules_and_their_removal_disarms_them(agent: AgentProcess) -> None:
    agent.request("PUT", "/rest/jobProvision", {"jobs": [schedule("daily"), schedule("weekly")]})
    for number in ("i1", "i2", "i2", "i3"):
        assert agent.request("PUT", "/rest/contextInstance/save", instance("daily", number=number))[0] == 200
    wait_for_actor(agent, "schedules", "armed", 3)
    assert agent.request("DELETE", "/rest/contextInstance/remove?correlationId=i1")[0] == 200
    assert agent.request("DELETE", "/rest/contextInstance/remove?correlationId=unknown")[0] == 200
    assert agent.request("DELETE", "/rest/contextInstance/remove")[0] == 400
    wait_for_actor(agent, "schedules", "armed", 2)
    assert agent.request("DELETE", "/rest/jobProvision/remove", b"plan")[0] == 200
    wait_for_actor(agent, "schedules", "armed", 0)
    agent.request("PUT", "/rest/jobProvision", {"jobs": [schedule("daily")]})
    wait_for_actor(agent, "schedules", "armed", 2)
    assert agent.request("DELETE", "/rest/contextInstance/removeAll")[0] == 200
    wait_for_actor(agent, "schedules", "armed", 0)


def test_an_order_that_was_overtaken_is_answered_well_and_does_nothing(agent: AgentProcess) -> None:
    def say(method: str, path: str, body: object = None) -> int:
        return int(agent.request(method, f"/rest/{path}", body)[0])

    assert say("PUT", "jobProvision?order=3", {"jobs": [schedule("daily"), schedule("weekly")]}) == 200
    assert say("PUT", "jobProvision?order=2", {"jobs": [schedule("daily")]}) == 200
    assert say("PUT", "contextInstance/save?order=4", instance("daily", "weekly")) == 200
    wait_for_actor(agent, "schedules", "armed", 2)
    assert say("DELETE", "contextInstance/remove?correlationId=i1&order=6") == 200
    assert say("PUT", "contextInstance/save?order=4", instance("daily", "weekly")) == 200
    assert say("DELETE", "jobProvision/remove?order=1", b"plan") == 200
    assert say("PUT", "contextInstance/save?order=7", instance("daily", "weekly", number="i2")) == 200
    wait_for_actor(agent, "schedules", "armed", 2)
    assert say("PUT", "contextInstance/save?order=first", instance("daily")) == 400


def test_what_was_due_until_an_instance_ended_is_told_when_it_is_removed(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    every_minute = schedule("tick", "0 * * * * ?", timeZone="UTC", misfireRecovery=False)
    agent.request("PUT", "/rest/jobProvision", {"jobs": [every_minute]})
    agent.kill()
    dashboard.instances = {}
    dashboard.away = True
    agent.start()
    now = int(time.time() * 1000)
    whole = now - now % 60_000
    began, ended = whole - 600_000, whole - 300_000
    published = {**instance("tick"), "startTime": began}
    assert agent.request("PUT", "/rest/contextInstance/save", published)[0] == 200
    removal = "/rest/contextInstance/remove?correlationId=i1"
    assert agent.request("DELETE", f"{removal}&endedAt=yesterday")[0] == 400
    assert agent.request("DELETE", f"{removal}&endedAt={ended}") == (200, b"")
    dashboard.away = False
    dashboard.wait_for(lambda events: len(events) == 1)
    event = dashboard.events[0]
    assert (event["fireTime"], event["outcome"]) == (ended, "FIRE_SKIPPED")
    assert "6 fires due" in event["executionDetails"]


def test_what_is_armed_is_what_the_dashboard_says_after_a_restart(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    agent.request("PUT", "/rest/jobProvision", {"jobs": [schedule("daily")]})
    for number in ("i1", "i2"):
        agent.request("PUT", "/rest/contextInstance/save", instance("daily", number=number))
    dashboard.instances = {each: instance("daily", number=each) for each in ("i2", "i3", "i4")}
    agent.kill()
    agent.start()
    wait_for_actor(agent, "schedules", "armed", 3)


def test_a_schedule_fires_for_its_instance(agent: AgentProcess, dashboard: StandInDashboard) -> None:
    agent.request("PUT", "/rest/jobProvision", {"jobs": [schedule("tick", "* * * * * ?", timeZone="UTC")]})
    agent.request("PUT", "/rest/contextInstance/save", instance("tick"))
    dashboard.wait_for(lambda events: len(events) >= 2)
    first, second = dashboard.events[:2]
    assert (first["jobName"], first["contextInstanceId"], first["successful"]) == ("tick", "i1", True)
    assert first["nextFireTime"] == second["fireTime"] == first["fireTime"] + 1000


def test_the_agent_announces_where_it_is_and_how_much_it_has_to_do(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    agent.request("POST", "/api/v1/initiations", [wire(1, "sleep 600", job="a"), wire(2, job="a")])
    with dashboard.condition:
        assert dashboard.condition.wait_for(
            lambda: any(body["running"] for _, body in dashboard.announced), 10
        )
    name, body = dashboard.announced[-1]
    assert (name, body["url"]) == ("host", f"http://127.0.0.1:{agent.port}")
    assert (body["running"], body["queued"]) == (1, 1)
    agent.request("POST", "/api/v1/runs/id-1/kill?force=true")
    dashboard.wait_finished("id-1", "id-2")


def test_what_the_dashboard_refused_is_told_with_its_reason_and_let_go_of_when_somebody_says_so(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    dashboard.status_of = lambda event: 422 if event["id"] == "id-1/started" else 200
    agent.request("POST", "/api/v1/initiations", [wire(1), wire(2)])
    dashboard.wait_finished("id-1", "id-2")
    with dashboard.condition:
        assert dashboard.condition.wait_for(
            lambda: any(body["problems"] for _, body in dashboard.announced), 10
        )
    status, answer = agent.request("GET", "/api/v1/dead-letters")
    assert status == 200
    (letter,) = answer["items"]
    assert (letter["position"], letter["status"], letter["event"]["id"]) == (1, 422, "id-1/started")
    assert "as the test wants it" in letter["reason"]
    assert agent.request("DELETE", "/api/v1/dead-letters/2")[0] == 404
    assert agent.request("DELETE", "/api/v1/dead-letters/0")[0] == 404
    assert agent.request("DELETE", "/api/v1/dead-letters/1") == (200, {"position": 1})
    assert agent.request("GET", "/api/v1/dead-letters")[1] == {"items": [], "next": None}
    count = len(dashboard.announced)
    with dashboard.condition:
        assert dashboard.condition.wait_for(lambda: len(dashboard.announced) > count + 1, 10)
    assert dashboard.announced[-1][1]["problems"] == []


def test_health_is_told_and_unknown_addresses_are_not_found(agent: AgentProcess) -> None:
    assert agent.request("GET", "/health/live") == (200, {"status": "live"})
    assert agent.request("GET", "/health/ready") == (200, {"status": "ready"})
    status, answer = agent.request("GET", "/api/v1/nothing")
    assert (status, answer["status"]) == (404, 404)
    assert agent.request("GET", "/rest/nothing")[1] == {"errorMessage": "there is nothing at this address"}
    assert agent.request("DELETE", "/health/live")[0] == 405


def test_a_body_beyond_the_limit_is_refused(tmp_path: Path, dashboard: StandInDashboard) -> None:
    with AgentProcess(tmp_path, dashboard.url, body_limit_bytes=1000) as agent:
        status, _ = agent.request("POST", "/api/v1/initiations", [wire(1, "x" * 2000)])
        assert status == 413
        assert agent.request("POST", "/api/v1/initiations", [wire(1)])[0] == 200
        dashboard.wait_finished("id-1")


def test_a_dashboard_that_takes_one_event_at_a_time_gets_one_at_a_time(tmp_path: Path) -> None:
    dashboard = StandInDashboard(takes_lists=False)
    try:
        with AgentProcess(tmp_path, dashboard.url) as agent:
            agent.request("POST", "/api/v1/initiations", [wire(n) for n in range(5)])
            dashboard.wait_finished(*(f"id-{n}" for n in range(5)))
        paths = {path for method, path, _ in dashboard.requests if method == "PUT" and "/rest/" in path}
        assert paths == {"/rest/event/scheduled"}
    finally:
        dashboard.close()


def test_the_next_dashboard_is_tried_when_one_does_not_answer(
    tmp_path: Path, dashboard: StandInDashboard
) -> None:
    gone = StandInDashboard()
    gone.close()
    busy = StandInDashboard()
    busy.busy = lambda: True
    busy.status_of = lambda _event: 503
    try:
        with AgentProcess(tmp_path, gone.url, busy.url, dashboard.url) as agent:
            agent.request("POST", "/api/v1/initiations", [wire(1)])
            dashboard.wait_finished("id-1")
    finally:
        busy.close()


def test_with_a_token_only_who_knows_it_is_let_in_and_the_dashboard_is_given_it(
    tmp_path: Path, dashboard: StandInDashboard
) -> None:
    with AgentProcess(tmp_path, dashboard.url, token="s3cret") as agent:
        basic = base64.b64encode(b"anyone:s3cret").decode()
        for headers in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "Basic !"}):
            assert agent.request("POST", "/api/v1/initiations", [wire(1)], **headers)[0] == 401
            assert agent.request("GET", "/rest/jobUtils/kill/1", **headers)[0] == 401
        assert agent.request("GET", "/health/ready")[0] == 200
        for headers in ({"Authorization": "Bearer s3cret"}, {"Authorization": f"Basic {basic}"}):
            assert agent.request("POST", "/api/v1/initiations", [wire(1)], **headers)[0] == 200
        dashboard.wait_finished("id-1")
    assert all(headers.get("Authorization") == "Bearer s3cret" for _, _, headers in dashboard.requests)


def test_an_agent_without_a_token_is_not_bound_where_others_reach_it(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, "http://127.0.0.1:1", host="0.0.0.0")  # noqa: S104  that is the point
    with pytest.raises(RuntimeError, match="NotLoopback"):
        agent.start()
    agent.end(signal.SIGKILL)
    agent.http.clear()


def test_a_data_directory_has_one_agent_at_a_time(tmp_path: Path, agent: AgentProcess) -> None:
    second = AgentProcess(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(RuntimeError, match="LogInUse"):
        second.start()
    second.end(signal.SIGKILL)
    second.http.clear()


def test_asked_to_stop_it_leaves_commands_running_and_exits_well(
    tmp_path: Path, dashboard: StandInDashboard
) -> None:
    gate, effect = tmp_path / "gate", tmp_path / "effect"
    agent = AgentProcess(tmp_path, dashboard.url)
    agent.start()
    agent.request(
        "POST", "/api/v1/initiations", [wire(1, f"until [ -e {gate} ]; do sleep 0.01; done; echo > {effect}")]
    )
    dashboard.wait_for(lambda events: len(events) == 1)
    began = time.perf_counter()
    assert agent.end(signal.SIGTERM) == 0
    assert time.perf_counter() - began < 5.0
    assert not effect.exists()
    gate.touch()
    with agent:
        dashboard.wait_finished("id-1")
    assert effect.exists()


def test_an_idle_agent_is_small_and_soon_ready(tmp_path: Path, dashboard: StandInDashboard) -> None:
    agent = AgentProcess(tmp_path, dashboard.url)
    seconds = agent.start()
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    resident_mb = int(status.partition("VmRSS:")[2].split()[0]) / 1024
    agent.end(signal.SIGTERM)
    agent.http.clear()
    assert resident_mb < 60
    assert seconds < 10, "a generous bound; alone on a host it is below one second"


def test_two_hundred_commands_at_once_all_run_and_are_reported(
    agent: AgentProcess, dashboard: StandInDashboard, record_property: Callable[[str, object], None]
) -> None:
    began = time.perf_counter()
    agent.request("POST", "/api/v1/initiations", [wire(n) for n in range(200)])
    dashboard.wait_finished(*(f"id-{n}" for n in range(200)))
    rate = 200 / (time.perf_counter() - began)
    print(f"{rate:.0f} jobs per second")
    record_property("jobs_per_second", rate)
    assert len(dashboard.events) == 400
