"""Connections to both databases that fail, or end the process, at any single call of the committer's."""

import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import TupleRow


class Killed(BaseException):
    """The process is gone."""


class Faults:
    """Counts the calls of the committer and has one of them go wrong."""

    def __init__(self) -> None:
        self.calls = 0
        self.strike_at: int | None = None
        self.strike: Callable[[], None] = lambda: None
        self.struck = False

    def arm(self, call: int, strike: Callable[[], None]) -> None:
        """Have the call of that number go wrong, counted from now."""
        self.calls = 0
        self.strike_at = call
        self.strike = strike
        self.struck = False

    def disarm(self) -> None:
        """Let everything go well from now on."""
        self.strike_at = None

    def called(self) -> None:
        """Before the call, and after each commit."""
        if threading.current_thread().name != "committer":
            return
        self.calls += 1
        if self.calls == self.strike_at:
            self.struck = True
            self.strike()


def faulty_sqlite(faults: Faults) -> type[sqlite3.Connection]:
    """A class of connections to SQLite that fail as told."""

    class Cursor(sqlite3.Cursor):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            faults.called()
            return super().execute(*arguments)

        def executemany(self, *arguments: Any) -> sqlite3.Cursor:
            faults.called()
            return super().executemany(*arguments)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def commit(self) -> None:
            faults.called()
            super().commit()
            faults.called()

    return Connection


def faulty_postgres(faults: Faults) -> type[psycopg.Connection[TupleRow]]:
    """A class of connections to PostgreSQL whose socket closes instead of sending what it is told.

    It closes as well when the process dies at that call.
    """

    class Cursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
            self._meet_faults()
            done = super().execute(query, *arguments, **options)
            if query == "COMMIT":
                self._meet_faults()
            return done

        def executemany(self, *arguments: Any, **options: Any) -> None:
            self._meet_faults()
            super().executemany(*arguments, **options)

        def _meet_faults(self) -> None:
            try:
                faults.called()
            except ConnectionError as error:
                self.connection.pgconn.finish()
                raise psycopg.OperationalError(str(error)) from error
            except Killed:
                self.connection.pgconn.finish()  # as the kernel does with the sockets of the dead
                raise

    class Connection(psycopg.Connection[TupleRow]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.cursor_factory = Cursor

    return Connection


def copy_of_files(database: Path, to: Path) -> None:
    """What the disk holds of a SQLite database at this moment, as a killed process leaves it."""
    to.mkdir(parents=True)
    for suffix in ("", "-wal"):
        file = database.with_name(database.name + suffix)
        if file.exists():
            shutil.copyfile(file, to / file.name)
