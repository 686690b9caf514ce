"""What people have set on a prepared instance, read from its log: nothing of it may be lost at its start."""

from collections.abc import Iterable, Iterator

from jobledger.domain.facts import (
    DroppedOrder,
    EventIgnored,
    EventParked,
    InstanceEnded,
    InstancePrepared,
    InstanceStarted,
    JobEnabled,
    JobHeld,
    JobReleased,
    JobSkipped,
    ParametersSet,
    Recorded,
    RunsUntilEnded,
    SchedulesDisabled,
    SchedulesEnabled,
    SourceParametersTaken,
    StartMoved,
)
from jobledger.domain.instance import InstanceState
from jobledger.domain.status import JobStatus
from jobledger.domain.topology import Unit

AHEAD_OF_START = (
    InstancePrepared,
    StartMoved,
    JobHeld,
    JobReleased,
    JobSkipped,
    JobEnabled,
    ParametersSet,
    SourceParametersTaken,
    SchedulesDisabled,
    SchedulesEnabled,
    RunsUntilEnded,
    EventIgnored,
    EventParked,
    InstanceEnded,
)
"""All that may happen to an instance before it starts: nothing runs, and no agent is told."""

_SKIPPED = frozenset({JobStatus.SKIPPED, JobStatus.SKIPPED_COMPLETE, JobStatus.SKIPPED_RUNNING})


class Settings:
    """Of one prepared instance, as its facts have it."""

    def __init__(self, facts: Iterable[Recorded]) -> None:
        self.jobs: dict[tuple[str, str | None], str] = {}
        """What was ordered last about each job."""
        self.parameters: dict[str, str] = {}
        self.context_parameters: dict[str, dict[str, str]] = {}
        self.source_parameters: dict[str, str] = {}
        self.schedules_disabled = False
        self.until_ended = False
        self.due_at: int | None = None
        self.ends_at: int | None = None
        self.business_date: str | None = None
        for recorded in facts:
            self._take(recorded.fact)

    def _take(self, fact: object) -> None:
        match fact:
            case InstancePrepared():
                self.schedules_disabled = fact.schedules_disabled
                self.source_parameters = fact.source_parameters
                self._start_is(fact)
            case StartMoved():
                self._start_is(fact)
            case JobHeld() | JobReleased() | JobSkipped() | JobEnabled():
                self.jobs[fact.job, fact.context] = type(fact).__name__
            case ParametersSet(parameters=parameters, context=None):
                self.parameters |= parameters
            case ParametersSet(parameters=parameters, context=str(context)):
                self.context_parameters.setdefault(context, {}).update(parameters)
            case SourceParametersTaken(parameters=parameters):
                self.source_parameters = parameters
            case SchedulesDisabled() | SchedulesEnabled():
                self.schedules_disabled = isinstance(fact, SchedulesDisabled)
            case RunsUntilEnded():
                self.until_ended, self.ends_at = True, None
            case _:
                return

    def _start_is(self, fact: InstancePrepared | StartMoved) -> None:
        self.due_at, self.business_date = fact.due_at, fact.business_date
        self.ends_at = None if self.until_ended else fact.ends_at

    def lost_at_start(self, state: InstanceState, fact: InstanceStarted) -> Iterator[str]:
        """What was set and is not so any more, in the fact of the start and in the state after it."""
        for (identifier, context), order in self.jobs.items():
            unit = state.topology.unit_of(identifier, context)
            job = None if unit is None else state.job(unit.index)
            if job is None or not _obeys(order, job.status, skipped=job.skipped):
                yield f"{order} of {identifier}, which is {None if job is None else job.status}"
        for where in (state, fact):
            for name in (
                "parameters",
                "source_parameters",
                "schedules_disabled",
                "until_ended",
                "due_at",
                "ends_at",
                "business_date",
            ):
                found, wanted = getattr(where, name), getattr(self, name)
                if found != wanted:
                    yield f"{name} {wanted}, which is {found} in {type(where).__name__}"
            if dict(where.context_parameters) != self.context_parameters:
                yield f"parameters {self.context_parameters}, which are {where.context_parameters}"

    def lost_on_the_way(
        self, old: InstanceState, first: InstanceState, new: InstanceState, dropped: Iterable[DroppedOrder]
    ) -> Iterator[str]:
        """What was set on an instance and neither holds of the one in its place nor is told as dropped."""
        told = {(each.job, each.context) for each in dropped}
        told_contexts = {each.context for each in dropped if each.order == "SetParameters"}
        # Told of one standing of a job that runs once, it is told of all.
        told_units = {
            found.index
            for identifier, name in told
            if identifier is not None
            and name is not None
            and (found := new.topology.unit_in(name, identifier)) is not None
        }
        wanted: dict[int, set[str]] = {}
        for identifier, unit, order in self._changed(old, first):
            there = [(name, new.topology.unit_in(name, identifier)) for name in unit.contexts]
            if not any(found for _, found in there) and all(job != identifier for job, _ in told):
                yield f"{order} of {identifier}, which is no more"
            for _, found in there:
                if found is not None and found.index not in told_units:
                    wanted.setdefault(found.index, set()).add(order)
        for index, orders in wanted.items():
            # Two that were jobs of their own may be one now, of which two things cannot be true.
            job, unit = new.job(index), new.topology.units[index]
            if not any(_obeys(order, job.status, skipped=job.skipped) for order in orders):
                yield f"{orders} of {unit.identifier} in {unit.contexts}, which is {job.status}"
        if not self.parameters.items() <= dict(new.parameters).items():
            yield f"parameters {self.parameters}, which are {new.parameters}"
        for context, parameters in self.context_parameters.items():
            given = new.context_parameters.get(context, {})
            if context not in told_contexts and not parameters.items() <= given.items():
                yield f"parameters {parameters} of {context}, which are {given}"
        if self.until_ended and not new.until_ended:
            yield "that it runs until it is ended"
        changed = first.schedules_disabled != self.schedules_disabled
        if changed and new.schedules_disabled != self.schedules_disabled:
            yield f"that its schedules are disabled: {self.schedules_disabled}"

    def untold(
        self, old: InstanceState, first: InstanceState, dropped: Iterable[DroppedOrder]
    ) -> Iterator[str]:
        """What was set on an instance that nothing takes the place of, and is not told as dropped."""
        told = [*dropped]
        for identifier, _, order in self._changed(old, first):
            if all(each.job != identifier for each in told):
                yield f"{order} of {identifier}"
        orders = [(each.order, each.context) for each in told]
        if self.parameters and ("SetParameters", None) not in orders:
            yield f"parameters {self.parameters}"
        for context in self.context_parameters:
            if ("SetParameters", context) not in orders:
                yield f"parameters of {context}"
        if self.until_ended and ("RunUntilEnded", None) not in orders:
            yield "that it runs until it is ended"

    def _changed(self, old: InstanceState, first: InstanceState) -> Iterator[tuple[str, Unit, str]]:
        """The jobs that are not as their plan has them: what is as it was has not been set."""
        for (identifier, context), order in self.jobs.items():
            unit = old.topology.unit_of(identifier, context)
            if unit is not None and first.job(unit.index).status is not old.job(unit.index).status:
                yield identifier, unit, order


def _obeys(order: str, status: JobStatus, *, skipped: bool) -> bool:
    match order:
        case "JobHeld":
            return status is JobStatus.ON_HOLD
        case "JobSkipped":
            return skipped or status in _SKIPPED
        case "JobReleased":
            return status is not JobStatus.ON_HOLD
        case _:
            return not skipped
