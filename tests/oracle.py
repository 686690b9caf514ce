"""The rules of a plan instance once more, as slowly and plainly as they can be said.

Statuses and groupings are worked out from scratch from the plan as it was written. The core keeps counters
instead; the two must always agree.
"""

from collections.abc import Callable

from jobledger.domain.instance import InstanceState
from jobledger.domain.job_state import JobState
from jobledger.domain.plan import Context, Dependency, Grouping
from jobledger.domain.status import JobStatus


def holds(grouping: Grouping, satisfied: Callable[[str], bool], *, with_not: bool = True) -> bool:
    def member(each: str | Grouping) -> bool:
        if isinstance(each, Grouping):
            return holds(each, satisfied, with_not=with_not)
        return satisfied(each)

    every = bool(grouping.all_of) and all(member(each) for each in grouping.all_of)
    some = any(member(each) for each in grouping.any_of)
    own = every or some if grouping.all_of or grouping.any_of else grouping.nested is not None
    if with_not:
        own = own and not any(member(each) for each in grouping.none_of)
    nested = grouping.nested is None or holds(grouping.nested, satisfied, with_not=with_not)
    return nested and own


def satisfied(job: JobState) -> bool:
    done = job.status in {JobStatus.COMPLETE, JobStatus.SKIPPED_COMPLETE}
    return done or (job.status is JobStatus.ERROR and job.acknowledged)


def job_in(state: InstanceState, context: str, identifier: str) -> JobState:
    unit = state.topology.unit_in(context, identifier)
    assert unit is not None
    return state.job(unit.index)


def dependency_holds(state: InstanceState, context: Context, dependency: Dependency) -> bool:
    assert dependency.grouping is not None
    return holds(dependency.grouping, lambda name: satisfied(job_in(state, context.name, name)))


def starts_elsewhere(state: InstanceState, context: Context, identifier: str) -> bool:
    """A shared job with a rule in another context and none in this one."""
    unit = state.topology.unit_in(context.name, identifier)
    assert unit is not None
    ruled = {
        each.name
        for each in state.topology.plan.root.walk()
        if each.name in unit.contexts
        and any(d.dependant == identifier and d.grouping is not None for d in each.dependencies)
    }
    return bool(ruled) and context.name not in ruled


def context_status(state: InstanceState, context: Context) -> str:
    children = [context_status(state, child) for child in context.contexts]
    listed = {job.identifier for job in context.jobs}
    inside = {name for name in listed if not starts_elsewhere(state, context, name)}
    jobs = {name: job_in(state, context.name, name) for name in inside}
    if "ERROR" in children or any(j.status is JobStatus.ERROR and not j.acknowledged for j in jobs.values()):
        return "ERROR"
    ruled = [d for d in context.dependencies if d.grouping is not None]
    mentioned = {name for d in ruled if d.grouping is not None for name in d.grouping.identifiers()}
    # A terminal job marks the end of its context, wherever it starts.
    last = {name for name in listed if name in inside or name.startswith("CONTEXT_TERMINAL_JOB-")} - mentioned
    last_ones_done = all(
        satisfied(job) or job.status is JobStatus.SKIPPED
        for job in (job_in(state, context.name, name) for name in last)
    )

    def counts(name: str) -> bool:
        return name not in inside or satisfied(jobs[name])

    met = all(holds(d.grouping, counts, with_not=False) for d in ruled if d.grouping is not None)
    if last_ones_done and met and all(child == "COMPLETE" for child in children):
        return "COMPLETE"
    active = {JobStatus.RUNNING, JobStatus.COMPLETE, JobStatus.LOCK_QUEUED}
    if any(job.status in active or job.acknowledged for job in jobs.values()) or any(
        child in {"RUNNING", "COMPLETE"} for child in children
    ):
        return "RUNNING"
    return "WAITING"
