"""What a grant costs in the pure core when ten to ten thousand wait for the same lock."""

import time
from collections.abc import Callable
from uuid import UUID

from jobledger.domain.facts import Cause, Recorded
from jobledger.domain.lock_group import LockGroup, replay_locks
from jobledger.domain.lock_snapshots import freeze_locks, thaw_locks
from jobledger.domain.locks import LockStep, define, let_go, request
from jobledger.domain.plan import Lock
from report import amount, show

SIZES = (10, 1_000, 10_000)
TURNS, ROUNDS = amount(300, 5), amount(10, 1)
CAUSE = Cause(position=1)


def ask(state: LockGroup) -> LockStep:
    """One more job, of an instance of its own, asks for the lock."""
    ticket = state.next_ticket
    return request(state, lock="L", instance_id=UUID(int=ticket), job="host-job", at=ticket, cause=CAUSE)


def with_waiters(number: int) -> tuple[LockGroup, list[Recorded]]:
    """A lock that one holds and so many wait for, and its log."""
    step = define(None, None, [Lock("L")], at=0, cause=CAUSE)
    assert step is not None
    log = list(step.facts)
    for _ in range(number + 1):
        step = ask(step.state)
        log += step.facts
    return step.state, log


def microseconds(state: LockGroup, turn: Callable[[LockGroup], LockStep]) -> float:
    """What the turn costs on average, each taken on the state after the one before it.

    After each, one more asks, so that as many wait before each.
    """
    spent = 0.0
    for _ in range(TURNS):
        began = time.perf_counter()
        state = turn(state).state
        spent += time.perf_counter() - began
        state = ask(state).state
    return spent / TURNS * 1e6


def release(state: LockGroup) -> LockStep:
    """The holder lets go: the first that waits is granted."""
    step = let_go(state, list(state.locks["L"].holders), at=1, cause=CAUSE)
    assert len(step.granted) == 1
    return step


def withdraw(state: LockGroup) -> LockStep:
    """The one that asked last waits no more."""
    step = let_go(state, [state.next_ticket - 1], at=1, cause=CAUSE)
    assert len(step.facts) == 1
    return step


def least(states: dict[int, LockGroup], turn: Callable[[LockGroup], LockStep]) -> dict[int, float]:
    """What the turn costs at each size, in µs; the sizes take turns, so that all see the same load."""
    rounds = [{size: microseconds(state, turn) for size, state in states.items()} for _ in range(ROUNDS)]
    return {size: min(each[size] for each in rounds) for size in states}


def main() -> None:
    """Several lengths of the queue; the cost of a grant must not follow them."""
    figures: dict[str, object] = {}
    logs: dict[int, list[Recorded]] = {}
    states: dict[int, LockGroup] = {}
    for size in SIZES:
        states[size], logs[size] = with_waiters(size)
    grants, withdrawals, requests = (least(states, turn) for turn in (release, withdraw, ask))
    for size, state in states.items():
        figures[f"{size} wait: release and grant, µs"] = grants[size]
        figures[f"{size} wait: withdrawal, µs"] = withdrawals[size]
        figures[f"{size} wait and more: request, µs"] = requests[size]
        began = time.perf_counter()
        assert replay_locks(logs[size]) == state
        figures[f"{size} wait: facts/s replayed"] = len(logs[size]) / (time.perf_counter() - began)
        began = time.perf_counter()
        assert thaw_locks(freeze_locks(state)) == state
        figures[f"{size} wait: to a snapshot and back, ms"] = (time.perf_counter() - began) * 1e3
    figures["a grant before 10,000 / before 10 (at most 2)"] = grants[10_000] / grants[10]
    figures["a withdrawal before 10,000 / before 10 (at most 2)"] = withdrawals[10_000] / withdrawals[10]
    show("locks", figures)


if __name__ == "__main__":
    main()
