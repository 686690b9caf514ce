"""The inbox: what came in, in the order in which it was made durable, and what became of it."""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import islice
from typing import Any
from uuid import UUID

from .engine import Engine, Row, Transaction
from .reader import Reader
from .records import InboxEntry

_COLUMNS = "position, stream, kind, payload, source, received_at, state, error, parked_at"
_AT_ONCE = 500
"""Parameters of one query."""


class EntryState(IntEnum):
    """What became of an entry; the values are stored."""

    WAITING = 0
    HANDLED = 1
    PARKED = 2
    DISCARDED = 3


def entry_from(row: Row, engine: Engine | Reader) -> InboxEntry:
    """The entry that a row of all columns holds."""
    position, stream, kind, payload, source, received_at, state, error, parked_at = row
    return InboxEntry(
        stream=engine.stream(stream),
        kind=kind,
        payload=payload,
        source=source,
        position=position,
        received_at=received_at,
        handled=state in {EntryState.HANDLED, EntryState.DISCARDED},
        error=error,
        parked_at=parked_at,
    )


class Inbox:
    """Reads the inbox."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def unhandled(self, stream: UUID | None, after: int, limit: int) -> list[InboxEntry]:
        """Entries that wait, of one stream or of all, in the order of positions."""
        condition = "state = 0 AND position > ?"
        parameters: list[Any] = [after]
        if stream is not None:
            condition += " AND stream = ?"
            parameters.append(self._reader.key(stream))
        return self._entries(f"WHERE {condition} ORDER BY position LIMIT ?", (*parameters, limit))

    def streams_with_unhandled(self) -> list[UUID]:
        """The streams that entries wait for, that of the oldest entry first."""
        rows = self._reader.rows(
            "SELECT stream FROM inbox WHERE state = 0 GROUP BY stream ORDER BY MIN(position)"
        )
        return [self._reader.stream(stream) for (stream,) in rows]

    def entries(self, positions: Sequence[int]) -> dict[int, InboxEntry]:
        """The entries at these positions, as far as there are any."""
        wanted = iter(dict.fromkeys(positions))
        found: dict[int, InboxEntry] = {}
        while some := list(islice(wanted, _AT_ONCE)):
            marks = ", ".join("?" * len(some))
            for entry in self._entries(f"WHERE position IN ({marks})", some):
                found[entry.position] = entry
        return found

    def parked(self, stream: UUID | None, after: int, limit: int) -> list[InboxEntry]:
        """Entries that were put aside, of one stream or of all, in the order of positions."""
        condition = "state = 2 AND position > ?"
        parameters: list[Any] = [after]
        if stream is not None:
            condition += " AND stream = ?"
            parameters.append(self._reader.key(stream))
        return self._entries(f"WHERE {condition} ORDER BY position LIMIT ?", (*parameters, limit))

    def counts(self, state: EntryState) -> dict[UUID, int]:
        """How many entries are in a state, by stream."""
        rows = self._reader.rows(
            f"SELECT stream, COUNT(*) FROM inbox WHERE state = {int(state)} GROUP BY stream"  # noqa: S608  a number of ours
        )
        return {self._reader.stream(key): count for key, count in rows}

    def _entries(self, rest: str, parameters: Sequence[object]) -> list[InboxEntry]:
        rows = self._reader.rows_of(f"SELECT {_COLUMNS} FROM inbox {rest}", parameters)  # noqa: S608  parts of our own
        return [entry_from(row, self._reader) for row in rows]


def waiting_after(transaction: Transaction, engine: Engine, position: int) -> Iterator[InboxEntry]:
    """Entries that wait beyond a position, as the transaction sees them."""
    query = f"SELECT {_COLUMNS} FROM inbox WHERE state = 0 AND position > ? ORDER BY position"  # noqa: S608  parts of our own
    return (entry_from(row, engine) for row in transaction.rows(query, (position,)))


def unpark(transaction: Transaction, engine: Engine, position: int) -> InboxEntry | None:
    """Let a parked entry wait again; ``None`` when none is parked there."""
    touched = transaction.run(
        "UPDATE inbox SET state = 0, error = NULL, parked_at = NULL WHERE position = ? AND state = 2",
        (position,),
    )
    if not touched:
        return None
    query = f"SELECT {_COLUMNS} FROM inbox WHERE position = ?"  # noqa: S608  parts of our own
    return entry_from(transaction.rows(query, (position,))[0], engine)


def discard(transaction: Transaction, position: int, by: str) -> bool:
    """Give a parked entry up for good; false when none is parked there."""
    statement = "UPDATE inbox SET state = 3, discarded_by = ? WHERE position = ? AND state = 2"
    return bool(transaction.run(statement, (by, position)))
