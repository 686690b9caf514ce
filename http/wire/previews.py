"""What would follow from the end of a job, as clients see it."""

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from ...domain.facts import (
    GlobalEventRaised,
    InitiationKept,
    InstanceEnded,
    JobCompleted,
    JobInitiated,
    JobLockQueued,
    JobPassedOver,
    Recorded,
)
from ...domain.plan import JobIdentifier

Effect: TypeAlias = Literal["initiated", "kept", "lock queued", "passed over", "complete", "raised"]


class DependantView(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of a job."""

    identifier: str
    context: str | None
    """The only standing that is meant, of a job whose standings are jobs of their own; else ``null``: all."""
    effect: Effect
    """Kept: it is held, and would start when it is released. Complete: an event job, at once."""


class DependantsView(msgspec.Struct, frozen=True, kw_only=True):
    """What would follow; nothing of it has happened."""

    initiated: tuple[str, ...]
    """The jobs that agents would be told to run, in order."""
    dependants: tuple[DependantView, ...]
    """Everything that would follow, in order; jobs that follow from these when they end are not among it."""
    ends_instance: bool
    """The plan is to end once it is complete, and would be."""


def dependants_view(job: JobIdentifier, facts: Iterable[Recorded]) -> DependantsView:
    """What facts that are not stored say of the dependants of a job."""
    told = [recorded.fact for recorded in facts]
    return DependantsView(
        initiated=tuple(fact.job for fact in told if isinstance(fact, JobInitiated)),
        dependants=tuple(each for fact in told for each in _dependants(job, fact)),
        ends_instance=any(isinstance(fact, InstanceEnded) for fact in told),
    )


def _dependants(job: JobIdentifier, fact: object) -> Iterator[DependantView]:
    effect: Effect
    match fact:
        case JobInitiated():
            effect = "initiated"
        case InitiationKept():
            effect = "kept"
        case JobLockQueued():
            effect = "lock queued"
        case JobPassedOver():
            effect = "passed over"
        case GlobalEventRaised():
            effect = "raised"
        case JobCompleted(job=completed) if completed != job:
            effect = "complete"
        case _:
            return
    yield DependantView(identifier=fact.job, context=fact.context, effect=effect)
