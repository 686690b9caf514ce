"""Locks as clients of our own API see them."""

from uuid import UUID

import msgspec
from jobledger.domain.facts import Cause
from jobledger.domain.lock_group import LockGroup
from jobledger.domain.lock_waits import LockWaits
from jobledger.domain.locks import define, request
from jobledger.domain.plan import Lock
from jobledger.http.wire.lock_views import LockView, lock_views, wait_view

CAUSE = Cause(position=1)
FIRST = UUID(int=1)


def plan_of(instance_id: UUID) -> str | None:
    return "nightly" if instance_id == FIRST else None


def asked(*jobs: str, lock: str = "db", of: LockGroup | None = None) -> LockGroup:
    """Locks that these jobs asked for, one after another, one a second; the first of them in a known plan."""
    state = of
    if state is None:
        step = define(
            None, "Uk", [Lock("db", 2), Lock("alone", exclusive=True), Lock("a")], at=0, cause=CAUSE
        )
        assert step is not None
        state = step.state
    for job in jobs:
        ticket = state.next_ticket
        state = request(
            state,
            lock=lock,
            instance_id=UUID(int=ticket),
            job=job,
            context="eod" if ticket == 1 else None,
            at=ticket * 1000,
            cause=CAUSE,
        ).state
    return state


def by_name(state: LockGroup, *, limit: int = 10) -> dict[str, LockView]:
    return {view.name: view for view in lock_views(state, plan_of, limit=limit)}


def test_locks_are_shown_by_name_with_who_holds_them_and_who_waits() -> None:
    views = by_name(asked("h-a", "h-b", "h-c"))
    assert list(views) == ["a", "alone", "db"]
    assert msgspec.json.decode(msgspec.json.encode(views["db"])) == {
        "environment_group": "Uk",
        "name": "db",
        "count": 2,
        "exclusive": False,
        "held": 2,
        "holders": [
            {
                "instance_id": "00000000-0000-0000-0000-000000000001",
                "plan": "nightly",
                "job": "h-a",
                "context": "eod",
                "lock": "db",
                "count": 1,
                "since": "1970-01-01T00:00:01.000Z",
            },
            {
                "instance_id": "00000000-0000-0000-0000-000000000002",
                "plan": None,
                "job": "h-b",
                "context": None,
                "lock": "db",
                "count": 1,
                "since": "1970-01-01T00:00:02.000Z",
            },
        ],
        "holders_count": 2,
        "waiting": [
            {
                "instance_id": "00000000-0000-0000-0000-000000000003",
                "plan": None,
                "job": "h-c",
                "context": None,
                "lock": "db",
                "count": 1,
                "since": "1970-01-01T00:00:03.000Z",
            }
        ],
        "waiting_count": 1,
    }
    assert (views["alone"].exclusive, views["alone"].holders, views["a"].held) == (True, (), 0)


def test_ten_thousand_that_wait_are_counted_and_the_first_of_them_shown() -> None:
    view = by_name(asked(*(f"h-{number}" for number in range(10_002))), limit=3)["db"]
    assert (view.holders_count, view.waiting_count) == (2, 10_000)
    assert [claim.job for claim in view.waiting] == ["h-2", "h-3", "h-4"]
    assert [claim.job for claim in by_name(asked("h-a", "h-b"), limit=1)["db"].holders] == ["h-a"]


def test_why_a_job_waits_is_shown_with_those_that_are_in_its_way() -> None:
    state = asked("h-a", "h-b", "h-c", "h-d")
    state = asked("h-x", lock="alone", of=state)
    state = asked("h-e", of=state)
    wait = LockWaits(state).of(6)
    assert wait is not None
    view = wait_view(wait, plan_of, limit=1)
    assert (view.name, view.waiting_since) == ("db", "1970-01-01T00:00:06.000Z")
    assert [claim.job for claim in view.held_by] == ["h-a"]
    assert view.held_by_count == 2
    assert view.ahead == 2
    assert view.first_ahead is not None
    assert view.first_ahead.job == "h-c"
    assert view.exclusive_ahead is not None
    assert (view.exclusive_ahead.job, view.exclusive_ahead.lock) == ("h-x", "alone")


def test_a_job_that_only_waits_for_a_holder_has_nobody_ahead() -> None:
    wait = LockWaits(asked("h-a", "h-b", "h-c")).of(3)
    assert wait is not None
    view = wait_view(wait, plan_of, limit=5)
    assert (view.ahead, view.first_ahead, view.exclusive_ahead) == (0, None, None)
    assert [claim.job for claim in view.held_by] == ["h-a", "h-b"]
