"""Jobs that nothing can ever start, most of them because they wait for each other.

A cycle of dependencies is no fault by itself: a job may have another dependency that starts it, stand in
another context that does, be an event that others raise, or wait for any of several jobs. What counts is
whether everything that could be satisfied, beginning with what starts from outside, reaches the job. What is
not reached waits for ever, and in it the cycles are the cause. What is reached never starts all the same
where a job that it needs completes only after one that it must not have had: those are told one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from .conditions import Condition, condition_of, one_of
from .plan import (
    CommandJob,
    Context,
    EventJob,
    EventKind,
    FileJob,
    Grouping,
    Job,
    JobIdentifier,
    JobPlan,
    ScheduleJob,
    StartupControl,
)
from .possible import can_hold
from .startable import Waits, never_starting

_NONE = -1
_Unit: TypeAlias = int


@dataclass(frozen=True, slots=True)
class Deadlock:
    """Jobs in the order in which each waits for the next, and the last for the first."""

    context: str
    jobs: tuple[JobIdentifier, ...]
    repeatable: bool
    """Whether all of them are: then it is a loop that somebody starts by hand."""


@dataclass(frozen=True, slots=True)
class Unstartable:
    """A job that waits for nothing impossible by itself, and that no order of completions starts."""

    context: str
    job: JobIdentifier
    dependency: int
    """The first of its dependencies there, by its place among the context's."""


def deadlocks(plan: JobPlan) -> list[Deadlock]:
    """Every cycle of dependencies that nothing outside it can start; takes time linear in the plan's size.

    Members that no context lists and groupings that cannot hold anyway are taken as satisfied.
    """
    return list(_Waiting(plan).deadlocks())


def what_never_starts(plan: JobPlan) -> tuple[list[Deadlock], list[Unstartable]]:
    """As ``deadlocks``, and the jobs that none of these holds up and that nothing starts either.

    A job is given the benefit of the doubt where it takes very long to find out.
    """
    waiting = _Waiting(plan)
    return list(waiting.deadlocks()), list(waiting.unstartable())


@dataclass(slots=True)
class _Gate:
    """Holds when as many of its inputs do as it needs; then it feeds another gate or starts a unit."""

    needs: int
    feeds: int = _NONE
    starts: _Unit = _NONE


@dataclass(slots=True)
class _Node:
    """What starts once: a job in all its contexts, or in one."""

    identifier: JobIdentifier
    context: str
    repeatable: bool
    starts_outside: bool
    leaves: list[int] = field(default_factory=list)
    waits_for: dict[_Unit, None] = field(default_factory=dict)
    has_dependency: bool = False
    reached: bool = False
    conditions: list[Condition] = field(default_factory=list)
    first_dependency: tuple[str, int] = ("", 0)


class _Waiting:
    def __init__(self, plan: JobPlan) -> None:
        self._templates = {job.identifier: job for job in plan.jobs}
        self._nodes: list[_Node] = []
        self._index: dict[tuple[JobIdentifier, str], _Unit] = {}
        self._gates: list[_Gate] = []
        self._mentions_not = any(
            _mentions_not(dependency.grouping)
            for context in plan.root.walk()
            for dependency in context.dependencies
        )
        contexts = list(plan.root.walk())
        self._order: list[_Unit] = []
        """Units in the order in which they were reached."""
        for context in contexts:
            self._add_units(context)
        for context in contexts:
            self._add_dependencies(context)
        for number in [number for number, gate in enumerate(self._gates) if gate.needs == 0]:
            self._open(number)
        for unit, node in enumerate(self._nodes):
            if node.starts_outside or not node.has_dependency:
                self._reach(unit)
        self._waiting = self._told_apart() if self._mentions_not else {}

    def _add_units(self, context: Context) -> None:
        for listed in context.jobs:
            key = self._key(context.name, listed.identifier)
            if key not in self._index:
                self._index[key] = len(self._nodes)
                job = self._templates.get(listed.identifier)
                self._nodes.append(
                    _Node(
                        identifier=listed.identifier,
                        context=context.name,
                        repeatable=isinstance(job, CommandJob) and job.repeatable,
                        starts_outside=listed.agent == EventKind.GLOBAL or _starts_outside(job),
                    )
                )

    def _key(self, context: str, identifier: JobIdentifier) -> tuple[JobIdentifier, str]:
        job = self._templates.get(identifier)
        targeted = isinstance(job, CommandJob) and job.target_residing_context_only
        return identifier, context if targeted else ""

    def _add_dependencies(self, context: Context) -> None:
        listed = {job.identifier for job in context.jobs}
        units = {identifier: self._index[self._key(context.name, identifier)] for identifier in listed}
        for index, dependency in enumerate(context.dependencies):
            unit = units.get(dependency.dependant)
            grouping = dependency.grouping
            if unit is None or grouping is None:
                continue
            node = self._nodes[unit]
            if not node.has_dependency:
                node.has_dependency = True
                node.first_dependency = context.name, index
            possible = can_hold(grouping)
            gate = self._gate(grouping, units, node, prune=possible)
            self._gates[gate].starts = unit
            if self._mentions_not and possible:
                node.conditions.append(condition_of(grouping, units.get))

    def _gate(
        self, grouping: Grouping, units: dict[JobIdentifier, _Unit], node: _Node, *, prune: bool
    ) -> int:
        """``(all or any) and nested``; what must not be satisfied keeps no job from being reached.

        Members that contradict themselves do, unless the whole grouping cannot hold and is told of anyway.
        """
        choices = []
        if grouping.all_of:
            choices.append(self._members(grouping.all_of, None, units, node, prune=prune))
        if grouping.any_of:
            choices.append(self._members(grouping.any_of, 1, units, node, prune=prune))
        inputs = []
        if choices:
            inputs.append(choices[0] if len(choices) == 1 else self._join(choices, 1))
        if grouping.nested is not None:
            inputs.append(self._gate(grouping.nested, units, node, prune=prune))
        return inputs[0] if len(inputs) == 1 else self._join(inputs, len(inputs))

    def _members(
        self,
        members: tuple[str | Grouping, ...],
        needs: int | None,
        units: dict[JobIdentifier, _Unit],
        node: _Node,
        *,
        prune: bool,
    ) -> int:
        """A gate over members; it needs all of them unless told how many."""
        distinct = dict.fromkeys(members)
        inner = [
            self._gate(each, units, node, prune=prune)
            for each in distinct
            if isinstance(each, Grouping) and (not prune or can_hold(each))
        ]
        named = [each for each in distinct if not isinstance(each, Grouping)]
        known = [units[each] for each in named if each in units]
        unknown = len(named) - len(known)
        gate = self._join(inner, max(0, (len(distinct) if needs is None else needs) - unknown))
        for unit in known:
            self._nodes[unit].leaves.append(gate)
            node.waits_for[unit] = None
        return gate

    def _join(self, inputs: list[int], needs: int) -> int:
        self._gates.append(_Gate(needs))
        for each in inputs:
            self._gates[each].feeds = len(self._gates) - 1
        return len(self._gates) - 1

    def _reach(self, unit: _Unit) -> None:
        """Take a unit as satisfied, and with it all that this makes reachable."""
        waiting = [unit]
        while waiting:
            unit = waiting.pop()
            node = self._nodes[unit]
            if not node.reached:
                node.reached = True
                self._order.append(unit)
                for leaf in node.leaves:
                    waiting.extend(self._count(leaf))

    def _count(self, number: int) -> Iterator[_Unit]:
        """One more input of a gate holds; the units that this starts."""
        while number != _NONE:
            gate = self._gates[number]
            gate.needs -= 1
            if gate.needs != 0:
                return
            if gate.starts != _NONE:
                yield gate.starts
            number = gate.feeds

    def _open(self, number: int) -> None:
        """A gate that needs nothing holds from the beginning."""
        gate = self._gates[number]
        if gate.starts != _NONE:
            self._reach(gate.starts)
        if gate.feeds != _NONE:
            for unit in list(self._count(gate.feeds)):
                self._reach(unit)

    def _told_apart(self) -> dict[_Unit, Waits]:
        """The units that were reached, and that only others start."""
        rank = {unit: number for number, unit in enumerate(self._order)}
        return {
            unit: Waits(one_of(node.conditions), node.repeatable, rank[unit])
            for unit, node in enumerate(self._nodes)
            if node.reached and node.conditions and not node.starts_outside
        }

    def unstartable(self) -> Iterator[Unstartable]:
        """What was reached and never starts, causes before what they hold up."""
        for unit in never_starting(self._waiting):
            node = self._nodes[unit]
            context, dependency = node.first_dependency
            yield Unstartable(context, node.identifier, dependency)

    def deadlocks(self) -> Iterator[Deadlock]:
        """The cycles among what was not reached, causes before what they hold up."""
        for component in self._components():
            if not self._nodes[component[0]].reached:
                cycle = self._cycle(component)
                if cycle:
                    first = self._nodes[cycle[0]]
                    yield Deadlock(
                        context=first.context,
                        jobs=tuple(self._nodes[unit].identifier for unit in cycle),
                        repeatable=all(self._nodes[unit].repeatable for unit in component),
                    )
            for unit in component:
                self._reach(unit)

    def _cycle(self, component: list[_Unit]) -> list[_Unit]:
        inside = set(component)
        path: list[_Unit] = []
        place: dict[_Unit, int] = {}
        unit = min(component)
        while unit not in place:
            place[unit] = len(path)
            path.append(unit)
            following = next((each for each in self._nodes[unit].waits_for if each in inside), None)
            if following is None:
                return []
            unit = following
        return path[place[unit] :]

    def _components(self) -> Iterator[list[_Unit]]:
        """Strongly connected components of what waits, those waited for first (Tarjan, no recursion)."""
        stuck = [unit for unit, node in enumerate(self._nodes) if not node.reached]
        members = set(stuck)
        found: list[list[_Unit]] = []
        number: dict[_Unit, int] = {}
        lowest: dict[_Unit, int] = {}
        open_units: list[_Unit] = []
        is_open: set[_Unit] = set()
        for start in stuck:
            if start in number:
                continue
            calls = [(start, iter(self._nodes[start].waits_for))]
            number[start] = lowest[start] = len(number)
            open_units.append(start)
            is_open.add(start)
            while calls:
                unit, following = calls[-1]
                following_unit = next((each for each in following if each in members), None)
                if following_unit is None:
                    calls.pop()
                    if calls:
                        caller = calls[-1][0]
                        lowest[caller] = min(lowest[caller], lowest[unit])
                    if lowest[unit] == number[unit]:
                        found.append(_taken_from(open_units, is_open, unit))
                elif following_unit not in number:
                    number[following_unit] = lowest[following_unit] = len(number)
                    open_units.append(following_unit)
                    is_open.add(following_unit)
                    calls.append((following_unit, iter(self._nodes[following_unit].waits_for)))
                elif following_unit in is_open:
                    lowest[unit] = min(lowest[unit], number[following_unit])
        return iter(found)


def _taken_from(open_units: list[_Unit], is_open: set[_Unit], root: _Unit) -> list[_Unit]:
    component = [open_units.pop()]
    while component[-1] != root:
        component.append(open_units.pop())
    is_open.difference_update(component)
    return component


def _starts_outside(job: Job | None) -> bool:
    """Whether a job can start whatever its dependencies say."""
    if job is None:
        return False
    if isinstance(job, EventJob) and job.kind is EventKind.GLOBAL:
        return True
    return isinstance(job, ScheduleJob | FileJob) or job.startup is StartupControl.MANUAL


def _mentions_not(grouping: Grouping | None) -> bool:
    if grouping is None:
        return False
    inner = (each for each in (*grouping.all_of, *grouping.any_of) if isinstance(each, Grouping))
    return bool(grouping.none_of) or _mentions_not(grouping.nested) or any(map(_mentions_not, inner))
