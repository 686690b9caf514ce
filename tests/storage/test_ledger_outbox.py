"""The outbox: every delivery is told of, in order, until it is confirmed, and never after that."""

from functools import partial
from uuid import uuid4

from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Append, Change
from ledger_samples import LedgerBench, append, in_threads, one_commit, pushed, recorded, wait_until


def _kinds(ledger: Ledger, agent: str, **window: int) -> list[str]:
    return [each.kind for each in ledger.outgoing(agent, **window)]


def test_deliveries_come_in_the_order_of_commits_each_with_its_fact(ledger: Ledger) -> None:
    one, other = uuid4(), uuid4()
    ledger.save(
        Change(
            appends=(append(one, 0, 2), append(other, 0)),
            outgoing=(("a", one, 1, "publish"), ("b", one, 1, "publish"), ("a", one, 2, "initiate")),
        )
    )
    ledger.save(Change(outgoing=(("a", other, 1, "kill"),)))
    outgoing = ledger.outgoing("a")
    assert [each.kind for each in outgoing] == ["publish", "initiate", "kill"]
    assert [each.recorded for each in outgoing] == [*ledger.facts(one), *ledger.facts(other)]
    assert sorted(each.sequence for each in outgoing) == [each.sequence for each in outgoing]
    assert ledger.agents_with_outgoing() == ["a", "b"]
    assert _kinds(ledger, "a", limit=2) == ["publish", "initiate"]
    assert _kinds(ledger, "a", after=outgoing[0].sequence) == ["initiate", "kill"]
    assert ledger.outgoing("nobody") == []


def test_a_confirmation_is_durable_may_be_repeated_and_goes_no_further_than_it_says(
    bench: LedgerBench,
) -> None:
    ledger = bench.open()
    stream = uuid4()
    ledger.save(
        Change(
            appends=(append(stream, 0, 3),),
            outgoing=(
                *(("a", stream, position, f"{position}") for position in (1, 2, 3)),
                ("b", stream, 1, "of b"),
            ),
        )
    )
    second = ledger.outgoing("a")[1].sequence
    for _ in range(2):
        ledger.delivered("a", second)
    ledger.delivered("a", second - 1)
    reopened = bench.open()
    assert _kinds(reopened, "a") == ["3"]
    assert _kinds(reopened, "b") == ["of b"]
    reopened.delivered("a", reopened.outgoing("a")[0].sequence)
    assert reopened.agents_with_outgoing() == ["b"]
    ledger.delivered("nobody", 99)


def test_sequences_can_be_begun_further_on_and_are_not_set_back(bench: LedgerBench) -> None:
    ledger = bench.open()
    stream = uuid4()
    ledger.leave_out(through=1_800_000_000_000_000)
    ledger.save(Change(appends=(append(stream, 0),), outgoing=(("a", stream, 1, "first"),)))
    ledger = bench.open()
    ledger.leave_out(through=500)
    ledger.save(Change(outgoing=(("a", stream, 1, "second"),)))
    ledger.leave_out(through=1_900_000_000_000_000)
    ledger.save(Change(outgoing=(("a", stream, 1, "third"),)))
    sequences = [each.sequence for each in ledger.outgoing("a")]
    assert sequences == [1_800_000_000_000_001, 1_800_000_000_000_002, 1_900_000_000_000_001]


def test_an_old_confirmation_in_the_same_commit_does_not_take_a_newer_one_back(ledger: Ledger) -> None:
    stream = uuid4()
    ledger.save(
        Change(
            appends=(append(stream, 0, 3),),
            outgoing=tuple(("a", stream, position, f"{position}") for position in (1, 2, 3)),
        )
    )
    sequences = [each.sequence for each in ledger.outgoing("a")]
    finish = []
    with one_commit(ledger, 2):
        for through in (sequences[1], sequences[0]):
            finish.append(in_threads(partial(ledger.delivered, "a", through)))
            wait_until(lambda: ledger._committer._queue.qsize() == len(finish), "the next one is queued")
    assert [each() for each in finish] == [[None], [None]]
    assert _kinds(ledger, "a") == ["3"]


def test_what_comes_after_everything_was_confirmed_is_told_all_the_same(bench: LedgerBench) -> None:
    """The numbers of the outbox never begin again, not even after it was empty and the database reopened."""
    ledger = bench.open()
    stream = uuid4()
    ledger.save(Change(appends=(append(stream, 0),), outgoing=(("a", stream, 1, "first"),)))
    first = ledger.outgoing("a")[0].sequence
    ledger.delivered("a", first)
    ledger.close()
    reopened = bench.open()
    reopened.save(Change(appends=(append(stream, 1),), outgoing=(("a", stream, 2, "second"),)))
    reopened.delivered("a", first)
    assert _kinds(reopened, "a") == ["second"]
    assert reopened.outgoing("a")[0].sequence > first


def test_deliveries_of_two_dashboards_are_never_numbered_below_one_that_was_read(bench: LedgerBench) -> None:
    """Else a confirmation would swallow a delivery that was committed late with an early number."""
    ledgers = [bench.open(), bench.open()]
    streams = [uuid4(), uuid4()]

    def fill(who: int) -> None:
        for position in range(60):
            ledgers[who].save(
                Change(
                    appends=(append(streams[who], position),),
                    outgoing=(("a", streams[who], position + 1, f"{who}/{position}"),),
                )
            )

    finish = in_threads(lambda: fill(0), lambda: fill(1))
    told: list[str] = []
    while len(told) < 120:
        for each in ledgers[0].outgoing("a", limit=7):
            told.append(each.kind)
            ledgers[0].delivered("a", each.sequence)
    assert finish() == [None, None]
    assert [each for each in told if each.startswith("0")] == [f"0/{position}" for position in range(60)]
    assert [each for each in told if each.startswith("1")] == [f"1/{position}" for position in range(60)]
    assert ledgers[0].outgoing("a") == []


def test_a_plan_comes_alone_since_it_may_be_large(ledger: Ledger) -> None:
    plan, instance = uuid4(), uuid4()
    pushes = tuple(recorded(plan, number, pushed("p", number)) for number in (1, 2))
    ledger.save(
        Change(
            appends=(Append(stream=plan, expected=0, facts=pushes), append(instance, 0, 2)),
            outgoing=(
                ("a", instance, 1, "publish"),
                ("a", plan, 1, "provision"),
                ("a", plan, 2, "provision"),
                ("b", plan, 2, "provision"),
                ("a", instance, 1, "remove"),
                ("a", instance, 2, "kill"),
            ),
        )
    )
    told = []
    after = 0
    while outgoing := ledger.outgoing("a", after=after):
        told.append([(each.kind, each.recorded.position) for each in outgoing])
        assert all(each.recorded in [*pushes, *ledger.facts(instance)] for each in outgoing)
        after = outgoing[-1].sequence
    assert told == [[("publish", 1)], [("provision", 1)], [("provision", 2)], [("remove", 1), ("kill", 2)]]
    assert ledger.outgoing("b")[0].recorded is ledger.outgoing("b")[0].recorded, "it is read once for all"


def test_a_fact_that_is_damaged_holds_up_no_other_delivery(ledger: Ledger) -> None:
    one, other = uuid4(), uuid4()
    ledger.save(
        Change(
            appends=(append(one, 0, 3), append(other, 0)),
            outgoing=(
                *(("a", one, position, f"{position}") for position in (1, 2, 3)),
                ("a", other, 1, "other"),
            ),
        )
    )
    ledger.write(
        lambda transaction: transaction.run(
            "UPDATE stored_events SET state = ? WHERE originator_version IN (1, 2) AND originator_id = ?",
            (b"\xc1", ledger.reader.key(one)),
        )
    )
    assert _kinds(ledger, "a") == ["3", "other"]
    assert _kinds(ledger, "a", limit=1) == ["3"], "a batch of nothing but damaged ones is no end"
    last = ledger.outgoing("a")[-1].sequence
    ledger.delivered("a", last)
    assert ledger.agents_with_outgoing() == []
