"""Who is told of what, as bundles of the reference scheduler and plan files say it."""

import json

import msgspec
import pytest
from jobledger.domain.notification_settings import (
    ForType,
    JobNotification,
    MonitorType,
    NotificationSettings,
    PlanNotifications,
)
from jobledger.http.wire.bundles import (
    Bundle,
    read_json,
    read_plan_file,
    read_zip,
    write_tokenised_zip,
    write_zip,
)
from jobledger.http.wire.documents import WireError
from wire_fixtures import files_in, real_document, zip_of

AT = 1_700_000_000_000
OF_PLAN = {
    "contextName": "nightly",
    "monitorTypes": ["ERROR", "OVERDUE", "ERROR"],
    "emailSendTo": ["${oncall}", "ops@example.org"],
    "emailSendToByMonitorType": {"OVERDUE": ["late@example.org"]},
    "emailSendCcByMonitorType": {"ERROR": ["desk@example.org"]},
    "emailSendBccByMonitorType": {},
    "emailSubjectNotificationTemplate": {"ERROR": "${directory}error-subject.txt"},
    "emailBodyNotificationTemplate": {"ERROR": "error-body.html", "START": "start-body.html"},
    "html": True,
    "somethingOfItsOwn": {"kept": [1, 2]},
}
OF_JOB = {
    "jobName": "load",
    "contextName": "nightly",
    "childContextName": "inner",
    "monitorType": "COMPLETE",
    "emailNotificationTemplateParameters": {"EMAIL_BODY_TEXT": "done", "EMAIL_SUBJECT_TEXT": None},
    "emailSendTo": ["owner@example.org"],
    "emailSubject": "",
    "emailBody": "{{ EMAIL_JOB_NAME }}",
    "emailBodyTemplate": "body.txt",
    "html": False,
}
SETTINGS = NotificationSettings(
    plan=PlanNotifications(
        monitor_types=(MonitorType.ERROR, MonitorType.OVERDUE),
        to=("${oncall}", "ops@example.org"),
        html=True,
        by_type={
            MonitorType.OVERDUE: ForType(to=("late@example.org",)),
            MonitorType.ERROR: ForType(
                cc=("desk@example.org",),
                subject_file="${directory}error-subject.txt",
                body_file="error-body.html",
            ),
            MonitorType.START: ForType(body_file="start-body.html"),
        },
    ),
    jobs=(
        JobNotification(
            job="load",
            monitor_type=MonitorType.COMPLETE,
            context="inner",
            to=("owner@example.org",),
            body="{{ EMAIL_JOB_NAME }}",
            body_file="body.txt",
            variables={"EMAIL_BODY_TEXT": "done"},
        ),
    ),
)


def typed(value: object) -> object:
    """As the reference writes it: every list and object beside the name of its Java class."""
    match value:
        case list():
            return ["java.util.ArrayList", [typed(each) for each in value]]
        case dict():
            return ["java.util.HashMap", {name: typed(inner) for name, inner in value.items()}]
        case _:
            return value


def bundle(**more: object) -> Bundle:
    return read_json(json.dumps({"contextTemplate": {"name": "nightly"}, **more}).encode())


def in_a_zip(*of_jobs: object, **of_plan: object) -> Bundle:
    files = {"context/nightly.json": {"name": "nightly"}}
    files |= {f"notification/{name}.json": document for name, document in of_plan.items()}
    files |= {f"notification_details/{number}.json": document for number, document in enumerate(of_jobs)}
    return read_zip(zip_of({path: json.dumps(document).encode() for path, document in files.items()}))


def test_a_zip_and_a_json_document_say_the_same() -> None:
    assert in_a_zip(OF_JOB, nightly=OF_PLAN).plan.notifications == SETTINGS
    found = bundle(emailNotificationContext=OF_PLAN, emailNotificationDetails=[OF_JOB])
    assert found.plan.notifications == SETTINGS


def test_type_wrappers_make_no_difference() -> None:
    found = bundle(emailNotificationContext=typed(OF_PLAN), emailNotificationDetails=typed([OF_JOB]))
    assert found.plan.notifications == SETTINGS


def test_a_bundle_without_any_says_nothing() -> None:
    found = bundle(emailNotificationContext=None, emailNotificationDetails=None)
    assert not found.plan.notifications


def test_what_is_not_known_is_exported_as_it_came() -> None:
    found = bundle(emailNotificationContext=OF_PLAN, emailNotificationDetails=[OF_JOB])
    files = files_in(write_zip(found.plan, found.documents, AT))
    assert json.loads(files["notification/nightly.json"]) == OF_PLAN
    assert json.loads(files["notification_details/load.json"]) == OF_JOB
    assert read_zip(write_zip(found.plan, found.documents, AT)) == found


def test_the_real_bundle_with_notifications_is_exported_and_read_back_the_same() -> None:
    files = files_in(real_document("MyFirstJobPlan.zip"))
    of_plan = OF_PLAN | {"contextName": "MyFirstJobPlan"}
    of_job = OF_JOB | {"jobName": "SampleCommandExecutionJob1", "childContextName": "MyFirstJobPlan"}
    files["notification/MyFirstJobPlan.json"] = json.dumps(typed(of_plan)).encode()
    files["notification_details/SampleCommandExecutionJob1.json"] = json.dumps(of_job).encode()
    found = read_zip(zip_of(files))
    assert found.plan.notifications.plan == SETTINGS.plan
    exported = write_zip(found.plan, found.documents, AT)
    assert files_in(exported) == files
    assert read_zip(exported) == found


def test_a_tokenised_export_of_the_real_bundle_names_no_environment() -> None:
    files = files_in(real_document("MyFirstJobPlanWithTokens.zip"))
    files["notification/MyFirstJobPlan.json"] = json.dumps(
        OF_PLAN | {"contextName": "MyFirstJobPlan_[[env.name]]"}
    ).encode()
    found = read_zip(zip_of(files), {"agent.name": "host", "env.name": "PROD", "context.name": "x"})
    assert found.plan.notifications.plan == SETTINGS.plan
    exported = files_in(write_tokenised_zip(found.plan, found.documents, AT))
    (path,) = [each for each in exported if each.startswith("notification/")]
    assert "PROD" not in path
    if found.plan.name == "MyFirstJobPlan_PROD":
        assert json.loads(exported[path])["contextName"] == "MyFirstJobPlan_[[env.name]]"


def test_a_monitor_type_that_does_not_exist_is_warned_of_and_kept_in_the_document() -> None:
    found = in_a_zip(OF_JOB | {"monitorType": "WARNING"}, nightly=OF_PLAN | {"monitorTypes": ["INFO"]})
    assert found.plan.notifications.jobs == ()
    assert found.plan.notifications.plan is not None
    assert found.plan.notifications.plan.monitor_types == ()
    told = [each.message for each in found.warnings]
    assert any("'WARNING'" in each for each in told)
    assert any("'INFO'" in each for each in told)
    assert json.loads(found.documents["notification_details/0.json"])["monitorType"] == "WARNING"


def test_of_several_documents_for_a_plan_the_first_counts_and_that_is_warned_of() -> None:
    found = in_a_zip(a=OF_PLAN, b={"monitorTypes": ["START"]})
    assert found.plan.notifications.plan == SETTINGS.plan
    assert "notification/a.json, notification/b.json" in found.warnings[0].message


def test_flaws_are_told_with_the_document_and_the_place() -> None:
    with pytest.raises(WireError) as refused:
        in_a_zip({"emailSendTo": [1]}, nightly={"html": "yes", "emailSendToByMonitorType": {"ERROR": "x"}})
    found = {(problem.document, problem.pointer) for problem in refused.value.problems}
    assert found == {
        ("notification/nightly.json", "/html"),
        ("notification/nightly.json", "/emailSendToByMonitorType/ERROR"),
        ("notification_details/0.json", "/emailSendTo/0"),
        ("notification_details/0.json", "/jobName"),
        ("notification_details/0.json", "/monitorType"),
    }
    with pytest.raises(WireError) as refused:
        read_zip(zip_of({"context/p.json": b'{"name": "p"}', "notification/p.json": b"{"}))
    assert refused.value.problems[0].document == "notification/p.json"


def test_a_changed_setting_replaces_the_documents_that_said_it() -> None:
    found = in_a_zip(OF_JOB, nightly=OF_PLAN)
    changed = msgspec.structs.replace(
        found.plan, notifications=NotificationSettings(plan=PlanNotifications(to=("new@example.org",)))
    )
    again = read_zip(write_zip(changed, found.documents, AT))
    assert again.plan == changed
    assert [path for path in again.documents if path.startswith("notification")] == [
        "notification/nightly.json"
    ]


# --- plan files ---------------------------------------------------------------------------------------------

PLAN_FILE = """
plan: nightly
agent: host
notifications:
  on: [error, overdue]
  to: [ops@example.org, "${oncall}"]
  cc: desk@example.org
  webhooks: incidents
  subject: "{{ plan }}: {{ message }}"
  overdue: {to: late@example.org, body_file: late.txt}
jobs:
  load:
    command: ./load.sh
    notifications:
      error: {to: owner@example.org, subject: "look at {{ job_name }}", variables: {EMAIL_BODY_TEXT: at once}}
      complete: {webhooks: [audit], html: true, body: "<b>{{ job }}</b>"}
"""


def test_a_plan_file_says_it_for_the_plan_and_for_a_job() -> None:
    found = read_plan_file(PLAN_FILE)
    assert found.plan.notifications == NotificationSettings.of(
        PlanNotifications(
            monitor_types=(MonitorType.ERROR, MonitorType.OVERDUE),
            to=("ops@example.org", "${oncall}"),
            cc=("desk@example.org",),
            webhooks=("incidents",),
            subject="{{ plan }}: {{ message }}",
            by_type={MonitorType.OVERDUE: ForType(to=("late@example.org",), body_file="late.txt")},
        ),
        [
            JobNotification(
                job="load",
                agent="host",
                monitor_type=MonitorType.ERROR,
                to=("owner@example.org",),
                subject="look at {{ job_name }}",
                variables={"EMAIL_BODY_TEXT": "at once"},
            ),
            JobNotification(
                job="load",
                agent="host",
                monitor_type=MonitorType.COMPLETE,
                webhooks=("audit",),
                html=True,
                body="<b>{{ job }}</b>",
            ),
        ],
    )
    assert read_zip(write_zip(found.plan, found.documents, AT)) == found


def test_what_is_misspelt_in_a_plan_file_is_told() -> None:
    text = """
plan: nightly
agent: host
notifications: {on: [eror], tos: x, error: {subjet: x}}
jobs:
  load: {command: x, notifications: {faild: {}, error: {too: x}}}
"""
    with pytest.raises(WireError) as refused:
        read_plan_file(text)
    assert {problem.pointer for problem in refused.value.problems} == {
        "/notifications/on",
        "/notifications/tos",
        "/notifications/error/subjet",
        "/jobs/load/notifications/faild",
        "/jobs/load/notifications/error/too",
    }
