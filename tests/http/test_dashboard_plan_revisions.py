"""Plans changed where they are, over HTTP: how new instances start, and job templates of existing clients."""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_over_http import Served, served
from jobledger.actors.dashboard.errors import PlanMoved
from jobledger.actors.dashboard.origin import Origin
from jobledger.domain.facts import NotificationsSet
from jobledger.domain.notification_settings import NotificationSettings, PlanNotifications

YAML = {"Content-Type": "application/yaml"}
PLAN_FILE = """\
plan: sales
agent: host
jobs:
  six: {schedule: 0 0 6 * * ?}
  load: {command: load, after: six}
  check: {command: check, after: load}
contexts:
  reports:
    jobs:
      print: {command: print, after: [load, check]}
"""


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        answer = running.put("/api/v1/plans/sales", PLAN_FILE, headers=YAML)
        assert answer.status_code == 201, answer.text
        yield running


def job(dashboard: Served, name: str) -> dict[str, Any]:
    jobs = dashboard.get("/api/v1/plans/sales").json["plan"]["jobs"]
    return next(each for each in jobs if each["name"] == name)


def statuses(dashboard: Served, instance_id: str) -> dict[str, str]:
    shown = dashboard.shown(instance_id)["root"]
    found = {each["name"]: each["status"] for each in shown["jobs"]}
    return found | {each["name"]: each["status"] for each in shown["contexts"][0]["jobs"]}


# --- how new instances start --------------------------------------------------------------------------------


def test_a_job_held_in_a_plan_is_held_in_new_instances_and_in_no_other(dashboard: Served) -> None:
    before = dashboard.start("sales")

    answer = dashboard.post("/api/v1/plans/sales/jobs/host-load/hold", {"reason": "moving the disks"})

    assert answer.status_code == 200, answer.text
    assert answer.json == {
        "name": "sales",
        "version": 2,
        "changed": True,
        "identifier": "host-load",
        "held_in": ["sales", "reports"],
        "skipped_in": [],
    }
    dashboard.post(f"/api/v1/instances/{before}/end")
    assert statuses(dashboard, dashboard.start("sales"))["load"] == "ON_HOLD"
    assert statuses(dashboard, before)["load"] == "WAITING"


def test_a_job_skipped_in_one_context_of_a_plan(dashboard: Served) -> None:
    answer = dashboard.post("/api/v1/plans/sales/jobs/host-check/skip", {"contexts": ["reports"]})
    assert answer.json["skipped_in"] == ["reports"]
    again = dashboard.post("/api/v1/plans/sales/jobs/host-check/enable", {"contexts": ["reports"]})
    assert (again.json["version"], again.json["skipped_in"]) == (3, [])


def test_what_is_so_already_makes_no_version(dashboard: Served) -> None:
    before = dashboard.digest()
    for order in ("release", "enable"):
        answer = dashboard.post(f"/api/v1/plans/sales/jobs/host-load/{order}")
        assert (answer.status_code, answer.json["version"], answer.json["changed"]) == (200, 1, False)
    assert dashboard.post("/api/v1/plans/sales/schedules/enable").json["changed"] is False
    assert dashboard.digest() == before


def test_schedules_of_new_instances_are_disabled_and_enabled(dashboard: Served) -> None:
    disabled = dashboard.post("/api/v1/plans/sales/schedules/disable")
    assert disabled.json == {"name": "sales", "version": 2, "changed": True, "schedules_disabled": True}
    instance_id = dashboard.start("sales")
    assert statuses(dashboard, instance_id)["six"] == "DISABLED"
    enabled = dashboard.post("/api/v1/plans/sales/schedules/enable", {"reason": "the feed is back"})
    assert (enabled.json["version"], enabled.json["schedules_disabled"]) == (3, False)


def test_who_changed_how_instances_start_and_why_is_in_the_list_of_versions(dashboard: Served) -> None:
    dashboard.post("/api/v1/plans/sales/jobs/host-load/hold", {"reason": "moving the disks"})
    newest = dashboard.get("/api/v1/plans/sales/versions").json["items"][0]
    assert (newest["command"], newest["reason"]) == ("HoldJobInPlan", "moving the disks")
    change = dashboard.get("/api/v1/plans/sales/diff").json["changes"]
    assert [(each["name"], each["field"], each["after"]) for each in change] == [
        ("host-load", "held_in", ["sales", "reports"])
    ]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("nothing/jobs/host-load/hold", {}, 404),
        ("sales/jobs/host-nothing/hold", {}, 404),
        ("sales/jobs/host-check/hold", {"contexts": ["nowhere"]}, 404),
        ("sales/jobs/host-six/hold", {}, 409),
        ("sales/jobs/host-six/skip", {}, 409),
        ("sales/jobs/host-load/hold", {"context": "sales"}, 422),
        ("sales/jobs/host-load/hold", {"contexts": "sales"}, 422),
        ("sales/jobs/host-load/pause", {}, 404),
        ("nothing/schedules/disable", {}, 404),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_makes_no_version(
    dashboard: Served, path: str, body: dict[str, Any], status: int
) -> None:
    before = dashboard.digest()
    assert dashboard.post(f"/api/v1/plans/{path}", body).status_code == status
    assert dashboard.digest() == before


def test_the_same_key_changes_a_plan_once(dashboard: Served) -> None:
    key = {"Idempotency-Key": "k1"}
    first = dashboard.post("/api/v1/plans/sales/jobs/host-load/hold", headers=key)
    dashboard.post("/api/v1/plans/sales/jobs/host-load/release")
    again = dashboard.post("/api/v1/plans/sales/jobs/host-load/hold", headers=key)
    assert again.json == first.json
    assert "held_in" not in job(dashboard, "load")


def test_changes_of_many_at_once_are_all_kept(dashboard: Served) -> None:
    paths = [f"jobs/host-{name}/{order}" for name in ("load", "check", "print") for order in ("hold", "skip")]
    paths.append("schedules/disable")
    together = threading.Barrier(len(paths))
    answers = []

    def order(path: str) -> None:
        together.wait()
        answers.append(dashboard.post(f"/api/v1/plans/sales/{path}"))

    threads = [threading.Thread(target=order, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert sorted(answer.json["version"] for answer in answers) == list(range(2, 2 + len(paths)))
    plan = dashboard.get("/api/v1/plans/sales").json["plan"]
    assert plan["schedules_disabled"] is True
    for name in ("load", "check", "print"):
        assert job(dashboard, name)["held_in"]
        assert job(dashboard, name)["skipped_in"]


def test_a_bundle_keeps_what_is_not_known_here_when_its_plan_is_changed(dashboard: Served) -> None:
    listed = {"agentName": "host", "jobName": "a", "identifier": "host-a", "childContextNames": ["old"]}
    context = {"name": "kept", "scheduledJobs": [listed], "treeViewExpandLevel": 3}
    document = {
        "contextTemplate": context,
        "schedulerJobs": [{**listed, "commandLine": "true", "ordinal": 9}],
        "contextProfiles": [{"profileName": "mine", "owner": "me"}],
    }
    assert dashboard.put("/api/v1/plans/kept", document).status_code == 201

    dashboard.post("/api/v1/plans/kept/jobs/host-a/hold")

    raw = dashboard.get("/api/v1/plans/kept/export").content
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert json.loads(files["context/kept.json"])["treeViewExpandLevel"] == 3
    assert json.loads(files["jobs/internal/a.json"])["ordinal"] == 9
    assert json.loads(files["jobs/internal/a.json"])["heldContexts"] == {"kept": True}
    assert json.loads(files["profiles/mine.json"])["owner"] == "me"
    pushed = dashboard.put("/api/v1/plans/kept", raw, headers={"Content-Type": "application/zip"})
    assert pushed.json["changed"] is False


# --- pushes upon a version ----------------------------------------------------------------------------------


def test_a_push_that_rests_on_an_older_version_is_refused(dashboard: Served) -> None:
    changed = PLAN_FILE.replace("{command: load,", "{command: load -v,")
    dashboard.post("/api/v1/plans/sales/jobs/host-load/hold")

    for dry in ("", "&dry_run=true"):
        late = dashboard.put(f"/api/v1/plans/sales?based_on=1{dry}", changed, headers=YAML)
        assert late.status_code == 409
        assert "its newest version is 2" in late.json["detail"]
    assert dashboard.put("/api/v1/plans/sales?based_on=2", changed, headers=YAML).json["version"] == 3


def test_a_push_that_rests_on_no_version_creates_a_plan_and_never_replaces_one(dashboard: Served) -> None:
    assert dashboard.put("/api/v1/plans/sales?based_on=0", PLAN_FILE, headers=YAML).status_code == 409
    fresh = PLAN_FILE.replace("plan: sales", "plan: fresh")
    refused = dashboard.put("/api/v1/plans/fresh?based_on=1", fresh, headers=YAML)
    assert (refused.status_code, "there is no such plan" in refused.text) == (409, True)
    assert dashboard.put("/api/v1/plans/fresh?based_on=0", fresh, headers=YAML).status_code == 201


# --- job templates ------------------------------------------------------------------------------------------


def template(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "agentName": "host",
        "jobName": name,
        "identifier": f"host-{name}",
        "contextName": "sales",
        "commandLine": "true",
        **fields,
    }


def test_a_template_replaces_the_one_of_its_job_and_others_stay(dashboard: Served) -> None:
    answer = dashboard.put("/rest/provision/jobs?x=1", {"jobs": [template("load", commandLine="load --all")]})

    assert answer.status_code == 200, answer.text
    assert answer.text == ""
    assert job(dashboard, "load")["command_line"] == "load --all"
    assert job(dashboard, "check")["command_line"] == "check"
    newest = dashboard.get("/api/v1/plans/sales/versions").json["items"][0]
    assert (newest["version"], newest["command"]) == (2, "ProvisionJobs")


def test_templates_come_typed_too_and_the_same_again_is_no_version(dashboard: Served) -> None:
    typed = [
        "org.ikasan.SchedulerJobWrapperImpl",
        {
            "jobs": [
                "java.util.ArrayList",
                [["org.ikasan.InternalEventDrivenJobImpl", template("load", commandLine="x", ordinal=4)]],
            ]
        },
    ]
    assert dashboard.put("/rest/provision/jobs", typed).status_code == 200
    assert dashboard.put("/rest/provision/jobs", typed).status_code == 200
    assert dashboard.get("/api/v1/plans/sales").json["version"] == 2
    raw = dashboard.get("/api/v1/plans/sales/export").content
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith("jobs/internal/load.json")]
        assert json.loads(archive.read(path))["ordinal"] == 4


def test_a_job_may_become_one_of_another_kind(dashboard: Served) -> None:
    as_schedule = template("six", commandLine=None, cronExpression="0 0 7 * * ?")
    del as_schedule["commandLine"]
    assert dashboard.put("/rest/provision/jobs", {"jobs": [as_schedule]}).status_code == 200
    assert job(dashboard, "six")["trigger"]["cron"] == "0 0 7 * * ?"
    answer = dashboard.put("/rest/provision/jobs", {"jobs": [template("six")]})
    assert answer.status_code == 200, answer.text
    assert (
        job(dashboard, "six")["type"],
        len(dashboard.get("/api/v1/plans/sales").json["plan"]["jobs"]),
    ) == (
        "command",
        4,
    )


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"jobs": [template("load", contextName="nothing")]}, 404, "no plan nothing"),
        ({"jobs": [template("load", commandLine=" ")]}, 400, "no command line"),
        ({"jobs": [template("load", successfulReturnCodes=["fine"])]}, 400, "a return code"),
        ({"jobs": [template("load"), template("x", contextName="other")]}, 400, "one plan at a time"),
        ({"jobs": [{"contextName": "sales", "commandLine": "x"}]}, 400, "agentName"),
        ({"jobs": [{**template("load"), "commandLine": None}]}, 400, "no command line"),
        ({"jobs": "all"}, 400, "a list of job templates"),
        ({"jobs": []}, 400, "no job names its plan"),
        ([], 400, "object"),
        ({"jobs": [{"agentName": "host", "jobName": "x", "contextName": "sales"}]}, 400, "what kind of job"),
    ],
)
def test_templates_that_cannot_be_are_refused_in_one_sentence_and_change_nothing(
    dashboard: Served, body: Any, status: int, words: str
) -> None:
    before = dashboard.digest()
    answer = dashboard.put("/rest/provision/jobs", body)
    assert answer.status_code == status, answer.text
    assert list(answer.json) == ["errorMessage"]
    assert words in answer.json["errorMessage"]
    assert dashboard.digest() == before


def test_a_change_made_from_a_plan_whose_notifications_were_changed_meanwhile_is_made_again(
    dashboard: Served,
) -> None:
    core = dashboard.dashboard
    older = core.plan("sales")
    settings = NotificationSettings.of(PlanNotifications(to=("ops@example.org",)), ())
    state = core.plan_as_it_stands("sales")
    fact = NotificationsSet(notifications=settings)
    core.set_notifications("sales", fact, Origin(by="test"), rests_on=state.notifications_at)

    with pytest.raises(PlanMoved):
        core.revise_plan(
            older.plan, older.documents, Origin(by="test"), rests_on=older.position, command="HoldJobInPlan"
        )
    dashboard.post("/api/v1/plans/sales/jobs/host-load/hold")

    newest = core.plan("sales")
    assert newest.plan.notifications == settings
    assert job(dashboard, "load")["held_in"] == ["sales", "reports"]
