"""The log of facts: nothing is appended to an old state, and what is stored reads back as it was."""

from functools import partial
from uuid import UUID, uuid4

import pytest
from eventsourcing.persistence import EventStore, IntegrityError
from jobledger.domain.facts import InstanceStarted, PlanPushed, Recorded
from jobledger.storage.ledger import Ledger
from jobledger.storage.mapper import FactMapper
from jobledger.storage.postgres_engine import _PostgresTransaction
from jobledger.storage.records import Append, Change, Conflict, Snapshot, Unstorable
from jobledger.storage.sqlite_engine import _SqliteTransaction
from ledger_samples import (
    LedgerBench,
    append,
    in_threads,
    inbound,
    one_commit,
    recorded,
    started,
    summary,
    wait_until,
)


def test_facts_are_read_back_as_they_were_recorded(ledger: Ledger) -> None:
    stream = uuid4()
    facts = (recorded(stream, 1, started(), at=-5), *append(stream, 1, 4).facts)
    ledger.save(Change(appends=(Append(stream=stream, expected=0, facts=facts),)))
    assert ledger.facts(stream) == list(facts)
    assert ledger.facts(stream, after=2) == list(facts[2:])
    assert ledger.facts(stream, after=1, until=3) == list(facts[1:3])
    assert ledger.facts(stream, limit=2) == list(facts[:2])
    assert ledger.facts(stream, after=4, until=99, limit=99) == [facts[4]]
    assert ledger.facts(stream, after=5) == []
    assert ledger.last_position(stream) == 5
    assert ledger.facts(uuid4()) == []
    assert ledger.last_position(uuid4()) == 0


def test_the_event_store_library_reads_what_the_ledger_stored(bench: LedgerBench) -> None:
    if bench.simulated is not None:
        pytest.skip("the simulation's database is read through the ledger alone")
    ledger = bench.open()
    stream = uuid4()
    ledger.save(Change(appends=(append(stream, 0, 3),)))
    store: EventStore[UUID] = EventStore(FactMapper(), ledger._engine.facts)  # type: ignore[attr-defined]
    assert list(store.get(stream)) == ledger.facts(stream)


def test_the_ledger_reads_what_the_event_store_library_stored(bench: LedgerBench) -> None:
    if bench.simulated is not None:
        pytest.skip("the simulation's database is written through the ledger alone")
    ledger = bench.open()
    stream = uuid4()
    facts: list[Recorded] = list(append(stream, 0, 3).facts)
    EventStore(FactMapper(), ledger._engine.facts).put(facts)  # type: ignore[attr-defined,arg-type]
    assert ledger.facts(stream) == facts
    ledger.save(Change(appends=(append(stream, 3),)))
    with pytest.raises(Conflict):
        ledger.save(Change(appends=(append(stream, 3),)))


def test_a_conflict_is_an_integrity_error_of_the_event_store_library() -> None:
    assert issubclass(Conflict, IntegrityError)


@pytest.mark.parametrize("expected", [0, 1, 3, 100], ids=lambda each: f"expected-{each}")
def test_a_change_that_expects_another_end_of_the_log_stores_nothing(ledger: Ledger, expected: int) -> None:
    stream, other = uuid4(), uuid4()
    ledger.receive([inbound(stream)])
    ledger.save(Change(appends=(append(stream, 0, 2),)))
    change = Change(
        appends=(append(other, 0, 2), append(stream, expected, 2)),
        consumed=(1,),
        outgoing=(("host", other, 1, "publish"),),
        summaries=(summary(other),),
        snapshots=(Snapshot(stream=other, position=2, schema=1, state=b"state"),),
        inbound=(inbound(other),),
        answer=("key", "digest", b"answer"),
    )
    with pytest.raises(Conflict, match=str(stream)):
        ledger.save(change)
    assert ledger.last_position(stream) == 2
    assert ledger.last_position(other) == 0
    assert [each.position for each in ledger.unhandled()] == [1]
    assert ledger.agents_with_outgoing() == []
    assert ledger.instances().items == []
    assert ledger.snapshot(other) is None
    assert ledger.answer("key") is None


def test_a_change_without_facts_still_rests_on_the_end_of_the_log(ledger: Ledger) -> None:
    stream = uuid4()
    ledger.receive([inbound(stream), inbound(stream)])
    ledger.save(Change(appends=(append(stream, 0),)))
    ledger.save(Change(appends=(Append(stream=stream, expected=1, facts=()),), consumed=(1,)))
    with pytest.raises(Conflict):
        ledger.save(Change(appends=(Append(stream=stream, expected=0, facts=()),), consumed=(2,)))
    assert [each.position for each in ledger.unhandled()] == [2]


def test_two_appends_of_one_change_to_one_log_follow_each_other(ledger: Ledger) -> None:
    stream = uuid4()
    ledger.save(Change(appends=(append(stream, 0, 2), append(stream, 2))))
    assert ledger.last_position(stream) == 3
    with pytest.raises(Conflict):
        ledger.save(Change(appends=(append(stream, 3), append(stream, 3))))
    assert ledger.last_position(stream) == 3


def test_conflicts_do_not_disturb_other_changes_of_the_same_commit(ledger: Ledger) -> None:
    contested, calm = uuid4(), [uuid4() for _ in range(4)]
    with one_commit(ledger, 8):
        finish = in_threads(
            *(lambda: ledger.save(Change(appends=(append(contested, 0, 2),))) for _ in range(4)),
            *(lambda each=each: ledger.save(Change(appends=(append(each, 0, 2),))) for each in calm),
        )
    outcomes = finish()
    assert sorted(type(each).__name__ for each in outcomes[:4]) == ["Conflict"] * 3 + ["NoneType"]
    assert outcomes[4:] == [None] * 4
    assert [ledger.last_position(each) for each in (contested, *calm)] == [2] * 5


def test_changes_that_build_on_each_other_can_share_a_commit(ledger: Ledger) -> None:
    stream = uuid4()
    finish = []
    with one_commit(ledger, 3):
        for expected in (0, 2, 4):
            finish.append(in_threads(partial(ledger.save, Change(appends=(append(stream, expected, 2),)))))
            wait_until(lambda: ledger._committer._queue.qsize() == len(finish), "the next one is queued")
    assert [each() for each in finish] == [[None]] * 3
    assert ledger.last_position(stream) == 6


def test_of_two_ledgers_that_save_the_same_stream_exactly_one_wins(bench: LedgerBench) -> None:
    """Two dashboards can never both advance one instance."""
    ledgers = [bench.open(), bench.open()]
    stream = uuid4()
    for position in range(40):
        changes = [
            Change(
                appends=(
                    Append(stream=stream, expected=position, facts=(recorded(stream, position + 1, at=who),)),
                )
            )
            for who in range(2)
        ]
        outcomes = in_threads(
            *(lambda who=who, change=changes[who]: ledgers[who].save(change) for who in range(2))
        )()
        assert sorted(type(each).__name__ for each in outcomes) == ["Conflict", "NoneType"]
        assert ledgers[0].facts(stream, after=position) == list(
            changes[outcomes.index(None)].appends[0].facts
        )
    assert ledgers[1].last_position(stream) == 40


def test_the_key_of_the_log_refuses_a_second_writer_though_the_ledger_were_blind(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a program that does not take turns appends between the look and the write."""
    stream, calm = uuid4(), uuid4()
    ledger.save(Change(appends=(append(stream, 0),)))
    for transaction in (_SqliteTransaction, _PostgresTransaction):
        monkeypatch.setattr(transaction, "last_positions", lambda *_: {})
    with one_commit(ledger, 2):
        finish = in_threads(
            lambda: ledger.save(Change(appends=(append(stream, 0),))),
            lambda: ledger.save(Change(appends=(append(calm, 0),))),
        )
    outcomes = finish()
    assert isinstance(outcomes[0], Conflict)
    assert outcomes[1] is None
    assert (ledger.last_position(stream), ledger.last_position(calm)) == (1, 1)


def test_two_ledgers_number_the_inbox_together(bench: LedgerBench) -> None:
    ledgers = [bench.open(), bench.open()]
    stream = uuid4()

    def receive(ledger: Ledger) -> list[int]:
        return [
            position for _ in range(30) for position in ledger.receive([inbound(stream), inbound(stream)])
        ]

    outcomes = in_threads(*(lambda each=each: receive(each) for each in ledgers))()
    assert sorted(position for outcome in outcomes for position in outcome) == list(range(1, 121))


def test_facts_that_do_not_follow_each_other_are_refused_before_anything_is_stored(ledger: Ledger) -> None:
    stream = uuid4()
    for wrong in (recorded(stream, 2), recorded(uuid4(), 1), recorded(stream, 0)):
        with pytest.raises(ValueError, match="was given as fact 1"):
            ledger.save(Change(appends=(Append(stream=stream, expected=0, facts=(wrong,)),)))
    assert ledger.last_position(stream) == 0


def test_a_number_that_no_database_holds_is_refused_alone(ledger: Ledger) -> None:
    good, bad = uuid4(), uuid4()
    with one_commit(ledger, 2):
        finish = in_threads(
            lambda: ledger.save(Change(appends=(append(good, 0),))),
            lambda: ledger.save(
                Change(appends=(append(bad, 0),), summaries=(summary(bad, started_at=2**70),))
            ),
        )
    outcomes = finish()
    assert outcomes[0] is None
    assert isinstance(outcomes[1], Unstorable)
    assert (ledger.last_position(good), ledger.last_position(bad)) == (1, 0)


def test_a_position_is_found_by_instant(ledger: Ledger) -> None:
    stream = uuid4()
    instants = [10, 20, 20, 15, 30]  # the clock was set back between the third and the fourth
    facts = tuple(recorded(stream, number, at=at) for number, at in enumerate(instants, 1))
    ledger.save(Change(appends=(Append(stream=stream, expected=0, facts=facts),)))
    assert [ledger.position_at(stream, at) for at in (9, 10, 14, 15, 19, 20, 29, 30, 99)] == [
        0,
        1,
        1,
        4,
        4,
        4,
        4,
        5,
        5,
    ]
    assert ledger.position_at(uuid4(), 99) == 0


def test_a_position_is_found_by_instant_in_a_long_log(ledger: Ledger) -> None:
    stream = uuid4()
    ledger.save(Change(appends=(append(stream, 0, 1700),)))
    assert ledger.position_at(stream, 3_000) == 3
    assert ledger.position_at(stream, 999) == 0
    assert ledger.position_at(stream, 1_700_000) == 1700


def test_all_facts_are_read_in_the_order_of_commits(ledger: Ledger) -> None:
    one, other = uuid4(), uuid4()
    for position in range(3):
        ledger.save(Change(appends=(append(one, position), append(other, position))))
    logged = ledger.log()
    assert [(each.recorded.originator_id, each.recorded.position) for each in logged] == [
        (stream, position) for position in (1, 2, 3) for stream in (one, other)
    ]
    assert ledger.log(after=logged[3].sequence) == logged[4:]
    assert ledger.log(after=logged[0].sequence, limit=2) == logged[1:3]
    assert ledger.log(after=logged[-1].sequence) == []


def test_the_newest_snapshot_up_to_a_position_is_found(ledger: Ledger) -> None:
    stream = uuid4()
    assert ledger.snapshot(stream) is None
    ledger.put_snapshot(stream, 200, 3, b"two hundred")
    ledger.save(Change(snapshots=(Snapshot(stream=stream, position=400, schema=4, state=b"\x00"),)))
    ledger.put_snapshot(uuid4(), 300, 3, b"of another")
    assert ledger.snapshot(stream) == Snapshot(stream=stream, position=400, schema=4, state=b"\x00")
    assert ledger.snapshot(stream, until=399) == Snapshot(
        stream=stream, position=200, schema=3, state=b"two hundred"
    )
    assert ledger.snapshot(stream, until=199) is None


def test_a_snapshot_of_a_newer_schema_replaces_the_one_at_the_same_position(ledger: Ledger) -> None:
    stream = uuid4()
    ledger.put_snapshot(stream, 200, 3, b"old")
    ledger.put_snapshot(stream, 200, 4, b"new")
    found = ledger.snapshot(stream)
    assert found is not None
    assert (found.schema, found.state) == (4, b"new")


def test_an_answer_is_kept_with_its_change_and_the_first_one_stays(bench: LedgerBench) -> None:
    ledger = bench.open()
    stream = uuid4()
    assert ledger.answer("key") is None
    ledger.save(Change(appends=(append(stream, 0),), answer=("key", "digest", b"\x00answer")))
    assert ledger.answer("key") == ("digest", b"\x00answer")
    ledger.remember("key", "other", b"other")
    ledger.remember("second", "digest", b"")
    reopened = bench.open()
    assert reopened.answer("key") == ("digest", b"\x00answer")
    assert reopened.answer("second") == ("digest", b"")
    bench.now += 1000
    reopened.remember("third", "digest", b"")
    assert reopened.forget_answers(before=bench.now) == 2
    assert (reopened.answer("key"), reopened.answer("third")) == (None, ("digest", b""))


def test_facts_of_one_kind_are_read_without_the_others(ledger: Ledger) -> None:
    stream = uuid4()
    facts = (recorded(stream, 1, started(), at=7), *append(stream, 1, 4).facts)
    ledger.save(Change(appends=(Append(stream=stream, expected=0, facts=facts),)))
    kind = type(facts[1].fact)
    own = [each for each in facts if isinstance(each.fact, kind)]
    assert ledger.facts_of(stream, kind, limit=9) == own
    assert ledger.facts_of(stream, kind, skip=1) == own[1:2]
    assert ledger.facts_of(stream, kind, newest_first=True) == own[-1:]
    assert ledger.facts_of(stream, kind, skip=9) == []
    assert ledger.facts_of(stream, InstanceStarted) == [facts[0]]
    assert ledger.facts_of(stream, PlanPushed) == []
    assert ledger.facts_of(uuid4(), kind) == []
    headers = ledger.headers_of(stream, kind)
    assert [(each.position, each.at, each.cause) for each in headers] == [
        (each.position, each.at, each.cause) for each in own
    ]
