"""Notifications stand once, whatever is followed again, and say what became of them."""

from uuid import UUID

import pytest
from jobledger.storage.ledger import Ledger
from jobledger.storage.notifications import (
    NotificationFilter,
    NotificationRow,
    Notifications,
    NotificationState,
    Outcome,
)
from jobledger.storage.records import Append, Change
from ledger_samples import LedgerBench, append, recorded, started
from notification_samples import INSTANCE, notification

WAITING, SENT, FAILED = NotificationState


@pytest.fixture
def rows(ledger: Ledger) -> Notifications:
    return Notifications(ledger)


def waiting(rows: Notifications, channel: str = "email", now: int = 1000) -> list[NotificationRow]:
    return rows.waiting(channel, now, 100)


def listed(rows: Notifications, **which: object) -> list[UUID]:
    return [each.id for each in rows.page(NotificationFilter(**which), None, 100).items]  # type: ignore[arg-type]


def test_notifications_and_the_position_that_they_follow_from_are_kept_together(rows: Notifications) -> None:
    assert rows.position() is None
    first = notification(1, said_for="inner")
    rows.add([first], 17, at=500)
    assert rows.position() == 17
    (row,) = waiting(rows)
    assert (row.id, row.plan, row.instance_id, row.channel) == (first.id, "eod", INSTANCE, "email")
    assert (row.said_for, row.matter) == ("inner", first.matter)
    assert (row.state, row.created_at, row.next_at, row.attempts) == (WAITING, 500, 500, 0)


def test_what_is_followed_again_adds_nothing_and_changes_nothing(rows: Notifications) -> None:
    rows.add([notification(1), notification(2)], 17, at=500)
    rows.settle(waiting(rows)[0], Outcome(state=SENT, at=600))
    rows.add([notification(2), notification(1), notification(3), notification(3)], 9, at=700)
    assert rows.position() == 17
    assert len(listed(rows)) == 3
    assert len(waiting(rows)) == 2


def test_the_position_moves_although_there_is_nothing_to_tell(rows: Notifications) -> None:
    rows.add([], 5, at=1)
    rows.add([], 4, at=1)
    assert rows.position() == 5


def test_what_waits_for_its_turn_is_given_oldest_first_and_by_channel(rows: Notifications) -> None:
    rows.add([notification(number) for number in range(3)], 1, at=500)
    rows.add([notification("hook", "webhook:x")], 2, at=400)
    first, second, third = waiting(rows)
    rows.settle(first, Outcome(state=WAITING, at=600, next_at=900, error="451 later"))
    assert [each.id for each in waiting(rows, now=899)] == [second.id, third.id]
    assert [each.id for each in waiting(rows, now=900)] == [second.id, third.id, first.id]
    assert waiting(rows, now=900)[2].attempts == 1
    assert rows.next_at("email") == 500
    assert rows.next_at("webhook:x") == 400
    assert rows.next_at("webhook:none") is None
    assert rows.channels_with_waiting() == ["email", "webhook:x"]


def test_what_became_of_it_is_kept(rows: Notifications) -> None:
    rows.add([notification(1), notification(2)], 1, at=500)
    sent, failed = waiting(rows)
    assert rows.settle(sent, Outcome(state=SENT, at=600, recipients=("a", "b"), delivered=("a", "b")))
    assert rows.settle(failed, Outcome(state=FAILED, at=700, error="550 no such user", recipients=("c",)))
    assert waiting(rows) == []
    found = rows.find(sent.id)
    assert found is not None
    assert (found.state, found.settled_at, found.attempts) == (SENT, 600, 1)
    assert (found.recipients, found.delivered, found.error) == (("a", "b"), ("a", "b"), None)
    found = rows.find(failed.id)
    assert found is not None
    assert (found.state, found.error, found.next_at) == (FAILED, "550 no such user", None)
    assert rows.find(UUID(int=1)) is None


def test_what_is_settled_is_not_settled_again(rows: Notifications) -> None:
    rows.add([notification(1)], 1, at=500)
    (row,) = waiting(rows)
    assert rows.settle(row, Outcome(state=SENT, at=600))
    assert not rows.settle(row, Outcome(state=FAILED, at=700, error="late"))
    found = rows.find(row.id)
    assert found is not None
    assert (found.state, found.attempts) == (SENT, 1)


def test_one_that_failed_is_sent_again_to_those_who_do_not_have_it(rows: Notifications) -> None:
    rows.add([notification(1)], 1, at=500)
    (row,) = waiting(rows)
    rows.settle(row, Outcome(state=FAILED, at=600, error="550", recipients=("a", "b"), delivered=("a",)))
    assert rows.send_again(row.id, "olga", at=800)
    (again,) = waiting(rows)
    assert (again.delivered, again.round, again.sent_again_by) == (("a",), 1, "olga")
    assert (again.attempts, again.next_at, again.settled_at) == (0, 800, None)


def test_one_that_was_sent_is_sent_again_to_all(rows: Notifications) -> None:
    rows.add([notification(1)], 1, at=500)
    (row,) = waiting(rows)
    rows.settle(row, Outcome(state=SENT, at=600, recipients=("a",), delivered=("a",)))
    assert rows.send_again(row.id, "olga", at=800)
    assert waiting(rows)[0].delivered == ()


def test_one_that_waits_already_or_does_not_exist_cannot_be_sent_again(rows: Notifications) -> None:
    rows.add([notification(1)], 1, at=500)
    assert not rows.send_again(notification(1).id, "olga", at=800)
    assert not rows.send_again(notification(2).id, "olga", at=800)


def test_an_attempt_that_ends_after_somebody_had_it_sent_again_does_not_settle_that(
    rows: Notifications,
) -> None:
    rows.add([notification(1)], 1, at=500)
    (row,) = waiting(rows)
    rows.settle(row, Outcome(state=FAILED, at=600, error="x"))
    rows.send_again(row.id, "olga", at=800)
    assert not rows.settle(row, Outcome(state=SENT, at=900))
    assert len(waiting(rows)) == 1


def test_lists_are_newest_first_and_filtered(rows: Notifications) -> None:
    other = UUID(int=9)
    all_of_them = [
        notification(1),
        notification(2, plan="other"),
        notification(3, instance_id=other),
        notification(4),
    ]
    rows.add(all_of_them, 1, at=500)
    ids = [each.id for each in all_of_them]
    rows.settle(waiting(rows)[0], Outcome(state=FAILED, at=600, error="x"))
    assert listed(rows) == ids[::-1]
    assert listed(rows, plan="eod") == [ids[3], ids[2], ids[0]]
    assert listed(rows, instance_id=other) == [ids[2]]
    assert listed(rows, state=FAILED) == [ids[0]]
    assert listed(rows, state=WAITING, plan="other") == [ids[1]]
    assert listed(rows, plans={"other"}) == [ids[1]]
    assert listed(rows, plans=set()) == []


def test_pages_follow_each_other_while_more_is_told(rows: Notifications) -> None:
    rows.add([notification(number) for number in range(23)], 1, at=500)
    seen: list[UUID] = []
    cursor: str | None = None
    while True:
        page = rows.page(NotificationFilter(), cursor, 5)
        seen += [each.id for each in page.items]
        rows.add([notification(f"more {len(seen)}")], 2, at=600)
        cursor = page.next
        if cursor is None:
            break
    assert seen == [notification(number).id for number in reversed(range(23))]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "1 OR 1=1", "9" * 19, "²"])
def test_a_cursor_that_is_none_is_refused(rows: Notifications, cursor: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        rows.page(NotificationFilter(), cursor, 5)


def test_what_is_kept_outlives_the_process(bench: LedgerBench) -> None:
    first = Notifications(bench.open())
    first.add([notification(1)], 17, at=500)
    second = Notifications(bench.open())
    assert second.position() == 17
    assert len(waiting(second)) == 1


def test_the_log_is_followed_without_reading_what_is_not_of_interest(ledger: Ledger) -> None:
    assert ledger.last_sequence() == 0
    streams = [UUID(int=number) for number in (1, 2)]
    for stream in streams:
        ledger.save(_change(stream))
    found = ledger.stored_after(0, 10)
    assert [(each.stream, each.position, each.name) for each in found] == [
        (streams[0], 1, "InstanceStarted"),
        (streams[0], 2, "JobStarted"),
        (streams[1], 1, "InstanceStarted"),
        (streams[1], 2, "JobStarted"),
    ]
    assert [ledger.read(each) for each in found] == [each.recorded for each in ledger.log()]
    assert ledger.last_sequence() == found[-1].sequence
    assert ledger.stored_after(found[1].sequence, 1) == [found[2]]


def _change(stream: UUID) -> Change:
    first = Append(stream=stream, expected=0, facts=(recorded(stream, 1, started()),))
    return Change(appends=(first, append(stream, 1)))
