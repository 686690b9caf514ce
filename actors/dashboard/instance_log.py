"""An instance's state, rebuilt from its newest snapshot and the facts after it."""

from collections.abc import Callable, Iterator
from itertools import takewhile
from uuid import UUID

import structlog

from ...domain.audit import AuditRow, audit
from ...domain.facts import InstancePrepared, InstanceStarted, Recorded
from ...domain.instance import STATE_SCHEMA, InstanceState, begin, evolve
from ...domain.instants import Instant
from ...domain.plan import JobPlan
from ...domain.snapshots import freeze, thaw
from ...domain.topology import Topology
from ...storage.ledger import Ledger
from ...storage.mapper import UnreadableFact
from ...storage.records import InstanceSummary, Snapshot
from .errors import UnknownName
from .topologies import Topologies

_log = structlog.get_logger(__name__)

_AT_ONCE = 500
"""Facts that are read with one query."""


class InstanceLog:
    """Reads the logs of plan instances."""

    def __init__(self, ledger: Ledger, topologies: Topologies) -> None:
        self._ledger = ledger
        self._topologies = topologies

    def plan(self, name: str, version: int) -> JobPlan:
        """A version of a plan that instances are of; raises ``UnknownName``."""
        return self._topologies.of(name, version).plan

    def topology(self, instance_id: UUID) -> Topology:
        """The compiled plan version that the instance runs; raises ``UnknownName``."""
        first = self._ledger.facts(instance_id, until=1)
        if not first or not isinstance(first[0].fact, InstancePrepared | InstanceStarted):
            raise UnknownName(f"there is no instance {instance_id}")
        return self._topologies.of(first[0].fact.plan, first[0].fact.plan_version)

    def state(self, instance_id: UUID, until: int | None = None) -> InstanceState:
        """The state at the end of the log, or at a position of it.

        Raises ``UnknownName``, and ``UnreadableFact`` for a log that is damaged.
        """
        topology = self.topology(instance_id)
        state = self._from_snapshot(topology, instance_id, until)
        after = 0 if state is None else state.position
        for expected, recorded in enumerate(
            self._ledger.facts(instance_id, after=after, until=until), after + 1
        ):
            if recorded.position != expected:
                raise UnreadableFact(f"fact {expected} of {instance_id} is missing")
            state = begin(topology, recorded) if state is None else evolve(state, recorded)
        if state is None:
            raise UnknownName(f"instance {instance_id} has no facts up to position {until}")
        return state

    def state_at(self, instance_id: UUID, at: Instant) -> InstanceState:
        """The state as it was at an instant; raises ``UnknownName`` for one before the start."""
        position = self._ledger.position_at(instance_id, at)
        if position < 1:
            raise UnknownName(f"instance {instance_id} had not started then, or does not exist")
        return self.state(instance_id, position)

    def audit(self, instance_id: UUID, after: int) -> Iterator[AuditRow]:
        """The rows of the audit whose facts begin after a position, as they are asked for.

        What stands before is not read again for it. Raises ``UnknownName``, ``UnreadableFact``.
        """
        topology = self.topology(instance_id)
        if not after:
            return audit(topology, self._facts_after(instance_id, 0))
        last = self._ledger.facts(instance_id, after=after - 1, until=after)
        if not last:
            return iter(())
        # A position within a row: its facts share their cause, and the row begins before it.
        begun = list(
            takewhile(lambda each: each.cause == last[0].cause, self._facts_after(instance_id, after))
        )
        after += len(begun)
        return audit(topology, self._facts_after(instance_id, after), state=self.state(instance_id, after))

    def _facts_after(self, instance_id: UUID, after: int) -> Iterator[Recorded]:
        """The facts after a position, read as they are asked for."""
        while facts := self._ledger.facts(instance_id, after=after, limit=_AT_ONCE):
            yield from facts
            after = facts[-1].position

    def _from_snapshot(
        self, topology: Topology, instance_id: UUID, until: int | None
    ) -> InstanceState | None:
        snapshot = self._ledger.snapshot(instance_id, until)
        if snapshot is None or snapshot.schema != STATE_SCHEMA:
            return None
        return thaw(topology, snapshot.state)


def unless_damaged(read: Callable[[UUID], InstanceState], instance_id: UUID) -> InstanceState | None:
    """The state of an instance, or ``None`` when its log is damaged, so that those beside it go on.

    Asked for alone, the instance says what is wrong.
    """
    try:
        return read(instance_id)
    except UnreadableFact as error:
        _log.error("instance left out", instance=str(instance_id), error=str(error))
        return None


def snapshot_of(state: InstanceState) -> Snapshot:
    """What is stored so that a rebuild need not begin at the first fact."""
    return Snapshot(
        stream=state.instance_id, position=state.position, schema=STATE_SCHEMA, state=freeze(state)
    )


def summary_of(state: InstanceState) -> InstanceSummary:
    """The instance's row in the list of instances."""
    return InstanceSummary(
        instance_id=state.instance_id,
        plan=state.plan,
        plan_version=state.plan_version,
        status=state.status,
        environment_group=state.environment_group,
        started_at=state.started_at,
        ends_at=state.ends_at,
        ended_at=state.ended_at,
        never_began=state.never_began,
        position=state.position,
        counts=state.counts(),
        agents=state.agents,
    )
