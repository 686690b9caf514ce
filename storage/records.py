"""What goes into the dashboard's durable memory and what comes out of it."""

from typing import Generic, TypeVar
from uuid import UUID

import msgspec
from eventsourcing.persistence import IntegrityError

from ..domain.facts import Cause, Recorded
from ..domain.instants import Instant
from ..domain.plan_log import PlanStanding

ItemT = TypeVar("ItemT")


class Unavailable(RuntimeError):
    """It could not be made durable, or not be read, for now: the disk is full, the database is gone.

    Usually nothing was stored. When the connection broke during the commit itself it may have been, as a
    whole: whoever tries again must give the same ids, and whoever decides must read first.
    """


class Conflict(IntegrityError):
    """What was to be stored rests on an old state: somebody else was first. Nothing of it was stored."""


class Unstorable(ValueError):
    """A value that the database cannot hold, such as text with a NUL in it. Trying again does not help."""


class NewerSchema(RuntimeError):
    """The database was written by a newer version of this program than this one."""


# --- hop 1: the inbox ---------------------------------------------------------------------------------------


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """Something that came for a stream, before it has a place in the inbox."""

    stream: UUID
    """The instance, or the plan, that it is for."""
    kind: str
    payload: bytes
    """The domain message as msgpack."""
    source: str = ""
    """Who sent it."""


class InboxEntry(Inbound, frozen=True, kw_only=True):
    """Something that came, at its place in the inbox."""

    position: int
    """Strictly increasing in the order of commits."""
    received_at: Instant
    handled: bool = False
    """Whether nothing more is to be done about it: its facts are stored, or it was discarded."""
    error: str | None = None
    """Why it was parked."""
    parked_at: Instant | None = None


# --- hop 2: the log of facts --------------------------------------------------------------------------------


class FactHeader(msgspec.Struct, frozen=True, kw_only=True):
    """When and why a fact was recorded, without the fact."""

    position: int
    at: Instant
    cause: Cause


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """Facts to add at the end of one stream's log."""

    stream: UUID
    expected: int
    """The last position of the log as the writer knows it; 0 for a log that does not exist yet."""
    facts: tuple[Recorded, ...]
    """At the positions ``expected + 1`` and on."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a stream at a position, so that a rebuild need not begin at the first fact."""

    stream: UUID
    position: int
    schema: int
    """Of the state; one that the reader does not know is no use to it."""
    state: bytes


class InstanceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An instance's row in the list of instances."""

    instance_id: UUID
    plan: str
    plan_version: int
    status: str
    environment_group: str | None = None
    started_at: Instant
    """When it began; before that, and when it never began, when it was to begin: lists go by it."""
    ends_at: Instant | None = None
    ended_at: Instant | None = None
    never_began: bool = False
    """It ended before its start."""
    position: int
    """The last position of the instance's log that the row reflects."""
    counts: dict[str, int]
    """Jobs by status."""
    agents: tuple[str, ...] = ()
    """Those that have to know it while it is active."""


class PlanSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's row in the list of plans."""

    name: str
    stream: UUID
    version: int
    standing: PlanStanding
    pushed_at: Instant
    agents: tuple[str, ...]
    position: int
    """The last position of the plan's log that the row reflects."""

    @property
    def disabled(self) -> bool:
        """Whether it starts no instances for now."""
        return self.standing is PlanStanding.DISABLED


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is stored together or not at all."""

    appends: tuple[Append, ...] = ()
    consumed: tuple[int, ...] = ()
    """Inbox positions whose entries this change handles; one that was handled before is a ``Conflict``."""
    parked: tuple[tuple[int, str], ...] = ()
    """Inbox positions to put aside for a person, each with the reason."""
    outgoing: tuple[tuple[str, UUID, int, str], ...] = ()
    """For each delivery: the agent, the stream and position of its fact, and the kind."""
    summaries: tuple[InstanceSummary, ...] = ()
    plans: tuple[PlanSummary, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    inbound: tuple[Inbound, ...] = ()
    """New inbox entries, announced after the commit like all others."""
    answer: tuple[str, str, bytes] | None = None
    """An idempotency key, the digest of the request that it came with, and the answer."""


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """A fact with its place among the facts of all streams."""

    sequence: int
    recorded: Recorded


class StoredFact(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in its place among the facts of all streams, for those who read only some of them."""

    sequence: int
    stream: UUID
    position: int
    name: str
    """Of its kind, such as ``JobStarted``."""
    topic: str
    state: bytes


# --- hop 3: the outbox --------------------------------------------------------------------------------------


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that an agent must be told of and, as far as is known, was not yet."""

    sequence: int
    """Also the order's number: an agent does nothing that is older than what it has."""
    agent: str
    kind: str
    recorded: Recorded


# --- registries ---------------------------------------------------------------------------------------------


class PlanRow(PlanSummary, frozen=True, kw_only=True):
    """A plan in the list of plans."""


class InstanceRow(InstanceSummary, frozen=True, kw_only=True):
    """An instance in the list of instances."""


class Page(msgspec.Struct, Generic[ItemT], frozen=True, kw_only=True):
    """Some items of a list, and the cursor that leads to the next ones."""

    items: list[ItemT]
    next: str | None = None


class AgentRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where an agent is to be reached, as it last announced."""

    name: str
    url: str
    host: str
    version: str
    announced_at: Instant
