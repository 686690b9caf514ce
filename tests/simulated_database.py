"""A database in memory under the real ledger: it is full, breaks during the commit, dies with its process.

What is committed outlives every process that has the database open. Everything else is lost with the process
that asked for it, as with a database on a disk.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any
from uuid import UUID

from eventsourcing import persistence
from eventsourcing.domain import EventSourcingError
from eventsourcing.sqlite import SQLiteAggregateRecorder, SQLiteDatastore
from jobledger.storage import schema
from jobledger.storage.driver_errors import library_errors
from jobledger.storage.engine import Parameters, Row
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Unavailable
from jobledger.storage.sqlite_engine import _TYPES, SqliteFacts, _SqliteTransaction
from simulated_disk import Crashed


class Fate(Enum):
    """What becomes of a commit."""

    DONE = "done"
    FULL = "the disk is full"
    IN_DOUBT = "done, but the connection broke before anybody was told"
    CRASH_BEFORE = "the process dies before it"
    CRASH_AFTER = "the process dies after it, before anybody was told"


class SimulatedDatabase:
    """What is on the disk."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA synchronous=OFF")
        self.lock = threading.RLock()
        self.readable = True
        self.next_fate: Callable[[], Fate] = lambda: Fate.DONE
        self.on_commit: Callable[[], None] = lambda: None
        """Called with every commit, before anybody is told of it."""
        recorders = SQLiteDatastore(":memory:")
        self.facts = SqliteFacts(recorders)
        self.snapshots = SQLiteAggregateRecorder(recorders, "stored_snapshots")
        recorders.close()


def open_ledger(engine: Callable[[], "SimulatedEngine"], *arguments: Any, **more: Any) -> Ledger:
    """A ledger on an engine of this kind, with the error that the real ones give when it cannot be opened."""
    try:
        opened = engine()
    except EventSourcingError as error:
        raise Unavailable(f"the database cannot be opened: {error}") from error
    return Ledger(opened, *arguments, **more)


class SimulatedEngine:
    """One process's way to the database; the ``Engine`` port."""

    def __init__(self, database: SimulatedDatabase, alive: Callable[[], bool] = lambda: True) -> None:
        """``alive``: whether the process that has it open is."""
        self._database = database
        self._alive = alive
        self._closed = False
        self._prepare()

    def _prepare(self) -> None:
        named = self.read("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'")
        version = self.read("SELECT MAX(version) FROM schema_version")[0][0] if named else None
        if schema.is_current(version):
            return
        with self.write() as transaction:
            for recorder in (self._database.facts, self._database.snapshots):
                for statement in recorder.create_table_statements:
                    transaction.run(statement, ())
            schema.bring_up_to_date(transaction, _TYPES)

    def key(self, stream: UUID) -> object:
        return stream.hex

    def stream(self, key: Any) -> UUID:
        return UUID(key)

    @contextmanager
    def write(self) -> Iterator[_SqliteTransaction]:
        database = self._database
        with database.lock, library_errors(sqlite3.Error):
            self._must_be_open()
            cursor = database.connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(cursor, database.facts)
                fate = database.next_fate()
                _before_commit(fate)
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
            database.on_commit()
            _after_commit(fate)

    def read(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        with self._database.lock, library_errors(sqlite3.Error):
            self._must_be_open()
            if not self._database.readable:
                raise sqlite3.OperationalError("disk I/O error")
            return self._database.connection.execute(statement, parameters).fetchall()

    def stored_after(self, sequence: int, limit: int) -> Sequence[persistence.Notification]:
        rows = self.read(
            "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
            "WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (sequence, limit),
        )
        return [
            persistence.Notification(
                id=number, originator_id=UUID(key), originator_version=position, topic=topic, state=state
            )
            for number, key, position, topic, state in rows
        ]

    def sequence_of(self, stream: UUID, position: int) -> int:
        query = "SELECT rowid FROM stored_events WHERE originator_id = ? AND originator_version = ?"
        rows = self.read(query, (stream.hex, position))
        return int(rows[0][0]) if rows else 0

    def last_sequence(self) -> int:
        return self.read("SELECT COALESCE(MAX(rowid), 0) FROM stored_events")[0][0]

    def close(self) -> None:
        self._closed = True

    def _must_be_open(self) -> None:
        if not self._alive():
            raise Crashed
        if self._closed:
            raise sqlite3.ProgrammingError("the database is closed")


def _before_commit(fate: Fate) -> None:
    if fate is Fate.FULL:
        raise sqlite3.OperationalError("database or disk is full")
    if fate is Fate.CRASH_BEFORE:
        raise Crashed


def _after_commit(fate: Fate) -> None:
    if fate is Fate.IN_DOUBT:
        raise sqlite3.OperationalError("the connection was lost during the commit")
    if fate is Fate.CRASH_AFTER:
        raise Crashed
