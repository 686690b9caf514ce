"""The dashboard's durable memory: inbox, log of facts, outbox and lists, in one database.

What a method has returned from storing is on disk. Writers of many threads share commits; readers do not wait
for them. SQLite and PostgreSQL behave alike.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar
from uuid import UUID

from eventsourcing.domain import EventSourcingError

from ..domain.facts import Fact, Recorded
from ..domain.instants import Instant
from . import inbox
from .committer import Committer, Committing
from .engine import Engine, Transaction
from .event_log import EventLog
from .group_commit import GroupCommit
from .inbox import Inbox
from .mapper import FactMapper
from .outbox import Outbox
from .read_models import ReadModels
from .reader import Reader
from .rebuild import Rebuild
from .records import (
    AgentRow,
    Change,
    FactHeader,
    Inbound,
    InboxEntry,
    InstanceRow,
    InstanceSummary,
    Logged,
    Outgoing,
    Page,
    PlanRow,
    Snapshot,
    StoredFact,
    Unavailable,
)
from .requests import Deliver, Receive, Save, Step
from .sqlite_engine import SqliteEngine

ResultT = TypeVar("ResultT")

DATABASE_FILE = "jobledger.db"
"""In the data directory, when no other database is named."""

_PUT_AGENT = (
    "INSERT INTO agents (name, url, host, version, announced_at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET url = excluded.url, host = excluded.host, version = excluded.version, "
    "announced_at = excluded.announced_at"
)
_PUT_ANSWER = (
    "INSERT INTO answers (key, digest, answer, given_at) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
)


def system_clock() -> Instant:
    """Now, by the clock of this host."""
    return time.time_ns() // 1_000_000


def open_engine(database_url: str | None, data_dir: Path) -> Engine:
    """Open the database that a URL names, or the SQLite file in the data directory.

    Raises ``Unavailable``, ``NewerSchema``, and ``ValueError`` for a URL of another kind of database.
    """
    try:
        if database_url is None:
            return SqliteEngine(data_dir / DATABASE_FILE)
        if database_url.startswith(("postgresql://", "postgres://")):
            from .postgres_engine import PostgresEngine  # noqa: PLC0415  an optional extra, and large

            return PostgresEngine(database_url)
    except (EventSourcingError, OSError) as error:
        raise Unavailable(f"the database cannot be opened: {error}") from error
    raise ValueError("a database URL begins with postgresql://; without one a SQLite file is used")


class Ledger:
    """One dashboard's way to its database. Safe to share between threads.

    Every method may raise ``Unavailable``. One that stores has then stored nothing, unless the connection
    broke during the commit itself.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], Instant] = system_clock,
        *,
        committer: Callable[[GroupCommit], Committing] = Committer,
    ) -> None:
        """``committer``: who has the groups of requests written; by default a thread of its own."""
        self._engine = engine
        self._clock = clock
        self._mapper = FactMapper()
        self._reader = Reader(engine)
        self._inbox = Inbox(self._reader)
        self._log = EventLog(self._reader, self._mapper)
        self._outbox = Outbox(self._reader, self._mapper)
        self._lists = ReadModels(self._reader)
        self.on_received: Callable[[Sequence[InboxEntry]], None] = _ignore
        """Called after each commit with the inbox entries that it made durable, in the order of positions.

        It runs on the committing thread: it must be quick, and must not store anything itself.
        """
        self._committer = committer(GroupCommit(engine, clock, self._announce))

    @classmethod
    def open(
        cls, database_url: str | None, data_dir: Path, *, clock: Callable[[], Instant] = system_clock
    ) -> Self:
        """Open the database, creating what is missing of it.

        Raises ``Unavailable``, ``NewerSchema``, and ``ValueError`` for a URL of another kind of database.
        """
        return cls(open_engine(database_url, data_dir), clock)

    def close(self) -> None:
        """Finish what is under way and let go of the database; again: nothing."""
        self._committer.close()
        self._engine.close()

    # --- inbox ----------------------------------------------------------------------------------------------

    def receive(self, entries: Sequence[Inbound]) -> list[int]:
        """Take entries into the inbox, all or none; returns their positions once they are on disk."""
        if not entries:
            return []
        return self._committer.submit(Receive(entries))

    def unhandled(self, stream: UUID | None = None, after: int = 0, limit: int = 1000) -> list[InboxEntry]:
        """Entries that wait, of one stream or of all, in the order of positions."""
        return self._inbox.unhandled(stream, after, limit)

    def streams_with_unhandled(self) -> list[UUID]:
        """The streams that entries wait for, that of the oldest entry first."""
        return self._inbox.streams_with_unhandled()

    def unhandled_counts(self) -> dict[UUID, int]:
        """How many entries wait, by stream."""
        return self._inbox.counts(inbox.EntryState.WAITING)

    def parked_counts(self) -> dict[UUID, int]:
        """How many entries were put aside, by stream."""
        return self._inbox.counts(inbox.EntryState.PARKED)

    def entries(self, positions: Sequence[int]) -> dict[int, InboxEntry]:
        """The entries at these positions, as far as there are any."""
        return self._inbox.entries(positions)

    # --- the log of facts -----------------------------------------------------------------------------------

    def save(self, change: Change) -> None:
        """Store a change, all or nothing; returns once it is on disk.

        Raises ``Conflict`` when a log does not end where the change expects, or an inbox entry that it
        handles was handled before; ``ValueError`` for facts that do not follow each other, ``Unstorable`` for
        values that the database cannot hold.
        """
        self._committer.submit(Save(change, self._mapper, self._engine.key))

    def facts(
        self, stream: UUID, after: int = 0, until: int | None = None, limit: int | None = None
    ) -> list[Recorded]:
        """The facts at the positions after one and up to another, in order."""
        return self._log.facts(stream, after, until, limit)

    def streams_begun_by(self, fact: type[Fact]) -> list[UUID]:
        """The streams whose first fact is of that kind: what a stream is shows in how it begins."""
        return self._log.streams_begun_by(fact)

    def facts_of(
        self,
        stream: UUID,
        kind: type[Fact],
        *,
        skip: int = 0,
        limit: int = 1,
        newest_first: bool = False,
    ) -> list[Recorded]:
        """Facts of one kind, which alone are read, the oldest first unless told otherwise."""
        return self._log.facts_of(stream, kind, skip, limit, newest_first=newest_first)

    def positions_of(self, stream: UUID, kind: type[Fact]) -> list[int]:
        """The positions of the facts of one kind, in order."""
        return self._log.positions_of(stream, kind)

    def headers_of(self, stream: UUID, kind: type[Fact]) -> list[FactHeader]:
        """When and why each fact of one kind was recorded, in order."""
        return self._log.headers_of(stream, kind)

    def count_of(self, stream: UUID, kind: type[Fact]) -> int:
        """How many facts of one kind a stream has."""
        return self._log.count_of(stream, kind)

    def last_position(self, stream: UUID) -> int:
        """The position of a stream's newest fact; 0 when it has none."""
        return self._log.last_position(stream)

    def position_at(self, stream: UUID, at: Instant) -> int:
        """The last position recorded at or before an instant; 0 when there is none."""
        return self._log.position_at(stream, at)

    def log(self, after: int = 0, limit: int = 1000) -> list[Logged]:
        """Facts of all streams in the order in which they were committed."""
        return self._log.all_after(after, limit)

    def stored_after(self, sequence: int, limit: int) -> list[StoredFact]:
        """Facts of all streams in the order of commits, for those who ``read`` only some of them."""
        return self._log.stored_after(sequence, limit)

    def read(self, stored: StoredFact) -> Recorded:
        """A stored fact as it is; raises ``UnreadableFact``."""
        return self._log.read(stored)

    def sequence_of(self, stream: UUID, position: int) -> int:
        """The place of a fact among the facts of all streams; 0 when there is none."""
        return self._reader.sequence_of(stream, position)

    def last_sequence(self) -> int:
        """The place of the newest fact among the facts of all streams; 0 when there is none."""
        return self._reader.last_sequence()

    # --- snapshots ------------------------------------------------------------------------------------------

    def put_snapshot(self, stream: UUID, position: int, schema: int, state: bytes) -> None:
        """Keep the state of a stream at a position."""
        snapshot = Snapshot(stream=stream, position=position, schema=schema, state=state)
        self.save(Change(snapshots=(snapshot,)))

    def snapshot(self, stream: UUID, until: int | None = None) -> Snapshot | None:
        """The newest snapshot of a stream, or the newest at or before a position."""
        return self._log.snapshot(stream, until)

    # --- outbox ---------------------------------------------------------------------------------------------

    def leave_out(self, through: int) -> None:
        """From now on nothing in the outbox is given a sequence up to this one."""
        self.write(lambda transaction: transaction.leave_out(through))

    def outgoing(
        self, agent: str, after: int = 0, limit: int = 500, *, kind: str | None = None
    ) -> list[Outgoing]:
        """What the agent has not confirmed yet, of one kind or of all, in the order of telling."""
        return self._outbox.outgoing(agent, after, limit, kind)

    def delivered(self, agent: str, through: int) -> None:
        """The agent has everything up to a sequence; may be said again, and cannot be taken back."""
        self._committer.submit(Deliver(agent, through))

    def undelivered(self, agent: str, stream: UUID) -> frozenset[int]:
        """The positions of a stream's facts that the agent is still to be told of."""
        return self._outbox.undelivered(agent, stream)

    def undelivered_of(self, kind: str, stream: UUID, limit: int) -> list[Outgoing]:
        """What agents are still to be told of a kind about a stream, in order."""
        return self._outbox.of_stream(kind, stream, limit)

    def undelivered_counts(self, kind: str) -> dict[UUID, int]:
        """How much of a kind agents are still to be told, by stream."""
        return self._outbox.counts(kind)

    def agents_with_outgoing(self) -> list[str]:
        """The agents that something waits for, by name."""
        return self._outbox.agents_with_outgoing()

    def still_to_tell(self, kind: str) -> set[tuple[str, UUID]]:
        """The agents that are still to be told something of that kind, each with the stream it is about."""
        return self._outbox.still_to_tell(kind)

    def agents_to_tell(self, stream: UUID) -> list[str]:
        """The agents that are still to be told of facts of a stream, by name."""
        return self._outbox.agents_to_tell(stream)

    # --- dead letters ---------------------------------------------------------------------------------------

    def parked(self, after: int = 0, limit: int = 100, stream: UUID | None = None) -> list[InboxEntry]:
        """Inbox entries that were put aside, of one stream or of all, each with its error, in order."""
        return self._inbox.parked(stream, after, limit)

    def unpark(self, position: int) -> InboxEntry | None:
        """Let a parked entry wait again, durably; ``None`` when none is parked there."""
        return self.write(lambda transaction: inbox.unpark(transaction, self._engine, position))

    def discard(self, position: int, by: str) -> bool:
        """Give a parked entry up for good; false when none is parked there."""
        return self.write(lambda transaction: inbox.discard(transaction, position, by))

    # --- lists ----------------------------------------------------------------------------------------------

    def plans(self, *, deleted: bool = False) -> list[PlanRow]:
        """All plans, by name; with those that were deleted, if they are asked for."""
        return self._lists.plans(deleted=deleted)

    def instances(
        self,
        *,
        plan: str | None = None,
        status: str | None = None,
        active: bool | None = None,
        after_cursor: str | None = None,
        limit: int = 100,
    ) -> Page[InstanceRow]:
        """Instances, newest first; ``ValueError`` for a cursor that is none of ours."""
        return self._lists.instances(
            plan=plan, status=status, active=active, cursor=after_cursor, limit=limit
        )

    def rebuild_read_models(self, summarise: Callable[[UUID], InstanceSummary]) -> None:
        """Make the lists of plans and instances anew from the log; ``summarise`` gives an instance's row."""
        rebuild = Rebuild(self._reader, self._log, summarise)
        rebuild.read_all()
        while moved := self.write(lambda transaction: rebuild.write(transaction, self._engine)):
            rebuild.read_again(moved)

    # --- agents and answers ---------------------------------------------------------------------------------

    def put_agent(self, row: AgentRow) -> None:
        """Remember where an agent is."""
        parameters = (row.name, row.url, row.host, row.version, row.announced_at)
        self.write(lambda transaction: transaction.run(_PUT_AGENT, parameters))

    def agents(self) -> list[AgentRow]:
        """Every agent that ever announced itself, by name."""
        rows = self._reader.rows("SELECT name, url, host, version, announced_at FROM agents")
        found = [
            AgentRow(name=name, url=url, host=host, version=version, announced_at=at)
            for name, url, host, version, at in rows
        ]
        return sorted(found, key=lambda row: row.name)

    def answer(self, key: str) -> tuple[str, bytes] | None:
        """The digest of the request that an idempotency key came with, and the answer that was given."""
        rows = self._reader.rows("SELECT digest, answer FROM answers WHERE key = ?", key)
        return (rows[0][0], rows[0][1]) if rows else None

    def remember(self, key: str, digest: str, answer: bytes) -> None:
        """Keep an answer; the first one that is kept for a key stays."""
        parameters = (key, digest, answer, self._clock())
        self.write(lambda transaction: transaction.run(_PUT_ANSWER, parameters))

    def forget_answers(self, before: Instant) -> int:
        """Drop the answers that were given before an instant; returns how many."""
        return self.write(
            lambda transaction: transaction.run("DELETE FROM answers WHERE given_at < ?", (before,))
        )

    def _announce(self, entries: Sequence[InboxEntry]) -> None:
        self.on_received(entries)

    # --- for the other modules of this room -----------------------------------------------------------------

    @property
    def reader(self) -> Reader:
        """Queries of what is committed."""
        return self._reader

    def write(self, work: Callable[[Transaction], ResultT]) -> ResultT:
        """Run statements as part of the next commit; returns what they gave, once they are on disk.

        When a commit cannot be made with all that came together, it is tried with each alone: ``work`` may
        run twice, and only the last run counts.
        """
        return self._committer.submit(Step(work))


def _ignore(_entries: Sequence[InboxEntry]) -> None:
    """Nobody listens yet: entries wait in the inbox."""
