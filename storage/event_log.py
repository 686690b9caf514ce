"""Reads the logs of streams, and their snapshots."""

from typing import Any
from uuid import UUID

from ..domain.facts import Fact, Recorded
from ..domain.instants import Instant
from .mapper import FactMapper
from .reader import Reader
from .records import FactHeader, Logged, Snapshot, StoredFact

_SNAPSHOT_TOPIC = "State:"
_AT_ONCE = 500
"""Rows of one query when a log is searched from its end."""


class EventLog:
    """Reads facts and snapshots."""

    def __init__(self, reader: Reader, mapper: FactMapper) -> None:
        self._reader = reader
        self._mapper = mapper

    def facts(self, stream: UUID, after: int, until: int | None, limit: int | None) -> list[Recorded]:
        """The facts at the positions after one and up to another, in order."""
        statement = (
            "SELECT originator_version, topic, state FROM stored_events "
            "WHERE originator_id = ? AND originator_version > ?"
        )
        parameters: list[Any] = [self._reader.key(stream), after]
        if until is not None:
            statement += " AND originator_version <= ?"
            parameters.append(until)
        statement += " ORDER BY originator_version"
        if limit is not None:
            statement += " LIMIT ?"
            parameters.append(limit)
        decode = self._mapper.decode
        rows = self._reader.rows_of(statement, parameters)
        return [decode(stream, position, topic, state) for position, topic, state in rows]

    def streams_begun_by(self, fact: type[Fact]) -> list[UUID]:
        """The streams whose first fact is of that kind."""
        rows = self._reader.rows(
            "SELECT originator_id FROM stored_events "
            "WHERE originator_version = 1 AND topic >= ? AND topic < ? ORDER BY topic, originator_id",
            f"{fact.__name__}:",
            f"{fact.__name__};",
        )
        return [self._reader.stream(key) for (key,) in rows]

    def facts_of(
        self, stream: UUID, kind: type[Fact], skip: int, limit: int, *, newest_first: bool
    ) -> list[Recorded]:
        """Facts of one kind; no others are read."""
        rows = self._reader.rows_of(
            "SELECT originator_version, topic, state FROM stored_events "  # noqa: S608  one of two words
            "WHERE originator_id = ? AND topic LIKE ? "
            f"ORDER BY originator_version {'DESC' if newest_first else 'ASC'} LIMIT ? OFFSET ?",
            (self._reader.key(stream), f"{kind.__name__}:%", limit, skip),
        )
        return [self._mapper.decode(stream, position, topic, state) for position, topic, state in rows]

    def positions_of(self, stream: UUID, kind: type[Fact]) -> list[int]:
        """The positions of the facts of one kind, in order."""
        rows = self._reader.rows(
            "SELECT originator_version FROM stored_events "
            "WHERE originator_id = ? AND topic LIKE ? ORDER BY originator_version",
            self._reader.key(stream),
            f"{kind.__name__}:%",
        )
        return [position for (position,) in rows]

    def count_of(self, stream: UUID, kind: type[Fact]) -> int:
        """How many facts of one kind there are; none is read."""
        rows = self._reader.rows(
            "SELECT COUNT(*) FROM stored_events WHERE originator_id = ? AND topic LIKE ?",
            self._reader.key(stream),
            f"{kind.__name__}:%",
        )
        return int(rows[0][0])

    def headers_of(self, stream: UUID, kind: type[Fact]) -> list[FactHeader]:
        """When and why each fact of one kind was recorded, in order."""
        rows = self._reader.rows(
            "SELECT originator_version, state FROM stored_events "
            "WHERE originator_id = ? AND topic LIKE ? ORDER BY originator_version",
            self._reader.key(stream),
            f"{kind.__name__}:%",
        )
        headers = ((position, *self._mapper.header(state)) for position, state in rows)
        return [FactHeader(position=position, at=at, cause=cause) for position, at, cause in headers]

    def last_position(self, stream: UUID) -> int:
        """The position of the newest fact; 0 for a log that does not exist."""
        rows = self._reader.rows(
            "SELECT MAX(originator_version) FROM stored_events WHERE originator_id = ?",
            self._reader.key(stream),
        )
        return rows[0][0] or 0

    def position_at(self, stream: UUID, at: Instant) -> int:
        """The last position recorded at or before an instant; 0 when all is later, or there is nothing."""
        before = self.last_position(stream) + 1
        while before > 1:
            rows = self._reader.rows(
                "SELECT originator_version, state FROM stored_events "
                "WHERE originator_id = ? AND originator_version < ? "
                "ORDER BY originator_version DESC LIMIT ?",
                self._reader.key(stream),
                before,
                _AT_ONCE,
            )
            for position, state in rows:
                if self._mapper.instant(state) <= at:
                    return int(position)
            before = rows[-1][0] if rows else 0
        return 0

    def snapshot(self, stream: UUID, until: int | None) -> Snapshot | None:
        """The newest snapshot, or the newest at or before a position."""
        statement = "SELECT originator_version, topic, state FROM stored_snapshots WHERE originator_id = ?"
        parameters: list[Any] = [self._reader.key(stream)]
        if until is not None:
            statement += " AND originator_version <= ?"
            parameters.append(until)
        rows = self._reader.rows_of(f"{statement} ORDER BY originator_version DESC LIMIT 1", parameters)
        for position, topic, state in rows:
            schema = int(topic.removeprefix(_SNAPSHOT_TOPIC))
            return Snapshot(stream=stream, position=position, schema=schema, state=state)
        return None

    def stored_after(self, sequence: int, limit: int) -> list[StoredFact]:
        """Facts of all streams in the order in which they were committed, not read yet."""
        return [
            StoredFact(
                sequence=each.id,
                stream=each.originator_id
                if isinstance(each.originator_id, UUID)
                else UUID(each.originator_id),
                position=each.originator_version,
                name=each.topic.partition(":")[0],
                topic=each.topic,
                state=each.state,
            )
            for each in self._reader.stored_after(sequence, limit)
        ]

    def read(self, stored: StoredFact) -> Recorded:
        """A stored fact as it is; raises ``UnreadableFact``."""
        return self._mapper.decode(stored.stream, stored.position, stored.topic, stored.state)

    def all_after(self, sequence: int, limit: int) -> list[Logged]:
        """Facts of all streams in the order in which they were committed."""
        return [
            Logged(sequence=each.id, recorded=self._mapper.to_domain_event(each))
            for each in self._reader.stored_after(sequence, limit)
        ]


def snapshot_row(key: object, snapshot: Snapshot) -> tuple[object, int, str, bytes]:
    """A snapshot as a row."""
    return key, snapshot.position, f"{_SNAPSHOT_TOPIC}{snapshot.schema}", snapshot.state
