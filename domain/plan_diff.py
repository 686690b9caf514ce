"""What changed between two versions of a plan, one thing at a time, as a person and a client read it.

Takes time linear in the size of the two plans. Two plans are equal exactly when nothing changed: what is
derived from other things, such as the contexts in which a job stands, is told where it comes from.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from .notification_settings import JobNotification, NotificationSettings
from .plan import (
    CommandJob,
    Context,
    Dependency,
    FileJob,
    Job,
    JobIdentifier,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Parameter,
    ScheduleJob,
    job_kind,
)
from .secret_values import shown

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
Value: TypeAlias = Any
"""As JSON has it; nothing where there was or is none."""

Thing: TypeAlias = Literal[
    "plan",
    "window",
    "context",
    "listing",
    "dependency",
    "job",
    "lock",
    "participant",
    "parameter",
    "notification",
    "document",
]
"""What changed. A listing is a job in a context; a participant is a job of a lock; a notification is who is
told of what; a document is a file of the bundle that makes no difference to the plan, such as a profile."""


class PlanChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that one version has and the other has not, or has otherwise."""

    change: Literal["added", "removed", "changed"]
    what: Thing
    name: str
    """The plan's, context's, lock's or parameter's name, a job's identifier, the path of a document."""
    context: str | None = None
    """Where it is: of a listing, dependency, lock, participant, or a context's parameter."""
    job: JobIdentifier | None = None
    """Whose it is: of a job's parameter; of a participant, the job that takes part."""
    field: str | None = None
    """What of it changed; ``order of …`` when only the order did."""
    before: Value = None
    after: Value = None


def plan_changes(before: JobPlan, after: JobPlan) -> Iterator[PlanChange]:
    """Everything that changed from one plan to another: the plan itself, its contexts, then its jobs."""
    yield from _fields("plan", before.name, before, after, _OF_A_PLAN)
    yield from _fields("window", before.name, before.window, after.window)
    yield from _contexts(before.root, after.root)
    yield from _jobs(before.jobs, after.jobs)
    yield from _notifications(after.name, before.notifications, after.notifications)


def version_changes(
    before: JobPlan,
    documents_before: Mapping[str, bytes],
    after: JobPlan,
    documents_after: Mapping[str, bytes],
) -> list[PlanChange]:
    """What changed between two versions: in the plan, and in what a bundle holds beside it.

    The files that the plan was read from are told only where the plan is the same all the same.
    """
    in_plan = list(plan_changes(before, after))
    in_documents = document_changes(documents_before, documents_after)
    beside = (each for each in in_documents if not (in_plan and each.name.startswith(_OF_THE_PLAN_ITSELF)))
    return [*in_plan, *beside]


def document_changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Iterator[PlanChange]:
    """The files of the bundle that were added, removed or changed, by path."""
    for path in dict.fromkeys((*before, *after)):
        if path not in after:
            yield PlanChange(change="removed", what="document", name=path)
        elif path not in before:
            yield PlanChange(change="added", what="document", name=path)
        elif before[path] != after[path]:
            yield PlanChange(change="changed", what="document", name=path)


_OF_THE_PLAN_ITSELF = ("context/", "jobs/", "notification/", "notification_details/")
_OF_A_PLAN = (
    "environment_group",
    "concurrent",
    "end_on_completion",
    "disabled",
    "schedules_disabled",
    "delay_agent_synchronisation",
)
_TOLD_ELSEWHERE = {
    "agent",
    "name",
    "contexts",
    "participates_in_lock",
    "parameters",
    "participants",
    "trigger",
}
"""Fields that identify a thing, are derived, or have changes of their own."""


def _fields(
    what: Thing,
    name: str,
    before: msgspec.Struct,
    after: msgspec.Struct,
    only: Iterable[str] | None = None,
    *,
    context: str | None = None,
    within: str = "",
) -> Iterator[PlanChange]:
    """A change for each field in which two things of one type differ."""
    names = before.__struct_fields__ if only is None else only
    for field in names:
        old, new = getattr(before, field), getattr(after, field)
        if old != new and field not in _TOLD_ELSEWHERE:
            yield PlanChange(
                change="changed",
                what=what,
                name=name,
                context=context,
                field=f"{within}{field}",
                before=_shown(old),
                after=_shown(new),
            )


def _shown(value: object) -> Value:
    shown: Value = msgspec.to_builtins(value)
    return shown


# --- contexts -----------------------------------------------------------------------------------------------


def _contexts(before: Context, after: Context) -> Iterator[PlanChange]:
    old, new = dict(_by_name(before)), dict(_by_name(after))
    for name, (context, parent) in old.items():
        if name not in new:
            yield PlanChange(change="removed", what="context", name=name, context=parent)
            yield from _context(context, Context(name=name))
    for name, (context, parent) in new.items():
        if name not in old:
            yield PlanChange(change="added", what="context", name=name, context=parent)
            yield from _context(Context(name=name), context)
            continue
        was, was_in = old[name]
        if was_in != parent:
            yield PlanChange(
                change="changed", what="context", name=name, field="parent", before=was_in, after=parent
            )
        yield from _context(was, context)
        yield from _order(
            name, "contexts", [each.name for each in was.contexts], [each.name for each in context.contexts]
        )


def _by_name(root: Context) -> Iterator[tuple[str, tuple[Context, str | None]]]:
    """Every context with the name of its parent, by name."""
    yield root.name, (root, None)
    for context in root.walk():
        for child in context.contexts:
            yield child.name, (child, context.name)


def _context(before: Context, after: Context) -> Iterator[PlanChange]:
    """What changed in a context, apart from the contexts below it."""
    if before == after:
        return
    name = after.name
    yield from _fields("context", name, before, after, ("description", "context_dependencies"))
    yield from _parameters(before.parameters, after.parameters, context=name)
    yield from _listings(name, before.jobs, after.jobs)
    yield from _dependencies(name, before.dependencies, after.dependencies)
    yield from _locks(name, before.locks, after.locks)


def _listings(
    context: str, before: tuple[ListedJob, ...], after: tuple[ListedJob, ...]
) -> Iterator[PlanChange]:
    old, new = _numbered(before, _identifier), _numbered(after, _identifier)
    for change, (identifier, _), was, now in _paired(old, new):
        if was is not None and now is not None:
            yield from _fields("listing", identifier, was, now, context=context)
        else:
            yield PlanChange(change=change, what="listing", name=identifier, context=context)
    yield from _order(context, "jobs", old, new, lambda key: key[0])


def _dependencies(
    context: str, before: tuple[Dependency, ...], after: tuple[Dependency, ...]
) -> Iterator[PlanChange]:
    """Dependencies have no names: those of one dependant that are gone and those that came are paired."""
    gone, come = Counter(before) - Counter(after), Counter(after) - Counter(before)
    removed: dict[JobIdentifier, list[Dependency]] = {}
    for dependency in gone.elements():
        removed.setdefault(dependency.dependant, []).append(dependency)
    for dependency in come.elements():
        replaced = removed.get(dependency.dependant)
        was = replaced.pop(0) if replaced else None
        yield PlanChange(
            change="added" if was is None else "changed",
            what="dependency",
            name=dependency.dependant,
            context=context,
            before=None if was is None else _shown(was.grouping),
            after=_shown(dependency.grouping),
        )
    for dependency in (each for left in removed.values() for each in left):
        yield PlanChange(
            change="removed",
            what="dependency",
            name=dependency.dependant,
            context=context,
            before=_shown(dependency.grouping),
        )
    yield from _order(context, "dependencies", before, after, lambda each: each.dependant)


def _locks(context: str, before: tuple[Lock, ...], after: tuple[Lock, ...]) -> Iterator[PlanChange]:
    old, new = _numbered(before, _name), _numbered(after, _name)
    for change, (name, _), was, now in _paired(old, new):
        if was is not None and now is not None:
            yield from _fields("lock", name, was, now, context=context)
            yield from _participants(name, was.participants, now.participants)
        else:
            yield PlanChange(
                change=change, what="lock", name=name, context=context, before=_shown(was), after=_shown(now)
            )
    yield from _order(context, "locks", old, new, lambda key: key[0])


def _participants(
    lock: str, before: tuple[LockParticipant, ...], after: tuple[LockParticipant, ...]
) -> Iterator[PlanChange]:
    old, new = _numbered(before, _place_in_lock), _numbered(after, _place_in_lock)
    for change, ((context, job), _), was, now in _paired(old, new):
        if was != now:
            yield PlanChange(
                change=change,
                what="participant",
                name=lock,
                context=context,
                job=job,
                before=None if was is None else was.count,
                after=None if now is None else now.count,
            )
    yield from _order(lock, "participants", old, new, lambda key: key[0][1], what="lock")


def _parameters(
    before: tuple[Parameter, ...],
    after: tuple[Parameter, ...],
    *,
    context: str | None = None,
    job: JobIdentifier | None = None,
) -> Iterator[PlanChange]:
    old, new = _numbered(before, _name), _numbered(after, _name)
    for change, (name, _), was, now in _paired(old, new):
        if was != now:
            yield PlanChange(
                change=change,
                what="parameter",
                name=name,
                context=context,
                job=job,
                before=_given(was),
                after=_given(now),
            )
    if job is None:
        yield from _order(context or "", "parameters", old, new, lambda key: key[0])
    else:
        yield from _order(job, "parameters", old, new, lambda key: key[0], what="job")


def _given(parameter: Parameter | None) -> Value:
    """What a parameter is given, secrets covered: its default, and its value if it has one beside it."""
    if parameter is None:
        return None
    default = None if parameter.default is None else shown(parameter.name, parameter.default)
    given: dict[str, Value] = {"default": default}
    return given if parameter.value is None else given | {"value": shown(parameter.name, parameter.value)}


# --- jobs ---------------------------------------------------------------------------------------------------


def _jobs(before: tuple[Job, ...], after: tuple[Job, ...]) -> Iterator[PlanChange]:
    old, new = _numbered(before, _identifier), _numbered(after, _identifier)
    for change, (identifier, _), was, now in _paired(old, new):
        if was is not None and now is not None:
            yield from _job(identifier, was, now)
        else:
            yield PlanChange(
                change=change, what="job", name=identifier, before=_shown(was), after=_shown(now)
            )


def _job(identifier: JobIdentifier, before: Job, after: Job) -> Iterator[PlanChange]:
    if before == after:
        return
    if type(before) is not type(after) or job_kind(before) != job_kind(after):
        yield PlanChange(
            change="changed",
            what="job",
            name=identifier,
            field="kind",
            before=_shown(before),
            after=_shown(after),
        )
        return
    yield from _fields("job", identifier, before, after)
    match before, after:
        case CommandJob(), CommandJob():
            yield from _parameters(before.parameters, after.parameters, job=identifier)
        case ((ScheduleJob() | FileJob()), (ScheduleJob() | FileJob())):
            yield from _fields("job", identifier, before.trigger, after.trigger, within="trigger.")
        case _:
            return


# --- notifications ------------------------------------------------------------------------------------------


def _notifications(
    plan: str, before: NotificationSettings, after: NotificationSettings
) -> Iterator[PlanChange]:
    if before.plan is not None and after.plan is not None:
        yield from _fields("notification", plan, before.plan, after.plan)
    elif before.plan != after.plan:
        yield PlanChange(
            change="added" if before.plan is None else "removed",
            what="notification",
            name=plan,
            before=_shown(before.plan),
            after=_shown(after.plan),
        )
    old, new = _numbered(before.jobs, _told_of), _numbered(after.jobs, _told_of)
    for change, ((job, _, context, monitor_type), _), was, now in _paired(old, new):
        if was != now:
            yield PlanChange(
                change=change,
                what="notification",
                name=monitor_type,
                context=context or None,
                job=job,
                before=_shown(was),
                after=_shown(now),
            )


def _told_of(each: JobNotification) -> tuple[str, str, str, str]:
    return each.job, each.agent, each.context, each.monitor_type.value


# --- lists --------------------------------------------------------------------------------------------------


def _numbered(items: Iterable[T], key: Callable[[T], K]) -> dict[tuple[K, int], T]:
    """The items by key; several of one key are told apart by their number."""
    seen: Counter[K] = Counter()
    found = {}
    for item in items:
        name = key(item)
        found[name, seen[name]] = item
        seen[name] += 1
    return found


def _paired(
    old: Mapping[K, T], new: Mapping[K, T]
) -> Iterator[tuple[Literal["added", "removed", "changed"], K, T | None, T | None]]:
    """What is gone, then what stayed or came, each with how it was and how it is."""
    for key, item in old.items():
        if key not in new:
            yield "removed", key, item, None
    for key, item in new.items():
        was = old.get(key)
        yield "added" if was is None else "changed", key, was, item


def _order(
    name: str,
    of: str,
    before: Iterable[K],
    after: Iterable[K],
    shown: Callable[[K], str] = str,
    *,
    what: Literal["context", "job", "lock"] = "context",
) -> Iterator[PlanChange]:
    """A change if what both versions have is in another order: it is the order in which jobs are started."""
    was, now = list(before), list(after)
    in_both = Counter(was) & Counter(now)
    was, now = _taken(was, in_both), _taken(now, in_both)
    if was != now:
        yield PlanChange(
            change="changed",
            what=what,
            name=name,
            field=f"order of {of}",
            before=[shown(each) for each in was],
            after=[shown(each) for each in now],
        )


def _taken(items: Iterable[K], counts: Counter[K]) -> list[K]:
    left = counts.copy()
    taken = []
    for item in items:
        if left[item] > 0:
            left[item] -= 1
            taken.append(item)
    return taken


def _name(thing: Lock | Parameter) -> str:
    return thing.name


def _identifier(job: Job | ListedJob) -> JobIdentifier:
    return job.identifier


def _place_in_lock(participant: LockParticipant) -> tuple[str, JobIdentifier]:
    return participant.context, participant.job
