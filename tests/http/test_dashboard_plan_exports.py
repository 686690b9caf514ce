"""Plans over HTTP as bundles that can be pushed again."""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_over_http import Served, served

FIXTURES = Path(
    os.environ.get("JOBLEDGER_FIXTURES") or (Path(__file__).parents[2] / "../shared/fixtures").resolve()
)
ZIP = "application/zip"
PLAN_FILE = """\
plan: sales_PROD
agent: host
jobs:
  load: {command: load}
contexts:
  reports:
    jobs:
      print: {command: print, after: load, held: true}
"""


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        answer = running.put(
            "/api/v1/plans/sales_PROD", PLAN_FILE, headers={"Content-Type": "application/yaml"}
        )
        assert answer.status_code == 201, answer.text
        yield running


def files_in(raw: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        return {entry.filename.partition("/")[2]: json.loads(archive.read(entry)) for entry in entries}


def push(dashboard: Served, name: str, raw: bytes) -> dict[str, Any]:
    answer = dashboard.put(f"/api/v1/plans/{name}", raw, headers={"Content-Type": ZIP})
    assert answer.status_code in {200, 201}, answer.text
    told: dict[str, Any] = answer.json
    return told


def test_a_plan_file_exported_as_a_bundle_and_pushed_again_is_the_same_plan(dashboard: Served) -> None:
    before = dashboard.get("/api/v1/plans/sales_PROD").json["plan"]
    exported = dashboard.get("/api/v1/plans/sales_PROD/export")
    assert exported.headers["content-type"] == ZIP
    assert exported.headers["content-disposition"] == "attachment; filename*=UTF-8''sales_PROD.zip"

    pushed = push(dashboard, "sales_PROD", exported.content)

    assert pushed["changed"] is False
    assert dashboard.get("/api/v1/plans/sales_PROD").json["plan"] == before


def test_the_compatible_export_gives_the_same_bytes(dashboard: Served) -> None:
    own = dashboard.get("/api/v1/plans/sales_PROD/export").content
    assert dashboard.get("/rest/export/context/sales_PROD?unknown=1").content == own
    tokens = dashboard.get("/api/v1/plans/sales_PROD/export?tokens=true").content
    assert dashboard.get("/rest/export/context/tokens/sales_PROD").content == tokens


def test_a_bundle_has_all_its_folders_below_one_top_folder(dashboard: Served) -> None:
    raw = dashboard.get("/rest/export/context/sales_PROD").content
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = archive.namelist()
    top = names[0]
    assert top.endswith("-sales_PROD/")
    assert top.partition("-")[0].isdecimal()
    kinds = ("file", "internal", "quartz", "global", "local", "start", "terminal", "bridging")
    wanted = ["context/", *(f"jobs/{kind}/" for kind in (*kinds, "internalTemplate")), "notification/"]
    for folder in (*wanted, "notification_details/", "profiles/"):
        assert f"{top}{folder}" in names


def test_an_export_with_tokens_names_neither_agent_nor_environment(dashboard: Served) -> None:
    files = files_in(dashboard.get("/api/v1/plans/sales_PROD/export?tokens=true").content)
    assert files["context/sales.json"]["name"] == "sales_[[env.name]]"
    assert files["jobs/internal/load.json"]["agentName"] == "[[agent.name]]"
    assert files["jobs/internal/load.json"]["identifier"] == "[[agent.name]]-load"
    refused = dashboard.put(
        "/api/v1/plans/sales_PROD",
        dashboard.get("/api/v1/plans/sales_PROD/export?tokens=true").content,
        headers={"Content-Type": ZIP},
    )
    assert refused.status_code == 422
    assert "the token [[agent.name]] is left" in refused.text


def test_a_split_export_has_a_file_for_each_context_and_is_the_same_plan(dashboard: Served) -> None:
    raw = dashboard.get("/api/v1/plans/sales_PROD/export?split=true").content
    assert [path for path in files_in(raw) if path.startswith("context/")] == [
        "context/sales_PROD.json",
        "context/sales_PROD/reports.json",
    ]
    before = dashboard.get("/api/v1/plans/sales_PROD").json["plan"]
    push(dashboard, "sales_PROD", raw)
    assert dashboard.get("/api/v1/plans/sales_PROD").json["plan"] == before
    both = files_in(dashboard.get("/api/v1/plans/sales_PROD/export?split=true&tokens=true").content)
    assert "context/sales/reports.json" in both


def test_an_older_version_can_be_exported_and_pushed_back(dashboard: Served) -> None:
    changed = PLAN_FILE.replace("{command: load}", "{command: load --all}")
    dashboard.put("/api/v1/plans/sales_PROD", changed, headers={"Content-Type": "application/yaml"})

    older = dashboard.get("/api/v1/plans/sales_PROD/export?version=1").content
    assert push(dashboard, "sales_PROD", older)["version"] == 3

    assert dashboard.get("/api/v1/plans/sales_PROD/diff?from=1").json["changes"] == []
    assert dashboard.get("/api/v1/plans/sales_PROD/export?version=9").status_code == 404


def test_agents_that_one_token_would_make_one_are_no_export_with_tokens(dashboard: Served) -> None:
    text = "plan: two\njobs:\n  a: {agent: x, name: load, command: 'true'}\n"
    text += "  b: {agent: y, name: load, command: 'true', after: a}\n"
    dashboard.put("/api/v1/plans/two", text, headers={"Content-Type": "application/yaml"})

    own = dashboard.get("/api/v1/plans/two/export?tokens=true")
    compatible = dashboard.get("/rest/export/context/tokens/two")

    assert (own.status_code, compatible.status_code) == (422, 400)
    assert "both have a job 'load'" in own.text
    assert "both have a job 'load'" in compatible.json["errorMessage"]


@pytest.mark.parametrize("query", ["tokens=maybe", "version=0", "form=zip"])
def test_a_form_that_is_none_is_refused(dashboard: Served, query: str) -> None:
    assert dashboard.get(f"/api/v1/plans/sales_PROD/export?{query}").status_code == 400


def test_a_plan_of_an_odd_name_has_a_file_name_that_a_browser_takes(dashboard: Served) -> None:
    text = (
        PLAN_FILE.replace("sales_PROD", 'Umsätze/heute \\"x\\"')
        .replace("plan: U", 'plan: "U')
        .replace('\\"x\\"', '\\"x\\""', 1)
    )
    as_sent = {"REQUEST_URI": "/api/v1/plans/Ums%C3%A4tze%2Fheute%20%22x%22"}
    answer = dashboard.put(
        "/api/v1/plans/x", text, headers={"Content-Type": "application/yaml"}, extras=as_sent
    )
    assert answer.status_code == 201, answer.text
    as_sent = {"REQUEST_URI": "/api/v1/plans/Ums%C3%A4tze%2Fheute%20%22x%22/export"}
    exported = dashboard.get("/api/v1/plans/x/export", extras=as_sent)
    assert exported.headers["content-disposition"] == (
        "attachment; filename*=UTF-8''Ums%C3%A4tze_heute%20_x_.zip"
    )


@pytest.mark.parametrize("name", ["MyFirstJobPlan.zip", "MyFirstJobPlanWithTokens.zip"])
def test_the_references_bundles_come_back_as_they_went_in(dashboard: Served, name: str) -> None:
    path = FIXTURES / "ikasan" / name
    if not path.exists():
        pytest.skip("the reference's bundles are not here")
    raw = path.read_bytes()
    damaged = "Tokens" in name
    if damaged:
        raw = _filled_in(raw)
    pushed = push(dashboard, "MyFirstJobPlan", raw)
    assert any("depended on itself" in each["detail"] for each in pushed["warnings"]) is damaged

    exported = dashboard.get("/rest/export/context/MyFirstJobPlan").content

    left, came = files_in(raw), files_in(exported)
    assert left.keys() == came.keys()
    assert {path for path in left if left[path] != came[path]} == (
        {"context/MyFirstJobPlan.json"} if damaged else set()
    )
    assert push(dashboard, "MyFirstJobPlan", exported)["changed"] is False


def _filled_in(raw: bytes) -> bytes:
    """As a pipeline does it that knows nothing of bundles: by replacing texts in files."""
    filled = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(filled, "w") as new:
        for entry in old.infolist():
            content = old.read(entry).replace(b"[[agent.name]]", b"scheduler-agent")
            content = content.replace(b"[[context.name]]", b"MyFirstJobPlan")
            new.writestr(entry.filename, content)
    return filled.getvalue()
