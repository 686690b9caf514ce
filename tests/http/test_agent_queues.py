"""What waits on an agent, as existing clients look into its queues; on a real process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest
from agent_rig import AgentProcess, StandInDashboard, wire
from jobledger.actors.dashboard.ports import AgentRefused
from jobledger.http.agent_transport import HttpAgentTransport

BASE = "/rest/big/queue"


@pytest.fixture
def dashboard() -> Iterator[StandInDashboard]:
    stand_in = StandInDashboard()
    yield stand_in
    stand_in.close()


@pytest.fixture
def agent(tmp_path: Path, dashboard: StandInDashboard) -> Iterator[AgentProcess]:
    with AgentProcess(tmp_path, dashboard.url) as process:
        yield process


def got(agent: AgentProcess, path: str) -> Any:
    status, answer = agent.request("GET", f"{BASE}{path}")
    assert status == 200, answer
    return answer


def eventually(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + 10
    while not holds():
        assert monotonic() < deadline, "it did not come to pass in time"
        Event().wait(0.01)


def test_an_agent_at_rest_has_three_empty_queues(agent: AgentProcess) -> None:
    names = ["inbound", "outbound", "dead-letters"]
    assert got(agent, "/") == got(agent, "") == names
    assert got(agent, "/size") == dict.fromkeys(names, 0)
    assert got(agent, "/size?includeZeros=false") == {}
    for name in names:
        assert got(agent, f"/size/{name}") == 0
        assert got(agent, f"/messages/{name}") == []
        assert agent.request("GET", f"{BASE}/peek/{name}") == (204, b"")
        assert agent.request("DELETE", f"{BASE}/delete/{name}") == (200, b"")


def test_initiations_wait_in_the_inbound_queue_and_one_that_has_not_begun_can_be_taken_out(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    given = [{"name": "DB_PASSWORD", "defaultValue": None, "value": "sesame"}]
    first = wire(1, "sleep 600", job="same", contextParameters=given)
    agent.request("POST", "/api/v1/initiations", [first, wire(2, job="same"), wire(3, job="same")])
    dashboard.wait_for(lambda events: len(events) == 1)

    messages = got(agent, "/messages/inbound")
    assert [each["messageId"] for each in messages] == ["id-1", "id-2", "id-3"]
    assert messages[0] == got(agent, "/peek/inbound")
    assert messages[0]["createdTime"] > 0
    assert messages[0]["messageProperties"]["contextInstanceId"] == first["contextInstanceId"]
    assert messages[0]["message"]["jobName"] == "same"
    assert "sesame" not in str(messages)

    assert agent.request("DELETE", f"{BASE}/delete/inbound/id-2") == (200, b"")
    assert dashboard.wait_finished("id-2")[-1]["killed"] is True
    assert agent.request("DELETE", f"{BASE}/delete/inbound/id-2")[0] == 404
    status, answer = agent.request("DELETE", f"{BASE}/delete/inbound/id-1")
    assert (status, "kill it instead" in answer["errorMessage"]) == (409, True)
    assert agent.request("DELETE", f"{BASE}/delete/allMessages/inbound") == (200, b"")
    dashboard.wait_finished("id-3")
    assert [each["messageId"] for each in got(agent, "/messages/inbound")] == ["id-1"]
    agent.request("POST", "/api/v1/runs/id-1/kill?force=true")
    dashboard.wait_finished("id-1")


def test_events_wait_in_the_outbound_queue_until_the_dashboard_has_them_and_cannot_be_deleted(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    dashboard.busy = lambda: True
    agent.request("POST", "/api/v1/initiations", [wire(1)])
    eventually(lambda: got(agent, "/size/outbound") == 2)
    started, finished = got(agent, "/messages/outbound")
    assert (started["message"]["jobStarting"], finished["message"]["jobStarting"]) == (True, False)
    assert finished["createdTime"] == finished["message"]["completionTime"]
    for path in ("outbound", "allMessages/outbound", f"outbound/{started['messageId']}"):
        status, answer = agent.request("DELETE", f"{BASE}/delete/{path}")
        assert (status, "would never hear of it" in answer["errorMessage"]) == (409, True)
    dashboard.busy = lambda: False
    dashboard.wait_finished("id-1")
    eventually(lambda: got(agent, "/size?includeZeros=false") == {})


def test_what_the_dashboard_refused_is_among_the_dead_letters_until_it_is_deleted(
    agent: AgentProcess, dashboard: StandInDashboard
) -> None:
    dashboard.status_of = lambda event: 422 if event["id"].endswith("/started") else 200
    agent.request("POST", "/api/v1/initiations", [wire(1), wire(2), wire(3)])
    dashboard.wait_finished("id-1", "id-2", "id-3")
    eventually(lambda: got(agent, "/size/dead-letters") == 3)
    letters = got(agent, "/messages/dead-letters")
    assert letters[0]["message"]["error"] == "422 422 as the test wants it"
    number = letters[0]["messageId"]
    assert agent.request("DELETE", f"{BASE}/delete/dead-letters/{number}") == (200, b"")
    for gone in (number, "x", "0", "9" * 30):
        assert agent.request("DELETE", f"{BASE}/delete/dead-letters/{gone}")[0] == 404
    assert got(agent, "/size/dead-letters") == 2
    assert agent.request("DELETE", f"{BASE}/delete/dead-letters") == (200, b"")
    assert got(agent, "/size/dead-letters") == 0


def test_a_dashboard_asks_an_agent_for_its_queues(agent: AgentProcess) -> None:
    transport = HttpAgentTransport(f"http://127.0.0.1:{agent.port}")
    try:
        assert transport.queues("") == b'["inbound","outbound","dead-letters"]'
        assert transport.queues("size?includeZeros=false") == b"{}"
        assert transport.queues("peek/outbound") == b""
        with pytest.raises(AgentRefused, match="there is no queue nothing"):
            transport.queues("size/nothing")
    finally:
        transport.close()


@pytest.mark.parametrize("what", ["size", "peek", "messages"])
def test_a_queue_that_is_not_there_is_not_found(agent: AgentProcess, what: str) -> None:
    status, answer = agent.request("GET", f"{BASE}/{what}/nothing")
    assert (status, answer) == (404, {"errorMessage": "there is no queue nothing"})
