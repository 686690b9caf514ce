"""What the dashboard's memory asks of a database: transactions to write in, and rows to read.

There is one port and two databases behind it. Statements are written once, with ``?`` for each parameter;
what differs between the databases stays behind the port. Errors are those of the event store library
(``PersistenceError`` and below), whichever database raised them.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from eventsourcing.persistence import Notification

Row: TypeAlias = Sequence[Any]
Parameters: TypeAlias = Sequence[Any]
FactRow: TypeAlias = tuple[UUID, int, str, bytes]
"""The stream and the position, the topic and the state of a stored event."""


class Transaction(Protocol):
    """Everything that is done in it is committed together when its block ends, or not at all."""

    def rows(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        """Run a query."""
        ...

    def run(self, statement: str, *parameters: Parameters) -> int:
        """Run a statement once for each set of parameters; returns how many rows were touched in all."""
        ...

    def add_facts(self, rows: Sequence[FactRow]) -> None:
        """Insert stored events; ``IntegrityError`` if a place is taken."""
        ...

    def last_positions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        """The last position of each stream's log; streams without facts are missing."""
        ...

    def leave_out(self, through: int) -> None:
        """From now on no row of the outbox is given a sequence up to this one."""
        ...


class Engine(Protocol):
    """A database."""

    def key(self, stream: UUID) -> object:
        """A stream's id as a parameter."""
        ...

    def stream(self, key: Any) -> UUID:
        """A stream's id as it comes in a row."""
        ...

    def write(self) -> AbstractContextManager[Transaction]:
        """A transaction beside which no other of this database writes; for one thread at a time."""
        ...

    def read(self, statement: str, parameters: Parameters = ()) -> list[Row]:
        """Run a query outside any transaction; for any thread."""
        ...

    def stored_after(self, sequence: int, limit: int) -> Sequence[Notification]:
        """Facts of all streams in the order in which they were committed."""
        ...

    def sequence_of(self, stream: UUID, position: int) -> int:
        """The place of a stored fact among the facts of all streams; 0 when there is none."""
        ...

    def last_sequence(self) -> int:
        """The place of the newest fact among the facts of all streams; 0 when there is none."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...
