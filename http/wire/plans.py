"""A plan's tree of contexts from and to JSON, joined with the templates of its jobs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from ...domain.plan import (
    Context,
    EventJob,
    Job,
    JobIdentifier,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    StartWindow,
)
from ...domain.problems import Place, Problem
from ...domain.standings import with_standings
from .documents import Reader, encode
from .groupings import dependency_fields, read_dependencies
from .job_names import JobNames, ReadTemplate
from .job_templates import JsonObject, kind_of_event, parameter_fields, read_parameters, read_ranges

MAX_CONTEXTS_DEEP = 60


def read_plan(root: Reader, templates: Iterable[ReadTemplate]) -> tuple[JobPlan, list[Problem], bool]:
    """The plan that a tree of contexts and the templates of its jobs make, and warnings about it.

    Also whether the names in it are as exports with tokens leave them. What cannot be read is noted in the
    reader's problems.
    """
    given = tuple(templates)
    tree = _Tree(JobNames(given))
    context = tree.read(root)
    plan = JobPlan(
        root=context,
        jobs=with_standings(context, tree.with_defaults([each.job for each in given])),
        window=_window(root),
        environment_group=root.optional_text("environmentGroup"),
        concurrent=root.flag("ableToRunConcurrently"),
        end_on_completion=root.flag("endJobPlanUponCompletion"),
        disabled=root.flag("disabled"),
        schedules_disabled=schedules_disabled(root),
        delay_agent_synchronisation=root.flag("delayAgentSynchronisationUntilNextInstance"),
    )
    return plan, tree.warnings, tree.marked_by_tokens


def schedules_disabled(reader: Reader) -> bool:
    """Whether a plan's or an instance's schedules are disabled; the field has two spellings."""
    return reader.flag("quartzScheduleDrivenJobsDisabledForContext") or reader.flag(
        "isQuartzScheduleDrivenJobsDisabledForContext"
    )


def _window(root: Reader) -> StartWindow:
    return StartWindow(
        cron=root.optional_text("timeWindowStart"),
        zone=root.optional_text("timezone"),
        time_to_live_ms=root.integer("contextTtlMilliseconds"),
        working_days=root.flag("customWeekDayOfMonth"),
        blackout_expressions=root.texts("blackoutWindowCronExpressions"),
        blackout_ranges=read_ranges(root, "blackoutWindowDateTimeRanges"),
    )


@dataclass(frozen=True, slots=True)
class _Node:
    """A context of which only the names are known yet."""

    reader: Reader
    pointer: str
    """Into the plan, by the names of its fields."""
    name: str
    jobs: tuple[ListedJob, ...]
    children: tuple["_Node", ...]


class _Tree:
    """Reads contexts in two passes: all names first, for a lock may name jobs of contexts that follow it."""

    def __init__(self, names: JobNames) -> None:
        self._names = names
        self._warnings: list[Problem] = []
        self._held: defaultdict[JobIdentifier, list[str]] = defaultdict(list)
        self._skipped: defaultdict[JobIdentifier, list[str]] = defaultdict(list)
        self._listed: dict[JobIdentifier, ListedJob] = {}

    @property
    def marked_by_tokens(self) -> bool:
        return bool(self._names.warnings)

    @property
    def warnings(self) -> list[Problem]:
        return [*self._names.warnings, *self._warnings]

    def read(self, root: Reader) -> Context:
        node = self._node(root, "/root")
        self._warn(node)
        for child in node.children:
            self._warn_of_windows(child)
        return self._context(node)

    def _node(self, reader: Reader, pointer: str, depth: int = 1) -> _Node:
        name = reader.text("name")
        reader.place = Place(name or None)
        jobs = tuple(
            self._list_job(name, each, f"{pointer}/jobs/{index}")
            for index, each in enumerate(reader.objects("scheduledJobs"))
        )
        if depth > MAX_CONTEXTS_DEEP:
            reader.flaw("", f"contexts are nested more than {MAX_CONTEXTS_DEEP} deep")
            return _Node(reader, pointer, name, jobs, ())
        children = tuple(
            self._node(child, f"{pointer}/contexts/{index}", depth + 1)
            for index, child in enumerate(reader.objects("contexts"))
        )
        return _Node(reader, pointer, name, tuple(dict.fromkeys(jobs)), children)

    def _list_job(self, context: str, reader: Reader, pointer: str) -> ListedJob:
        reader.place = Place(context or None, reader.text("identifier") or None)
        agent, name = self._names.listed(
            context, reader.text("agentName"), reader.text("jobName"), reader.text("identifier"), pointer
        )
        listed = ListedJob(agent, name, reader.text("jobDescription"))
        reader.place = Place(context or None, listed.identifier)
        self._listed.setdefault(listed.identifier, listed)
        self._held[listed.identifier].extend(reader.names_that_are_true("heldContexts"))
        self._skipped[listed.identifier].extend(reader.names_that_are_true("skippedContexts"))
        return listed

    def _warn(self, node: _Node) -> None:
        """Of what a context says that is kept and has no effect."""
        if node.reader.fields.get("contextDependencies"):
            self._warnings.append(
                Place(node.name or None).warning(
                    "its contextDependencies are kept and not enforced; join contexts by jobs that both list",
                    node.pointer,
                )
            )

    def _warn_of_windows(self, node: _Node) -> None:
        self._warn(node)
        if node.reader.fields.get("timeWindowStart"):
            self._warnings.append(
                Place(node.name or None).warning(
                    "this context has a start window of its own; only the plan's counts, move it there",
                    node.pointer,
                )
            )
        for child in node.children:
            self._warn_of_windows(child)

    def _context(self, node: _Node) -> Context:
        reader = node.reader
        return Context(
            name=node.name,
            description=reader.text("description"),
            jobs=node.jobs,
            dependencies=read_dependencies(reader, partial(self._names.resolve, node.name)),
            contexts=tuple(self._context(child) for child in node.children),
            parameters=read_parameters(reader, "contextParameters"),
            locks=tuple(self._lock(each) for each in reader.objects("jobLocks")),
            context_dependencies=tuple(
                encode(each.fields).decode() for each in reader.objects("contextDependencies")
            ),
        )

    def _lock(self, reader: Reader) -> Lock:
        participants: list[LockParticipant] = []
        by_context = reader.object("jobs")
        for context in [] if by_context is None else by_context.fields:
            for each in reader.objects_under("jobs", context):
                agent, name = each.text("agentName"), each.text("jobName")
                called = f"{agent}-{name}" if agent and name else each.text("identifier")
                job = self._names.resolve(context, called)
                participants.append(LockParticipant(context, job, each.integer("lockCount", 1)))
        return Lock(
            name=reader.text("name"),
            count=reader.integer("lockCount", 1),
            exclusive=reader.flag("exclusiveJobLock"),
            participants=tuple(dict.fromkeys(participants)),
        )

    def with_defaults(self, jobs: list[Job]) -> list[Job]:
        """The jobs, held and skipped from the start also where only their listing says so.

        An event job without a template gets one if its listing says such a thing.
        """
        described = {job.identifier for job in jobs}
        for identifier in dict.fromkeys((*self._held, *self._skipped)):
            listed = self._listed[identifier]
            kind = kind_of_event(listed.agent)
            marked = self._held[identifier] or self._skipped[identifier]
            if kind is not None and marked and identifier not in described:
                jobs.append(EventJob.listed(kind, listed.name))
        return [self._with_defaults(job) for job in jobs]

    def _with_defaults(self, job: Job) -> Job:
        held = self._held.get(job.identifier)
        skipped = self._skipped.get(job.identifier)
        if not held and not skipped:
            return job
        return msgspec.structs.replace(
            job,
            held_in=tuple(dict.fromkeys((*job.held_in, *(held or ())))),
            skipped_in=tuple(dict.fromkeys((*job.skipped_in, *(skipped or ())))),
        )


def plan_fields(plan: JobPlan) -> JsonObject:
    """The plan's tree of contexts as a JSON object in the wire's words."""
    window = plan.window
    return context_fields(plan.root, {job.identifier: job for job in plan.jobs}) | {
        "timeWindowStart": window.cron,
        "timezone": window.zone,
        "contextTtlMilliseconds": window.time_to_live_ms,
        "customWeekDayOfMonth": window.working_days,
        "blackoutWindowCronExpressions": list(window.blackout_expressions),
        "blackoutWindowDateTimeRanges": {str(start): end for start, end in window.blackout_ranges},
        "environmentGroup": plan.environment_group,
        "ableToRunConcurrently": plan.concurrent,
        "endJobPlanUponCompletion": plan.end_on_completion,
        "disabled": plan.disabled,
        "quartzScheduleDrivenJobsDisabledForContext": plan.schedules_disabled,
        "delayAgentSynchronisationUntilNextInstance": plan.delay_agent_synchronisation,
    }


def context_fields(context: Context, templates: Mapping[JobIdentifier, Job]) -> JsonObject:
    """A context and all beneath it as a JSON object."""
    return {
        "name": context.name,
        "description": context.description or None,
        "contexts": [context_fields(child, templates) for child in context.contexts],
        "scheduledJobs": [_listed_fields(job, templates.get(job.identifier)) for job in context.jobs],
        "jobDependencies": [dependency_fields(each) for each in context.dependencies],
        "contextParameters": parameter_fields(context.parameters),
        "contextDependencies": context_dependency_fields(context),
        "jobLocks": [_lock_fields(lock, templates) for lock in context.locks],
    }


def context_dependency_fields(context: Context) -> list[JsonObject]:
    """What a bundle said of dependencies between contexts, as it said it."""
    return [msgspec.json.decode(each, type=dict[str, object]) for each in context.context_dependencies]


def _listed_fields(listed: ListedJob, template: Job | None) -> JsonObject:
    return {
        "agentName": listed.agent,
        "jobName": listed.name,
        "jobDescription": listed.description or None,
        "startupControlType": "AUTOMATIC" if template is None else template.startup.value,
        "skippedContexts": {} if template is None else dict.fromkeys(template.skipped_in, True),
        "heldContexts": {} if template is None else dict.fromkeys(template.held_in, True),
        "identifier": listed.identifier,
    }


def _lock_fields(lock: Lock, templates: Mapping[JobIdentifier, Job]) -> JsonObject:
    by_context: dict[str, list[JsonObject]] = {}
    for participant in lock.participants:
        fields: JsonObject = {"identifier": participant.job, "lockCount": participant.count}
        job = templates.get(participant.job)
        if job is not None:
            fields |= {"agentName": job.agent, "jobName": job.name}
        by_context.setdefault(participant.context, []).append(fields)
    return {
        "name": lock.name,
        "lockCount": lock.count,
        "exclusiveJobLock": lock.exclusive,
        "jobs": by_context,
    }
