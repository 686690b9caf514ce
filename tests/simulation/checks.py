"""What must be true of a world: after every commit, and once it has come to rest.

Everything here is worked out from what is on disk, not from what the programs believe.
"""

import hashlib
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, takewhile
from typing import Any
from uuid import UUID

import msgspec
from arrivals import Arrivals
from cases import MISFORTUNES
from jobledger.actors.dashboard.fresh_starts import RESET, fresh_start
from jobledger.actors.dashboard.given_orders import ORDERED, given_order
from jobledger.actors.dashboard.instance_actor import command_of
from jobledger.domain.commands import Refused
from jobledger.domain.decide import advance
from jobledger.domain.facts import (
    DependantsFired,
    EventParked,
    GlobalEventRaised,
    InstanceEnded,
    InstancePrepared,
    InstanceReset,
    InstanceStarted,
    JobCompleted,
    JobEnabled,
    JobFailed,
    JobInitiated,
    JobPassedOver,
    JobReset,
    JobStarted,
    LockDefined,
    LockGranted,
    LockReleased,
    LockRequested,
    LockReset,
    LockWithdrawn,
    NextDropped,
    NextPrepared,
    NotificationsSet,
    PlanDeletionBegun,
    PlanPushed,
    Recorded,
    ResetOrdered,
    StartMoved,
)
from jobledger.domain.instance import InstanceState, begin, evolve
from jobledger.domain.instants import Instant
from jobledger.domain.job_state import JobState
from jobledger.domain.lock_group import LockGroup, evolve_locks, group_key, lock_stream
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import CommandJob
from jobledger.domain.plan_log import PlanState, evolve_plan, plan_stream
from jobledger.domain.snapshots import digest
from jobledger.domain.status import ContextStatus, JobStatus
from jobledger.domain.topology import Topology
from jobledger.storage.inbox import EntryState, entry_from
from jobledger.storage.mapper import FactMapper
from jobledger.storage.records import InboxEntry
from lock_oracle import Asked, LockOracle
from oracle import context_status
from rules import Rules
from settings import AHEAD_OF_START, Settings
from simulated_database import SimulatedEngine
from start_account import Commit, StartAccount
from told import Told, already_has
from violations import Violation
from virtual_secrets import Overheard, opened

SLACK_MS = 5_000
"""What is due may still be under way for so long."""
PATIENCE_MS = 400_000
"""What is under way for longer is stuck; commands may queue up for a while."""


class PlanShadow:
    """A plan as its log has it, and its starts as they are accounted for by somebody else."""

    def __init__(self, zone: str, *, undisturbed: bool) -> None:
        self.state: PlanState | None = None
        self.versions: dict[int, tuple[Topology, Rules]] = {}
        self.account = StartAccount(zone, undisturbed=undisturbed)
        self.about_notifications: list[Recorded] = []
        """Pushes, and what changed nothing but whom the plan tells."""

    @property
    def name(self) -> str:
        assert self.state is not None
        return self.state.plan.name

    def apply(self, recorded: Recorded, commit: Commit) -> None:
        if (recorded.cause.position is None) == (recorded.cause.command is None):
            raise Violation(f"{type(recorded.fact).__name__} has no cause, or two: {recorded.cause}")
        self.account.apply(recorded, commit)
        self.state = evolve_plan(self.state, recorded)
        if isinstance(recorded.fact, PlanPushed | NotificationsSet):
            self.about_notifications.append(recorded)
        if isinstance(fact := recorded.fact, PlanPushed):
            topology = Topology(fact.plan)
            self.versions[fact.version] = (topology, Rules(topology))

    def after_commit(self, called_off: frozenset[UUID]) -> None:
        """Two accounts of one log agree."""
        account, state = self.account, self.state
        assert state is not None
        account.after_commit(called_off)
        prepared = state.prepared
        told = None if prepared is None else (prepared.instance_id, prepared.version, prepared.due_at)
        found = (state.version, state.standing, state.accounted_through, state.deferred, told)
        wanted = (account.version, account.standing, account.through, account.deferred, account.prepared)
        if found != wanted:
            raise Violation(f"P11: plan {self.name} is {found} by its log, and should be {wanted}")

    def pending(self, now: Instant) -> Iterator[tuple[object, str]]:
        """What is due and has no fact yet."""
        account = self.account
        if (due := account.overdue(now)) is not None:
            yield ("start", self.name, due), f"a start of {self.name} was due at {due} and has no fact"
        if account.deferred is not None and not account.active:
            yield ("waits", self.name), f"a start of {self.name} waits for an instance, and none is active"
        if account.standing == "DELETING":
            yield ("deletion", self.name), f"{self.name} is not deleted, and active is {account.active}"


class InstanceShadow:
    """A plan instance as its log has it."""

    def __init__(self, plan: PlanShadow, topology: Topology, rules: Rules, first: Recorded) -> None:
        self.plan = plan
        self.topology = topology
        self.rules = rules
        self.facts = [first]
        self.state: InstanceState = begin(topology, first)
        self.at_first = self.state
        self.reset: ResetOrdered | None = None
        self.heard: dict[str, int | None] = {}
        self.initiated: set[int] = set()
        self.outstanding: dict[str, int] = {}
        """Initiations of which the end has not been heard, with their numbers."""
        self.initiations: dict[str, Recorded] = {}
        self.began_us = self.moved_at_us = 0
        self._decided: set[int] = set()
        """Inbox entries; one that was parked may come again."""

    def apply(self, recorded: Recorded) -> None:
        fact, cause = recorded.fact, recorded.cause
        if (cause.position is None) == (cause.command is None):
            raise Violation(f"{type(fact).__name__} has no cause, or two: {cause}")
        event_id = getattr(fact, "event_id", None)
        if event_id is not None:
            first = self.heard.setdefault(event_id, cause.position)
            if first != cause.position:
                raise Violation(
                    f"P2: event {event_id} was heard from inbox entry {first} and from {cause.position}"
                )
            base, _, what = event_id.rpartition("/")
            if what in {"finished", "refused"}:
                self.outstanding.pop(base, None)
        before = self.state
        if before.prepared and not isinstance(fact, (*AHEAD_OF_START, InstanceStarted)):
            raise Violation(f"{type(fact).__name__} of {before.instance_id}, which has not started")
        self.state = evolve(before, recorded)
        self.facts.append(recorded)
        match fact:
            case InstanceStarted():
                for lost in self.settings().lost_at_start(self.state, fact):
                    raise Violation(f"{self.state.instance_id} has started and lost {lost}")
            case ResetOrdered():
                self.reset = fact
            case JobInitiated():
                self._initiated(before, recorded, fact)
            case JobReset() | JobEnabled():
                self.initiated.discard(self._unit(fact))
            case JobStarted(initiation=int(number)):
                job = before.job(self._unit(fact))
                if number < job.initiation or (number == job.initiation and job.closed):
                    raise Violation(f"P2: a late start of {fact.job} undid what was known")
            case _:
                return

    def settings(self) -> Settings:
        """What had been set on it before it started."""
        return Settings(takewhile(lambda each: not isinstance(each.fact, InstanceStarted), self.facts))

    def _unit(self, fact: Any) -> int:
        unit = self.topology.unit_of(fact.job, fact.context)
        assert unit is not None
        return unit.index

    def _initiated(self, before: InstanceState, recorded: Recorded, fact: JobInitiated) -> None:
        index = self._unit(fact)
        unit = self.topology.units[index]
        assert isinstance(unit.job, CommandJob)
        if fact.initiation != before.initiations + 1:
            raise Violation(f"initiation {fact.initiation} follows {before.initiations}")
        if index in self.initiated and not fact.by_hand:
            if not unit.job.repeatable:
                raise Violation(
                    f"{fact.job} was initiated twice without a reset, a repeat or a submit between"
                )
            if not before.job(index).closed:
                raise Violation(f"{fact.job} was initiated again while it runs")
        if unit.lock is not None and fact.lock_ticket is None:
            raise Violation(f"P6: {fact.job} was initiated without its lock")
        self.initiated.add(index)
        initiation_id = self.state.initiation_id(fact.initiation)
        self.outstanding[initiation_id] = fact.initiation
        self.initiations[initiation_id] = recorded

    def take(self, committed: Sequence[Recorded], decide_again: "Decide") -> None:
        """Facts of one commit; after those of each cause, what became ready has been started."""
        for cause, batch in groupby(committed, key=lambda each: each.cause):
            facts = list(batch)
            if cause.position is not None:
                self._decided_once(cause.position, facts)
            if facts[0].position > 1:
                decide_again(self.state, facts)
            for recorded in facts:
                if recorded.position > 1:
                    self.apply(recorded)
            self._fired(facts)
        for problem in self.rules.disagreements(self.state):
            raise Violation(f"section 4: {problem}")
        if self._should_have_ended():
            raise Violation(f"{self.state.instance_id} is complete and was to end then")

    def _should_have_ended(self) -> bool:
        state = self.state
        if state.ended or state.prepared or state.until_ended:
            return False
        return self.topology.plan.end_on_completion and state.context_status(0) is ContextStatus.COMPLETE

    def _decided_once(self, position: int, facts: Sequence[Recorded]) -> None:
        if position in self._decided:
            raise Violation(f"P2: inbox entry {position} was decided twice")
        if not any(isinstance(each.fact, EventParked) for each in facts):
            self._decided.add(position)

    def _fired(self, facts: Sequence[Recorded]) -> None:
        if self.state.ended or self.state.prepared:
            return
        completed = []
        for recorded in facts:
            fact = recorded.fact
            match fact:
                case JobCompleted() | JobPassedOver():
                    completed.append(self._unit(fact))
                case JobFailed() if self.state.job(self._unit(fact)).acknowledged:
                    completed.append(self._unit(fact))
                case DependantsFired():
                    unit = self._unit(fact)
                    for problem in self.rules.unfired(self.state, [unit], as_if=unit):
                        raise Violation(f"section 5: {problem}")
                case _:
                    continue
        for problem in self.rules.unfired(self.state, completed):
            raise Violation(f"section 2: {problem}")


Decide = Callable[[InstanceState, Sequence[Recorded]], None]
"""Is given the state before the facts of one cause, and the facts."""


class LockShadow:
    """The locks of an environment group, as their log has them and as two lists would."""

    def __init__(self) -> None:
        self.state: LockGroup | None = None
        self.oracle = LockOracle()
        self._instances: dict[UUID, int] = {}

    def take(self, committed: Sequence[Recorded]) -> None:
        """Facts of one commit; after them nothing waits that could be granted."""
        for recorded in committed:
            self._told(recorded.fact)
            self.state = evolve_locks(self.state, recorded)
        if (waits := next(filter(self.oracle.may_have, self.oracle.waiting), None)) is not None:
            raise Violation(f"section 6: ticket {waits.ticket} waits for {waits.lock}, which is free")

    def _told(self, fact: object) -> None:
        oracle = self.oracle
        match fact:
            case LockDefined(name=name, count=count, exclusive=exclusive):
                oracle.define(name, count, exclusive=exclusive)
            case LockRequested():
                instance = self._instances.setdefault(fact.instance_id, len(self._instances))
                oracle.waiting.append(Asked(fact.ticket, fact.lock, instance, fact.count))
            case LockGranted(ticket=ticket):
                first = next(filter(oracle.may_have, oracle.waiting), None)
                if first is None or first.ticket != ticket:
                    raise Violation(f"P6: ticket {ticket} was granted, and it was the turn of {first}")
                oracle.waiting.remove(first)
                oracle.holding.append(first)
            case LockReleased(ticket=ticket) | LockWithdrawn(ticket=ticket):
                oracle.let_go({ticket})
            case LockReset(dropped=dropped):
                oracle.let_go(set(dropped))
            case _:
                raise Violation(f"{type(fact).__name__} is no fact of locks")


class Checks:
    """Watches one world."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._zone = world.case.time_zone
        self._undisturbed = not any(each.what in MISFORTUNES for each in world.case.operations)
        self._database = world.dashboard.database
        self._engine = SimulatedEngine(self._database)
        self._mapper = FactMapper()
        if world.letterbox is not None:
            world.letterbox.already_has = lambda number, address: already_has(self._database, number, address)
        self._sequence = 0
        self.plans: dict[UUID, PlanShadow] = {}
        self.instances: dict[UUID, InstanceShadow] = {}
        self.locks: dict[UUID, LockShadow] = {}
        self.facts: Counter[str] = Counter()
        self._called_off: set[UUID] = set()
        """Prepared instances that somebody has ended."""
        self._answered: list[ProcessEvent] = []
        self._since: dict[object, int] = {}
        self._look = world.loop.chance("checks")

    # --- for the world --------------------------------------------------------------------------------------

    def pick_instance(self, number: int) -> InstanceState | None:
        """One of the active instances, mostly; sometimes one of those that have ended."""
        every = list(self.instances.values())
        active = [each for each in every if not each.state.ended]
        among = active if active and number % 8 else every
        return among[number // 8 % len(among)].state if among else None

    def pick_prepared(self, number: int) -> InstanceState | None:
        """One of those that exist ahead of their start, if there is any."""
        ahead = [each.state for each in self.instances.values() if each.state.prepared]
        ahead = [each for each in ahead if not each.ended]
        return ahead[number % len(ahead)] if ahead else None

    def answered(self, events: Sequence[ProcessEvent]) -> None:
        """These were answered with a 2xx."""
        self._answered += events

    def digest(self) -> str:
        """Of all facts of all logs, in the order in which they were committed."""
        rows = self._engine.read("SELECT originator_id, topic, state FROM stored_events ORDER BY rowid")
        told = hashlib.sha256()
        for key, topic, state in rows:
            told.update(f"{key} {topic} ".encode())
            told.update(state)
        return told.hexdigest()[:16]

    # --- after every commit ---------------------------------------------------------------------------------

    def committed(self) -> None:
        """Look at what a commit has added; what is wrong fails the world, not the program that wrote it."""
        try:
            self._look_at_new_facts()
        except Violation as violation:
            self._world.fail(violation)
        except Exception as error:  # noqa: BLE001  what is committed must be looked at: nobody else may catch it
            self._world.fail(Violation(f"what was committed cannot be: {error}\n{traceback.format_exc()}"))

    def _look_at_new_facts(self) -> None:
        rows = self._database.connection.execute(
            "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
            "WHERE rowid > ? ORDER BY rowid",
            (self._sequence,),
        ).fetchall()
        by_stream: dict[UUID, list[Recorded]] = {}
        overheard = self._world.overheard
        for sequence, key, position, topic, state in rows:
            self._sequence = sequence
            if overheard is not None:
                overheard.look("a fact", state)
            stream = UUID(key)
            recorded = self._mapper.decode(stream, position, topic, state)
            by_stream.setdefault(stream, []).append(recorded)
            self.facts[type(recorded.fact).__name__] += 1
        commit = self._commit(by_stream)
        plans = {
            stream: facts
            for stream, facts in by_stream.items()
            if isinstance(facts[0].fact, PlanPushed) or stream in self.plans
        }
        for stream, facts in plans.items():
            plan = self.plans.setdefault(stream, PlanShadow(self._zone, undisturbed=self._undisturbed))
            for recorded in facts:
                plan.apply(recorded, commit)
        locks = {
            stream: facts
            for stream, facts in by_stream.items()
            if isinstance(facts[0].fact, LockDefined) or stream in self.locks
        }
        before = {stream: shadow.state for stream, shadow in self.locks.items()}
        for stream, facts in locks.items():
            self.locks.setdefault(stream, LockShadow()).take(facts)
        moved = [each for each in by_stream if each not in self.plans and each not in locks]
        for stream in moved:
            self._instance_moved(stream, by_stream[stream], before, locks)
        for stream in moved:
            self._claims_are_true(stream, self.instances[stream])
            self._nobody_is_told_early(stream, self.instances[stream])
        self._begun_as_told(commit, by_stream)
        for stream, facts in plans.items():
            self._plan_moved(stream, facts)

    def _commit(self, by_stream: dict[UUID, list[Recorded]]) -> Commit:
        """What these facts say beside the logs of plans."""
        every = [(stream, each.fact) for stream, facts in by_stream.items() for each in facts]
        ended = {stream for stream, fact in every if isinstance(fact, InstanceEnded)}
        for stream, fact in every:
            shadow = self.instances.get(stream)
            ahead = shadow is not None and shadow.state.prepared
            if ahead and isinstance(fact, InstanceEnded) and fact.reason == "by hand":
                self._called_off.add(stream)
        return Commit(
            now_us=self._world.loop.now_us,
            started={stream: fact for stream, fact in every if isinstance(fact, InstanceStarted)},
            ended=frozenset(ended),
            called_off=frozenset(self._called_off),
        )

    def _begun_as_told(self, commit: Commit, by_stream: dict[UUID, list[Recorded]]) -> None:
        """An instance begins, or exists ahead of its start, because the log of its plan says so."""
        if unasked := commit.started.keys() - commit.begun:
            raise Violation(f"P11: {unasked} started, and their plans know nothing of it")
        for stream, facts in by_stream.items():
            ahead = any(isinstance(each.fact, InstancePrepared | StartMoved) for each in facts)
            if ahead and stream not in commit.told:
                raise Violation(f"{stream} was prepared, and its plan knows nothing of it")

    def _plan_moved(self, stream: UUID, facts: list[Recorded]) -> None:
        plan = self.plans[stream]
        plan.after_commit(frozenset(self._called_off))
        self._compare_live_plan(plan)
        for recorded in facts:
            match recorded.fact:
                case NextPrepared(instance_id=instance_id, replaces=UUID() as old, dropped=dropped):
                    before, after = self.instances[old], self.instances[instance_id]
                    told = before.settings().lost_on_the_way(
                        before.state, before.at_first, after.state, dropped
                    )
                    for lost in told if after.state.prepared else ():
                        raise Violation(f"{instance_id} takes the place of {old} and has lost {lost}")
                case NextDropped(instance_id=instance_id, dropped=dropped):
                    before = self.instances[instance_id]
                    if before.state.end_reason == "by hand":
                        continue
                    for lost in before.settings().untold(before.state, before.at_first, dropped):
                        raise Violation(f"{instance_id} was dropped, and nobody was told of {lost}")
                case PlanDeletionBegun():
                    self._all_are_to_end(plan)
                case InstanceReset(instance_id=instance_id, previous=previous):
                    self._begun_instead(instance_id, previous)
                case _:
                    continue
        prepared = plan.account.prepared
        if prepared is not None:
            self._is_prepared(*prepared)

    def _all_are_to_end(self, plan: PlanShadow) -> None:
        """With the deletion of a plan its active instances have the order to end."""
        rows = self._database.connection.execute("SELECT stream FROM inbox WHERE kind = ?", (ORDERED,))
        ordered = {UUID(stream) for (stream,) in rows}
        if forgotten := plan.account.active - ordered:
            raise Violation(f"{plan.name} is to be deleted, and {forgotten} is not to end")

    def _is_prepared(self, instance_id: UUID, version: int, due_at: Instant) -> None:
        state = self.instances[instance_id].state
        if instance_id in self._called_off:
            return
        if not state.prepared or state.ended or (state.plan_version, state.due_at) != (version, due_at):
            raise Violation(
                f"{instance_id} is {state.status} of version {state.plan_version} for {state.due_at}; "
                f"its plan has prepared version {version} for {due_at}"
            )

    def _begun_instead(self, instance_id: UUID, previous: UUID) -> None:
        """A reset: the fresh instance is what the old one was ended for."""
        order = self.instances[previous].reset
        if order is None or order.successor != instance_id:
            raise Violation(f"{instance_id} began instead of {previous}, which was ended for {order}")
        began = next(
            each.fact for each in self.instances[instance_id].facts if isinstance(each.fact, InstanceStarted)
        )
        for name in (
            "parameters",
            "context_parameters",
            "commands_held",
            "due_at",
            "business_date",
            "dry_run",
        ):
            if getattr(began, name) != getattr(order, name):
                raise Violation(f"{name} of {instance_id} is {getattr(began, name)}, and {order} was ordered")
        if began.instead_of != previous:
            raise Violation(f"{instance_id} does not say that it began instead of {previous}")

    def _nobody_is_told_early(self, stream: UUID, shadow: InstanceShadow) -> None:
        """No agent hears of an instance before its start, or ever if that never comes."""
        if any(isinstance(each.fact, InstanceStarted) for each in shadow.facts):
            return
        rows = self._database.connection.execute(
            "SELECT agent, kind FROM outbox WHERE stream = ?", (stream.hex,)
        ).fetchall()
        if rows:
            raise Violation(f"{stream} has not started, and agents are told of it: {rows}")

    def _claims_are_true(self, stream: UUID, shadow: InstanceShadow) -> None:
        """P6: nobody holds a lock, or waits for one, whose own log does not say so; and the reverse."""
        if not shadow.topology.uses_locks:
            return
        locks = self.locks.get(lock_stream(shadow.state.environment_group))
        group = None if locks is None else locks.state
        claims = {} if group is None else group.claims
        tickets = () if group is None else tuple(group.by_instance.get(stream, ()))
        state = shadow.state
        if state.ended and tickets:
            raise Violation(f"P6: instance {stream} has ended and has tickets {tickets}")
        for ticket in tickets:
            claim = claims[ticket]
            unit = shadow.topology.unit_of(claim.job, claim.context)
            job = None if unit is None else state.job(unit.index)
            if job is None or job.lock_ticket != ticket or not _may_have_ticket(job):
                raise Violation(f"P6: {claim.job} of {stream} has ticket {ticket}; its log says otherwise")
        for unit in shadow.topology.units:
            job = state.job(unit.index)
            if job.status is JobStatus.LOCK_QUEUED and job.lock_ticket not in tickets and not state.ended:
                raise Violation(f"P6: {unit.identifier} of {stream} waits for a lock, and no queue knows it")

    def _instance_moved(
        self,
        stream: UUID,
        facts: list[Recorded],
        locks_before: dict[UUID, LockGroup | None],
        lock_facts: dict[UUID, list[Recorded]],
    ) -> None:
        shadow = self.instances.get(stream)
        if shadow is None:
            shadow = self.instances[stream] = self._known(facts[0])
        elif self._look.random() < 0.25:
            self._compare_live(stream, shadow)
        raised = shadow.state.raised
        for recorded in facts:
            match recorded.fact:
                case InstanceStarted():
                    shadow.began_us = self._world.loop.now_us
                case ResetOrdered():
                    shadow.plan.account.reset_ordered(stream)
                case InstanceEnded() if not shadow.state.prepared:
                    shadow.plan.account.ended(stream, self._world.loop.now_us)
                case GlobalEventRaised():
                    raised += 1
                    self._raised(stream, shadow, recorded.fact, raised)
                case _:
                    continue
        shadow.moved_at_us = self._world.loop.now_us
        group = lock_stream(shadow.state.environment_group)
        shadow.take(facts, self._again(locks_before.get(group), lock_facts.get(group, [])))

    def _again(self, locks: LockGroup | None, lock_facts: list[Recorded]) -> Decide:
        """Section 9: the same inbox gives the same facts, of the instance and of its locks."""

        def decide(state: InstanceState, facts: Sequence[Recorded]) -> None:
            nonlocal locks
            cause = facts[0].cause
            about_locks = [each for each in lock_facts if each.cause == cause]
            parked = any(isinstance(each.fact, EventParked) for each in facts)
            if cause.position is not None and not parked and self._look.random() < 0.5:
                command, _ = command_of(self._entry(cause.position))
                step = advance(state, command, at=facts[0].at, cause=cause, locks=locks)
                if isinstance(step, Refused) or [*step.facts] != [*facts]:
                    raise Violation(f"section 9: entry {cause.position} decided again gives other facts")
                if [*step.lock_facts] != about_locks:
                    raise Violation(f"section 9: entry {cause.position} decided again gives other locks")
            for recorded in about_locks:
                # A plan begins several instances at once, whose facts are mixed: it decides nothing again.
                if recorded.position == (0 if locks is None else locks.position) + 1:
                    locks = evolve_locks(locks, recorded)

        return decide

    def _entry(self, position: int) -> InboxEntry:
        rows = self._database.connection.execute(
            "SELECT position, stream, kind, payload, source, received_at, state, error, parked_at "
            "FROM inbox WHERE position = ?",
            (position,),
        )
        return entry_from(next(rows), self._engine)

    def _known(self, first: Recorded) -> InstanceShadow:
        fact = first.fact
        if not isinstance(fact, InstanceStarted | InstancePrepared):
            raise Violation(f"the log of {first.originator_id} begins with {type(fact).__name__}")
        plan = self.plans[plan_stream(fact.plan)]
        topology, rules = plan.versions[fact.plan_version]
        return InstanceShadow(plan, topology, rules, first)

    def _raised(self, source: UUID, shadow: InstanceShadow, fact: GlobalEventRaised, number: int) -> None:
        """Section 7: every active instance of the group that contains the event has it in its inbox."""
        event_id = f"{source}/raised/{number}".encode()
        rows = self._database.connection.execute(
            "SELECT stream, payload FROM inbox ORDER BY position DESC LIMIT 200"
        )
        reached = {UUID(stream) for stream, payload in rows if event_id in payload}
        now_us = self._world.loop.now_us
        for stream, other in self.instances.items():
            state = other.state
            if state.ended or state.prepared or fact.job not in other.topology.by_identifier:
                continue
            alike = group_key(state.environment_group) == group_key(shadow.state.environment_group)
            if alike and stream not in reached and now_us - other.began_us > SLACK_MS * 1000:
                raise Violation(f"section 7: {fact.name}, raised by {source}, did not reach {stream}")

    def _compare_live(self, stream: UUID, shadow: InstanceShadow) -> None:
        """P5: what the actor believes is what the log says."""
        live = self._live_state(stream)
        if (
            live is not None
            and live.position == shadow.state.position
            and digest(live) != digest(shadow.state)
        ):
            raise Violation(f"P5: the live state of {stream} is not the replayed one at {live.position}")

    def _compare_live_plan(self, plan: PlanShadow) -> None:
        """P5, of plans; what a plan's actor read last may be older, and is never another."""
        dashboard = self._world.dashboard.program
        ref = None if dashboard is None else dashboard._plans.get(plan.name)
        actor = None if ref is None else ref._actor_weakref()
        live = None if actor is None else actor._state
        state = plan.state
        if live is not None and state is not None and live.position == state.position and live != state:
            raise Violation(f"P5: the live state of plan {plan.name} is not the replayed one")

    def _live_state(self, stream: UUID) -> InstanceState | None:
        dashboard = self._world.dashboard.program
        live = None if dashboard is None else dashboard._instances._live.get(stream)
        actor = None if live is None else live.ref._actor_weakref()
        return None if actor is None else actor._state

    # --- at rest --------------------------------------------------------------------------------------------

    def restless(self) -> tuple[bool, list[str]]:
        """Whether something is under way, and what has been for so long that it must be stuck."""
        now_us = self._world.loop.now_us
        pending = dict(self._pending())
        self._since = {each: self._since.get(each, now_us) for each in pending}
        stuck = [pending[each] for each, since in self._since.items() if now_us - since > PATIENCE_MS * 1000]
        return bool(pending), stuck

    def _pending(self) -> Iterator[tuple[object, str]]:
        """Each thing that is under way, by what tells it apart."""
        world = self._world
        for site in (world.dashboard, *world.agents.values()):
            if not site.up:
                yield site.name, f"{site.name} is not up"
        for (position,) in self._engine.read("SELECT position FROM inbox WHERE state = 0"):
            yield ("inbox", position), f"inbox entry {position} waits"
        for sequence, agent, kind in self._engine.read("SELECT sequence, agent, kind FROM outbox"):
            yield ("outbox", sequence), f"{agent} is not told to {kind} ({sequence})"
        for name, site in world.agents.items():
            yield from self._pending_at(name, site)
        now = world.dashboard.clock() - SLACK_MS
        for plan in self.plans.values():
            yield from plan.pending(now)
        yield from self._pending_of_sources()
        if world.letterbox is not None:
            for (number,) in self._engine.read("SELECT number FROM notifications WHERE state = 0"):
                yield ("notification", number), f"notification {number} is not sent"
        for stream, shadow in self.instances.items():
            state = shadow.state
            if state.prepared:
                continue
            if shadow.reset is not None and stream not in shadow.plan.account.resets:
                yield ("reset", stream), f"{stream} was reset, and nothing has begun instead"
            for initiation_id in shadow.outstanding:
                yield initiation_id, f"the end of initiation {initiation_id} is not known"
            if not state.ended and state.ends_at is not None and state.ends_at <= now:
                yield ("end", stream), f"the window of {stream} closed at {state.ends_at}, and it is active"

    def _pending_of_sources(self) -> Iterator[tuple[object, str]]:
        """What the files say is known to the instances that are active."""
        sources = self._world.sources
        if sources is None:
            return
        for plan in self.plans.values():
            said = sources.said(plan.name)
            for stream in plan.account.active:
                if said is not None and self.instances[stream].state.source_parameters != said:
                    yield ("source", stream), f"{stream} does not know what its plan's source says: {said}"

    def _pending_at(self, name: str, site: Any) -> Iterator[tuple[object, str]]:
        agent = site.program
        if agent is None or not site.up:
            return
        if not agent._instances_known:
            yield (name, "instances"), f"{name} does not know which instances are active"
        for waiting in agent._reports.waiting(0, 100):
            yield (name, "report", waiting.position), f"{name} has not told of {waiting.event.id}"
        for accepted in agent._intake.pending()[:100]:
            position = accepted.position
            yield (name, "order", position), f"{name} is not done with {accepted.initiation.id}"
        for initiation_id in site.commands.running:
            yield (name, "runs", initiation_id), f"{name} runs {initiation_id}"

    def at_rest(self) -> None:
        """Everything once more, and what can be told only in the end."""
        for plan in self.plans.values():
            self._compare_live_plan(plan)
        for stream, shadow in self.instances.items():
            self._compare_live(stream, shadow)
            live = self._live_state(stream)
            settled = self._world.loop.now_us - shadow.moved_at_us > SLACK_MS * 1000
            if live is not None and live.position != shadow.state.position and settled:
                raise Violation(f"P5: the actor of {stream} is at {live.position} of {shadow.state.position}")
            for context in shadow.topology.plan.root.walk():
                found = shadow.state.context_status(shadow.topology.context_index[context.name]).value
                if found != (expected := context_status(shadow.state, context)):
                    raise Violation(f"section 4: {context.name} is {found} and should be {expected}")
        self._inbox_accounted_for()
        self._answered_accounted_for()
        self._ran_once()
        self._agents_know_what_is_active()
        self._agents_have_the_jobs()
        self._lists_are_true()
        if self._world.letterbox is not None:
            Told(self._world, self.plans, self.instances, self._engine).check()
        if self._world.overheard is not None:
            self._secrets_are_kept(self._world.overheard)
        if all(operation.what != "clock jump" for operation in self._world.case.operations):
            Arrivals(self._world, self.instances, self._inbox_events()).check()

    def _inbox_accounted_for(self) -> None:
        """P9: each entry has its facts, or is parked."""
        caused: set[int] = set()
        for shadow in self.instances.values():
            caused.update(each.cause.position for each in shadow.facts if each.cause.position is not None)
        rows = self._engine.read("SELECT position, state, stream, kind FROM inbox")
        for position, state, stream, kind in rows:
            if state == EntryState.WAITING:
                continue
            if kind == ORDERED and state == EntryState.HANDLED:
                self._given_order_obeyed(position, self.instances[UUID(stream)])
            elif kind == RESET and state == EntryState.HANDLED:
                previous = fresh_start(self._entry(position)).previous
                if previous not in self.plans[UUID(stream)].account.resets:
                    raise Violation(f"P9: entry {position} asked for a reset and was handled without a fact")
            elif UUID(stream) not in self.instances:
                if state == EntryState.HANDLED:
                    raise Violation(f"P9: entry {position} for no instance was handled without a trace")
            elif position not in caused:
                raise Violation(f"P9: inbox entry {position} was handled without a fact")

    def _given_order_obeyed(self, position: int, shadow: InstanceShadow) -> None:
        """Facts that follow from an order of its plan name the author of the order, not the entry."""
        cause = given_order(self._entry(position)).cause
        named = (msgspec.structs.replace(each.cause, begins=None) for each in shadow.facts)
        if cause not in named:
            raise Violation(f"P9: the order of entry {position} was handled without a fact")

    def _answered_accounted_for(self) -> None:
        """P1: what was answered 2xx is in the inbox."""
        payloads = Counter(self._engine_payloads())
        for event in self._answered:
            if event.id is not None and not payloads[event.id]:
                raise Violation(f"P1: event {event.id} was answered with 2xx and is lost")

    def _engine_payloads(self) -> Iterator[str]:
        for entry in self._inbox_events():
            if entry.id is not None:
                yield entry.id

    def _inbox_events(self) -> Iterator[ProcessEvent]:
        decode = msgspec.msgpack.Decoder(ProcessEvent).decode
        for kind, payload in self._engine.read("SELECT kind, payload FROM inbox ORDER BY position"):
            if kind == "event":
                try:
                    yield decode(payload)
                except msgspec.DecodeError:
                    continue

    def _ran_once(self) -> None:
        """P3 and P4: each initiation ran once or says why not, and what it returned was told."""
        told: dict[str, ProcessEvent] = {}
        started: set[str] = set()
        for event in self._inbox_events():
            if event.initiation_id is None or event.id is None:
                continue
            if event.id == f"{event.initiation_id}/started":
                if event.initiation_id in told and event.initiation_id not in started:
                    raise Violation(f"the start of {event.initiation_id} was told behind its end")
                started.add(event.initiation_id)
            elif event.id == f"{event.initiation_id}/finished":
                before = told.setdefault(event.initiation_id, event)
                if before.return_code != event.return_code:
                    raise Violation(f"P4: {event.initiation_id} has ended twice, in two ways")
        for shadow in self.instances.values():
            for initiation_id, recorded in shadow.initiations.items():
                if initiation_id in shadow.outstanding:
                    continue
                self._one_ran_once(initiation_id, recorded, told.get(initiation_id))
                fact = recorded.fact
                assert isinstance(fact, JobInitiated)
                ran = self._world.agents[fact.agent].commands.starts[initiation_id]
                if ran and initiation_id not in started:
                    raise Violation(f"P4: {initiation_id} ran, and nobody was told that it started")

    def _one_ran_once(self, initiation_id: str, recorded: Recorded, end: ProcessEvent | None) -> None:
        fact = recorded.fact
        assert isinstance(fact, JobInitiated)
        commands = self._world.agents[fact.agent].commands
        starts = commands.starts[initiation_id]
        result = commands.results.get(initiation_id)
        if end is None:
            if starts:
                raise Violation(f"P4: {initiation_id} ran, and nobody was told how it ended")
            return
        if (
            end.return_code is not None
            and not end.dry_run
            and starts != 1
            and end.outcome.value == "EXECUTION_INVOKED"
        ):
            raise Violation(f"P3: {initiation_id} returned {end.return_code} and ran {starts} times")
        code = getattr(result, "return_code", None)
        if code is not None and end.return_code != code:
            raise Violation(f"P4: {initiation_id} returned {code}, and {end.return_code} was told")

    def _agents_know_what_is_active(self) -> None:
        """Each agent has the instances that concern it, and no others."""
        for name, site in self._world.agents.items():
            known = {each.instance_id for each in site.program._instances.all()}
            wanted = {
                str(stream)
                for stream, shadow in self.instances.items()
                if not (shadow.state.ended or shadow.state.prepared) and name in shadow.state.agents
            }
            if known != wanted:
                raise Violation(f"{name} is armed for {known - wanted} too many, {wanted - known} too few")

    def _agents_have_the_jobs(self) -> None:
        """Each agent has the jobs of the plans that name it; those of others it has dropped."""
        for name, site in self._world.agents.items():
            held = site.program._provision.plans()
            for plan in self.plans.values():
                if plan.name in held and plan.account.standing == "DELETED":
                    raise Violation(f"{name} has jobs of {plan.name}, which is deleted")
                if plan.account.version != plan.account.told_version:
                    continue
                named = name in plan.account.plan.agents()
                if named != (plan.name in held) and plan.account.standing != "DELETED":
                    raise Violation(f"{name} has jobs of {sorted(held)}, and {plan.name} names it: {named}")

    def _secrets_are_kept(self, overheard: Overheard) -> None:
        """Nobody can read a secret on any disk, and each command was given those that are meant for it."""
        for (table,) in self._engine.read("SELECT name FROM sqlite_master WHERE type = 'table'"):
            for row in self._engine.read(f"SELECT * FROM {table}"):
                for cell in row:
                    if isinstance(cell, str | bytes):
                        overheard.look(f"the table {table}", cell)
        for name, site in self._world.agents.items():
            for path in site.disk.paths():
                overheard.look(f"{path} of {name}", site.disk.content(path))
        if self._world.loop.failure is not None:
            raise self._world.loop.failure
        for shadow in self.instances.values():
            for initiation_id, recorded in shadow.initiations.items():
                fact = recorded.fact
                assert isinstance(fact, JobInitiated)
                given = self._world.agents[fact.agent].commands.environments.get(initiation_id)
                if given is not None and not opened(fact.parameters).items() <= given.items():
                    raise Violation(f"the command of {initiation_id} did not get what it was to get: {given}")

    def _lists_are_true(self) -> None:
        """The list of instances says what the logs say."""
        for key, status, position in self._engine.read("SELECT instance_id, status, position FROM instances"):
            shadow = self.instances[UUID(key)]
            if (status, position) != (shadow.state.status, shadow.state.position):
                raise Violation(
                    f"the list says {status} at {position} of {UUID(key)}, the log {shadow.state.status}"
                )


def _may_have_ticket(job: JobState) -> bool:
    """Whether it waits for its lock or runs, be it that somebody else has started it meanwhile."""
    return job.status in {JobStatus.LOCK_QUEUED, JobStatus.RUNNING} or job.under_way


__all__ = ["Checks", "Violation"]
