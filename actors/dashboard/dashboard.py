"""The dashboard: everything that a caller may ask of it, over the actors and the ledger behind it.

Events are on disk before anybody hears of them, and orders are facts on disk before they are answered.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import msgspec
import pykka
import structlog

from ...domain.audit import AuditRow
from ...domain.commands import CloseWindow, Command, FireDependants, Refused, ResetInstance
from ...domain.decide import Step, preview_dependants, preview_success
from ...domain.facts import NotificationsSet, PlanPushed, Recorded
from ...domain.forecast import Fire, Span
from ...domain.instance import InstanceState
from ...domain.instants import Instant
from ...domain.lock_group import LockGroup
from ...domain.lock_waits import LockWait
from ...domain.locks import reset
from ...domain.messages import DryRun, ProcessEvent
from ...domain.plan import JobIdentifier, JobPlan
from ...domain.plan_diff import PlanChange, version_changes
from ...domain.plan_log import PlanStanding, PlanState, plan_stream
from ...domain.status import PREPARED
from ...domain.topology import Unit
from ...domain.validation import Problem, validate
from ...storage.mapper import UnreadableFact
from ...storage.notifications import NotificationRow, Notifications
from ...storage.records import Change, Conflict, Inbound, InboxEntry, InstanceRow, Page, PlanRow, Unavailable
from ...storage.secret_keys import KeyFile, KeyFileUnusable
from ..notifications.follower import ActiveOf
from ..notifications.notifier import COURIER, FOLLOWER, Notifier, Notifying
from ..timers import Clock
from .active_instances import ActiveInstance, ActiveInstances
from .agents import Agents, AgentView
from .changes import Changes
from .covering import Covering
from .deliveries import Delivery
from .errors import NotPermitted, PlanMoved, UnknownName
from .explanations import Explanation, Explanations
from .forecasts import fires_of
from .fresh_starts import RESET, fresh_start
from .global_events import global_event
from .history import kept_for_history
from .host import THIS_HOST, Host
from .instance_actor import (
    CatchUp,
    Heard,
    Ordered,
    ReadSnapshot,
    ReadState,
    Resubmitted,
    encode_event,
)
from .instance_log import InstanceLog, unless_damaged
from .instances import Instances
from .lock_groups import LockGroups
from .orders import Orders
from .origin import CLOCK, SOURCE, Origin
from .parameter_sources import ParameterSource, ParameterSources
from .plan_actor import (
    Delete,
    Disable,
    Enable,
    MayReset,
    PlanActor,
    PlanMessage,
    PlanSurroundings,
    Push,
    ReadPlan,
    SetNotifications,
    SourceChanged,
    StartDue,
    StartNow,
)
from .plan_versions import PlanVersion, PlanVersions, VersionRow
from .ports import AgentRefused, AgentTransport, AgentUnreachable
from .queues import Queues
from .surroundings import Surroundings
from .topologies import Topologies
from .turns import Turns

_log = structlog.get_logger(__name__)

ANSWER_SECONDS = 30.0
"""How long a caller waits for an actor's answer."""
IDLE_MS = 60_000
"""After this long without a message an instance's actor sleeps."""
SWEEP_MS = 15_000
FIRST_RETRY_MS = 200
LONGEST_RETRY_MS = 30_000
MOST_WAITED_FOR = 100
"""Instances whose end the deletion of a plan waits for before it is answered."""
LOOK_AGAIN_MS = 2_000
"""How long a plan whose due starts could not be stored waits until it tries again."""
KEY_FILE = "secrets.key"
_KEYS = uuid5(NAMESPACE_URL, "urn:jobledger:idempotency-key")


class DashboardConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where a dashboard keeps its things."""

    data_dir: Path
    database_url: str | None = None
    time_zone: str = "UTC"
    """Of plans that name none."""
    start_interval_multiple: float = 1.0
    """Instances of a plan that runs one at a time live shorter than this many times its start interval."""
    threads: int = 8
    """Of the pool that instance and plan actors share."""
    key_file: Path | None = None
    """The keys of encrypted values; ``None``: ``secrets.key`` in the data directory."""
    parameters_file: Path | None = None
    """A TOML file that names the parameter file of each plan that has one."""


class PlanInvalid(ValueError):
    """A plan that cannot be accepted; ``problems`` has every error and warning with its place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        errors = sum(problem.is_error for problem in problems)
        super().__init__(f"the plan has {errors} error{'' if errors == 1 else 's'}")
        self.problems = list(problems)


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a push."""

    name: str
    version: int
    created: bool
    changed: bool
    warnings: tuple[Problem, ...] = ()
    changes: tuple[PlanChange, ...] = ()
    """What is different from the version before; worked out for a preview only."""


class Dashboard:
    """One dashboard process, without its HTTP."""

    def __init__(
        self,
        config: DashboardConfig,
        *,
        open_transport: Callable[[str], AgentTransport],
        clock: Clock,
        host: Host = THIS_HOST,
        notifying: Notifying | None = None,
    ) -> None:
        """Without ``notifying`` nobody is told of anything."""
        self.config = config
        self.clock = clock
        self.ready = False
        self._keys = KeyFile(config.key_file or config.data_dir / KEY_FILE)
        self._sources = ParameterSources(
            config.parameters_file,
            clock=clock,
            open_notices=host.notices,
        )
        self.ledger = host.ledger(config.database_url, config.data_dir)
        self._versions = PlanVersions(self.ledger)
        self._topologies = Topologies(self._versions)
        self._logs = InstanceLog(self.ledger, self._topologies)
        self._active = ActiveInstances(self._topologies)
        self._locks = LockGroups(self.ledger)
        self._turns = Turns()
        self._timers = host.timers(clock)
        self._covering = Covering(self.ledger, self._keys)
        self._changes = Changes()
        self._pool = host.pool(config.threads)
        self._retries: dict[UUID, int] = {}
        self._plans_lock = threading.Lock()
        self._plans: dict[str, pykka.ActorRef[PlanActor]] = {}
        self._agents = Agents(
            ledger=self.ledger,
            orders=Orders(self._logs, self._keys),
            clock=clock,
            timers=self._timers,
            open_transport=open_transport,
        )
        self._explanations = Explanations(ledger=self.ledger, locks=self._locks, agents=self._agents)
        self._instances = Instances(
            self._pool,
            Surroundings(
                ledger=self.ledger,
                logs=self._logs,
                active=self._active,
                locks=self._locks,
                turns=self._turns,
                clock=clock,
                committed=self._instance_committed,
                instance_ended=self._instance_ended,
                runs_until_ended=self._runs_until_ended,
                retry=self._retry,
            ),
        )
        self.queues = Queues(self.ledger, self._active.ids)
        self.notifications = Notifications(self.ledger)
        self._notifier = None
        if notifying is not None and notifying.config.enabled:
            self._notifier = Notifier(
                notifying,
                ledger=self.ledger,
                logs=self._logs,
                active=self._active_for_follower,
                timers=self._timers,
                clock=clock,
                zone=config.time_zone,
            )
        self.ledger.on_received = self._received

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring back what was active, and go on where the last process stopped."""
        self.ledger.leave_out(through=self.clock() * 1000)
        for row in reversed(list(self._active_rows())):
            self._instance_started(_active(row))
        self._sources.start(self._source_changed)
        if self._notifier is not None:
            self._notifier.start()
        elif self.notifications.position() is not None:
            self.notifications.forget_position()
        self._timers.start()
        plans = {row.stream: row for row in self.ledger.plans(deleted=True)}
        for stream in self.ledger.streams_with_unhandled():
            if stream in plans:
                self._plan_actor(plans[stream].name).tell(StartDue())
            else:
                self._wake(stream)
        self._agents.start()
        self._tell_agents_again()
        for plan in plans.values():
            if plan.standing is not PlanStanding.DELETED:
                self._plan_actor(plan.name).tell(StartDue())
        self._timers.set("sweep", self.clock() + SWEEP_MS, self._sweep)
        self.ready = True

    def close(self) -> None:
        """Finish what is in hand and stop; everything else is on disk."""
        self.ready = False
        self._sources.close()
        self._changes.close()
        self._timers.close()
        # Turns that end now still tell gateways, and gateways read the ledger: each closes after its users.
        self._pool.close()
        self._agents.close()
        if self._notifier is not None:
            self._notifier.close()
        self.ledger.close()

    def look_at_clock(self) -> None:
        """Have the timers look at the clock now: it may have jumped."""
        self._timers.look()

    def _active_rows(self, plan: str | None = None) -> Iterator[InstanceRow]:
        return self._rows(plan=plan, active=True)

    def _rows(self, **wanted: Any) -> Iterator[InstanceRow]:
        """The instances that ``Ledger.instances`` finds, page after page."""
        cursor: str | None = None
        while True:
            page = self.ledger.instances(**wanted, after_cursor=cursor, limit=1000)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def _tell_agents_again(self) -> None:
        """Agents may have lost what they knew: each hears again of what is active, unless it will anyway."""
        told, now = self.ledger.still_to_tell("publish"), self.clock()
        again = tuple(
            (agent, each.instance_id, 1, "publish")
            for each in self._active.all()
            if each.ends_at is None or each.ends_at > now
            for agent in each.agents
            if (agent, each.instance_id) not in told
        )
        try:
            if again:
                self.ledger.save(Change(outgoing=again))
        except Unavailable as error:
            _log.warning("agents not told again yet", error=str(error))
            self._timers.set("tell again", self.clock() + LOOK_AGAIN_MS, self._tell_agents_again)
        else:
            self._agents.wake(dict.fromkeys(agent for agent, _, _, _ in again))

    def _sweep(self) -> None:
        self._wake_notifier()
        self._instances.passivate_idle(self.clock() - IDLE_MS)
        self._timers.set("sweep", self.clock() + SWEEP_MS, self._sweep)

    # --- events ---------------------------------------------------------------------------------------------

    def receive(self, events: Sequence[ProcessEvent], origin: Origin) -> list[int]:
        """Put events into the inbox, all or none; returns their positions once they are on disk.

        An event's instance id must be a UUID (``ValueError`` otherwise). One that no instance has is kept as
        a dead letter. Raises ``Unavailable`` when the events could not be made durable.
        """
        source = origin.source or origin.by
        return self.ledger.receive(
            [
                Inbound(
                    stream=UUID(event.instance_id), kind="event", payload=encode_event(event), source=source
                )
                for event in self._covering.of(events)
            ]
        )

    def keep(self, events: Sequence[ProcessEvent], origin: Origin) -> None:
        """Keep events for history; nothing follows from them. The same ones again are kept once.

        Raises ``Unavailable`` when they could not be made durable, all or none.
        """
        if not events:
            return
        facts = kept_for_history(self._covering.of(events), at=self.clock(), cause=origin.cause("KeepEvents"))
        with suppress(Conflict):  # they were kept before
            self.ledger.save(Change(appends=(facts,)))

    def raise_global_event(
        self,
        name: str,
        origin: Origin,
        *,
        event_id: str | None = None,
        environment_group: str | None = None,
        everywhere: bool = True,
    ) -> int:
        """Have a global event reach active instances, of every group or of one; returns how many."""
        if everywhere:
            targets = self._active.expecting_anywhere(name)
        else:
            targets = self._active.expecting(name, environment_group)
        source = origin.source or origin.by
        raised = event_id or str(uuid4())
        if targets:
            self.ledger.receive([global_event(each, name, raised, source=source) for each in targets])
        return len(targets)

    def _received(self, entries: Sequence[InboxEntry]) -> None:
        """Called by the ledger, in the order of positions, once entries are on disk."""
        self._instances.hear([Heard(entry) for entry in entries if entry.kind != RESET])
        for entry in entries:
            if entry.kind == RESET:
                self._plan_actor(fresh_start(entry).plan).tell(StartDue())

    # --- plans ----------------------------------------------------------------------------------------------

    def problems_of(self, plan: JobPlan) -> list[Problem]:
        """Every error and warning of a plan, here and now: agents that are not known are warned of."""
        return validate(
            plan,
            known_agents=self._agents.names(),
            start_interval_multiple=self.config.start_interval_multiple,
        )

    def _warnings_of(self, plan: JobPlan) -> tuple[Problem, ...]:
        """Every warning of a plan; raises ``PlanInvalid`` if there is an error among its problems."""
        problems = self.problems_of(plan)
        if any(problem.is_error for problem in problems):
            raise PlanInvalid(problems)
        return tuple(problems)

    def preview_push(
        self, plan: JobPlan, documents: dict[str, bytes], *, based_on: int | None = None
    ) -> Pushed:
        """What a push would do, without doing it; raises ``PlanInvalid``, ``PlanMoved``."""
        warnings = self._warnings_of(plan)
        try:
            state = self.plan_as_it_stands(plan.name)
        except UnknownName:
            if based_on:
                raise PlanMoved(plan.name, 0, based_on=based_on) from None
            version = self.ledger.count_of(plan_stream(plan.name), PlanPushed) + 1
            return Pushed(name=plan.name, version=version, created=True, changed=True, warnings=warnings)
        if based_on not in {None, state.version}:
            raise PlanMoved(plan.name, state.version, based_on=based_on)
        changed = (state.plan, state.documents) != (plan, documents)
        return Pushed(
            name=plan.name,
            version=state.version + changed,
            created=False,
            changed=changed,
            warnings=warnings,
            changes=tuple(version_changes(state.plan, state.documents, plan, documents)),
        )

    def push_plan(
        self,
        plan: JobPlan,
        documents: dict[str, bytes],
        origin: Origin,
        *,
        based_on: int | None = None,
    ) -> Pushed:
        """Make this the newest version of the plan; ``based_on`` is the one it was made from, 0 for none.

        Raises ``PlanInvalid``, and ``PlanMoved`` when another version is the newest by now; nothing is stored
        then.
        """
        warnings = self._warnings_of(plan)
        pushed = self._pushed(Push(plan, documents, origin, based_on=based_on))
        return msgspec.structs.replace(pushed, warnings=warnings)

    def revise_plan(
        self, plan: JobPlan, documents: dict[str, bytes], origin: Origin, *, rests_on: int, command: str
    ) -> Pushed:
        """Make this, which was made from the newest version, the newest; ``command`` says how it was made.

        It is not validated: give what cannot be wrong. Raises ``PlanMoved`` when the plan is not as it was at
        the position ``rests_on`` any more; nothing is stored then.
        """
        return self._pushed(Push(plan, documents, origin, rests_on=rests_on, command=command))

    def _pushed(self, message: Push) -> Pushed:
        plan = message.plan
        state, changed = self._ask_plan(plan.name, message)
        return Pushed(
            name=plan.name,
            version=state.version,
            created=changed and state.begun_with == state.version,
            changed=changed,
        )

    def plans(self) -> list[PlanRow]:
        """Every plan, by name."""
        return self.ledger.plans()

    def plan(self, name: str, version: int | None = None) -> PlanVersion:
        """A version of a plan, the newest by default; raises ``UnknownName``.

        Of a plan that was deleted a version has to be named.
        """
        if version is None:
            self.plan_as_it_stands(name)
        return self._versions.find(name, version)

    def plan_log(self, name: str, *, after: int = 0, limit: int = 100) -> list[Recorded]:
        """What happened to a plan, in order, also after it was deleted; raises ``UnknownName``."""
        facts = self.ledger.facts(plan_stream(name), after=after, limit=limit)
        if not facts and not self.ledger.last_position(plan_stream(name)):
            raise UnknownName(f"there is no plan {name}")
        return facts

    def enable_plan(self, name: str, origin: Origin) -> tuple[Recorded, ...]:
        """Let its clock and people start instances again. Raises ``NotPermitted``, ``UnknownName``."""
        facts: tuple[Recorded, ...] = self._ask_plan(name, Enable(origin))
        return facts

    def disable_plan(self, name: str, origin: Origin) -> tuple[Recorded, ...]:
        """Let no instance start any more. Raises ``NotPermitted``, ``UnknownName``."""
        facts: tuple[Recorded, ...] = self._ask_plan(name, Disable(origin))
        return facts

    def delete_plan(self, name: str, origin: Origin) -> tuple[Recorded, ...]:
        """End its active instances, then delete it; raises ``UnknownName``.

        That it is deleted is durable on return, and usually it is done. What is left of it survives a crash.
        """
        facts: tuple[Recorded, ...] = self._ask_plan(name, Delete(origin))
        ending = self._active.of_plan(name)[:MOST_WAITED_FOR]
        for instance_id in ending:
            self._instances.tell(instance_id, CatchUp())
        try:
            for instance_id in ending:
                self._instances.ask(instance_id, ReadState(), ANSWER_SECONDS)
            self._ask_plan(name, StartDue())
        except (Unavailable, pykka.Timeout) as error:
            _log.warning("plan not deleted yet", plan=name, error=str(error))
        return facts

    def plan_position(self, name: str) -> int:
        """The position of the newest fact of a plan; 0 when there is no such plan."""
        return self.ledger.last_position(plan_stream(name))

    def active_of(self, name: str) -> list[UUID]:
        """The active instances of a plan, oldest first."""
        return self._active.of_plan(name)

    def plan_awaits(self, name: str) -> list[str]:
        """The agents that are still to be told of the plan's jobs, by name."""
        return self.ledger.agents_to_tell(plan_stream(name))

    def plan_versions(self, name: str) -> list[VersionRow]:
        """Every version of a plan, oldest first; raises ``UnknownName``."""
        return self._versions.all(name)

    def plan_changes(self, name: str, older: int, newer: int) -> list[PlanChange]:
        """What changed from one version of a plan to another; raises ``UnknownName``."""
        before, after = self._versions.find(name, older), self._versions.find(name, newer)
        return version_changes(before.plan, before.documents, after.plan, after.documents)

    def plan_as_it_stands(self, name: str) -> PlanState:
        """A plan with what was changed since its push; raises ``UnknownName``, also of one deleted."""
        state: PlanState = self._ask_plan(name, ReadPlan())
        if state.standing is PlanStanding.DELETED:
            raise UnknownName(
                f"plan {name} was deleted; its {state.version} versions and its log can be read"
            )
        return state

    def set_notifications(self, name: str, fact: NotificationsSet, origin: Origin, *, rests_on: int) -> None:
        """Change who is told of what, for active instances too, without a new version.

        Raises ``UnknownName``, and ``PlanMoved`` when the plan is not as it was at the position ``rests_on``
        any more; nothing is stored then.
        """
        self._ask_plan(name, SetNotifications(fact, rests_on, origin))

    # --- parameters -----------------------------------------------------------------------------------------

    def encrypt(self, text: str) -> str:
        """A token that stands for a text; raises ``Unavailable`` when there is no key to be had."""
        try:
            return self._keys.seal(text)
        except (KeyFileUnusable, OSError) as error:
            raise Unavailable(f"the keys cannot be used: {error}") from error

    def parameter_sources(self) -> list[ParameterSource]:
        """The parameter source of each plan that has one, as it was read last."""
        return self._sources.views()

    @property
    def parameter_sources_error(self) -> str | None:
        """Why the file that names the sources cannot be read now."""
        return self._sources.error

    def refresh_parameters(self, origin: Origin) -> list[ParameterSource]:
        """Read all parameter sources now; what has changed is taken in when this returns.

        Raises ``Unavailable`` when it could not be made durable.
        """
        try:
            changed = self._sources.read_again()
        except TimeoutError as error:
            raise Unavailable(str(error)) from error
        views = self._sources.views()
        for plan in dict.fromkeys([*changed, *(view.plan for view in views)]):
            if self.ledger.last_position(plan_stream(plan)):
                try:
                    self._ask_plan(plan, SourceChanged(origin))
                except (UnknownName, UnreadableFact) as error:
                    # A plan whose first push failed, or that is damaged, keeps nothing from the others.
                    _log.warning("parameter source not taken in", plan=plan, error=str(error))
                except Unavailable:
                    self._sources.missed(plan)
                    raise
        return views

    def _source_changed(self, plan: str) -> None:
        try:
            known = self.ledger.last_position(plan_stream(plan)) > 0
        except Unavailable as error:
            _log.warning("parameter source not taken in yet", plan=plan, error=str(error))
            self._sources.missed(plan)
            return
        if known:
            self._plan_actor(plan).tell(SourceChanged(SOURCE))

    def forecast(self, names: Sequence[str], *, begin: Instant, end: Instant) -> Iterator[Fire]:
        """What the clocks of these plans will do between two instants, both included, in order.

        A plan that is damaged is left out. Told as it is asked for; raises ``TooMuch`` on the way when it
        cannot be told with so much effort.
        """
        asked = {name: self._plan_actor(name).ask(ReadPlan(), block=False) for name in names}
        states = []
        for name, future in asked.items():
            try:
                states.append(future.get(timeout=ANSWER_SECONDS))
            except UnreadableFact as error:
                _log.error("plan left out", plan=name, error=str(error))
        span = Span(begin=max(begin, self.clock()), end=end, default_zone=self.config.time_zone)
        return fires_of(states, span, active=self._active, topologies=self._topologies, logs=self._logs)

    # --- instances ------------------------------------------------------------------------------------------

    def start_instance(
        self,
        plan: str,
        origin: Origin,
        *,
        parameters: dict[str, str] | None = None,
        business_date: date | None = None,
        run_until_ended: bool = False,
        hold_commands: bool = False,
        dry_run: DryRun | None = None,
        key: str | None = None,
    ) -> UUID:
        """Start an instance now; the same idempotency key finds the same instance.

        Raises ``NotPermitted``, ``UnknownName``.
        """
        message = StartNow(
            origin=origin,
            parameters=parameters or {},
            business_date=business_date,
            until_ended=run_until_ended,
            commands_held=hold_commands,
            dry_run=dry_run,
            instance_id=None if key is None else uuid5(_KEYS, f"{plan}\n{key}"),
        )
        instance_id: UUID = self._ask_plan(plan, message)
        return instance_id

    def reset_instance(
        self,
        instance_id: UUID,
        origin: Origin,
        *,
        parameters: dict[str, str] | None = None,
        same_parameters: bool = False,
        hold_commands: bool = False,
    ) -> tuple[UUID, tuple[Recorded, ...]]:
        """End an active instance and start a fresh one of its plan's newest version instead.

        Returns the fresh one's id and the facts by which the old one ended. Once these are durable the fresh
        one starts, whatever happens. Raises ``NotPermitted``, ``UnknownName``.
        """
        plan = self.plan_of_instance(instance_id)
        self._ask_plan(plan, MayReset())
        successor = uuid5(instance_id, "reset")
        command = ResetInstance(
            successor=successor,
            parameters=parameters or {},
            same_parameters=same_parameters,
            hold_commands=hold_commands,
        )
        facts = self.command(instance_id, command, origin)
        # The entry that starts the fresh one is in the inbox of the plan: who asks next finds it started.
        self._ask_plan(plan, StartDue())
        return successor, facts

    def instances(
        self,
        *,
        plan: str | None = None,
        status: str | None = None,
        active: bool | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[InstanceRow]:
        """Instances, newest first."""
        return self.ledger.instances(
            plan=plan, status=status, active=active, after_cursor=cursor, limit=limit
        )

    def instance(self, instance_id: UUID) -> InstanceState:
        """The live state; raises ``UnknownName``."""
        self._logs.topology(instance_id)
        state = self._instances.ask(instance_id, ReadState(), ANSWER_SECONDS)
        if not isinstance(state, InstanceState):
            raise TypeError(f"an instance actor answered {state!r}")
        return state

    def instance_at(
        self, instance_id: UUID, *, position: int | None = None, at: Instant | None = None
    ) -> InstanceState:
        """The state as it was at a position of the log or at an instant; raises ``UnknownName``."""
        if at is not None:
            return self._logs.state_at(instance_id, at)
        if position is not None and not 1 <= position <= self.ledger.last_position(instance_id):
            raise UnknownName(f"the log of instance {instance_id} has no position {position}")
        return self._logs.state(instance_id, position)

    def log(self, instance_id: UUID, *, after: int = 0, limit: int = 100) -> list[Recorded]:
        """Facts in order; raises ``UnknownName``."""
        self._logs.topology(instance_id)
        return self.ledger.facts(instance_id, after=after, limit=limit)

    def audit(self, instance_id: UUID, *, after: int = 0, limit: int = 100) -> list[AuditRow]:
        """A row per event or order whose facts begin after a position; raises ``UnknownName``."""
        return list(islice(self._logs.audit(instance_id, after), limit))

    def events(self, positions: Sequence[int]) -> dict[int, ProcessEvent]:
        """The process events at these positions of the inbox, as far as they read."""
        found = {}
        for position, entry in self.ledger.entries(positions).items():
            if entry.kind == "event":
                with suppress(msgspec.DecodeError):
                    found[position] = msgspec.msgpack.decode(entry.payload, type=ProcessEvent)
        return found

    def command(self, instance_id: UUID, command: Command, origin: Origin) -> tuple[Recorded, ...]:
        """Give an instance an order; returns the facts, durable. Raises ``NotPermitted``, ``UnknownName``."""
        self._logs.topology(instance_id)
        facts: Any = self._instances.ask(instance_id, Ordered(command, origin), ANSWER_SECONDS)
        answer: tuple[Recorded, ...] = facts
        return answer

    def preview_dependants(self, instance_id: UUID, command: FireDependants) -> tuple[Recorded, ...]:
        """The facts that firing the dependants of a failed job would give; nothing is stored.

        Raises ``NotPermitted``, ``UnknownName``.
        """
        state = self.instance(instance_id)
        return _facts_of(preview_dependants(state, command, at=self.clock(), locks=self._locks_of(state)))

    def preview_success(self, instance_id: UUID, job: JobIdentifier, context: str) -> tuple[Recorded, ...]:
        """The facts that the success of a job would give if it came now; nothing is stored.

        Raises ``NotPermitted``, ``UnknownName``.
        """
        state = self.instance(instance_id)
        return _facts_of(preview_success(state, job, context, at=self.clock(), locks=self._locks_of(state)))

    def why(self, instance_id: UUID, context: str, identifier: JobIdentifier, *, limit: int) -> Explanation:
        """Why a job is not running, or ran; up to ``limit`` blockers are looked into.

        Raises ``UnknownName``.
        """
        state = self.instance(instance_id)
        unit = state.topology.unit_in(context, identifier)
        if unit is None:
            raise UnknownName(f"context {context} of instance {instance_id} lists no job {identifier}")
        return self._explanations.of(state, unit, limit=limit)

    def lock_wait(self, state: InstanceState, unit: Unit) -> LockWait | None:
        """Why a job of an instance waits for its lock; ``None`` if it does not."""
        return self._explanations.lock_wait(state, unit)

    def _locks_of(self, state: InstanceState) -> LockGroup | None:
        return self._locks.read(state.environment_group) if state.topology.uses_locks else None

    def active_instances(self, plan: str | None = None) -> list[InstanceState]:
        """The live states of active instances, oldest first: of all that are on disk, heard of or not.

        One whose log is damaged is left out, so that the others go on; asked for alone it says what is wrong.
        """
        return self._live(self._active_rows(plan))

    def _live(self, rows: Iterable[InstanceRow]) -> list[InstanceState]:
        return _sound(rows, self.instance)

    def prepared_instances(self) -> list[InstanceState]:
        """The states of the instances that exist ahead of their start, the nearest first.

        One whose log is damaged is left out, as from those that are active.
        """
        return _sound(self._rows(status=PREPARED), self._logs.state)

    def ended_before_its_start(self, instance_id: UUID) -> bool:
        """Whether somebody called the start of a prepared instance off; of a damaged one nobody knows."""
        state = unless_damaged(self.instance, instance_id)
        return state is not None and state.never_began

    def instances_for_agent(self, agent: str) -> list[InstanceState]:
        """The active instances that an agent has to know: what is on disk, also if nobody heard of it yet."""
        return self._live(row for row in self._active_rows() if agent in row.agents)

    def wait_for_change(self, instance_id: UUID, after: int, timeout_seconds: float) -> InstanceState:
        """The live state once it is past a position, or when the time is over; raises ``UnknownName``."""
        self._changes.expect(instance_id)
        try:
            state = self.instance(instance_id)
            if state.position <= after:
                self._changes.wait(instance_id, after, timeout_seconds)
                state = self.instance(instance_id)
            return state
        finally:
            self._changes.forget(instance_id)

    # --- agents ---------------------------------------------------------------------------------------------

    def announce(
        self,
        name: str,
        *,
        url: str,
        host: str,
        version: str,
        running: int = 0,
        queued: int = 0,
        problems: tuple[str, ...] = (),
    ) -> None:
        """An agent says where it is and that it lives."""
        self._agents.announce(
            name, url=url, host=host, version=version, running=running, queued=queued, problems=problems
        )

    def agents(self) -> list[AgentView]:
        """Every agent that ever announced itself."""
        return self._agents.views()

    def output(
        self, instance_id: UUID, context: str, identifier: str, stream: str, *, offset: int, limit: int
    ) -> bytes:
        """What the job's latest run wrote, read from its agent.

        Raises ``UnknownName``, ``AgentUnreachable``, ``AgentRefused``.
        """
        state = self.instance(instance_id)
        unit = state.topology.unit_in(context, identifier)
        if unit is None:
            raise UnknownName(f"context {context} of instance {instance_id} lists no job {identifier}")
        number = state.job(unit.index).initiation
        if not number:
            raise UnknownName(f"job {identifier} has not run in instance {instance_id}")
        return self._transport(unit.job.agent).output(state.initiation_id(number), stream, offset, limit)

    def queues_of_agent(self, agent: str, look: str) -> bytes:
        """What an agent says of its queues; ``look`` is the end of an address, as ``AgentTransport`` has it.

        Raises ``UnknownName``, ``AgentUnreachable``, ``AgentRefused``.
        """
        if agent not in self._agents.names():
            raise UnknownName(f"there is no agent {agent}")
        return self._transport(agent).queues(look)

    def _transport(self, agent: str) -> AgentTransport:
        transport = self._agents.transport(agent)
        if transport is None:
            raise AgentUnreachable(f"agent {agent} has not announced itself yet")
        return transport

    # --- locks ----------------------------------------------------------------------------------------------

    def locks(self) -> list[LockGroup]:
        """The job locks of every environment group: who holds them, who waits."""
        return self._locks.all()

    def plan_of(self, instance_id: UUID) -> str | None:
        """The plan that an active instance is a run of; ``None`` if it is not active."""
        return self._active.plan_of(instance_id)

    def plan_of_instance(self, instance_id: UUID) -> str:
        """The plan that an instance is or was a run of; raises ``UnknownName`` and ``UnreadableFact``."""
        return self._logs.topology(instance_id).plan.name

    def locks_of(self, environment_group: str | None) -> LockGroup | None:
        """The job locks of one environment group; ``None`` when it has none."""
        return self._locks.read(environment_group)

    def reset_lock(self, environment_group: str | None, lock: str, origin: Origin) -> tuple[Recorded, ...]:
        """Take a lock from all that hold it, although they may still run, and give it to those that wait.

        Raises ``UnknownName``.
        """
        with self._locks.held(environment_group) as held:
            if held.state is None or lock not in held.state.locks:
                group = environment_group or "(none)"
                raise UnknownName(f"environment group {group} has no lock {lock}")
            step = reset(held.state, lock, at=self.clock(), cause=origin.cause("ResetLock"))
            held.take(step.state, step.facts, step.granted)
            self.ledger.save(
                Change(appends=held.appends(), inbound=held.inbound(), snapshots=held.snapshots())
            )
            held.saved = True
            return step.facts

    # --- notifications --------------------------------------------------------------------------------------

    def send_notification_again(self, row: NotificationRow, origin: Origin) -> None:
        """Have a notification that was sent or failed sent again; raises ``NotPermitted``."""
        self._must_notify().send_again(row, origin.by)

    def probe_channel(self, channel: str, to: str) -> str:
        """Send something harmless on a channel; says what was done.

        Raises ``NotPermitted``, ``ChannelDown``, ``NotNow``, ``Rejected``.
        """
        return self._must_notify().probe(channel, to)

    def _must_notify(self) -> Notifier:
        if self._notifier is None:
            reason = "this dashboard sends no notifications: start it with --notifications"
            raise NotPermitted(Refused(reason=reason, status="DISABLED"))
        return self._notifier

    # --- dead letters ---------------------------------------------------------------------------------------

    def dead_letters(self, *, after: int = 0, limit: int = 100) -> list[InboxEntry]:
        """Events that were put aside, oldest first."""
        return self.ledger.parked(after=after, limit=limit)

    def resubmit(self, position: int) -> None:
        """Have a dead letter processed again; raises ``UnknownName`` and ``Unavailable``."""
        parked = self.ledger.entries([position]).get(position)
        try:
            entry = self.ledger.unpark(position)
        except Unavailable:
            # It may wait again all the same: then nobody else would tell its instance.
            if parked is not None:
                self._retry(parked.stream)
            raise
        if entry is None:
            raise UnknownName(f"there is no dead letter {position}")
        self._instances.tell(entry.stream, Resubmitted(entry))

    def discard(self, position: int, origin: Origin) -> None:
        """Give a dead letter up for good; raises ``UnknownName``."""
        if not self.ledger.discard(position, origin.by):
            raise UnknownName(f"there is no dead letter {position}")

    # --- debugging ------------------------------------------------------------------------------------------

    def actor_names(self) -> list[str]:
        """The actors that are alive."""
        instances = [f"instance-{each}" for each in self._instances.live()]
        gateways = [f"gateway-{each}" for each in self._agents.gateway_names()]
        notifying = [] if self._notifier is None else self._notifier.actor_names()
        return [*instances, *gateways, *notifying]

    def actor_snapshot(self, name: str) -> dict[str, object]:
        """What an actor says of itself; raises ``UnknownName``."""
        kind, _, rest = name.partition("-")
        if self._notifier is not None and kind in {FOLLOWER, COURIER}:
            return self._notifier.snapshot(name, ANSWER_SECONDS)
        if kind == "gateway":
            return self._agents.gateway_snapshot(rest, ANSWER_SECONDS)
        try:
            instance_id = UUID(rest)
        except ValueError:
            raise UnknownName(f"there is no actor {name}") from None
        if kind != "instance" or instance_id not in self._instances.live():
            raise UnknownName(f"there is no actor {name}")
        snapshot: Any = self._instances.ask(instance_id, ReadSnapshot(), ANSWER_SECONDS)
        answer: dict[str, object] = snapshot
        return answer

    # --- what actors tell -----------------------------------------------------------------------------------

    def _instance_committed(self, instance_id: UUID, position: int, told: tuple[Delivery, ...]) -> None:
        self._retries.pop(instance_id, None)
        # Agents before onlookers: drawing an instance for somebody must not hold up its jobs.
        self._wake_gateways(told)
        self._changes.moved(instance_id, position)

    def _wake_gateways(self, told: tuple[Delivery, ...]) -> None:
        self._agents.wake(dict.fromkeys(agent for agent, _, _, _ in told))
        self._wake_notifier()

    def _wake_notifier(self) -> None:
        if self._notifier is not None:
            self._notifier.wake()

    def _active_for_follower(self) -> list[ActiveOf]:
        return [ActiveOf(each.instance_id, each.plan) for each in self._active.all()]

    def _instance_started(self, instance: ActiveInstance) -> None:
        if self._active.add(instance):
            self._set_end(instance.instance_id, instance.ends_at)

    def _bring_back(self, plan: str) -> None:
        """A commit that was reported as failed may have started or ended an instance: nobody heard of it."""
        for row in self._active_rows(plan):
            if not self._active.knows(row.instance_id):
                self._instance_started(_active(row))
        # Read again: one that ended meanwhile was told before it was known here.
        listed = {row.instance_id for row in self._active_rows(plan)}
        for instance_id in self._active.of_plan(plan):
            if instance_id not in listed:
                self._forget_instance(instance_id)

    def _forget_instance(self, instance_id: UUID) -> None:
        self._active.discard(instance_id)
        self._timers.cancel(("end", instance_id))

    def _runs_until_ended(self, instance_id: UUID) -> None:
        self._active.run_until_ended(instance_id)
        self._timers.cancel(("end", instance_id))

    def _instance_written(self, instance_id: UUID, position: int) -> None:
        self._instances.read_again(instance_id)
        self._changes.moved(instance_id, position)

    def _instance_ended(self, instance_id: UUID, plan: str) -> None:
        self._forget_instance(instance_id)
        self._plan_actor(plan).tell(StartDue())

    def _set_end(self, instance_id: UUID, ends_at: Instant | None) -> None:
        if ends_at is not None:
            self._timers.set(("end", instance_id), ends_at, lambda: self._close_window(instance_id, ends_at))

    def _close_window(self, instance_id: UUID, ends_at: Instant) -> None:
        if self.clock() < ends_at:
            self._set_end(instance_id, ends_at)
        else:
            self._instances.tell(instance_id, Ordered(CloseWindow(), CLOCK))

    def _retry(self, instance_id: UUID) -> None:
        failures = self._retries[instance_id] = self._retries.get(instance_id, 0) + 1
        pause_ms = min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** min(failures, 20))
        self._timers.set(("retry", instance_id), self.clock() + pause_ms, lambda: self._wake(instance_id))

    def _wake(self, instance_id: UUID) -> None:
        self._instances.tell(instance_id, CatchUp())

    # --- plan actors ----------------------------------------------------------------------------------------

    def _plan_actor(self, name: str) -> pykka.ActorRef[PlanActor]:
        with self._plans_lock:
            ref = self._plans.get(name)
            if ref is None or not ref.is_alive():
                ref = PlanActor.start(pool=self._pool, name=name, surroundings=self._plan_surroundings())
                self._plans[name] = ref
            return ref

    def _plan_surroundings(self) -> PlanSurroundings:
        return PlanSurroundings(
            ledger=self.ledger,
            topologies=self._topologies,
            logs=self._logs,
            active=self._active,
            locks=self._locks,
            turns=self._turns,
            clock=self.clock,
            time_zone=self.config.time_zone,
            committed=self._wake_gateways,
            started=self._instance_started,
            written=self._instance_written,
            bring_back=self._bring_back,
            next_start_at=self._set_start,
            look_again=lambda plan: self._set_start(plan, self.clock() + LOOK_AGAIN_MS),
            source=self._sources.values,
            source_missed=self._sources.missed,
        )

    def _ask_plan(self, name: str, message: PlanMessage) -> Any:
        if not isinstance(message, Push) and not self.ledger.last_position(plan_stream(name)):
            # Without this, asking for names that nobody has would leave an actor behind for each.
            raise UnknownName(f"there is no plan {name}")
        try:
            return self._plan_actor(name).ask(message, timeout=ANSWER_SECONDS)
        except pykka.ActorDeadError:
            # It ended over what came before this message; another one begins from the log.
            return self._plan_actor(name).ask(message, timeout=ANSWER_SECONDS)

    def _set_start(self, plan: str, at: Instant | None) -> None:
        if at is None:
            self._timers.cancel(("start", plan))
        else:
            self._timers.set(("start", plan), at, lambda: self._plan_actor(plan).tell(StartDue()))


def _sound(rows: Iterable[InstanceRow], read: Callable[[UUID], InstanceState]) -> list[InstanceState]:
    """The states of instances, oldest first, without those that ended meanwhile or whose logs are damaged."""
    states = [unless_damaged(read, row.instance_id) for row in rows]
    return [state for state in reversed(states) if state is not None and not state.ended]


def _facts_of(preview: Step | Refused) -> tuple[Recorded, ...]:
    if isinstance(preview, Refused):
        raise NotPermitted(preview)
    return preview.facts


def _active(row: InstanceRow) -> ActiveInstance:
    return ActiveInstance(
        instance_id=row.instance_id,
        plan=row.plan,
        plan_version=row.plan_version,
        environment_group=row.environment_group,
        ends_at=row.ends_at,
        agents=row.agents,
    )


__all__ = ["AgentRefused", "Dashboard", "DashboardConfig", "PlanInvalid", "Pushed"]
