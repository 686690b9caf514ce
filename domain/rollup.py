"""What follows from the status of a job: the gates that count it, and the statuses of the contexts above it.

Everything is kept up to date by increments: one change costs what depends on it, whatever the size of the
plan. This is on the way of every fact, so a change that nothing counts ends at the first comparison.
"""

from immutables import Map

from .job_state import JobState
from .topology import NOWHERE, Counters, Topology, Unit


def roll_up(
    topology: Topology,
    gates: Map[int, int],
    counters: Map[int, Counters],
    unit: Unit,
    *,
    before: JobState,
    after: JobState,
) -> tuple[Map[int, int], Map[int, Counters]]:
    """The counts of the gates and of the contexts after a unit's job has changed.

    Gates and contexts that are as in the beginning are left out of both.
    """
    was, now = before.bearing, after.bearing
    if was is now:
        return gates, counters
    met: dict[int, int] = {}
    if was.satisfied is not now.satisfied and unit.leaves:
        gates = _bump(topology, gates, unit.leaves, 1 if now.satisfied else -1, met)
    errors = now.in_error - was.in_error
    active = now.active - was.active
    finished = now.finished - was.finished
    for place in unit.places:
        inside = place.starts_inside
        counters = _add(
            topology,
            counters,
            place.context,
            errors=errors if inside else 0,
            active=active if inside else 0,
            unfinished=-finished if place.terminal else 0,
            unmet=-met.pop(place.context, 0),
        )
    for context, number in met.items():
        counters = _add(topology, counters, context, unmet=-number)
    return gates, counters


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


def _add(
    topology: Topology,
    counters: Map[int, Counters],
    context: int,
    *,
    errors: int = 0,
    active: int = 0,
    unfinished: int = 0,
    unmet: int = 0,
) -> Map[int, Counters]:
    """Add to a context's own counters and tell its ancestors as far up as a status changes."""
    if not (errors or active or unfinished or unmet):
        return counters
    compiled = topology.contexts[context]
    own = counters.get(context, compiled.initial)
    now = own.with_jobs(errors, active, unfinished, unmet)
    counters = counters.set(context, now)
    before, after = own.status, now.status
    while before is not after and compiled.parent != NOWHERE:
        compiled = topology.contexts[compiled.parent]
        own = counters.get(compiled.index, compiled.initial)
        now = own.with_child(before, after)
        counters = counters.set(compiled.index, now)
        before, after = own.status, now.status
    return counters
