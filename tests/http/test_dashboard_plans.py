"""Plans over HTTP: pushed in three forms, checked as a whole, read back and exported."""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_over_http import JSON, Served, served

FIXTURES = Path(
    os.environ.get("JOBLEDGER_FIXTURES") or (Path(__file__).parents[2] / "../shared/fixtures").resolve()
)

PLAN_FILE = """\
plan: reports
jobs:
  load:
    agent: host
    command: echo load
  check:
    agent: host
    command: echo check
    after: load
"""


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def bundle(name: str = "sales", **more: Any) -> dict[str, Any]:
    """A plan of two jobs as one JSON document."""
    jobs = [
        {"agentName": "host", "jobName": job, "identifier": f"host-{job}", "commandLine": "true"}
        for job in ("load", "check")
    ]
    grouping = {"and": [{"identifier": "host-load"}]}
    context = {
        "name": name,
        "scheduledJobs": [{key: job[key] for key in ("agentName", "jobName", "identifier")} for job in jobs],
        "jobDependencies": [
            {"jobIdentifier": "host-load"},
            {"jobIdentifier": "host-check", "logicalGrouping": grouping},
        ],
        **more,
    }
    return {"contextTemplate": context, "schedulerJobs": jobs}


def zipped(document: dict[str, Any]) -> bytes:
    """The same as a zip with its folders."""
    context = document["contextTemplate"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"1-{context['name']}/context/{context['name']}.json", json.dumps(context))
        for job in document["schedulerJobs"]:
            archive.writestr(f"1-{context['name']}/jobs/internal/{job['jobName']}.json", json.dumps(job))
    return buffer.getvalue()


def forms(name: str) -> dict[str, bytes]:
    return {
        JSON: json.dumps(bundle(name)).encode(),
        "application/zip": zipped(bundle(name)),
        "application/yaml": PLAN_FILE.replace("reports", name).encode(),
        "text/yaml; charset=utf-8": PLAN_FILE.replace("reports", name).encode(),
    }


@pytest.mark.parametrize("media", list(forms("x")))
def test_a_plan_is_pushed_in_any_of_its_forms(dashboard: Served, media: str) -> None:
    body = forms("sales")[media]

    first = dashboard.put("/api/v1/plans/sales", body, headers={"Content-Type": media})
    assert first.status_code == 201, first.text
    assert (first.json["name"], first.json["version"]) == ("sales", 1)
    assert (first.json["created"], first.json["changed"]) == (True, True)

    again = dashboard.put("/api/v1/plans/sales", body, headers={"Content-Type": media})
    assert again.status_code == 200
    assert (again.json["version"], again.json["created"], again.json["changed"]) == (1, False, False)

    shown = dashboard.get("/api/v1/plans/sales").json
    assert shown["version"] == 1
    assert shown["agents"] == ["host"]
    assert sorted(job["name"] for job in shown["plan"]["jobs"]) == ["check", "load"]


def test_a_push_that_changes_something_is_a_new_version_and_the_old_one_stays(dashboard: Served) -> None:
    dashboard.put("/api/v1/plans/sales", bundle())
    changed = bundle(description="with a word about it")

    answer = dashboard.put("/api/v1/plans/sales", changed)

    assert answer.status_code == 200
    assert (answer.json["version"], answer.json["created"], answer.json["changed"]) == (2, False, True)
    assert "description" not in dashboard.get("/api/v1/plans/sales/versions/1").json["plan"]["root"]
    assert dashboard.get("/api/v1/plans/sales/versions/2").json["plan"]["root"]["description"]
    assert dashboard.get("/api/v1/plans/sales/versions/3").status_code == 404
    assert dashboard.get("/api/v1/plans/sales/versions/0").status_code == 404
    assert dashboard.get("/api/v1/plans/sales/versions/latest").status_code == 404


def test_a_dry_push_says_what_would_be_and_changes_nothing(dashboard: Served) -> None:
    before = dashboard.digest()

    answer = dashboard.put("/api/v1/plans/sales?dry_run=true", bundle())

    assert answer.status_code == 200
    assert (answer.json["version"], answer.json["created"], answer.json["changed"]) == (1, True, True)
    assert dashboard.digest() == before
    assert dashboard.get("/api/v1/plans/sales").status_code == 404


def test_an_invalid_plan_is_refused_with_every_error_and_changes_nothing(dashboard: Served) -> None:
    wrong = bundle()
    wrong["contextTemplate"]["jobDependencies"].append(
        {"jobIdentifier": "host-nothing", "logicalGrouping": {"and": [{"identifier": "host-load"}]}}
    )
    wrong["contextTemplate"]["timeWindowStart"] = "every now and then"
    before = dashboard.digest()

    answer = dashboard.put("/api/v1/plans/sales", wrong)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    told = json.dumps(answer.json["errors"])
    assert "host-nothing" in told
    assert "every now and then" in told
    assert len(answer.json["errors"]) >= 2
    assert dashboard.digest() == before


def test_a_body_that_is_no_plan_is_refused_with_the_place_of_each_flaw(dashboard: Served) -> None:
    wrong = bundle()
    wrong["schedulerJobs"][0]["commandLine"] = 5
    wrong["contextTemplate"]["contextTtlMilliseconds"] = "long"

    answer = dashboard.put("/api/v1/plans/sales", wrong)

    assert answer.status_code == 422
    pointers = {error["pointer"] for error in answer.json["errors"]}
    assert any("commandLine" in pointer for pointer in pointers), answer.text
    assert any("contextTtlMilliseconds" in pointer for pointer in pointers), answer.text


def test_what_does_not_read_and_what_cannot_be_are_refused_together_each_with_its_job(
    dashboard: Served,
) -> None:
    wrong = bundle(timezone="Mars/Base")
    wrong["schedulerJobs"][1]["successfulReturnCodes"] = ["fine"]

    answer = dashboard.put("/api/v1/plans/sales", wrong)
    compatible = dashboard.put("/rest/provision/context", wrong)

    assert (answer.status_code, compatible.status_code) == (422, 400)
    assert answer.json["type"] == "urn:jobledger:problem:plan-invalid"
    assert answer.json["detail"] == "the plan has 2 errors"
    assert [error["place"] for error in answer.json["errors"]] == [
        "context sales, job host-check",
        "context sales",
    ]
    assert "Mars/Base" in compatible.json["errorMessage"]
    assert "a return code" in compatible.json["errorMessage"]


def test_an_agent_is_warned_of_once_until_it_has_been_heard_of(dashboard: Served) -> None:
    first = dashboard.put("/api/v1/plans/sales?dry_run=true", bundle())
    (warning,) = [each for each in first.json["warnings"] if "agent 'host'" in each["detail"]]
    assert warning["place"] == "context sales, job host-load"
    assert "1 more job" in warning["detail"]

    dashboard.dashboard.announce("host", url="http://127.0.0.1:1", host="h", version="1")

    again = dashboard.put("/api/v1/plans/sales?dry_run=true", bundle())
    assert [each for each in again.json["warnings"] if "agent 'host'" in each["detail"]] == []


def test_the_dashboard_says_how_long_instances_may_live_against_the_time_between_starts(
    tmp_path: Path,
) -> None:
    daily = bundle(timeWindowStart="0 0 1 ? * *", contextTtlMilliseconds=36 * 3_600_000)
    with served(tmp_path / "1") as strict:
        assert strict.put("/api/v1/plans/sales", daily).status_code == 422
    with served(tmp_path / "2", start_interval_multiple=2) as lenient:
        assert lenient.put("/api/v1/plans/sales", daily).status_code == 201


def test_the_name_in_the_address_must_be_the_plans(dashboard: Served) -> None:
    answer = dashboard.put("/api/v1/plans/another", bundle())

    assert answer.status_code == 422
    assert "another" in answer.json["detail"]
    assert "sales" in answer.json["detail"]


@pytest.mark.parametrize(
    ("media", "body", "status"),
    [
        ("application/zip", b"this is no zip", 422),
        ("application/zip", b"PK\x05\x06" + bytes(18), 422),
        (JSON, b"{", 422),
        (JSON, b"[]", 422),
        (JSON, b"null", 422),
        (JSON, b"", 400),
        (JSON, b"\xff\xfe", 422),
        (JSON, b"[" * 200_000, 422),
        (JSON, b'{"contextTemplate": {"name": "a\\u0000b"}}', 400),
        ("application/yaml", b"\x00", 400),
        ("application/yaml", b"\xff", 400),
        ("application/yaml", b"a: [", 422),
        ("application/yaml", b"a: &a [*a]", 422),
        ("application/yaml", b"[" * 20_000, 422),
        ("application/xml", b"<plan/>", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
    ],
)
def test_what_cannot_be_read_is_refused_and_changes_nothing(
    dashboard: Served, media: str, body: bytes, status: int
) -> None:
    before = dashboard.digest()

    answer = dashboard.put("/api/v1/plans/sales", body, headers={"Content-Type": media})

    assert answer.status_code == status, answer.text
    assert answer.json["errors"]
    assert dashboard.digest() == before


def test_the_list_of_plans_is_by_name(dashboard: Served) -> None:
    dashboard.put("/api/v1/plans/alpha", bundle("alpha"))

    answer = dashboard.get("/api/v1/plans").json

    assert [item["name"] for item in answer["items"]] == ["alpha", "nightly"]
    assert answer["next"] is None
    assert answer["items"][0]["agents"] == ["host"]
    assert answer["items"][0]["disabled"] is False


def test_a_plan_with_a_slash_in_its_name_has_an_address(dashboard: Served) -> None:
    body = json.dumps(bundle("a/b"))

    def as_sent(uri: str) -> dict[str, str]:
        return {"REQUEST_URI": uri}

    put = dashboard.put("/api/v1/plans/x", body, extras=as_sent("/api/v1/plans/a%2Fb?dry_run=false"))
    assert put.status_code == 201, put.text
    shown = dashboard.get("/api/v1/plans/x", extras=as_sent("/api/v1/plans/a%2fb"))
    assert shown.json["name"] == "a/b"
    assert dashboard.get("/api/v1/plans/a/b").status_code == 404


def test_existing_clients_push_a_bundle_with_type_wrappers(dashboard: Served) -> None:
    wrapped = ["org.ikasan.ContextBundleImpl", bundle()]
    wrapped[1]["schedulerJobs"] = ["java.util.ArrayList", wrapped[1]["schedulerJobs"]]  # type: ignore[index]

    answer = dashboard.put("/rest/provision/context", wrapped)

    assert answer.status_code == 200, answer.text
    assert dashboard.get("/api/v1/plans/sales").json["version"] == 1


def test_existing_clients_are_told_what_is_wrong_in_one_sentence(dashboard: Served) -> None:
    wrong = bundle()
    wrong["contextTemplate"]["timeWindowStart"] = "every now and then"

    answer = dashboard.put("/rest/provision/context", wrong)

    assert answer.status_code == 400
    assert list(answer.json) == ["errorMessage"]
    assert "every now and then" in answer.json["errorMessage"]


def test_an_export_pushed_again_changes_nothing(dashboard: Served) -> None:
    zip_file = FIXTURES / "ikasan" / "MyFirstJobPlan.zip"
    if not zip_file.exists():
        pytest.skip("the reference's bundles are not here")
    first = dashboard.put(
        "/api/v1/plans/MyFirstJobPlan", zip_file.read_bytes(), headers={"Content-Type": "application/zip"}
    )
    assert first.status_code == 201, first.text

    exported = dashboard.get("/rest/export/context/MyFirstJobPlan")
    assert exported.status_code == 200
    assert exported.headers["content-type"] == "application/zip"
    again = dashboard.put(
        "/api/v1/plans/MyFirstJobPlan", exported.content, headers={"Content-Type": "application/zip"}
    )

    assert again.status_code == 200, again.text
    assert again.json["changed"] is False
    assert dashboard.get("/rest/export/context/tokens/MyFirstJobPlan").content[:2] == b"PK"


def test_a_plan_that_is_not_there_has_no_export(dashboard: Served) -> None:
    answer = dashboard.get("/rest/export/context/nothing")

    assert answer.status_code == 404
    assert list(answer.json) == ["errorMessage"]


def hostile(name: str, content: bytes = b"{}", *, mode: int = 0o100644) -> bytes:
    """A bundle with one file more."""
    buffer = io.BytesIO(zipped(bundle()))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("placeholder")
        entry.filename, entry.external_attr, entry.compress_type = name, mode << 16, zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (hostile("../../etc/cron.d/x"), "leaves the bundle's folder"),
        (hostile("/etc/passwd"), "leaves the bundle's folder"),
        (hostile("1-sales/profiles/link", b"/etc/passwd", mode=0o120777), "symbolic link"),
        (hostile("1-sales/profiles/bomb.json", b" " * (17 * 1024 * 1024)), "unpacks to more"),
        (hostile("1-sales/jobs/internal/odd.json", "{}".encode("utf-16")), "no JSON"),
        (hostile("1-sales/jobs/internal/cut.json", b'{"agentName"'), "no JSON"),
        (zipped(bundle())[:-10], "no zip"),
        (zipped(bundle())[:200], "no zip"),
    ],
)
def test_a_zip_that_means_harm_is_refused_in_a_sentence_and_changes_nothing(
    dashboard: Served, body: bytes, words: str
) -> None:
    before = dashboard.digest()
    answer = dashboard.put("/api/v1/plans/sales", body, headers={"Content-Type": "application/zip"})
    assert answer.status_code == 422, answer.text
    assert len(answer.json["errors"]) == 1
    assert words in answer.json["errors"][0]["detail"]
    assert dashboard.digest() == before
