"""The audit of a plan instance: a row per event or order, with what it changed and what it started."""

from collections.abc import Iterable, Iterator
from itertools import groupby

import msgspec

from .facts import Cause, JobInitiated, Recorded
from .instance import InstanceState, begin, evolve
from .instants import Instant
from .status import JobStatus
from .topology import Topology, Unit


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A job's status in one context, before and after."""

    context: str
    job: str
    before: JobStatus
    after: JobStatus


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one cause led to."""

    at: Instant
    cause: Cause
    facts: tuple[str, ...]
    """The types of the facts, in order."""
    changed: tuple[Change, ...]
    initiated: tuple[str, ...]
    before: int
    """The position of the log before the cause."""
    after: int


def audit(
    topology: Topology, log: Iterable[Recorded], *, state: InstanceState | None = None
) -> Iterator[AuditRow]:
    """The rows of a log that is given from its first fact, or from the first after a state."""
    for cause, group in groupby(log, key=lambda recorded: recorded.cause):
        facts = tuple(group)
        before = state
        for recorded in facts:
            state = begin(topology, recorded) if state is None else evolve(state, recorded)
        if state is None:
            raise ValueError("an audit needs a log with at least one fact")
        yield AuditRow(
            at=facts[0].at,
            cause=cause,
            facts=tuple(type(each.fact).__name__ for each in facts),
            changed=tuple(_changes(topology, facts, before, state)),
            initiated=tuple(each.fact.job for each in facts if isinstance(each.fact, JobInitiated)),
            before=facts[0].position - 1,
            after=facts[-1].position,
        )


def _changes(
    topology: Topology, facts: tuple[Recorded, ...], before: InstanceState | None, after: InstanceState
) -> Iterator[Change]:
    if before is None:
        return
    for unit in _touched(topology, facts):
        was, now = before.job(unit.index).status, after.job(unit.index).status
        if was is not now:
            for context in unit.contexts:
                yield Change(context=context, job=unit.identifier, before=was, after=now)


def _touched(topology: Topology, facts: tuple[Recorded, ...]) -> Iterator[Unit]:
    seen = set()
    for recorded in facts:
        job = getattr(recorded.fact, "job", None)
        unit = None if job is None else topology.unit_of(job, getattr(recorded.fact, "context", None))
        if unit is not None and unit.index not in seen:
            seen.add(unit.index)
            yield unit
