"""An instance is reset: it ends, and a fresh one begins instead, whatever comes between the two."""

from dataclasses import replace as replace_dataclass
from pathlib import Path
from uuid import UUID, uuid4

import dashboard_rig
import pytest
from dashboard_rig import OPERATOR, Bench, bench
from jobledger.actors.dashboard.errors import NotPermitted, UnknownName
from jobledger.actors.dashboard.instance_actor import Ordered
from jobledger.actors.dashboard.plan_actor import Delete
from jobledger.domain.commands import EndInstance, ResetInstance, SetParameters, SubmitJob
from jobledger.domain.facts import (
    InstanceEnded,
    InstanceReset,
    InstanceStarted,
    JobInitiated,
    ResetDropped,
    StartSkipped,
)
from jobledger.domain.messages import DryRun
from jobledger.domain.plan import JobPlan, Lock, LockParticipant
from jobledger.domain.plan_log import plan_stream
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import InboxEntry
from msgspec.structs import replace
from plan_rig import (
    HOUR,
    NIGHTLY,
    TWO,
    begin,
    kinds_of,
    prepared_id,
    push,
    wait_fact,
    wait_starts,
)


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on the embedded database and on a real server."""
    if request.param == "postgresql":
        monkeypatch.setattr(dashboard_rig, "DATABASE_URL", request.getfixturevalue("fresh_postgres_url"))


def reset(here: Bench, instance_id: UUID, **options: object) -> UUID:
    fresh, _facts = here.dashboard.reset_instance(instance_id, OPERATOR, **options)  # type: ignore[arg-type]
    return fresh


def test_a_reset_ends_the_instance_and_begins_a_fresh_one_for_the_same_start(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        push(here)
        old = begin(here)
        here.dashboard.command(old, SubmitJob(job="host-a", context="nightly"), OPERATOR)
        agent.wait_for(lambda told: bool(told.initiations))
        here.now = TWO + HOUR
        fresh = reset(here, old)
        ended, state = here.dashboard.instance(old), here.dashboard.instance(fresh)
        assert (ended.end_reason, state.status) == ("reset", "WAITING")
        assert (state.due_at, state.business_date) == (TWO, ended.business_date)
        assert (state.started_at, state.ends_at) == (TWO + HOUR, TWO + HOUR + NIGHTLY.time_to_live_ms)
        agent.wait_for(lambda told: told.told[-3:] == ["kill None", "remove", "publish nightly"])
        first = here.dashboard.log(fresh)[0]
        assert isinstance(first.fact, InstanceStarted)
        assert first.fact.instead_of == old
        assert (first.cause.command, first.cause.by, first.cause.reason) == ("StartInstance", "olga", "test")
        told = wait_fact(here, InstanceReset)
        assert told.fact == InstanceReset(instance_id=fresh, previous=old, version=1)
        assert (told.cause.by, told.cause.source, told.cause.reason) == ("olga", "10.0.0.7", "test")


def test_the_fresh_one_gets_the_same_parameters_if_it_is_to_and_others_win(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        old = here.dashboard.start_instance("nightly", OPERATOR, parameters={"day": "1", "desk": "fx"})
        for command in (
            SetParameters(parameters={"day": "2"}),
            SetParameters(parameters={"book": "b"}, context="nightly"),
        ):
            here.dashboard.command(old, command, OPERATOR)
        fresh = reset(here, old, same_parameters=True, parameters={"desk": "ir"})
        assert here.dashboard.instance(fresh).parameters == {"day": "2", "desk": "ir", "book": "b"}
        fresh = reset(here, fresh)
        assert here.dashboard.instance(fresh).parameters == {}


def test_the_fresh_one_may_begin_with_all_its_commands_held(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here, ["a", "b"])
        fresh = reset(here, begin(here), hold_commands=True)
        assert here.dashboard.instance(fresh).counts() == {"ON_HOLD": 2}


def test_what_ran_dry_runs_dry_again(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        old = here.dashboard.start_instance("nightly", OPERATOR, dry_run=DryRun(fixed_ms=5))
        assert here.dashboard.instance(reset(here, old)).dry_run == DryRun(fixed_ms=5)


def test_the_fresh_one_is_of_the_newest_version(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        old = begin(here)
        push(here, ["a", "b"])
        assert here.dashboard.instance(old).plan_version == 1
        assert here.dashboard.instance(reset(here, old)).plan_version == 2


def test_a_plan_that_runs_one_at_a_time_has_one_active_instance_after_a_reset(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        fresh = reset(here, begin(here))
        assert [row.instance_id for row in here.dashboard.instances(active=True).items] == [fresh]
        assert here.dashboard.instance(prepared_id(here)).prepared


def test_the_window_of_the_fresh_one_closes_by_the_clock(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        old = begin(here)
        here.now = TWO + HOUR
        fresh = reset(here, old)
        here.pass_time(TWO + NIGHTLY.time_to_live_ms)
        assert not here.dashboard.instance(fresh).ended
        here.pass_time(TWO + HOUR + NIGHTLY.time_to_live_ms)
        assert here.wait(fresh, lambda each: each.ended).end_reason == "window closed"


def test_what_cannot_be_reset_says_why_and_what_would_help(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        with pytest.raises(NotPermitted, match="has not started"):
            reset(here, prepared_id(here))
        old = begin(here)
        here.dashboard.disable_plan("nightly", OPERATOR)
        with pytest.raises(NotPermitted, match="enable it first") as refused:
            reset(here, old)
        assert (refused.value.refused.status, refused.value.refused.permitted_in) == (
            "DISABLED",
            ("ENABLED",),
        )
        assert not here.dashboard.instance(old).ended
        here.dashboard.enable_plan("nightly", OPERATOR)
        here.dashboard.command(old, EndInstance(), OPERATOR)
        with pytest.raises(NotPermitted, match="has ended"):
            reset(here, old)
        with pytest.raises(UnknownName, match="no instance"):
            reset(here, uuid4())


def test_the_same_reset_again_is_answered_alike_and_begins_nothing_more(tmp_path: Path) -> None:
    keyed = replace(OPERATOR, key="retry-1")
    with bench(tmp_path) as here:
        push(here)
        old = begin(here)
        first = here.dashboard.reset_instance(old, keyed)
        here.restart()
        assert here.dashboard.reset_instance(old, keyed) == first
        assert kinds_of(here.dashboard).count("InstanceReset") == 1


def reset_half(here: Bench, instance_id: UUID) -> UUID:
    """As far as a process gets that is killed before the plan hears of it."""
    fresh = UUID(int=instance_id.int ^ 1)
    here.dashboard.ledger.on_received = lambda _entries: None
    here.dashboard._instance_ended = lambda *_: None  # type: ignore[method-assign]
    here.dashboard._instances._around = replace_dataclass(
        here.dashboard._instances._around, instance_ended=lambda *_: None
    )
    here.dashboard._instances.ask(instance_id, Ordered(ResetInstance(successor=fresh), OPERATOR), 30.0)
    return fresh


def test_a_reset_that_a_restart_cuts_in_two_begins_the_fresh_one_once(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        old = begin(here)
        here.restart()
        fresh = reset_half(here, old)
        assert kinds_of(here.dashboard).count("InstanceReset") == 0
        for _ in range(2):
            here.restart()
        wait_fact(here, InstanceReset)
        here.restart()
        assert kinds_of(here.dashboard).count("InstanceReset") == 1
        assert here.dashboard.instance(fresh).status == "WAITING"
        assert [row.instance_id for row in here.dashboard.instances(active=True).items] == [fresh]
        assert here.dashboard.ledger.unhandled() == []


def test_a_reset_whose_plan_is_deleted_on_the_way_says_that_nothing_begins(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        push(here)
        old = begin(here)
        here.restart()
        reset_half(here, old)
        plan = here.dashboard._plan_actor("nightly")
        inbox, here.dashboard.ledger._inbox = here.dashboard.ledger._inbox, _Empty()  # type: ignore[assignment]
        here.dashboard._active.discard(old)
        plan.ask(Delete(OPERATOR))
        here.dashboard.ledger._inbox = inbox
        here.restart()
        assert wait_fact(here, ResetDropped).fact == ResetDropped(previous=old)
        assert here.dashboard.instances(active=True).items == []
        assert here.dashboard.ledger.unhandled() == []


class _Empty:
    def unhandled(self, *_: object) -> list[object]:
        return []


def test_no_start_takes_the_place_of_an_instance_that_is_reset_while_the_clock_strikes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path) as here:
        push(here)
        old = here.dashboard.start_instance("nightly", OPERATOR, run_until_ended=True)
        ledger, looks = here.dashboard.ledger, iter(range(100))
        fresh = UUID(int=old.int ^ 1)

        def unhandled(stream: UUID | None = None, **more: int) -> list[InboxEntry]:
            found = Ledger.unhandled(ledger, stream, **more)
            if stream == plan_stream("nightly") and next(looks) == 0:
                here.dashboard._instances.ask(old, Ordered(ResetInstance(successor=fresh), OPERATOR), 30.0)
            return found

        monkeypatch.setattr(ledger, "unhandled", unhandled)
        here.pass_time(TWO)
        (start,) = wait_starts(here, 2)[1:]
        assert isinstance(start, StartSkipped)
        assert start.reason == "another instance is active"
        assert [row.instance_id for row in here.dashboard.instances(active=True).items] == [fresh]


def test_a_reset_lets_go_of_the_locks_of_the_old_one(tmp_path: Path) -> None:
    lock = Lock("db", participants=(LockParticipant("nightly", "host-a"),))
    with bench(tmp_path) as here:
        here.agent()
        push(here)
        plan = here.dashboard.plan("nightly").plan
        locked: JobPlan = replace(plan, root=replace(plan.root, locks=(lock,)))
        here.dashboard.push_plan(locked, {}, OPERATOR)
        old = begin(here)
        submit = SubmitJob(job="host-a", context="nightly")
        here.dashboard.command(old, submit, OPERATOR)
        fresh = reset(here, old)
        facts = here.dashboard.command(fresh, submit, OPERATOR)
        assert [type(each.fact) for each in facts] == [JobInitiated]
        ends = [each.fact for each in here.dashboard.log(old)]
        assert sum(isinstance(fact, InstanceEnded) for fact in ends) == 1
