"""What is worth telling of a plan instance, to whom, and when that becomes due without anything happening.

A fact may be an *occasion*: a job started, completed or failed, a command was too fast. Two things become
due by time alone: a file that has not come and a command that still runs after its maximum. For these each
job has at most one *alarm*, which follows from the state, so that nothing need be remembered.

An occasion is of one execution of a job. Settings make notifications of it, whose ids follow from the
execution: whatever is followed twice, late or after a crash makes the same ids, and a repeated run others.
"""

from collections.abc import Iterator
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from .cron import CronExpression
from .facts import JobCompleted, JobFailed, JobStarted, Recorded
from .instance import InstanceState
from .instants import Instant, time_zone
from .job_state import JobState
from .notification_settings import MonitorType, NotificationSettings, Subscription, Telling, tellings
from .plan import CommandJob, FileJob, JobIdentifier, job_kind
from .status import JobStatus
from .topology import Topology, Unit

EMAIL = "email"
"""The channel of mails; that of a webhook is ``webhook:`` with its name."""
WEBHOOK = "webhook:"

MAX_DETAILS = 4000
"""Characters of a job's details that are told."""
_MINUTE_MS = 60_000
_NOTIFICATIONS = uuid5(NAMESPACE_URL, "urn:jobledger:notification")


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How deadlines are worked out where a plan does not say it."""

    zone: str = "UTC"
    """Of jobs and plans that name none."""
    tolerance_ms: int = 0
    """How long after its agreed time a file counts as in time."""


class Alarm(msgspec.Struct, frozen=True, gc=False):
    """When something becomes due for a job, as things stand."""

    unit: int
    monitor_type: MonitorType
    at: Instant
    execution: str


class Occasion(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to one execution of one job, or did not happen in time."""

    unit: int
    monitor_type: MonitorType
    execution: str
    """Tells executions of the job in its instance apart."""
    at: Instant
    """When it happened, or became due."""
    job: JobState
    """As it stands then."""
    elapsed_ms: int | None = None
    """Of a run that is too fast or too slow."""
    deadline: Instant | None = None
    """Of a file that is overdue."""


class Matter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """All that a notification can say: it is stored with it and outlives its plan's version."""

    monitor_type: MonitorType
    at: Instant
    plan: str
    plan_version: int
    instance_id: str
    instance_started_at: Instant
    environment_group: str | None = None
    dry_run: bool = False
    zone: str | None = None
    """The plan's time zone."""
    job: JobIdentifier
    job_name: str
    agent: str
    kind: str
    context: str
    contexts: tuple[str, ...]
    execution: str
    status: str
    started_at: Instant | None = None
    finished_at: Instant | None = None
    elapsed_ms: int | None = None
    deadline: Instant | None = None
    return_code: int | None = None
    killed: bool = False
    pid: int | None = None
    output_path: str | None = None
    error_path: str | None = None
    details: str | None = None
    min_minutes: int | None = None
    max_minutes: int | None = None
    file_path: str | None = None
    filenames: tuple[str, ...] = ()


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell on one channel; its id follows from what it is about."""

    id: UUID
    plan: str
    instance_id: UUID
    channel: str
    said_for: str
    """The context for which the settings say it apart; empty when they do not."""
    matter: Matter


# --- what happened ------------------------------------------------------------------------------------------


def occasions(
    before: InstanceState, recorded: Recorded, after: InstanceState, deadlines: Deadlines
) -> Iterator[Occasion]:
    """What a fact gives occasion to tell; ``before`` and ``after`` are the states around it."""
    fact = recorded.fact
    if not isinstance(fact, JobStarted | JobCompleted | JobFailed):
        return
    unit = after.topology.unit_of(fact.job, fact.context)
    if unit is None:
        return
    old, new = before.job(unit.index), after.job(unit.index)
    for monitor_type, elapsed_ms, deadline in _reasons(before, unit, new, recorded, deadlines):
        alarm_execution = None if deadline is None else _due(deadline)
        if monitor_type is MonitorType.RUNNING_TIME:
            alarm_execution = _run(new, _started_at(old, fact))
        yield Occasion(
            unit=unit.index,
            monitor_type=monitor_type,
            execution=alarm_execution or _execution(unit, new, fact, recorded),
            at=deadline if deadline is not None else recorded.at,
            job=new,
            elapsed_ms=elapsed_ms,
            deadline=deadline,
        )


def _reasons(
    before: InstanceState, unit: Unit, new: JobState, recorded: Recorded, deadlines: Deadlines
) -> Iterator[tuple[MonitorType, int | None, Instant | None]]:
    """The monitor types of a fact, with the time a run took and the deadline that was missed."""
    old, fact = before.job(unit.index), recorded.fact
    match fact:
        case JobStarted() if new.status is JobStatus.RUNNING:
            if old.status is not JobStatus.RUNNING or old.started_at != new.started_at:
                yield MonitorType.START, None, None
        case JobCompleted() if new.status is JobStatus.COMPLETE:
            alarm = alarm_of(before, unit, deadlines)
            came_at = fact.fired_at or fact.completed_at or recorded.at
            if alarm is not None and alarm.monitor_type is MonitorType.OVERDUE and came_at > alarm.at:
                yield MonitorType.OVERDUE, None, alarm.at
            elapsed_ms = _elapsed_ms(old, fact, recorded)
            if elapsed_ms is not None and not fact.by_hand and _is_unusual(unit, elapsed_ms):
                yield MonitorType.RUNNING_TIME, elapsed_ms, None
            yield MonitorType.COMPLETE, None, None
        case JobFailed():
            elapsed_ms = _elapsed_ms(old, fact, recorded)
            if elapsed_ms is not None and _is_slow(unit, elapsed_ms):
                yield MonitorType.RUNNING_TIME, elapsed_ms, None
            yield MonitorType.ERROR, None, None


def _started_at(old: JobState, fact: JobStarted | JobCompleted | JobFailed) -> Instant | None:
    if fact.fired_at is not None:
        return fact.fired_at
    return old.started_at if old.status is JobStatus.RUNNING else None


def _elapsed_ms(old: JobState, fact: JobCompleted | JobFailed, recorded: Recorded) -> int | None:
    started_at = _started_at(old, fact)
    return None if started_at is None else (fact.completed_at or recorded.at) - started_at


def _is_slow(unit: Unit, elapsed_ms: int) -> bool:
    longest = unit.job.max_execution_minutes if isinstance(unit.job, CommandJob) else None
    return longest is not None and elapsed_ms > longest * _MINUTE_MS


def _is_unusual(unit: Unit, elapsed_ms: int) -> bool:
    shortest = unit.job.min_execution_minutes if isinstance(unit.job, CommandJob) else None
    return _is_slow(unit, elapsed_ms) or (shortest is not None and elapsed_ms < shortest * _MINUTE_MS)


def _execution(
    unit: Unit, new: JobState, fact: JobStarted | JobCompleted | JobFailed, recorded: Recorded
) -> str:
    """The execution that a fact is of: that of an initiation, else the one that this fact alone tells of."""
    by_hand = isinstance(fact, JobCompleted) and fact.by_hand
    if isinstance(unit.job, CommandJob) and new.initiation and not by_hand:
        return f"initiation {new.initiation}"
    return f"position {recorded.position}"


def _run(job: JobState, started_at: Instant | None) -> str:
    """The same for a run that is told of while it lasts and again when it ends."""
    return f"initiation {job.initiation}" if job.initiation else f"started {started_at}"


# --- what becomes due ---------------------------------------------------------------------------------------


def alarm_of(state: InstanceState, unit: Unit, deadlines: Deadlines) -> Alarm | None:
    """When something becomes due for a job, as things stand; ``None``: nothing will by time alone.

    A file is waited for until it comes once: one that came and was reset is not overdue.
    """
    if state.ended or state.prepared:
        return None
    job = state.job(unit.index)
    match unit.job:
        case FileJob() if job.status is JobStatus.WAITING and job.fired_at is None:
            at = _deadline(state, unit.job, deadlines)
            if at is not None:
                return Alarm(unit.index, MonitorType.OVERDUE, at, _due(at))
        case CommandJob(max_execution_minutes=int(longest)) if job.status is JobStatus.RUNNING:
            if job.started_at is not None:
                at = job.started_at + longest * _MINUTE_MS
                return Alarm(unit.index, MonitorType.RUNNING_TIME, at, _run(job, job.started_at))
    return None


def _due(deadline: Instant) -> str:
    return f"due {deadline}"


def _deadline(state: InstanceState, job: FileJob, deadlines: Deadlines) -> Instant | None:
    """The first agreed time after the instance's start, and the tolerance."""
    if job.sla_cron is None:
        return None
    began = state.started_at if state.due_at is None else state.due_at
    zone = time_zone(job.trigger.zone or state.topology.plan.window.zone or deadlines.zone)
    agreed = CronExpression.parse(job.sla_cron).next_fire(began, zone)
    return None if agreed is None else agreed + deadlines.tolerance_ms


def timed_units(topology: Topology) -> tuple[Unit, ...]:
    """The jobs of a plan that can have an alarm at all."""
    return tuple(unit for unit in topology.units if _is_timed(unit))


def _is_timed(unit: Unit) -> bool:
    match unit.job:
        case FileJob(sla_cron=str()) | CommandJob(max_execution_minutes=int()):
            return True
        case _:
            return False


def rung(state: InstanceState, alarm: Alarm, deadlines: Deadlines) -> Occasion | None:
    """What an alarm that has come due gives occasion to tell; ``None`` when things have moved on."""
    unit = state.topology.units[alarm.unit]
    if alarm_of(state, unit, deadlines) != alarm:
        return None
    job = state.job(unit.index)
    overdue = alarm.monitor_type is MonitorType.OVERDUE
    return Occasion(
        unit=unit.index,
        monitor_type=alarm.monitor_type,
        execution=alarm.execution,
        at=alarm.at,
        job=job,
        elapsed_ms=None if overdue or job.started_at is None else alarm.at - job.started_at,
        deadline=alarm.at if overdue else None,
    )


# --- whom to tell -------------------------------------------------------------------------------------------


def notifications(
    state: InstanceState,
    occasion: Occasion,
    settings: NotificationSettings,
    subscriptions: tuple[Subscription, ...] = (),
) -> Iterator[Notification]:
    """What is to be told of an occasion, one for each channel and each way of saying it."""
    unit = state.topology.units[occasion.unit]
    found = tellings(
        settings,
        occasion.monitor_type,
        agent=unit.job.agent,
        job=unit.job.name,
        contexts=unit.contexts,
    )
    for telling in found:
        if telling.by_mail:
            yield _notification(state, unit, occasion, EMAIL, telling.context)
    for name in _webhooks(state.plan, occasion.monitor_type, found, subscriptions):
        yield _notification(state, unit, occasion, f"{WEBHOOK}{name}", "")


def _webhooks(
    plan: str,
    monitor_type: MonitorType,
    found: tuple[Telling, ...],
    subscriptions: tuple[Subscription, ...],
) -> dict[str, None]:
    named = dict.fromkeys(name for telling in found for name in telling.webhooks)
    for each in subscriptions:
        if monitor_type in each.monitor_types and each.covers(plan):
            named[each.webhook] = None
    return named


def _notification(
    state: InstanceState, unit: Unit, occasion: Occasion, channel: str, said_for: str
) -> Notification:
    matter = _matter(state, unit, occasion, said_for)
    about = (
        str(state.instance_id),
        unit.identifier,
        unit.context or "",
        occasion.execution,
        occasion.monitor_type.value,
        channel,
        said_for,
    )
    return Notification(
        id=uuid5(_NOTIFICATIONS, "\n".join(about)),
        plan=state.plan,
        instance_id=state.instance_id,
        channel=channel,
        said_for=said_for,
        matter=matter,
    )


def _matter(state: InstanceState, unit: Unit, occasion: Occasion, said_for: str) -> Matter:
    template, job = unit.job, occasion.job
    told_of_a_run = occasion.monitor_type is not MonitorType.OVERDUE
    command = template if isinstance(template, CommandJob) else None
    file = template if isinstance(template, FileJob) else None
    return Matter(
        monitor_type=occasion.monitor_type,
        at=occasion.at,
        plan=state.plan,
        plan_version=state.plan_version,
        instance_id=str(state.instance_id),
        instance_started_at=state.started_at,
        environment_group=state.environment_group,
        dry_run=state.dry_run is not None,
        zone=state.topology.plan.window.zone,
        job=unit.identifier,
        job_name=template.name,
        agent=template.agent,
        kind=job_kind(template),
        context=said_for or unit.context or unit.contexts[0],
        contexts=unit.contexts,
        execution=occasion.execution,
        status=job.status.value,
        started_at=job.started_at if told_of_a_run else None,
        finished_at=job.finished_at,
        elapsed_ms=occasion.elapsed_ms,
        deadline=occasion.deadline,
        return_code=job.return_code,
        killed=job.killed,
        pid=job.pid,
        output_path=job.output_path,
        error_path=job.error_path,
        details=None if job.details is None else job.details[:MAX_DETAILS],
        min_minutes=None if command is None else command.min_execution_minutes,
        max_minutes=None if command is None else command.max_execution_minutes,
        file_path=None if file is None else file.file_path,
        filenames=() if file is None else file.filenames,
    )
