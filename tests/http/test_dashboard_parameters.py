"""Parameters over HTTP: values of no use are refused, and secrets are covered wherever they stand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dashboard_over_http import Served, nightly, served
from jobledger.domain.plan import CommandJob, JobPlan, Parameter
from jobledger.http.dashboard.auth import ByAccount
from jobledger.storage.accounts import Account, Role
from jobledger.storage.secret_keys import KeyFile

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


# --- the business date --------------------------------------------------------------------------------------


def test_an_instance_is_started_for_a_day_that_is_told(dashboard: Served) -> None:
    body = {"business_date": "2026-03-31", "parameters": {"DAY": "${business_date:%d.%m.%Y}"}}
    instance_id = dashboard.post("/api/v1/plans/nightly/instances", body).json["instance_id"]
    assert dashboard.shown(instance_id)["business_date"] == "2026-03-31"
    job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load"
    assert values_in(dashboard.get(f"{job}/parameters").json)["DAY"] == "31.03.2026"


@pytest.mark.parametrize("day", ["31.03.2026", "2026-02-30", "tomorrow", 20260331, ""])
def test_a_business_date_that_is_none_is_refused(dashboard: Served, day: object) -> None:
    before = dashboard.digest()
    answer = dashboard.post("/api/v1/plans/nightly/instances", {"business_date": day})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["pointer"] == "/business_date"
    assert dashboard.digest() == before


# --- what a job would get -----------------------------------------------------------------------------------


def values_in(document: dict[str, Any]) -> dict[str, str | None]:
    return {each["name"]: each["value"] for each in document["items"]}


def test_what_a_job_would_get_is_shown_with_where_it_comes_from(dashboard: Served) -> None:
    instance_id = dashboard.post(
        "/api/v1/plans/nightly/instances", {"parameters": {"DAY": "${EXTRA}!"}}
    ).json["instance_id"]
    one = f"/api/v1/instances/{instance_id}"
    changed = {"parameters": {"EXTRA": "${DAY}?"}, "context": "nightly checks"}
    assert dashboard.post(f"{one}/parameters", changed).status_code == 200
    shown = dashboard.get(f"{one}/contexts/nightly/jobs/host-load/parameters").json["items"]
    assert shown == [
        {"name": "DAY", "value": "${EXTRA}!", "source": "instance", "fault": None},
        {"name": "URL", "value": "********", "source": "plan", "fault": None},
        {"name": "DB_PASSWORD", "value": None, "source": None, "fault": None},
        {"name": "EXTRA", "value": None, "source": None, "fault": None},
    ]
    inner = dashboard.get(f"{one}/contexts/nightly checks/jobs/host-load/parameters").json["items"]
    assert [(each["name"], each["source"]) for each in inner if each["fault"]] == [
        ("DAY", "instance"),
        ("EXTRA", "context"),
    ]
    assert "has no end" in inner[0]["fault"]


def test_what_a_job_would_get_is_asked_of_a_job_that_is_there(dashboard: Served) -> None:
    one = f"/api/v1/instances/{dashboard.start()}"
    for path in ("contexts/nowhere/jobs/host-load", "contexts/nightly/jobs/host-nothing"):
        assert dashboard.get(f"{one}/{path}/parameters").status_code == 404


# --- encrypting ---------------------------------------------------------------------------------------------


def test_a_value_is_encrypted_to_another_token_each_time_and_kept_nowhere(
    dashboard: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = {"Idempotency-Key": "the-same"}
    tokens = {
        dashboard.post("/api/v1/encrypt", {"value": "hunter2-äöü"}, headers=headers).json["token"]
        for _ in range(2)
    }
    assert len(tokens) == 2
    keys = KeyFile(tmp_path / "secrets.key")
    assert {keys.open(token) for token in tokens} == {"hunter2-äöü"}
    assert "hunter2" not in capsys.readouterr().out
    assert dashboard.dashboard.ledger.reader.rows("SELECT * FROM answers") == []


@pytest.mark.parametrize(
    "body", [{"value": ""}, {}, {"value": 1}, {"value": "x", "more": 1}, {"value": "x" * 65_537}]
)
def test_what_cannot_be_encrypted_is_refused_without_quoting_it(
    dashboard: Served, body: dict[str, object]
) -> None:
    answer = dashboard.post("/api/v1/encrypt", body)
    assert answer.status_code == 422
    assert "xxxx" not in answer.text


def test_without_usable_keys_nothing_is_encrypted_and_the_answer_says_try_again(
    dashboard: Served, tmp_path: Path
) -> None:
    (tmp_path / "secrets.key").write_text("no key")
    answer = dashboard.post("/api/v1/encrypt", {"value": "x"})
    assert answer.status_code == 503
    assert "can be read by others" in answer.json["detail"]


# --- sources ------------------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with the sources of two plans."""
    (tmp_path / "parameters.toml").write_text('nightly = "nightly.properties"\nother = "other.properties"\n')
    (tmp_path / "nightly.properties").write_text("DAY=monday\nDB_PASSWORD=hunter2\nwrong\n")
    return tmp_path


def test_sources_are_listed_and_read_again_without_their_values(sources: Path) -> None:
    with served(sources / "data", parameters_file=sources / "parameters.toml") as dashboard:
        dashboard.push(with_parameters())
        instance_id = dashboard.start()
        nightly_source, other = dashboard.get("/api/v1/parameters").json["items"]
        assert nightly_source["names"] == ["DAY", "DB_PASSWORD"]
        assert "line 3" in nightly_source["warnings"][0]
        assert nightly_source["error"] is None
        assert nightly_source["read_at"] is not None
        assert "other.properties cannot be read" in other["error"]
        assert other["read_at"] is None
        (sources / "nightly.properties").write_text("DAY=tuesday\nDB_PASSWORD=hunter2\n")
        answer = dashboard.post("/api/v1/parameters/refresh")
        assert answer.json["items"][0]["warnings"] == [
            "the value of DB_PASSWORD: by its name this is a secret, and it can be read here; encrypt it"
        ]
        dashboard.settle()
        shown = dashboard.shown(instance_id)
        assert shown["source_parameters"] == {"DAY": "tuesday", "DB_PASSWORD": "********"}
        facts = dashboard.get(f"/api/v1/instances/{instance_id}/log").json["items"]
        assert facts[0]["data"]["source_parameters"] == {"DAY": "monday", "DB_PASSWORD": "********"}
        assert facts[1]["type"] == "SourceParametersTaken"
        assert "hunter2" not in answer.text + str(facts) + dashboard.get("/api/v1/parameters").text


def test_sources_are_read_again_also_beside_that_of_a_plan_that_was_deleted(sources: Path) -> None:
    with served(sources / "data", parameters_file=sources / "parameters.toml") as dashboard:
        dashboard.push(nightly("other"))
        assert dashboard.call("DELETE", "/api/v1/plans/nightly").status_code < 300
        (sources / "other.properties").write_text("DAY=tuesday\n")

        answer = dashboard.post("/api/v1/parameters/refresh")

        assert answer.status_code == 200, answer.text
        other = dashboard.shown(dashboard.start("other"))
        assert other["source_parameters"] == {"DAY": "tuesday"}


def test_sources_of_plans_that_a_caller_may_not_see_are_left_out_and_only_writers_refresh(
    sources: Path,
) -> None:
    limited = Account(
        name="limited", role=Role.READ, plans=frozenset({"other"}), created_at=0, has_password=False
    )
    accounts = {"limited": limited}

    class Tokens:
        def version(self) -> int:
            return 0

        def by_password(self, _name: str, _password: str) -> Account | None:
            return None

        def by_token(self, token: str) -> Account | None:
            return accounts.get(token)

    with served(
        sources / "data",
        parameters_file=sources / "parameters.toml",
        authentication=ByAccount(Tokens()),  # type: ignore[arg-type]
    ) as dashboard:
        dashboard.headers["Authorization"] = "Bearer limited"
        assert [each["plan"] for each in dashboard.get("/api/v1/parameters").json["items"]] == ["other"]
        assert dashboard.post("/api/v1/parameters/refresh").status_code == 403
        assert dashboard.post("/api/v1/encrypt", {"value": "x"}).status_code == 200, "reading is enough"
        del dashboard.headers["Authorization"]
        assert dashboard.post("/api/v1/encrypt", {"value": "x"}).status_code == 401
