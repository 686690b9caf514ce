"""Queries beside the writer, on connections of the readers' own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import Notification

from .engine import Engine, Parameters, Row
from .records import Unavailable


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except EventSourcingError as error:
        raise Unavailable(f"the database cannot be read: {str(error) or type(error).__name__}") from error


class Reader:
    """Reads what is committed. Every query may raise ``Unavailable``; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def rows(self, statement: str, *parameters: object) -> list[Row]:
        """Run a query."""
        return self.rows_of(statement, parameters)

    def rows_of(self, statement: str, parameters: Parameters) -> list[Row]:
        """Run a query whose parameters are in a sequence."""
        with _unavailable():
            return self._engine.read(statement, parameters)

    def stored_after(self, sequence: int, limit: int) -> Sequence[Notification]:
        """Rows of the event store in the order of commits."""
        with _unavailable():
            return self._engine.stored_after(sequence, limit)

    def sequence_of(self, stream: UUID, position: int) -> int:
        """The place of a row among those of all streams; 0 when there is none."""
        with _unavailable():
            return self._engine.sequence_of(stream, position)

    def last_sequence(self) -> int:
        """The place of the newest row among those of all streams; 0 when there is none."""
        with _unavailable():
            return self._engine.last_sequence()

    def key(self, stream: UUID) -> object:
        """A stream's id as a parameter."""
        return self._engine.key(stream)

    def stream(self, key: Any) -> UUID:
        """A stream's id as it comes in a row."""
        return self._engine.stream(key)
