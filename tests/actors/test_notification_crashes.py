"""The process dies at any single step between a fact and a mail that arrived, or the database fails there.

What follows the log and what sends is the real code, called one after another on a database in memory. Every
commit and every handing over of a mail is a step; each of them is the last one of a process once.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from dashboard_rig import OPERATOR, Bench, plan_of
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.host import Host
from jobledger.actors.dashboard.instance_log import InstanceLog
from jobledger.actors.dashboard.plan_versions import PlanVersions
from jobledger.actors.dashboard.topologies import Topologies
from jobledger.actors.notifications.courier import CourierActor, Wake
from jobledger.actors.notifications.follower import ActiveOf, Follow, FollowerActor, Ring
from jobledger.actors.notifications.plan_settings import PlanSettings
from jobledger.actors.notifications.ports import Channel, ChannelDown, Receipt
from jobledger.domain.commands import SubmitJob
from jobledger.domain.notifications import Deadlines
from jobledger.domain.plan import CommandJob, Context, FileJob, JobPlan, ListedJob, Trigger
from jobledger.storage.group_commit import GroupCommit
from jobledger.storage.ledger import Ledger
from jobledger.storage.notifications import (
    NotificationFilter,
    NotificationRow,
    Notifications,
    NotificationState,
)
from jobledger.storage.requests import Request
from notification_bench import tells
from simulated_database import Fate, SimulatedDatabase, SimulatedEngine
from simulated_disk import Crashed

MINUTE = 60_000
PLAN = JobPlan(
    root=Context(name="p", jobs=tuple(ListedJob("host", name) for name in ("a", "b", "slow", "file"))),
    jobs=(
        *(CommandJob(agent="host", name=name, command_line="true") for name in ("a", "b")),
        CommandJob(agent="host", name="slow", command_line="true", max_execution_minutes=10),
        FileJob(
            agent="host",
            name="file",
            trigger=Trigger(cron="0 * * * * ?"),
            filenames=("f",),
            sla_cron="0 0/30 * * * ?",
        ),
    ),
    notifications=tells(),
)
TOLD = 7
"""Two starts and two failures, the start of the slow one, that it is slow, and that the file is overdue."""


class _At(Host):
    def __init__(self, database: SimulatedDatabase) -> None:
        self._database = database

    def ledger(self, _database_url: str | None, _data_dir: Path) -> Ledger:
        return Ledger(SimulatedEngine(self._database))


class _Night(Bench):
    """A dashboard that tells nobody, and leaves a log."""

    def __init__(self, folder: Path, database: SimulatedDatabase) -> None:
        self.database = database
        super().__init__(folder)

    def _open(self) -> Dashboard:
        dashboard = Dashboard(
            DashboardConfig(data_dir=self.folder, threads=2),
            open_transport=lambda url: self.agents[url],
            clock=lambda: self.now,
            host=_At(self.database),
        )
        dashboard.start()
        return dashboard


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[SimulatedDatabase, UUID, int]:
    """The log of a night in which two jobs failed, one runs and a file is awaited."""
    database = SimulatedDatabase()
    bench = _Night(tmp_path_factory.mktemp("night"), database)
    try:
        bench.agent()
        Notifications(bench.dashboard.ledger).begin(0)
        bench.dashboard.push_plan(plan_of("silent", ["a"]), {}, OPERATOR)
        bench.dashboard.push_plan(PLAN, {}, OPERATOR)
        instance = bench.dashboard.start_instance("p", OPERATOR)
        for number, job in enumerate(("a", "b", "slow"), 1):
            command = SubmitJob(job=f"host-{job}", context="p")
            bench.dashboard.command(instance, command, OPERATOR)
            bench.report(instance, job, number, starting=True, fired_at=bench.now)
            if job != "slow":
                bench.report(instance, job, number, return_code=1, completed_at=bench.now)
        bench.wait(instance, lambda state: state.counts() == {"ERROR": 2, "RUNNING": 1, "WAITING": 1})
        return database, instance, bench.now
    finally:
        bench.dashboard.close()


def copy_of(database: SimulatedDatabase) -> SimulatedDatabase:
    fresh = SimulatedDatabase()
    database.connection.backup(fresh.connection)
    return fresh


class _Inline:
    """Commits on the thread that asks, so that a process can die in the middle of it."""

    def __init__(self, groups: GroupCommit) -> None:
        self._groups = groups

    def submit(self, request: Request[Any]) -> Any:
        self._groups.commit([request])
        return request.wait()

    def close(self) -> None:
        """Nothing waits."""


class World:
    """A database, a mail server that remembers, and processes that follow and send until they die."""

    def __init__(self, night: tuple[SimulatedDatabase, UUID, int]) -> None:
        database, self.instance, self.began = night
        self.now = self.began + 60 * MINUTE
        self.database = copy_of(database)
        self.taken: list[UUID] = []
        self.step = 0
        self.strike_at: int | None = None
        self.strike: Callable[[str], Fate] = lambda _what: Fate.DONE
        self.database.next_fate = lambda: self.at("commit")
        self._alive = itertools.count()

    def at(self, what: str) -> Fate:
        """One step more; the test may let it be the last."""
        self.step += 1
        return self.strike(what) if self.step == self.strike_at else Fate.DONE

    def process(self) -> "Process":
        return Process(self)

    def rows(self) -> list[NotificationRow]:
        ledger = Ledger(SimulatedEngine(self.database), committer=_Inline)
        return Notifications(ledger).page(NotificationFilter(), None, 100).items


class _Post(Channel):
    def __init__(self, world: World) -> None:
        self._world = world

    def send(self, row: NotificationRow) -> Receipt:
        self._world.at("before a mail is handed over")
        self._world.taken.append(row.id)
        self._world.at("after a mail was handed over")
        return Receipt(recipients=("ops",), delivered=("ops",))

    def probe(self, to: str) -> str:
        raise NotImplementedError(to)

    def rest(self) -> None:
        """There is no connection."""


class Process:
    """A follower and a courier, called until there is nothing left to do."""

    def __init__(self, world: World) -> None:
        self._world = world
        ledger = Ledger(SimulatedEngine(world.database), committer=_Inline)
        kept = Notifications(ledger)
        closing = threading.Event()
        self._alarms: dict[UUID, int] = {}
        self._again = True
        self.follower = FollowerActor(
            ledger=ledger,
            kept=kept,
            logs=InstanceLog(ledger, Topologies(PlanVersions(ledger))),
            settings=PlanSettings(ledger),
            subscriptions=(),
            deadlines=Deadlines(),
            active=lambda: [ActiveOf(world.instance, "p")],
            clock=lambda: world.now,
            alarm=self._alarm,
            follow_at=lambda _at: self._look_again(),
            added=lambda _channels: self._look_again(),
            woken=threading.Event(),
            closing=closing,
        )
        self.courier = CourierActor(
            channel="email",
            open_channel=lambda: _Post(world),
            notifications=kept,
            clock=lambda: world.now,
            wake_at=lambda _at: self._look_again(),
            woken=threading.Event(),
            closing=closing,
        )

    def _look_again(self) -> None:
        self._again = True

    def _alarm(self, instance_id: UUID, at: int | None) -> None:
        if at is None:
            self._alarms.pop(instance_id, None)
        else:
            self._alarms[instance_id] = at

    def run(self) -> None:
        """Until nothing is left to do; time passes meanwhile. Raises ``Crashed`` when the process dies."""
        for _ in range(200):
            if not self._again:
                return
            self._again = False
            self._world.now += 20_000
            self.follower.on_receive(Follow())
            for instance_id, at in list(self._alarms.items()):
                if at <= self._world.now:
                    del self._alarms[instance_id]
                    self._again = True
                    self.follower.on_receive(Ring(instance_id))
            self.courier.on_receive(Wake(at_once=True))
        raise AssertionError(
            f"it does not come to rest: {self.follower.snapshot()} {self.courier.snapshot()}"
        )


def steps_of(night: tuple[SimulatedDatabase, UUID, int]) -> int:
    """How many steps there are when nothing goes wrong."""
    world = World(night)
    world.process().run()
    assert Counter(row.state for row in world.rows()) == {NotificationState.SENT: TOLD}
    assert sorted(world.taken) == sorted({row.id for row in world.rows()})
    return world.step


def test_the_process_dies_at_any_step_and_everything_arrives(
    night: tuple[SimulatedDatabase, UUID, int],
) -> None:
    steps = steps_of(night)
    assert steps >= 3 * TOLD
    twice = 0
    for strike_at, fate in itertools.product(range(1, steps + 1), (Fate.CRASH_BEFORE, Fate.CRASH_AFTER)):
        world = World(night)
        met: list[str] = []

        def die(what: str, met: list[str] = met, fate: Fate = fate) -> Fate:
            met.append(what)
            if what != "commit":
                raise Crashed
            return fate

        world.strike_at, world.strike = strike_at, die
        with pytest.raises(Crashed):
            world.process().run()
        world.process().run()
        told = Counter(world.taken)
        story = f"died {met[0]} ({fate.value}), step {strike_at}"
        assert Counter(row.state for row in world.rows()) == {NotificationState.SENT: TOLD}, story
        assert set(told) == {row.id for row in world.rows()}, story
        again = [each for each, times in told.items() if times > 1]
        twice += len(again)
        assert len(again) <= 1, story
        assert all(times <= 2 for times in told.values()), story
        if again and met[0] != "after a mail was handed over":
            assert (met[0], fate) == ("commit", Fate.CRASH_BEFORE), story
    assert twice > 0, "no process died between handing over a mail and storing it: the test tests nothing"


@pytest.mark.parametrize("fate", [Fate.FULL, Fate.IN_DOUBT], ids=lambda fate: fate.name)
def test_a_commit_that_fails_makes_nothing_arrive_twice(
    night: tuple[SimulatedDatabase, UUID, int], fate: Fate
) -> None:
    for strike_at in range(1, steps_of(night) + 1):
        world = World(night)

        def fail(what: str) -> Fate:
            return fate if what == "commit" else Fate.DONE

        world.strike_at, world.strike = strike_at, fail
        world.process().run()
        assert Counter(world.taken) == Counter({row.id: 1 for row in world.rows()}), f"step {strike_at}"
        assert Counter(row.state for row in world.rows()) == {NotificationState.SENT: TOLD}


def test_a_channel_that_is_down_at_any_mail_is_tried_again(
    night: tuple[SimulatedDatabase, UUID, int],
) -> None:
    for strike_at in range(1, steps_of(night) + 1):
        world = World(night)

        def fail(what: str) -> Fate:
            if what == "before a mail is handed over":
                raise ChannelDown("nobody answers")
            return Fate.DONE

        world.strike_at, world.strike = strike_at, fail
        world.process().run()
        assert Counter(world.taken) == Counter({row.id: 1 for row in world.rows()}), f"step {strike_at}"


def test_one_instance_that_cannot_be_followed_silences_no_other(
    night: tuple[SimulatedDatabase, UUID, int],
) -> None:
    world = World(night)
    world.database.connection.execute(
        "UPDATE stored_events SET state = x'00' WHERE originator_id = ? AND originator_version = 3",
        (world.instance.hex,),
    )
    process = world.process()
    process.run()
    assert world.rows() == []
    snapshot = process.follower.snapshot()
    assert snapshot["position"] == snapshot["log"]
    assert "UnreadableFact" in snapshot["given_up"][str(world.instance)]
