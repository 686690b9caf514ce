"""Notifications as plan files write them: for the plan, and for a job apart."""

from ...domain.notification_settings import ForType, JobNotification, MonitorType, PlanNotifications
from .documents import Reader
from .plan_yaml_fields import refuse_unknown, texts

_BY_NAME = {each.value.lower(): each for each in MonitorType}
_NAMES = ", ".join(_BY_NAME)
_OF_TYPE = frozenset({"to", "cc", "bcc", "subject", "body", "subject_file", "body_file"})
_OF_PLAN = frozenset({"on", "to", "cc", "bcc", "webhooks", "subject", "body", "html", *_BY_NAME})
_OF_JOB = frozenset({*_OF_TYPE, "webhooks", "html", "variables"})


def read_plan_section(reader: Reader) -> PlanNotifications | None:
    """The ``notifications`` of a plan."""
    section = reader.object("notifications")
    if section is None:
        return None
    refuse_unknown(section, _OF_PLAN)
    return PlanNotifications(
        monitor_types=_monitor_types(section),
        to=texts(section, "to"),
        cc=texts(section, "cc"),
        bcc=texts(section, "bcc"),
        webhooks=texts(section, "webhooks"),
        subject=section.text("subject"),
        body=section.text("body"),
        html=section.flag("html"),
        by_type={
            monitor_type: for_type
            for name, monitor_type in _BY_NAME.items()
            if (for_type := _for_type(section, name)) != ForType()
        },
    )


def _monitor_types(section: Reader) -> tuple[MonitorType, ...]:
    found: dict[MonitorType, None] = {}
    for text in texts(section, "on"):
        if text in _BY_NAME:
            found[_BY_NAME[text]] = None
        else:
            section.flaw("on", f"{text[:40]!r} is none of {_NAMES}")
    return tuple(found)


def _for_type(section: Reader, name: str) -> ForType:
    inner = section.object(name)
    if inner is None:
        return ForType()
    refuse_unknown(inner, _OF_TYPE)
    given = {field for field, value in inner.fields.items() if value is not None}
    return ForType(
        to=texts(inner, "to") if "to" in given else None,
        cc=texts(inner, "cc") if "cc" in given else None,
        bcc=texts(inner, "bcc") if "bcc" in given else None,
        subject=inner.text("subject") if "subject" in given else None,
        body=inner.text("body") if "body" in given else None,
        subject_file=inner.text("subject_file") if "subject_file" in given else None,
        body_file=inner.text("body_file") if "body_file" in given else None,
    )


def read_job_section(entry: Reader, *, job: str, agent: str) -> tuple[JobNotification, ...]:
    """The ``notifications`` of a job; they hold in every context that it stands in."""
    section = entry.object("notifications")
    if section is None:
        return ()
    refuse_unknown(section, frozenset(_BY_NAME))
    return tuple(
        _job_notification(inner, monitor_type, job, agent)
        for name, monitor_type in _BY_NAME.items()
        if (inner := section.object(name)) is not None
    )


def _job_notification(inner: Reader, monitor_type: MonitorType, job: str, agent: str) -> JobNotification:
    refuse_unknown(inner, _OF_JOB)
    variables = inner.object("variables")
    return JobNotification(
        job=job,
        monitor_type=monitor_type,
        agent=agent,
        to=texts(inner, "to"),
        cc=texts(inner, "cc"),
        bcc=texts(inner, "bcc"),
        webhooks=texts(inner, "webhooks"),
        subject=inner.text("subject"),
        body=inner.text("body"),
        subject_file=inner.text("subject_file"),
        body_file=inner.text("body_file"),
        html=inner.flag("html"),
        variables={} if variables is None else {name: variables.text(name) for name in variables.fields},
    )
