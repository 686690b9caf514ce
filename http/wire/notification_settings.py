"""What a plan says of notifications, from and to the JSON of bundles and of the compatible services.

A bundle has a document for the whole plan (``notification/``) and one for each monitor type of each job that
is told of apart (``notification_details/``). What the reference scheduler does not know (``webhooks``, texts
by monitor type, a job's agent) are fields beside its own.
"""

from collections.abc import Iterable, Iterator, Mapping

from ...domain.notification_settings import (
    OF_JOBS,
    OF_PLAN,
    ForType,
    JobNotification,
    MonitorType,
    NotificationSettings,
    PlanNotifications,
)
from ...domain.problems import Place, Problem
from .documents import Reader, encode_readably
from .file_names import FileNames
from .job_templates import JsonObject

_NAMES = ", ".join(MonitorType)
_BY_TYPE = {
    "to": "emailSendToByMonitorType",
    "cc": "emailSendCcByMonitorType",
    "bcc": "emailSendBccByMonitorType",
}
_WORDS_BY_TYPE = {
    "subject": "emailSubjectByMonitorType",
    "body": "emailBodyByMonitorType",
    "subject_file": "emailSubjectNotificationTemplate",
    "body_file": "emailBodyNotificationTemplate",
}


def read_settings(
    of_plan: Iterable[Reader], of_jobs: Iterable[Reader], warnings: list[Problem]
) -> NotificationSettings:
    """What documents say; flaws are noted in the readers, what is left out in ``warnings``."""
    plans = list(of_plan)
    if len(plans) > 1:
        places = ", ".join(each.document or each.pointer for each in plans)
        told = f"notifications of the plan stand in {places}; the first of them counts, remove the others"
        warnings.append(Place().warning(told, "/notifications/plan"))
    jobs = (read_job_notification(each, warnings) for each in of_jobs)
    return NotificationSettings.of(
        read_plan_notifications(plans[0], warnings) if plans else None,
        (each for each in jobs if each is not None),
    )


def read_plan_notifications(reader: Reader, warnings: list[Problem]) -> PlanNotifications:
    """What holds for every job of a plan."""
    types = (_known(each, reader, warnings) for each in reader.texts("monitorTypes"))
    return PlanNotifications(
        monitor_types=tuple(dict.fromkeys(each for each in types if each is not None)),
        to=reader.texts("emailSendTo"),
        cc=reader.texts("emailSendCc"),
        bcc=reader.texts("emailSendBcc"),
        webhooks=reader.texts("webhooks"),
        subject=reader.text("emailSubject"),
        body=reader.text("emailBody"),
        html=reader.flag("html"),
        by_type=_by_type(reader, warnings),
    )


def _by_type(reader: Reader, warnings: list[Problem]) -> dict[MonitorType, ForType]:
    fields = (*_BY_TYPE.values(), *_WORDS_BY_TYPE.values())
    inners = {field: inner for field in fields if (inner := reader.object(field)) is not None}
    found = {}
    for key in dict.fromkeys(key for inner in inners.values() for key in inner.fields):
        monitor_type = _known(key, reader, warnings)
        if monitor_type is not None:
            for_type = ForType(
                to=_texts(inners.get(_BY_TYPE["to"]), key),
                cc=_texts(inners.get(_BY_TYPE["cc"]), key),
                bcc=_texts(inners.get(_BY_TYPE["bcc"]), key),
                subject=_text(inners.get(_WORDS_BY_TYPE["subject"]), key),
                body=_text(inners.get(_WORDS_BY_TYPE["body"]), key),
                subject_file=_text(inners.get(_WORDS_BY_TYPE["subject_file"]), key),
                body_file=_text(inners.get(_WORDS_BY_TYPE["body_file"]), key),
            )
            if for_type != ForType():
                found[monitor_type] = for_type
    return found


def _texts(reader: Reader | None, key: str) -> tuple[str, ...] | None:
    return None if reader is None or reader.fields.get(key) is None else reader.texts(key)


def _text(reader: Reader | None, key: str) -> str | None:
    return None if reader is None or reader.fields.get(key) is None else reader.text(key)


def read_job_notification(reader: Reader, warnings: list[Problem]) -> JobNotification | None:
    """What holds for one job, or ``None`` for a monitor type that does not exist."""
    text = reader.required_text("monitorType")
    job = reader.required_text("jobName")
    monitor_type = _known(text, reader, warnings) if text else None
    variables = reader.object("emailNotificationTemplateParameters")
    found = JobNotification(
        job=job,
        monitor_type=monitor_type or MonitorType.ERROR,
        agent=reader.text("agentName"),
        context=reader.text("childContextName"),
        to=reader.texts("emailSendTo"),
        cc=reader.texts("emailSendCc"),
        bcc=reader.texts("emailSendBcc"),
        webhooks=reader.texts("webhooks"),
        subject=reader.text("emailSubject"),
        body=reader.text("emailBody"),
        subject_file=reader.text("emailSubjectTemplate"),
        body_file=reader.text("emailBodyTemplate"),
        html=reader.flag("html"),
        variables={} if variables is None else _without_null(variables),
    )
    return None if monitor_type is None else found


def _without_null(variables: Reader) -> dict[str, str]:
    return {name: variables.text(name) for name, value in variables.fields.items() if value is not None}


def _known(text: str, reader: Reader, warnings: list[Problem]) -> MonitorType | None:
    if text in MonitorType.__members__:
        return MonitorType(text)
    warning = reader.place.warning(
        f"{text[:80]!r} is no monitor type and tells nobody; there are {_NAMES}", "/notifications"
    )
    if warning not in warnings:
        warnings.append(warning)
    return None


# --- writing ------------------------------------------------------------------------------------------------


def settings_documents(settings: NotificationSettings, plan: str, names: FileNames) -> dict[str, bytes]:
    """The documents of settings that came without any."""
    documents = {}
    if settings.plan is not None:
        fields = plan_notifications_fields(settings.plan, plan)
        documents[names.path(OF_PLAN, plan)] = encode_readably(fields)
    for each in settings.jobs:
        documents[names.path(OF_JOBS, each.job)] = encode_readably(job_notification_fields(each, plan))
    return documents


def plan_notifications_fields(settings: PlanNotifications, plan: str) -> JsonObject:
    """What holds for every job, as a JSON object."""
    return {
        "contextName": plan,
        "monitorTypes": list(settings.monitor_types),
        "emailSendTo": list(settings.to),
        "emailSendCc": list(settings.cc),
        "emailSendBcc": list(settings.bcc),
        **{field: dict(_of_type(settings.by_type, name)) for name, field in _BY_TYPE.items()},
        **{field: dict(_of_type(settings.by_type, name)) for name, field in _WORDS_BY_TYPE.items()},
        "emailSubject": settings.subject,
        "emailBody": settings.body,
        "webhooks": list(settings.webhooks),
        "html": settings.html,
    }


def _of_type(by_type: Mapping[MonitorType, ForType], name: str) -> Iterator[tuple[str, object]]:
    for monitor_type, for_type in by_type.items():
        value = getattr(for_type, name)
        if value is not None:
            yield monitor_type.value, value


def job_notification_fields(settings: JobNotification, plan: str) -> JsonObject:
    """What holds for one job, as a JSON object."""
    return {
        "jobName": settings.job,
        **({"agentName": settings.agent} if settings.agent else {}),
        "contextName": plan,
        "childContextName": settings.context,
        "monitorType": settings.monitor_type.value,
        "emailNotificationTemplateParameters": settings.variables,
        "emailSendTo": list(settings.to),
        "emailSendCc": list(settings.cc),
        "emailSendBcc": list(settings.bcc),
        "emailSubject": settings.subject,
        "emailSubjectTemplate": settings.subject_file,
        "emailBody": settings.body,
        "emailBodyTemplate": settings.body_file,
        "webhooks": list(settings.webhooks),
        "html": settings.html,
    }
