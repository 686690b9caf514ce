"""Durable events a second into the ledger, beside what SQLite can commit row by row in the same run.

    python benchmarks/ledger.py [--json] [--directory DIR] [--seconds SECONDS] [--database-url URL]

One event is about 300 bytes; each call returns when it is on disk. A turn is what the dashboard stores for
one event: its facts, the inbox entry as handled, what an agent is to be told and the instance's row in the
list. With --database-url the ledger is in PostgreSQL, and only the plain figure is still SQLite's.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
from durations import from_threads, repeat
from jobledger.domain.facts import Cause, JobCompleted, JobInitiated, Recorded
from jobledger.domain.messages import ProcessEvent
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Append, Change, Inbound, InstanceSummary

THREADS = 64
TURN_THREADS = 8
FLOOR_PER_SECOND = 3000
REPLAYED_FACTS = 10_000
EVENT = msgspec.msgpack.encode(
    ProcessEvent(
        agent="agent-17.example.com",
        job="LOAD_POSITIONS_FROM_CUSTODIAN",
        instance_id="0190c5a4-6f3b-7c2e-9d1a-3b5f8e7a6c21",
        plan="END_OF_DAY",
        id="0190c5a4-6f3b-7c2e-9d1a-3b5f8e7a6c22",
        contexts=("END_OF_DAY", "LOAD"),
        successful=True,
        return_code=0,
        pid=47_110,
        fired_at=1_743_379_200_000,
        completed_at=1_743_379_260_000,
    )
)


def rows_per_second(directory: Path, seconds: float) -> float:
    """One row a commit into a file of its own, in a log that is synced: what SQLite does at best."""
    connection = sqlite3.connect(directory / "plain.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS events (position INTEGER PRIMARY KEY, payload BLOB)")
    durations = repeat(
        lambda: connection.execute("INSERT INTO events (payload) VALUES (?)", (EVENT,)), seconds
    )
    connection.close()
    return len(durations) / sum(durations)


def receives(ledger: Ledger, threads: int, seconds: float) -> tuple[float, float]:
    def work(worker: int) -> list[float]:
        entries = [Inbound(stream=UUID(int=worker), kind="event", payload=EVENT, source="10.1.2.3")]
        return repeat(lambda: ledger.receive(entries), seconds)

    return from_threads(threads, work)


def turns(ledger: Ledger, threads: int, seconds: float) -> tuple[float, float]:
    """Each thread receives an event for an instance of its own and stores what follows from it."""

    def work(_worker: int) -> list[float]:
        stream = uuid4()
        entries = [Inbound(stream=stream, kind="event", payload=EVENT)]
        last = 0

        def turn() -> None:
            nonlocal last
            (position,) = ledger.receive(entries)
            ledger.save(change(stream, last, position))
            last += 2

        return repeat(turn, seconds)

    return from_threads(threads, work)


def change(stream: UUID, last: int, position: int) -> Change:
    """A job is complete, and the next one is initiated."""
    cause = Cause(position=position, source="10.1.2.3")
    at = 1_743_379_200_000 + last
    completed = JobCompleted(job="agent-17-LOAD", initiation=last + 1, return_code=0, completed_at=at)
    initiated = JobInitiated(
        job="agent-17-REPORT", initiation=last + 2, agent="agent-17", parameters={"date": "2025-03-31"}
    )
    facts = tuple(
        Recorded(originator_id=stream, originator_version=number, at=at, cause=cause, fact=fact)
        for number, fact in enumerate((completed, initiated), last + 1)
    )
    summary = InstanceSummary(
        instance_id=stream,
        plan="END_OF_DAY",
        plan_version=1,
        status="RUNNING",
        started_at=at,
        position=last + 2,
        counts={"WAITING": 40, "RUNNING": 2, "COMPLETE": last},
    )
    return Change(
        appends=(Append(stream=stream, expected=last, facts=facts),),
        consumed=(position,),
        outgoing=(("agent-17", stream, last + 2, "initiate"),),
        summaries=(summary,),
    )


def replay(ledger: Ledger) -> float:
    """Facts a second that are read back from one log."""
    stream = uuid4()
    ledger.save(
        Change(appends=tuple(change(stream, last, 1).appends[0] for last in range(0, REPLAYED_FACTS, 2)))
    )
    begun = time.perf_counter()
    assert len(ledger.facts(stream)) == REPLAYED_FACTS
    return REPLAYED_FACTS / (time.perf_counter() - begun)


def opening_ms(directory: Path) -> float:
    """To open a file that is there."""
    Ledger.open(None, directory).close()
    begun = time.perf_counter()
    ledger = Ledger.open(None, directory)
    taken = time.perf_counter() - begun
    ledger.close()
    return taken * 1000


def measure(directory: Path, database_url: str | None, seconds: float) -> dict[str, float]:
    before = rows_per_second(directory, seconds / 2)
    ledger = Ledger.open(database_url, directory)
    one_rate, one_p99 = receives(ledger, 1, seconds)
    many_rate, many_p99 = receives(ledger, THREADS, seconds)
    turn_rate, turn_p99 = turns(ledger, TURN_THREADS, seconds)
    replayed = replay(ledger)
    ledger.close()
    after = rows_per_second(directory, seconds / 2)
    plain = (before + after) / 2
    return {
        "sqlite_one_row_per_commit_per_s": plain,
        "receive_1_thread_per_s": one_rate,
        "receive_1_thread_p99_ms": one_p99 * 1000,
        "receive_1_thread_to_plain": one_rate / plain,
        f"receive_{THREADS}_threads_per_s": many_rate,
        f"receive_{THREADS}_threads_p99_ms": many_p99 * 1000,
        f"receive_{THREADS}_threads_to_plain": many_rate / plain,
        f"turns_{TURN_THREADS}_threads_per_s": turn_rate,
        f"turns_{TURN_THREADS}_threads_p99_ms": turn_p99 * 1000,
        "facts_read_per_s": replayed,
        "opening_ms": opening_ms(directory / "opened"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: the temporary one")
    parser.add_argument("--database-url", help="of a PostgreSQL database to fill; default: a SQLite file")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each measurement (default %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        results = measure(Path(directory), options.database_url, options.seconds)
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in results.items()}))
        return
    for name, value in results.items():
        print(f"{name:34} {value:12,.2f}")
    rate = results[f"receive_{THREADS}_threads_per_s"]
    verdict = "met" if rate >= FLOOR_PER_SECOND else "MISSED"
    print(f"floor: {FLOOR_PER_SECOND:,} from {THREADS} threads: {verdict}")


if __name__ == "__main__":
    main()
