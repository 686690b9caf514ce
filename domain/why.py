"""Why a job is not running: what it waits for, and what really blocks that, followed to the roots.

A job that waits for others is explained by them, they by theirs, and so on; each is looked at once. What
cannot be explained by another job of the plan is a *blocker*: somebody or something has to do something
about it.
"""

from collections.abc import Iterator
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from .circles import grounded
from .instance import InstanceState
from .job_state import JobState
from .plan import EventJob, EventKind, FileJob, JobIdentifier, ScheduleJob
from .status import JobStatus
from .topology import CompiledDependency, Unit
from .unmet import Lacking, Preventing, Wait, leaves, unmet


class BlockerKind(StrEnum):
    """What has to be done about a job, or what one has to wait for."""

    ENDED = "ended"
    """The instance has ended: nothing more happens in it."""
    PREPARED = "prepared"
    """The instance has not started."""
    SKIPPED = "skipped"
    """It is to be passed over; it never runs."""
    HELD = "held"
    """It has to be released."""
    SCHEDULES_DISABLED = "schedules disabled"
    """Its schedule counts again once schedules are switched on."""
    RUNNING = "running"
    ON_ITS_WAY = "on its way"
    """Its agent has not reported its start."""
    LOCK = "lock"
    """It is ready, and others hold its lock."""
    ERROR = "error"
    """It failed, and nobody has accepted that."""
    SCHEDULE = "schedule"
    """Its clock has not struck."""
    FILE = "file"
    """Its file has not come."""
    EVENT = "event"
    """Its global event has not been raised, here or elsewhere."""
    RAISED = "raised"
    """Its global event is raised, and has not been heard here."""
    BY_HAND = "by hand"
    """It depends on nothing: somebody has to submit it."""
    UNFIRED = "unfired"
    """What it waits for is so already, and nothing more is to come that starts it: it has to be submitted."""
    PREVENTS = "prevents"
    """It succeeded, and something waits for its not having done so: only its reset helps."""
    CIRCLE = "circle"
    """It waits for itself, by way of others: one of them has to be submitted."""


class Blocker(msgspec.Struct, frozen=True):
    """Something that has to change before other jobs can start."""

    kind: BlockerKind
    unit: int
    position: int
    """Of the fact since which it is so; 0: since the beginning."""


class Explained(msgspec.Struct, frozen=True):
    """A job that has not run, and why not."""

    unit: int
    blockers: tuple[Blocker, ...] = ()
    """Of the job itself."""
    waits: tuple[Wait, ...] = ()


class Why(msgspec.Struct, frozen=True):
    """Why a job is not running; nothing at all for one that runs or has run."""

    jobs: tuple[Explained, ...] = ()
    """The job itself, then what it waits for, directly or not; each once, a job before what it waits for."""

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        """All of them, in the order in which they were come upon."""
        return tuple(dict.fromkeys(blocker for job in self.jobs for blocker in job.blockers))


def why(state: InstanceState, unit: Unit) -> Why:
    """Why the job is not running, or is not told to an agent."""
    job = state.job(unit.index)
    if job.status in _RAN and not job.on_its_way:
        return Why()
    if state.ended:
        return Why((Explained(unit.index, (Blocker(BlockerKind.ENDED, unit.index, 0),)),))
    first, *others = _Search(state).explained(unit)
    own = list(first.blockers)
    if job.status is JobStatus.SKIPPED:
        own.insert(0, Blocker(BlockerKind.SKIPPED, unit.index, job.since))
    if state.prepared:
        own.insert(0, Blocker(BlockerKind.PREPARED, unit.index, 0))
    return Why((replace(first, blockers=tuple(own)), *others))


_RAN = frozenset(
    {
        JobStatus.RUNNING,
        JobStatus.SKIPPED_RUNNING,
        JobStatus.SKIPPED_COMPLETE,
        JobStatus.COMPLETE,
        JobStatus.ERROR,
    }
)
_BY_STATUS = {
    JobStatus.RUNNING: BlockerKind.RUNNING,
    JobStatus.SKIPPED_RUNNING: BlockerKind.RUNNING,
    JobStatus.LOCK_QUEUED: BlockerKind.LOCK,
    JobStatus.ON_HOLD: BlockerKind.HELD,
    JobStatus.DISABLED: BlockerKind.SCHEDULES_DISABLED,
    JobStatus.ERROR: BlockerKind.ERROR,
}


class _Search:
    """Follows what jobs wait for, depth first and without recursion: chains may be long."""

    def __init__(self, state: InstanceState) -> None:
        self._state = state
        self._topology = state.topology
        self._found: dict[int, Explained] = {}
        self._on_circles: dict[int, None] = {}

    def explained(self, unit: Unit) -> list[Explained]:
        """The job and what it waits for; a circle that nothing breaks is a blocker too."""
        self._follow(unit)
        runs = self._grounded()
        for index in self._on_circles:
            if index not in runs:
                found = self._found[index]
                blocker = Blocker(BlockerKind.CIRCLE, index, self._state.job(index).since)
                self._found[index] = replace(found, blockers=(*found.blockers, blocker))
        return list(self._found.values())

    def _follow(self, unit: Unit) -> None:
        path = [(unit.index, self._enter(unit))]
        on_path = {unit.index}
        while path:
            index, waited_for = path[-1]
            following = next(waited_for, None)
            if following is None:
                path.pop()
                on_path.remove(index)
                continue
            if following.index in on_path:
                self._on_circles[following.index] = None
            elif following.index not in self._found:
                path.append((following.index, self._enter(following)))
                on_path.add(following.index)

    def _enter(self, unit: Unit) -> Iterator[Unit]:
        """Explain one job; what is left to look at are the jobs that it waits for."""
        found = self._explain(unit)
        self._found[unit.index] = found
        lacking = (
            self._unit(wait.context, leaf.job)
            for wait in found.waits
            for leaf in leaves(wait.lacks)
            if isinstance(leaf, Lacking)
        )
        return iter({each.index: each for each in lacking}.values())

    def _explain(self, unit: Unit) -> Explained:
        job = self._state.job(unit.index)
        kind = BlockerKind.ON_ITS_WAY if job.on_its_way else _BY_STATUS.get(job.status)
        own = () if kind is None else (Blocker(kind, unit.index, job.since),)
        if kind is not None and not (kind is BlockerKind.HELD and job.pending is None):
            return Explained(unit.index, own)
        if not unit.dependencies or (job.initiated and isinstance(unit.job, EventJob)):
            outside = Blocker(_from_outside(unit, job), unit.index, job.since)
            return Explained(unit.index, (*own, outside))
        dependencies = [self._topology.dependencies[number] for number in unit.dependencies]
        waits = tuple(wait for each in dependencies if (wait := self._wait(each)) is not None)
        prevented = tuple(
            Blocker(BlockerKind.PREVENTS, member.index, self._state.job(member.index).since)
            for wait in waits
            for leaf in leaves(wait.lacks)
            if isinstance(leaf, Preventing)
            for member in (self._unit(wait.context, leaf.job),)
        )
        if len(waits) < len(dependencies):
            own = (*own, Blocker(BlockerKind.UNFIRED, unit.index, job.since))
        return Explained(unit.index, (*own, *dict.fromkeys(prevented)), waits)

    def _wait(self, dependency: CompiledDependency) -> Wait | None:
        if self._state.gate_holds(dependency.gate):
            return None

        def satisfied(job: JobIdentifier) -> bool:
            return self._state.job(self._unit(dependency.context, job).index).bearing.satisfied

        lacks = unmet(dependency.grouping, satisfied)
        return None if lacks is None else Wait(dependency.context, lacks)

    def _unit(self, context: str, job: JobIdentifier) -> Unit:
        unit = self._topology.unit_in(context, job)
        if unit is None:
            raise ValueError(f"context {context} lists no job {job}")
        return unit

    def _grounded(self) -> set[int]:
        """The jobs that run sooner or later once something is done about all blockers."""
        waits = {index: found.waits for index, found in self._found.items()}
        alone = (index for index, found in self._found.items() if not found.waits or _starts_alone(found))
        return grounded(alone, waits, lambda context, job: self._unit(context, job).index)


def _starts_alone(found: Explained) -> bool:
    """Whether one of its own blockers is all that a job needs something to be done about."""
    return any(each.kind is BlockerKind.UNFIRED for each in found.blockers)


def _from_outside(unit: Unit, job: JobState) -> BlockerKind:
    """What starts a job that no dependency starts."""
    match unit.job:
        case ScheduleJob():
            return BlockerKind.SCHEDULE
        case FileJob():
            return BlockerKind.FILE
        case EventJob(kind=EventKind.GLOBAL):
            return BlockerKind.RAISED if job.initiated else BlockerKind.EVENT
        case _:
            return BlockerKind.BY_HAND
