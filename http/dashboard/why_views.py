"""Why a job is not running, and why it ran, as clients see it.

Lists are cut at a length that the caller gives, beside the number of all; of a chain of causes its beginning
and its end are kept.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from ...actors.dashboard.explanations import BlockerFound, Explanation, event_in
from ...domain.causes import raised_by
from ...domain.facts import JobCompleted, Recorded
from ...domain.instance import InstanceState
from ...domain.lock_waits import LockWait
from ...domain.plan import FileJob, ScheduleJob
from ...domain.status import JobStatus
from ...domain.unmet import AllOf, AnyOf, Lacking, Unmet, Wait
from ...domain.why import BlockerKind, Explained
from ...storage.records import InboxEntry
from ..wire.lock_views import WaitView
from ..wire.views import FactView, JobView, event_view, fact_view, job_view, written


class LacksView(msgspec.Struct, frozen=True, kw_only=True):
    """What a dependency lacks: one of these, and no other."""

    all_of: tuple["LacksView", ...] | UnsetType = UNSET
    """Each of them has to come true."""
    any_of: tuple["LacksView", ...] | UnsetType = UNSET
    """One of them has to come true."""
    lacking: str | UnsetType = UNSET
    """The job would have to be satisfied, and is not."""
    preventing: str | UnsetType = UNSET
    """The job would have to be not satisfied, and is."""


class DependencyWait(msgspec.Struct, frozen=True, kw_only=True):
    """What one dependency of a job lacks; of several dependencies each could start it."""

    context: str
    lacks: LacksView


class ExplainedView(msgspec.Struct, frozen=True, kw_only=True):
    """A job that has not run, with what it waits for."""

    identifier: str
    contexts: tuple[str, ...]
    status: JobStatus
    blockers: tuple[str, ...]
    """The kinds of those of the job itself."""
    waits: tuple[DependencyWait, ...]


class AnsweringView(msgspec.Struct, frozen=True, kw_only=True):
    """The agent of a job, and whether it answers."""

    name: str
    announced: bool
    """Whether it ever said where it is."""
    reachable: bool
    last_seen: str | None
    running: int
    queued: int
    problems: tuple[str, ...]
    """What it says of itself that a person should see to."""


class LetterView(msgspec.Struct, frozen=True, kw_only=True):
    """An event about a job that could not be processed and waits for a person."""

    id: int
    received_at: str
    error: str | None
    event: dict[str, Any]


class TriggerView(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedule or a file watcher waits for."""

    cron: str | None
    zone: str | None
    file_path: str | UnsetType = UNSET
    filenames: tuple[str, ...] | UnsetType = UNSET


class BlockerView(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has to change before the job can start."""

    kind: BlockerKind
    context: str
    """The first in which the job stands."""
    job: JobView
    fact: FactView | None
    """Since which it is so, with who did it and why; ``null``: since the beginning."""
    agent: AnsweringView | None
    """``null`` for a job that no agent has anything to do with."""
    undelivered: bool
    """The agent has not taken the order to run it yet."""
    lock: WaitView | UnsetType = UNSET
    trigger: TriggerView | UnsetType = UNSET
    dead_letters: tuple[LetterView, ...]


class CauseStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a chain of causes."""

    fact: FactView
    event: dict[str, Any] | UnsetType = UNSET
    """The inbound event that the fact was made of."""
    skipped: FactView | UnsetType = UNSET
    """Since which a job that was passed over was to be."""
    raised_by: str | UnsetType = UNSET
    """The instance that raised a global event."""


class WhyView(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job is not running, or why it ran."""

    instance_id: str
    plan: str
    position: int
    context: str
    job: JobView
    latest: FactView | None
    """Since which the job does what it does; ``null``: since the beginning."""
    ended: FactView | None
    """The end of an instance that has ended."""
    blockers: tuple[BlockerView, ...]
    """What really stands in the way; nothing for a job that runs or has run."""
    blockers_count: int
    jobs: tuple[ExplainedView, ...]
    """The job, then what it waits for, directly or not: each once, and before what it waits for itself."""
    jobs_count: int
    chain: tuple[CauseStep, ...]
    """What the job did last, what caused that, and so on back to the first event or order."""
    chain_count: int


WaitOf: TypeAlias = Callable[[LockWait], WaitView]
"""How a wait for a lock looks to the caller."""


def why_view(told: Explanation, wait_of: WaitOf, *, limit: int) -> WhyView:
    """An explanation, with up to ``limit`` items of each list."""
    state = told.state
    return WhyView(
        instance_id=str(state.instance_id),
        plan=state.plan,
        position=state.position,
        context=told.unit.contexts[0],
        job=job_view(state, told.unit),
        latest=_fact_if_any(told.latest),
        ended=_fact_if_any(told.ended),
        blockers=tuple(_blocker(state, each, wait_of, limit) for each in told.blockers[:limit]),
        blockers_count=len(told.why.blockers),
        jobs=tuple(_explained(state, each) for each in told.why.jobs[:limit]),
        jobs_count=len(told.why.jobs),
        chain=tuple(_step(told, each) for each in _ends_of(told.chain, limit)),
        chain_count=len(told.chain),
    )


def _ends_of(chain: Sequence[Recorded], limit: int) -> Sequence[Recorded]:
    """All of it, or the latest causes and, last, the first of all."""
    return chain if len(chain) <= limit else (*chain[: limit - 1], chain[-1])


def _fact_if_any(recorded: Recorded | None) -> FactView | None:
    return None if recorded is None else fact_view(recorded)


def _step(told: Explanation, recorded: Recorded) -> CauseStep:
    fact, heard = recorded.fact, recorded.cause.position
    event = None if heard is None else told.events.get(heard)
    skipped = told.skips.get(recorded.position)
    raiser = raised_by(fact.event_id) if isinstance(fact, JobCompleted) else None
    return CauseStep(
        fact=fact_view(recorded),
        event=UNSET if event is None else event_view(event),
        skipped=UNSET if skipped is None else fact_view(skipped),
        raised_by=UNSET if raiser is None else str(raiser),
    )


def _explained(state: InstanceState, explained: Explained) -> ExplainedView:
    unit = state.topology.units[explained.unit]
    return ExplainedView(
        identifier=unit.identifier,
        contexts=unit.contexts,
        status=state.job(unit.index).status,
        blockers=tuple(dict.fromkeys(each.kind.value for each in explained.blockers)),
        waits=tuple(_wait(each) for each in explained.waits),
    )


def _wait(wait: Wait) -> DependencyWait:
    return DependencyWait(context=wait.context, lacks=lacks_view(wait.lacks))


def lacks_view(part: Unmet) -> LacksView:
    """What a grouping lacks, as a tree."""
    match part:
        case AllOf(parts=parts):
            return LacksView(all_of=tuple(lacks_view(each) for each in parts))
        case AnyOf(parts=parts):
            return LacksView(any_of=tuple(lacks_view(each) for each in parts))
        case Lacking(job=job):
            return LacksView(lacking=job)
        case _:
            return LacksView(preventing=part.job)


def _blocker(state: InstanceState, found: BlockerFound, wait_of: WaitOf, limit: int) -> BlockerView:
    return BlockerView(
        kind=found.blocker.kind,
        context=found.unit.contexts[0],
        job=job_view(state, found.unit),
        fact=_fact_if_any(found.fact),
        agent=_answering(found),
        undelivered=found.undelivered,
        lock=UNSET if found.lock is None else wait_of(found.lock),
        trigger=_trigger(found),
        dead_letters=tuple(_letters(found.letters[:limit])),
    )


_OF_AGENTS = frozenset({BlockerKind.RUNNING, BlockerKind.ON_ITS_WAY, BlockerKind.SCHEDULE, BlockerKind.FILE})


def _answering(found: BlockerFound) -> AnsweringView | None:
    if found.blocker.kind not in _OF_AGENTS:
        return None
    view = found.agent
    return AnsweringView(
        name=found.unit.job.agent,
        announced=view is not None,
        reachable=view is not None and view.reachable,
        last_seen=None if view is None else written(view.last_seen),
        running=0 if view is None else view.running,
        queued=0 if view is None else view.queued,
        problems=() if view is None else view.problems,
    )


def _trigger(found: BlockerFound) -> TriggerView | UnsetType:
    match found.unit.job:
        case FileJob() as job:
            return TriggerView(
                cron=job.trigger.cron,
                zone=job.trigger.zone,
                file_path=UNSET if job.file_path is None else job.file_path,
                filenames=job.filenames,
            )
        case ScheduleJob() as job:
            return TriggerView(cron=job.trigger.cron, zone=job.trigger.zone)
        case _:
            return UNSET


def _letters(entries: Iterable[InboxEntry]) -> Iterator[LetterView]:
    for entry in entries:
        event = event_in(entry)
        yield LetterView(
            id=entry.position,
            received_at=written(entry.received_at),
            error=entry.error,
            event={} if event is None else event_view(event),
        )
