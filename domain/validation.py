"""What is wrong with a plan before it is accepted: all problems at once, each with its place and remedy."""

from collections.abc import Collection, Iterator
from itertools import pairwise
from zoneinfo import ZoneInfo

from .cron import CronExpression
from .deadlocks import what_never_starts
from .job_validation import job_problems
from .lock_validation import lock_problems
from .notification_validation import notification_problems
from .parameter_validation import parameter_problems
from .plan import (
    Context,
    Dependency,
    EventJob,
    EventKind,
    FileJob,
    JobIdentifier,
    JobPlan,
    ListedJob,
    ScheduleJob,
)
from .possible import can_hold
from .problems import Place, Problem, Severity, cron_refusal

__all__ = ["Problem", "Severity", "validate"]

_SAMPLED_FIRES = 40
_SHOWN_OF_A_CYCLE = 8
_UTC = ZoneInfo("UTC")
_EVENT_AGENTS = frozenset(kind.value for kind in EventKind)


def validate(
    plan: JobPlan,
    *,
    known_agents: Collection[str] | None = None,
    start_interval_multiple: float = 1.0,
) -> list[Problem]:
    """Every error and warning of a plan; it may be accepted when there is no error.

    Instances of a plan that is not concurrent must live shorter than the time between two starts, times
    ``start_interval_multiple``. Agents that are not among ``known_agents`` are warned of, if these are given.
    """
    return [
        *_window(plan, start_interval_multiple),
        *_Tree(plan).problems(),
        *_deadlocks(plan),
        *lock_problems(plan),
        *job_problems(plan),
        *notification_problems(plan),
        *parameter_problems(plan),
        *_agents(plan, known_agents),
    ]


def _window(plan: JobPlan, start_interval_multiple: float) -> Iterator[Problem]:
    window, place = plan.window, Place(context=plan.name)
    yield from place.cron(window.cron, "/window/cron", working_days=window.working_days)
    yield from place.zone(window.zone, "/window/zone")
    yield from place.blackouts(window.blackout_expressions, window.blackout_ranges, "/window")
    pointer = "/window/time_to_live_ms"
    if window.time_to_live_ms < 0:
        yield place.error("the time to live is negative; give how long an instance lives", pointer)
    elif window.time_to_live_ms == 0:
        yield place.warning("without a time to live, instances start by hand only; give one", pointer)
    elif not plan.concurrent:
        interval_ms = _shortest_start_interval_ms(plan)
        if interval_ms is not None and window.time_to_live_ms >= interval_ms * start_interval_multiple:
            yield place.error(
                f"instances live {window.time_to_live_ms} ms but start only {interval_ms} ms apart, and "
                f"no two may be active; make it less than {interval_ms * start_interval_multiple:.0f} ms, or "
                "make the plan concurrent",
                pointer,
            )


def _shortest_start_interval_ms(plan: JobPlan) -> int | None:
    """The least time between two starts, by a clock without daylight saving; ``None``: there are no two.

    A clock that is set forward makes one day of the year shorter, which is no reason to refuse a plan.
    """
    text, working_days = plan.window.cron, plan.window.working_days
    if text is None or cron_refusal(text, working_days=working_days) is not None:
        return None
    expression = CronExpression.parse(text, working_days=working_days)
    fires: list[int] = []
    at = expression.next_fire(0, _UTC)
    while at is not None and len(fires) < _SAMPLED_FIRES:
        fires.append(at)
        at = expression.next_fire(at, _UTC)
    return min((later - earlier for earlier, later in pairwise(fires)), default=None)


class _Tree:
    """Checks the contexts against each other and against the templates."""

    def __init__(self, plan: JobPlan) -> None:
        self._contexts = list(plan.root.walk_with_pointers("/root"))
        self._templates = {job.identifier: job for job in plan.jobs}

    def problems(self) -> Iterator[Problem]:
        yield from self._names()
        for context, pointer in self._contexts:
            yield from self._context(context, pointer)

    def _names(self) -> Iterator[Problem]:
        seen: set[str] = set()
        for context, pointer in self._contexts:
            place = Place(context=context.name)
            if not context.name:
                yield place.error("a context has no name; give it one", f"{pointer}/name")
            elif context.name in seen:
                yield place.error(
                    "another context of the plan has this name too; rename one of them", f"{pointer}/name"
                )
            seen.add(context.name)

    def _context(self, context: Context, pointer: str) -> Iterator[Problem]:
        yield from Place(context=context.name).parameters(context.parameters, f"{pointer}/parameters")
        listed = {job.identifier for job in context.jobs}
        mentioned: set[JobIdentifier] = set()
        for index, dependency in enumerate(context.dependencies):
            mentioned.add(dependency.dependant)
            if dependency.grouping is not None:
                mentioned.update(dependency.grouping.identifiers())
            place = Place(context.name, dependency.dependant)
            yield from self._dependency(dependency, listed, place, f"{pointer}/dependencies/{index}")
        for index, job in enumerate(context.jobs):
            yield from self._listed(job, mentioned, context.name, f"{pointer}/jobs/{index}")

    def _listed(
        self, job: ListedJob, mentioned: set[JobIdentifier], context: str, pointer: str
    ) -> Iterator[Problem]:
        place = Place(context, job.identifier)
        if not (job.agent and job.name):
            yield place.error("this job has no agent or no name; give it both", pointer)
        elif job.identifier not in self._templates and job.agent not in _EVENT_AGENTS:
            yield place.error(
                "the context lists this job, but no template tells what it does; add one", pointer
            )
        if job.identifier not in mentioned:
            yield place.warning(
                "no dependency of the context mentions this job: it starts from outside and starts nothing",
                pointer,
            )

    def _dependency(
        self, dependency: Dependency, listed: set[JobIdentifier], place: Place, pointer: str
    ) -> Iterator[Problem]:
        if dependency.dependant not in listed:
            yield place.error(
                "a dependency is of this job, which the context does not list; list it there",
                f"{pointer}/dependant",
            )
        grouping = dependency.grouping
        if grouping is None:
            return
        for member in dict.fromkeys(grouping.identifiers()):
            if member not in listed:
                yield place.error(
                    f"it depends on {member!r}, which the context does not list; list that job there too",
                    f"{pointer}/grouping",
                )
        if isinstance(self._templates.get(dependency.dependant), ScheduleJob | FileJob):
            yield place.error(
                "a schedule or file watcher starts from outside; remove what it depends on", pointer
            )
        if not can_hold(grouping):
            yield place.error(
                "its grouping can never hold; it needs a job that is to complete, and none that must not too",
                f"{pointer}/grouping",
            )


def _deadlocks(plan: JobPlan) -> Iterator[Problem]:
    found_deadlocks, unstartable = what_never_starts(plan)
    rules = _rules_by_pair(plan) if found_deadlocks else {}
    for found in found_deadlocks:
        shown = [*found.jobs[:_SHOWN_OF_A_CYCLE], *(["…"] if len(found.jobs) > _SHOWN_OF_A_CYCLE else [])]
        circle = " waits for ".join((*shown, found.jobs[0]))
        standings = rules[found.jobs[0], found.jobs[1 % len(found.jobs)]]
        context = found.context if found.context in standings else next(iter(standings))
        place, pointer = Place(context, found.jobs[0]), standings[context]
        if found.repeatable:
            yield place.warning(
                f"{circle}: nothing else starts this cycle, so somebody must start it by hand", pointer
            )
        else:
            yield place.error(
                f"a cycle: {circle}, and nothing else starts any of them; remove one of these dependencies",
                pointer,
            )
    pointers = {context.name: pointer for context, pointer in plan.root.walk_with_pointers("/root")}
    for each in unstartable:
        yield Place(each.context, each.job).error(
            "no order in which jobs complete starts it: whichever it needs, one that must not have completed "
            "by then has; change what it depends on",
            f"{pointers[each.context]}/dependencies/{each.dependency}/grouping",
        )


def _rules_by_pair(plan: JobPlan) -> dict[tuple[JobIdentifier, JobIdentifier], dict[str, str]]:
    """For a job and one that it waits for: where the dependencies that say so stand, by context."""
    found: dict[tuple[JobIdentifier, JobIdentifier], dict[str, str]] = {}
    for context, pointer in plan.root.walk_with_pointers("/root"):
        for index, dependency in enumerate(context.dependencies):
            for member in () if dependency.grouping is None else dependency.grouping.identifiers():
                standings = found.setdefault((dependency.dependant, member), {})
                standings.setdefault(context.name, f"{pointer}/dependencies/{index}")
    return found


def _agents(plan: JobPlan, known_agents: Collection[str] | None) -> Iterator[Problem]:
    """One warning for each agent, at the first of its jobs: a whole plan may come before its agent does."""
    if known_agents is None:
        return
    jobs_of: dict[str, list[int]] = {}
    for index, job in enumerate(plan.jobs):
        if not isinstance(job, EventJob) and job.agent and job.agent not in known_agents:
            jobs_of.setdefault(job.agent, []).append(index)
    for agent, indices in jobs_of.items():
        first = plan.jobs[indices[0]]
        more = len(indices) - 1
        others = f" and {more} more job{'' if more == 1 else 's'}" if more else ""
        yield Place(first.contexts[0] if first.contexts else None, first.identifier).warning(
            f"agent {agent!r} has not been heard of: this job{others} can only run once it comes",
            f"/jobs/{indices[0]}/agent",
        )
