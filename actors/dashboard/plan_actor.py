"""One plan: the only writer of its log. Takes pushes and starts instances, by its clock or by hand."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from typing import TypeAlias
from uuid import UUID, uuid4

import msgspec
import structlog

from ...domain.commands import Refused
from ...domain.decide import Step, start
from ...domain.facts import (
    InstanceDue,
    InstanceStarted,
    NotificationsSet,
    PlanFact,
    PlanPushed,
    Recorded,
)
from ...domain.instants import Instant
from ...domain.locks import define
from ...domain.messages import DryRun
from ...domain.plan import JobPlan
from ...domain.plan_log import (
    PlanState,
    due_starts,
    evolve_plan,
    instance_started,
    next_start,
    plan_stream,
    push,
    read_source,
    record,
    with_notifications,
)
from ...domain.topology import Topology
from ...storage.ledger import Ledger
from ...storage.records import Append, Change, Conflict, Inbound, Unavailable
from ..pool import ActorPool, PooledActor
from ..timers import Clock
from .active_instances import ActiveInstance, ActiveInstances
from .deliveries import Delivery, deliveries
from .errors import NotPermitted, PlanMoved, UnknownName
from .global_events import raised_events
from .instance_log import summary_of
from .lock_groups import HeldLocks, LockGroups
from .origin import CLOCK, SOURCE, Origin
from .source_news import source_news
from .topologies import Topologies

_log = structlog.get_logger(__name__)


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
    dry_run: DryRun | None = None
    instance_id: UUID | None = None
    """Given when the same order may come twice; the second finds the instance of the first."""


class SetNotifications(msgspec.Struct, frozen=True):
    """Change who is told of what; answers the plan's state."""

    fact: NotificationsSet
    rests_on: int
    """As ``PlanVersion.position``: if what it was made from is not how the plan is now, it is refused."""
    origin: Origin


class StartDue(msgspec.Struct, frozen=True):
    """The clock struck: account for every start that is due."""


class SourceChanged(msgspec.Struct, frozen=True):
    """The plan's parameter source may say something else than before."""

    origin: Origin


class ReadPlan(msgspec.Struct, frozen=True):
    """Answer the plan's state."""


PlanMessage: TypeAlias = Push | SetNotifications | StartNow | StartDue | SourceChanged | ReadPlan


class PlanSurroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan actor stands in."""

    ledger: Ledger
    topologies: Topologies
    active: ActiveInstances
    locks: LockGroups
    clock: Clock
    time_zone: str
    """Of plans that name none."""
    committed: Callable[[tuple[Delivery, ...]], None]
    started: Callable[[ActiveInstance], None]
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

    def on_receive(self, message: PlanMessage) -> object:
        """Obey; a log that somebody else wrote to is read again and the message obeyed once more."""
        try:
            return self._obey_or_read_again(message)
        except Unavailable as error:
            # What could not be stored may have been stored: the next message begins with what is on disk.
            self._loaded = False
            self._around.look_again(self._name)
            if isinstance(message, SourceChanged) and message.origin == SOURCE:
                _log.warning("parameter source not taken in yet", plan=self._name, error=str(error))
                self._around.source_missed(self._name)
                return None
            if not isinstance(message, StartDue):
                raise
            _log.warning("due starts not accounted for yet", plan=self._name, error=str(error))
            return None

    def _obey_or_read_again(self, message: PlanMessage) -> object:
        try:
            return self._obey(message)
        except Conflict:
            self._loaded = False
            return self._obey(message)

    def _obey(self, message: PlanMessage) -> object:
        self._load()
        match message:
            case Push():
                return self._push(message)
            case SetNotifications():
                return self._set_notifications(message)
            case StartNow():
                return self._start_now(message)
            case StartDue():
                if self._state is not None:  # its push may be what could not be stored
                    self._start_due()
                    self._tell_next_start()
                return None
            case SourceChanged(origin=origin):
                self._known()
                self._read_source(origin)
                return None
            case ReadPlan():
                return self._known()

    def _load(self) -> None:
        if self._loaded:
            return
        state: PlanState | None = None
        for recorded in self._around.ledger.facts(self._stream):
            state = evolve_plan(state, recorded)
        self._around.bring_back(self._name)
        self._state = state
        self._loaded = True

    def _known(self) -> PlanState:
        if self._state is None:
            raise UnknownName(f"there is no plan {self._name}")
        return self._state

    def _push(self, message: Push) -> tuple[PlanState, bool]:
        self._must_rest_on_now(message)
        if self._state is not None:
            # Starts that were due under the old version are accounted for under it.
            self._start_due()
        fact = push(self._state, message.plan, message.documents)
        if fact is None:
            return self._known(), False
        self._save_push(fact, message.origin, message.command)
        self._tell_next_start()
        return self._known(), True

    def _must_rest_on_now(self, message: Push) -> None:
        """Raises ``PlanMoved`` when the plan is not what the push was made from."""
        state = self._state
        version, position = (0, 0) if state is None else (state.version, state.notifications_at)
        if message.based_on not in {None, version}:
            raise PlanMoved(self._name, version, based_on=message.based_on or 0)
        if message.rests_on not in {None, position}:
            raise PlanMoved(self._name, version)

    def _save_push(self, fact: PlanPushed, origin: Origin, command: str | None) -> None:
        """Store a push, and with it what its locks are from now on."""
        locks = list(fact.plan.locks())
        if not locks:
            self._save([fact], origin, command=command)
            return
        group = fact.plan.environment_group
        with self._around.locks.held(group) as held:
            cause = origin.cause(command or type(fact).__name__)
            step = define(held.state, group, locks, at=self._around.clock(), cause=cause)
            if step is not None:
                held.take(step.state, step.facts, step.granted)
            self._save([fact], origin, locks=held, command=command)

    def _set_notifications(self, message: SetNotifications) -> PlanState:
        state = self._known()
        if state.notifications_at != message.rests_on:
            raise PlanMoved(self._name, state.version)
        if with_notifications(state.plan, state.documents, message.fact) != (state.plan, state.documents):
            self._save([message.fact], message.origin, command=type(message).__name__)
        return self._known()

    def _start_now(self, message: StartNow) -> UUID:
        state = self._known()
        instance_id = message.instance_id or uuid4()
        if message.instance_id is not None and self._around.ledger.last_position(instance_id):
            return instance_id
        self._must_be_free(state)
        state = self._read_source(SOURCE)
        fact = InstanceDue(instance_id=instance_id, version=state.version)
        started = msgspec.structs.replace(
            instance_started(
                state,
                at=self._around.clock(),
                due_at=None,
                parameters=message.parameters,
                default_zone=self._around.time_zone,
                until_ended=message.until_ended,
                business_date=None if message.business_date is None else message.business_date.isoformat(),
            ),
            dry_run=message.dry_run,
        )
        self._begin(fact, started, message.origin)
        return instance_id

    def _begin(self, due: InstanceDue, started: InstanceStarted, origin: Origin) -> None:
        """Start an instance, and with it what is passed over at once and what that makes ready."""
        topology = self._around.topologies.of(self._name, due.version)
        with self._locks_of(topology) as held:
            step = start(
                topology,
                instance_id=due.instance_id,
                fact=started,
                at=self._around.clock(),
                cause=origin.cause("StartInstance"),
                locks=None if held is None else held.state,
            )
            if held is not None:
                held.take(step.locks, step.lock_facts, step.granted)
            self._save([due], origin, step, locks=held)

    def _locks_of(self, topology: Topology) -> AbstractContextManager[HeldLocks | None]:
        if not topology.uses_locks:
            return nullcontext()
        return self._around.locks.held(topology.plan.environment_group)

    def _read_source(self, origin: Origin) -> PlanState:
        """Take in what the parameter source says, for instances to come and for those that are active."""
        state = self._known()
        values = self._around.source(self._name)
        fact = None if values is None else read_source(state, dict(values))
        if fact is not None:
            active = self._around.active.of_plan(self._name)
            news = source_news(active, fact.parameters, source=origin.by)
            self._save([fact], origin, inbound=news)
        return self._known()

    def _must_be_free(self, state: PlanState) -> None:
        """Raises ``NotPermitted`` when the plan is disabled, or runs one at a time and one is active."""
        if state.plan.disabled:
            raise NotPermitted(Refused(reason=f"plan {self._name} is disabled", status="DISABLED"))
        active = self._around.active.of_plan(self._name)
        if active and not state.plan.concurrent:
            reason = f"plan {self._name} runs one instance at a time, and {active[0]} is active: end it first"
            raise NotPermitted(Refused(reason=reason, status="ACTIVE"))

    def _start_due(self) -> None:
        state = self._known()
        active = bool(self._around.active.of_plan(self._name))
        facts = list(
            due_starts(state, self._around.clock(), active=active, default_zone=self._around.time_zone)
        )
        if any(isinstance(fact, InstanceDue) for fact in facts):
            state = self._read_source(SOURCE)
        for fact in facts:
            if isinstance(fact, InstanceDue):
                now = self._around.clock()
                started = instance_started(
                    state, at=now, due_at=fact.due_at, parameters={}, default_zone=self._around.time_zone
                )
                self._begin(fact, started, CLOCK)
            else:
                self._save([fact], CLOCK)

    def _tell_next_start(self) -> None:
        state = self._known()
        self._around.next_start_at(self._name, next_start(state, self._around.time_zone))

    def _raised(self, step: Step | None) -> list[Inbound]:
        if step is None:
            return []
        instance_id = step.state.instance_id
        return raised_events(instance_id, step.facts, raised_before=0, active=self._around.active)

    def _save(
        self,
        facts: Sequence[PlanFact],
        origin: Origin,
        step: Step | None = None,
        *,
        locks: HeldLocks | None = None,
        command: str | None = None,
        inbound: Sequence[Inbound] = (),
    ) -> None:
        recorded: list[Recorded] = []
        state = self._state
        for fact in facts:
            cause = origin.cause(command or type(fact).__name__)
            recorded.append(record(state, self._stream, fact, at=self._around.clock(), cause=cause))
            state = evolve_plan(state, recorded[-1])
        before = 0 if self._state is None else self._state.position
        appends = [Append(stream=self._stream, expected=before, facts=tuple(recorded))]
        if step is not None:
            appends.append(Append(stream=step.state.instance_id, expected=0, facts=step.facts))
        if locks is not None:
            appends += locks.appends()
        told = deliveries([*recorded, *(() if step is None else step.facts)])
        self._around.ledger.save(
            Change(
                appends=tuple(appends),
                outgoing=told,
                summaries=() if step is None else (summary_of(step.state),),
                inbound=(*self._raised(step), *(() if locks is None else locks.inbound()), *inbound),
                snapshots=() if locks is None else locks.snapshots(),
            )
        )
        if locks is not None:
            locks.saved = True
        self._state = state
        if step is not None and not step.state.ended:
            self._around.started(
                ActiveInstance(
                    instance_id=step.state.instance_id,
                    plan=step.state.plan,
                    plan_version=step.state.plan_version,
                    environment_group=step.state.environment_group,
                    ends_at=step.state.ends_at,
                )
            )
        self._around.committed(told)
