"""How often the tables of a dashboard on SQLite were written to, counted by the database itself."""

import sqlite3
from pathlib import Path

from jobledger.storage.ledger import DATABASE_FILE

WRITTEN_IN_THEIR_OWN_TIME = frozenset({"stored_snapshots", "followers"})
"""Tables that say nothing new: they are brought up to date when there is time."""
_SENT_IN_ITS_OWN_TIME = {"outbox": ("INSERT",)}
"""What waits for an agent: it is part of a change when it comes, and goes when the agent has it."""
_KINDS = ("INSERT", "UPDATE", "DELETE")


class StoredChanges:
    """A count that moves with every row that is added, altered or removed, whatever then becomes of it."""

    def __init__(self, data_dir: Path) -> None:
        """Let the database count from now on; it must be there, with all its tables."""
        self._connection = sqlite3.connect(data_dir / DATABASE_FILE, isolation_level=None)
        self._connection.execute("CREATE TABLE stored_changes (number BIGINT NOT NULL)")
        self._connection.execute("INSERT INTO stored_changes VALUES (0)")
        for table in self.tables():
            for kind in _SENT_IN_ITS_OWN_TIME.get(table, _KINDS):
                self._connection.execute(
                    f"CREATE TRIGGER count_{table}_{kind} AFTER {kind} ON {table} "
                    "BEGIN UPDATE stored_changes SET number = number + 1; END"
                )

    def tables(self) -> list[str]:
        """The tables of which every change is counted, or every addition if that is what counts."""
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        return [
            name
            for (name,) in self._connection.execute(query).fetchall()
            if name not in WRITTEN_IN_THEIR_OWN_TIME and name != "stored_changes"
        ]

    def __call__(self) -> int:
        """The count of what is committed; it costs the same however much is stored."""
        number: int = self._connection.execute("SELECT number FROM stored_changes").fetchone()[0]
        return number

    def close(self) -> None:
        """Leave the database alone."""
        self._connection.close()
