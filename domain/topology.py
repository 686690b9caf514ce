"""A version of a plan, compiled once so that one event touches only what depends on it.

Jobs become *units*: what starts once and has one status. A shared job is one unit that stands in several
contexts; a job marked to target its residing context only is one unit per context.

Groupings become small threshold gates. Each gate counts how many of its inputs hold; it holds itself when
the count reaches its threshold (or, for a negated one, stays below it). When a job becomes satisfied, the
counts on the way from its leaves to the dependency's gate change, and nothing else is looked at: a join of a
thousand jobs costs each of them one increment.

Two circuits are built from the same groupings. One tells whether a dependency fires. The other tells, for
the status of a context, whether the dependency is met when jobs that start outside the context count as
complete and ``not`` members, which only ever prevent a start, are left out.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field

import msgspec

from .plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    Grouping,
    Job,
    JobIdentifier,
    JobPlan,
    Lock,
    ScheduleJob,
    job_kind,
    values_of,
)
from .status import KINDS, ContextStatus

NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Place:
    """One standing of a unit, as the context's status sees it."""

    context: int
    starts_inside: bool
    terminal: bool
    """Nothing in the context depends on it."""


@dataclass(frozen=True, slots=True)
class LockUse:
    """A lock, and how much of it one execution takes."""

    lock: Lock
    count: int


@dataclass(slots=True)
class Unit:
    """What starts once: a job in all its contexts, or in one."""

    index: int
    job: Job
    identifier: JobIdentifier
    """Of the job; made once, because most facts name it."""
    context: str | None
    """The only context that it is for, or ``None`` for a job that counts wherever it stands."""
    contexts: tuple[str, ...]
    places: tuple[Place, ...] = ()
    mentioned_by: tuple[int, ...] = ()
    """Dependencies whose grouping mentions this unit, in the order of the plan."""
    dependencies: tuple[int, ...] = ()
    """Dependencies that may start this unit."""
    leaves: tuple[int, ...] = ()
    """Gates that count this unit."""
    lock: "LockUse | None" = None
    """What it must be granted before it is initiated."""

    @property
    def repeatable(self) -> bool:
        """Whether it may be initiated again after it ran."""
        return isinstance(self.job, CommandJob) and self.job.repeatable


@dataclass(frozen=True, slots=True)
class CompiledDependency:
    """A dependency whose dependant starts when the gate holds."""

    dependant: int
    gate: int
    context: str
    grouping: Grouping


class Counters(msgspec.Struct, frozen=True, gc=False):
    """All that a context's status needs, kept up to date by increments."""

    errors: int = 0
    active: int = 0
    unfinished: int = 0
    unmet: int = 0
    children_in_error: int = 0
    children_incomplete: int = 0
    children_active: int = 0

    def with_jobs(self, errors: int, active: int, unfinished: int, unmet: int) -> "Counters":
        """These counts with that much more of each that the context's own jobs and dependencies make."""
        return Counters(
            self.errors + errors,
            self.active + active,
            self.unfinished + unfinished,
            self.unmet + unmet,
            self.children_in_error,
            self.children_incomplete,
            self.children_active,
        )

    def with_child(self, was: ContextStatus, now: ContextStatus) -> "Counters":
        """These counts after a child's status changed."""
        return Counters(
            self.errors,
            self.active,
            self.unfinished,
            self.unmet,
            self.children_in_error + (now is _ERROR) - (was is _ERROR),
            self.children_incomplete + (was is _COMPLETE) - (now is _COMPLETE),
            self.children_active + (now in _CHILD_ACTIVE) - (was in _CHILD_ACTIVE),
        )

    @property
    def status(self) -> ContextStatus:
        """What these counts amount to: the first of error, complete, running, waiting that fits."""
        if self.errors or self.children_in_error:
            return _ERROR
        if not (self.unfinished or self.unmet or self.children_incomplete):
            return _COMPLETE
        if self.active or self.children_active:
            return _RUNNING
        return _WAITING


# Looking a member up in its enumeration costs more than all of the above.
_ERROR = ContextStatus.ERROR
_COMPLETE = ContextStatus.COMPLETE
_RUNNING = ContextStatus.RUNNING
_WAITING = ContextStatus.WAITING
_CHILD_ACTIVE = frozenset({_RUNNING, _COMPLETE})
"""What makes the context around it run."""


@dataclass(slots=True)
class CompiledContext:
    """A context with its place in the tree and its counters before anything happened."""

    index: int
    name: str
    parent: int
    children: tuple[int, ...]
    units: tuple[int, ...]
    initial: Counters = field(default_factory=Counters)


class Circuit:
    """Threshold gates in arrays, indexed by gate number; parents always have a higher number than inputs."""

    __slots__ = ("initial", "meets", "negated", "parent", "threshold")

    def __init__(self) -> None:
        self.threshold: list[int] = []
        self.negated: list[bool] = []
        self.parent: list[int] = []
        self.initial: list[int] = []
        self.meets: list[int] = []
        """The context whose status asks for this gate, or ``NOWHERE``."""

    def gate(self, threshold: int, inputs: list[int], *, negated: bool = False, held: int = 0) -> int:
        """Add a gate over other gates; ``held`` counts inputs that hold from the beginning and for ever."""
        number = len(self.threshold)
        self.threshold.append(threshold)
        self.negated.append(negated)
        self.parent.append(NOWHERE)
        self.meets.append(NOWHERE)
        self.initial.append(held + sum(1 for each in inputs if self.holds(each, self.initial[each])))
        for each in inputs:
            self.parent[each] = number
        return number

    def holds(self, gate: int, count: int) -> bool:
        """Whether a gate with that count holds."""
        return (count >= self.threshold[gate]) != self.negated[gate]


class Topology:
    """A plan's units, contexts, dependencies and gates, with the ways between them."""

    def __init__(self, plan: JobPlan) -> None:
        self.plan = plan
        self.circuit = Circuit()
        self.units: list[Unit] = []
        self.contexts: list[CompiledContext] = []
        self.dependencies: list[CompiledDependency] = []
        self.by_identifier: dict[JobIdentifier, tuple[int, ...]] = {}
        self.context_index: dict[str, int] = {}
        self.defaults: list[dict[str, str]] = []
        """The values that each context gives to parameters, by context."""
        self._templates = {job.identifier: job for job in plan.jobs}
        self._trees: list[Context] = []
        self._unit_in: dict[tuple[int, JobIdentifier], int] = {}
        self._add_contexts(plan.root, NOWHERE)
        self._add_units()
        self._add_dependencies()
        self._add_counters()
        self.standings = sum(len(unit.contexts) for unit in self.units)
        self._add_selections()
        self._add_locks()

    def _add_selections(self) -> None:
        """The units that have a status of their own from the start, or can be given one all at once."""
        self.commands = [unit for unit in self.units if isinstance(unit.job, CommandJob)]
        self.schedules = [unit for unit in self.units if isinstance(unit.job, ScheduleJob)]
        self.skipped_from_the_start = [
            unit
            for unit in self.units
            if job_kind(unit.job) in KINDS["skip"] and not set(unit.job.skipped_in).isdisjoint(unit.contexts)
        ]
        self.held_from_the_start = [
            unit
            for unit in self.units
            if job_kind(unit.job) in KINDS["hold"] and not set(unit.job.held_in).isdisjoint(unit.contexts)
        ]

    def _add_locks(self) -> None:
        """Where a unit takes part in several of its contexts, one execution takes the most of these."""
        for lock in self.plan.locks():
            for each in lock.participants:
                unit = self.unit_in(each.context, each.job)
                if unit is None or not isinstance(unit.job, CommandJob):
                    continue
                if unit.lock is None or unit.lock.count < each.count:
                    unit.lock = LockUse(lock, each.count)
        self.uses_locks = any(unit.lock is not None for unit in self.commands)

    def beneath(self, context: str) -> list[Unit] | None:
        """The units that stand in a context or beneath it, each once; ``None`` for no context of the plan."""
        index = self.context_index.get(context)
        if index is None:
            return None
        found: dict[int, Unit] = {}
        waiting = [index]
        while waiting:
            compiled = self.contexts[waiting.pop(0)]
            found.update((unit, self.units[unit]) for unit in compiled.units)
            waiting[:0] = compiled.children
        return list(found.values())

    def is_beneath(self, context: int, ancestor: str) -> bool:
        """Whether a context, by its index, is the named one or stands beneath it."""
        while context != NOWHERE:
            if self.contexts[context].name == ancestor:
                return True
            context = self.contexts[context].parent
        return False

    def dependants(self, unit: Unit) -> list[Unit]:
        """The jobs whose dependencies mention this one, in the order of the plan, each once."""
        found = (self.dependencies[number].dependant for number in unit.mentioned_by)
        return [self.units[each] for each in dict.fromkeys(found)]

    def downstream(self, unit: Unit) -> list[Unit]:
        """What depends on the job, directly or not, nearest first; not the job itself."""
        found: dict[int, Unit] = {}
        waiting = deque([unit])
        while waiting:
            for dependant in self.dependants(waiting.popleft()):
                if dependant.index not in found and dependant is not unit:
                    found[dependant.index] = dependant
                    waiting.append(dependant)
        return list(found.values())

    def unit_in(self, context: str, identifier: JobIdentifier) -> Unit | None:
        """The unit that stands for the job in the context, if it is listed there."""
        index = self.context_index.get(context)
        if index is None:
            return None
        found = self._unit_in.get((index, identifier))
        return None if found is None else self.units[found]

    def unit_of(self, identifier: JobIdentifier, context: str | None) -> Unit | None:
        """The unit that a fact names by job and, where standings are jobs of their own, context."""
        for index in self.by_identifier.get(identifier, ()):
            unit = self.units[index]
            if unit.context == context:
                return unit
        return None

    def home_of(self, unit: Unit) -> str:
        """The first of a unit's contexts that it starts in."""
        places = (place.context for place in unit.places if place.starts_inside)
        return self.contexts[next(places, unit.places[0].context)].name

    def around(self, context: str) -> list[int]:
        """A context and those above it, up to the root."""
        indices = []
        index = self.context_index[context]
        while index != NOWHERE:
            indices.append(index)
            index = self.contexts[index].parent
        return indices

    def _add_contexts(self, context: Context, parent: int) -> int:
        index = len(self.contexts)
        compiled = CompiledContext(index, context.name, parent, (), ())
        self.contexts.append(compiled)
        self._trees.append(context)
        self.defaults.append(values_of(context.parameters))
        self.context_index[context.name] = index
        compiled.children = tuple(self._add_contexts(child, index) for child in context.contexts)
        return index

    def _template(self, agent: str, name: str, identifier: JobIdentifier) -> Job:
        template = self._templates.get(identifier)
        return template if template is not None else EventJob.listed(EventKind(agent), name)

    def _add_units(self) -> None:
        standing_in: dict[JobIdentifier, list[int]] = defaultdict(list)
        templates: dict[JobIdentifier, Job] = {}
        for index, context in enumerate(self._trees):
            for listed in context.jobs:
                identifier = listed.identifier
                if index not in standing_in[identifier]:
                    standing_in[identifier].append(index)
                templates.setdefault(identifier, self._template(listed.agent, listed.name, identifier))
        for identifier, standings in standing_in.items():
            job = templates[identifier]
            if isinstance(job, CommandJob) and job.target_residing_context_only:
                groups = [[index] for index in standings]
            else:
                groups = [standings]
            self.by_identifier[identifier] = tuple(self._add_unit(job, group) for group in groups)
        for compiled, tree in zip(self.contexts, self._trees, strict=True):
            listed_units = (self._unit_in[compiled.index, job.identifier] for job in tree.jobs)
            compiled.units = tuple(dict.fromkeys(listed_units))

    def _add_unit(self, job: Job, standings: list[int]) -> int:
        index = len(self.units)
        names = tuple(self.contexts[each].name for each in standings)
        targeted = isinstance(job, CommandJob) and job.target_residing_context_only
        identifier = job.identifier
        self.units.append(Unit(index, job, identifier, names[0] if targeted else None, names))
        for each in standings:
            self._unit_in[each, identifier] = index
        return index

    def _add_dependencies(self) -> None:
        ruled_in: dict[int, set[int]] = defaultdict(set)
        mentioned_in: dict[int, set[int]] = defaultdict(set)
        resolved: list[tuple[int, int, Grouping, set[int]]] = []
        for index, context in enumerate(self._trees):
            for dependency in context.dependencies:
                dependant, grouping, members = self._resolve(index, dependency)
                mentioned_in[index] |= members
                if grouping is not None:
                    ruled_in[dependant].add(index)
                    resolved.append((index, dependant, grouping, members))
        self._add_places(ruled_in, mentioned_in)
        mentioned_by: dict[int, list[int]] = defaultdict(list)
        started_by: dict[int, list[int]] = defaultdict(list)
        leaves: dict[int, list[int]] = defaultdict(list)
        for index, dependant, grouping, members in resolved:
            number = len(self.dependencies)
            gate = self._gate(index, grouping, set(), leaves)
            self.dependencies.append(CompiledDependency(dependant, gate, self.contexts[index].name, grouping))
            started_by[dependant].append(number)
            for member in members:
                mentioned_by[member].append(number)
            outside = {unit for unit in members if not self._starts_inside(unit, index)}
            self.circuit.meets[self._gate(index, _without_not(grouping), outside, leaves)] = index
        for unit in self.units:
            unit.mentioned_by = tuple(mentioned_by[unit.index])
            unit.dependencies = tuple(started_by[unit.index])
            unit.leaves = tuple(leaves[unit.index])

    def _resolve(self, index: int, dependency: Dependency) -> tuple[int, Grouping | None, set[int]]:
        dependant = self._unit_in[index, dependency.dependant]
        grouping = dependency.grouping
        if grouping is None:
            return dependant, None, set()
        return dependant, grouping, {self._unit_in[index, name] for name in grouping.identifiers()}

    def _starts_inside(self, unit: int, context: int) -> bool:
        return any(place.context == context and place.starts_inside for place in self.units[unit].places)

    def _add_places(self, ruled_in: dict[int, set[int]], mentioned_in: dict[int, set[int]]) -> None:
        for unit in self.units:
            rulers = ruled_in.get(unit.index, set())
            places = []
            for name in unit.contexts:
                context = self.context_index[name]
                inside = not rulers or context in rulers
                marker = isinstance(unit.job, EventJob) and unit.job.kind is EventKind.TERMINAL
                last = unit.index not in mentioned_in[context] and (inside or marker)
                places.append(Place(context, inside, last))
            unit.places = tuple(places)

    def _gate(self, context: int, grouping: Grouping, given: set[int], leaves: dict[int, list[int]]) -> int:
        """Nested and own level: ``(all or any) and not none``; an own level of neither counts as true.

        With neither these nor a nested one it never holds. Units in ``given`` count as satisfied from the
        beginning and for ever.
        """
        if not (grouping.all_of or grouping.any_of or grouping.nested):
            return self.circuit.gate(1, [])
        inputs = []
        choices = []
        if grouping.all_of:
            distinct = tuple(dict.fromkeys(grouping.all_of))
            choices.append(self._members_gate(context, distinct, len(distinct), given, leaves))
        if grouping.any_of:
            choices.append(
                self._members_gate(context, tuple(dict.fromkeys(grouping.any_of)), 1, given, leaves)
            )
        if choices:
            inputs.append(choices[0] if len(choices) == 1 else self.circuit.gate(1, choices))
        if grouping.none_of:
            any_of = self._members_gate(context, tuple(dict.fromkeys(grouping.none_of)), 1, given, leaves)
            inputs.append(self.circuit.gate(1, [any_of], negated=True))
        if grouping.nested is not None:
            inputs.append(self._gate(context, grouping.nested, given, leaves))
        return inputs[0] if len(inputs) == 1 else self.circuit.gate(len(inputs), inputs)

    def _members_gate(
        self,
        context: int,
        members: tuple[str | Grouping, ...],
        threshold: int,
        given: set[int],
        leaves: dict[int, list[int]],
    ) -> int:
        inner = [self._gate(context, each, given, leaves) for each in members if isinstance(each, Grouping)]
        units = [self._unit_in[context, each] for each in members if not isinstance(each, Grouping)]
        gate = self.circuit.gate(threshold, inner, held=sum(unit in given for unit in units))
        for unit in units:
            if unit not in given:
                leaves[unit].append(gate)
        return gate

    def _add_counters(self) -> None:
        unfinished = [0] * len(self.contexts)
        unmet = [0] * len(self.contexts)
        for unit in self.units:
            for place in unit.places:
                unfinished[place.context] += place.terminal
        circuit = self.circuit
        for gate, context in enumerate(circuit.meets):
            if context != NOWHERE and not circuit.holds(gate, circuit.initial[gate]):
                unmet[context] += 1
        for compiled in reversed(self.contexts):
            statuses = [self.contexts[child].initial.status for child in compiled.children]
            compiled.initial = Counters(
                unfinished=unfinished[compiled.index],
                unmet=unmet[compiled.index],
                children_incomplete=sum(status is not ContextStatus.COMPLETE for status in statuses),
                children_active=sum(status is not ContextStatus.WAITING for status in statuses),
            )


def _without_not(grouping: Grouping) -> Grouping:
    def bare(members: tuple[str | Grouping, ...]) -> tuple[str | Grouping, ...]:
        return tuple(_without_not(each) if isinstance(each, Grouping) else each for each in members)

    nested = None if grouping.nested is None else _without_not(grouping.nested)
    return Grouping(all_of=bare(grouping.all_of), any_of=bare(grouping.any_of), nested=nested)
