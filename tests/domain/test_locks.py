"""Job locks: who gets one, in which order, and what never happens to them."""

from collections.abc import Iterable
from uuid import UUID

import pytest
from jobledger.domain.facts import Cause, Fact, LockDefined, LockGranted, LockReleased, LockReset, Recorded
from jobledger.domain.lock_group import Claim, LockGroup, evolve_locks, lock_stream, replay_locks
from jobledger.domain.lock_snapshots import digest_of_locks, freeze_locks, thaw_locks
from jobledger.domain.lock_waits import LockWaits
from jobledger.domain.locks import LockStep, define, let_go, let_go_all_of, request, reset
from jobledger.domain.plan import Lock

CAUSE = Cause(position=3)
PLAN_1, PLAN_2 = UUID(int=1), UUID(int=2)


class Locks:
    """The locks of one environment group, spoken to in the names of jobs."""

    state: LockGroup

    def __init__(self, *locks: Lock, group: str | None = None) -> None:
        self.log: list[Recorded] = []
        self.ticket: dict[str, int] = {}
        step = define(None, group, locks, at=0, cause=CAUSE)
        assert step is not None
        self._keep(step)

    def _keep(self, step: LockStep) -> list[str]:
        self.log += step.facts
        self.state = step.state
        return self.names(step.granted)

    def pushed(self, *locks: Lock) -> list[str]:
        step = define(self.state, None, locks, at=len(self.log), cause=CAUSE)
        assert step is not None
        return self._keep(step)

    def asked(self, job: str, lock: str = "L", count: int = 1, instance: UUID = PLAN_1) -> list[str]:
        """Who got a lock because the job asked: itself or nobody."""
        self.ticket[job] = self.state.next_ticket
        return self._keep(
            request(
                self.state,
                lock=lock,
                instance_id=instance,
                job=job,
                count=count,
                at=len(self.log),
                cause=CAUSE,
            )
        )

    def let_go(self, *jobs: str) -> list[str]:
        """Who got a lock because these jobs let go."""
        tickets = [self.ticket[job] for job in jobs]
        return self._keep(let_go(self.state, tickets, at=len(self.log), cause=CAUSE))

    def ended(self, instance: UUID) -> list[str]:
        return self._keep(let_go_all_of(self.state, instance, at=len(self.log), cause=CAUSE))

    def reset(self, lock: str = "L") -> list[str]:
        return self._keep(reset(self.state, lock, at=len(self.log), cause=CAUSE))

    def holding(self) -> list[str]:
        return self.names(claim for _, claim in sorted(self.state.claims.items()) if claim.holds)

    def waiting(self) -> list[str]:
        return self.names(claim for _, claim in sorted(self.state.claims.items()) if not claim.holds)

    @staticmethod
    def names(claims: Iterable[Claim]) -> list[str]:
        return [claim.job for claim in claims]


# --- as the reference has it --------------------------------------------------------------------------------


def test_jobs_of_two_plans_get_a_lock_one_by_one_in_the_order_in_which_they_asked() -> None:
    """S52."""
    locks = Locks(Lock("L", 1))
    assert locks.asked("J2", instance=PLAN_1) == ["J2"]
    assert locks.asked("J3", instance=PLAN_1) == []
    assert locks.asked("J6", instance=PLAN_2) == []
    assert locks.asked("J7", instance=PLAN_2) == []
    assert locks.let_go("J2") == ["J3"]
    assert locks.let_go("J3") == ["J6"]
    assert locks.let_go("J6") == ["J7"]
    assert locks.let_go("J7") == []
    assert not locks.state.claims


def test_as_many_hold_a_lock_as_it_counts() -> None:
    locks = Locks(Lock("L", 2))
    assert locks.asked("J2") == ["J2"]
    assert locks.asked("J3") == ["J3"]
    assert locks.asked("J6", instance=PLAN_2) == []


def test_four_jobs_of_one_lock_run_strictly_one_at_a_time() -> None:
    """S55."""
    locks = Locks(Lock("L", 1))
    assert [locks.asked(job) for job in "ABCD"] == [["A"], [], [], []]
    for job, following in (("A", ["B"]), ("B", ["C"]), ("C", ["D"]), ("D", [])):
        assert locks.holding() == [job]
        assert locks.let_go(job) == following
    assert locks.holding() == locks.waiting() == []


def test_a_lock_that_is_let_go_twice_is_let_go_once() -> None:
    """S57."""
    locks = Locks(Lock("L", 2))
    assert [locks.asked(job) for job in "ACB"] == [["A"], ["C"], []]
    facts = len(locks.log)
    assert locks.let_go("C") == ["B"]
    assert [type(each.fact) for each in locks.log[facts:]] == [LockReleased, LockGranted]
    facts = len(locks.log)
    assert locks.let_go("C") == []
    assert len(locks.log) == facts


def test_a_ticket_that_nobody_has_is_no_error() -> None:
    """S58."""
    locks = Locks(Lock("L", 1))
    assert let_go(locks.state, [1, 99, -1], at=1, cause=CAUSE).facts == ()
    assert let_go_all_of(locks.state, PLAN_2, at=1, cause=CAUSE).facts == ()
    assert reset(locks.state, "L", at=1, cause=CAUSE).facts == ()
    assert reset(locks.state, "no such lock", at=1, cause=CAUSE).facts == ()


def test_how_much_a_job_takes_counts() -> None:
    """The reference's example of weights: 20 in all, of which A takes 1, B 20, C and D 11 each."""
    locks = Locks(Lock("L", 20))
    assert locks.asked("A", count=1) == ["A"]
    assert locks.asked("C", count=11) == ["C"]
    assert locks.asked("D", count=11) == []
    assert locks.let_go("C") == ["D"]
    assert locks.asked("B", count=20) == []
    assert locks.let_go("A") == []
    assert locks.let_go("D") == ["B"]


@pytest.mark.parametrize("count", [7, 2**31 - 1, 1])
def test_without_another_holder_a_job_may_take_more_than_the_lock_has(count: int) -> None:
    locks = Locks(Lock("L", 1))
    assert locks.asked("heavy", count=count) == ["heavy"]
    assert locks.asked("light") == []
    assert locks.let_go("heavy") == ["light"]


def test_locks_of_one_name_in_several_groups_are_several_locks() -> None:
    """S62."""
    one, two, none = Locks(Lock("L"), group="uk"), Locks(Lock("L"), group="us"), Locks(Lock("L"))
    assert len({each.state.stream for each in (one, two, none)}) == 3
    assert [each.asked("A") for each in (one, two, none)] == [["A"], ["A"], ["A"]]


def test_a_group_is_the_same_in_capitals_and_one_without_a_name_is_none() -> None:
    assert lock_stream("UK") == lock_stream("uk")
    assert lock_stream("") == lock_stream(None)
    assert lock_stream("none") != lock_stream(None)


def test_who_waits_no_more_gets_nothing() -> None:
    """S63."""
    locks = Locks(Lock("L", 1))
    for job in "ABC":
        locks.asked(job)
    assert locks.let_go("B") == []
    assert locks.holding() == ["A"]
    assert locks.let_go("A") == ["C"]


# --- better than the reference ------------------------------------------------------------------------------


def test_all_that_fits_is_granted_when_somebody_lets_go() -> None:
    locks = Locks(Lock("L", 3))
    assert locks.asked("heavy", count=3) == ["heavy"]
    for job in "ABCD":
        locks.asked(job)
    assert locks.let_go("heavy") == ["A", "B", "C"]


def test_a_light_job_does_not_overtake_a_heavy_one_that_waits() -> None:
    locks = Locks(Lock("L", 2))
    locks.asked("A")
    assert locks.asked("heavy", count=2) == []
    assert locks.asked("light") == []
    assert locks.let_go("A") == ["heavy"]


def test_those_behind_a_heavy_one_that_waits_no_more_get_what_is_free() -> None:
    locks = Locks(Lock("L", 2))
    locks.asked("A")
    locks.asked("heavy", count=2)
    locks.asked("light")
    assert locks.let_go("heavy") == ["light"]


def test_a_heavy_one_waits_until_nobody_else_holds_the_lock() -> None:
    locks = Locks(Lock("L", 2))
    locks.asked("A")
    locks.asked("B")
    assert locks.asked("heavy", count=5) == []
    assert locks.let_go("A") == []
    assert locks.let_go("B") == ["heavy"]


def test_what_several_let_go_at_once_is_granted_to_none_of_them() -> None:
    locks = Locks(Lock("L", 1))
    for job in "ABC":
        locks.asked(job)
    assert locks.let_go("A", "B") == ["C"]


def test_an_instance_that_ends_leaves_all_locks_and_queues() -> None:
    locks = Locks(Lock("L", 1), Lock("M", 1))
    locks.asked("A1", "L", instance=PLAN_1)
    locks.asked("B1", "M", instance=PLAN_2)
    locks.asked("A2", "L", instance=PLAN_1)
    locks.asked("A3", "M", instance=PLAN_1)
    locks.asked("B2", "L", instance=PLAN_2)
    assert locks.ended(PLAN_1) == ["B2"]
    assert locks.holding() == ["B1", "B2"]
    assert locks.waiting() == []
    assert PLAN_1 not in locks.state.by_instance


# --- exclusive locks ----------------------------------------------------------------------------------------


def test_while_an_exclusive_lock_is_held_no_lock_of_the_group_is_granted() -> None:
    locks = Locks(Lock("E1", exclusive=True), Lock("E2", exclusive=True), Lock("N1"), Lock("N2"))
    assert locks.asked("a", "E1") == ["a"]
    assert [locks.asked(job, lock) for job, lock in (("b", "N1"), ("c", "N2"), ("d", "E2"))] == [[], [], []]
    assert locks.let_go("a") == ["b", "c"]
    assert locks.let_go("b") == []
    assert locks.let_go("c") == ["d"]


def test_locks_that_are_not_exclusive_are_held_beside_each_other() -> None:
    locks = Locks(Lock("E1", exclusive=True), Lock("N1"), Lock("N2"))
    assert locks.asked("a", "N1") == ["a"]
    assert locks.asked("b", "N2") == ["b"]
    assert locks.asked("c", "E1") == []


def test_an_exclusive_lock_has_one_holder_whatever_it_counts() -> None:
    locks = Locks(Lock("E", 3, exclusive=True))
    assert locks.asked("a", "E") == ["a"]
    assert locks.asked("b", "E") == []
    assert locks.let_go("a") == ["b"]


def test_while_an_exclusive_lock_is_waited_for_nothing_later_is_granted() -> None:
    locks = Locks(Lock("E", exclusive=True), Lock("N1", 2), Lock("N2"))
    locks.asked("a", "N1")
    assert locks.asked("exclusive", "E") == []
    assert locks.asked("b", "N1") == []
    assert locks.asked("c", "N2") == []
    assert locks.let_go("a") == ["exclusive"]
    assert locks.let_go("exclusive") == ["b", "c"]


def test_those_before_an_exclusive_one_that_waits_go_on_being_granted() -> None:
    locks = Locks(Lock("E", exclusive=True), Lock("N", 1))
    locks.asked("a", "N")
    locks.asked("b", "N")
    locks.asked("exclusive", "E")
    assert locks.let_go("a") == ["b"]
    assert locks.let_go("b") == ["exclusive"]


def test_when_an_exclusive_one_waits_no_more_all_behind_it_go_on_in_order() -> None:
    locks = Locks(Lock("E", exclusive=True), Lock("N1", 1), Lock("N2", 1))
    locks.asked("a", "N1")
    locks.asked("exclusive", "E")
    locks.asked("b", "N2")
    locks.asked("c", "N1")
    assert locks.let_go("exclusive") == ["b"]
    assert locks.let_go("a") == ["c"]


# --- definitions --------------------------------------------------------------------------------------------


def test_a_push_that_raises_the_count_lets_in_those_that_now_fit() -> None:
    locks = Locks(Lock("L", 1))
    for job in "ABCD":
        locks.asked(job)
    assert locks.pushed(Lock("L", 3)) == ["B", "C"]


def test_a_push_that_lowers_the_count_takes_the_lock_from_nobody() -> None:
    locks = Locks(Lock("L", 2))
    for job in "ABC":
        locks.asked(job)
    assert locks.pushed(Lock("L", 1)) == []
    assert locks.holding() == ["A", "B"]
    assert locks.let_go("A") == []
    assert locks.let_go("B") == ["C"]


def test_a_lock_that_becomes_exclusive_is_exclusive_for_those_that_wait() -> None:
    locks = Locks(Lock("L", 2), Lock("N"))
    for job in "ABC":
        locks.asked(job)
    locks.pushed(Lock("L", 2, exclusive=True))
    assert locks.asked("n", "N") == []
    assert locks.let_go("A") == []
    assert locks.let_go("B") == ["C"]
    assert locks.let_go("C") == ["n"]


def test_a_lock_that_is_exclusive_no_more_lets_all_in() -> None:
    locks = Locks(Lock("L", 2, exclusive=True), Lock("N"))
    for job in "ABC":
        locks.asked(job)
    locks.asked("n", "N")
    assert locks.pushed(Lock("L", 2)) == ["B", "n"]


def test_a_push_is_granted_from_as_a_whole() -> None:
    """Raising N alone would have let b in before the other lock of the same push became exclusive."""
    locks = Locks(Lock("L", 1), Lock("N", 1))
    locks.asked("a", "L")
    locks.asked("n", "N")
    locks.asked("b", "N")
    assert locks.pushed(Lock("N", 2), Lock("L", 1, exclusive=True)) == []
    assert locks.let_go("a") == ["b"]


def test_a_push_that_says_the_same_again_leaves_no_fact() -> None:
    locks = Locks(Lock("L", 2))
    facts = len(locks.log)
    locks.pushed(Lock("L", 2))
    assert len(locks.log) == facts
    assert define(None, "uk", (), at=0, cause=CAUSE) is None


def test_a_lock_that_was_never_defined_cannot_be_asked_for() -> None:
    locks = Locks(Lock("L", 2))
    with pytest.raises(ValueError, match="host-load asks for lock 'M', which no plan"):
        locks.asked("host-load", "M")
    with pytest.raises(ValueError, match="host-load asks for 0 of lock 'L'"):
        locks.asked("host-load", count=0)


# --- an operator's reset ------------------------------------------------------------------------------------


def test_a_reset_takes_the_lock_from_its_holders_and_gives_it_to_those_that_wait() -> None:
    locks = Locks(Lock("L", 2))
    for job in "ABCDE":
        locks.asked(job)
    facts = len(locks.log)
    assert locks.reset() == ["C", "D"]
    assert locks.log[facts].fact == LockReset(lock="L", dropped=(1, 2))
    assert locks.waiting() == ["E"]
    assert locks.let_go("A") == [], "who lost the lock by a reset still gave it back"


def test_a_reset_of_an_exclusive_lock_opens_the_others() -> None:
    locks = Locks(Lock("E", exclusive=True), Lock("N"))
    locks.asked("a", "E")
    locks.asked("b", "N")
    assert locks.reset("E") == ["b"]


# --- why it waits -------------------------------------------------------------------------------------------


def why(locks: Locks, job: str) -> tuple[list[str], int, str | None, str | None]:
    """Who holds what it needs, how many are ahead and the first of them, and an exclusive one before it."""
    wait = LockWaits(locks.state).of(locks.ticket[job])
    assert wait is not None
    first, exclusive = wait.first_ahead, wait.exclusive_ahead
    return (
        locks.names(wait.held_by),
        wait.ahead,
        None if first is None else first.job,
        None if exclusive is None else exclusive.job,
    )


def test_it_waits_for_those_that_hold_the_lock_and_behind_those_that_asked_earlier() -> None:
    locks = Locks(Lock("L", 2), Lock("other"))
    locks.asked("elsewhere", "other")
    for job in "ABCDE":
        locks.asked(job)
    assert why(locks, "C") == (["A", "B"], 0, None, None)
    assert why(locks, "E") == (["A", "B"], 2, "C", None)


def test_a_light_one_behind_a_heavy_one_waits_for_no_holder() -> None:
    locks = Locks(Lock("L", 2))
    locks.asked("A")
    locks.asked("heavy", count=2)
    locks.asked("light")
    assert why(locks, "heavy") == (["A"], 0, None, None)
    assert why(locks, "light") == ([], 1, "heavy", None)


def test_what_is_exclusive_is_waited_for_across_locks() -> None:
    locks = Locks(Lock("E", exclusive=True), Lock("N1"), Lock("N2"))
    locks.asked("a", "N1")
    locks.asked("b", "N2")
    locks.asked("exclusive", "E")
    locks.asked("c", "N1")
    assert why(locks, "exclusive") == (["a", "b"], 0, None, None)
    assert why(locks, "c") == (["a"], 0, None, "exclusive")
    locks.let_go("a", "b")
    assert why(locks, "c") == (["exclusive"], 0, None, None)


def test_who_holds_its_lock_or_is_unknown_waits_for_nothing() -> None:
    locks = Locks(Lock("L"))
    locks.asked("A")
    assert LockWaits(locks.state).of(1) is None
    assert LockWaits(locks.state).of(2) is None


# --- the log ------------------------------------------------------------------------------------------------


def test_tickets_are_never_given_out_again() -> None:
    locks = Locks(Lock("L", 1))
    locks.asked("A")
    locks.let_go("A")
    thawed = thaw_locks(freeze_locks(locks.state))
    assert thawed is not None
    assert thawed.next_ticket == locks.state.next_ticket == 2


def test_facts_are_numbered_from_one_with_their_instant_and_their_cause() -> None:
    locks = Locks(Lock("L", 1))
    locks.asked("A")
    assert [each.position for each in locks.log] == [1, 2, 3]
    assert {each.originator_id for each in locks.log} == {lock_stream(None)}
    assert locks.log[-1] == Recorded(
        originator_id=lock_stream(None),
        originator_version=3,
        at=1,
        cause=CAUSE,
        fact=LockGranted(ticket=1),
    )
    assert locks.state.claims[1].requested_at == locks.state.claims[1].granted_at == 1


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        (LockGranted(ticket=1), "ticket 1 does not wait"),
        (LockGranted(ticket=9), "ticket 9 does not wait"),
        (LockReleased(ticket=2), "ticket 2 does not hold"),
        (LockReset(lock="L", dropped=(2,)), "ticket 2 does not hold"),
    ],
)
def test_a_fact_that_cannot_be_is_a_fault_of_the_log(fact: Fact, told: str) -> None:
    locks = Locks(Lock("L", 1))
    locks.asked("A")
    locks.asked("B")
    with pytest.raises(ValueError, match=told):
        evolve_locks(locks.state, _next(locks.state, fact))


def test_a_log_must_begin_with_a_definition_and_leave_out_no_fact() -> None:
    locks = Locks(Lock("L", 1))
    with pytest.raises(ValueError, match="begins with LockDefined, not LockGranted"):
        evolve_locks(None, _next(None, LockGranted(ticket=1)))
    with pytest.raises(ValueError, match="fact 1 is out of its place"):
        evolve_locks(locks.state, locks.log[0])
    with pytest.raises(ValueError, match="fact 2 is out of its place"):
        evolve_locks(None, _next(locks.state, LockDefined(name="L", count=1)))
    assert replay_locks(()) is None


def _next(state: LockGroup | None, fact: Fact) -> Recorded:
    position = 0 if state is None else state.position
    return Recorded(
        originator_id=lock_stream(None), originator_version=position + 1, at=0, cause=CAUSE, fact=fact
    )


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x93\x01\x02\x03"])
def test_a_snapshot_that_does_not_read_is_none(data: bytes) -> None:
    assert thaw_locks(data) is None


def test_a_snapshot_of_another_schema_or_with_a_claim_on_no_lock_is_none() -> None:
    locks = Locks(Lock("L", 1))
    locks.asked("A")
    frozen = freeze_locks(locks.state)
    assert thaw_locks(frozen.replace(b"\xa6schema\x01", b"\xa6schema\x02")) is None
    assert thaw_locks(frozen.replace(b"\xa4lock\xa1L", b"\xa4lock\xa1M")) is None


def test_the_digest_tells_two_states_apart() -> None:
    one, two = Locks(Lock("L", 1)), Locks(Lock("L", 1))
    assert digest_of_locks(one.state) == digest_of_locks(two.state)
    one.asked("A")
    assert digest_of_locks(one.state) != digest_of_locks(two.state)
