"""The requests of one commit, merged into a handful of statements.

No other writes beside the committer's transaction, so whether a change rests on the last position of a log
can be told before anything is written. A change that does not is left out; the others are not disturbed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..domain.instants import Instant
from .engine import Engine, FactRow, Transaction
from .read_models import PUT_INSTANCE, PUT_PLAN
from .records import Conflict, Inbound, InboxEntry
from .requests import Deliver, Receive, Request, Save

_PUT_ENTRY = (
    "INSERT INTO inbox (position, stream, kind, payload, source, received_at) VALUES (?, ?, ?, ?, ?, ?)"
)
_PUT_SNAPSHOT = (
    "INSERT INTO stored_snapshots (originator_id, originator_version, topic, state) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (originator_id, originator_version) DO UPDATE "
    "SET topic = excluded.topic, state = excluded.state"
)
_PUT_ANSWER = (
    "INSERT INTO answers (key, digest, answer, given_at) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
)
_PUT_OUTGOING = "INSERT INTO outbox (agent, stream, position, kind) VALUES (?, ?, ?, ?)"
_DELIVERED = "DELETE FROM outbox WHERE agent = ? AND sequence <= ?"
_HANDLED = "UPDATE inbox SET state = 1 WHERE position = ? AND state = 0"
_PARKED = "UPDATE inbox SET state = 2, error = ?, parked_at = ? WHERE position = ? AND state = 0"

if TYPE_CHECKING:
    from uuid import UUID


class WriteSet:
    """Collects what requests write, and writes it."""

    def __init__(self, transaction: Transaction, engine: Engine, now: Instant) -> None:
        self._transaction = transaction
        self._key = engine.key
        self._now = now
        self._next_entry: int | None = None
        self._last: dict[UUID, int] = {}
        self._clear()

    def _clear(self) -> None:
        self._facts: list[FactRow] = []
        self._snapshots: dict[tuple[object, object], Sequence[object]] = {}
        self._handled: list[tuple[int]] = []
        self._parked: list[tuple[str, Instant, int]] = []
        self._entries: list[tuple[object, ...]] = []
        self._outgoing: list[tuple[object, ...]] = []
        self._delivered: dict[str, int] = {}
        self._summaries: dict[object, Sequence[object]] = {}
        self._plans: dict[object, Sequence[object]] = {}
        self._answers: list[tuple[object, ...]] = []

    def expect(self, requests: Iterable[Request[object]]) -> None:
        """Look up where the logs end that the requests write to."""
        streams = {
            append.stream for request in requests if isinstance(request, Save) for append in request.appends
        }
        if streams:
            self._last = dict.fromkeys(streams, 0)
            self._last.update(self._transaction.last_positions(streams))

    def receive(self, request: Receive) -> list[InboxEntry]:
        """Give the entries their positions."""
        return [self._enter(each) for each in request.inbound]

    def save(self, request: Save) -> list[InboxEntry] | Conflict:
        """Take a change in whole, with the inbox entries that it creates; or say what it conflicts with."""
        reached: dict[UUID, int] = {}
        for append in request.appends:
            last = reached.get(append.stream, self._last[append.stream])
            if last != append.expected:
                return Conflict(
                    f"the log of {append.stream} ends at position {last}, "
                    f"and the change expects {append.expected}"
                )
            reached[append.stream] = append.expected + len(append.rows)
        self._last.update(reached)
        change = request.change
        for append in request.appends:
            self._facts += append.rows
        self._handled += [(position,) for position in change.consumed]
        self._parked += [(error, self._now, position) for position, error in change.parked]
        self._outgoing += [
            (agent, self._key(s), position, kind) for agent, s, position, kind in change.outgoing
        ]
        self._summaries.update((row[0], row) for row in request.summaries)
        self._snapshots.update((row[:2], row) for row in request.snapshots)
        self._plans.update((row[0], row) for row in request.plans)
        if change.answer is not None:
            self._answers.append((*change.answer, self._now))
        return [self._enter(each) for each in change.inbound]

    def deliver(self, request: Deliver) -> None:
        """Take deliveries out of the outbox."""
        before = self._delivered.get(request.agent, 0)
        self._delivered[request.agent] = max(before, request.through)

    def flush(self) -> None:
        """Write what was collected; ``Conflict`` when an inbox entry was not waiting any more."""
        run = self._transaction.run
        written: Mapping[str, Sequence[Sequence[object]]] = {
            _DELIVERED: list(self._delivered.items()),
            _PUT_SNAPSHOT: list(self._snapshots.values()),
            _PUT_ENTRY: self._entries,
            _PUT_OUTGOING: self._outgoing,
            PUT_INSTANCE: list(self._summaries.values()),
            PUT_PLAN: list(self._plans.values()),
            _PUT_ANSWER: self._answers,
        }
        if self._facts:
            self._transaction.add_facts(self._facts)
        for statement, rows in ((_HANDLED, self._handled), (_PARKED, self._parked)):
            if rows and run(statement, *rows) != len(rows):
                raise Conflict("an inbox entry that the change handles was handled before")
        for statement, parameters in written.items():
            if parameters:
                run(statement, *parameters)
        self._clear()

    def _enter(self, inbound: Inbound) -> InboxEntry:
        if self._next_entry is None:
            rows = self._transaction.rows("SELECT MAX(position) FROM inbox")
            self._next_entry = (rows[0][0] or 0) + 1
        position = self._next_entry
        self._next_entry += 1
        self._entries.append(
            (position, self._key(inbound.stream), inbound.kind, inbound.payload, inbound.source, self._now)
        )
        return InboxEntry(
            stream=inbound.stream,
            kind=inbound.kind,
            payload=inbound.payload,
            source=inbound.source,
            position=position,
            received_at=self._now,
        )
