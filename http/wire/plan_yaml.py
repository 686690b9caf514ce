"""Plan files: a job plan as a person writes it, in YAML or JSON; ``docs/plan-file.md`` is the description."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from ...domain.notification_settings import JobNotification, NotificationSettings
from ...domain.plan import (
    CommandJob,
    Context,
    Dependency,
    Grouping,
    Job,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Member,
    Parameter,
    StartWindow,
)
from ...domain.problems import Place
from ...domain.standings import with_standings
from .documents import Fields, Reader, Value, WireError, WireProblem, kind_of
from .plan_yaml_fields import duration_ms, read_blackout, read_parameter_map, refuse_unknown, scalar
from .plan_yaml_jobs import JOB_KINDS, HoldsAndSkips, read_job_entry
from .plan_yaml_notifications import read_job_section, read_plan_section
from .plans import MAX_CONTEXTS_DEEP
from .yaml_text import read_yaml

_PLAN_FIELDS = frozenset(
    {
        "plan",
        "description",
        "agent",
        "environment_group",
        "start",
        "concurrent",
        "end_on_completion",
        "disabled",
        "schedules_disabled",
        "delay_agent_synchronisation",
        "parameters",
        "jobs",
        "contexts",
        "locks",
        "notifications",
    }
)
_CONTEXT_FIELDS = frozenset({"description", "agent", "parameters", "jobs", "contexts"})
_GROUPING_FIELDS = frozenset({"all", "any", "none", "and"})
_LEADS_ON = re.compile(
    r"(?:/(?:jobs|contexts)/[^/]*|/(?:plan|agent|name|jobs|contexts|after|all|any|none|and|locks"
    r"|command|schedule|file|every|event)(?:/\d+)?)$"
)
"""Where a flaw leaves jobs, dependencies or whole contexts out, so that validation would miss them."""


def read_plan_text(text: str) -> JobPlan:
    """The plan in a plan file; raises ``WireError`` naming every flaw."""
    return read_plan_value(read_yaml(text))


def read_plan_value(value: Value) -> JobPlan:
    """The plan in a plan file that has been read as JSON; raises ``WireError`` naming every flaw."""
    if not isinstance(value, Fields):
        raise WireError.of(f"give a plan file, which is a mapping, not {kind_of(value)}")
    problems: list[WireProblem] = []
    plan = _PlanFile(Reader(value, problems)).plan()
    if problems:
        leads_on = any(_LEADS_ON.search(problem.pointer) for problem in problems)
        raise WireError(list(dict.fromkeys(problems)), None if leads_on else plan)
    return plan


def _declaring(job: Job, names: tuple[str, ...]) -> Job:
    if not isinstance(job, CommandJob):
        return job
    own = {parameter.name for parameter in job.parameters}
    others = tuple(Parameter(name) for name in dict.fromkeys(names) if name not in own)
    return msgspec.structs.replace(job, parameters=(*job.parameters, *others))


@dataclass(frozen=True, slots=True)
class _Defined:
    job: Job
    defaults: HoldsAndSkips
    notifications: tuple[JobNotification, ...]


class _PlanFile:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._defined: dict[str, _Defined] = {}

    def plan(self) -> JobPlan:
        reader = self._reader
        name = reader.required_text("plan")
        reader.place = Place(name or None)
        refuse_unknown(reader, _PLAN_FIELDS)
        self._define(reader, reader.text("agent"), (), depth=1)
        root = self._context(reader, name)
        root = Context(
            name=root.name,
            description=root.description,
            jobs=root.jobs,
            dependencies=root.dependencies,
            contexts=root.contexts,
            parameters=root.parameters,
            locks=self._locks(root),
        )
        jobs = with_standings(root, [defined.job for defined in self._defined.values()])
        defaults = {defined.job.identifier: defined.defaults for defined in self._defined.values()}
        return JobPlan(
            root=root,
            jobs=tuple(defaults[job.identifier].applied_to(job) for job in jobs),
            window=self._window(),
            environment_group=reader.optional_text("environment_group"),
            concurrent=reader.flag("concurrent"),
            end_on_completion=reader.flag("end_on_completion"),
            disabled=reader.flag("disabled"),
            schedules_disabled=reader.flag("schedules_disabled"),
            delay_agent_synchronisation=reader.flag("delay_agent_synchronisation"),
            notifications=NotificationSettings.of(
                read_plan_section(reader),
                (each for defined in self._defined.values() for each in defined.notifications),
            ),
        )

    def _window(self) -> StartWindow:
        start = self._reader.object("start")
        if start is None:
            return StartWindow()
        refuse_unknown(start, frozenset({"cron", "zone", "time_to_live", "working_days", "blackout"}))
        expressions, ranges = read_blackout(start)
        return StartWindow(
            cron=start.optional_text("cron"),
            zone=start.optional_text("zone"),
            time_to_live_ms=duration_ms(start, "time_to_live") or 0,
            working_days=start.flag("working_days"),
            blackout_expressions=expressions,
            blackout_ranges=ranges,
        )

    def _define(self, reader: Reader, agent: str, above: tuple[str, ...], depth: int) -> None:
        """Learn what jobs there are, wherever they are described: any context may mention them.

        A command declares the parameters of the contexts around its description, beside its own.
        """
        if depth > MAX_CONTEXTS_DEEP:
            reader.flaw("", f"contexts are nested more than {MAX_CONTEXTS_DEEP} deep")
            reader.fields["contexts"] = None
            return
        own = reader.object("parameters")
        around = above if own is None else (*above, *own.fields)
        jobs = reader.object("jobs")
        for name in () if jobs is None else jobs.fields:
            entry = None if jobs is None else jobs.object(name)
            if entry is None or not any(kind in entry.fields for kind in JOB_KINDS):
                continue
            if name in self._defined:
                entry.flaw("", f"the job {name!r} is described twice; leave only its name (and after) here")
            else:
                job, defaults = read_job_entry(entry, name, agent)
                told = read_job_section(entry, job=job.name, agent=job.agent)
                self._defined[name] = _Defined(_declaring(job, around), defaults, told)
        contexts = reader.object("contexts")
        for name in () if contexts is None else contexts.fields:
            child = None if contexts is None else contexts.object(name)
            if child is not None:
                child.place = Place(name)
                refuse_unknown(child, _CONTEXT_FIELDS)
                self._define(child, child.text("agent") or agent, around, depth + 1)

    def _context(self, reader: Reader, name: str) -> Context:
        reader.place = Place(name or None)
        listed: dict[str, None] = {}
        dependencies: list[Dependency] = []
        jobs = reader.object("jobs")
        entries = {} if jobs is None else jobs.fields
        for key in entries:
            if key in self._defined:
                listed[key] = None
            elif jobs is not None:
                kinds = ", ".join(JOB_KINDS)
                jobs.flaw(key, f"no context describes a job {key!r}; give it one of {kinds}")
        for key in entries:
            entry = None if jobs is None else jobs.object(key)
            if entry is None or key not in self._defined:
                continue
            entry.place = Place(name, self._defined[key].job.identifier)
            if not any(kind in entry.fields for kind in JOB_KINDS):
                refuse_unknown(entry, frozenset({"after"}))
            grouping = self._after(entry, listed)
            if grouping is not None:
                dependencies.append(Dependency(self._defined[key].job.identifier, grouping))
        contexts = reader.object("contexts")
        children = []
        for child_name in () if contexts is None else contexts.fields:
            child = None if contexts is None else contexts.object(child_name)
            children.append(Context(name=child_name) if child is None else self._context(child, child_name))
        return Context(
            name=name,
            description=reader.text("description"),
            jobs=tuple(self._listed(key) for key in listed),
            dependencies=tuple(dependencies),
            contexts=tuple(children),
            parameters=read_parameter_map(reader),
        )

    def _listed(self, key: str) -> ListedJob:
        job = self._defined[key].job
        return ListedJob(job.agent, job.name, job.description)

    def _after(self, entry: Reader, listed: dict[str, None]) -> Grouping | None:
        value = entry.fields.get("after")
        if value is None:
            return None
        if isinstance(value, Fields):
            inner = entry.object("after")
            return None if inner is None else self._grouping(inner, listed)
        return Grouping(all_of=self._members(entry, "after", listed)) if value != [] else None

    def _grouping(self, reader: Reader, listed: dict[str, None]) -> Grouping:
        refuse_unknown(reader, _GROUPING_FIELDS)
        nested = reader.object("and")
        return Grouping(
            all_of=self._members(reader, "all", listed),
            any_of=self._members(reader, "any", listed),
            none_of=self._members(reader, "none", listed),
            nested=None if nested is None else self._grouping(nested, listed),
        )

    def _members(self, reader: Reader, name: str, listed: dict[str, None]) -> tuple[Member, ...]:
        """Jobs and groupings; a job of another context comes to stand in this one too."""
        value = reader.fields.get(name)
        if isinstance(value, list):
            entries = [(f"{name}/{index}", each) for index, each in enumerate(value)]
        else:
            entries = [] if value is None else [(name, value)]
        members: list[Member] = []
        for step, each in entries:
            inner = reader.within(each if isinstance(each, Fields) else Fields(), step)
            if isinstance(each, Fields):
                members.append(self._grouping(inner, listed))
                continue
            key = scalar(each)
            if key is None or key not in self._defined:
                inner.flaw("", f"{key!r} is no job of this plan; name one that a context describes")
                continue
            listed[key] = None
            members.append(self._defined[key].job.identifier)
        return tuple(members)

    def _locks(self, root: Context) -> tuple[Lock, ...]:
        locks = self._reader.object("locks")
        standings: dict[str, list[str]] = {}
        for context in root.walk():
            for listed in context.jobs:
                standings.setdefault(listed.identifier, []).append(context.name)
        found = []
        for name in () if locks is None else locks.fields:
            lock = None if locks is None else locks.object(name)
            if lock is None:
                continue
            refuse_unknown(lock, frozenset({"count", "exclusive", "jobs"}))
            participants = self._participants(lock, standings)
            found.append(Lock(name, lock.integer("count", 1), lock.flag("exclusive"), participants))
        return tuple(found)

    def _participants(self, lock: Reader, standings: Mapping[str, list[str]]) -> tuple[LockParticipant, ...]:
        value = lock.fields.get("jobs")
        if isinstance(value, Fields):
            weights = lock.object("jobs")
            counts = {} if weights is None else {key: weights.integer(key, 1) for key in value}
        else:
            counts = dict.fromkeys(lock.texts("jobs"), 1)
        by_context: dict[str, list[LockParticipant]] = {}
        for key, count in counts.items():
            if key not in self._defined:
                lock.flaw("jobs", f"{key!r} is no job of this plan; name one that a context describes")
                continue
            identifier = self._defined[key].job.identifier
            for context in standings.get(identifier, []):
                participant = LockParticipant(context, identifier, count)
                by_context.setdefault(context, []).append(participant)
        # In the order in which a bundle has them, or an export of the plan would make another one.
        return tuple(each for participants in by_context.values() for each in participants)
