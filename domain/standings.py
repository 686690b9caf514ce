"""What the tree of contexts says of jobs: where each stands, and whether it takes part in a lock."""

from collections.abc import Iterable

from msgspec.structs import replace

from .plan import CommandJob, Context, Job, JobIdentifier


def with_standings(root: Context, jobs: Iterable[Job]) -> tuple[Job, ...]:
    """The jobs with what the tree says of them, in the order in which the tree first lists them.

    The contexts that a job stands in, and whether it takes part in a lock, are read from the tree alone. Jobs
    that the tree does not list come last, by identifier, so that the order of files never matters.
    """
    standings: dict[JobIdentifier, dict[str, None]] = {}
    locked: set[JobIdentifier] = set()
    for context in root.walk():
        for listed in context.jobs:
            standings.setdefault(listed.identifier, {})[context.name] = None
        for lock in context.locks:
            locked.update(participant.job for participant in lock.participants)
    order = {identifier: place for place, identifier in enumerate(standings)}
    placed = [
        _placed(job, tuple(standings.get(job.identifier, ())), locked=job.identifier in locked)
        for job in jobs
    ]
    return tuple(sorted(placed, key=lambda job: (order.get(job.identifier, len(order)), job.identifier)))


def _placed(job: Job, contexts: tuple[str, ...], *, locked: bool) -> Job:
    """The job, as it is if it says so already: of a large plan most do."""
    if isinstance(job, CommandJob) and job.participates_in_lock != locked:
        return replace(job, contexts=contexts, participates_in_lock=locked)
    return job if job.contexts == contexts else replace(job, contexts=contexts)
