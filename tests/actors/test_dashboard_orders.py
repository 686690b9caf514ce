"""Orders of operators through the actors: asleep, ended, from many sides at once, again after a restart."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import dashboard_rig
import msgspec
import pytest
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.dashboard.errors import NotPermitted, UnknownName
from jobledger.actors.dashboard.instance_actor import CatchUp, Heard, ReadAgain, Resubmitted
from jobledger.actors.dashboard.origin import Origin
from jobledger.domain import commands
from jobledger.domain.commands import (
    Command,
    EndInstance,
    HoldContext,
    HoldJob,
    ReleaseContext,
    ReleaseJob,
    ResetJob,
    SubmitJob,
)
from jobledger.domain.facts import InitiationKept, JobHeld, JobInitiated, JobReleased, Recorded
from jobledger.domain.instance import replay
from jobledger.domain.snapshots import digest
from jobledger.domain.status import JobStatus

CHAIN = plan_of("chain", ["a", "b", "c"], {"b": ["a"], "c": ["b"]})
THREADS = 20


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on the embedded database and on a real server."""
    if request.param == "postgresql":
        monkeypatch.setattr(dashboard_rig, "DATABASE_URL", request.getfixturevalue("fresh_postgres_url"))


def begin(here: Bench) -> UUID:
    here.agent()
    here.dashboard.push_plan(CHAIN, {}, OPERATOR)
    return here.dashboard.start_instance("chain", OPERATOR)


def on(kind: type[commands.JobCommand], job: str, **fields: object) -> Command:
    return kind(job=f"host-{job}", context="chain", **fields)


def log(here: Bench, instance_id: UUID) -> list[Recorded]:
    return here.dashboard.ledger.facts(instance_id)


def is_its_log(here: Bench, instance_id: UUID) -> bool:
    """Whether the live state is what the log amounts to."""
    live = here.dashboard.instance(instance_id)
    return digest(replay(live.topology, log(here, instance_id))) == digest(live)


def fall_asleep(here: Bench, instance_id: UUID) -> None:
    here.pass_time(here.now + 10 * 60_000)
    for _ in range(1_000):
        if f"instance-{instance_id}" not in here.dashboard.actor_names():
            return
        threading.Event().wait(0.01)
    raise AssertionError("the instance did not fall asleep")


def wait_until(done: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if done():
            return
        threading.Event().wait(0.01)
    raise AssertionError("waited in vain")


def test_a_sleeping_instance_wakes_for_an_order_and_keeps_what_was_ordered_before(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        instance_id = begin(here)
        here.dashboard.command(instance_id, on(HoldJob, "b"), OPERATOR)
        here.report(instance_id, "a", successful=True, id="a/finished")
        here.wait(instance_id, lambda state: state.job(1).pending is not None)
        fall_asleep(here, instance_id)
        assert here.dashboard.why(instance_id, "chain", "host-c", limit=10).blockers[0].fact is not None

        fall_asleep(here, instance_id)
        told = here.dashboard.command(instance_id, on(ReleaseJob, "b"), OPERATOR)

        assert [type(each.fact) for each in told] == [JobReleased, JobInitiated]
        here.agents["host"].wait_for(lambda agent: "initiate b" in agent.told)
        assert is_its_log(here, instance_id)


def test_a_sleeping_instance_knows_an_order_that_came_before_by_its_key(tmp_path: Path) -> None:
    keyed = msgspec.structs.replace(OPERATOR, key="once")
    with bench(tmp_path) as here:
        instance_id = begin(here)
        first = here.dashboard.command(instance_id, on(SubmitJob, "a"), keyed)
        fall_asleep(here, instance_id)
        assert here.dashboard.command(instance_id, on(SubmitJob, "a"), keyed) == first
        assert here.dashboard.instance(instance_id).initiations == 1


def test_an_order_is_obeyed_although_old_news_of_the_inbox_comes_with_it(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        instance_id = begin(here)
        here.report(instance_id, "a", successful=True, id="a/finished")
        here.wait(instance_id, lambda state: state.job(0).status is JobStatus.COMPLETE)
        (entry,) = here.dashboard.ledger.entries([1]).values()
        instances, told = here.dashboard._instances, []
        actor = instances._live[instance_id].ref._actor_weakref()
        assert actor is not None
        with here.dashboard._turns.of_plan(instance_id):
            instances.tell(instance_id, CatchUp())
            wait_until(lambda: actor.mailbox_depth == 0)
            for message in (ReadAgain(), Heard(entry), Resubmitted(entry)):
                instances.tell(instance_id, message)
            asker = threading.Thread(
                target=lambda: told.extend(here.dashboard.command(instance_id, on(HoldJob, "c"), OPERATOR))
            )
            asker.start()
            wait_until(lambda: actor.mailbox_depth == 4)
        asker.join()
        assert [type(each.fact) for each in told] == [JobHeld]
        assert is_its_log(here, instance_id)


def test_an_ended_instance_refuses_every_order_and_its_log_stays_as_it_is(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        instance_id = begin(here)
        here.dashboard.command(instance_id, EndInstance(), OPERATOR)
        fall_asleep(here, instance_id)
        before = len(log(here, instance_id))
        orders: list[Command] = [
            *(on(kind, "a") for kind in commands.JobCommand.__subclasses__()),
            *(kind(context="chain") for kind in commands.ContextCommand.__subclasses__()),
            commands.SetParameters(parameters={"A": "1"}),
            commands.DisableSchedules(),
            commands.EnableSchedules(),
            commands.RunUntilEnded(),
            EndInstance(),
        ]
        assert len(orders) >= 19
        for order in orders:
            with pytest.raises(NotPermitted) as refused:
                here.dashboard.command(instance_id, order, OPERATOR)
            assert refused.value.refused.status == "ENDED", order
        assert len(log(here, instance_id)) == before


def test_an_instance_that_nobody_has_takes_no_order_and_leaves_no_actor(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        begin(here)
        unknown = UUID(int=4711)
        with pytest.raises(UnknownName):
            here.dashboard.command(unknown, on(HoldJob, "a"), OPERATOR)
        with pytest.raises(UnknownName):
            here.dashboard.why(unknown, "chain", "host-a", limit=10)
        assert f"instance-{unknown}" not in here.dashboard.actor_names()


def in_threads(work: object) -> list[object]:
    """The same from many threads at once; what each came to."""
    ready = threading.Barrier(THREADS)
    outcomes: list[object] = [None] * THREADS

    def run(number: int) -> None:
        ready.wait(timeout=30)
        outcomes[number] = work(number)  # type: ignore[operator]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return outcomes


def test_of_twenty_who_hold_a_job_at_once_one_does_and_the_others_are_told_that_it_is_held(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        instance_id = begin(here)

        def hold(number: int) -> str:
            try:
                facts = here.dashboard.command(instance_id, on(HoldJob, "b"), Origin(by=f"olga-{number}"))
            except NotPermitted as error:
                return str(error.refused.status)
            return facts[0].cause.by or ""

        outcomes = Counter(in_threads(hold))
        (held,) = [each for each in log(here, instance_id) if isinstance(each.fact, JobHeld)]
        assert outcomes == Counter({held.cause.by: 1, "ON_HOLD": THREADS - 1})


def test_one_key_from_twenty_sides_at_once_is_one_order(tmp_path: Path) -> None:
    keyed = msgspec.structs.replace(OPERATOR, key="together")
    with bench(tmp_path) as here:
        instance_id = begin(here)

        def submit(_number: int) -> tuple[int, ...]:
            facts = here.dashboard.command(instance_id, on(SubmitJob, "a"), keyed)
            return tuple(each.position for each in facts)

        assert len(set(in_threads(submit))) == 1
        assert here.dashboard.instance(instance_id).initiations == 1
        here.agents["host"].wait_for(lambda agent: agent.told.count("initiate a") == 1)


def test_orders_of_all_kinds_from_twenty_sides_leave_a_log_in_which_each_is_whole_and_once(
    tmp_path: Path,
) -> None:
    kinds = [
        lambda: on(HoldJob, "b"),
        lambda: on(ReleaseJob, "b"),
        lambda: on(ResetJob, "a"),
        lambda: HoldContext(context="chain"),
        lambda: ReleaseContext(context="chain"),
        lambda: on(SubmitJob, "c"),
    ]
    with bench(tmp_path) as here:
        instance_id = begin(here)
        answered: dict[str, tuple[Recorded, ...]] = {}

        def order(number: int) -> None:
            for turn in range(6):
                name = f"olga-{number}-{turn}"
                if (number + turn) % 5 == 0:
                    here.report(instance_id, "a", successful=True, id=name)
                    continue
                try:
                    facts = here.dashboard.command(
                        instance_id, kinds[(number + turn) % len(kinds)](), Origin(by=name)
                    )
                except NotPermitted:
                    continue
                answered[name] = facts

        in_threads(order)
        here.wait(instance_id, lambda _state: not here.dashboard.ledger.unhandled(instance_id))
        stored = log(here, instance_id)
        assert [each.position for each in stored] == list(range(1, len(stored) + 1))
        by_order: dict[str | None, list[Recorded]] = {}
        for each in stored:
            by_order.setdefault(each.cause.by, []).append(each)
        for name, facts in answered.items():
            assert tuple(by_order.get(name, ())) == facts, f"{name} was told something else than is stored"
        assert is_its_log(here, instance_id)


@pytest.mark.parametrize("kind", [SubmitJob, HoldJob, commands.SkipJob, commands.AcknowledgeError])
def test_an_order_given_again_under_its_key_after_a_restart_is_answered_alike_and_done_once(
    tmp_path: Path, kind: type[commands.JobCommand]
) -> None:
    keyed = msgspec.structs.replace(OPERATOR, key="retry")
    with bench(tmp_path) as here:
        instance_id = begin(here)
        first = here.dashboard.command(instance_id, on(kind, "b"), keyed)
        stored = log(here, instance_id)
        here.restart()
        assert here.dashboard.command(instance_id, on(kind, "b"), keyed) == first
        assert log(here, instance_id) == stored


def test_what_was_held_stays_held_over_a_restart_and_is_explained_by_who_held_it(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        instance_id = begin(here)
        here.dashboard.command(instance_id, on(HoldJob, "b"), OPERATOR)
        here.report(instance_id, "a", successful=True, id="a/finished")
        here.wait(instance_id, lambda state: state.job(1).pending is not None)
        here.restart()
        state = here.dashboard.instance(instance_id)
        assert state.job(1).status is JobStatus.ON_HOLD
        told = here.dashboard.why(instance_id, "chain", "host-c", limit=10)
        (blocker,) = told.blockers
        assert blocker.fact is not None
        assert (blocker.fact.cause.by, blocker.fact.cause.reason) == ("olga", "test")
        assert any(isinstance(each.fact, InitiationKept) for each in log(here, instance_id))
