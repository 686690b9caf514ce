"""The outbox: which facts each agent must still be told of, in one order per agent.

A row stands until its delivery is confirmed; what is gone is delivered. Sequences are never given twice, so a
confirmation can neither be taken back nor reach what came after it. They go on from the time at which a
dashboard starts, in microseconds: a new database, or one from a back-up, gives none that agents have seen.
"""

from contextlib import suppress
from uuid import UUID

import structlog

from ..domain.facts import PlanPushed, Recorded
from .mapper import FactMapper, UnreadableFact
from .reader import Reader
from .records import Outgoing

_log = structlog.get_logger(__name__)


class Outbox:
    """Reads the outbox."""

    def __init__(self, reader: Reader, mapper: FactMapper) -> None:
        self._reader = reader
        self._mapper = mapper
        self._plan: Recorded | None = None

    def outgoing(self, agent: str, after: int, limit: int, kind: str | None) -> list[Outgoing]:
        """What the agent is to be told next, each with its fact; a plan, which may be large, comes alone.

        All kinds of deliveries, or one.

        A fact that is damaged is passed over: it stops its own stream, and nobody could act on it.
        """
        of_kind, kinds = ("", ()) if kind is None else ("AND o.kind = ? ", (kind,))
        rows = self._reader.rows(
            "SELECT o.sequence, o.kind, o.stream, o.position, e.topic, "  # noqa: S608  parts of our own
            "CASE WHEN e.topic LIKE ? THEN NULL ELSE e.state END FROM outbox AS o "
            "JOIN stored_events AS e ON e.originator_id = o.stream AND e.originator_version = o.position "
            f"WHERE o.agent = ? AND o.sequence > ? {of_kind}ORDER BY o.sequence LIMIT ?",
            f"{PlanPushed.__name__}:%",
            agent,
            after,
            *kinds,
            limit,
        )
        outgoing: list[Outgoing] = []
        passed_over = after
        for sequence, order, key, position, topic, state in rows:
            stream = self._reader.stream(key)
            if state is None and outgoing:
                break
            try:
                recorded = (
                    self._pushed(stream, position)
                    if state is None
                    else self._mapper.decode(stream, position, topic, state)
                )
            except UnreadableFact as error:
                _log.error("delivery passed over", agent=agent, kind=order, error=str(error))
                passed_over = sequence
                continue
            outgoing.append(Outgoing(sequence=sequence, agent=agent, kind=order, recorded=recorded))
            if state is None:
                break
        if passed_over > after and not outgoing:
            return self.outgoing(agent, passed_over, limit, kind)
        return outgoing

    def undelivered(self, agent: str, stream: UUID) -> frozenset[int]:
        """The positions of a stream's facts that the agent is still to be told of."""
        rows = self._reader.rows(
            "SELECT position FROM outbox WHERE agent = ? AND stream = ?", agent, self._reader.key(stream)
        )
        return frozenset(position for (position,) in rows)

    def of_stream(self, kind: str, stream: UUID, limit: int) -> list[Outgoing]:
        """What agents are still to be told of a kind about a stream, in order; without what is damaged."""
        rows = self._reader.rows(
            "SELECT o.sequence, o.agent, o.position, e.topic, e.state FROM outbox AS o "
            "JOIN stored_events AS e ON e.originator_id = o.stream AND e.originator_version = o.position "
            "WHERE o.kind = ? AND o.stream = ? ORDER BY o.sequence LIMIT ?",
            kind,
            self._reader.key(stream),
            limit,
        )
        found = []
        for sequence, agent, position, topic, state in rows:
            with suppress(UnreadableFact):
                recorded = self._mapper.decode(stream, position, topic, state)
                found.append(Outgoing(sequence=sequence, agent=agent, kind=kind, recorded=recorded))
        return found

    def counts(self, kind: str) -> dict[UUID, int]:
        """How much of a kind agents are still to be told, by stream."""
        rows = self._reader.rows("SELECT stream, COUNT(*) FROM outbox WHERE kind = ? GROUP BY stream", kind)
        return {self._reader.stream(key): count for key, count in rows}

    def agents_with_outgoing(self) -> list[str]:
        """The agents that something waits for, by name."""
        return [agent for (agent,) in self._reader.rows("SELECT DISTINCT agent FROM outbox ORDER BY agent")]

    def still_to_tell(self, kind: str) -> set[tuple[str, UUID]]:
        """The agents that are still to be told something of that kind, each with the stream it is about."""
        rows = self._reader.rows("SELECT DISTINCT agent, stream FROM outbox WHERE kind = ?", kind)
        return {(agent, self._reader.stream(key)) for agent, key in rows}

    def agents_to_tell(self, stream: UUID) -> list[str]:
        """The agents that are still to be told of facts of a stream, by name."""
        key = self._reader.key(stream)
        rows = self._reader.rows("SELECT DISTINCT agent FROM outbox WHERE stream = ? ORDER BY agent", key)
        return [agent for (agent,) in rows]

    def _pushed(self, stream: UUID, position: int) -> Recorded:
        """The push of a plan; the latest is kept, since every agent of a plan is told of it at one time."""
        kept = self._plan
        if kept is not None and (kept.originator_id, kept.position) == (stream, position):
            return kept
        ((topic, state),) = self._reader.rows(
            "SELECT topic, state FROM stored_events WHERE originator_id = ? AND originator_version = ?",
            self._reader.key(stream),
            position,
        )
        recorded = self._mapper.decode(stream, position, topic, state)
        self._plan = recorded
        return recorded
