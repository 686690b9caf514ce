"""The inbox: what came in is there, in order, once, and knows what became of it."""

import threading
from uuid import uuid4

import pytest
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Change, Conflict, InboxEntry, Unavailable, Unstorable
from ledger_samples import LedgerBench, append, in_threads, inbound, one_commit, wait_until


def test_entries_are_read_back_as_they_came_with_positions_in_order(bench: LedgerBench) -> None:
    ledger = bench.open()
    stream = uuid4()
    assert ledger.receive([inbound(stream, b"first"), inbound(stream, b"\x00\xff")]) == [1, 2]
    assert ledger.receive([inbound(stream, b"third", source="höst")]) == [3]
    entries = ledger.unhandled()
    assert [(entry.position, entry.payload) for entry in entries] == [
        (1, b"first"),
        (2, b"\x00\xff"),
        (3, b"third"),
    ]
    assert entries[2] == InboxEntry(
        stream=stream, kind="event", payload=b"third", source="höst", position=3, received_at=bench.now
    )


def test_receiving_nothing_gives_no_positions_and_announces_nothing(ledger: Ledger) -> None:
    announced: list[InboxEntry] = []
    ledger.on_received = announced.extend
    assert ledger.receive([]) == []
    assert announced == []


def test_positions_go_on_after_reopening(bench: LedgerBench) -> None:
    first = bench.open()
    first.receive([inbound(uuid4())])
    first.close()
    assert bench.open().receive([inbound(uuid4())]) == [2]


def test_many_threads_get_positions_without_gap_or_repeat_and_each_its_own(ledger: Ledger) -> None:
    announced: list[InboxEntry] = []
    ledger.on_received = announced.extend
    stream = uuid4()

    def receive(sender: int) -> list[tuple[int, bytes]]:
        given = []
        for number in range(20):
            payloads = [b"%d/%d/%d" % (sender, number, each) for each in range(1 + number % 3)]
            positions = ledger.receive([inbound(stream, payload) for payload in payloads])
            given += list(zip(positions, payloads, strict=True))
        return given

    outcomes = in_threads(*(lambda sender=sender: receive(sender) for sender in range(16)))()
    given = sorted(pair for pairs in outcomes for pair in pairs)
    assert [position for position, _ in given] == list(range(1, len(given) + 1))
    stored = [(entry.position, entry.payload) for entry in ledger.unhandled(limit=10_000)]
    assert stored == given
    assert [(entry.position, entry.payload) for entry in announced] == given


def test_entries_are_on_disk_before_they_are_announced(bench: LedgerBench) -> None:
    ledger = bench.open()
    other = bench.open()
    seen: list[list[int]] = []
    ledger.on_received = lambda _entries: seen.append([each.position for each in other.unhandled()])
    ledger.receive([inbound(uuid4())])
    ledger.close()
    assert seen == [[1]]


def test_a_listener_that_fails_neither_fails_the_sender_nor_stops_the_ledger(ledger: Ledger) -> None:
    def fail(_entries: object) -> None:
        raise RuntimeError("listener")

    ledger.on_received = fail
    assert ledger.receive([inbound(uuid4())]) == [1]
    assert ledger.receive([inbound(uuid4())]) == [2]
    assert len(ledger.unhandled()) == 2


def test_a_listener_that_stores_is_told_instead_of_hanging_for_ever(ledger: Ledger) -> None:
    errors: list[RuntimeError] = []
    heard = threading.Event()

    def store(entries: list[InboxEntry]) -> None:
        try:
            ledger.receive(entries)
        except RuntimeError as error:
            errors.append(error)
        heard.set()

    ledger.on_received = store
    ledger.receive([inbound(uuid4())])
    assert heard.wait(20)
    assert "wait for itself" in str(errors[0])


def test_unhandled_entries_are_found_by_stream_after_a_position_and_up_to_a_number(ledger: Ledger) -> None:
    one, other = uuid4(), uuid4()
    ledger.receive([inbound(one if number % 2 else other) for number in range(10)])
    assert [each.position for each in ledger.unhandled(one)] == [2, 4, 6, 8, 10]
    assert [each.position for each in ledger.unhandled(one, after=4)] == [6, 8, 10]
    assert [each.position for each in ledger.unhandled(other, after=1, limit=2)] == [3, 5]
    assert [each.position for each in ledger.unhandled(after=8)] == [9, 10]
    assert ledger.unhandled(uuid4()) == []
    assert ledger.streams_with_unhandled() == [other, one]


def test_a_change_handles_entries_in_the_transaction_of_its_facts(ledger: Ledger) -> None:
    stream = uuid4()
    ledger.receive([inbound(stream), inbound(stream), inbound(stream)])
    ledger.save(Change(appends=(append(stream, 0),), consumed=(1, 3)))
    assert [each.position for each in ledger.unhandled(stream)] == [2]
    assert [ledger.entries([1, 2, 3])[position].handled for position in (1, 2, 3)] == [True, False, True]
    with pytest.raises(Conflict):
        ledger.save(Change(appends=(append(stream, 0),), consumed=(2,)))
    assert [each.position for each in ledger.unhandled(stream)] == [2]


def test_an_entry_is_handled_once_and_the_facts_of_a_second_time_are_refused(bench: LedgerBench) -> None:
    ledger, other = bench.open(), bench.open()
    one, two = uuid4(), uuid4()
    ledger.receive([inbound(one)])
    ledger.save(Change(appends=(append(one, 0),), consumed=(1,)))
    with pytest.raises(Conflict, match="handled before"):
        other.save(Change(appends=(append(two, 0),), consumed=(1,)))
    assert other.last_position(two) == 0
    with pytest.raises(Conflict):
        ledger.save(Change(parked=((1, "too late"),)))


def test_an_entry_handled_twice_in_one_commit_goes_to_the_first_and_disturbs_nobody_else(
    ledger: Ledger,
) -> None:
    first, second, bystander = uuid4(), uuid4(), uuid4()
    ledger.receive([inbound(first)])
    with one_commit(ledger, 3):
        finish = in_threads(
            lambda: ledger.save(Change(appends=(append(first, 0),), consumed=(1,))),
            lambda: ledger.save(Change(appends=(append(second, 0),), consumed=(1,))),
            lambda: ledger.save(Change(appends=(append(bystander, 0),))),
        )
    outcomes = finish()
    assert sorted(type(each).__name__ for each in outcomes) == ["Conflict", "NoneType", "NoneType"]
    assert ledger.last_position(first) + ledger.last_position(second) == 1
    assert ledger.last_position(bystander) == 1


def test_entries_can_be_read_by_position_in_any_number(ledger: Ledger) -> None:
    stream = uuid4()
    ledger.receive([inbound(stream, b"%d" % number) for number in range(1, 1201)])
    found = ledger.entries([*range(1200, 0, -1), 1, 5000])
    assert len(found) == 1200
    assert all(entry.payload == b"%d" % position for position, entry in found.items())
    assert ledger.entries([]) == {}


def test_a_change_can_put_entries_into_the_inbox_and_they_are_announced(ledger: Ledger) -> None:
    announced: list[InboxEntry] = []
    ledger.on_received = announced.extend
    raised, target = uuid4(), uuid4()
    ledger.save(Change(appends=(append(raised, 0),), inbound=(inbound(target, b"global"),)))
    ledger.close()
    assert [(each.position, each.stream, each.payload) for each in announced] == [(1, target, b"global")]


def test_a_change_that_conflicts_puts_nothing_into_the_inbox(ledger: Ledger) -> None:
    announced: list[InboxEntry] = []
    stream = uuid4()
    ledger.save(Change(appends=(append(stream, 0),)))
    ledger.on_received = announced.extend
    with pytest.raises(Conflict):
        ledger.save(Change(appends=(append(stream, 0),), inbound=(inbound(uuid4()),)))
    assert ledger.unhandled() == []
    assert ledger.receive([inbound(uuid4(), b"next")]) == [1]
    ledger.close()
    assert [each.payload for each in announced] == [b"next"]


def test_parked_entries_wait_with_their_error_until_they_are_unparked(bench: LedgerBench) -> None:
    ledger = bench.open()
    stream = uuid4()
    ledger.receive([inbound(stream, b"%d" % number) for number in range(4)])
    bench.now += 5
    ledger.save(Change(parked=((2, "KeyError: 'job'"), (3, "no such job"))))
    assert [each.position for each in ledger.unhandled(stream)] == [1, 4]
    parked = ledger.parked()
    assert [(each.position, each.error, each.parked_at) for each in parked] == [
        (2, "KeyError: 'job'", bench.now),
        (3, "no such job", bench.now),
    ]
    assert [each.position for each in ledger.parked(after=2)] == [3]
    assert [each.position for each in ledger.parked(limit=1)] == [2]

    again = ledger.unpark(2)
    assert again is not None
    assert (again.payload, again.error, again.parked_at, again.handled) == (b"1", None, None, False)
    reopened = bench.open()
    assert [each.position for each in reopened.unhandled(stream)] == [1, 2, 4]
    assert [each.position for each in reopened.parked()] == [3]
    reopened.save(Change(consumed=(2,)))


def test_only_a_parked_entry_can_be_unparked_or_discarded_and_only_once(ledger: Ledger) -> None:
    ledger.receive([inbound(uuid4()), inbound(uuid4())])
    ledger.save(Change(parked=((1, "wrong"),)))
    assert ledger.unpark(2) is None
    assert ledger.unpark(99) is None
    assert not ledger.discard(2, "ann")
    assert ledger.discard(1, "ann")
    assert not ledger.discard(1, "ann")
    assert ledger.unpark(1) is None
    assert ledger.parked() == []
    discarded = ledger.entries([1])[1]
    assert (discarded.handled, discarded.error) == (True, "wrong")


def test_a_value_that_the_database_cannot_hold_is_refused_alone(ledger: Ledger) -> None:
    stream = uuid4()
    with one_commit(ledger, 3):
        finish = in_threads(
            lambda: ledger.receive([inbound(stream, b"good")]),
            lambda: ledger.receive(
                [inbound(stream, b"with it"), inbound(stream, source="half a \ud800 pair")]
            ),
            lambda: ledger.receive([inbound(stream, b"better")]),
        )
    outcomes = finish()
    assert isinstance(outcomes[1], Unstorable)
    assert isinstance(outcomes[0], list)
    assert isinstance(outcomes[2], list)
    assert sorted(each.payload for each in ledger.unhandled(stream)) == [b"better", b"good"]


def test_a_closed_ledger_says_so_and_closing_again_is_nothing(bench: LedgerBench) -> None:
    ledger = bench.open()
    ledger.close()
    ledger.close()
    with pytest.raises(Unavailable, match="closed"):
        ledger.receive([inbound(uuid4())])
    with pytest.raises(Unavailable):
        ledger.unhandled()


def test_closing_finishes_what_is_queued(bench: LedgerBench) -> None:
    ledger = bench.open()
    with one_commit(ledger, 9):
        finish = in_threads(*(lambda: ledger.receive([inbound(uuid4())]) for _ in range(8)))
        wait_until(lambda: ledger._committer._queue.qsize() == 8, "all requests wait")
        closing = threading.Thread(target=ledger.close)
        closing.start()
    closing.join(20)
    assert sorted(position for outcome in finish() for position in outcome) == list(range(2, 10))
    assert len(bench.open().unhandled()) == 9
