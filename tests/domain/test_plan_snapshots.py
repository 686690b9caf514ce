"""A plan's state comes back from its snapshot as the log has it, at every position."""

import random

from jobledger.domain.facts import (
    AgentsSynchronised,
    Cause,
    ClockSetBack,
    InstanceDue,
    NextDropped,
    NextPrepared,
    NotificationsSet,
    ParameterSourceRead,
    PlanDeleted,
    PlanDeletionBegun,
    PlanDisabled,
    PlanEnabled,
    PlanFact,
    PlanPushed,
    Recorded,
    StartDeferred,
    StartSkipped,
)
from jobledger.domain.notification_settings import NotificationSettings
from jobledger.domain.plan import CommandJob, Context, JobPlan, ListedJob
from jobledger.domain.plan_log import PlanState, evolve_plan, plan_stream, record
from jobledger.domain.plan_snapshots import PLAN_STATE_SCHEMA, freeze_plan, thaw_plan, with_plan

STREAM = plan_stream("nightly")
PLAN = JobPlan(
    root=Context(name="nightly", jobs=(ListedJob("host", "a"),)),
    jobs=(CommandJob(agent="host", name="a", command_line="true"),),
)
FACTS: tuple[PlanFact, ...] = (
    PlanPushed(version=2, plan=PLAN, documents={"a": b"1"}),
    NotificationsSet(notifications=NotificationSettings(), documents={"notification/n.json": b"2"}),
    PlanDisabled(),
    PlanEnabled(),
    NextPrepared(instance_id=STREAM, version=1, due_at=70),
    InstanceDue(instance_id=STREAM, version=1, due_at=70),
    StartDeferred(due_at=80),
    StartSkipped(due_at=80, through=90, reason="blackout"),
    NextDropped(instance_id=STREAM),
    AgentsSynchronised(plan="nightly", version=1, agents=("host", "other")),
    ParameterSourceRead(parameters={"a": "1"}),
    ClockSetBack(accounted_through=60),
    PlanDeletionBegun(),
    PlanDeleted(plan="nightly"),
)


def test_a_state_from_a_snapshot_is_the_state_of_the_log_at_every_position() -> None:
    dice = random.Random(20261124)
    for _ in range(50):
        log: list[Recorded] = []
        state: PlanState | None = None
        facts = [PlanPushed(version=1, plan=PLAN), *dice.choices(FACTS, k=30)]
        for at, fact in enumerate(facts, 50):
            recorded = record(state, STREAM, fact, at=at, cause=Cause(command="test"))
            log.append(recorded)
            state = evolve_plan(state, recorded)
            assert thawed(log, freeze_plan(state)) == state


def thawed(log: list[Recorded], data: bytes) -> PlanState:
    """As a reader has it: the snapshot, and the facts that say what the plan is."""
    stored = thaw_plan(data)
    assert stored is not None
    state: PlanState | None = None
    for position in dict.fromkeys((stored.pushed_position, stored.notifications_at)):
        state = evolve_plan(state, log[position - 1])
    assert state is not None
    return with_plan(stored, state)


def test_a_snapshot_costs_the_same_whatever_the_size_of_the_plan() -> None:
    large = JobPlan(root=Context(name="nightly", jobs=tuple(ListedJob("host", f"j{n}") for n in range(1000))))
    sizes = {
        len(freeze_plan(evolve_plan(None, record(None, STREAM, fact, at=50, cause=Cause()))))
        for fact in (
            PlanPushed(version=1, plan=JobPlan(root=Context(name="nightly"))),
            PlanPushed(version=1, plan=large, documents={"a": b"x" * 100_000}),
        )
    }
    assert len(sizes) == 1


def test_a_snapshot_of_another_schema_is_not_read() -> None:
    state = evolve_plan(None, record(None, STREAM, PlanPushed(version=1, plan=PLAN), at=50, cause=Cause()))
    told = freeze_plan(state)
    assert thaw_plan(told.replace(b"schema\x01", b"schema\x02")) is None
    assert thaw_plan(b"\xff") is None
    assert PLAN_STATE_SCHEMA == 1
