"""Who is told of what, kept and read as existing clients of the reference scheduler do it."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_over_http import Served, served
from jobledger.domain.notification_settings import MonitorType, NotificationSettings
from jobledger.http.wire.bundles import read_zip

PLANS, JOBS = "/rest/emailNotificationContext", "/rest/emailNotificationDetails"
OF_PLAN = {
    "contextName": "nightly",
    "monitorTypes": ["ERROR", "OVERDUE"],
    "emailSendTo": ["${oncall}"],
    "emailSendToByMonitorType": {"OVERDUE": ["late@example.org"]},
    "html": False,
    "ofTheirOwn": 7,
}
OF_JOB = {
    "jobName": "check",
    "contextName": "nightly",
    "childContextName": "nightly checks",
    "monitorType": "ERROR",
    "emailSendTo": ["owner@example.org"],
    "emailSubject": "{{ EMAIL_JOB_NAME }} is in error",
}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def settings(here: Served, plan: str = "nightly") -> NotificationSettings:
    return here.dashboard.plan(plan).plan.notifications


def test_what_is_saved_for_a_plan_holds_and_is_given_back(here: Served) -> None:
    version = here.dashboard.plan("nightly").version
    assert here.put(f"{PLANS}/save", OF_PLAN).status_code == 200
    answer = here.get(f"{PLANS}/get/nightly/10/0")
    assert answer.status_code == 200
    found = answer.json
    assert (found["totalNumberOfResults"], found["queryResponseTime"]) == (1, 0)
    (record,) = found["resultList"]
    assert (record["id"], record["contextName"]) == ("nightly", "nightly")
    assert record["emailNotificationContext"] == OF_PLAN
    assert record["modifiedBy"] == "anonymous"
    assert record["modifiedTimestamp"] > record["timestamp"]
    plan = settings(here).plan
    assert plan is not None
    assert plan.to == ("${oncall}",)
    assert here.dashboard.plan("nightly").version == version


def test_what_is_saved_again_replaces_what_was_there(here: Served) -> None:
    here.put(f"{PLANS}/save", OF_PLAN)
    here.put(f"{PLANS}/save", {"contextName": "nightly", "monitorTypes": ["START"], "emailSendTo": ["a@b"]})
    found = here.get(f"{PLANS}/get/nightly/-1/0")
    assert found.status_code == 200
    assert [each["emailNotificationContext"]["monitorTypes"] for each in found.json["resultList"]] == [
        ["START"]
    ]


def test_what_is_deleted_for_a_plan_is_gone(here: Served) -> None:
    here.put(f"{PLANS}/save", OF_PLAN)
    here.put(f"{JOBS}/save", OF_JOB)
    assert here.call("DELETE", f"{PLANS}/delete/nightly").status_code == 200
    assert here.get(f"{PLANS}/get/nightly/10/0").json["resultList"] == []
    assert settings(here).plan is None
    assert len(settings(here).jobs) == 1


def test_what_is_saved_for_a_job_is_found_by_job_context_and_monitor_type(here: Served) -> None:
    assert here.put(f"{JOBS}/save", OF_JOB).status_code == 200
    here.put(f"{JOBS}/save", OF_JOB | {"monitorType": "START"})
    here.put(f"{JOBS}/save", OF_JOB | {"emailSendTo": ["other@example.org"]})
    record = here.get(f"{JOBS}/getById/check/nightly checks/ERROR").json
    assert record["emailNotificationDetails"]["emailSendTo"] == ["other@example.org"]
    assert (record["jobName"], record["childContextName"], record["monitorType"]) == (
        "check",
        "nightly checks",
        "ERROR",
    )
    found = here.get(f"{JOBS}/get/nightly/10/0").json
    assert found["totalNumberOfResults"] == 2
    assert len(here.get(f"{JOBS}/get/nightly/1/1").json["resultList"]) == 1
    assert here.call("DELETE", f"{JOBS}/deleteById/check/nightly checks/ERROR").status_code == 200
    assert here.get(f"{JOBS}/getById/check/nightly checks/ERROR").status_code == 404
    assert here.get(f"{JOBS}/getById/check/nightly checks/START").status_code == 200
    assert here.call("DELETE", f"{JOBS}/deleteByContextName/nightly").status_code == 200
    assert settings(here).jobs == ()


@pytest.mark.parametrize("wrapped", ["list", "object", "typed"])
def test_several_are_saved_at_once_as_a_list_or_as_the_reference_wraps_it(here: Served, wrapped: str) -> None:
    several: Any = [OF_JOB | {"monitorType": each} for each in ("START", "COMPLETE", "ERROR")]
    if wrapped == "object":
        several = {"emailNotificationDetails": several}
    elif wrapped == "typed":
        inner = [["org.x.EmailNotificationDetailsImpl", each] for each in several]
        several = [
            "org.x.EmailNotificationDetailsWrapperImpl",
            {"emailNotificationDetails": ["java.util.ArrayList", inner]},
        ]
    assert here.put(f"{JOBS}/saveAll", several).status_code == 200
    assert {each.monitor_type for each in settings(here).jobs} == {
        MonitorType.START,
        MonitorType.COMPLETE,
        MonitorType.ERROR,
    }


def test_of_several_that_are_saved_at_once_all_or_none_are_kept(here: Served) -> None:
    here.push(here.dashboard.plan("nightly").plan)
    bad = [OF_JOB, OF_JOB | {"monitorType": "WARNING"}]
    before = here.digest()
    assert here.put(f"{JOBS}/saveAll", bad).status_code == 400
    assert here.put(f"{JOBS}/saveAll", [OF_JOB, OF_JOB | {"contextName": "unknown"}]).status_code == 404
    assert here.digest() == before


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        (f"{PLANS}/save", b"bad json", 400, "no JSON"),
        (f"{PLANS}/save", [], 400, "object"),
        (f"{PLANS}/save", {}, 400, "name of the plan"),
        (f"{PLANS}/save", OF_PLAN | {"contextName": "unknown"}, 404, "unknown"),
        (f"{PLANS}/save", OF_PLAN | {"monitorTypes": ["WARNING"]}, 400, "WARNING"),
        (f"{PLANS}/save", OF_PLAN | {"emailSendTo": "a@b"}, 400, "list"),
        (f"{JOBS}/save", OF_JOB | {"monitorType": None}, 400, "required"),
        (f"{JOBS}/save", OF_JOB | {"emailBody": "{{ nothing"}, 400, "template"),
        (f"{JOBS}/saveAll", {"x": 1}, 400, "list"),
        (f"{JOBS}/saveAll", [1], 400, "object"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_changes_nothing(
    here: Served, path: str, body: Any, status: int, told: str
) -> None:
    before = here.digest()
    answer = here.put(path, body)
    assert answer.status_code == status
    assert told in answer.json["errorMessage"]
    assert here.digest() == before


def test_what_a_bundle_brought_along_does_not_keep_anybody_from_changing_the_rest(here: Served) -> None:
    bundle = {
        "contextTemplate": {"name": "imported"},
        "emailNotificationDetails": [
            {"jobName": "a", "childContextName": "imported", "monitorType": "WARNING"}
        ],
    }
    assert here.put("/rest/provision/context", bundle).status_code == 200
    assert here.put(f"{PLANS}/save", OF_PLAN | {"contextName": "imported"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{PLANS}/get/unknown/10/0", 404),
        ("GET", f"{JOBS}/get/unknown/10/0", 404),
        ("DELETE", f"{PLANS}/delete/unknown", 404),
        ("DELETE", f"{JOBS}/deleteByContextName/unknown", 404),
        ("GET", f"{JOBS}/getById/check/nightly checks/ERROR", 404),
        ("DELETE", f"{JOBS}/deleteById/check/nightly checks/ERROR", 404),
        ("GET", f"{JOBS}/getById/check/nightly checks/WARNING", 400),
        ("GET", f"{PLANS}/get/nightly/x/0", 404),
    ],
)
def test_what_is_not_there_is_not_found(here: Served, method: str, path: str, status: int) -> None:
    answer = here.call(method, path)
    assert answer.status_code == status
    assert answer.json["errorMessage"]


def test_where_several_plans_say_it_one_of_them_has_to_be_named(here: Served) -> None:
    plan = here.dashboard.plan("nightly").plan
    bundle = {
        "contextTemplate": {"name": "weekly", "contexts": [{"name": "nightly checks"}]},
        "emailNotificationDetails": [OF_JOB],
    }
    assert here.put("/rest/provision/context", bundle).status_code == 200
    here.put(f"{JOBS}/save", OF_JOB)
    path = f"{JOBS}/getById/check/nightly checks/ERROR"
    ambiguous = here.get(path)
    assert (ambiguous.status_code, "nightly, weekly" in ambiguous.json["errorMessage"]) == (400, True)
    assert here.get(f"{path}?contextName=weekly").json["contextName"] == "weekly"
    assert (
        here.call("DELETE", f"{JOBS}/deleteById/check/nightly checks/ERROR?contextName=weekly").status_code
        == 200
    )
    assert here.get(path).json["contextName"] == plan.name


def test_what_was_saved_is_exported_and_a_push_of_that_changes_nothing(here: Served) -> None:
    here.put(f"{PLANS}/save", OF_PLAN)
    here.put(f"{JOBS}/save", OF_JOB)
    exported = here.get("/rest/export/context/nightly").content
    assert read_zip(exported).plan.notifications == settings(here)
    headers = {"Content-Type": "application/zip"}
    pushed = here.put("/api/v1/plans/nightly", exported, headers=headers)
    assert here.put("/api/v1/plans/nightly", exported, headers=headers).json["changed"] is False
    assert pushed.status_code == 200
    assert settings(here).plan is not None


def test_changes_that_are_made_at_once_are_all_kept(here: Served) -> None:
    def save(number: int) -> None:
        assert here.put(f"{JOBS}/save", OF_JOB | {"jobName": f"job {number}"}).status_code == 200

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {each.job for each in settings(here).jobs} == {f"job {number}" for number in range(4)}
