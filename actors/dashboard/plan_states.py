"""A plan's state, rebuilt from its newest snapshot, the facts that say what it is, and those after it."""

from ...domain.plan_log import PlanState, evolve_plan, plan_stream
from ...domain.plan_snapshots import PLAN_STATE_SCHEMA, freeze_plan, thaw_plan, with_plan
from ...storage.ledger import Ledger
from ...storage.records import Snapshot

SNAPSHOT_AFTER = 100
"""Facts between snapshots of a plan: each is a few hundred bytes, whatever the size of the plan."""


def read_plan(ledger: Ledger, name: str) -> tuple[PlanState | None, int]:
    """The state, and the position of the snapshot that it was read from; ``None`` for no such plan."""
    stream = plan_stream(name)
    state = _from_snapshot(ledger, name)
    found = 0 if state is None else state.position
    for recorded in ledger.facts(stream, after=found):
        state = evolve_plan(state, recorded)
    return state, found


def _from_snapshot(ledger: Ledger, name: str) -> PlanState | None:
    stream = plan_stream(name)
    snapshot = ledger.snapshot(stream)
    stored = None if snapshot is None or snapshot.schema != PLAN_STATE_SCHEMA else thaw_plan(snapshot.state)
    if stored is None:
        return None
    state: PlanState | None = None
    for position in dict.fromkeys((stored.pushed_position, stored.notifications_at)):
        for recorded in ledger.facts(stream, after=position - 1, until=position):
            state = evolve_plan(state, recorded)
    return None if state is None else with_plan(stored, state)


def plan_snapshot(state: PlanState) -> Snapshot:
    """What is stored so that the next reading need not begin at the first fact."""
    return Snapshot(
        stream=state.stream, position=state.position, schema=PLAN_STATE_SCHEMA, state=freeze_plan(state)
    )
