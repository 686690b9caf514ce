"""The dashboard's memory in one SQLite file.

The write-ahead log lets readers go on while the one writer commits; ``synchronous=FULL`` makes every commit
wait for the disk.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing import persistence
from eventsourcing.sqlite import (
    SQLiteAggregateRecorder,
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteDatastore,
)

from . import schema
from .driver_errors import library_errors
from .durable_files import OS_FILES
from .engine import FactRow, Parameters, Row

LOCK_SECONDS = 5.0
"""How long a writer waits for another process that writes to the same file."""
_READERS_KEPT = 4
_READERS_AT_MOST = 64

_TYPES = {
    "uuid": "TEXT",
    "bytes": "BLOB",
    "position": "INTEGER",
    "sequence": "INTEGER PRIMARY KEY AUTOINCREMENT",
}


class _Pool(SQLiteConnectionPool):
    """Connections whose commits reach the disk."""

    def __init__(self, path: Path, connection_class: type[sqlite3.Connection]) -> None:
        super().__init__(
            db_name=str(path),
            pool_size=_READERS_KEPT,
            max_overflow=_READERS_AT_MOST - _READERS_KEPT,
            pool_timeout=LOCK_SECONDS,
        )
        self._connection_class = connection_class

    def _create_connection(self) -> SQLiteConnection:
        with library_errors(sqlite3.Error):
            connection = sqlite3.connect(
                self.db_name,
                timeout=LOCK_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
                factory=self._connection_class,
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        return SQLiteConnection(connection, max_age=None)


class _Datastore(SQLiteDatastore):
    def __init__(self, path: Path, connection_class: type[sqlite3.Connection]) -> None:
        super().__init__(str(path))
        self.pool = _Pool(path, connection_class)


class SqliteFacts(SQLiteApplicationRecorder):
    """The event store library's recorder, with inserts that are part of a larger transaction."""

    def add(self, cursor: sqlite3.Cursor, rows: Iterable[FactRow]) -> None:
        """Insert stored events without asking for the sequence that each was given."""
        cursor.executemany(
            self.insert_events_statement,
            [(stream.hex, position, topic, state) for stream, position, topic, state in rows],
        )


class _SqliteTransaction:
    def __init__(self, cursor: sqlite3.Cursor, facts: SqliteFacts) -> None:
        self._cursor = cursor
        self._facts = facts

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        return self._cursor.execute(statement, parameters).fetchall()

    def run(self, statement: str, *parameters: Parameters) -> int:
        if len(parameters) == 1:
            self._cursor.execute(statement, parameters[0])
        else:
            self._cursor.executemany(statement, parameters)
        return self._cursor.rowcount

    def add_facts(self, rows: Sequence[FactRow]) -> None:
        self._facts.add(self._cursor, rows)

    def last_positions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        found = {}
        for stream in streams:
            self._cursor.execute(
                "SELECT MAX(originator_version) FROM stored_events WHERE originator_id = ?", (stream.hex,)
            )
            last = self._cursor.fetchone()[0]
            if last is not None:
                found[stream] = last
        return found

    def leave_out(self, through: int) -> None:
        self._cursor.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'outbox', 0 "
            "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'outbox')"
        )
        self._cursor.execute(
            "UPDATE sqlite_sequence SET seq = ? WHERE name = 'outbox' AND seq < ?", (through, through)
        )


class SqliteEngine:
    """One file, readable and writable for its owner only; several processes may use it at the same time."""

    def __init__(self, path: Path, connection_class: type[sqlite3.Connection] = sqlite3.Connection) -> None:
        """Open the file or create it with its folders. ``OSError``, ``PersistenceError``, ``NewerSchema``."""
        OS_FILES.make_directory(path.parent)
        created = not path.exists()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._datastore = _Datastore(path, connection_class)
        self._writer: SQLiteConnection | None = None
        self.facts = SqliteFacts(self._datastore)
        self.snapshots = SQLiteAggregateRecorder(self._datastore, "stored_snapshots")
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        if created:
            OS_FILES.fsync_directory(path.parent)

    def _prepare(self) -> None:
        named = self.read("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'")
        version = self.read("SELECT MAX(version) FROM schema_version")[0][0] if named else None
        if schema.is_current(version):
            return
        with self.write() as transaction:
            for recorder in (self.facts, self.snapshots):
                for statement in recorder.create_table_statements:
                    transaction.run(statement, ())
            schema.bring_up_to_date(transaction, _TYPES)

    def key(self, stream: UUID) -> object:
        """Streams are stored as the event store library does it: 32 hexadecimal digits."""
        return stream.hex

    def stream(self, key: Any) -> UUID:
        """The counterpart of ``key``."""
        return UUID(key)

    @contextmanager
    def write(self) -> Iterator[_SqliteTransaction]:
        """A transaction that holds the file's write lock from its beginning."""
        with library_errors(sqlite3.Error):
            if self._writer is None:
                self._writer = self._datastore.pool.get_connection()
            try:
                with self._writer.cursor() as cursor:
                    cursor.row_factory = None
                    cursor.execute("BEGIN IMMEDIATE")
                    yield _SqliteTransaction(cursor, self.facts)
                    self._writer.commit()
            except BaseException:
                # After a failed write or sync the connection's view of the file is not to be trusted.
                self._drop_writer()
                raise

    def _drop_writer(self) -> None:
        """Closing takes back what was not committed; the next transaction has a fresh connection."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            self._datastore.pool.put_connection(writer)

    def read(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        """A query on a connection of the pool; what is being committed meanwhile does not hold it up."""
        with library_errors(sqlite3.Error), self._datastore.get_connection(commit=False) as connection:
            with connection.cursor() as cursor:
                cursor.row_factory = None
                rows: list[Row] = cursor.execute(statement, parameters).fetchall()
            return rows

    def stored_after(self, sequence: int, limit: int) -> Sequence[persistence.Notification]:
        """The library's own way to follow the log."""
        return self.facts.select_notifications(sequence, limit, inclusive_of_start=False)

    def sequence_of(self, stream: UUID, position: int) -> int:
        """The library follows a table by its row ids."""
        query = "SELECT rowid FROM stored_events WHERE originator_id = ? AND originator_version = ?"
        rows = self.read(query, (stream.hex, position))
        return int(rows[0][0]) if rows else 0

    def last_sequence(self) -> int:
        """The library's own count of what there is to follow."""
        return self.facts.max_notification_id() or 0

    def close(self) -> None:
        """Close all connections; the last one folds the write-ahead log into the file."""
        self._drop_writer()
        self._datastore.close()
