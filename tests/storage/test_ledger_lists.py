"""The lists of plans, instances and agents, and that they follow from the log."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from jobledger.domain.plan_log import evolve_plan, plan_stream
from jobledger.storage.ledger import Ledger
from jobledger.storage.read_models import summary_of_plan
from jobledger.storage.records import AgentRow, Append, Change, InstanceSummary
from ledger_samples import LedgerBench, append, pushed, recorded, started, summary


def _push(ledger: Ledger, name: str, version: int, **plan: object) -> None:
    stream = plan_stream(name)
    fact = recorded(stream, version, pushed(name, version, **plan))  # type: ignore[arg-type]
    ledger.save(
        Change(
            appends=(Append(stream=stream, expected=version - 1, facts=(fact,)),),
            plans=(summary_of_plan(evolve_plan(None, fact)),),
        )
    )


def _start(ledger: Ledger, instance_id: UUID, **changes: object) -> None:
    fact = recorded(instance_id, 1, started())
    ledger.save(
        Change(
            appends=(Append(stream=instance_id, expected=0, facts=(fact,)),),
            summaries=(summary(instance_id, 1, **changes),),
        )
    )


def test_a_push_is_in_the_list_of_plans_as_soon_as_it_is_stored(ledger: Ledger) -> None:
    _push(ledger, "zürich", 1, agents=("one", "two"))
    _push(ledger, "eod", 1)
    _push(ledger, "eod", 2, disabled=True, agents=("three",))
    rows = ledger.plans()
    assert [(row.name, row.version, row.disabled, row.agents) for row in rows] == [
        ("eod", 2, True, ("three",)),
        ("zürich", 1, False, ("one", "two")),
    ]
    assert (rows[0].stream, rows[0].pushed_at) == (plan_stream("eod"), 2000)


def test_the_latest_summary_of_an_instance_stands(ledger: Ledger) -> None:
    instance = uuid4()
    _start(ledger, instance, environment_group="uk", ends_at=99)
    ledger.save(
        Change(
            appends=(append(instance, 1),),
            summaries=(
                summary(instance, 2, status="COMPLETE", ended_at=50, counts={"COMPLETE": 2, "SKIPPED": 1}),
            ),
        )
    )
    (row,) = ledger.instances().items
    assert (row.instance_id, row.status, row.ended_at, row.position) == (instance, "COMPLETE", 50, 2)
    assert (row.environment_group, row.counts) == (None, {"COMPLETE": 2, "SKIPPED": 1})


def test_an_older_summary_does_not_replace_a_newer_one(ledger: Ledger) -> None:
    instance = uuid4()
    _start(ledger, instance)
    ledger.save(Change(appends=(append(instance, 1),), summaries=(summary(instance, 2, status="ERROR"),)))
    ledger.save(Change(summaries=(summary(instance, 1, status="RUNNING"),)))
    assert ledger.instances().items[0].status == "ERROR"


def test_instances_are_listed_newest_first_and_filtered(ledger: Ledger) -> None:
    first, second, third = (UUID(int=number) for number in (3, 1, 2))
    _start(ledger, first, started_at=100)
    _start(ledger, second, started_at=200, plan="other", status="ERROR")
    _start(ledger, third, started_at=200, ended_at=300, status="COMPLETE")

    def ids(**filters: object) -> list[UUID]:
        return [row.instance_id for row in ledger.instances(**filters).items]  # type: ignore[arg-type]

    assert ids() == [third, second, first]
    assert ids(plan="eod") == [third, first]
    assert ids(active=True) == [second, first]
    assert ids(active=False) == [third]
    assert ids(status="ERROR") == [second]
    assert ids(plan="other", status="ERROR", active=True) == [second]
    assert ids(plan="none") == []


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"plan": "eod", "active": True}, "instances_active_of_plan"),
        ({"active": True}, "instances_active"),
        ({"status": "PREPARED"}, "instances_active"),
        ({"plan": "eod"}, "instances_of_plan"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_active_is_found_without_reading_all_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: dict[str, Any], index: str
) -> None:
    with closing(Ledger.open(None, tmp_path)) as ledger:
        asked: list[tuple[str, Sequence[object]]] = []
        read = ledger.reader.rows_of

        def note(statement: str, parameters: Sequence[object]) -> list[Any]:
            asked.append((statement, parameters))
            return read(statement, parameters)

        monkeypatch.setattr(ledger.reader, "rows_of", note)
        ledger.instances(**filters)
        ((statement, parameters),) = asked
        (plan,) = read(f"EXPLAIN QUERY PLAN {statement}", parameters)
        assert plan[-1].split()[:5][-1] == index, plan[-1]


def test_pages_follow_each_other_without_gap_or_repeat_while_instances_are_added(ledger: Ledger) -> None:
    ids = [uuid4() for _ in range(23)]
    for number, instance in enumerate(ids):
        _start(ledger, instance, started_at=1000 + number // 5)
    seen: list[UUID] = []
    cursor: str | None = None
    pages = 0
    while True:
        page = ledger.instances(after_cursor=cursor, limit=5)
        seen += [row.instance_id for row in page.items]
        pages += 1
        _start(ledger, uuid4(), started_at=2000 + pages)
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    assert pages == 5


def test_a_page_that_ends_with_the_list_leads_nowhere(ledger: Ledger) -> None:
    for _ in range(4):
        _start(ledger, uuid4())
    assert ledger.instances(limit=4).next is None
    assert ledger.instances(limit=3).next is not None


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.", ".00", "1.zz", "1.0' OR 1=1 --"])
def test_a_cursor_that_is_none_is_refused(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        ledger.instances(after_cursor=cursor)


def test_rebuilding_gives_the_lists_that_were_kept_all_along(ledger: Ledger) -> None:
    instances = [uuid4() for _ in range(5)]
    for number, instance in enumerate(instances):
        _start(ledger, instance, started_at=number)
    _push(ledger, "eod", 1, agents=("one",))
    _push(ledger, "eod", 2, agents=("two",))
    _push(ledger, "other", 1)
    before = ledger.instances().items, ledger.plans()
    ledger.write(lambda transaction: transaction.run("DELETE FROM plans", ()))
    ledger.write(lambda transaction: transaction.run("UPDATE instances SET status = 'WRONG'", ()))
    ledger.write(
        lambda transaction: transaction.run("DELETE FROM instances WHERE started_at = ?", (3,)),
    )

    ledger.rebuild_read_models(
        lambda instance: summary(
            instance, ledger.last_position(instance), started_at=instances.index(instance)
        )
    )
    assert (ledger.instances().items, ledger.plans()) == before


def test_an_instance_that_moves_on_while_the_lists_are_rebuilt_is_not_listed_as_it_was(
    ledger: Ledger,
) -> None:
    steady, moving, late = uuid4(), uuid4(), uuid4()
    _start(ledger, steady)
    _start(ledger, moving)
    asked: list[UUID] = []

    def summarise(instance: UUID) -> InstanceSummary:
        found = summary(instance, ledger.last_position(instance), status=f"read {asked.count(instance)}")
        if instance == moving and instance not in asked:
            ledger.save(Change(appends=(append(moving, 1),), summaries=(summary(moving, 2),)))
            _start(ledger, late)
        asked.append(instance)
        return found

    ledger.rebuild_read_models(summarise)
    rows = {row.instance_id: (row.position, row.status) for row in ledger.instances().items}
    assert rows == {steady: (1, "read 0"), moving: (2, "read 1"), late: (1, "read 0")}


def test_streams_of_another_kind_do_not_keep_a_rebuild_from_ending(ledger: Ledger) -> None:
    ledger.save(Change(appends=(append(uuid4(), 0, 2),)))
    ledger.rebuild_read_models(summary)
    assert ledger.instances().items == []


def test_an_agent_is_where_it_last_said(bench: LedgerBench) -> None:
    ledger = bench.open()
    ledger.put_agent(AgentRow(name="b", url="http://b:1", host="b", version="1", announced_at=5))
    ledger.put_agent(AgentRow(name="a", url="http://a:1", host="a", version="1", announced_at=6))
    moved = AgentRow(name="b", url="http://c:2", host="c", version="2", announced_at=7)
    ledger.put_agent(moved)
    rows = bench.open().agents()
    assert [row.name for row in rows] == ["a", "b"]
    assert rows[1] == moved
