"""How the agent reads a dashboard's answers."""

from collections.abc import Iterator

import pytest
from agent_rig import AGENT, StandInDashboard
from jobledger.actors.agent.ports import Announcement, DashboardRefused, DashboardUnreachable
from jobledger.domain.messages import ProcessEvent
from jobledger.http.agent.dashboard_client import HttpDashboardClient

EVENT = ProcessEvent(agent=AGENT, job="job", instance_id="i1", id="e1")
HERE = Announcement(
    name="a/b c", url="http://here", version="1", host="h", running=2, queued=3, problems=("no room",)
)


@pytest.fixture
def dashboard() -> Iterator[StandInDashboard]:
    stand_in = StandInDashboard()
    yield stand_in
    stand_in.close()


@pytest.fixture
def client(dashboard: StandInDashboard) -> Iterator[HttpDashboardClient]:
    made = HttpDashboardClient([dashboard.url + "/"], None)
    yield made
    made.close()


def test_no_request_is_larger_than_dashboards_take(
    client: HttpDashboardClient, dashboard: StandInDashboard
) -> None:
    large = ProcessEvent(agent=AGENT, job="job", instance_id="i1", details="x" * 1_500_000)
    assert client.deliver([large] * 5) == 2
    huge = ProcessEvent(agent=AGENT, job="job", instance_id="i1", details="x" * 6_000_000)
    assert client.deliver([huge, EVENT]) == 1
    assert len(dashboard.events) == 3


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
def test_an_answer_that_is_not_about_the_event_means_later(
    client: HttpDashboardClient, dashboard: StandInDashboard, status: int
) -> None:
    dashboard.status_of = lambda _event: status
    with pytest.raises(DashboardUnreachable, match=f"{status} as the test wants it"):
        client.deliver([EVENT])


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_an_answer_that_is_about_the_event_means_never(
    client: HttpDashboardClient, dashboard: StandInDashboard, status: int
) -> None:
    dashboard.status_of = lambda _event: status
    with pytest.raises(DashboardRefused) as refused:
        client.deliver([EVENT])
    assert refused.value.status == status


def test_a_dashboard_that_became_ours_is_given_lists_again(
    client: HttpDashboardClient, dashboard: StandInDashboard
) -> None:
    dashboard.takes_lists = False
    assert client.deliver([EVENT, EVENT]) == 1
    dashboard.takes_lists = True
    assert client.deliver([EVENT, EVENT]) == 1
    client.announce(HERE)
    assert client.deliver([EVENT, EVENT]) == 2


def test_names_are_escaped_on_their_way(client: HttpDashboardClient, dashboard: StandInDashboard) -> None:
    client.announce(HERE)
    assert dashboard.announced == [
        (
            "a%2Fb%20c",
            {
                "url": "http://here",
                "version": "1",
                "host": "h",
                "running": 2,
                "queued": 3,
                "problems": ["no room"],
            },
        )
    ]
    assert client.active_instances("a&b=c") == []
    assert dashboard.requests[-1][1] == "/rest/jobContext/getByAgentName?agentName=a%26b%3Dc"


def test_an_answer_that_makes_no_sense_is_asked_for_again_later(
    client: HttpDashboardClient, dashboard: StandInDashboard
) -> None:
    dashboard.instances = {"i1": {"name": 7, "scheduledJobs": [{}]}}
    with pytest.raises(DashboardUnreachable, match="cannot be read"):
        client.active_instances(AGENT)


def test_without_any_dashboard_there_is_nothing_to_speak_to() -> None:
    with pytest.raises(ValueError, match="at least one"):
        HttpDashboardClient([], None)


def test_a_dashboard_that_is_not_there_is_unreachable() -> None:
    gone = StandInDashboard()
    gone.close()
    client = HttpDashboardClient([gone.url], None)
    with pytest.raises(DashboardUnreachable):
        client.deliver([EVENT])
    client.close()
