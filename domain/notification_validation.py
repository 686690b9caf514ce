"""What is wrong with the notifications of a plan: what tells nobody, and templates that cannot be used."""

from collections.abc import Collection, Iterator

from .notification_settings import JobNotification, MonitorType, PlanNotifications
from .plan import CommandJob, FileJob, JobPlan
from .problems import Place, Problem
from .templates import TemplateRefused, unknown_names
from .wording import VARIABLES


def notification_problems(plan: JobPlan) -> Iterator[Problem]:
    """Every problem of a plan's notifications."""
    settings = plan.notifications
    if settings.plan is not None:
        yield from _of_plan(plan, settings.plan)
    listed = {(context.name, job.name) for context in plan.root.walk() for job in context.jobs}
    seen: dict[tuple[str, ...], None] = {}
    for index, each in enumerate(settings.jobs):
        place, pointer = _place(plan, each), f"/notifications/jobs/{index}"
        yield from _of_job(plan, each, listed, pointer)
        key = (each.job, each.agent, each.context, each.monitor_type)
        if key in seen:
            yield place.warning(
                f"{each.monitor_type} stands here more than once: all of them are told", pointer
            )
        seen[key] = None


def _place(plan: JobPlan, each: JobNotification) -> Place:
    found = (job for job in plan.jobs if job.name == each.job and each.agent in ("", job.agent))
    job = next(found, None)
    return Place(each.context or None, each.job if job is None else job.identifier)


def _of_plan(plan: JobPlan, settings: PlanNotifications) -> Iterator[Problem]:
    place, pointer = Place(context=plan.name), "/notifications/plan"
    yield from _addresses(place, (*settings.to, *settings.cc, *settings.bcc), pointer)
    yield from _template(place, settings.subject, f"{pointer}/subject")
    yield from _template(place, settings.body, f"{pointer}/body")
    for monitor_type, own in settings.by_type.items():
        inner = f"{pointer}/by_type/{monitor_type}"
        yield from _addresses(place, (*(own.to or ()), *(own.cc or ()), *(own.bcc or ())), inner)
        yield from _template(place, own.subject or "", f"{inner}/subject")
        yield from _template(place, own.body or "", f"{inner}/body")
        if monitor_type not in settings.monitor_types:
            yield place.warning(
                f"nobody is told of {monitor_type}: it is none of the plan's monitor types; add it to them",
                inner,
            )
    for monitor_type in settings.monitor_types:
        own_to = settings.by_type[monitor_type].to if monitor_type in settings.by_type else None
        anybody = own_to or settings.to or settings.cc or settings.bcc or settings.webhooks
        if not anybody:
            yield place.warning(f"{monitor_type} is to be told to nobody; name some", f"{pointer}/to")


def _of_job(
    plan: JobPlan, each: JobNotification, listed: Collection[tuple[str, str]], pointer: str
) -> Iterator[Problem]:
    place = _place(plan, each)
    yield from _addresses(place, (*each.to, *each.cc, *each.bcc), pointer)
    known = frozenset(each.variables)
    yield from _template(place, each.subject, f"{pointer}/subject", known)
    yield from _template(place, each.body, f"{pointer}/body", known)
    jobs = [job for job in plan.jobs if job.name == each.job and each.agent in ("", job.agent)]
    stands = any(name == each.job and each.context in ("", context) for context, name in listed)
    if not stands:
        where = f"context {each.context!r}" if each.context else "no context"
        told = (
            f"{where} lists no job {each.job!r}" if each.context else f"no context lists a job {each.job!r}"
        )
        yield place.warning(f"{told}: nobody is told of it; correct the names", pointer)
    elif each.monitor_type is MonitorType.OVERDUE and not any(_has_sla(job) for job in jobs):
        yield place.warning(
            "only a file watcher with an SLA cron expression is ever overdue; give it one", pointer
        )
    elif each.monitor_type is MonitorType.RUNNING_TIME and not any(_has_limits(job) for job in jobs):
        yield place.warning(
            "the job has neither a minimum nor a maximum execution time; give it one", pointer
        )


def _has_sla(job: object) -> bool:
    return isinstance(job, FileJob) and job.sla_cron is not None


def _has_limits(job: object) -> bool:
    return isinstance(job, CommandJob) and (job.min_execution_minutes, job.max_execution_minutes) != (
        None,
        None,
    )


def _addresses(place: Place, addresses: Collection[str], pointer: str) -> Iterator[Problem]:
    for address in addresses:
        if "@" not in address and "${" not in address:
            yield place.warning(
                f"{address[:80]!r} is neither an address nor a placeholder, and gets no mail; correct it",
                pointer,
            )


def _template(
    place: Place, text: str, pointer: str, known: frozenset[str] = frozenset()
) -> Iterator[Problem]:
    if not text:
        return
    try:
        unknown = unknown_names(text, VARIABLES | known)
    except TemplateRefused as error:
        yield place.error(f"this template cannot be used: {error}", pointer)
        return
    if unknown:
        yield place.error(
            f"this template names what is not known: {', '.join(unknown)}; "
            f"known are {', '.join(sorted(VARIABLES | known))}",
            pointer,
        )
