"""What callers see of notifications, and what they may do about them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
from dashboard_over_http import Served, eventually, finished, nightly, served
from jobledger.actors.notifications.config import NotificationsConfig, WebhookConfig
from jobledger.domain.notification_settings import MonitorType
from jobledger.http.dashboard.app import Application
from jobledger.http.dashboard.auth import ByAccount
from jobledger.storage.accounts import Accounts, Role
from mail_server import MailServer
from msgspec.structs import replace
from notification_bench import notifying, smtp, tells

ERROR = MonitorType.ERROR
BASE = "/api/v1/notifications"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, server: MailServer) -> Iterator[Served]:
    hooks = {"gone": WebhookConfig(url="http://127.0.0.1:9/hook", timeout_seconds=1)}
    config = NotificationsConfig(smtp=smtp(server), webhooks=hooks)
    with served(tmp_path, notifying=notifying(config)) as running:
        running.push(replace(nightly(), notifications=tells(ERROR)))
        running.push(replace(nightly("other"), notifications=tells(ERROR, to=("nobody",))))
        yield running


def fail(here: Served, plan: str = "nightly") -> str:
    """An instance in which a job failed, and that this was told or given up."""
    known = len(here.get(BASE).json["items"])
    instance = here.start(plan)
    event = finished(instance, successful=False, returnCode=3, contextName=plan)
    assert here.put("/rest/event/scheduled", event).status_code == 200
    eventually(lambda: len(settled(here)) == known + 1)
    return instance


def settled(here: Served) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = here.get(BASE).json["items"]
    return [item for item in items if item["state"] != "waiting"]


def test_a_notification_is_listed_with_what_became_of_it(here: Served) -> None:
    instance = fail(here)
    answer = here.get(BASE)
    assert answer.status_code == 200
    (item,) = answer.json["items"]
    assert answer.json["next"] is None
    assert (item["plan"], item["instance_id"], item["job"]) == ("nightly", instance, "host-load")
    assert (item["monitor_type"], item["channel"], item["state"]) == ("ERROR", "email", "sent")
    assert item["message"] == "load failed with return code 3"
    assert item["recipients"] == item["delivered"] == ["ops@example.org"]
    assert (item["attempts"], item["error"], item["next_at"]) == (1, None, None)
    assert item["settled_at"].endswith("Z")
    assert here.get(f"{BASE}/{item['id']}").json == item


def test_lists_are_filtered_and_go_on_from_a_cursor(here: Served) -> None:
    first, second = fail(here), fail(here)
    other = fail(here, "other")

    def instances(query: str) -> list[str]:
        return [item["instance_id"] for item in here.get(f"{BASE}?{query}").json["items"]]

    assert instances("plan=nightly") == [second, first]
    assert instances(f"instance={first}") == [first]
    assert instances("state=failed") == [other]
    assert instances("state=waiting") == []
    page = here.get(f"{BASE}?limit=2").json
    assert [item["instance_id"] for item in page["items"]] == [other, second]
    assert instances(f"limit=2&cursor={page['next']}") == [first]


@pytest.mark.parametrize("query", ["state=lost", "cursor=x", "instance=5", "limit=0", "plans=x"])
def test_a_query_that_makes_no_sense_is_refused(here: Served, query: str) -> None:
    answer = here.get(f"{BASE}?{query}")
    assert answer.status_code == 400
    assert answer.json["errors"][0]["pointer"].startswith("?")


def test_one_that_failed_is_sent_again(here: Served, server: MailServer) -> None:
    fail(here, "other")
    (item,) = here.get(f"{BASE}?state=failed").json["items"]
    assert "no address" in item["error"]
    here.push(replace(nightly("other"), notifications=tells(ERROR)))
    answer = here.post(f"{BASE}/{item['id']}/resend", {"reason": "the address was put right"})
    assert answer.status_code == 200
    assert (answer.json["sent_again"], answer.json["sent_again_by"]) == (1, "anonymous")
    server.wait_for(1)
    eventually(lambda: here.get(f"{BASE}/{item['id']}").json["state"] == "sent")


def test_one_that_waits_is_not_sent_again_and_one_that_is_unknown_is_not_found(
    here: Served, server: MailServer
) -> None:
    server.gate.clear()
    instance = here.start()
    here.put("/rest/event/scheduled", finished(instance, successful=False))
    server.wait_for_step("DATA")
    (item,) = here.get(BASE).json["items"]
    refused = here.post(f"{BASE}/{item['id']}/resend")
    assert (refused.status_code, refused.json["status"]) == (409, "WAITING")
    unknown = "6f0e4a0e-0000-4000-8000-000000000001"
    assert here.post(f"{BASE}/{unknown}/resend").status_code == 404
    assert here.get(f"{BASE}/{unknown}").status_code == 404


def test_a_channel_can_be_tried(here: Served, server: MailServer) -> None:
    answer = here.post(f"{BASE}/test", {"to": "ann@example.org"})
    assert answer.status_code == 200, answer.text
    assert "ann@example.org" in answer.json["done"]
    assert [mail.recipients for mail in server.taken] == [("ann@example.org",)]
    assert here.get(BASE).json["items"] == []


def test_a_channel_is_tried_once_for_one_key(here: Served, server: MailServer) -> None:
    key = {"Idempotency-Key": "try-it"}
    answers = [here.post(f"{BASE}/test", {"to": "ann@example.org"}, headers=key) for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    assert len(server.taken) == 1


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({}, 422, "either"),
        ({"to": "a@b", "webhook": "x"}, 422, "either"),
        ({"to": "nobody"}, 422, "no address"),
        ({"to": "gone@example.org"}, 422, "550 no such user"),
        ({"to": "busy@example.org"}, 502, "450 later"),
        ({"webhook": "unknown"}, 422, "no webhook unknown"),
        ({"webhook": "gone"}, 502, "127.0.0.1"),
        ({"address": "a@b"}, 422, "unknown field"),
    ],
)
def test_a_channel_that_does_not_take_it_is_told_in_its_own_words(
    here: Served, server: MailServer, body: dict[str, str], status: int, told: str
) -> None:
    server.refuses = {"gone@example.org": "550 no such user", "busy@example.org": "450 later"}
    answer = here.post(f"{BASE}/test", body)
    assert answer.status_code == status
    assert told in answer.json["detail"]


def test_a_mail_server_that_is_away_is_told_when_it_is_tried(here: Served, server: MailServer) -> None:
    server.stop()
    answer = here.post(f"{BASE}/test", {"to": "ann@example.org"})
    assert (answer.status_code, "mail server" in answer.json["detail"]) == (502, True)


def test_a_dashboard_that_tells_nobody_says_so(tmp_path: Path) -> None:
    with served(tmp_path) as here:
        assert here.get(BASE).json["items"] == []
        answer = here.post(f"{BASE}/test", {"to": "ann@example.org"})
        assert (answer.status_code, answer.json["status"]) == (409, "DISABLED")
        assert "--notifications" in answer.json["detail"]


def test_who_may_look_may_not_send_and_who_is_limited_sees_their_own_plans(
    tmp_path: Path, server: MailServer
) -> None:
    config = NotificationsConfig(smtp=smtp(server))
    with served(tmp_path, notifying=notifying(config)) as here:
        here.push(replace(nightly("other"), notifications=tells(ERROR)))
        instance = here.start("other")
        here.put("/rest/event/scheduled", finished(instance, successful=False, contextName="other"))
        eventually(lambda: len(settled(here)) == 1)
        (item,) = here.get(BASE).json["items"]
        accounts = Accounts(here.dashboard.ledger)
        tokens = {}
        for name, role, plans in (
            ("ann", Role.READ, None),
            ("bob", Role.WRITE, None),
            ("eve", Role.ADMIN, ["nightly"]),
        ):
            accounts.add(name, role, plans=plans)
            tokens[name] = {"Authorization": f"Bearer {accounts.issue_token(name)}"}
        strict = Application(here.application.services, ByAccount(accounts))
        here.client = falcon.testing.TestClient(strict)
        resend, test = f"{BASE}/{item['id']}/resend", f"{BASE}/test"
        assert here.get(BASE, headers=tokens["ann"]).json["items"] == [item]
        assert here.post(resend, headers=tokens["ann"]).status_code == 403
        assert here.post(resend, headers=tokens["bob"]).status_code == 200
        assert here.post(test, {"to": "a@b"}, headers=tokens["bob"]).status_code == 403
        assert here.get(BASE, headers=tokens["eve"]).json["items"] == []
        assert here.get(f"{BASE}/{item['id']}", headers=tokens["eve"]).status_code == 403
        assert here.post(resend, headers=tokens["eve"]).status_code == 403
        assert here.get(BASE).status_code == 401
