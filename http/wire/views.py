"""How things look to clients of our own API: instances as trees, facts, rows of the audit, agents.

Times are RFC 3339 in UTC. A field that is not known yet is ``null``; one that does not apply is left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from ...domain.facts import Cause, PlanPushed, Recorded
from ...domain.instance import InstanceState
from ...domain.instants import Instant, rfc3339
from ...domain.job_state import JobState
from ...domain.permissions import permitted
from ...domain.plan import job_kind
from ...domain.secret_values import covered, masked
from ...domain.status import JobStatus
from ...domain.topology import LockUse, Unit

_LATEST: Instant = 253_402_300_799_999
"""The last millisecond that RFC 3339 can write, at the end of the year 9999."""


def written(at: Instant) -> str:
    """An instant as RFC 3339; one beyond the year 9999 as the end of that year."""
    return rfc3339(min(max(at, 0), _LATEST))


def written_if_known(at: Instant | None) -> str | None:
    """As ``written``, and ``None`` for what has not happened."""
    return None if at is None else written(at)


class HolderView(msgspec.Struct, frozen=True, kw_only=True):
    """A job that holds a lock."""

    instance_id: str
    job: str
    context: str | None
    """``null`` for a job that is one in all its contexts."""


class JobLockView(msgspec.Struct, frozen=True, kw_only=True):
    """The lock that a job takes part in."""

    name: str
    count: int
    """How much of it the job takes."""
    holds: bool
    waiting_since: str | None
    held_by: tuple[HolderView, ...] | UnsetType = UNSET
    """The first of those that hold the lock now; left out of trees, which tell of the instance alone."""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job in one context of an instance."""

    identifier: str
    agent: str
    name: str
    kind: str
    """command, schedule, file, global, local, start, terminal or bridging."""
    context: str | UnsetType = UNSET
    """The only context that it is for; left out of a job that is one and the same wherever it stands."""
    status: JobStatus
    held: bool
    skipped: bool
    initiated: bool
    acknowledged: bool
    killed: bool
    started_at: str | None
    finished_at: str | None
    return_code: int | None
    pid: int | None
    details: str | None
    permitted: tuple[str, ...]
    """The commands that it accepts now."""
    lock: JobLockView | UnsetType = UNSET
    """Only of a job that takes part in one."""


class ContextView(msgspec.Struct, frozen=True, kw_only=True):
    """A context of an instance with all beneath it."""

    name: str
    status: str
    jobs: tuple[JobView, ...]
    contexts: tuple["ContextView", ...]


class InstanceView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan instance at one position of its log."""

    instance_id: str
    plan: str
    plan_version: int
    status: str
    position: int
    started_at: str | None
    """When it began, or is to begin; nothing when it ended before its start."""
    due_at: str | None
    ends_at: str | None
    ended_at: str | None
    end_reason: str | None
    environment_group: str | None
    business_date: str | None
    """The day that it is for, in the time zone of the plan."""
    parameters: dict[str, str]
    """Given when it was started or set since, as they were written; secrets are covered."""
    source_parameters: dict[str, str]
    """What the dashboard's parameter source for the plan says, likewise."""
    counts: dict[str, int]
    """Jobs by status; a job counts once in every context that lists it."""
    root: ContextView


class CauseView(msgspec.Struct, frozen=True, kw_only=True):
    """Why a fact is: an event at a position of the inbox, or a command."""

    position: int | UnsetType = UNSET
    command: str | UnsetType = UNSET
    by: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class FactView(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in its place in the log of an instance."""

    position: int
    at: str
    type: str
    data: dict[str, Any]
    cause: CauseView


class ChangeView(msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}):
    """A job's status in one context, before and after."""

    context: str
    job: str
    before: str
    after: str


class AuditRowView(msgspec.Struct, frozen=True, kw_only=True):
    """What one event, or one command, led to."""

    at: str
    event: dict[str, Any] | str
    """The event as it came, or the name of the command."""
    cause: CauseView
    changed: tuple[ChangeView, ...]
    initiated: tuple[str, ...]
    before: int
    after: int


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent, as the dashboard knows it."""

    name: str
    url: str | None
    host: str | None
    version: str | None
    reachable: bool
    last_seen: str | None
    running: int
    queued: int
    problems: tuple[str, ...] = ()
    """What it says of itself that a person should see to, such as a full disk."""
    refused: str | None = None
    """The latest order that it refused for good, and why."""


def instance_view(state: InstanceState) -> InstanceView:
    """The whole tree of an instance."""
    return InstanceView(
        instance_id=str(state.instance_id),
        plan=state.plan,
        plan_version=state.plan_version,
        status=state.status,
        position=state.position,
        started_at=None if state.never_began else written(state.started_at),
        due_at=written_if_known(state.due_at),
        ends_at=written_if_known(state.ends_at),
        ended_at=written_if_known(state.ended_at),
        end_reason=state.end_reason,
        environment_group=state.environment_group,
        business_date=_business_date(state),
        parameters=masked(state.parameters),
        source_parameters=masked(state.source_parameters),
        counts=state.counts(),
        root=context_view(state, 0),
    )


def _business_date(state: InstanceState) -> str | None:
    dates = state.dates
    return None if dates is None else dates.business_date.isoformat()


def context_view(state: InstanceState, context: int) -> ContextView:
    """A context, by its index, with all beneath it."""
    compiled = state.topology.contexts[context]
    units = state.topology.units
    return ContextView(
        name=compiled.name,
        status=state.context_status(context).value,
        jobs=tuple(job_view(state, units[unit]) for unit in compiled.units),
        contexts=tuple(context_view(state, child) for child in compiled.children),
    )


def job_view(
    state: InstanceState, unit: Unit, holders: tuple[HolderView, ...] | UnsetType = UNSET
) -> JobView:
    """A job as it stands now."""
    job = state.job(unit.index)
    return JobView(
        identifier=unit.identifier,
        agent=unit.job.agent,
        name=unit.job.name,
        kind=job_kind(unit.job),
        context=UNSET if unit.context is None else unit.context,
        status=job.status,
        held=job.status is JobStatus.ON_HOLD,
        skipped=job.status in _PASSED_OVER,
        initiated=job.initiated,
        acknowledged=job.acknowledged,
        killed=job.killed,
        started_at=written_if_known(job.started_at),
        finished_at=written_if_known(job.finished_at),
        return_code=job.return_code,
        pid=job.pid,
        details=job.details,
        permitted=permitted(state, unit),
        lock=UNSET if unit.lock is None else _lock_view(unit.lock, job, holders),
    )


def _lock_view(use: LockUse, job: JobState, holders: tuple[HolderView, ...] | UnsetType) -> JobLockView:
    queued = job.status is JobStatus.LOCK_QUEUED
    since = None if job.pending is None or not queued else job.pending.since
    return JobLockView(
        name=use.lock.name,
        count=use.count,
        holds=bool(job.lock_ticket) and not queued,
        waiting_since=written_if_known(since),
        held_by=holders,
    )


_PASSED_OVER = frozenset({JobStatus.SKIPPED, JobStatus.SKIPPED_RUNNING, JobStatus.SKIPPED_COMPLETE})


def fact_view(recorded: Recorded) -> FactView:
    """A fact, with its instants written out; without the plan that a push brought and its documents."""
    fact = recorded.fact
    if isinstance(fact, PlanPushed):
        told = {"type": "PlanPushed", "version": fact.version, "previous_agents": fact.previous_agents}
    else:
        told = msgspec.to_builtins(fact)
    told.pop("documents", None)
    data = covered(told)
    kind = data.pop("type")
    return FactView(
        position=recorded.position,
        at=written(recorded.at),
        type=kind,
        data=dict(_with_times(data)),
        cause=cause_view(recorded.cause),
    )


_INSTANTS = frozenset(
    {"due_at", "ends_at", "fired_at", "completed_at", "next_fire_at", "through", "accounted_through"}
)


def _with_times(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields of a fact or an event, the instants among them as RFC 3339."""
    for name, value in data.items():
        yield name, written(value) if name in _INSTANTS and isinstance(value, int) else value


def event_view(event: msgspec.Struct | Mapping[str, Any]) -> dict[str, Any]:
    """A process event in our own words, with its instants written out."""
    data = event if isinstance(event, Mapping) else msgspec.to_builtins(event)
    return dict(_with_times(data))


def cause_view(cause: Cause) -> CauseView:
    """Why a fact is; what does not apply is left out."""

    def known(value: str | None) -> str | UnsetType:
        return UNSET if value is None else value

    return CauseView(
        position=UNSET if cause.position is None else cause.position,
        command=known(cause.command),
        by=known(cause.by),
        source=known(cause.source),
        reason=known(cause.reason),
    )
