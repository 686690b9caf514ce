"""Who is to be told of what happens to the jobs of a plan, and in which words.

A plan says it for all its jobs, by the kind of thing that happened (its *monitor type*). For a job in a
context it can be said apart, and then only that counts.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec
from msgspec.structs import replace


class MonitorType(StrEnum):
    """What people may want to be told of."""

    START = "START"
    COMPLETE = "COMPLETE"
    ERROR = "ERROR"
    OVERDUE = "OVERDUE"
    """A file has not come by the time that was agreed."""
    RUNNING_TIME = "RUNNING_TIME"
    """A command was faster than its minimum or is slower than its maximum."""


OF_PLAN = "notification"
OF_JOBS = "notification_details"
FOLDERS = (OF_PLAN, OF_JOBS)
"""Where a bundle has the documents that say it."""

TIMED = frozenset({MonitorType.OVERDUE, MonitorType.RUNNING_TIME})
"""These may become due although nothing happens."""


def is_notification_document(path: str) -> bool:
    """Whether a bundle's document says it, by its path below the top folder."""
    return path.partition("/")[0] in FOLDERS


class ForType(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is different for one monitor type; ``None`` is as for all."""

    to: tuple[str, ...] | None = None
    cc: tuple[str, ...] | None = None
    bcc: tuple[str, ...] | None = None
    subject: str | None = None
    body: str | None = None
    subject_file: str | None = None
    body_file: str | None = None


class PlanNotifications(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What holds for every job of a plan for which nothing else is said."""

    monitor_types: tuple[MonitorType, ...] = ()
    to: tuple[str, ...] = ()
    """Addresses, or ``${names}`` of placeholders that hold some."""
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()
    """Names under which the dashboard's configuration has their addresses."""
    subject: str = ""
    """The template itself; empty leaves it to the file, or to the built-in one."""
    body: str = ""
    html: bool = False
    """Whether bodies are HTML."""
    by_type: dict[MonitorType, ForType] = {}


class JobNotification(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What holds for one monitor type of one job, in one context or wherever it stands."""

    job: str
    """The job's name, without its agent."""
    monitor_type: MonitorType
    agent: str = ""
    """Told only where two agents have a job of the name."""
    context: str = ""
    """Empty: in every context."""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()
    subject: str = ""
    body: str = ""
    subject_file: str = ""
    body_file: str = ""
    html: bool = False
    variables: dict[str, str] = {}
    """More that templates may name."""


class NotificationSettings(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """All that a plan says of notifications; made with ``of``, so that what says the same is the same."""

    plan: PlanNotifications | None = None
    jobs: tuple[JobNotification, ...] = ()

    @classmethod
    def of(cls, plan: PlanNotifications | None, jobs: Iterable[JobNotification]) -> "NotificationSettings":
        """The settings, in whatever order those of jobs come."""
        return cls(plan=plan, jobs=tuple(sorted(jobs, key=_place)))

    def __bool__(self) -> bool:
        """Whether anything is said at all."""
        return self.plan is not None or bool(self.jobs)

    def mentions(self, monitor_types: Iterable[MonitorType]) -> bool:
        """Whether anybody may be told of any of these."""
        wanted = set(monitor_types)
        of_plan = self.plan is not None and not wanted.isdisjoint(self.plan.monitor_types)
        return of_plan or any(each.monitor_type in wanted for each in self.jobs)


def _place(each: JobNotification) -> tuple[object, ...]:
    return each.job, each.agent, each.context, each.monitor_type, msgspec.json.encode(each, order="sorted")


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is told whatever the plans say of it; the dashboard's configuration has it."""

    webhook: str
    monitor_types: frozenset[MonitorType]
    plans: frozenset[str] | None = None
    """``None``: of every plan."""

    def covers(self, plan: str) -> bool:
        """Whether it is told of that plan at all."""
        return self.plans is None or plan in self.plans


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to tell of one thing that happened to one job, and how."""

    context: str = ""
    """The context for which it was said apart; empty when it holds everywhere."""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    webhooks: tuple[str, ...] = ()
    subject: str = ""
    body: str = ""
    subject_file: str = ""
    body_file: str = ""
    html: bool = False
    variables: dict[str, str] = {}

    @property
    def by_mail(self) -> bool:
        """Whether anybody gets a mail."""
        return bool(self.to or self.cc or self.bcc)


def tellings(
    settings: NotificationSettings,
    monitor_type: MonitorType,
    *,
    agent: str,
    job: str,
    contexts: tuple[str, ...],
) -> tuple[Telling, ...]:
    """Whom settings have told of a job that stands in these contexts; none is nobody.

    What is said for the job apart wins over what is said for the plan. A job that runs once for several
    contexts is told of once where these say the same.
    """
    apart = [
        each
        for each in settings.jobs
        if each.monitor_type is monitor_type
        and each.job == job
        and each.agent in ("", agent)
        and (not each.context or each.context in contexts)
    ]
    if not apart:
        plan = settings.plan
        told = plan is not None and monitor_type in plan.monitor_types
        return (_of_plan(plan, monitor_type),) if plan is not None and told else ()
    in_a_context = [each for each in apart if each.context]
    found: list[Telling] = []
    for each in map(_of_job, in_a_context or apart):
        if all(replace(other, context=each.context) != each for other in found):
            found.append(each)
    return tuple(found)


def _of_plan(plan: PlanNotifications, monitor_type: MonitorType) -> Telling:
    own = plan.by_type.get(monitor_type, ForType())
    return Telling(
        to=plan.to if own.to is None else own.to,
        cc=plan.cc if own.cc is None else own.cc,
        bcc=plan.bcc if own.bcc is None else own.bcc,
        webhooks=plan.webhooks,
        subject=plan.subject if own.subject is None else own.subject,
        body=plan.body if own.body is None else own.body,
        subject_file=own.subject_file or "",
        body_file=own.body_file or "",
        html=plan.html,
    )


def _of_job(each: JobNotification) -> Telling:
    return Telling(
        context=each.context,
        to=each.to,
        cc=each.cc,
        bcc=each.bcc,
        webhooks=each.webhooks,
        subject=each.subject,
        body=each.body,
        subject_file=each.subject_file,
        body_file=each.body_file,
        html=each.html,
        variables=each.variables,
    )
