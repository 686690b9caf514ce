from jobledger.domain.notification_settings import (
    ForType,
    JobNotification,
    MonitorType,
    NotificationSettings,
    PlanNotifications,
    Telling,
    tellings,
)

ERROR, START, OVERDUE = MonitorType.ERROR, MonitorType.START, MonitorType.OVERDUE
OF_PLAN = PlanNotifications(
    monitor_types=(ERROR, OVERDUE),
    to=("ops",),
    cc=("desk",),
    webhooks=("incidents",),
    by_type={OVERDUE: ForType(to=("late",), bcc=("audit",), subject_file="late.txt")},
)


def of_job(**fields: object) -> JobNotification:
    return JobNotification(**{"job": "load", "monitor_type": ERROR, "to": ("owner",), **fields})  # type: ignore[arg-type]


def told(
    *jobs: JobNotification,
    plan: PlanNotifications | None = OF_PLAN,
    monitor_type: MonitorType = ERROR,
    contexts: tuple[str, ...] = ("eod",),
) -> tuple[Telling, ...]:
    settings = NotificationSettings.of(plan, jobs)
    return tellings(settings, monitor_type, agent="host", job="load", contexts=contexts)


def test_a_plan_tells_of_the_monitor_types_that_it_lists_and_of_no_other() -> None:
    assert told() == (Telling(to=("ops",), cc=("desk",), webhooks=("incidents",)),)
    assert told(monitor_type=START) == ()
    assert told(plan=None) == ()


def test_each_list_of_recipients_is_overridden_by_monitor_type_on_its_own() -> None:
    (found,) = told(monitor_type=OVERDUE)
    assert (found.to, found.cc, found.bcc) == (("late",), ("desk",), ("audit",))
    assert found.subject_file == "late.txt"


def test_what_is_said_for_a_job_apart_wins_over_what_is_said_for_its_plan() -> None:
    assert told(of_job(context="eod")) == (Telling(context="eod", to=("owner",)),)
    assert told(of_job(context="other"))[0].to == ("ops",)
    assert told(of_job(monitor_type=START))[0].to == ("ops",)
    assert told(of_job(job="check"))[0].to == ("ops",)
    assert told(of_job(agent="elsewhere"))[0].to == ("ops",)


def test_a_job_for_which_nobody_is_named_apart_is_told_to_nobody() -> None:
    (found,) = told(of_job(to=()))
    assert not found.by_mail
    assert found.webhooks == ()


def test_what_is_said_for_a_context_wins_over_what_is_said_for_wherever_the_job_stands() -> None:
    found = told(of_job(), of_job(context="eod", to=("here",)))
    assert [each.to for each in found] == [("here",)]


def test_a_job_that_runs_once_for_several_contexts_is_told_of_once_where_they_say_the_same() -> None:
    contexts = ("eod", "inner", "third")
    same = told(of_job(context="eod"), of_job(context="inner"), contexts=contexts)
    assert [each.to for each in same] == [("owner",)]
    different = told(of_job(context="eod"), of_job(context="inner", to=("other",)), contexts=contexts)
    assert sorted(each.to for each in different) == [("other",), ("owner",)]


def test_the_order_in_which_jobs_are_given_makes_no_difference() -> None:
    jobs = [of_job(context="b"), of_job(context="a"), of_job(job="check")]
    assert NotificationSettings.of(None, jobs) == NotificationSettings.of(None, reversed(jobs))
