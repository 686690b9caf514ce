"""What always holds of job locks, whoever asks for what and lets go of what in whatever order."""

import sys
from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from jobledger.domain.facts import Cause, Recorded
from jobledger.domain.lock_group import Claim, LockGroup, replay_locks
from jobledger.domain.lock_snapshots import digest_of_locks, freeze_locks, thaw_locks
from jobledger.domain.lock_waits import LockWaits
from jobledger.domain.locks import LockStep, define, let_go, let_go_all_of, request, reset
from jobledger.domain.plan import Lock
from lock_oracle import Asked, LockOracle

NAMES = ("L", "M", "N")
CAUSE = Cause(position=1)

locks = st.builds(
    Lock,
    name=st.sampled_from(NAMES),
    count=st.integers(1, 4),
    exclusive=st.sampled_from([False, False, True]),
)


class LocksOfAGroup(RuleBasedStateMachine):
    """Anything at all is done to the locks of a group, and to the oracle beside them."""

    state: LockGroup
    log: list[Recorded]

    @initialize(counts=st.tuples(*[st.integers(1, 4)] * 3), exclusive=st.booleans())
    def begin(self, counts: tuple[int, ...], exclusive: bool) -> None:
        self.oracle = LockOracle()
        self.log = []
        defined = [
            Lock(name, count, exclusive=exclusive and name == "N")
            for name, count in zip(NAMES, counts, strict=True)
        ]
        step = define(None, "uk", defined, at=0, cause=CAUSE)
        assert step is not None
        for lock in defined:
            self.oracle.define(lock.name, lock.count, exclusive=lock.exclusive)
        self.keep(step)

    def keep(self, step: LockStep) -> None:
        """Take a step, which the oracle has taken too but for what is granted by it."""
        assert [claim.ticket for claim in step.granted] == self.oracle.grant()
        assert [claim.ticket for claim in step.granted] == sorted(claim.ticket for claim in step.granted)
        assert all(step.state.claims[claim.ticket] == claim for claim in step.granted)
        for claim in step.granted:
            lock = step.state.locks[claim.lock]
            alone = list(lock.holders) == [claim.ticket]
            assert lock.held <= lock.count or alone, f"{lock.name} is held beyond its count"
            assert not lock.exclusive or (alone and step.state.held == 1), "exclusive, but not alone"
            assert lock.exclusive or not step.state.exclusively_held, "granted beside an exclusive one"
        self.log += step.facts
        self.state = step.state

    def pick(self, number: int) -> int:
        """A ticket: of those that hold or wait as a rule, now and then one that is gone or never was."""
        tickets = [*sorted(self.state.claims), 0, self.state.next_ticket, number]
        return tickets[number % len(tickets)]

    @rule(lock=st.sampled_from(NAMES), instance=st.integers(0, 3), count=st.integers(1, 5))
    def a_job_asks(self, lock: str, instance: int, count: int) -> None:
        ticket = self.state.next_ticket
        step = request(
            self.state,
            lock=lock,
            instance_id=UUID(int=instance),
            job=f"job-{ticket}",
            count=count,
            at=len(self.log),
            cause=CAUSE,
        )
        assert {claim.ticket for claim in step.granted} <= {ticket}, "a request let somebody else in"
        self.oracle.waiting.append(Asked(ticket, lock, instance, count))
        self.keep(step)

    @rule(numbers=st.lists(st.integers(0, 60), min_size=1, max_size=3))
    def jobs_let_go(self, numbers: list[int]) -> None:
        tickets = [self.pick(number) for number in numbers]
        self.oracle.let_go(set(tickets))
        self.keep(let_go(self.state, tickets, at=len(self.log), cause=CAUSE))

    @rule(instance=st.integers(0, 4))
    def an_instance_ends(self, instance: int) -> None:
        claims = [*self.oracle.holding, *self.oracle.waiting]
        self.oracle.let_go({each.ticket for each in claims if each.instance == instance})
        self.keep(let_go_all_of(self.state, UUID(int=instance), at=len(self.log), cause=CAUSE))
        assert not [claim for claim in self.state.claims.values() if claim.instance_id == UUID(int=instance)]

    @rule(pushed=st.lists(locks, max_size=3, unique_by=lambda lock: lock.name))
    def a_plan_is_pushed(self, pushed: list[Lock]) -> None:
        for lock in pushed:
            self.oracle.define(lock.name, lock.count, exclusive=lock.exclusive)
        step = define(self.state, "UK", pushed, at=len(self.log), cause=CAUSE)
        assert step is not None
        self.keep(step)

    @rule(lock=st.sampled_from((*NAMES, "none")))
    def an_operator_resets(self, lock: str) -> None:
        self.oracle.let_go({each.ticket for each in self.oracle.holding if each.lock == lock})
        self.keep(reset(self.state, lock, at=len(self.log), cause=CAUSE))

    def claims(self, *, hold: bool) -> list[Claim]:
        return [claim for _, claim in sorted(self.state.claims.items()) if claim.holds is hold]

    @invariant()
    def who_holds_and_who_waits_is_what_the_oracle_says(self) -> None:
        assert [claim.ticket for claim in self.claims(hold=False)] == [
            each.ticket for each in self.oracle.waiting
        ]
        assert {claim.ticket for claim in self.claims(hold=True)} == {
            each.ticket for each in self.oracle.holding
        }

    @invariant()
    def nothing_that_may_have_its_lock_waits(self) -> None:
        assert not [each for each in self.oracle.waiting if self.oracle.may_have(each)]
        assert self.state.next_grant() is None

    @invariant()
    def what_is_kept_by_increments_is_what_the_claims_amount_to(self) -> None:
        for lock in self.state.locks.values():
            own = [claim for claim in self.state.claims.values() if claim.lock == lock.name]
            assert set(lock.holders) == {claim.ticket for claim in own if claim.holds}
            assert set(lock.waiting) == {claim.ticket for claim in own if not claim.holds}
            assert lock.held == sum(claim.count for claim in own if claim.holds)
        held = [lock for lock in self.state.locks.values() if lock.holders]
        assert self.state.held == len(held)
        assert self.state.exclusively_held == sum(lock.exclusive for lock in held)
        for instance_id, tickets in self.state.by_instance.items():
            own = [claim for claim in self.state.claims.values() if claim.instance_id == instance_id]
            assert list(tickets) == sorted(claim.ticket for claim in own)
            assert tickets, "an instance without a ticket is still remembered"

    @invariant()
    def whoever_waits_waits_for_those_that_are_told_and_for_nobody_else(self) -> None:
        waits = LockWaits(self.state)
        for claim in self.claims(hold=False):
            wait = waits.of(claim.ticket)
            assert wait is not None
            before = [other for other in self.claims(hold=False) if other.ticket < claim.ticket]
            shuts_out = self.state.locks[claim.lock].exclusive
            same = [other for other in before if shuts_out or other.lock == claim.lock]
            exclusive = [
                other
                for other in before
                if other.lock != claim.lock and self.state.locks[other.lock].exclusive
            ]
            assert (wait.ahead, wait.first_ahead) == (len(same), next(iter(same), None))
            assert wait.exclusive_ahead == next(iter(exclusive), None)
            in_its_way = [each.ticket for each in (*wait.held_by, *same, *exclusive)]
            assert in_its_way, "it waits for nothing"
            without_them = let_go(self.state, in_its_way, at=len(self.log), cause=CAUSE)
            assert claim.ticket in {granted.ticket for granted in without_them.granted}
        assert all(waits.of(claim.ticket) is None for claim in self.claims(hold=True))

    @invariant()
    def replay_gives_the_live_state(self) -> None:
        again = replay_locks(self.log)
        assert again == self.state
        assert digest_of_locks(again) == digest_of_locks(self.state)

    @invariant()
    def a_snapshot_gives_the_live_state(self) -> None:
        thawed = thaw_locks(freeze_locks(self.state))
        assert thawed == self.state
        assert digest_of_locks(thawed) == digest_of_locks(self.state)

    def teardown(self) -> None:
        """Nobody starves: when those that hold let go one after the other, all that wait get their turn."""
        if not hasattr(self, "state"):
            return
        for _ in range(len(self.state.claims)):
            ticket = self.claims(hold=True)[0].ticket
            self.oracle.let_go({ticket})
            self.keep(let_go(self.state, [ticket], at=len(self.log), cause=CAUSE))
        assert not self.state.claims
        assert not self.state.by_instance


TestLocksOfAGroup = LocksOfAGroup.TestCase
TestLocksOfAGroup.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# --- what it costs ------------------------------------------------------------------------------------------


def with_waiters(number: int) -> LockGroup:
    """One lock that two hold, and so many wait for, each of another instance."""
    step = define(None, None, [Lock("L", 2), Lock("E", exclusive=True)], at=0, cause=CAUSE)
    assert step is not None
    for job in range(number + 2):
        step = request(step.state, lock="L", instance_id=UUID(int=job), job=f"job-{job}", at=0, cause=CAUSE)
    return step.state


def calls_in(act: Callable[[], object]) -> int:
    """How many functions, of Python or of C, are called: what it costs on a machine of any speed."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda state: let_go(state, [1], at=1, cause=CAUSE), id="a grant by a release"),
        pytest.param(lambda state: let_go(state, [8], at=1, cause=CAUSE), id="a withdrawal"),
        pytest.param(lambda state: let_go(state, [3], at=1, cause=CAUSE), id="a withdrawal of the first"),
        pytest.param(lambda state: let_go_all_of(state, UUID(int=5), at=1, cause=CAUSE), id="an end"),
        pytest.param(
            lambda state: request(state, lock="L", instance_id=UUID(int=1), job="a-b", at=1, cause=CAUSE),
            id="a request",
        ),
    ],
)
def test_it_costs_the_same_before_ten_that_wait_and_before_ten_thousand(
    act: Callable[[LockGroup], LockStep],
) -> None:
    few, many = with_waiters(10), with_waiters(10_000)
    assert act(few).facts, "nothing was decided"
    assert calls_in(lambda: act(many)) <= 1.5 * calls_in(lambda: act(few))
