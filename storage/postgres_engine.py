"""The dashboard's memory in PostgreSQL, where several dashboards may share it.

Writers take turns: each holds one lock from before its first statement until its commit. So whatever is
numbered gets its numbers in the order of commits, and nobody who reads forward ever passes over a number that
is filled in later.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import psycopg
from eventsourcing import persistence
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresApplicationRecorder, PostgresDatastore
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow, tuple_row

from . import schema
from .driver_errors import library_errors
from .engine import FactRow, Parameters, Row

LOCK_SECONDS = 10
"""How long a writer waits for its turn."""
CONNECT_SECONDS = 5
_READERS_KEPT = 1
_READERS_AT_MOST = 16

_WRITERS_LOCK: Final = 0x6A6F_626C_6564_6765
"""The advisory lock that writers hold in turn."""

_TYPES = {
    "uuid": "UUID",
    "bytes": "BYTEA",
    "position": "BIGINT",
    "sequence": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}


@lru_cache(512)
def _statement(text: str) -> bytes:
    """A statement with the placeholders of this database; statements of ours have no other question marks."""
    return text.replace("%", "%%").replace("?", "%s").encode()


class PostgresFacts(PostgresApplicationRecorder):
    """The event store library's recorder, with inserts that are part of a larger transaction."""

    def __init__(self, datastore: PostgresDatastore) -> None:
        super().__init__(datastore)
        self._insert = sql.SQL(
            "INSERT INTO {schema}.{table} (originator_id, originator_version, topic, state) "
            "VALUES (%s, %s, %s, %s)"
        ).format(schema=sql.Identifier(datastore.schema), table=sql.Identifier(self.events_table_name))

    def add(self, cursor: psycopg.Cursor[Any], rows: Sequence[FactRow]) -> None:
        """Insert stored events, and let subscribers know; the writers' lock keeps their order."""
        self._notify_channel(cursor)
        cursor.executemany(self._insert, rows)


class _PostgresTransaction:
    def __init__(self, cursor: psycopg.Cursor[TupleRow], facts: PostgresFacts) -> None:
        self._cursor = cursor
        self._facts = facts

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        return list(self._cursor.execute(_statement(statement), parameters).fetchall())

    def run(self, statement: str, *parameters: Parameters) -> int:
        if len(parameters) == 1:
            self._cursor.execute(_statement(statement), parameters[0])
        else:
            self._cursor.executemany(_statement(statement), parameters)
        return self._cursor.rowcount

    def add_facts(self, rows: Sequence[FactRow]) -> None:
        self._facts.add(self._cursor, rows)

    def last_positions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        self._cursor.execute(
            "SELECT wanted.id, (SELECT MAX(originator_version) FROM stored_events "
            "WHERE originator_id = wanted.id) FROM unnest(%s::uuid[]) AS wanted (id)",
            (list(streams),),
        )
        return {stream: last for stream, last in self._cursor.fetchall() if last is not None}

    def leave_out(self, through: int) -> None:
        self._cursor.execute(
            "SELECT setval(counter, %s) FROM pg_get_serial_sequence('outbox', 'sequence') AS counter "
            "WHERE COALESCE(pg_sequence_last_value(counter::regclass), 0) < %s",
            (through, through),
        )


class PostgresEngine:
    """A database of a PostgreSQL server."""

    def __init__(
        self, url: str, connection_class: type[psycopg.Connection[TupleRow]] = psycopg.Connection[TupleRow]
    ) -> None:
        """Connect, and create what is missing. Raises ``PersistenceError``, ``NewerSchema``."""
        with library_errors(psycopg.Error):
            self._connection_parameters: dict[str, Any] = {
                "connect_timeout": CONNECT_SECONDS,
                "application_name": "jobledger",
                **conninfo_to_dict(url),
            }
        self._connection_class = connection_class
        self._writer: psycopg.Connection[TupleRow] | None = None
        self._datastore = self._open_datastore()
        try:
            with library_errors(psycopg.Error):
                self.facts = PostgresFacts(self._datastore)
                self.snapshots = PostgresAggregateRecorder(
                    self._datastore, events_table_name="stored_snapshots"
                )
                self._prepare()
        except BaseException:
            self.close()
            raise

    def _open_datastore(self) -> PostgresDatastore:
        given = self._connection_parameters
        datastore = PostgresDatastore(
            dbname=given.get("dbname", ""),
            host=given.get("host", ""),
            port=given.get("port", ""),
            user=given.get("user", ""),
            password=given.get("password", ""),
            connect_timeout=CONNECT_SECONDS,
            pool_size=_READERS_KEPT,
            max_overflow=_READERS_AT_MOST - _READERS_KEPT,
            pre_ping=True,
        )
        # The library passes on five parameters; a URL may have others, such as those of TLS.
        datastore.pool.kwargs = {**given, "row_factory": psycopg.rows.dict_row}
        # Give up soon on a server that is away, so that the next reader tries anew and not in minutes.
        datastore.pool.reconnect_timeout = CONNECT_SECONDS
        return datastore

    def _prepare(self) -> None:
        if schema.is_current(self._schema_version()):
            return
        with self.write() as transaction:
            # The library creates its tables on connections of its own; the lock is held for them too.
            for recorder in (self.facts, self.snapshots):
                recorder.create_table()
            schema.bring_up_to_date(transaction, _TYPES)

    def _schema_version(self) -> int | None:
        if self.read("SELECT to_regclass('schema_version')")[0][0] is None:
            return None
        version: int | None = self.read("SELECT MAX(version) FROM schema_version")[0][0]
        return version

    def key(self, stream: UUID) -> object:
        """The database has a type for them."""
        return stream

    def stream(self, key: Any) -> UUID:
        """The counterpart of ``key``."""
        found: UUID = key
        return found

    @contextmanager
    def write(self) -> Iterator[_PostgresTransaction]:
        """A transaction that holds the writers' lock from its beginning."""
        with library_errors(psycopg.Error):
            if self._writer is None or self._writer.closed:
                self._writer = self._connect()
            try:
                with self._writer.cursor() as cursor:
                    cursor.execute("BEGIN")
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_WRITERS_LOCK,))
                    yield _PostgresTransaction(cursor, self.facts)
                    cursor.execute("COMMIT")
            except BaseException:
                # Whatever state the connection is in, the next transaction begins with a fresh one.
                self._drop_writer()
                raise

    def _connect(self) -> psycopg.Connection[TupleRow]:
        connection = self._connection_class.connect(
            **self._connection_parameters, autocommit=True, row_factory=tuple_row, prepare_threshold=1
        )
        connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        # A dashboard whose host is cut off in mid-transaction must not keep the others waiting for ever.
        connection.execute(f"SET idle_in_transaction_session_timeout = '{LOCK_SECONDS}s'")
        return connection

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def read(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        """A query on a connection of the pool."""
        with (
            self._datastore.get_connection() as connection,
            connection.cursor(row_factory=tuple_row) as cursor,
        ):
            return list(cursor.execute(_statement(statement), parameters).fetchall())

    def stored_after(self, sequence: int, limit: int) -> Sequence[persistence.Notification]:
        """The library's own way to follow the log."""
        found: Sequence[persistence.Notification] = self.facts.select_notifications(
            sequence, limit, inclusive_of_start=False
        )
        return found

    def sequence_of(self, stream: UUID, position: int) -> int:
        """The library follows a table by this column."""
        query = "SELECT notification_id FROM stored_events WHERE originator_id = ? AND originator_version = ?"
        rows = self.read(query, (stream, position))
        return int(rows[0][0]) if rows else 0

    def last_sequence(self) -> int:
        """The library's own count of what there is to follow."""
        return self.facts.max_notification_id() or 0

    def close(self) -> None:
        """Close all connections."""
        self._drop_writer()
        self._datastore.close()
