"""Ingestion over HTTP: whatever is answered 2xx is in the inbox, and what is refused is not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from dashboard_over_http import START, Served, eventually, finished, served
from jobledger.domain.facts import EventKept, Recorded
from jobledger.storage.records import Inbound, Unavailable


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def facts(dashboard: Served, instance_id: str) -> list[str]:
    log = dashboard.get(f"/api/v1/instances/{instance_id}/log").json["items"]
    return [fact["type"] for fact in log]


def test_one_event_and_a_list_of_events_are_taken(dashboard: Served) -> None:
    instance_id = dashboard.start()

    one = dashboard.post("/api/v1/events", finished(instance_id, "load"))
    several = dashboard.post("/api/v1/events", [finished(instance_id, "check"), finished(instance_id, "zz")])

    assert one.status_code == several.status_code == 200
    (first,) = one.json["positions"]
    second, third = several.json["positions"]
    assert first < second < third
    eventually(lambda: len(facts(dashboard, instance_id)) == 5)


def test_an_empty_list_is_taken_and_changes_nothing(dashboard: Served) -> None:
    before = dashboard.digest()

    assert dashboard.post("/api/v1/events", []).json == {"positions": []}
    assert dashboard.digest() == before


def test_the_same_event_again_changes_the_state_once(dashboard: Served) -> None:
    instance_id = dashboard.start()
    for _ in range(3):
        assert dashboard.put("/rest/event/scheduled", finished(instance_id, id="e-1")).status_code == 200

    eventually(lambda: len(facts(dashboard, instance_id)) == 5)
    assert facts(dashboard, instance_id).count("JobCompleted") == 1
    assert facts(dashboard, instance_id).count("EventIgnored") == 2


def test_of_a_list_with_one_bad_event_none_is_taken(dashboard: Served) -> None:
    instance_id = dashboard.start()
    before = dashboard.digest()

    answer = dashboard.post(
        "/api/v1/events", [finished(instance_id), {**finished(instance_id), "returnCode": "zero"}]
    )

    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/1/returnCode"
    assert dashboard.digest() == before


def test_an_unknown_field_is_refused_on_our_own_api_and_ignored_on_the_compatible_one(
    dashboard: Served,
) -> None:
    event = finished(dashboard.start(), noSuchField=True)

    refused = dashboard.post("/api/v1/events", event)
    assert refused.status_code == 422
    assert refused.json["errors"] == [
        {"detail": "Object contains unknown field `noSuchField`", "pointer": "/noSuchField"}
    ]
    assert dashboard.put("/rest/event/scheduled", event).status_code == 200


def test_an_event_of_the_reference_is_taken_with_all_its_wrappers_and_nulls(dashboard: Served) -> None:
    instance_id = dashboard.start()
    event: dict[str, Any] = finished(
        instance_id,
        id=None,
        outcome="EXECUTION_INVOKED",
        childContextNames=["java.util.ArrayList", ["nightly"]],
        dryRunParameters=None,
        nextFireTime=0,
        catalystEvent=["org.ikasan.ContextualisedScheduledProcessEventImpl", {"jobName": "x"}],
    )

    answer = dashboard.put(
        "/rest/event/scheduled", ["org.ikasan.ContextualisedScheduledProcessEventImpl", event]
    )

    assert answer.status_code == 200, answer.text
    eventually(lambda: "JobCompleted" in facts(dashboard, instance_id))


def test_an_event_for_an_unknown_instance_is_answered_and_kept_as_a_dead_letter(dashboard: Served) -> None:
    stranger = str(uuid4())

    answer = dashboard.put("/rest/event/scheduled", finished(stranger))

    assert answer.status_code == 200
    eventually(lambda: bool(dashboard.get("/api/v1/dead-letters").json["items"]))
    (letter,) = dashboard.get("/api/v1/dead-letters").json["items"]
    assert letter["instance_id"] == stranger
    assert letter["event"]["job"] == "load"
    assert "instance" in letter["error"]
    assert letter["parked_at"] is not None


def test_an_event_that_does_not_read_is_shown_among_the_dead_letters_and_can_be_dealt_with(
    dashboard: Served,
) -> None:
    instance_id = dashboard.start()
    garbage = Inbound(stream=UUID(instance_id), kind="event", payload=b"\xc1", source="10.0.0.7")
    (position,) = dashboard.dashboard.ledger.receive([garbage])
    dashboard.put("/rest/event/scheduled", finished("6f0e4a0e-0000-4000-8000-000000000001"))
    eventually(lambda: len(dashboard.dashboard.dead_letters()) == 2)

    first, second = dashboard.get("/api/v1/dead-letters").json["items"]

    assert (first["id"], first["instance_id"], first["event"]) == (position, instance_id, None)
    assert first["error"]
    assert second["event"]["job"] == "load"
    assert dashboard.get(f"/api/v1/instances/{instance_id}/audit").status_code == 200
    assert dashboard.post(f"/api/v1/dead-letters/{position}/resubmit").status_code == 200
    eventually(lambda: len(dashboard.dashboard.dead_letters()) == 2)
    assert dashboard.call("DELETE", f"/api/v1/dead-letters/{position}").status_code == 204
    assert [each["id"] for each in dashboard.get("/api/v1/dead-letters").json["items"]] == [second["id"]]


def test_a_dead_letter_is_discarded_once(dashboard: Served) -> None:
    dashboard.put("/rest/event/scheduled", finished(uuid4()))
    eventually(lambda: bool(dashboard.get("/api/v1/dead-letters").json["items"]))
    (letter,) = dashboard.get("/api/v1/dead-letters").json["items"]

    assert dashboard.call("DELETE", f"/api/v1/dead-letters/{letter['id']}").status_code == 204
    assert dashboard.get("/api/v1/dead-letters").json["items"] == []
    assert dashboard.call("DELETE", f"/api/v1/dead-letters/{letter['id']}").status_code == 404
    assert dashboard.post(f"/api/v1/dead-letters/{letter['id']}/resubmit").status_code == 404


def test_a_dead_letter_is_resubmitted(dashboard: Served) -> None:
    dashboard.put("/rest/event/scheduled", finished(uuid4()))
    eventually(lambda: bool(dashboard.get("/api/v1/dead-letters").json["items"]))
    (letter,) = dashboard.get("/api/v1/dead-letters").json["items"]

    answer = dashboard.post(f"/api/v1/dead-letters/{letter['id']}/resubmit")

    assert answer.status_code == 200
    assert answer.json == {"position": letter["position"]}
    # The instance is as unknown as before.
    eventually(lambda: len(dashboard.get("/api/v1/dead-letters").json["items"]) == 1)


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 18, "9" * 30, "1_0"])
def test_a_dead_letter_that_is_not_there_is_not_found(dashboard: Served, number: str) -> None:
    assert dashboard.call("DELETE", f"/api/v1/dead-letters/{number}").status_code == 404
    assert dashboard.post(f"/api/v1/dead-letters/{number}/resubmit").status_code == 404


@pytest.mark.parametrize(
    "text", ["market closed", '"market closed"', " market closed\n", '"market\\u0020closed"']
)
def test_a_global_event_is_named_by_text_or_by_a_json_string(dashboard: Served, text: str) -> None:
    instance_id = dashboard.start()

    answer = dashboard.put(
        "/rest/event/globalScheduled", text.encode(), headers={"Content-Type": "text/plain"}
    )

    assert answer.status_code == 200
    job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/GLOBAL_EVENT-market closed"
    eventually(lambda: dashboard.get(job).json["status"] == "COMPLETE")


def test_a_global_event_says_how_many_instances_it_reached(dashboard: Served) -> None:
    dashboard.start()
    dashboard.start()

    assert dashboard.post("/api/v1/global-events/market closed").json == {"instances": 2}
    assert dashboard.post("/api/v1/global-events/nothing of the kind").json == {"instances": 0}
    assert dashboard.post("/api/v1/global-events/market closed", {"environment_group": "elsewhere"}).json == {
        "instances": 0
    }
    assert dashboard.post("/api/v1/global-events/market closed", {"environment_group": ""}).json == {
        "instances": 2
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"5",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"agentName":' * 50_000,
        b'{"agentName": 1}',
        b'{"agentName": "a\\u0000", "jobName": "b", "contextInstanceId": "c"}',
    ],
)
def test_what_is_no_event_is_refused_and_changes_nothing(dashboard: Served, body: bytes) -> None:
    before = dashboard.digest()

    compatible = dashboard.put("/rest/event/scheduled", body)
    own = dashboard.post("/api/v1/events", body)

    assert compatible.status_code == 400, compatible.text
    assert list(compatible.json) == ["errorMessage"]
    if body != b"[]":
        assert own.status_code in {400, 422}, own.text
    assert dashboard.digest() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contextInstanceId", "COMPLEX_CONTEXT-1"),
        ("contextInstanceId", ""),
        ("contextInstanceId", None),
        ("agentName", ""),
        ("jobName", None),
        ("returnCode", 2**63),
        ("returnCode", 10**400),
        ("fireTime", -(2**63) - 1),
        ("fireTime", 1.5),
        ("pid", True),
        ("outcome", "SOMETHING"),
        ("childContextNames", "nightly"),
        ("jobName", "\ud800"),
    ],
)
def test_an_event_with_a_value_that_cannot_be_is_refused(
    dashboard: Served, field: str, value: object
) -> None:
    instance_id = dashboard.start()
    body = json.dumps({**finished(instance_id), field: value})
    before = dashboard.digest()

    assert dashboard.put("/rest/event/scheduled", body).status_code == 400
    assert dashboard.post("/api/v1/events", body).status_code in {400, 422}
    assert dashboard.digest() == before


@pytest.mark.parametrize("time", [2**63 - 1, -(2**63), 253_402_300_800_000, -62_135_596_800_001])
def test_a_time_beyond_the_calendar_breaks_nothing_that_shows_it(dashboard: Served, time: int) -> None:
    instance_id = dashboard.start()
    event = finished(instance_id, fireTime=time, completionTime=time)

    assert dashboard.put("/rest/event/scheduled", event).status_code == 200
    eventually(lambda: "JobCompleted" in facts(dashboard, instance_id))
    for path in ("", "/log", "/audit", "/contexts/nightly/jobs/host-load"):
        assert dashboard.get(f"/api/v1/instances/{instance_id}{path}").status_code == 200
    assert dashboard.get("/rest/contextStatus/json/nightly/nightly").status_code == 200


def test_an_event_that_cannot_be_made_durable_is_refused_for_now(
    dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_more: object) -> None:
        raise Unavailable("it could not be made durable: no space left on device")

    event = finished(dashboard.start())
    monkeypatch.setattr(dashboard.dashboard.ledger, "receive", full)

    compatible = dashboard.put("/rest/event/scheduled", event)
    own = dashboard.post("/api/v1/events", event)

    assert compatible.status_code == own.status_code == 503
    assert compatible.headers["retry-after"] == own.headers["retry-after"] == "1"
    said = "it could not be made durable: no space left on device"
    assert (compatible.json["errorMessage"], own.json["detail"]) == (said, said)


# --- kept for history ---------------------------------------------------------------------------------------

PAST = {"agentName": "host", "jobName": "load", "returnCode": 3, "fireTime": START, "harvested": False}
"""As an agent tells it of a process that ran for no instance; with a field that nobody here knows."""


def kept(dashboard: Served) -> list[Recorded]:
    rows = dashboard.dashboard.ledger.reader.rows(
        "SELECT originator_id FROM stored_events WHERE topic LIKE 'EventKept%' GROUP BY originator_id"
    )
    ledger = dashboard.dashboard.ledger
    return [fact for (key,) in rows for fact in ledger.facts(ledger.reader.stream(key))]


def test_events_for_history_are_kept_in_their_order_and_change_no_instance(dashboard: Served) -> None:
    instance_id = dashboard.start()
    before = dashboard.shown(instance_id)

    answer = dashboard.put("/rest/harvest/scheduled", [finished(instance_id), PAST])

    assert (answer.status_code, answer.content) == (200, b"")
    first, second = kept(dashboard)
    assert isinstance(first.fact, EventKept)
    assert isinstance(second.fact, EventKept)
    assert (first.fact.event.instance_id, first.fact.event.successful) == (instance_id, True)
    assert (second.fact.event.instance_id, second.fact.event.return_code) == ("", 3)
    assert (first.cause.command, first.cause.by) == ("KeepEvents", "anonymous")
    assert dashboard.shown(instance_id) == before
    assert dashboard.dashboard.dead_letters() == []


def test_the_same_events_for_history_are_kept_once(dashboard: Served) -> None:
    for _ in range(3):
        assert dashboard.put("/rest/harvest/scheduled", [PAST, PAST]).status_code == 200
    assert len(kept(dashboard)) == 2
    assert dashboard.put("/rest/harvest/scheduled", [PAST]).status_code == 200
    assert len(kept(dashboard)) == 3


def test_events_for_history_are_kept_all_or_none(dashboard: Served) -> None:
    before = dashboard.digest()
    for body, told in (
        ([PAST, {**PAST, "agentName": None}], "/1/agentName"),
        ([PAST, 7], "/1"),
        (PAST, "a list of process events"),
        (b"[", "errorMessage"),
        ([{"agentName": "h", "jobName": "j"}] * 10_001, "at most 10000"),
    ):
        answer = dashboard.put("/rest/harvest/scheduled", body)
        assert answer.status_code == 400
        assert told in answer.text
    assert dashboard.put("/rest/harvest/scheduled", []).status_code == 200
    assert dashboard.digest() == before
