"""What follows from the status of a job: the gates that count it, and the statuses of the contexts above it.

Everything is kept up to date by increments: one change costs what depends on it, whatever the size of the
plan.
"""

from typing import NamedTuple

from immutables import Map

from .job_state import JobState
from .status import ContextStatus
from .topology import NOWHERE, Counters, Topology, Unit


class Counts(NamedTuple):
    """What is counted of an instance; gates and contexts that are as in the beginning are left out."""

    gates: Map[int, int]
    contexts: Map[int, Counters]


def roll_up(topology: Topology, counts: Counts, unit: Unit, before: JobState, after: JobState) -> Counts:
    """The counts after a unit's job has changed."""
    delta = int(after.satisfied) - int(before.satisfied)
    met: dict[int, int] = {}
    gates, contexts = counts
    if delta and unit.leaves:
        gates = _bump(topology, gates, unit.leaves, delta, met)
    step = _Step(
        errors=int(after.in_error) - int(before.in_error),
        active=int(after.active) - int(before.active),
        finished=int(after.finished) - int(before.finished),
    )
    if step != _NO_STEP:
        contexts = _recount(topology, contexts, unit, step)
    for context, number in met.items():
        contexts = _add(topology, contexts, context, Counters(unmet=-number))
    return Counts(gates, contexts)


class _Step(NamedTuple):
    errors: int
    active: int
    finished: int


_NO_STEP = _Step(0, 0, 0)


def _bump(
    topology: Topology, gates: Map[int, int], leaves: tuple[int, ...], delta: int, met: dict[int, int]
) -> Map[int, int]:
    """Add ``delta`` at the leaves and pass on what flips; ``met`` collects, by context, what is met."""
    circuit = topology.circuit
    counts = gates.mutate()
    for leaf in leaves:
        gate, step = leaf, delta
        while gate != NOWHERE:
            count = counts.get(gate, circuit.initial[gate])
            counts[gate] = count + step
            held = circuit.holds(gate, count)
            holds = circuit.holds(gate, count + step)
            if held == holds:
                break
            step = 1 if holds else -1
            context = circuit.meets[gate]
            if context != NOWHERE:
                met[context] = met.get(context, 0) + step
            gate = circuit.parent[gate]
    return counts.finish()


def _recount(topology: Topology, counters: Map[int, Counters], unit: Unit, step: _Step) -> Map[int, Counters]:
    for place in unit.places:
        here = Counters(
            errors=step.errors if place.starts_inside else 0,
            active=step.active if place.starts_inside else 0,
            unfinished=-step.finished if place.terminal else 0,
        )
        counters = _add(topology, counters, place.context, here)
    return counters


def _add(
    topology: Topology, counters: Map[int, Counters], context: int, step: Counters
) -> Map[int, Counters]:
    """Add to a context's counters and tell its ancestors as far up as a status changes."""
    while True:
        compiled = topology.contexts[context]
        own = counters.get(context, compiled.initial)
        now = own.plus(step)
        counters = counters.set(context, now)
        before, after = own.status(), now.status()
        if before is after or compiled.parent == NOWHERE:
            return counters
        context = compiled.parent
        step = Counters(
            children_in_error=_step(before, after, _IN_ERROR),
            children_incomplete=_step(before, after, _INCOMPLETE),
            children_active=_step(before, after, _CHILD_ACTIVE),
        )


_IN_ERROR = frozenset({ContextStatus.ERROR})
_INCOMPLETE = frozenset(ContextStatus) - {ContextStatus.COMPLETE}
_CHILD_ACTIVE = frozenset({ContextStatus.RUNNING, ContextStatus.COMPLETE})


def _step(was: ContextStatus, now: ContextStatus, group: frozenset[ContextStatus]) -> int:
    return int(now in group) - int(was in group)
