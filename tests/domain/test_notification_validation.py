from pathlib import Path

import pytest
from jobledger.domain.notification_settings import (
    ForType,
    JobNotification,
    MonitorType,
    NotificationSettings,
    PlanNotifications,
)
from jobledger.domain.plan import (
    CommandJob,
    Context,
    EventJob,
    EventKind,
    FileJob,
    JobPlan,
    ListedJob,
    Trigger,
)
from jobledger.domain.problems import Problem
from jobledger.domain.validation import validate
from jobledger.domain.wording import VARIABLES

ERROR, OVERDUE, RUNNING_TIME = MonitorType.ERROR, MonitorType.OVERDUE, MonitorType.RUNNING_TIME
NINE = "0 0 9 * * ?"
JOBS = (
    CommandJob(agent="host", name="load", command_line="true"),
    CommandJob(agent="host", name="long", command_line="true", max_execution_minutes=5),
    FileJob(agent="host", name="prices", trigger=Trigger(cron="0 * * * * ?"), filenames=("x",)),
    FileJob(agent="host", name="rates", trigger=Trigger(cron="0 * * * * ?"), filenames=("x",), sla_cron=NINE),
    EventJob.listed(EventKind.LOCAL, "go"),
)


def problems(*jobs: JobNotification, plan: PlanNotifications | None = None) -> list[Problem]:
    root = Context(name="eod", jobs=tuple(ListedJob(job.agent, job.name) for job in JOBS))
    job_plan = JobPlan(root=root, jobs=JOBS, notifications=NotificationSettings.of(plan, jobs))
    return [each for each in validate(job_plan) if each.pointer.startswith("/notifications")]


def of_job(job: str, monitor_type: MonitorType = ERROR, **fields: object) -> JobNotification:
    return JobNotification(job=job, monitor_type=monitor_type, **{"to": ("a@example.org",), **fields})  # type: ignore[arg-type]


def test_notifications_that_tell_somebody_of_something_have_no_problem() -> None:
    plan = PlanNotifications(
        monitor_types=tuple(MonitorType),
        to=("ops@example.org", "${oncall}"),
        subject="{{ plan }}: {{ message }}",
        by_type={ERROR: ForType(body="{{ EMAIL_BODY_LINK_1 }}")},
    )
    jobs = (
        of_job("load", context="eod", subject="{{ ticket }}", variables={"ticket": "T-1"}),
        of_job("rates", OVERDUE),
        of_job("long", RUNNING_TIME),
        of_job("go", MonitorType.COMPLETE),
    )
    assert problems(*jobs, plan=plan) == []


@pytest.mark.parametrize(
    ("notification", "told"),
    [
        (of_job("laod"), "no context lists a job 'laod'"),
        (of_job("load", context="inner"), "context 'inner' lists no job 'load'"),
        (of_job("prices", OVERDUE), "SLA"),
        (of_job("load", OVERDUE), "SLA"),
        (of_job("load", RUNNING_TIME), "neither a minimum nor a maximum"),
        (of_job("load", to=("nobody",)), "neither an address nor a placeholder"),
    ],
)
def test_what_will_never_tell_anybody_is_warned_of(notification: JobNotification, told: str) -> None:
    (problem,) = problems(notification)
    assert problem.severity == "warning"
    assert told in problem.message
    assert problem.pointer == "/notifications/jobs/0"


def test_what_is_said_twice_is_warned_of() -> None:
    (problem,) = problems(of_job("load"), of_job("load", to=("b@example.org",)))
    assert (problem.severity, problem.pointer) == ("warning", "/notifications/jobs/1")


def test_a_plan_that_tells_nobody_of_a_monitor_type_is_warned_of() -> None:
    plan = PlanNotifications(
        monitor_types=(ERROR, OVERDUE), by_type={OVERDUE: ForType(to=("a@example.org",))}
    )
    (problem,) = problems(plan=plan)
    assert "ERROR" in problem.message
    unlisted = PlanNotifications(to=("a@example.org",), by_type={OVERDUE: ForType(cc=("b@example.org",))})
    (problem,) = problems(plan=unlisted)
    assert "none of the plan's monitor types" in problem.message


@pytest.mark.parametrize("template", ["{{ job", "{{ jbo }}", "{{ job.__class__ }}x{{ range(9) }}"])
@pytest.mark.parametrize("field", ["subject", "body"])
def test_a_template_that_cannot_be_used_is_an_error_with_its_place(field: str, template: str) -> None:
    (problem,) = problems(of_job("load", **{field: template}))
    assert (problem.severity, problem.job, problem.pointer) == (
        "error",
        "host-load",
        f"/notifications/jobs/0/{field}",
    )
    (problem,) = problems(
        plan=PlanNotifications(
            monitor_types=(ERROR,), to=("a@b",), by_type={ERROR: ForType(**{field: template})}
        )
    )
    assert problem.pointer == f"/notifications/plan/by_type/ERROR/{field}"


def test_the_documentation_names_every_variable_that_templates_may_name() -> None:
    text = (Path(__file__).parents[2] / "docs" / "plan-file.md").read_text()
    section = text.partition("## Notifications")[2]
    missing = [name for name in VARIABLES - {"links"} if f"`{name}`" not in section]
    assert not missing
