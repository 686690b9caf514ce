"""The outbox: which facts each agent must still be told of, in one order per agent.

A row stands until its delivery is confirmed; what is gone is delivered. Sequences are never given twice, so a
confirmation can neither be taken back nor reach what came after it.
"""

from ..domain.facts import Recorded
from .mapper import FactMapper
from .reader import Reader
from .records import Outgoing


class Outbox:
    """Reads the outbox."""

    def __init__(self, reader: Reader, mapper: FactMapper) -> None:
        self._reader = reader
        self._mapper = mapper

    def outgoing(self, agent: str, after: int, limit: int) -> list[Outgoing]:
        """What the agent is to be told next, each with its fact."""
        rows = self._reader.rows(
            "SELECT o.sequence, o.kind, o.stream, o.position, e.topic, e.state FROM outbox AS o "
            "JOIN stored_events AS e ON e.originator_id = o.stream AND e.originator_version = o.position "
            "WHERE o.agent = ? AND o.sequence > ? ORDER BY o.sequence LIMIT ?",
            agent,
            after,
            limit,
        )
        return [
            Outgoing(sequence=sequence, agent=agent, kind=kind, recorded=self._fact(*row))
            for sequence, kind, *row in rows
        ]

    def agents_with_outgoing(self) -> list[str]:
        """The agents that something waits for, by name."""
        return [agent for (agent,) in self._reader.rows("SELECT DISTINCT agent FROM outbox ORDER BY agent")]

    def _fact(self, key: object, position: int, topic: str, state: bytes) -> Recorded:
        return self._mapper.decode(self._reader.stream(key), position, topic, state)
