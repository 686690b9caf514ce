"""What the dashboard makes of requests that are wrong in themselves: a 4xx that says why, and no change."""

import json
from collections.abc import Iterator
from pathlib import Path

import falcon
import falcon.testing
import pytest
from dashboard_over_http import JSON, Served, finished, served
from jobledger.http.dashboard import errors
from jobledger.storage.records import Unstorable

LIMIT = 4096


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, body_limit_bytes=LIMIT) as running:
        yield running


def test_an_address_without_a_service_is_told_as_a_problem(dashboard: Served) -> None:
    answer = dashboard.get("/api/v1/nothing")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == 404
    assert answer.json["type"] == "about:blank"
    assert answer.json["title"]
    assert answer.json["detail"]


def test_an_address_without_a_service_below_rest_is_told_as_a_message(dashboard: Served) -> None:
    answer = dashboard.get("/rest/nothing")

    assert answer.status_code == 404
    assert list(answer.json) == ["errorMessage"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/api/v1/plans"), ("POST", "/api/v1/plans/nightly"), ("GET", "/rest/event/scheduled")],
)
def test_a_method_that_a_service_does_not_take_is_named_with_those_that_it_does(
    dashboard: Served, method: str, path: str
) -> None:
    answer = dashboard.call(method, path)

    assert answer.status_code == 405
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    "query",
    [
        "nosuch=1",
        "limit=1&limit=2",
        "limit=0",
        "limit=1001",
        "limit=ten",
        "limit=" + "9" * 5000,
        "limit=1_0",
        "active=perhaps",
        "plan=%ff",
        "plan=a%00b",
        "&".join(f"a{number}=1" for number in range(100)),
    ],
)
def test_a_query_that_is_wrong_is_refused(dashboard: Served, query: str) -> None:
    answer = dashboard.get(f"/api/v1/instances?{query}")

    assert answer.status_code == 400, answer.text
    assert answer.json["errors"]


def test_a_wrong_parameter_is_named(dashboard: Served) -> None:
    answer = dashboard.get("/api/v1/instances?limit=0")

    assert answer.json["errors"][0]["pointer"] == "?limit"


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "1e9", "soon"])
def test_nobody_waits_for_ever(dashboard: Served, wait: str) -> None:
    instance_id = dashboard.start()

    assert dashboard.get(f"/api/v1/instances/{instance_id}?after=1&wait={wait}").status_code == 400


def test_the_compatible_services_ignore_query_parameters_that_they_do_not_know(dashboard: Served) -> None:
    assert dashboard.get("/rest/contextStatus/json/allInstance?nosuch=1").status_code == 200


def test_a_missing_parameter_is_named(dashboard: Served) -> None:
    answer = dashboard.get("/rest/jobContext/getByAgentName")

    assert answer.status_code == 400
    assert "agentName" in answer.json["errorMessage"]


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 30, "%00", "null", "a b", "💥", "1;2"])
def test_a_cursor_that_was_never_given_out_breaks_nothing(dashboard: Served, cursor: str) -> None:
    dashboard.start()

    assert dashboard.get("/api/v1/instances", params={"cursor": cursor}).status_code in {200, 400}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/rest/event/scheduled"),
        ("PUT", "/rest/event/globalScheduled"),
        ("PUT", "/rest/provision/context"),
        ("POST", "/api/v1/events"),
        ("PUT", "/api/v1/plans/nightly"),
        ("POST", "/api/v1/plans/nightly/instances"),
    ],
)
def test_a_body_over_the_limit_is_refused_whether_or_not_its_length_is_told(
    dashboard: Served, method: str, path: str
) -> None:
    before = dashboard.digest()

    told = dashboard.call(method, path, b" " * (LIMIT + 1))
    untold = dashboard.call(
        method,
        path,
        b" " * (LIMIT + 1),
        extras={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )

    assert told.status_code == 413, told.text
    assert untold.status_code == 413, untold.text
    assert str(LIMIT) in told.text
    assert dashboard.digest() == before


def test_a_body_at_the_limit_is_read(dashboard: Served) -> None:
    event = json.dumps(finished(dashboard.start()))

    assert dashboard.put("/rest/event/scheduled", event.ljust(LIMIT)).status_code == 200


def test_a_body_that_ends_early_is_refused(dashboard: Served) -> None:
    event = json.dumps(finished(dashboard.start()))
    before = dashboard.digest()

    answer = dashboard.put("/rest/event/scheduled", event, extras={"CONTENT_LENGTH": str(len(event) + 1)})

    assert answer.status_code == 400
    assert dashboard.digest() == before


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 40])
def test_a_length_that_is_none_is_refused(dashboard: Served, length: str) -> None:
    environ = falcon.testing.create_environ("/rest/event/scheduled", method="PUT", body=b"{}")
    environ["CONTENT_LENGTH"] = length
    statuses: list[str] = []

    dashboard.application(environ, lambda status, _headers, *_error: statuses.append(status))

    assert statuses[0].startswith("4")


@pytest.mark.parametrize("media", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "a"])
def test_a_body_of_another_kind_is_refused_on_our_own_api(dashboard: Served, media: str) -> None:
    answer = dashboard.post("/api/v1/events", b"[]", headers={"Content-Type": media})

    assert answer.status_code == 415
    assert JSON in answer.json["detail"]


@pytest.mark.parametrize("media", ["text/plain", "application/json;charset=UTF-8", ""])
def test_the_compatible_services_take_a_body_whatever_it_calls_itself(dashboard: Served, media: str) -> None:
    event = json.dumps(finished(dashboard.start()))

    assert dashboard.put("/rest/event/scheduled", event, headers={"Content-Type": media}).status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"parameters": {"a": 1}}, "/parameters/..."),
        ({"parameters": None}, "/parameters"),
        ({"run_until_ended": "yes"}, "/run_until_ended"),
        ({"dry_run": {"fixed_ms": -1}}, "/dry_run/fixed_ms"),
        ({"dry_run": {"error_percentage": 101}}, "/dry_run/error_percentage"),
        ({"surprise": 1}, "/surprise"),
        ({"dry_run": {"surprise": 1}}, "/dry_run/surprise"),
    ],
)
def test_a_field_that_is_wrong_is_named_by_a_pointer(dashboard: Served, body: object, pointer: str) -> None:
    before = dashboard.digest()

    answer = dashboard.post("/api/v1/plans/nightly/instances", body)

    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert dashboard.digest() == before


@pytest.mark.parametrize("body", [b"{", b'{"reason": "\xff"}', b'{"reason": "\\u0000"}', b"{}x"])
def test_a_body_that_does_not_read_is_refused(dashboard: Served, body: bytes) -> None:
    before = dashboard.digest()

    answer = dashboard.post("/api/v1/plans/nightly/instances", body)

    assert answer.status_code == 400, answer.text
    assert dashboard.digest() == before


def test_a_backslash_before_an_escape_is_no_nul(dashboard: Served) -> None:
    answer = dashboard.post("/api/v1/plans/nightly/instances", b'{"parameters": {"a": "\\\\u0000"}}')

    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("name", ["%00", "a%00b", "%ff%fe", "..", "%2e%2e%2f", "%F0%9F%92%A5", "a" * 5000])
def test_strange_names_are_not_found(dashboard: Served, name: str) -> None:
    for path in (f"/api/v1/plans/{name}", f"/rest/contextStatus/{name}/{name}"):
        assert dashboard.get(path).status_code in {400, 404}


def test_what_nobody_expected_is_told_without_its_insides(
    dashboard: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(dashboard.dashboard, "plans", broken)

    answer = dashboard.get("/api/v1/plans")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    told = capsys.readouterr()
    assert "a secret of the inside" in told.out + told.err, "the log does not say what went wrong"


def test_health_is_told_without_an_account(dashboard: Served) -> None:
    assert dashboard.get("/health/live").json == {"status": "live"}
    assert dashboard.get("/health/ready").json == {"status": "ready"}

    dashboard.dashboard.ready = False
    answer = dashboard.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert dashboard.get("/health/live").status_code == 200


def test_agents_announce_themselves_and_are_listed(dashboard: Served) -> None:
    body = {"url": "http://127.0.0.1:8080/", "version": "1.0", "host": "night", "running": 2, "queued": 3}

    assert dashboard.put("/api/v1/agents/host", body).status_code == 200

    (agent,) = dashboard.get("/api/v1/agents").json["items"]
    assert agent["name"] == "host"
    assert agent["url"] == "http://127.0.0.1:8080"
    assert (agent["version"], agent["host"], agent["reachable"]) == ("1.0", "night", True)
    assert (agent["running"], agent["queued"]) == (2, 3)
    assert agent["last_seen"].endswith("Z")
    assert agent["problems"] == []


def test_what_an_agent_says_is_wrong_with_it_is_shown_until_it_says_otherwise(dashboard: Served) -> None:
    body = {"url": "http://127.0.0.1:8080", "problems": ["no room on its disk", "2 events refused"]}
    assert dashboard.put("/api/v1/agents/host", body).status_code == 200
    (agent,) = dashboard.get("/api/v1/agents").json["items"]
    assert agent["problems"] == ["no room on its disk", "2 events refused"]
    assert dashboard.put("/api/v1/agents/host", {**body, "problems": ["x" * 1001]}).status_code == 422
    assert dashboard.put("/api/v1/agents/host", {"url": body["url"]}).status_code == 200
    (agent,) = dashboard.get("/api/v1/agents").json["items"]
    assert agent["problems"] == []


@pytest.mark.parametrize(
    "url",
    ["", "host", "ftp://host", "http://", "http://host:0", "http://host:99999", "http://a b", "http://[::1"],
)
def test_an_agent_without_a_proper_address_is_refused(dashboard: Served, url: str) -> None:
    before = dashboard.digest()

    answer = dashboard.put("/api/v1/agents/host", {"url": url})

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"] == "/url"
    assert dashboard.digest() == before


def test_live_actors_are_shown_for_debugging(dashboard: Served) -> None:
    instance_id = dashboard.start()
    dashboard.shown(instance_id)

    names = [item["name"] for item in dashboard.get("/api/v1/actors").json["items"]]
    assert f"instance-{instance_id}" in names
    snapshot = dashboard.get(f"/api/v1/actors/instance-{instance_id}/snapshot").json
    assert snapshot["position"] == 1
    assert dashboard.get("/api/v1/actors/instance-nothing/snapshot").status_code == 404
    assert dashboard.get("/api/v1/actors/nothing/snapshot").status_code == 404


@pytest.mark.parametrize(("path", "status"), [("/rest/event/scheduled", 400), ("/api/v1/events", 422)])
def test_what_no_database_can_hold_is_wrong_with_the_request(path: str, status: int) -> None:
    """The compatible services have 400 alone for that."""
    req = falcon.Request(falcon.testing.create_environ(path))
    resp = falcon.Response()
    errors.handle(req, resp, Unstorable("too long"), {})
    assert resp.status == status
    assert b"no database can hold this: too long" in (resp.data or b"")
