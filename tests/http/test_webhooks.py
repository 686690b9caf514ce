"""What happens in an instance reaches addresses that take JSON, with an id and a signature."""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from actors.dashboard_rig import plan_of
from jobledger.actors.notifications.config import WebhookConfig
from jobledger.actors.notifications.ports import ChannelDown, NotNow, Rejected
from jobledger.domain.notification_settings import JobNotification, MonitorType, NotificationSettings
from jobledger.http.webhooks import HttpWebhook
from jobledger.storage.notifications import NotificationRow, NotificationState
from mail_server import MailServer
from notification_bench import FAILED, OPERATOR, SENT, NotifiedBench, notified_bench, smtp, tells
from notification_samples import INSTANCE, MATTER, notification
from webhook_server import Posted, WebhookServer

ERROR, COMPLETE = MonitorType.ERROR, MonitorType.COMPLETE
MINUTE = 60_000


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    with WebhookServer() as running:
        yield running


def row(**more: Any) -> NotificationRow:
    first = notification(1)
    given = {
        "number": 1,
        "id": first.id,
        "plan": "eod",
        "instance_id": INSTANCE,
        "channel": "webhook:x",
        "said_for": "",
        "matter": MATTER,
        "state": NotificationState.WAITING,
        "created_at": 1,
        "attempts": 0,
        "next_at": 1,
        "settled_at": None,
        "error": None,
        "recipients": (),
        "delivered": (),
        "round": 0,
        "sent_again_by": None,
    }
    return NotificationRow(**{**given, **more})


def webhook(server: WebhookServer, **config: Any) -> HttpWebhook:
    given = WebhookConfig(**{"url": server.url, "timeout_seconds": 5.0, **config})
    return HttpWebhook(given, public_url="http://dash", zone="UTC", clock=lambda: 1_790_000_000_500)


def test_a_webhook_is_told_everything_in_json(server: WebhookServer) -> None:
    receipt = webhook(server).send(row())
    (posted,) = server.posted
    assert receipt.delivered == (server.url,)
    told = posted.json
    assert told["type"] == "jobledger.notification"
    assert told["id"] == posted.headers["webhook-id"] == str(row().id)
    assert told["message"] == "load failed with return code 3"
    assert (told["monitor_type"], told["plan"], told["job"], told["status"]) == (
        "ERROR",
        "eod",
        "host-load",
        "ERROR",
    )
    assert (told["return_code"], told["execution"], told["at"]) == (
        3,
        "initiation 1",
        "2026-09-21T14:13:20.000Z",
    )
    assert told["links"]["output"].startswith(
        f"http://dash/api/v1/instances/{INSTANCE}/contexts/eod/jobs/host-load"
    )
    assert posted.headers["content-type"] == "application/json"
    assert posted.headers["webhook-timestamp"] == "1790000000"
    assert "webhook-signature" not in posted.headers


@pytest.mark.parametrize("secret", ["sesame", "whsec_" + base64.b64encode(b"open sesame").decode()])
def test_what_is_sent_is_signed_with_the_secret(server: WebhookServer, secret: str) -> None:
    webhook(server, secret=secret).send(row())
    (posted,) = server.posted
    key = b"sesame" if secret == "sesame" else b"open sesame"
    signed = f"{row().id}.1790000000.".encode() + posted.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert posted.headers["webhook-signature"] == f"v1,{expected}"


def test_one_that_is_sent_again_by_somebody_is_no_repetition_to_the_receiver(server: WebhookServer) -> None:
    hook = webhook(server)
    hook.send(row())
    hook.send(row())
    hook.send(row(round=2))
    ids = [posted.headers["webhook-id"] for posted in server.posted]
    assert ids == [str(row().id), str(row().id), f"{row().id}.2"]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (410, Rejected),
        (422, Rejected),
        (302, Rejected),
        (401, NotNow),
        (404, NotNow),
        (429, NotNow),
        (500, ChannelDown),
        (503, ChannelDown),
    ],
)
def test_an_answer_is_taken_for_what_it_is_and_no_redirect_is_followed(
    server: WebhookServer, status: int, kind: type[Exception]
) -> None:
    server.answer = lambda _posted: (status, {"Location": "/elsewhere"}, b"why\nnot")
    with pytest.raises(kind, match=f"{status} why not"):
        webhook(server).send(row())
    assert [posted.path for posted in server.posted] == ["/hook"]


def test_an_answer_without_end_is_not_read_to_its_end(server: WebhookServer) -> None:
    server.answer = lambda _posted: (400, {"Content-Length": str(10**9)}, b"x" * 100_000)
    with pytest.raises(Rejected) as refused:
        webhook(server).send(row())
    assert len(str(refused.value)) < 600


def test_a_server_that_does_not_answer_is_given_up(server: WebhookServer) -> None:
    server.gate.clear()
    with pytest.raises(ChannelDown, match="timed out"):
        webhook(server, timeout_seconds=0.2).send(row())


def test_nobody_listens(server: WebhookServer) -> None:
    server.stop()
    with pytest.raises(ChannelDown):
        webhook(server).send(row())


def test_a_test_says_nothing_but_that_it_is_one(server: WebhookServer) -> None:
    assert server.url in webhook(server).probe("")
    assert server.posted[0].json["type"] == "jobledger.test"


# --- through the dashboard ----------------------------------------------------------------------------------


def begin(rig: NotifiedBench, told: NotificationSettings) -> UUID:
    rig.agent()
    rig.dashboard.push_plan(plan_of("p", ["a", "b"], notifications=told), {}, OPERATOR)
    return rig.dashboard.start_instance("p", OPERATOR)


def test_a_webhook_that_a_plan_names_is_told_and_so_is_one_that_asks_for_all_plans(
    tmp_path: Path, server: WebhookServer
) -> None:
    hooks = {
        "named": WebhookConfig(url=f"{server.url}/named"),
        "all": WebhookConfig(url=f"{server.url}/all", monitor_types=(ERROR,)),
        "others": WebhookConfig(url=f"{server.url}/others", monitor_types=(ERROR,), plans=("q",)),
    }
    with notified_bench(tmp_path, webhooks=hooks) as rig:
        instance = begin(rig, tells(COMPLETE, ERROR, to=(), webhooks=("named",)))
        rig.run(instance, "a", successful=False)
        rig.run(instance, "b", number=2)
        rig.until_settled(3)
        told = {(posted.path, posted.json["monitor_type"]) for posted in server.posted}
        assert told == {("/hook/named", "ERROR"), ("/hook/named", "COMPLETE"), ("/hook/all", "ERROR")}


def test_a_plan_that_says_nothing_is_told_of_to_those_who_ask_for_all(
    tmp_path: Path, server: WebhookServer
) -> None:
    with notified_bench(
        tmp_path, webhooks={"all": WebhookConfig(url=server.url, monitor_types=(ERROR,))}
    ) as rig:
        instance = begin(rig, NotificationSettings())
        rig.run(instance, "a", successful=False)
        server.wait_for(1)
        assert rig.until_settled(1)[0].delivered == (server.url,)


def test_a_webhook_that_hangs_delays_no_mail_and_is_told_when_it_answers(
    tmp_path: Path, server: WebhookServer
) -> None:
    server.gate.clear()
    with (
        MailServer() as mails,
        notified_bench(
            tmp_path, smtp=smtp(mails), webhooks={"slow": WebhookConfig(url=server.url, timeout_seconds=30)}
        ) as rig,
    ):
        instance = begin(rig, tells(ERROR, webhooks=("slow",)))
        rig.run(instance, "a", successful=False)
        server.wait_for(1)
        rig.run(instance, "b", successful=False, number=2)
        mails.wait_for(2)
        server.gate.set()
        assert {each.state for each in rig.until_settled(4)} == {SENT}


def test_one_that_is_told_again_after_the_server_was_away_has_the_same_id(
    tmp_path: Path, server: WebhookServer
) -> None:
    answers = iter([(503, {}, b"not now"), (200, {}, b"{}")])
    server.answer = lambda _posted: next(answers)
    with notified_bench(tmp_path, webhooks={"x": WebhookConfig(url=server.url)}) as rig:
        instance = begin(rig, tells(ERROR, to=(), webhooks=("x",)))
        rig.run(instance, "a", successful=False)
        rig.until_tried(1, "webhook:x")
        rig.pass_time(rig.now + MINUTE)
        first, second = server.wait_for(2)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        rig.until_settled(1)


def test_one_that_the_server_refuses_failed_and_keeps_no_other_from_being_told(
    tmp_path: Path, server: WebhookServer
) -> None:
    def answer(posted: Posted) -> tuple[int, dict[str, str], bytes]:
        return (422, {}, b"no such job") if posted.json["job_name"] == "a" else (200, {}, b"")

    server.answer = answer
    apart = [JobNotification(job=job, monitor_type=ERROR, webhooks=("x",)) for job in ("a", "b")]
    with notified_bench(tmp_path, webhooks={"x": WebhookConfig(url=server.url)}) as rig:
        instance = begin(rig, NotificationSettings.of(None, apart))
        rig.run(instance, "a", successful=False)
        rig.run(instance, "b", successful=False, number=2)
        bad, good = rig.until_settled(2)
        assert (bad.state, bad.error, good.state) == (FAILED, "422 no such job", SENT)
