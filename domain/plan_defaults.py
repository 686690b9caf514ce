"""How new instances of a plan start: what an operator changes on the plan itself, not on one instance."""

from collections.abc import Collection
from typing import Literal, TypeAlias

from msgspec.structs import replace

from .commands import Refused
from .plan import EventJob, EventKind, Job, JobIdentifier, JobPlan, job_kind
from .standings import with_standings
from .status import KINDS

JobDefault: TypeAlias = Literal["hold", "release", "skip", "enable"]
"""Start held, no longer so; start skipped, no longer so."""


def with_job_default(
    plan: JobPlan, default: JobDefault, identifier: JobIdentifier, contexts: Collection[str] | None
) -> JobPlan | Refused:
    """The plan whose new instances start with a job so, in these contexts or wherever it stands."""
    job = _job(plan, identifier)
    if job is None:
        return Refused(reason=f"plan {plan.name} has no job {identifier}", unknown=True)
    kind = job_kind(job)
    if default in {"hold", "skip"} and kind not in KINDS[default]:
        return Refused(reason=f"job {identifier} is of kind {kind}, which {default} is not for")
    for context in contexts or ():
        if context not in job.contexts:
            reason = f"context {context} of plan {plan.name} lists no job {identifier}"
            return Refused(reason=reason, unknown=True)
    chosen = frozenset(job.contexts if contexts is None else contexts)
    changed = _changed(job, default, chosen)
    if changed == job:
        return plan
    others = (each for each in plan.jobs if each.identifier != identifier)
    return replace(plan, jobs=with_standings(plan.root, (*others, changed)))


def with_schedules(plan: JobPlan, *, disabled: bool) -> JobPlan:
    """The plan whose new instances start with their schedules disabled, or with them enabled."""
    return replace(plan, schedules_disabled=disabled)


def _job(plan: JobPlan, identifier: JobIdentifier) -> Job | None:
    """The job of that identifier, with the contexts that list it; without a template it is an event."""
    described = [job for job in plan.jobs if job.identifier == identifier]
    if not described:
        listed = (each for context in plan.root.walk() for each in context.jobs)
        events = (each for each in listed if each.identifier == identifier and each.agent in _EVENT_KINDS)
        described = [EventJob.listed(_EVENT_KINDS[each.agent], each.name) for each in events]
    return with_standings(plan.root, described[:1])[0] if described else None


_EVENT_KINDS = {kind.value: kind for kind in EventKind}


def _changed(job: Job, default: JobDefault, contexts: frozenset[str]) -> Job:
    match default:
        case "hold":
            return replace(job, held_in=_with(job, job.held_in, contexts))
        case "release":
            return replace(job, held_in=_without(job.held_in, contexts))
        case "skip":
            return replace(job, skipped_in=_with(job, job.skipped_in, contexts))
        case "enable":
            return replace(job, skipped_in=_without(job.skipped_in, contexts))


def _with(job: Job, before: tuple[str, ...], contexts: frozenset[str]) -> tuple[str, ...]:
    """These contexts too, after those that were there, in the order in which the job stands in them."""
    return (*before, *(each for each in job.contexts if each in contexts and each not in before))


def _without(before: tuple[str, ...], contexts: frozenset[str]) -> tuple[str, ...]:
    return tuple(each for each in before if each not in contexts)
