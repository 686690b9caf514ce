"""What a plan makes of its clock and of the orders of people: facts of its own, and of its instances.

Pure, like the decisions of an instance. All that one decision leads to, in the log of the plan, in those of
its instances and in that of their locks, is meant to be stored together or not at all.
"""

from collections.abc import Callable
from datetime import date
from uuid import UUID

import msgspec

from .commands import BeginInstance, Command, EndInstance, MoveStart, Refused, TakeSourceParameters
from .decide import Step, advance, start
from .facts import (
    Cause,
    EndReason,
    InstanceDue,
    InstancePrepared,
    InstanceReset,
    InstanceStarted,
    NextDropped,
    NextPrepared,
    NotificationsSet,
    PlanDeleted,
    PlanDeletionBegun,
    PlanDisabled,
    PlanEnabled,
    PlanFact,
    PlanPushed,
    Recorded,
    ResetDropped,
    ResetOrdered,
    StartSkipped,
)
from .instance import InstanceState
from .instants import Instant
from .lock_group import Claim, LockGroup
from .messages import DryRun
from .plan import JobPlan
from .plan_log import (
    PlanStanding,
    PlanState,
    Prepared,
    evolve_plan,
    instance_started,
    push,
    read_source,
    record,
    synchronisation,
    with_notifications,
)
from .starts import Surrounding, next_start_fact, next_to_prepare
from .succession import all_dropped, carried_over
from .topology import Topology

MOST_AT_ONCE = 100
"""Facts about starts that one decision takes; what is due beyond them is for the next."""


class PlanWorld(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision about a plan has to know beside the plan's log."""

    at: Instant
    default_zone: str
    active: tuple[UUID, ...]
    """The active instances of the plan, oldest first."""
    closing: bool = False
    """The window of one of them is over: it is about to be ended."""
    topology: Callable[[int], Topology]
    """The compiled form of a version that is in the log."""
    instance: Callable[[UUID], InstanceState]
    """An instance of the plan as it is now."""
    locks: LockGroup | None = None
    """Of the environment group of the newest version, if the plan uses locks."""


class ByHand(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody wants an instance to be started."""

    instance_id: UUID
    parameters: dict[str, str] = {}
    business_date: date | None = None
    """The day that it is for, if not the day of its start."""
    until_ended: bool = False
    commands_held: bool = False
    dry_run: DryRun | None = None


class PlanDecision:
    """What one order, or one look at the clock, leads to; the state that it began with stays as it is."""

    def __init__(self, state: PlanState | None, stream: UUID, world: PlanWorld) -> None:
        self.before = state
        self.state = state
        self.facts: list[Recorded] = []
        self.steps: dict[UUID, Step] = {}
        """What follows for each instance: all its facts, and its state after them."""
        self.locks = world.locks
        self.lock_facts: list[Recorded] = []
        self.granted: list[Claim] = []
        self.to_end: tuple[UUID, ...] = ()
        """Active instances that are to be ended because the plan is deleted."""
        self.compiled: dict[int, Topology] = {}
        """The versions that this decision made, as far as it had to compile them."""
        self._stream = stream
        self._world = world
        self._active = list(world.active)

    # --- pushes ---------------------------------------------------------------------------------------------

    def push(self, plan: JobPlan, documents: dict[str, bytes], cause: Cause) -> Refused | None:
        """Make it the newest version, unless it changes nothing. The plan has been validated before."""
        if self.state is not None and self.state.standing is PlanStanding.DELETING:
            return self._deleting()
        fact = push(self.state, plan, documents)
        if fact is not None:
            self._record(fact, cause)
            self._prepare(cause)
        return None

    def topology(self, version: int) -> Topology:
        """The compiled form of a version, also of one that this decision made."""
        for recorded in self.facts:
            if isinstance(recorded.fact, PlanPushed) and recorded.fact.version == version:
                if version not in self.compiled:
                    self.compiled[version] = Topology(recorded.fact.plan)
                return self.compiled[version]
        return self._world.topology(version)

    # --- the clock ------------------------------------------------------------------------------------------

    def account(self, cause: Cause) -> None:
        """Say of every start that is due what becomes of it, and have the next instance ready.

        Takes a hundred starts at most: whoever has this stored asks again, until nothing is due.
        """
        state = self._known()
        if state.standing is PlanStanding.DELETING and not self._active:
            self._record(PlanDeleted(plan=state.plan.name, agents=state.holders), cause)
        for _ in range(MOST_AT_ONCE):
            fact = next_start_fact(self._known(), self._surrounding())
            if fact is None:
                break
            if isinstance(fact, InstanceDue):
                self._start(fact, cause)
                continue
            self._record(fact, cause)
            if isinstance(fact, StartSkipped):
                # What was set on the prepared instance is for the next start that happens.
                self._prepare(cause)
        self._prepare(cause)

    def _surrounding(self) -> Surrounding:
        prepared = self._known().prepared
        ended = False
        if prepared is not None and prepared.due_at <= self._world.at:
            ended = self._instance(prepared.instance_id).ended
        return Surrounding(
            now=self._world.at,
            default_zone=self._world.default_zone,
            active=bool(self._active),
            closing=self._world.closing,
            prepared_ended=ended,
        )

    # --- orders of people -----------------------------------------------------------------------------------

    def start_by_hand(self, order: ByHand, cause: Cause) -> Refused | None:
        """Start an instance now, beside the prepared one; or say why not."""
        if (refused := self._refusal_to_start()) is not None:
            return refused
        state = self._known()
        fact = InstanceDue(instance_id=order.instance_id, version=state.version)
        self._record_start(fact, cause)
        day = None if order.business_date is None else order.business_date.isoformat()
        began = self._beginning(due_at=None, began=self._world.at, business_date=day)
        started = msgspec.structs.replace(
            began,
            ends_at=None if order.until_ended else began.ends_at,
            parameters=order.parameters,
            until_ended=order.until_ended,
            commands_held=order.commands_held,
            dry_run=order.dry_run,
        )
        self._begin(order.instance_id, started, cause)
        return None

    def _refusal_to_start(self) -> Refused | None:
        state = self._known()
        name = state.plan.name
        if state.gone:
            return self._deleting()
        if state.disabled:
            reason = f"plan {name} is disabled: enable it first"
            return Refused(reason=reason, status=state.standing, permitted_in=(PlanStanding.ENABLED,))
        if self._active and not state.plan.concurrent:
            reason = (
                f"plan {name} runs one instance at a time, and {self._active[0]} is active: end it first, "
                "or reset it"
            )
            return Refused(reason=reason, status="ACTIVE")
        return None

    def refusal_to_reset(self) -> Refused | None:
        """Why no instance of the plan can be ended for a fresh one now; ``None`` when it can."""
        state = self._known()
        if state.gone:
            return self._deleting()
        if state.disabled:
            reason = f"plan {state.plan.name} is disabled, and no fresh instance would start: enable it first"
            return Refused(reason=reason, status=state.standing, permitted_in=(PlanStanding.ENABLED,))
        return None

    def begin_instead(self, previous: UUID, order: ResetOrdered, cause: Cause) -> None:
        """Begin the fresh instance that one was ended for."""
        state = self._known()
        self._active = [each for each in self._active if each != previous]
        if state.gone:
            self._record(ResetDropped(previous=previous), cause)
            return
        fact = InstanceReset(instance_id=order.successor, previous=previous, version=state.version)
        self._record_start(fact, cause)
        started = msgspec.structs.replace(
            self._beginning(due_at=order.due_at, began=self._world.at, business_date=order.business_date),
            parameters=order.parameters,
            context_parameters=order.context_parameters,
            commands_held=order.commands_held,
            dry_run=order.dry_run,
            instead_of=previous,
        )
        self._begin(order.successor, started, cause)

    def enable(self, cause: Cause) -> Refused | None:
        """Let instances start again; what is so already is no fact."""
        if self._known().gone:
            return self._deleting()
        if self._known().disabled:
            self._record(PlanEnabled(), cause)
            self._prepare(cause)
        return None

    def disable(self, cause: Cause) -> Refused | None:
        """Let no instance start any more; what is so already is no fact."""
        if self._known().gone:
            return self._deleting()
        if not self._known().disabled:
            self._record(PlanDisabled(), cause)
        return None

    def read_source(self, parameters: dict[str, str], cause: Cause) -> None:
        """Take in what the plan's parameter source says; the same as before is no fact."""
        fact = read_source(self._known(), parameters)
        if fact is not None:
            self._record(fact, cause)

    def set_notifications(self, fact: NotificationsSet, cause: Cause) -> None:
        """Change who is told of what; what is so already is no fact."""
        state = self._known()
        before = state.plan, state.documents
        if with_notifications(state.plan, state.documents, fact) != before:
            self._record(fact, cause)

    def delete(self, cause: Cause) -> None:
        """Begin to delete the plan, and be done with it if nothing is active; again: nothing."""
        state = self._known()
        if state.gone:
            return
        if state.deferred is not None:
            due_at = state.deferred
            self._record(StartSkipped(due_at=due_at, through=due_at, reason="plan deleted"), cause)
        self._record(PlanDeletionBegun(), cause)
        if state.prepared is not None:
            self._drop_prepared(state.prepared, "plan deleted", cause)
        self.to_end = tuple(self._active)
        if not self._active:
            self._record(PlanDeleted(plan=state.plan.name, agents=state.holders), cause)

    def _deleting(self) -> Refused:
        state = self._known()
        told = "is being deleted: push it again once that is done"
        if state.standing is PlanStanding.DELETED:
            told = "was deleted: push it again"
        return Refused(reason=f"plan {state.plan.name} {told}", status=state.standing)

    # --- beginnings -----------------------------------------------------------------------------------------

    def _start(self, fact: InstanceDue, cause: Cause) -> None:
        """A due start happens: the prepared instance begins, or one that nobody had prepared."""
        prepared = self._known().prepared
        self._record_start(fact, cause)
        if prepared is not None and prepared.instance_id == fact.instance_id:
            said = self._known().source_parameters
            if self._instance(fact.instance_id).source_parameters != said:
                self._obeyed(fact.instance_id, TakeSourceParameters(parameters=said), cause)
            self._obeyed(fact.instance_id, BeginInstance(), _as(cause, "StartInstance"))
            self._began(fact.instance_id)
            return
        began = self._world.at if fact.due_at is None else fact.due_at
        self._begin(fact.instance_id, self._beginning(due_at=fact.due_at, began=began), cause)

    def _record_start(self, fact: InstanceDue | InstanceReset, cause: Cause) -> None:
        """Agents have the jobs of the version before anything of an instance of it."""
        state = self._known()
        if not state.synchronised:
            self._record(synchronisation(state), cause)
        self._record(fact, cause)

    def _beginning(
        self, *, due_at: Instant | None, began: Instant, business_date: str | None = None
    ) -> InstanceStarted:
        zone = self._world.default_zone
        return instance_started(
            self._known(), due_at=due_at, began=began, default_zone=zone, business_date=business_date
        )

    def _begin(self, instance_id: UUID, started: InstanceStarted, cause: Cause) -> None:
        step = start(
            self.topology(started.plan_version),
            instance_id=instance_id,
            fact=started,
            at=self._world.at,
            cause=_as(cause, "StartInstance"),
            locks=self.locks,
        )
        self._take(instance_id, step)
        self._began(instance_id)

    def _began(self, instance_id: UUID) -> None:
        if not self.steps[instance_id].state.ended:
            self._active.append(instance_id)

    # --- the prepared instance ------------------------------------------------------------------------------

    def _prepare(self, cause: Cause) -> None:
        """Have the instance of the next start exist ahead of it, with what operators have set on it."""
        state = self._known()
        prepared = state.prepared
        if state.disabled or state.gone:
            # While the plan is disabled what was set on it is kept for the day on which it is enabled.
            return
        due_at = next_to_prepare(state, self._world.default_zone)
        if due_at is None:
            if prepared is not None:
                self._drop_prepared(prepared, "no start", cause)
        elif prepared is None:
            self._prepare_fresh(due_at, cause)
        elif (prepared.due_at, prepared.version) != (due_at, state.version):
            self._prepare_anew(prepared, due_at, cause)

    def _prepare_anew(self, prepared: Prepared, due_at: Instant, cause: Cause) -> None:
        """Another start, or another version, came before the start of the prepared instance."""
        if self._instance(prepared.instance_id).ended:
            # Somebody called this one start off: that holds for any version, and for no other start.
            if prepared.due_at != due_at:
                self._prepare_fresh(due_at, cause)
        elif prepared.version != self._known().version:
            self._replace_prepared(prepared, due_at, cause)
        else:
            moved = NextPrepared(instance_id=prepared.instance_id, version=prepared.version, due_at=due_at)
            self._record(moved, cause)
            self._obeyed(prepared.instance_id, MoveStart(due_at=due_at), cause)

    def _prepare_fresh(self, due_at: Instant, cause: Cause) -> None:
        state = self._known()
        instance_id = state.next_id("prepared")
        self._take(instance_id, self._prepared(instance_id, due_at, cause))
        self._record(NextPrepared(instance_id=instance_id, version=state.version, due_at=due_at), cause)

    def _replace_prepared(self, prepared: Prepared, due_at: Instant, cause: Cause) -> None:
        state = self._known()
        instance_id = state.next_id("prepared")
        fresh = self._prepared(instance_id, due_at, cause)
        old = self._instance(prepared.instance_id)
        step, dropped = carried_over(old, fresh, at=self._world.at, cause=cause)
        self._obeyed(prepared.instance_id, EndInstance(reason="replaced"), cause)
        self._take(instance_id, step)
        self._record(
            NextPrepared(
                instance_id=instance_id,
                version=state.version,
                due_at=due_at,
                replaces=prepared.instance_id,
                dropped=dropped,
            ),
            cause,
        )

    def _drop_prepared(self, prepared: Prepared, reason: EndReason, cause: Cause) -> None:
        old = self._instance(prepared.instance_id)
        dropped = () if old.ended else all_dropped(old, reason)
        if not old.ended:
            self._obeyed(prepared.instance_id, EndInstance(reason=reason), cause)
        self._record(NextDropped(instance_id=prepared.instance_id, dropped=dropped), cause)

    def _prepared(self, instance_id: UUID, due_at: Instant, cause: Cause) -> Step:
        state = self._known()
        began = self._beginning(due_at=due_at, began=due_at)
        fact = InstancePrepared(
            plan=began.plan,
            plan_version=began.plan_version,
            due_at=due_at,
            ends_at=began.ends_at,
            agents=began.agents,
            environment_group=began.environment_group,
            schedules_disabled=began.schedules_disabled,
            source_parameters=began.source_parameters,
            zone=began.zone,
            business_date=began.business_date,
        )
        topology = self.topology(state.version)
        return start(
            topology,
            instance_id=instance_id,
            fact=fact,
            at=self._world.at,
            cause=_as(cause, "PrepareInstance"),
        )

    # --- facts ----------------------------------------------------------------------------------------------

    def _known(self) -> PlanState:
        if self.state is None:
            raise ValueError("a plan that was never pushed decides nothing")
        return self.state

    def _record(self, fact: PlanFact, cause: Cause) -> None:
        recorded = record(self.state, self._stream, fact, at=self._world.at, cause=cause)
        self.state = evolve_plan(self.state, recorded)
        self.facts.append(recorded)

    def _instance(self, instance_id: UUID) -> InstanceState:
        step = self.steps.get(instance_id)
        return self._world.instance(instance_id) if step is None else step.state

    def _obeyed(self, instance_id: UUID, command: Command, cause: Cause) -> None:
        """An order that the instance is in no place to refuse: it was looked at before."""
        state = self._instance(instance_id)
        answer = advance(state, command, at=self._world.at, cause=cause, locks=self.locks)
        if isinstance(answer, Refused):
            raise TypeError(f"instance {instance_id} refused {type(command).__name__}: {answer.reason}")
        self._take(instance_id, answer)

    def _take(self, instance_id: UUID, step: Step) -> None:
        before = self.steps.get(instance_id)
        facts = step.facts if before is None else (*before.facts, *step.facts)
        self.steps[instance_id] = Step(facts, step.state)
        if step.locks is not None:
            self.locks = step.locks
        self.lock_facts += step.lock_facts
        self.granted += step.granted


def _as(cause: Cause, command: str) -> Cause:
    """The same author and reason, of what follows for an instance."""
    return msgspec.structs.replace(cause, command=command)
