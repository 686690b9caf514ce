"""The versions of a plan over HTTP, and what changed between them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_over_http import Served, served


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def bundle(command: str = "true", **more: Any) -> dict[str, Any]:
    """A plan of one job as a JSON document."""
    listed = {"agentName": "host", "jobName": "load", "identifier": "host-load"}
    context = {
        "name": "sales",
        "scheduledJobs": [listed],
        "jobDependencies": [{"jobIdentifier": "host-load"}],
    }
    return {"contextTemplate": context, "schedulerJobs": [{**listed, "commandLine": command}], **more}


def push(dashboard: Served, document: dict[str, Any]) -> dict[str, Any]:
    answer = dashboard.put("/api/v1/plans/sales", document)
    assert answer.status_code in {200, 201}, answer.text
    told: dict[str, Any] = answer.json
    return told


def test_a_diff_is_of_the_newest_version_and_the_one_before_unless_told_otherwise(dashboard: Served) -> None:
    for command in ("one", "two", "three"):
        push(dashboard, bundle(command))

    newest = dashboard.get("/api/v1/plans/sales/diff").json
    assert (newest["from"], newest["to"]) == (2, 3)
    assert newest["changes"] == [
        {
            "change": "changed",
            "what": "job",
            "name": "host-load",
            "field": "command_line",
            "before": "two",
            "after": "three",
        }
    ]
    older = dashboard.get("/api/v1/plans/sales/diff?to=2").json
    assert (older["from"], older["to"], older["changes"][0]["before"]) == (1, 2, "one")
    whole = dashboard.get("/api/v1/plans/sales/diff?from=1").json
    assert (whole["from"], whole["to"], whole["changes"][0]["before"]) == (1, 3, "one")


def test_the_first_version_differs_from_nothing(dashboard: Served) -> None:
    push(dashboard, bundle())
    assert dashboard.get("/api/v1/plans/sales/diff").json == {
        "name": "sales",
        "from": 1,
        "to": 1,
        "changes": [],
    }


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/v1/plans/nothing/diff", 404),
        ("/api/v1/plans/nothing/versions", 404),
        ("/api/v1/plans/nightly/diff?from=1&to=9", 404),
        ("/api/v1/plans/nightly/diff?from=0", 400),
        ("/api/v1/plans/nightly/diff?to=first", 400),
        ("/api/v1/plans/nightly/diff?to=99999999999999999999", 400),
        ("/api/v1/plans/nightly/diff?since=1", 400),
    ],
)
def test_a_version_that_is_none_is_told(dashboard: Served, address: str, status: int) -> None:
    answer = dashboard.get(address)
    assert answer.status_code == status, answer.text
    assert answer.json["errors"]


def test_a_dry_push_answers_what_would_change_and_a_push_does_not(dashboard: Served) -> None:
    assert "changes" not in push(dashboard, bundle())

    dry = dashboard.put("/api/v1/plans/sales?dry_run=true", bundle("false")).json
    assert [(each["what"], each["after"]) for each in dry["changes"]] == [("job", "false")]
    assert dashboard.put("/api/v1/plans/sales?dry_run=true", bundle()).json["changes"] == []
    assert dashboard.get("/api/v1/plans/sales/versions").json["items"][0]["version"] == 1


def test_what_a_bundle_holds_beside_the_plan_is_a_version_too_and_is_told_as_a_document(
    dashboard: Served,
) -> None:
    push(dashboard, bundle())
    push(dashboard, bundle(contextProfiles=[{"profileName": "mine"}]))
    unknown = bundle(contextProfiles=[{"profileName": "mine"}])
    unknown["contextTemplate"]["treeViewExpandLevel"] = 2
    push(dashboard, unknown)

    first = dashboard.get("/api/v1/plans/sales/diff?to=2").json["changes"]
    second = dashboard.get("/api/v1/plans/sales/diff").json["changes"]

    assert first == [{"change": "added", "what": "document", "name": "profiles/mine.json"}]
    assert second == [{"change": "changed", "what": "document", "name": "context/sales.json"}]


def test_the_versions_are_listed_newest_first_without_their_plans(dashboard: Served) -> None:
    push(dashboard, bundle())
    push(dashboard, bundle("false"))

    listed = dashboard.get("/api/v1/plans/sales/versions").json

    assert [item["version"] for item in listed["items"]] == [2, 1]
    assert listed["next"] is None
    assert {item["pushed_by"] for item in listed["items"]} == {"anonymous"}
    assert listed["items"][0]["pushed_at"] > listed["items"][1]["pushed_at"]
    assert "plan" not in listed["items"][0]
