"""Parameters over HTTP: values of no use are refused, and secrets are covered wherever they stand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dashboard_over_http import Served, nightly, served
from jobledger.domain.plan import CommandJob, JobPlan, Parameter

TOKEN = f"{{enc:{'A' * 100}}}"


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        running.push(with_parameters())
        yield running


def with_parameters(*of_plan: Parameter) -> JobPlan:
    """``nightly``, whose job ``load`` declares what these tests are about."""
    plan = nightly()
    declared = tuple(Parameter(name) for name in ("DAY", "URL", "DB_PASSWORD", "EXTRA"))
    jobs = tuple(
        msgspec.structs.replace(job, parameters=declared) if isinstance(job, CommandJob) else job
        for job in plan.jobs
    )
    root = msgspec.structs.replace(plan.root, parameters=(Parameter("URL", f"db://{TOKEN}@h"), *of_plan))
    return msgspec.structs.replace(plan, root=root, jobs=jobs)


def orders_with(values: dict[str, str], instance_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load"
    yield "/api/v1/plans/nightly/instances", {"parameters": values}
    yield f"{job}/submit", {"parameters": values}
    yield f"{job}/reset-downstream", {"submit": True, "parameters": values}
    yield f"/api/v1/instances/{instance_id}/parameters", {"parameters": values}


def test_values_that_can_never_be_used_are_refused_each_with_its_place(dashboard: Served) -> None:
    instance_id = dashboard.start()
    before = dashboard.digest()
    values = {"DAY": "${business_date:%Q}", "a/b~c": "{enc:cut", "EXTRA": "fine ${HOME:-x}"}
    for path, body in orders_with(values, instance_id):
        answer = dashboard.post(path, body)
        assert answer.status_code == 422, path
        assert [each["pointer"] for each in answer.json["errors"]] == [
            "/parameters/DAY",
            "/parameters/a~1b~0c",
        ]
        assert "%Q is no directive" in answer.text
    assert dashboard.digest() == before


def test_secrets_are_covered_in_every_answer(dashboard: Served) -> None:
    values = {"DB_PASSWORD": "hunter2", "EXTRA": TOKEN, "DAY": "monday"}
    instance_id = dashboard.post("/api/v1/plans/nightly/instances", {"parameters": values}).json[
        "instance_id"
    ]
    one = f"/api/v1/instances/{instance_id}"
    answers = [dashboard.post(f"{one}/contexts/nightly/jobs/host-load/submit")]
    answers.append(dashboard.post(f"{one}/parameters", {"parameters": values}))
    answers += [
        dashboard.get(path)
        for path in (
            one,
            f"{one}?at=1",
            f"{one}/log",
            f"{one}/audit",
            "/rest/contextStatus/json/nightly/nightly",
            "/rest/jobContext/getByAgentName?agentName=host",
        )
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert "hunter2" not in answer.text
        assert "AAAA" not in answer.text
    assert dashboard.get(one).json["parameters"] == {
        "DB_PASSWORD": "********",
        "EXTRA": "********",
        "DAY": "monday",
    }
    (initiated,) = [each for each in answers[0].json["facts"] if each["type"] == "JobInitiated"]
    assert initiated["data"]["parameters"] == {
        "DAY": "monday",
        "URL": "********",
        "DB_PASSWORD": "********",
        "EXTRA": "********",
    }


def test_an_instance_says_which_day_it_is_for(dashboard: Served) -> None:
    shown = dashboard.shown(dashboard.start())
    assert shown["business_date"] == shown["started_at"][:10]
    assert shown["source_parameters"] == {}


def test_what_nobody_gives_a_value_and_what_stays_as_it_is_stands_in_the_fact(dashboard: Served) -> None:
    instance_id = dashboard.start()
    job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load"
    (fact,) = dashboard.post(f"{job}/submit", {"parameters": {"DAY": "${HOME:-x}"}}).json["facts"]
    assert fact["data"]["unset"] == ["DB_PASSWORD", "EXTRA"]
    assert fact["data"]["unexpanded"] == ["DAY"]
