"""The OpenAPI document: complete, whole in itself, and true about what is refused."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.inspect
import pytest
from dashboard_over_http import Served, eventually, finished, nightly, served

NOBODY_KNOWS = "6f0e4a0e-0000-4000-8000-000000000001"
OF_PLAN = {"contextName": "nightly", "monitorTypes": ["ERROR"], "emailSendTo": ["a@example.org"]}
OF_JOB = {
    "contextName": "nightly",
    "childContextName": "nightly",
    "jobName": "load",
    "monitorType": "ERROR",
    "emailSendTo": ["a@example.org"],
}
JOB_PATH = "load/nightly/ERROR"
CALLS_WITHOUT_ANSWER: dict[str, tuple[str, Any]] = {
    "event_scheduled": ("", finished(NOBODY_KNOWS)),
    "event_global_scheduled": ("", "market closed"),
    "harvest_scheduled": ("", [{"agentName": "host", "jobName": "load"}]),
    "provision_context": (
        "",
        {
            "contextTemplate": {"name": "other", "scheduledJobs": [], "jobDependencies": [], "contexts": []},
            "schedulerJobs": [],
        },
    ),
    "provision_jobs": (
        "",
        {
            "jobs": [
                {
                    "agentName": "host",
                    "jobName": "load",
                    "contextName": "nightly",
                    "commandLine": "false",
                    "successfulReturnCodes": [],
                }
            ]
        },
    ),
    "reset_context": ("again", None),
    "reset_context_instance": ("nightly/{instance}", None),
    "discard_dead_letter": ("{letter}", None),
    "context_status": ("idle/idle", None),
    "job_status": ("idle/idle/load", None),
    "peek_agent_queue": ("outbound/host", None),
    "peek_queue": ("outbound-{instance}-queue", None),
    "delete_queue_message": ("dlq-{unknown}-queue/{second}", None),
    "delete_queue_messages": ("dlq-{unknown}-queue", None),
    "delete_queue": ("dlq-{unknown}-queue", None),
    "save_plan_notifications": ("", OF_PLAN),
    "save_job_notification": ("", OF_JOB),
    "save_job_notifications": ("", [OF_JOB]),
    "delete_job_notification": (JOB_PATH, None),
    "delete_job_notifications": ("nightly", None),
    "delete_plan_notifications": ("nightly", None),
}
"""For each service that answers without a body: the end of its address, and what is sent."""

READS_ANY_FIELD = {("PUT", "/api/v1/plans/{name}")}
"""A bundle keeps what is not known here; a plan file is refused by its own tests."""


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("dashboard")) as running:
        instance_id = running.start()
        running.put("/rest/event/scheduled", finished("6f0e4a0e-0000-4000-8000-000000000001"))
        running.put("/api/v1/agents/host", {"url": "http://127.0.0.1:9"})
        running.settle()
        assert instance_id
        yield running


@pytest.fixture(scope="module")
def document(dashboard: Served) -> Any:
    return dashboard.get("/api/v1/openapi.json").json


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_address_that_is_served_is_described_and_none_besides(dashboard: Served, document: Any) -> None:
    inspected = falcon.inspect.inspect_app(dashboard.application._falcon)
    serves = {
        (method.method, re.sub(r":\w+(\([^)]*\))?\}", "}", route.path))
        for route in inspected.routes
        for method in route.methods
        if not method.internal
    }
    assert {(method, path) for method, path, _operation in operations(document)} == serves


def test_the_services_that_clients_rely_on_are_there(document: Any) -> None:
    described = {f"{method} {path}" for method, path, _operation in operations(document)}
    job = "/api/v1/instances/{instance_id}/contexts/{context}/jobs/{identifier}"
    assert described >= {
        "PUT /rest/event/scheduled",
        "PUT /rest/event/globalScheduled",
        "PUT /rest/provision/context",
        "GET /rest/contextStatus/{plan}/{context}",
        "GET /rest/contextStatus/{plan}/{context}/{job}",
        "GET /rest/contextStatus/json/{plan}/{context}",
        "GET /rest/contextStatus/json/{plan}/{context}/{job}",
        "GET /rest/contextStatus/json/allInstance",
        "GET /rest/contextStatus/json/jobStatus",
        "GET /rest/contextStatus/json/jobStatus/{plan}",
        "GET /rest/contextStatus/overRunningJobPlans",
        "GET /rest/jobContext/getByAgentName",
        "GET /health/live",
        "GET /health/ready",
        "PUT /api/v1/plans/{name}",
        "GET /api/v1/plans",
        "GET /api/v1/plans/{name}",
        "POST /api/v1/plans/{name}/instances",
        "GET /api/v1/instances",
        "GET /api/v1/instances/{instance_id}",
        "GET /api/v1/instances/{instance_id}/log",
        "GET /api/v1/instances/{instance_id}/audit",
        "POST /api/v1/instances/{instance_id}/end",
        f"POST {job}/submit",
        f"GET {job}/log/stdout",
        f"GET {job}/log/stderr",
        "POST /api/v1/events",
        "POST /api/v1/global-events/{name}",
        "GET /api/v1/agents",
        "PUT /api/v1/agents/{name}",
        "GET /api/v1/actors",
        "GET /api/v1/actors/{name}/snapshot",
        "GET /api/v1/dead-letters",
        "POST /api/v1/dead-letters/{id}/resubmit",
        "DELETE /api/v1/dead-letters/{id}",
        "GET /api/v1/openapi.json",
    }


def test_whatever_is_referred_to_is_there_and_nothing_is_described_in_vain(document: Any) -> None:
    schemas = document["components"]["schemas"]
    named = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert named == set(schemas)
    for name in schemas:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", name), f"{name} is no name for a client's type"


def test_every_operation_has_a_name_of_its_own_and_describes_its_parameters_and_answers(
    document: Any,
) -> None:
    names = [operation["operationId"] for _method, _path, operation in operations(document)]
    assert len(set(names)) == len(names)
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path)), where
        assert all(each["schema"] for each in operation["parameters"]), where
        assert any(status.startswith("2") for status in operation["responses"]), where
        for status, response in operation["responses"].items():
            assert response["description"], f"{where}: {status}"
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            assert content["schema"], f"{where}: {media}"


def _with_real_names(dashboard: Served, path: str, operation: Any) -> str:
    """The address with things that are there, as far as their kind tells."""
    newest = str(dashboard.dashboard.instances(limit=1).items[0].instance_id)
    for each in operation["parameters"]:
        real = {"identifier": "host-load", "group": "-"}.get(each["name"], "nightly")
        if each["schema"].get("format") == "uuid":
            real = newest
        elif each["schema"].get("type") == "integer":
            real = "1"
        path = path.replace("{" + each["name"] + "}", real)
    return path


def test_a_field_that_no_service_of_ours_knows_is_refused_by_each(dashboard: Served, document: Any) -> None:
    tried = 0
    for method, path, operation in operations(document):
        takes = operation.get("requestBody", {}).get("content", {})
        if (
            not path.startswith("/api/v1/")
            or "application/json" not in takes
            or (method, path) in READS_ANY_FIELD
        ):
            continue
        before = dashboard.digest()
        answer = dashboard.call(method, _with_real_names(dashboard, path, operation), {"no_such_field": 1})
        assert answer.status_code in {400, 422}, (
            f"{method} {path} answered {answer.status_code}: {answer.text}"
        )
        assert "no_such_field" in answer.text, f"{method} {path}: {answer.text}"
        assert dashboard.digest() == before
        tried += 1
    assert tried > 30


def test_no_part_of_a_body_of_ours_takes_fields_that_it_does_not_know(document: Any) -> None:
    schemas = document["components"]["schemas"]
    seen: set[str] = set()
    for method, path, operation in operations(document):
        takes = operation.get("requestBody", {}).get("content", {})
        if (
            not path.startswith("/api/v1/")
            or "application/json" not in takes
            or (method, path) in READS_ANY_FIELD
        ):
            continue
        waiting = list(references(takes["application/json"]))
        while waiting:
            name = waiting.pop().removeprefix("#/components/schemas/")
            if name in seen:
                continue
            seen.add(name)
            waiting.extend(references(schemas[name]))
            if "properties" in schemas[name]:
                assert schemas[name].get("additionalProperties") is False, f"{name} of {method} {path}"
    assert {"EventBody", "StartBody", "DryRunBody"} <= seen


def test_a_query_parameter_that_no_service_of_ours_knows_is_refused_by_each(
    dashboard: Served, document: Any
) -> None:
    tried = 0
    for method, path, operation in operations(document):
        if not path.startswith("/api/v1/"):
            continue
        address = _with_real_names(dashboard, path, operation)
        before = dashboard.digest()
        answer = dashboard.call(method, f"{address}?no_such_parameter=1")
        assert answer.status_code == 400, f"{method} {path} answered {answer.status_code}: {answer.text}"
        assert "no_such_parameter" in answer.text, f"{method} {path}: {answer.text}"
        assert dashboard.digest() == before
        tried += 1
    assert tried > 50


def test_an_answer_without_a_body_is_of_no_media_type(tmp_path: Path) -> None:
    """Else a client that reads what it is told to be JSON stumbles over nothing at all."""
    with served(tmp_path) as running:
        running.agent.queued["peek/outbound"] = b""
        running.dashboard.announce("host", url="http://127.0.0.1:9", host="h", version="1")
        running.push(nightly("idle"))
        running.push(nightly("again"))
        running.start("again")
        instance = running.start()
        for job in ("load", "check"):
            running.put("/rest/event/scheduled", finished(NOBODY_KNOWS, job))
        eventually(lambda: len(running.dashboard.dead_letters()) == 2)
        letter, second = (each.position for each in running.dashboard.dead_letters())
        places = {"instance": instance, "letter": letter, "second": second, "unknown": NOBODY_KNOWS}
        rows = {row.name: row for row in running.application.routes if None in row.answers.values()}
        assert set(rows) == set(CALLS_WITHOUT_ANSWER)
        for name, (end, body) in CALLS_WITHOUT_ANSWER.items():
            row = rows[name]
            address = row.path.partition("{")[0] + end.format_map(places)
            answer = running.call(row.method, address, body)
            where = f"{row.method} {address}"
            assert row.answers[answer.status_code] is None, f"{where}: {answer.status_code} {answer.text}"
            assert answer.content == b"", where
            assert "content-type" not in answer.headers, where


def test_every_post_of_ours_takes_a_key_but_the_one_that_a_kept_digest_would_weaken(document: Any) -> None:
    without = {
        path
        for method, path, operation in operations(document)
        if method == "POST" and all(each["name"] != "Idempotency-Key" for each in operation["parameters"])
    }
    assert without == {"/api/v1/encrypt"}
