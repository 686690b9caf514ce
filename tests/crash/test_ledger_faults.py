"""The ledger when everything that can go wrong does, at every single call in turn."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from jobledger.storage.ledger import DATABASE_FILE, Ledger
from jobledger.storage.postgres_engine import PostgresEngine
from jobledger.storage.records import Append, Change, Conflict, InboxEntry, Snapshot, Unavailable
from jobledger.storage.sqlite_engine import SqliteEngine
from ledger_faults import Faults, Killed, copy_of_files, faulty_postgres, faulty_sqlite
from ledger_samples import append, in_threads, inbound, one_commit, recorded, started, summary

AGENT = "host"
CONFIRMING_AGENT = "other"
ROUNDS = 3

thread_ends_in_a_traceback = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)
MORE_CALLS_THAN_ANY_SCENARIO = 500


def _stream(number: int) -> UUID:
    return uuid5(UUID(int=0), str(number))


def _change(number: int, position: int) -> Change:
    """A change that touches every table, so that half of it would show."""
    stream = _stream(number)
    facts = (recorded(stream, 1, started()), recorded(stream, 2))
    return Change(
        appends=(Append(stream=stream, expected=0, facts=facts),),
        consumed=(position,),
        outgoing=((CONFIRMING_AGENT, stream, 1, "publish"), (AGENT, stream, 2, f"initiate {number}")),
        summaries=(summary(stream, 2, status=f"status {number}"),),
        snapshots=(Snapshot(stream=stream, position=2, schema=1, state=b"%d" % number),),
        inbound=(inbound(stream, b"raised %d" % number),),
        answer=(f"key {number}", "digest", b"%d" % number),
    )


class Acknowledged:
    """What was told to be durable."""

    def __init__(self) -> None:
        self.received: dict[int, bytes] = {}
        self.saved: list[int] = []
        self.delivered = 0
        self.failures = 0

    def run(self, ledger: Ledger) -> None:
        """Receive, save and deliver in turn, and note what was acknowledged; a failed step is left out."""
        for number in range(ROUNDS):
            payload = b"event %d" % number
            try:
                position = ledger.receive([inbound(_stream(number), payload)])[0]
                self.received[position] = payload
                ledger.save(_change(number, position))
                self.saved.append(number)
                through = ledger.outgoing(CONFIRMING_AGENT)[-1].sequence
                ledger.delivered(CONFIRMING_AGENT, through)
                self.delivered = through
            except Unavailable:
                self.failures += 1

    def verify(self, ledger: Ledger) -> None:
        """All that was acknowledged is there exactly once, and of nothing there is a half."""
        entries = ledger.entries(range(1, 100))
        for position, payload in self.received.items():
            assert entries[position].payload == payload, "an acknowledged event is not at its place"
        payloads = [entry.payload for entry in entries.values()]
        for payload in self.received.values():
            assert payloads.count(payload) == 1, f"{payload!r} is there {payloads.count(payload)} times"
        for number in range(ROUNDS):
            there = _traces(ledger, number, entries)
            assert len(set(there.values())) == 1, f"half of change {number} is there: {there}"
            assert there["facts"] or number not in self.saved, f"acknowledged change {number} is gone"
        for each in ledger.outgoing(CONFIRMING_AGENT):
            assert each.sequence > self.delivered, "what was delivered is to be delivered again"


def _traces(ledger: Ledger, number: int, entries: dict[int, InboxEntry]) -> dict[str, bool]:
    stream = _stream(number)
    facts = ledger.facts(stream)
    assert len(facts) in {0, 2}
    payloads = {entry.payload for entry in entries.values()}
    return {
        "facts": bool(facts),
        "handled": any(entry.handled for entry in entries.values() if entry.stream == stream),
        "outgoing": any(each.kind == f"initiate {number}" for each in ledger.outgoing(AGENT)),
        "summary": any(row.instance_id == stream for row in ledger.instances().items),
        "snapshot": ledger.snapshot(stream) is not None,
        "inbound": b"raised %d" % number in payloads,
        "answer": ledger.answer(f"key {number}") is not None,
    }


# --- both databases: the process dies at a call -------------------------------------------------------------


def _killed_at(folder: Path, call: int) -> tuple[Acknowledged, bool]:
    """Die at a call; what the disk held at that moment is in the folder ``left``."""
    faults = Faults()
    ledger = Ledger(SqliteEngine(folder / DATABASE_FILE, faulty_sqlite(faults)))
    acknowledged = Acknowledged()

    def die() -> None:
        copy_of_files(folder / DATABASE_FILE, folder / "left")
        raise Killed

    faults.arm(call, die)
    acknowledged.run(ledger)
    ledger.close()
    return acknowledged, faults.struck


@thread_ends_in_a_traceback
def test_killed_at_any_call_the_ledger_has_all_that_it_acknowledged_once_and_nothing_by_half(
    tmp_path: Path,
) -> None:
    for call in range(1, MORE_CALLS_THAN_ANY_SCENARIO):
        folder = tmp_path / f"{call}"
        acknowledged, struck = _killed_at(folder, call)
        left = Ledger.open(None, folder / "left" if struck else folder)
        try:
            acknowledged.verify(left)
        finally:
            left.close()
        if not struck:
            assert len(acknowledged.saved) == ROUNDS
            assert call > 3 * ROUNDS * 3, "the scenario made fewer calls than it has statements"
            return
    pytest.fail("the scenario never ended")


@thread_ends_in_a_traceback
def test_killed_at_any_call_the_server_has_all_that_was_acknowledged_once_and_nothing_by_half(
    fresh_postgres_url: str, tmp_path: Path
) -> None:
    def die() -> None:
        raise Killed

    for call in range(1, MORE_CALLS_THAN_ANY_SCENARIO):
        faults = Faults()
        ledger = _emptied(fresh_postgres_url, faults)
        acknowledged = Acknowledged()
        faults.arm(call, die)
        acknowledged.run(ledger)
        ledger.close()
        left = Ledger.open(fresh_postgres_url, tmp_path)
        try:
            acknowledged.verify(left)
            left.receive([inbound(_stream(99), b"afterwards")])
        finally:
            left.close()
        if not faults.struck:
            assert len(acknowledged.saved) == ROUNDS
            assert call > 3 * ROUNDS * 3, "the scenario made fewer calls than it has statements"
            return
    pytest.fail("the scenario never ended")


@thread_ends_in_a_traceback
def test_once_its_committer_has_died_a_ledger_refuses_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    faults = Faults()
    ledger = Ledger(SqliteEngine(tmp_path / DATABASE_FILE, faulty_sqlite(faults)))

    def die() -> None:
        raise Killed

    with one_commit(ledger, 5):
        finish = in_threads(*(lambda: ledger.receive([inbound(_stream(0))]) for _ in range(5)))
        faults.arm(3, die)
    assert all(isinstance(outcome, Unavailable) for outcome in finish())
    with pytest.raises(Unavailable, match="has stopped: Killed"):
        ledger.receive([inbound(_stream(0))])
    ledger.close()


# --- both databases: a call fails, and the process goes on --------------------------------------------------


def _full() -> None:
    raise sqlite3.OperationalError("database or disk is full")


def _broken() -> None:
    raise sqlite3.OperationalError("disk I/O error")


def _cut_off() -> None:
    raise ConnectionError("the server closed the connection unexpectedly")


@pytest.mark.parametrize("strike", [_full, _broken], ids=["disk full", "disk error"])
def test_a_failure_at_any_call_is_told_to_its_waiters_alone_and_stores_nothing_by_half(
    tmp_path: Path, strike: Callable[[], None]
) -> None:
    _fail_at_every_call(
        lambda faults, call: Ledger(
            SqliteEngine(tmp_path / f"{call}" / DATABASE_FILE, faulty_sqlite(faults)),
        ),
        strike,
    )


def test_a_connection_cut_at_any_call_is_told_and_opened_anew(fresh_postgres_url: str) -> None:
    _fail_at_every_call(lambda faults, _call: _emptied(fresh_postgres_url, faults), _cut_off)


def _emptied(url: str, faults: Faults) -> Ledger:
    """On a database that has its tables and nothing in them."""
    ledger = Ledger(PostgresEngine(url, faulty_postgres(faults)))
    for table in ("inbox", "outbox", "stored_events", "stored_snapshots", "instances", "answers"):
        ledger.write(lambda transaction, table=table: transaction.run(f"DELETE FROM {table}", ()))
    return ledger


def _fail_at_every_call(open_ledger: Callable[[Faults, int], Ledger], strike: Callable[[], None]) -> None:
    for call in range(1, MORE_CALLS_THAN_ANY_SCENARIO):
        faults = Faults()
        ledger = open_ledger(faults, call)
        acknowledged = Acknowledged()
        try:
            faults.arm(call, strike)
            acknowledged.run(ledger)
            faults.disarm()
            assert acknowledged.failures == int(faults.struck), "one failure, told to one waiter"
            acknowledged.verify(ledger)
            ledger.receive([inbound(_stream(99), b"afterwards")])
        finally:
            ledger.close()
        if not faults.struck:
            assert len(acknowledged.saved) == ROUNDS
            return
    pytest.fail("the scenario never ended")


def test_a_failure_is_told_to_every_waiter_of_its_commit(tmp_path: Path) -> None:
    faults = Faults()
    ledger = Ledger(SqliteEngine(tmp_path / DATABASE_FILE, faulty_sqlite(faults)))
    with one_commit(ledger, 12):
        finish = in_threads(
            *(lambda: ledger.receive([inbound(_stream(0))]) for _ in range(6)),
            *(
                lambda each=each: ledger.save(Change(appends=(append(_stream(each), 0),)))
                for each in range(6)
            ),
        )
        faults.arm(4, _full)
    outcomes = finish()
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes), outcomes
    assert "full" in str(outcomes[0])
    assert [entry.payload for entry in ledger.unhandled()] == [b"holds the committer"]
    assert ledger.log() == []
    assert ledger.receive([inbound(_stream(0))]) == [2]
    ledger.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_committed_though_its_commit_was_reported_as_failed_is_announced_with_the_next(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Else it would lie in the inbox, unheard of, until the next start."""
    faults = Faults()
    if kind == "sqlite":
        ledger = Ledger(SqliteEngine(tmp_path / DATABASE_FILE, faulty_sqlite(faults)))
        after_commit = 5  # begin, last position, insert, before and after the commit
        strike = _broken
    else:
        url = request.getfixturevalue("fresh_postgres_url")
        ledger = Ledger(PostgresEngine(url, faulty_postgres(faults)))
        after_commit = 6
        strike = _cut_off
    announced: list[bytes] = []
    ledger.on_received = lambda entries: announced.extend(entry.payload for entry in entries)
    ledger.receive([inbound(_stream(0), b"first")])
    faults.arm(after_commit, strike)
    with pytest.raises(Unavailable):
        ledger.receive([inbound(_stream(0), b"in doubt")])
    assert [entry.payload for entry in ledger.unhandled()] == [b"first", b"in doubt"], "not after the commit"
    ledger.receive([inbound(_stream(0), b"next")])
    ledger.close()
    assert announced == [b"first", b"in doubt", b"next"]


# --- a disk that is really full -----------------------------------------------------------------------------


def test_a_full_disk_refuses_everything_stores_nothing_by_half_and_is_forgotten_when_there_is_room(
    tmp_path: Path,
) -> None:
    room = {"pages": 1_000_000}

    class SmallDisk(sqlite3.Connection):
        def cursor(self, *arguments: object) -> sqlite3.Cursor:
            cursor = super().cursor(*arguments)  # type: ignore[arg-type]
            cursor.execute(f"PRAGMA max_page_count = {room['pages']}")
            return cursor

    ledger = Ledger(SqliteEngine(tmp_path / DATABASE_FILE, SmallDisk))
    announced: list[int] = []
    ledger.on_received = lambda entries: announced.extend(entry.position for entry in entries)
    room["pages"] = 60
    stored = 0
    refused: Unavailable | None = None
    while refused is None:
        try:
            ledger.receive([inbound(_stream(0), bytes(3000)), inbound(_stream(0), bytes(3000))])
            stored += 2
        except Unavailable as error:
            refused = error
        assert stored < 1000, "the disk never filled"
    assert "full" in str(refused)
    for _ in range(3):
        with pytest.raises(Unavailable, match="full"):
            ledger.receive([inbound(_stream(0), bytes(9000))])
        with pytest.raises(Unavailable, match="full"):
            ledger.save(Change(appends=(append(_stream(1), 0, 400),), consumed=(1,)))
    assert len(ledger.unhandled()) == stored
    assert ledger.last_position(_stream(1)) == 0

    room["pages"] = 1_000_000
    assert ledger.receive([inbound(_stream(0), bytes(9000))]) == [stored + 1]
    ledger.save(Change(appends=(append(_stream(1), 0, 400),), consumed=(1,)))
    ledger.close()
    assert announced == list(range(1, stored + 2))


def test_another_process_that_keeps_the_file_locked_is_told_as_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobledger.storage.sqlite_engine.LOCK_SECONDS", 0.05)
    ledger = Ledger.open(None, tmp_path)
    other = sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        ledger.receive([inbound(_stream(0))])
    other.execute("ROLLBACK")
    other.close()
    assert ledger.receive([inbound(_stream(0))]) == [1]
    ledger.close()


# --- a PostgreSQL server that goes away and comes back ------------------------------------------------------


def test_a_server_that_restarts_costs_a_failure_and_nothing_more(
    postgres_server: object, tmp_path: Path
) -> None:
    server = postgres_server
    url = server.new_database()  # type: ignore[attr-defined]
    ledger = Ledger.open(url, tmp_path)
    ledger.receive([inbound(_stream(0), b"before")])
    assert len(ledger.unhandled()) == 1
    server.stop()  # type: ignore[attr-defined]
    try:
        for _ in range(2):
            with pytest.raises(Unavailable):
                ledger.receive([inbound(_stream(0), b"while it was away")])
        with pytest.raises(Unavailable):
            ledger.unhandled()
    finally:
        server.start()  # type: ignore[attr-defined]
    ledger.receive([inbound(_stream(0), b"after")])
    assert [entry.payload for entry in ledger.unhandled()] == [b"before", b"after"]
    ledger.close()


def test_a_server_that_ends_every_session_is_asked_again(
    postgres_server: object, fresh_postgres_url: str, tmp_path: Path
) -> None:
    ledger = Ledger.open(fresh_postgres_url, tmp_path)
    ledger.save(Change(appends=(append(_stream(0), 0),)))
    assert ledger.last_position(_stream(0)) == 1
    database = fresh_postgres_url.rpartition("/")[2]
    postgres_server.query(  # type: ignore[attr-defined]
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{database}' AND pid <> pg_backend_pid()",
    )
    assert ledger.last_position(_stream(0)) == 1, "readers find out by themselves"
    with pytest.raises(Unavailable):
        ledger.save(Change(appends=(append(_stream(0), 1),)))
    assert ledger.last_position(_stream(0)) == 1
    ledger.save(Change(appends=(append(_stream(0), 1),)))
    ledger.close()


# --- kill -9 ------------------------------------------------------------------------------------------------

_VICTIM = """
import sys, threading
from pathlib import Path
from uuid import UUID
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Append, Change, Inbound
from ledger_samples import append, inbound

database_url, data_dir, life = sys.argv[1] or None, Path(sys.argv[2]), int(sys.argv[3])
ledger = Ledger.open(database_url, data_dir)
telling = threading.Lock()

def tell(*words):
    with telling:
        sys.stdout.write(" ".join(map(str, words)) + "\\n")
        sys.stdout.flush()

def work(worker):
    stream = UUID(int=1 + life * 100 + worker)
    last = 0
    number = 0
    while True:
        number += 1
        payload = f"{life}/{worker}/{number}"
        position, = ledger.receive([inbound(stream, payload.encode())])
        tell("received", position, payload)
        ledger.save(
            Change(
                appends=(append(stream, last, 3),),
                consumed=(position,),
                outgoing=(("host", stream, last + 1, payload), ("host", stream, last + 3, payload)),
            )
        )
        last += 3
        tell("saved", stream.int, last, position)

for worker in range(8):
    threading.Thread(target=work, args=(worker,), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.crash
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_kill_minus_nine_loses_nothing_that_was_acknowledged(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = "" if kind == "sqlite" else request.getfixturevalue("fresh_postgres_url")
    rng = random.Random(20)
    received: dict[int, str] = {}
    saved: dict[int, tuple[int, set[int]]] = {}
    for life in range(4):
        for words in _live_and_die(url, tmp_path, life, lines=rng.randint(20, 600)):
            match words:
                case ["received", position, payload]:
                    assert int(position) not in received, "a position was given twice"
                    received[int(position)] = payload
                case ["saved", stream, last, position]:
                    _, positions = saved.get(int(stream), (0, set()))
                    saved[int(stream)] = int(last), positions | {int(position)}
        ledger = Ledger.open(url or None, tmp_path)
        try:
            _verify_what_was_left(ledger, received, saved)
        finally:
            ledger.close()
    assert len(received) > 40


def _live_and_die(url: str, data_dir: Path, life: int, *, lines: int) -> list[list[str]]:
    """Run the victim until it has told so much, kill it, and give all whole lines that it told."""
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, url, str(data_dir), str(life)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert victim.stdout is not None
    with victim.stdout as output:
        told = [line for _, line in zip(range(lines), output, strict=False)]
        victim.send_signal(signal.SIGKILL)
        told += list(output)
    victim.wait(30)
    return [line.split() for line in told if line.endswith("\n")]


def _verify_what_was_left(
    ledger: Ledger, received: dict[int, str], saved: dict[int, tuple[int, set[int]]]
) -> None:
    entries = ledger.entries(sorted(received))
    for position, payload in received.items():
        assert entries[position].payload.decode() == payload
    everything = ledger.unhandled(limit=100_000)
    assert len({entry.payload for entry in everything}) == len(everything)
    waiting = {entry.position for entry in everything}
    outgoing = ledger.outgoing("host", limit=1_000_000)
    for number, (last, positions) in saved.items():
        stream = UUID(int=number)
        facts = ledger.facts(stream)
        assert len(facts) in {last, last + 3}, "acknowledged facts are gone, or half a change is there"
        assert [fact.position for fact in facts] == list(range(1, len(facts) + 1))
        assert not positions & waiting, "what was handled waits again"
        told = [each.recorded.position for each in outgoing if each.recorded.originator_id == stream]
        assert told == [place for place in range(1, len(facts) + 1) if place % 3 != 2]


# --- readers ------------------------------------------------------------------------------------------------


def test_readers_are_not_held_up_by_a_commit_that_takes_long(tmp_path: Path) -> None:
    faults = Faults()
    ledger = Ledger(SqliteEngine(tmp_path / DATABASE_FILE, faulty_sqlite(faults)))
    ledger.receive([inbound(_stream(0), b"first")])
    in_commit = threading.Event()
    may_go_on = threading.Event()

    def linger() -> None:
        in_commit.set()
        assert may_go_on.wait(20)

    faults.arm(4, linger)
    finish = in_threads(lambda: ledger.receive([inbound(_stream(0), b"second")]))
    assert in_commit.wait(20)
    seen: Sequence[InboxEntry] = ledger.unhandled()
    may_go_on.set()
    assert finish() == [[2]]
    assert [entry.payload for entry in seen] == [b"first"]
    ledger.close()


def test_a_conflict_leaves_the_connection_usable(tmp_path: Path) -> None:
    ledger = Ledger.open(None, tmp_path)
    ledger.receive([inbound(_stream(0))])
    ledger.save(Change(consumed=(1,)))
    for _ in range(3):
        with pytest.raises(Conflict):
            ledger.save(Change(consumed=(1,)))
    assert ledger.receive([inbound(_stream(0))]) == [2]
    ledger.close()
