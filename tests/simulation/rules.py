"""The rules of a plan instance, worked out from scratch from the plan as it was written, for every state.

As plain as ``oracle``, which it must always agree with, but the names are looked up once for each plan.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from jobledger.domain.instance import InstanceState
from jobledger.domain.job_state import JobState
from jobledger.domain.plan import Context, EventJob, EventKind, Grouping
from jobledger.domain.status import JobStatus
from jobledger.domain.topology import Topology

Test = Callable[[list[bool]], bool]
"""Whether something holds, given for each unit whether it is satisfied."""

_ACTIVE = frozenset({JobStatus.RUNNING, JobStatus.COMPLETE, JobStatus.LOCK_QUEUED})


@dataclass(frozen=True, slots=True)
class Rule:
    """A dependency."""

    dependant: int
    holds: Test
    met: Test
    """As the context's status has it: without ``not``, and jobs from outside count."""


@dataclass(frozen=True, slots=True)
class ContextRules:
    index: int
    inside: tuple[int, ...]
    last: tuple[int, ...]
    rules: tuple[Rule, ...]
    children: "tuple[ContextRules, ...]"


class Rules:
    """Of one version of a plan."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        plan = topology.plan
        self._ruled: dict[int, set[str]] = {}
        for context in plan.root.walk():
            for dependency in context.dependencies:
                if dependency.grouping is not None:
                    unit = self._unit(context.name, dependency.dependant)
                    self._ruled.setdefault(unit, set()).add(context.name)
        self.mentions: dict[int, list[Rule]] = {}
        """By unit: the dependencies that its completion may fire, in the order of the plan."""
        self.dependencies: list[Rule] = []
        self.root = self._context(plan.root)

    def _unit(self, context: str, identifier: str) -> int:
        unit = self.topology.unit_in(context, identifier)
        assert unit is not None
        return unit.index

    def _starts_inside(self, context: str, unit: int) -> bool:
        ruled = self._ruled.get(unit)
        return not ruled or context in ruled

    def _marks_end(self, unit: int) -> bool:
        job = self.topology.units[unit].job
        return isinstance(job, EventJob) and job.kind is EventKind.TERMINAL

    def _context(self, context: Context) -> ContextRules:
        name = context.name
        listed = list(dict.fromkeys(self._unit(name, job.identifier) for job in context.jobs))
        inside = tuple(unit for unit in listed if self._starts_inside(name, unit))
        rules = []
        mentioned: set[int] = set()
        for dependency in context.dependencies:
            if dependency.grouping is None:
                continue
            members = {self._unit(name, each) for each in dependency.grouping.identifiers()}
            mentioned |= members
            outside = frozenset(unit for unit in members if unit not in inside)
            rule = Rule(
                self._unit(name, dependency.dependant),
                self._test(name, dependency.grouping, frozenset(), with_not=True),
                self._test(name, dependency.grouping, outside, with_not=False),
            )
            rules.append(rule)
            self.dependencies.append(rule)
            for unit in members:
                self.mentions.setdefault(unit, []).append(rule)
        return ContextRules(
            self.topology.context_index[name],
            inside,
            tuple(
                unit for unit in listed if unit not in mentioned and (unit in inside or self._marks_end(unit))
            ),
            tuple(rules),
            tuple(self._context(child) for child in context.contexts),
        )

    def _test(self, context: str, grouping: Grouping, given: frozenset[int], *, with_not: bool) -> Test:
        def member(each: str | Grouping) -> Test:
            if isinstance(each, Grouping):
                return self._test(context, each, given, with_not=with_not)
            unit = self._unit(context, each)
            if unit in given:
                return lambda _satisfied: True
            return lambda satisfied: satisfied[unit]

        every = [member(each) for each in grouping.all_of]
        some = [member(each) for each in grouping.any_of]
        none = [member(each) for each in grouping.none_of] if with_not else []
        nested = (
            None
            if grouping.nested is None
            else self._test(context, grouping.nested, given, with_not=with_not)
        )

        def holds(satisfied: list[bool]) -> bool:
            own = nested is not None
            if every or some:
                own = (bool(every) and all(each(satisfied) for each in every)) or any(
                    each(satisfied) for each in some
                )
            if own and any(each(satisfied) for each in none):
                own = False
            return own and (nested is None or nested(satisfied))

        return holds

    def disagreements(self, state: InstanceState) -> Iterable[str]:
        """What the state says of itself that does not follow from the statuses of its jobs."""
        jobs = [state.job(unit.index) for unit in self.topology.units]
        satisfied = [_satisfied(job) for job in jobs]
        statuses: dict[int, str] = {}
        self._status(self.root, jobs, satisfied, statuses)
        for index, status in statuses.items():
            found = state.context_status(index).value
            if found != status:
                yield f"context {self.topology.contexts[index].name} is {found} and should be {status}"
        for rule, compiled in zip(self.dependencies, self.topology.dependencies, strict=True):
            if state.gate_holds(compiled.gate) != rule.holds(satisfied):
                yield f"a dependency of {self.topology.units[rule.dependant].identifier} is counted wrongly"
        counts: dict[str, int] = {}
        for unit, job in zip(self.topology.units, jobs, strict=True):
            counts[job.status.value] = counts.get(job.status.value, 0) + len(unit.contexts)
        if state.counts() != counts:
            yield f"jobs are counted as {state.counts()} and are {counts}"

    def _status(
        self, context: ContextRules, jobs: list[JobState], satisfied: list[bool], statuses: dict[int, str]
    ) -> str:
        children = [self._status(child, jobs, satisfied, statuses) for child in context.children]
        statuses[context.index] = status = self._own_status(context, jobs, satisfied, children)
        return status

    def _own_status(
        self, context: ContextRules, jobs: list[JobState], satisfied: list[bool], children: list[str]
    ) -> str:
        inside = [jobs[unit] for unit in context.inside]
        if "ERROR" in children or any(
            job.status is JobStatus.ERROR and not job.acknowledged for job in inside
        ):
            return "ERROR"
        if (
            all(satisfied[unit] or jobs[unit].status is JobStatus.SKIPPED for unit in context.last)
            and all(rule.met(satisfied) for rule in context.rules)
            and all(child == "COMPLETE" for child in children)
        ):
            return "COMPLETE"
        if any(job.status in _ACTIVE or job.acknowledged for job in inside) or any(
            child in {"RUNNING", "COMPLETE"} for child in children
        ):
            return "RUNNING"
        return "WAITING"

    def unfired(
        self, state: InstanceState, completed: Iterable[int], *, as_if: int | None = None
    ) -> Iterable[str]:
        """Jobs that the completion of these should have started, and that still wait in this state.

        ``as_if``: one that counts as satisfied, although it is not.
        """
        satisfied = [_satisfied(state.job(unit.index)) for unit in self.topology.units]
        if as_if is not None:
            satisfied[as_if] = True
        for unit in completed:
            for rule in self.mentions.get(unit, ()):
                if _idle(state.job(rule.dependant)) and rule.holds(satisfied):
                    dependant, cause = self.topology.units[rule.dependant], self.topology.units[unit]
                    yield f"{dependant.identifier} waits although {cause.identifier} made it ready"


def _idle(job: JobState) -> bool:
    """Whether it waits as if nothing had made it ready."""
    if job.status is JobStatus.ON_HOLD:
        return job.pending is None
    return job.status is JobStatus.SKIPPED or (job.status is JobStatus.WAITING and not job.initiated)


def _satisfied(job: JobState) -> bool:
    done = job.status in {JobStatus.COMPLETE, JobStatus.SKIPPED_COMPLETE}
    return done or (job.status is JobStatus.ERROR and job.acknowledged)
