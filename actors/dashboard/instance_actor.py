"""One plan instance: the only writer of its log.

What came in since the last turn is decided one after another, and all facts that follow are appended in one
transaction with the inbox positions that they came from. Only then does the new state stand, are askers
answered and agents' gateways woken. If the process dies before the commit, the inbox entries are still
unhandled and are decided again; after it, nothing is done twice.
"""

import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
import structlog

from ...domain.commands import (
    Command,
    GrantLock,
    ParkEvent,
    Refused,
    RefuseInitiation,
    ReportEvent,
    TakeSourceParameters,
)
from ...domain.decide import Step, advance
from ...domain.facts import Cause, Recorded
from ...domain.instance import InstanceState, order_id
from ...domain.instants import Instant
from ...domain.messages import ProcessEvent
from ...storage.records import Append, Change, Conflict, InboxEntry, Snapshot, Unavailable
from ..pool import ActorPool, PooledActor, refuse
from .deliveries import deliveries
from .errors import NotPermitted, UnknownName
from .fresh_starts import fresh_starts
from .given_orders import ORDERED, given_order
from .global_events import raised_events
from .instance_log import snapshot_of, summary_of
from .lock_groups import GRANTED, HeldLocks
from .origin import Origin
from .source_news import SOURCE_NEWS
from .surroundings import Surroundings

_log = structlog.get_logger(__name__)

SNAPSHOT_AFTER = 200
"""Facts between the first snapshots of a live instance."""
SNAPSHOT_SHARE = 4
"""Later ones wait for a quarter of the log to be new: all together cost no more than the log."""


class Heard(msgspec.Struct, frozen=True):
    """An inbox entry for this instance is on disk."""

    entry: InboxEntry


class Resubmitted(msgspec.Struct, frozen=True):
    """An inbox entry that was parked is to be processed again."""

    entry: InboxEntry


class Ordered(msgspec.Struct, frozen=True):
    """Somebody gives a command; the answer is the facts that follow from it, durable."""

    command: Command
    origin: Origin


class CatchUp(msgspec.Struct, frozen=True):
    """Look in the inbox for entries that are not handled yet."""


class ReadState(msgspec.Struct, frozen=True):
    """Answer the state as it is after all that was told before."""


class ReadSnapshot(msgspec.Struct, frozen=True):
    """Answer a description of this actor, for debugging."""


class ReadAgain(msgspec.Struct, frozen=True):
    """The plan has written to the log: what is known of it is old."""


class Passivate(msgspec.Struct, frozen=True):
    """Store a snapshot and stop: whoever needs the instance next rebuilds it."""


InstanceMessage: TypeAlias = (
    Heard | Resubmitted | Ordered | CatchUp | ReadState | ReadSnapshot | ReadAgain | Passivate
)


class _Work:
    """What one turn has decided and not yet stored."""

    def __init__(self, state: InstanceState, locks: HeldLocks | None) -> None:
        self.before = state
        self.state = state
        self.locks = locks
        self.facts: list[Recorded] = []
        self.taken: set[int] = set()
        """Inbox positions; an entry may be both told and found in one turn."""
        self.consumed: list[int] = []
        self.parked: list[tuple[int, str]] = []
        self.replies: list[tuple[Any, object]] = []

    def advance(self, command: Command, *, at: Instant, cause: Cause) -> Step | Refused:
        """What follows from a command after all that this turn has decided; to be taken in by ``add``."""
        locks = None if self.locks is None else self.locks.state
        return advance(self.state, command, at=at, cause=cause, locks=locks)

    def add(self, step: Step) -> None:
        self.facts.extend(step.facts)
        self.state = step.state
        if self.locks is not None:
            self.locks.take(step.locks, step.lock_facts, step.granted)


class PlanInstanceActor(PooledActor):
    """The actor of one active plan instance."""

    def __init__(self, *, pool: ActorPool, instance_id: UUID, surroundings: Surroundings) -> None:
        super().__init__(pool=pool)
        self.instance_id = instance_id
        self._around = surroundings
        self._state: InstanceState | None = None
        self._heard_through = 0
        self._snapshot_position = 0
        self._last_error: str | None = None
        self._kept: list[Any] = []
        """Orders that nobody waits for and that could not be carried out yet: those of the clock."""

    # --- turns ----------------------------------------------------------------------------------------------

    def receive_batch(self, envelopes: Sequence[Any]) -> None:
        """Decide all that came in, store it once, then answer."""
        try:
            self._take_turn(envelopes)
        except Conflict as conflict:
            # Somebody else wrote to this log: what was decided here was decided on an old state.
            _log.warning("instance written elsewhere", instance=str(self.instance_id), error=str(conflict))
            self._forget()
            self._again_or_refuse(envelopes)
        except Unavailable as error:
            self._put_off(envelopes, error)
        except UnknownName as error:
            self._park_all_or_put_off(envelopes, error)
        except Exception as error:  # noqa: BLE001  the supervisor: told to askers, logged, rebuilt, tried again
            self._last_error = traceback.format_exc()
            _log.exception(
                "instance actor failed, rebuilding it from its log", instance=str(self.instance_id)
            )
            self._begin_anew(envelopes, error)

    def _take_turn(self, envelopes: Sequence[Any]) -> None:
        if any(isinstance(envelope.message, ReadAgain) for envelope in envelopes):
            # Also what came before it in this turn is decided on what is stored now.
            self._forget()
        with self._around.turns.of_instance(self.instance_id):
            self._take_turn_alone(envelopes)

    def _take_turn_alone(self, envelopes: Sequence[Any]) -> None:
        rebuilt = self._state is None
        state = self._rebuild() if self._state is None else self._state
        stop = None
        with self._locks_of(state) as locks:
            work = _Work(state, locks)
            if rebuilt:
                self._catch_up(work)
                # The inbox itself has been read: what was told of its entries before is old news.
                envelopes = [each for each in envelopes if not isinstance(each.message, Heard | Resubmitted)]
            for envelope in (*self._kept, *envelopes):
                if not self._decide(work, envelope):
                    stop = envelope
            self._store(work)
        self._kept.clear()
        for envelope, answer in work.replies:
            _answer(envelope, answer)
        if stop is not None:
            self._stop_for(stop)

    def _locks_of(self, state: InstanceState) -> AbstractContextManager[HeldLocks | None]:
        """The locks that this turn may decide about; those of other plans are not held up."""
        if not state.topology.uses_locks or state.ended:
            return nullcontext()
        return self._around.locks.held(state.environment_group)

    def _decide(self, work: _Work, envelope: Any) -> bool:
        """Take one message into the turn's work; false for an order to stop."""
        match envelope.message:
            case Heard(entry=entry):
                self._hear(work, entry)
            case Resubmitted(entry=entry):
                self._process(work, entry)
            case CatchUp():
                self._catch_up(work)
            case Ordered() as ordered:
                self._obey(work, ordered, envelope)
            case ReadAgain():
                pass
            case ReadState():
                work.replies.append((envelope, work.state))
            case ReadSnapshot():
                work.replies.append((envelope, self.snapshot(work.state)))
            case _:
                return False
        return True

    def _stop_for(self, envelope: Any) -> None:
        """Passivate, or obey pykka's own order to stop."""
        if isinstance(envelope.message, Passivate):
            self._save_snapshot()
            self._stop()
            return
        self.receive_one(envelope)

    def _save_snapshot(self) -> None:
        """Spare the next rebuild the facts so far; without it, it only takes longer."""
        if self._state is None or self._state.position <= self._snapshot_position:
            return
        try:
            self._around.ledger.save(Change(snapshots=(snapshot_of(self._state),)))
        except Unavailable as error:
            _log.warning("snapshot not stored", instance=str(self.instance_id), error=str(error))

    def _again_or_refuse(self, envelopes: Sequence[Any]) -> None:
        try:
            self._take_turn(envelopes)
        except (Conflict, Unavailable) as error:
            self._forget()
            self._put_off(envelopes, error)

    def _put_off(self, envelopes: Sequence[Any], error: Exception) -> None:
        self._last_error = str(error)
        self._begin_anew(envelopes, error)

    def _begin_anew(self, envelopes: Sequence[Any], error: Exception) -> None:
        """Askers are told; events stay in the inbox, and the clock's orders are kept: all is tried again."""
        self._forget()
        for envelope in envelopes:
            if envelope.reply_to is not None:
                refuse(envelope, error)
            elif isinstance(envelope.message, Ordered):
                self._kept.append(envelope)
        if any(isinstance(envelope.message, Passivate) for envelope in envelopes):
            # Nobody knows this actor any more: the next one begins with what is on disk.
            self._stop()
        self._around.retry(self.instance_id)

    def _park_all_or_put_off(self, envelopes: Sequence[Any], unknown: UnknownName) -> None:
        try:
            self._park_all(envelopes, unknown)
        except (Conflict, Unavailable) as error:
            self._put_off(envelopes, error)

    def _park_all(self, envelopes: Sequence[Any], error: UnknownName) -> None:
        """There is no such instance: what came for it waits, visible, for a person."""
        entries = self._around.ledger.unhandled(self.instance_id)
        if entries:
            parked = tuple((entry.position, str(error)) for entry in entries)
            self._around.ledger.save(Change(parked=parked))
        for envelope in envelopes:
            if isinstance(envelope.message, Passivate):
                self._stop()
            elif envelope.reply_to is not None:
                refuse(envelope, error)

    # --- deciding -------------------------------------------------------------------------------------------

    def _rebuild(self) -> InstanceState:
        state = self._around.logs.state(self.instance_id)
        self._snapshot_position = state.position
        if state.ended and self._around.active.knows(self.instance_id):
            # The commit that ended it was reported as failed and was one after all.
            self._around.instance_ended(self.instance_id, state.plan)
        return state

    def _forget(self) -> None:
        self._state = None
        self._heard_through = 0

    def _catch_up(self, work: _Work) -> None:
        """Hear all that waits, also what was parked once and stands before what was heard since."""
        after = 0
        while entries := self._around.ledger.unhandled(self.instance_id, after=after):
            for entry in entries:
                self._process(work, entry)
            after = entries[-1].position
            self._heard_through = max(self._heard_through, after)

    def _hear(self, work: _Work, entry: InboxEntry) -> None:
        if entry.position <= self._heard_through:
            return
        self._heard_through = entry.position
        self._process(work, entry)

    def _process(self, work: _Work, entry: InboxEntry) -> None:
        if entry.position in work.taken:
            return
        work.taken.add(entry.position)
        cause = Cause(position=entry.position, source=entry.source or None)
        at = self._around.clock()
        try:
            command, behind_it = command_of(entry)
            step = work.advance(command, at=at, cause=behind_it or cause)
        except Exception as error:  # noqa: BLE001  whatever is wrong with one event must not stop the plan
            self._last_error = traceback.format_exc()
            _log.exception("event parked", instance=str(self.instance_id), position=entry.position)
            told = f"{type(error).__name__}: {error}".replace("\0", "\\0")
            step = work.advance(ParkEvent(error=told), at=at, cause=cause)
            work.parked.append((entry.position, told))
        else:
            work.consumed.append(entry.position)
        if isinstance(step, Refused):
            raise TypeError(f"an inbox entry was refused: {step.reason}")
        work.add(step)

    def _obey(self, work: _Work, ordered: Ordered, envelope: Any) -> None:
        if (obeyed := self._obeyed_before(work, ordered.origin.key)) is not None:
            work.replies.append((envelope, obeyed))
            return
        name = type(ordered.command).__name__
        cause = ordered.origin.cause(name)
        step = work.advance(ordered.command, at=self._around.clock(), cause=cause)
        if isinstance(step, Refused):
            work.replies.append((envelope, NotPermitted(step)))
            return
        work.add(step)
        work.replies.append((envelope, step.facts))

    def _obeyed_before(self, work: _Work, key: str | None) -> tuple[Recorded, ...] | None:
        """The facts of an earlier order of the same key."""
        first = None if key is None else work.state.seen.get(order_id(key))
        if first is None:
            return None
        stored = self._around.ledger.facts(self.instance_id, after=first - 1)
        return tuple(each for each in (*stored, *work.facts) if each.cause.key == key)

    # --- storing --------------------------------------------------------------------------------------------

    def _store(self, work: _Work) -> None:
        if not (work.facts or work.consumed or work.parked):
            self._state = work.state
            return
        told = deliveries(work.facts)
        locks = work.locks
        snapshots: tuple[Snapshot, ...] = ()
        position = work.state.position
        if position - self._snapshot_position >= max(SNAPSHOT_AFTER, position // SNAPSHOT_SHARE):
            snapshots = (snapshot_of(work.state),)
        self._around.ledger.save(
            Change(
                appends=(
                    Append(stream=self.instance_id, expected=work.before.position, facts=tuple(work.facts)),
                    *(() if locks is None else locks.appends()),
                ),
                consumed=tuple(work.consumed),
                parked=tuple(work.parked),
                outgoing=told,
                summaries=(summary_of(work.state),),
                snapshots=(*snapshots, *(() if locks is None else locks.snapshots())),
                inbound=(
                    *raised_events(
                        self.instance_id,
                        work.facts,
                        raised_before=work.before.raised,
                        active=self._around.active,
                    ),
                    *fresh_starts(work.state.plan, work.facts),
                    *(() if locks is None else locks.inbound()),
                ),
            )
        )
        self._state = work.state
        if locks is not None:
            locks.saved = True
        if snapshots:
            self._snapshot_position = work.state.position
        self._announce(work)

    def _announce(self, work: _Work) -> None:
        # Agents first: what is written about the facts must not hold up what follows from them.
        self._around.committed(self.instance_id, work.state.position, deliveries(work.facts))
        if work.state.ended and not (work.before.ended or work.before.prepared):
            self._around.instance_ended(self.instance_id, work.state.plan)
        elif work.state.until_ended and not work.before.until_ended:
            self._around.runs_until_ended(self.instance_id)
        for recorded in work.facts:
            _log.info(
                "fact",
                fact=type(recorded.fact).__name__,
                instance=str(self.instance_id),
                position=recorded.position,
                job=getattr(recorded.fact, "job", None),
            )

    # --- debugging ------------------------------------------------------------------------------------------

    def snapshot(self, state: InstanceState) -> dict[str, object]:
        """What a person needs to see of this actor: its state, its mailbox and its last error."""
        return {
            "actor": f"instance-{self.instance_id}",
            "plan": state.plan,
            "plan_version": state.plan_version,
            "status": state.status,
            "position": state.position,
            "inbox_position": self._heard_through,
            "mailbox": self.mailbox_depth,
            "last_error": self._last_error,
            "counts": state.counts(),
        }


def command_of(entry: InboxEntry) -> tuple[Command, Cause | None]:
    """The command that an inbox entry stands for, and who is behind it if it is an order.

    Raises ``msgspec.DecodeError`` for what does not read.
    """
    if entry.kind == "refused":
        return msgspec.msgpack.decode(entry.payload, type=RefuseInitiation), None
    if entry.kind == GRANTED:
        return msgspec.msgpack.decode(entry.payload, type=GrantLock), None
    if entry.kind == SOURCE_NEWS:
        return msgspec.msgpack.decode(entry.payload, type=TakeSourceParameters), None
    if entry.kind == ORDERED:
        given = given_order(entry)
        return given.command(), given.cause
    return ReportEvent(event=_decode_event(entry.payload)), None


_decode_event = msgspec.msgpack.Decoder(ProcessEvent).decode
encode_event = msgspec.msgpack.Encoder().encode


def _answer(envelope: Any, answer: object) -> None:
    if envelope.reply_to is None:
        return
    if isinstance(answer, BaseException):
        refuse(envelope, answer)
    else:
        envelope.reply_to.set(answer)
