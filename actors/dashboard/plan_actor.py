"""One plan: the only writer of its log. Takes pushes and orders; starts instances by its clock or by hand.

What one message leads to, in the log of the plan, in those of its instances and in that of their locks, is
one transaction. The instances that it writes to begin in it, or are prepared: those that are active are
written by their own actors alone.
"""

import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from typing import TypeAlias, TypeVar
from uuid import UUID, uuid4

import msgspec
import structlog

from ...domain.commands import EndInstance, Refused
from ...domain.decide import Step
from ...domain.facts import Cause, InstanceStarted, NotificationsSet, ParameterSourceRead, Recorded
from ...domain.instants import Instant
from ...domain.locks import define
from ...domain.messages import DryRun
from ...domain.plan import JobPlan
from ...domain.plan_decision import ByHand, PlanDecision, PlanWorld
from ...domain.plan_log import PlanStanding, PlanState, plan_stream, read_source
from ...domain.starts import next_look
from ...storage.ledger import Ledger
from ...storage.read_models import summary_of_plan
from ...storage.records import Append, Change, Conflict, Inbound, InboxEntry, Snapshot, Unavailable
from ..pool import ActorPool, PooledActor
from ..timers import Clock
from .active_instances import ActiveInstance, ActiveInstances
from .deliveries import Delivery, deliveries
from .errors import NotPermitted, PlanMoved, UnknownName
from .fresh_starts import FreshStart, fresh_start
from .given_orders import end_all
from .global_events import raised_events
from .instance_log import InstanceLog, summary_of
from .lock_groups import HeldLocks, LockGroups
from .origin import CLOCK, SOURCE, Origin
from .plan_states import SNAPSHOT_AFTER, plan_snapshot, read_plan
from .source_news import source_news
from .topologies import Topologies
from .turns import Turns

_log = structlog.get_logger(__name__)

T = TypeVar("T")

CLOSING_MS = 1_000
"""How long a plan waits for an instance whose window is over to end, before it looks again."""
TRIES = 5
"""How often a message is obeyed when others keep writing to the logs that it touches."""


class Push(msgspec.Struct, frozen=True):
    """Make this the plan's newest version; answers ``(state, changed)``."""

    plan: JobPlan
    documents: dict[str, bytes]
    origin: Origin
    based_on: int | None = None
    """The version that it was made from, 0 for none: if that is the newest no longer, it is refused."""
    rests_on: int | None = None
    """As ``PlanVersion.position``: if what it was made from is not how the plan is now, it is refused."""
    command: str | None = None
    """What its author did, where that was not to push."""


class StartNow(msgspec.Struct, frozen=True, kw_only=True):
    """Start an instance by hand; answers its id."""

    origin: Origin
    parameters: dict[str, str] = {}
    business_date: date | None = None
    """The day that it is for, if not the day of its start."""
    until_ended: bool = False
    commands_held: bool = False
    dry_run: DryRun | None = None
    instance_id: UUID | None = None
    """Given when the same order may come twice; the second finds the instance of the first."""


class Enable(msgspec.Struct, frozen=True):
    """Let instances start again; answers the facts that follow."""

    origin: Origin


class Disable(msgspec.Struct, frozen=True):
    """Let no instance start any more; answers the facts that follow."""

    origin: Origin


class Delete(msgspec.Struct, frozen=True):
    """End the plan's instances and then the plan; answers the facts that follow at once."""

    origin: Origin


class MayReset(msgspec.Struct, frozen=True):
    """Raise ``NotPermitted`` if no instance can be ended for a fresh one now."""


class SetNotifications(msgspec.Struct, frozen=True):
    """Change who is told of what; answers the plan's state."""

    fact: NotificationsSet
    rests_on: int
    """As ``PlanVersion.position``: if what it was made from is not how the plan is now, it is refused."""
    origin: Origin


class StartDue(msgspec.Struct, frozen=True):
    """The clock struck, an instance ended or the inbox has an entry: do all that is due."""


class SourceChanged(msgspec.Struct, frozen=True):
    """The plan's parameter source may say something else than before."""

    origin: Origin


class ReadPlan(msgspec.Struct, frozen=True):
    """Answer the plan's state."""


_Order: TypeAlias = Push | StartNow | Enable | Disable | Delete
PlanMessage: TypeAlias = _Order | MayReset | SetNotifications | StartDue | SourceChanged | ReadPlan


class PlanSurroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan actor stands in."""

    ledger: Ledger
    topologies: Topologies
    logs: InstanceLog
    active: ActiveInstances
    locks: LockGroups
    turns: Turns
    clock: Clock
    time_zone: str
    """Of plans that name none."""
    committed: Callable[[tuple[Delivery, ...]], None]
    started: Callable[[ActiveInstance], None]
    written: Callable[[UUID, int], None]
    """The log of an instance was written to, up to a position, or may have been."""
    bring_back: Callable[[str], None]
    """Have the index of active instances follow the plan's list of instances again."""
    next_start_at: Callable[[str, Instant | None], None]
    source: Callable[[str], Mapping[str, str] | None]
    """What a plan's parameter source says now; ``None`` when it could not be read yet."""
    source_missed: Callable[[str], None]
    """What a plan's source says could not be taken in: tell it again after a while."""
    look_again: Callable[[str], None]
    """The due starts of a plan could not be accounted for: tell it again after a while."""


class PlanActor(PooledActor):
    """The actor of one plan."""

    def __init__(self, *, pool: ActorPool, name: str, surroundings: PlanSurroundings) -> None:
        super().__init__(pool=pool)
        self._name = name
        self._stream = plan_stream(name)
        self._around = surroundings
        self._state: PlanState | None = None
        self._loaded = False
        self._snapshot_position = 0
        self._now: Instant = 0

    # --- messages -------------------------------------------------------------------------------------------

    def on_receive(self, message: PlanMessage) -> object:
        """Obey. What nobody waits for must not end the actor with its failure: it is tried again."""
        try:
            return self._obey_after_conflicts(message)
        except Exception as error:
            if not isinstance(error, NotPermitted | UnknownName):
                # What could not be stored may have been: the next message begins with what is on disk.
                self._loaded = False
                self._around.look_again(self._name)
            if isinstance(message, SourceChanged) and message.origin == SOURCE:
                _log.warning("parameter source not taken in yet", plan=self._name, error=str(error))
                self._around.source_missed(self._name)
                return None
            if not isinstance(message, StartDue):
                raise
            _log.warning(
                "due starts not accounted for yet",
                plan=self._name,
                error=str(error),
                trace=traceback.format_exc(),
            )
            return None

    def _obey_after_conflicts(self, message: PlanMessage) -> object:
        """Logs that somebody else wrote to are read again, and the message obeyed once more."""
        for _ in range(TRIES - 1):
            try:
                return self._obey(message)
            except Conflict as conflict:
                _log.info("plan decides anew", plan=self._name, conflict=str(conflict))
                self._loaded = False
        return self._obey(message)

    def _obey(self, message: PlanMessage) -> object:
        self._load()
        self._now = self._around.clock()
        match message:
            case ReadPlan():
                return self._known()
            case SetNotifications():
                return self._set_notifications(message)
            case MayReset():
                _permit(self._decide(PlanDecision.refusal_to_reset))
                return None
            case SourceChanged(origin=origin):
                # A plan that was deleted reads it when it is pushed again and starts.
                if self._known().standing is not PlanStanding.DELETED:
                    self._read_source(origin)
                return None
            case StartDue():
                self._start_due()
                answer = None
            case _:
                answer = self._obey_order(message)
                if self._known().deferred is not None:
                    # What was ordered may decide about the start that waits: look at it at once.
                    self._around.next_start_at(self._name, self._now)
                    return answer
        self._tell_next_look()
        return answer

    def _obey_order(self, message: _Order) -> object:
        answer: object
        match message:
            case Push():
                answer = self._push(message)
            case StartNow():
                answer = self._start_now(message)
            case Enable(origin=origin):
                answer = self._ordered(lambda decision: decision.enable(origin.cause("EnablePlan")))
            case Disable(origin=origin):
                answer = self._ordered(lambda decision: decision.disable(origin.cause("DisablePlan")))
            case Delete(origin=origin):
                answer = self._delete(origin)
        return answer

    def _load(self) -> None:
        if self._loaded:
            return
        self._state, self._snapshot_position = read_plan(self._around.ledger, self._name)
        self._around.bring_back(self._name)
        self._loaded = True

    def _known(self) -> PlanState:
        if self._state is None:
            raise UnknownName(f"there is no plan {self._name}")
        return self._state

    def _alive(self) -> PlanState:
        state = self._known()
        if state.standing is PlanStanding.DELETED:
            raise UnknownName(f"plan {self._name} was deleted")
        return state

    # --- what is due ----------------------------------------------------------------------------------------

    def _start_due(self) -> None:
        """One helping of it: the timer comes again at once for more."""
        if self._state is None:
            # Its first push may be what could not be stored.
            return
        self._hear()
        if not self._closing():
            self._read_source_before_starts()
            self._decide_about_starts(lambda decision: decision.account(_ACCOUNTING))

    def _account(self) -> None:
        """Account for everything that is due before an order changes what starts mean."""
        self._hear()
        self._read_source_before_starts()
        while self._decide_about_starts(_taken_in):
            pass

    def _closing(self) -> bool:
        """Whether the next start has to wait for an instance to end whose window is over."""
        state = self._known()
        return not state.plan.concurrent and self._around.active.closing(self._name, self._now)

    def _hear(self) -> None:
        """Begin the fresh instances that others have been ended for."""
        for entry in self._around.ledger.unhandled(self._stream):
            try:
                fresh = fresh_start(entry)
            except msgspec.DecodeError as error:
                _log.exception("entry parked", plan=self._name, position=entry.position)
                self._around.ledger.save(Change(parked=((entry.position, str(error)),)))
                continue
            self._begin_instead(entry, fresh)

    def _read_source_before_starts(self) -> None:
        """What starts now starts with what the parameter source says now."""
        look = next_look(self._known(), self._around.time_zone)
        if look is not None and look <= self._now:
            self._read_source(SOURCE)

    def _read_source(self, origin: Origin) -> None:
        """Take in what the parameter source says, for instances to come and for those that are active."""
        values = self._around.source(self._name)
        if values is None:
            return
        said = dict(values)
        if read_source(self._known(), said) is not None:
            cause = origin.cause("ReadSource")
            self._decide(lambda decision: decision.read_source(said, cause))

    def _begin_instead(self, entry: InboxEntry, fresh: FreshStart) -> None:
        def begin(decision: PlanDecision) -> None:
            decision.begin_instead(fresh.previous, fresh.order, fresh.cause)

        self._read_source(SOURCE)
        self._decide(begin, entry=entry)

    def _tell_next_look(self) -> None:
        state = self._state
        if state is None:
            return
        at = next_look(state, self._around.time_zone)
        if at is not None and at <= self._now and self._closing():
            at = self._now + CLOSING_MS
        self._around.next_start_at(self._name, at)

    # --- orders ---------------------------------------------------------------------------------------------

    def _push(self, message: Push) -> tuple[PlanState, bool]:
        self._must_rest_on_now(message)
        if self._state is not None:
            # Starts that were due under the old version are accounted for under it.
            self._account()
        before = self._state
        cause = message.origin.cause(message.command or _PUSH)
        with self._alone(), self._locks_of(message.plan) as held:
            decision = PlanDecision(before, self._stream, self._world(None))
            _permit(decision.push(message.plan, message.documents, cause))
            if held is not None and decision.facts:
                self._define_locks(held, message.plan, cause)
            self._store(decision, held)
        for version, topology in decision.compiled.items():
            self._around.topologies.put(self._name, version, topology)
        return self._known(), bool(decision.facts)

    def _must_rest_on_now(self, message: Push) -> None:
        """Raises ``PlanMoved`` when the plan is not what the push was made from."""
        state = self._state
        version, position = (0, 0) if state is None else (state.version, state.notifications_at)
        if state is not None and state.standing is PlanStanding.DELETED:
            version, position = 0, 0
        if message.based_on not in {None, version}:
            raise PlanMoved(self._name, version, based_on=message.based_on or 0)
        if message.rests_on not in {None, position}:
            raise PlanMoved(self._name, version)

    def _define_locks(self, held: HeldLocks, plan: JobPlan, cause: Cause) -> None:
        """What its locks are from now on is said with the push."""
        locks = list(plan.locks())
        step = define(held.state, plan.environment_group, locks, at=self._now, cause=cause)
        if step is not None:
            held.take(step.state, step.facts, step.granted)

    def _start_now(self, message: StartNow) -> UUID:
        self._alive()
        instance_id = message.instance_id or uuid4()
        if message.instance_id is not None and self._around.ledger.last_position(instance_id):
            return instance_id
        self._start_due()
        self._read_source(SOURCE)
        order = ByHand(
            instance_id=instance_id,
            parameters=message.parameters,
            business_date=message.business_date,
            until_ended=message.until_ended,
            commands_held=message.commands_held,
            dry_run=message.dry_run,
        )
        cause = message.origin.cause("StartInstance")
        _permit(self._decide_about_starts(lambda decision: decision.start_by_hand(order, cause)))
        return instance_id

    def _ordered(self, order: Callable[[PlanDecision], Refused | None]) -> tuple[Recorded, ...]:
        self._alive()
        self._account()
        before = self._known().position
        _permit(self._decide(order))
        return self._facts_after(before)

    def _delete(self, origin: Origin) -> tuple[Recorded, ...]:
        self._alive()
        self._account()
        before = self._known().position
        self._decide(lambda decision: decision.delete(origin.cause("DeletePlan")))
        return self._facts_after(before)

    def _set_notifications(self, message: SetNotifications) -> PlanState:
        state = self._alive()
        if state.notifications_at != message.rests_on:
            raise PlanMoved(self._name, state.version)
        cause = message.origin.cause(type(message).__name__)
        self._decide(lambda decision: decision.set_notifications(message.fact, cause))
        return self._known()

    def _facts_after(self, position: int) -> tuple[Recorded, ...]:
        return tuple(self._around.ledger.facts(self._stream, after=position))

    # --- deciding and storing -------------------------------------------------------------------------------

    def _decide(self, work: Callable[[PlanDecision], T], *, entry: InboxEntry | None = None) -> T:
        """Have something decided and stored, with the inbox entry that it follows from."""
        state = self._known()
        with self._alone(), self._locks_of(state.plan) as held:
            decision = PlanDecision(state, self._stream, self._world(held))
            answer = work(decision)
            self._store(decision, held, entry)
        return answer

    def _decide_about_starts(self, work: Callable[[PlanDecision], T]) -> T:
        """Have something decided that may start an instance, and stored, once the inbox is heard.

        What is active is looked at before the inbox. So an instance that ends just now to begin anew is found
        in the one or in the other, and no start takes its place.
        """
        while True:
            state = self._known()
            with self._alone(), self._locks_of(state.plan) as held:
                decision = PlanDecision(state, self._stream, self._world(held))
                if not self._around.ledger.unhandled(self._stream):
                    answer = work(decision)
                    self._store(decision, held)
                    return answer
            self._hear()

    def _world(self, held: HeldLocks | None) -> PlanWorld:
        around = self._around
        return PlanWorld(
            at=self._now,
            default_zone=around.time_zone,
            active=tuple(around.active.of_plan(self._name)),
            closing=around.active.closing(self._name, self._now),
            topology=lambda version: around.topologies.of(self._name, version),
            instance=around.logs.state,
            locks=None if held is None else held.state,
        )

    def _alone(self) -> AbstractContextManager[None]:
        """Nobody else writes to the prepared instance meanwhile."""
        prepared = None if self._state is None else self._state.prepared
        return self._around.turns.of_plan(None if prepared is None else prepared.instance_id)

    def _locks_of(self, plan: JobPlan) -> AbstractContextManager[HeldLocks | None]:
        if next(plan.locks(), None) is None:
            return nullcontext()
        return self._around.locks.held(plan.environment_group)

    def _store(self, decision: PlanDecision, held: HeldLocks | None, entry: InboxEntry | None = None) -> None:
        if decision.state is None or not (decision.facts or entry):
            return
        if held is not None and decision.lock_facts:
            held.take(decision.locks, tuple(decision.lock_facts), tuple(decision.granted))
        facts = [*decision.facts, *(fact for step in decision.steps.values() for fact in step.facts)]
        told = deliveries(facts)
        snapshots = self._snapshots(decision.state)
        change = Change(
            appends=(*_appends(decision), *(() if held is None else held.appends())),
            consumed=() if entry is None else (entry.position,),
            outgoing=told,
            summaries=tuple(summary_of(step.state) for step in decision.steps.values()),
            plans=(summary_of_plan(decision.state),),
            inbound=(*self._inbound(decision), *(() if held is None else held.inbound())),
            snapshots=(*snapshots, *(() if held is None else held.snapshots())),
        )
        try:
            self._around.ledger.save(change)
        except Unavailable:
            # It may have been stored all the same: the actors of these instances look.
            for instance_id, step in decision.steps.items():
                self._around.written(instance_id, step.state.position)
            raise
        if held is not None:
            held.saved = True
        self._let_go_of_prepared(decision.state)
        self._state = decision.state
        if snapshots:
            self._snapshot_position = decision.state.position
        self._announce(decision.steps.values(), told)

    def _let_go_of_prepared(self, after: PlanState) -> None:
        before = None if self._state is None else self._state.prepared
        still = None if after.prepared is None else after.prepared.instance_id
        if before is not None and before.instance_id != still:
            self._around.turns.over(before.instance_id)

    def _snapshots(self, state: PlanState) -> tuple[Snapshot, ...]:
        due = state.position - self._snapshot_position >= SNAPSHOT_AFTER
        return (plan_snapshot(state),) if due else ()

    def _inbound(self, decision: PlanDecision) -> list[Inbound]:
        """What other instances are to hear of it: global events, and that they are to end."""
        entries = []
        if decision.to_end:
            cause = decision.facts[-1].cause
            entries += end_all(decision.to_end, EndInstance(reason="plan deleted"), cause)
        for recorded in decision.facts:
            if isinstance(fact := recorded.fact, ParameterSourceRead):
                active = self._around.active.of_plan(self._name)
                entries += source_news(active, fact.parameters, source=recorded.cause.by or "")
        for instance_id, step in decision.steps.items():
            entries += raised_events(instance_id, step.facts, raised_before=0, active=self._around.active)
        return entries

    def _announce(self, steps: Iterable[Step], told: tuple[Delivery, ...]) -> None:
        for step in steps:
            state = step.state
            if not state.ended and any(isinstance(each.fact, InstanceStarted) for each in step.facts):
                self._around.started(
                    ActiveInstance(
                        instance_id=state.instance_id,
                        plan=state.plan,
                        plan_version=state.plan_version,
                        environment_group=state.environment_group,
                        ends_at=state.ends_at,
                        agents=state.agents,
                    )
                )
            self._around.written(state.instance_id, state.position)
        self._around.committed(told)


_PUSH = "PlanPushed"
_ACCOUNTING = CLOCK.cause("AccountForStarts")


def _taken_in(decision: PlanDecision) -> bool:
    """Whether there was something to account for, and may be more."""
    decision.account(_ACCOUNTING)
    return bool(decision.facts)


def _permit(refused: Refused | None) -> None:
    if refused is not None:
        raise NotPermitted(refused)


def _appends(decision: PlanDecision) -> list[Append]:
    before = 0 if decision.before is None else decision.before.position
    appends = []
    if decision.facts:
        stream = decision.facts[0].originator_id
        appends.append(Append(stream=stream, expected=before, facts=tuple(decision.facts)))
    for instance_id, step in decision.steps.items():
        expected = step.facts[0].position - 1
        appends.append(Append(stream=instance_id, expected=expected, facts=step.facts))
    return appends
