"""The process dies at any call of the database on the way of a start, a push, a reset or a deletion."""

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.host import Host
from jobledger.actors.dashboard.origin import Origin
from jobledger.actors.dashboard.plan_actor import StartDue
from jobledger.domain.commands import HoldJob
from jobledger.domain.facts import (
    InstanceDue,
    InstanceEnded,
    InstanceReset,
    InstanceStarted,
    PlanDeleted,
    PlanDeletionBegun,
    Recorded,
    StartSkipped,
)
from jobledger.domain.instance import InstanceState, replay
from jobledger.domain.plan import CommandJob, Context, JobPlan, ListedJob, StartWindow
from jobledger.domain.plan_log import PlanStanding, PlanState, evolve_plan, plan_stream
from jobledger.domain.snapshots import digest
from jobledger.domain.status import JobStatus
from jobledger.storage.ledger import DATABASE_FILE
from jobledger.storage.records import Unavailable
from ledger_faults import Faults, Killed, copy_of_files
from test_orders_killed import FaultyHost, nobody

HOUR = 3_600_000
NOON = 1_800_014_400_000  # 2027-01-15T12:00Z
TWO = NOON + 14 * HOUR
MORE_CALLS_THAN_ANY_STORY = 100
OLGA = Origin(by="olga", source="10.0.0.7", reason="night shift", key="k-1")
OTHER = Origin(by="test")


def plan(*jobs: str) -> JobPlan:
    return JobPlan(
        root=Context(name="nightly", jobs=tuple(ListedJob("host", job) for job in jobs)),
        jobs=tuple(CommandJob(agent="host", name=job, command_line="true") for job in jobs),
        window=StartWindow(cron="0 0 2 * * ?", zone="UTC", time_to_live_ms=6 * HOUR),
    )


class World:
    """A dashboard whose clock the test sets, on a folder."""

    def __init__(self, folder: Path, host: Host | None = None, now: int = NOON) -> None:
        self.now = now
        config = DashboardConfig(data_dir=folder, threads=2)
        self.dashboard = Dashboard(config, open_transport=nobody, clock=lambda: self.now, host=host or Host())
        self.dashboard.start()

    def log(self) -> list[Recorded]:
        return self.dashboard.ledger.facts(plan_stream("nightly"))

    def facts(self, kind: type) -> list[Recorded]:
        return [each for each in self.log() if isinstance(each.fact, kind)]

    def state(self) -> PlanState:
        state: PlanState | None = None
        for recorded in self.log():
            state = evolve_plan(state, recorded)
        assert state is not None
        return state

    def prepared(self) -> UUID:
        prepared = self.state().prepared
        assert prepared is not None
        return prepared.instance_id

    def active(self) -> list[UUID]:
        return [row.instance_id for row in self.dashboard.instances(active=True).items]

    def settle(self) -> None:
        """Return once nothing is under way: no entry waits, no start is due, no deletion is half done."""
        for _ in range(2000):
            self.dashboard._ask_plan("nightly", StartDue())
            if not self.dashboard.ledger.unhandled() and self.state().standing is not PlanStanding.DELETING:
                return
            threading.Event().wait(0.005)
        raise AssertionError(f"it does not come to rest: {[type(each.fact).__name__ for each in self.log()]}")


def pushed(world: World) -> None:
    """A plan whose next instance has a job held."""
    world.dashboard.push_plan(plan("a", "b"), {}, OTHER)
    hold = HoldJob(job="host-a", context="nightly")
    world.dashboard.command(world.prepared(), hold, OTHER)


def begun(world: World) -> None:
    """And that instance has begun."""
    pushed(world)
    world.now = TWO
    world.dashboard._ask_plan("nightly", StartDue())


# --- the stories --------------------------------------------------------------------------------------------


def start(world: World) -> None:
    world.now = TWO
    world.dashboard._ask_plan("nightly", StartDue())
    if not world.facts(InstanceDue):
        raise Unavailable("the start was put off")


def started_once(world: World, *, answered: bool) -> str:
    (due,) = world.facts(InstanceDue)
    assert not world.facts(StartSkipped)
    assert isinstance(due.fact, InstanceDue)
    assert due.fact.due_at == TWO
    assert world.active() == [due.fact.instance_id]
    assert held(world, due.fact.instance_id) == ["host-a"]
    return "whole"


def push(world: World) -> None:
    world.dashboard.push_plan(plan("a", "c"), {}, OLGA)


def pushed_with_what_was_set(world: World, *, answered: bool) -> str:
    version = world.state().version
    assert version == 2 or not answered
    assert held(world, world.prepared()) == ["host-a"]
    assert world.dashboard.instance(world.prepared()).plan_version == version
    prepared = [row.instance_id for row in world.dashboard.instances(status="PREPARED").items]
    assert prepared == [world.prepared()]
    return "whole" if version == 2 else "not at all"


def reset(world: World) -> None:
    world.dashboard.reset_instance(world.active()[0], OLGA)


def reset_once(world: World, *, answered: bool) -> str:
    (old,) = (each.fact.instance_id for each in world.facts(InstanceDue))
    resets = world.facts(InstanceReset)
    assert resets or not answered
    before = "whole" if resets else "not at all"
    fresh, _ = world.dashboard.reset_instance(old, OLGA)
    (told,) = world.facts(InstanceReset)
    assert isinstance(told.fact, InstanceReset)
    assert (told.fact.instance_id, told.fact.previous) == (fresh, old)
    assert world.active() == [fresh]
    assert ends(world, old) == ["reset"]
    assert world.dashboard.instance(fresh).counts() == {"WAITING": 2}
    return before


def delete(world: World) -> None:
    world.dashboard.delete_plan("nightly", OLGA)


def deleted_whole(world: World, *, answered: bool) -> str:
    begun_to = world.facts(PlanDeletionBegun)
    assert begun_to or not answered
    before = "whole" if begun_to else "not at all"
    if not begun_to:
        world.dashboard.delete_plan("nightly", OLGA)
        world.settle()
    assert (len(world.facts(PlanDeletionBegun)), len(world.facts(PlanDeleted))) == (1, 1)
    (old,) = (each.fact.instance_id for each in world.facts(InstanceDue))
    assert ends(world, old) == ["plan deleted"]
    assert world.active() == []
    assert world.dashboard.instances(status="PREPARED").items == []
    assert world.dashboard.plans() == []
    told = world.dashboard.ledger.reader.rows("SELECT kind FROM outbox ORDER BY sequence")
    assert [kind for (kind,) in told][-2:] == ["remove", "withdraw"]
    return before


def held(world: World, instance_id: UUID) -> list[str]:
    state = world.dashboard.instance(instance_id)
    units = state.topology.units
    return [each.identifier for each in units if state.job(each.index).status is JobStatus.ON_HOLD]


def ends(world: World, instance_id: UUID) -> list[str]:
    facts = (each.fact for each in world.dashboard.log(instance_id))
    return [fact.reason for fact in facts if isinstance(fact, InstanceEnded)]


# --- at every call ------------------------------------------------------------------------------------------


def killed_at(
    folder: Path, call: int, given: Callable[[World], None], when: Callable[[World], None]
) -> tuple[bool, bool]:
    """Die at a call; whether it came to that, and whether the story was told to its end."""
    faults = Faults()
    world = World(folder, FaultyHost(faults))
    given(world)

    def die() -> None:
        copy_of_files(folder / DATABASE_FILE, folder / "left")
        raise Killed

    faults.arm(call, die)
    try:
        when(world)
    except Unavailable:
        answered = False
    else:
        answered = True
    struck = faults.struck
    faults.disarm()
    world.dashboard.close()
    return struck, answered


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("given", "when", "then", "seen_at_least"),
    [
        (pushed, start, started_once, {"whole"}),
        (pushed, push, pushed_with_what_was_set, {"whole", "not at all"}),
        (begun, reset, reset_once, {"whole", "not at all"}),
        (begun, delete, deleted_whole, {"whole", "not at all"}),
    ],
    ids=["start", "push", "reset", "delete"],
)
def test_killed_at_any_call_it_is_done_once_or_not_at_all_and_nothing_is_left_half_done(
    tmp_path: Path,
    given: Callable[[World], None],
    when: Callable[[World], None],
    then: Callable[..., str],
    seen_at_least: set[str],
) -> None:
    seen: set[str] = set()
    for call in range(1, MORE_CALLS_THAN_ANY_STORY):
        folder = tmp_path / f"{call}"
        folder.mkdir()
        struck, answered = killed_at(folder, call, given, when)
        if not struck:
            assert call > 4, "the story made fewer calls than it has statements"
            assert seen >= seen_at_least
            return
        world = World(folder / "left", now=TWO if given is begun or when is start else NOON)
        try:
            world.settle()
            seen.add(then(world, answered=answered))
            world.settle()
            nothing_half_done(world)
        finally:
            world.dashboard.close()
    raise AssertionError("the story never came to its end")


def nothing_half_done(world: World) -> None:
    """What is live is what the logs say, each instance begins and ends once, and starts are told of once."""
    starts = [each.fact.due_at for each in world.facts(InstanceDue)]
    assert len(starts) == len(set(starts))
    for row in world.dashboard.instances(limit=100).items:
        log = world.dashboard.ledger.facts(row.instance_id)
        live: InstanceState = world.dashboard.instance(row.instance_id)
        assert digest(replay(live.topology, log)) == digest(live)
        assert (row.status, row.position) == (live.status, live.position)
        assert sum(isinstance(each.fact, InstanceStarted) for each in log) <= 1
        assert sum(isinstance(each.fact, InstanceEnded) for each in log) <= 1
