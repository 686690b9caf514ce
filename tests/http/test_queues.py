"""The queues of instances, as existing clients look into them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from dashboard_over_http import START, Served, eventually, finished, served
from jobledger.domain.plan import CommandJob, Context, Dependency, JobPlan, ListedJob, Parameter
from jobledger.http.dashboard.auth import ByAccount
from jobledger.storage.accounts import Role
from test_dashboard_auth import Book, account, bearer

BASE = "/rest/dashboard/bigQueue"


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


@pytest.fixture
def loaded(dashboard: Served) -> str:
    """An instance whose second job was initiated; its agent never announced itself."""
    instance_id = dashboard.start()
    dashboard.put("/rest/event/scheduled", finished(instance_id))
    eventually(lambda: dashboard.shown(instance_id)["position"] == 3)
    return instance_id


def dead_letters(dashboard: Served, *jobs: str) -> str:
    """The queue of dead letters of an instance that nobody knows."""
    unknown = str(uuid4())
    for job in jobs:
        dashboard.put("/rest/event/scheduled", finished(unknown, job))
    eventually(lambda: len(dashboard.dashboard.dead_letters()) == len(jobs))
    return f"dlq-{unknown}-queue"


def got(dashboard: Served, path: str) -> Any:
    answer = dashboard.get(f"{BASE}{path}")
    assert answer.status_code == 200, answer.text
    return answer.json


def test_an_active_instance_has_three_queues_until_it_ends(dashboard: Served, loaded: str) -> None:
    names = [f"{kind}-{loaded}-queue" for kind in ("dlq", "inbound", "outbound")]
    assert got(dashboard, "/") == got(dashboard, "") == names
    assert got(dashboard, "/size") == dict(zip(names, (0, 0, 1), strict=True))
    assert got(dashboard, "/size?includeZeros=false") == {names[2]: 1}
    assert [got(dashboard, f"/size/{name}") for name in names] == [0, 0, 1]
    dashboard.dashboard.announce("host", url="http://127.0.0.1:9", host="h", version="1")
    eventually(lambda: got(dashboard, "/size?includeZeros=false") == {})
    dashboard.post(f"/api/v1/instances/{loaded}/end")
    eventually(lambda: got(dashboard, "") == [])
    assert got(dashboard, f"/messages/{names[2]}") == []


def test_an_initiation_that_no_agent_has_accepted_is_in_the_outbound_queue(
    dashboard: Served, loaded: str
) -> None:
    (message,) = got(dashboard, f"/messages/outbound-{loaded}-queue")
    assert got(dashboard, f"/peek/outbound-{loaded}-queue") == message
    assert message["messageProperties"] == {"contextName": "nightly", "contextInstanceId": loaded}
    assert message["createdTime"] > START
    initiation = message["message"]
    assert (initiation["initiationId"], initiation["agentName"]) == (f"{loaded}-1", "host")
    assert (initiation["jobName"], initiation["childContextNames"]) == ("check", ["nightly checks"])
    assert initiation["catalystEvent"]["jobName"] == "load"


def test_secrets_are_covered_in_messages(dashboard: Served) -> None:
    secret = {"parameters": {"DB_PASSWORD": "sesame", "DAY": "1"}}
    job = CommandJob(
        agent="host",
        name="load",
        command_line="true",
        parameters=(Parameter("DB_PASSWORD"), Parameter("DAY")),
    )
    root = Context(
        name="secretive", jobs=(ListedJob("host", "load"),), dependencies=(Dependency("host-load"),)
    )
    dashboard.push(JobPlan(root=root, jobs=(job,)))
    instance_id = dashboard.start("secretive")
    dashboard.post(f"/api/v1/instances/{instance_id}/contexts/secretive/jobs/host-load/submit", secret)
    (message,) = got(dashboard, f"/messages/outbound-{instance_id}-queue")
    given = {each["name"]: each["value"] for each in message["message"]["contextParameters"]}
    assert given == {"DB_PASSWORD": "********", "DAY": "1"}


def test_dead_letters_are_looked_at_and_given_up_one_by_one_and_all_at_once(dashboard: Served) -> None:
    queue = dead_letters(dashboard, "load", "check", "report")
    assert got(dashboard, "") == [queue]
    messages = got(dashboard, f"/messages/{queue}")
    assert [each["message"]["jobName"] for each in messages] == ["load", "check", "report"]
    assert "error" in messages[0]["message"]
    assert "contextName" not in messages[0]["messageProperties"]
    first = messages[0]["messageId"]

    assert dashboard.call("DELETE", f"{BASE}/delete/{queue}/{first}").status_code == 200
    assert got(dashboard, f"/size/{queue}") == 2
    for gone in (first, "x", "99999", "9" * 40):
        assert dashboard.call("DELETE", f"{BASE}/delete/{queue}/{gone}").status_code == 404
    assert dashboard.call("DELETE", f"{BASE}/delete/allMessages/{queue}").status_code == 200
    assert got(dashboard, "") == []
    assert dashboard.call("DELETE", f"{BASE}/delete/{queue}").status_code == 200
    assert dashboard.dashboard.ledger.parked() == []


def test_a_message_is_not_given_up_under_the_name_of_another_queue(dashboard: Served) -> None:
    queue = dead_letters(dashboard, "load")
    (message,) = got(dashboard, f"/messages/{queue}")
    other = f"dlq-{uuid4()}-queue"
    refused = dashboard.call("DELETE", f"{BASE}/delete/{other}/{message['messageId']}")
    assert (refused.status_code, list(refused.json)) == (404, ["errorMessage"])
    assert got(dashboard, f"/size/{queue}") == 1


def test_what_is_on_its_way_is_not_deleted_and_the_answer_says_what_to_do(
    dashboard: Served, loaded: str
) -> None:
    """Its agent may have accepted it in that moment: a job would run of which nobody knows any more."""
    queue = f"outbound-{loaded}-queue"
    number = got(dashboard, f"/peek/{queue}")["messageId"]
    before = dashboard.digest()
    for path in (f"{queue}/{number}", f"allMessages/{queue}", queue):
        refused = dashboard.call("DELETE", f"{BASE}/delete/{path}")
        assert refused.status_code == 409
        assert "kill or reset the job" in refused.json["errorMessage"]
    assert dashboard.digest() == before
    assert dashboard.call("DELETE", f"{BASE}/delete/inbound-{loaded}-queue").status_code == 200


@pytest.mark.parametrize(
    "name", ["x", "inbound-1-queue", "dlq--queue", f"dlq-{UUID(int=1)}", f"lost-{UUID(int=1)}-queue"]
)
@pytest.mark.parametrize("what", ["size", "peek", "messages"])
def test_what_is_no_name_of_a_queue_is_not_found(dashboard: Served, what: str, name: str) -> None:
    answer = dashboard.get(f"{BASE}/{what}/{name}")
    assert (answer.status_code, list(answer.json)) == (404, ["errorMessage"])


def test_everybody_may_look_and_administrators_may_delete_but_nobody_who_is_limited(tmp_path: Path) -> None:
    book = Book(
        account(name="read", role=Role.READ),
        account(name="write", role=Role.WRITE),
        account(name="admin", role=Role.ADMIN),
        account(name="host", role=Role.AGENT),
        account(name="limited", role=Role.ADMIN, plans=frozenset({"nightly"})),
    )
    with served(tmp_path, authentication=ByAccount(book)) as running:
        running.headers = bearer("write")
        queue = dead_letters(running, "load")
        for name, sees, deletes in (
            ("host", 403, 403),
            ("limited", 403, 403),
            ("read", 200, 403),
            ("write", 200, 403),
            ("admin", 200, 200),
        ):
            running.headers = bearer(name)
            for path in ("", "/size", f"/size/{queue}", f"/messages/{queue}", f"/peek/{queue}"):
                assert running.get(f"{BASE}{path}").status_code == sees, f"{name} {path}"
            assert running.call("DELETE", f"{BASE}/delete/{queue}").status_code == deletes, name


# --- of agents ----------------------------------------------------------------------------------------------

OF_AGENTS = "/rest/module/bigQueue"


@pytest.fixture
def known(dashboard: Served) -> Served:
    """A dashboard whose agent has announced itself and has one event to tell."""
    dashboard.dashboard.announce("host", url="http://127.0.0.1:9", host="h", version="1")
    dashboard.agent.queued |= {
        "": b'["inbound","outbound"]',
        "size?includeZeros=true": b'{"inbound":0,"outbound":1}',
        "size?includeZeros=false": b'{"outbound":1}',
        "size/outbound": b"1",
        "peek/outbound": b'{"messageId":"7"}',
        "peek/inbound": b"",
        "messages/outbound": b'[{"messageId":"7"}]',
        "messages/inbound": b"<html>",
        "size/a%2Fb": b"3",
    }
    return dashboard


def test_the_queues_of_an_agent_are_looked_into_through_the_dashboard(known: Served) -> None:
    for path, told in (
        ("/host", ["inbound", "outbound"]),
        ("/size/module/true/host", {"inbound": 0, "outbound": 1}),
        ("/size/module/false/host", {"outbound": 1}),
        ("/size/outbound/host", 1),
        ("/peek/outbound/host", {"messageId": "7"}),
        ("/messages/outbound/host", [{"messageId": "7"}]),
    ):
        answer = known.get(f"{OF_AGENTS}{path}")
        assert (answer.status_code, answer.json) == (200, told), path
    assert known.get(f"{OF_AGENTS}/peek/inbound/host").status_code == 204
    slashed = known.get("/", extras={"REQUEST_URI": f"{OF_AGENTS}/size/a%2Fb/host"})
    assert (slashed.status_code, slashed.json) == (200, 3)


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/size/nothing/host", 404, "no queue of that name"),
        ("/stranger", 404, "no agent stranger"),
        ("/size/module/perhaps/host", 400, "true or false"),
        ("/messages/inbound/host", 502, "does not read"),
    ],
)
def test_what_cannot_be_told_of_an_agents_queues_is_told_why(
    known: Served, path: str, status: int, told: str
) -> None:
    answer = known.get(f"{OF_AGENTS}{path}")
    assert (answer.status_code, list(answer.json)) == (status, ["errorMessage"])
    assert told in answer.json["errorMessage"]


def test_an_agent_that_is_away_tells_nothing_of_its_queues(known: Served) -> None:
    known.agent.reachable = False
    assert known.get(f"{OF_AGENTS}/host").status_code == 502


def test_the_queues_of_an_agent_are_for_those_who_may_see_the_agent_and_every_plan(tmp_path: Path) -> None:
    book = Book(
        account(name="admin", role=Role.ADMIN),
        account(name="read", role=Role.READ),
        account(name="host-reader", role=Role.READ, agents=frozenset({"host"})),
        account(name="else-reader", role=Role.READ, agents=frozenset({"else"})),
        account(name="nightly-reader", role=Role.READ, plans=frozenset({"nightly"})),
        account(name="host", role=Role.AGENT),
    )
    with served(tmp_path, authentication=ByAccount(book)) as running:
        running.dashboard.announce("host", url="http://127.0.0.1:9", host="h", version="1")
        running.agent.queued[""] = b"[]"
        for name, status in (
            ("read", 200),
            ("host-reader", 200),
            ("else-reader", 403),
            ("nightly-reader", 403),
            ("host", 403),
        ):
            assert running.get(f"{OF_AGENTS}/host", headers=bearer(name)).status_code == status, name
