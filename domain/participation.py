"""Which jobs of a plan ask for which lock before they are initiated, and for how much of it."""

import msgspec

from .plan import CommandJob
from .topology import Topology


class Participation(msgspec.Struct, frozen=True, gc=False):
    """What a job takes: one lock, and so much of it."""

    lock: str
    count: int


def participations(topology: Topology) -> dict[int, Participation]:
    """By unit, for the units that take a lock.

    A job that is one unit in several contexts takes the most that it is said to take for any of them. That it
    takes one lock only, and that it runs a command if it takes one, validation has seen to.
    """
    found: dict[int, Participation] = {}
    for lock in topology.plan.locks():
        for participant in lock.participants:
            unit = topology.unit_in(participant.context, participant.job)
            if unit is None or not isinstance(unit.job, CommandJob):
                continue
            known = found.get(unit.index)
            if known is None or known.count < participant.count:
                found[unit.index] = Participation(lock.name, participant.count)
    return found
