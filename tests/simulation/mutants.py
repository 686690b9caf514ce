"""Faults put into the product on purpose: a simulation that does not find them has no teeth.

Each is one that somebody could make: a line left out, an order of two writes turned round, a rule forgotten.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock
from uuid import uuid5

import msgspec
from immutables import Map
from jobledger.actors.agent import (
    instance_store,
    outbound,
    preparation,
    provision_store,
    recovery,
    schedules,
    seal,
    triggers,
)
from jobledger.actors.agent.intake import Intake
from jobledger.actors.agent.job_queue import JobQueueActor
from jobledger.actors.agent.job_queues import JobQueues
from jobledger.actors.dashboard import (
    active_instances,
    covering,
    dashboard,
    gateway,
    instance_actor,
    plan_actor,
    plan_states,
)
from jobledger.actors.notifications import courier, follower
from jobledger.domain import (
    decide,
    decision,
    hearing,
    instance,
    lock_group,
    plan_decision,
    starts,
    topology,
)
from jobledger.domain.facts import InstancePrepared, InstanceStarted, ResetOrdered, StartSkipped
from jobledger.domain.plan_log import PlanStanding
from jobledger.storage import group_commit
from jobledger.storage.ledger import Ledger
from jobledger.storage.notifications import Notifications, NotificationState, Outcome
from jobledger.storage.records import Change
from jobledger.storage.segment_errors import SegmentLogError
from virtual_secrets import opened

Mutant = Callable[[], Iterator[None]]
MUTANTS: dict[str, Any] = {}
"""By what was done to the product."""


def _mutant(what: str) -> Callable[[Any], Any]:
    def register(make: Any) -> Any:
        MUTANTS[what] = contextmanager(make)
        return make

    return register


def _replaced(target: Any, name: str, make: Callable[[Any], Any]) -> Any:
    """Within, the attribute is what ``make`` makes of the original."""
    return mock.patch.object(target, name, make(getattr(target, name)))


def _changed(change: Callable[[Change], Change]) -> Any:
    """Within, what is saved is changed on its way."""

    def make(save: Any) -> Any:
        return lambda ledger, saved: save(ledger, change(saved))

    return _replaced(Ledger, "save", make)


# --- the core -----------------------------------------------------------------------------------------------


@_mutant("events are not remembered, so that they count again")
def _forgets_events() -> Iterator[None]:
    def make(evolve: Any) -> Any:
        return lambda state, recorded: msgspec.structs.replace(evolve(state, recorded), seen=Map())

    with _replaced(decision, "evolve", make):
        yield


@_mutant("a late start undoes an end")
def _takes_late_starts() -> Iterator[None]:
    with mock.patch.object(hearing, "_is_late", return_value=False):
        yield


@_mutant("only the first dependency of a job is looked at")
def _fires_one_dependency() -> Iterator[None]:
    def make(init: Any) -> Any:
        def build(self: Any, plan: Any) -> None:
            init(self, plan)
            for unit in self.units:
                unit.mentioned_by = unit.mentioned_by[:1]

        return build

    with _replaced(topology.Topology, "__init__", make):
        yield


@_mutant("a dependency wants one member more than it names")
def _counts_wrongly() -> Iterator[None]:
    def holds(circuit: Any, gate: int, count: int) -> bool:
        wanted = circuit.threshold[gate]
        return bool((count > wanted if wanted > 1 else count >= wanted) != circuit.negated[gate])

    with mock.patch.object(topology.Circuit, "holds", holds):
        yield


@_mutant("what a held job was ready for is not kept")
def _keeps_no_initiation() -> Iterator[None]:
    def make(record: Any) -> Any:
        def but_kept(self: Any, fact: Any) -> None:
            if type(fact).__name__ != "InitiationKept":
                record(self, fact)

        return but_kept

    with _replaced(decision.Decision, "record", make):
        yield


@_mutant("a job that ran is initiated again by its next dependency")
def _initiates_twice() -> Iterator[None]:
    with mock.patch.object(decision.Decision, "_again", staticmethod(lambda *_a, **_k: True)):
        yield


@_mutant("locks are granted beyond their count")
def _grants_beyond_count() -> Iterator[None]:
    with mock.patch.object(lock_group.LockState, "has_room_for", return_value=True):
        yield


@_mutant("an exclusive lock shuts out nobody")
def _excludes_nobody() -> Iterator[None]:
    with mock.patch.object(lock_group.LockState, "held_exclusively", property(lambda _lock: False)):
        yield


@_mutant("a job that ends keeps its lock")
def _keeps_locks() -> Iterator[None]:
    with mock.patch.object(decision.Decision, "_note_what_is_let_go", return_value=None):
        yield


@_mutant("a snapshot forgets that failures were acknowledged")
def _forgets_in_snapshots() -> Iterator[None]:
    def make(freeze: Any) -> Any:
        def without(state: Any) -> bytes:
            jobs = {
                unit: msgspec.structs.replace(job, acknowledged=False) for unit, job in state.jobs.items()
            }
            return freeze(msgspec.structs.replace(state, jobs=Map(jobs)))  # type: ignore[no-any-return]

        return without

    from jobledger.actors.dashboard import instance_log  # noqa: PLC0415  where it is used

    with _replaced(instance_log, "freeze", make):
        yield


# --- the dashboard ------------------------------------------------------------------------------------------


@_mutant("inbox entries are not marked as handled")
def _marks_nothing() -> Iterator[None]:
    with _changed(lambda change: msgspec.structs.replace(change, consumed=())):
        yield


@_mutant("facts and the inbox mark are two transactions")
def _marks_separately() -> Iterator[None]:
    def make(save: Any) -> Any:
        def in_two(ledger: Ledger, change: Change) -> None:
            save(ledger, msgspec.structs.replace(change, consumed=(), parked=()))
            if change.consumed or change.parked:
                save(ledger, Change(consumed=change.consumed, parked=change.parked))

        return in_two

    with _replaced(Ledger, "save", make):
        yield


@_mutant("orders to agents are not stored with the facts")
def _loses_orders() -> Iterator[None]:
    with _changed(lambda change: msgspec.structs.replace(change, outgoing=change.outgoing[1:])):
        yield


@_mutant("an order counts as delivered before the agent has it")
def _confirms_early() -> Iterator[None]:
    def make(deliver: Any) -> Any:
        def early(self: Any, transport: Any, kind: str, items: Any) -> None:
            self._delivered_through(items)
            deliver(self, transport, kind, items)

        return early

    with _replaced(gateway.AgentGatewayActor, "_deliver", make):
        yield


@_mutant("entries whose commit was in doubt are never announced")
def _forgets_doubts() -> Iterator[None]:
    def make(after: Any) -> Any:
        def undoubting(self: Any, group: Any, error: Exception) -> None:
            after(self, group, error)
            self._in_doubt = False

        return undoubting

    with _replaced(group_commit.GroupCommit, "_after_failure", make):
        yield


@_mutant("windows are not closed after a restart")
def _forgets_windows() -> Iterator[None]:
    def make(start: Any) -> Any:
        def forgetting(self: Any) -> None:
            with mock.patch.object(dashboard.Dashboard, "_set_end", return_value=None):
                start(self)

        return forgetting

    with _replaced(dashboard.Dashboard, "start", make):
        yield


@_mutant("an instance that ended stays in the index of the active ones")
def _forgets_ends() -> Iterator[None]:
    with mock.patch.object(active_instances.ActiveInstances, "discard", return_value=None):
        yield


@_mutant("a global event reaches the raising instance alone")
def _raises_for_one() -> Iterator[None]:
    def make(raised: Any) -> Any:
        return lambda source, *rest, **more: [
            each for each in raised(source, *rest, **more) if each.stream == source
        ]

    with _replaced(instance_actor, "raised_events", make):
        yield


@_mutant("starts that do not happen leave no fact")
def _skips_in_silence() -> Iterator[None]:
    def make(next_fact: Any) -> Any:
        def silent(state: Any, around: Any) -> Any:
            while isinstance(fact := next_fact(state, around), StartSkipped):
                state = msgspec.structs.replace(
                    state, accounted_through=max(state.accounted_through, fact.through), deferred=None
                )
            return fact

        return silent

    with _replaced(plan_decision, "next_start_fact", make):
        yield


@_mutant("one instance at a time is not enforced")
def _starts_beside() -> Iterator[None]:
    with mock.patch.object(active_instances.ActiveInstances, "of_plan", return_value=[]):
        yield


@_mutant("one event that does not read stops its instance")
def _parks_nothing() -> Iterator[None]:
    def make(process: Any) -> Any:
        def unparked(self: Any, work: Any, entry: Any) -> None:
            process(self, work, entry)
            work.parked.clear()

        return unparked

    with _replaced(instance_actor.PlanInstanceActor, "_process", make):
        yield


# --- the life of plans and instances ------------------------------------------------------------------------


def _decided_as(standing: PlanStanding) -> Any:
    """Within, starts of such a plan are decided as if it were enabled."""

    def make(next_fact: Any) -> Any:
        def decide(state: Any, *around: Any) -> Any:
            if state.standing is standing:
                state = msgspec.structs.replace(state, standing=PlanStanding.ENABLED)
            return next_fact(state, *around)

        return decide

    stack = ExitStack()
    stack.enter_context(_replaced(plan_decision, "next_start_fact", make))
    stack.enter_context(_replaced(plan_actor, "next_look", make))
    return stack


@_mutant("a plan that is deleted starts instances")
def _starts_deleted_plans() -> Iterator[None]:
    with _decided_as(PlanStanding.DELETED):
        yield


@_mutant("a plan that is disabled starts instances")
def _starts_disabled_plans() -> Iterator[None]:
    with _decided_as(PlanStanding.DISABLED):
        yield


@_mutant("a deletion does not end what is active")
def _deletes_around() -> Iterator[None]:
    with mock.patch.object(plan_actor, "end_all", return_value=[]):
        yield


@_mutant("agents keep the jobs of a plan that is deleted")
def _keeps_jobs() -> Iterator[None]:
    def make(told: Any) -> Any:
        return lambda facts: tuple(each for each in told(facts) if each[3] != "withdraw")

    with _replaced(plan_actor, "deliveries", make):
        yield


@_mutant("a reset begins two instances")
def _begins_twice() -> Iterator[None]:
    def make(fresh_starts: Any) -> Any:
        def twice(plan: str, facts: Any) -> Any:
            another = [
                msgspec.structs.replace(
                    each,
                    fact=msgspec.structs.replace(each.fact, successor=uuid5(each.originator_id, "again")),
                )
                for each in facts
                if isinstance(each.fact, ResetOrdered)
            ]
            return [*fresh_starts(plan, facts), *fresh_starts(plan, another)]

        return twice

    with _replaced(instance_actor, "fresh_starts", make):
        yield


@_mutant("an instance that is reset ends, and nothing begins instead")
def _begins_nothing() -> Iterator[None]:
    with mock.patch.object(instance_actor, "fresh_starts", return_value=[]):
        yield


@_mutant("a start that waits is forgotten when the instance before it ends")
def _forgets_who_waits() -> Iterator[None]:
    def forget(self: Any, instance_id: Any, _plan: str) -> None:
        self._forget_instance(instance_id)

    with mock.patch.object(dashboard.Dashboard, "_instance_ended", forget):
        yield


@_mutant("what was set on a prepared instance is lost when another version comes")
def _carries_nothing_over() -> Iterator[None]:
    with mock.patch.object(plan_decision, "carried_over", lambda _old, fresh, **_rest: (fresh, ())):
        yield


@_mutant("a prepared instance begins as if nothing had been set on it")
def _begins_untouched() -> Iterator[None]:
    def make(with_life: Any) -> Any:
        def untouched(state: Any, fact: Any, at: int) -> Any:
            state = with_life(state, fact, at)
            if isinstance(fact, InstanceStarted):
                return msgspec.structs.replace(state, parameters={}, context_parameters=Map())
            return state

        return untouched

    with _replaced(instance, "_with_life", make):
        yield


@_mutant("a prepared instance takes events")
def _hears_early() -> Iterator[None]:
    def make(hear: Any) -> Any:
        def early(decision: Any, event: Any) -> None:
            decision.state = msgspec.structs.replace(decision.state, prepared=False)
            hear(decision, event)

        return early

    with _replaced(decide, "hear", make):
        yield


@_mutant("agents are told of an instance when it is prepared")
def _publishes_early() -> Iterator[None]:
    def make(told: Any) -> Any:
        def early(facts: Any) -> Any:
            ahead = tuple(
                (agent, each.originator_id, each.position, "publish")
                for each in facts
                if isinstance(each.fact, InstancePrepared)
                for agent in each.fact.agents
            )
            return (*told(facts), *ahead)

        return early

    with _replaced(plan_actor, "deliveries", make):
        yield


@_mutant("a start that was called off happens all the same")
def _starts_what_is_called_off() -> Iterator[None]:
    with mock.patch.object(starts, "_is_cancelled", return_value=False):
        yield


@_mutant("a late start falls into a blackout")
def _starts_in_the_dark() -> Iterator[None]:
    with mock.patch.object(starts, "ON_TIME_MS", 10**12):
        yield


@_mutant("a snapshot of a plan forgets what is prepared")
def _forgets_what_is_prepared() -> Iterator[None]:
    def make(freeze: Any) -> Any:
        return lambda state: freeze(msgspec.structs.replace(state, prepared=None))

    with _replaced(plan_states, "freeze_plan", make):
        yield


@_mutant("instances do not hear what their plan's parameter source says")
def _tells_no_news() -> Iterator[None]:
    with mock.patch.object(plan_actor, "source_news", return_value=[]):
        yield


# --- notifications ------------------------------------------------------------------------------------------


@_mutant("what is to be told is not kept with the position in the log")
def _keeps_position_first() -> Iterator[None]:
    def make(add: Any) -> Any:
        def in_two(self: Any, found: Any, through: int, at: int) -> None:
            add(self, [], through, at)
            add(self, found, through, at)

        return in_two

    with _replaced(Notifications, "add", make):
        yield


@_mutant("a notification counts as sent before it is")
def _settles_before_sending() -> Iterator[None]:
    def make(send: Any) -> Any:
        def early(self: Any, row: Any) -> None:
            sent = Outcome(state=NotificationState.SENT, at=self._clock())
            self._notifications.settle(row, sent)
            send(self, row)

        return early

    with _replaced(courier.CourierActor, "_send", make):
        yield


@_mutant("whoever got a mail gets it again when others did not")
def _forgets_who_has_it() -> Iterator[None]:
    def make(later: Any) -> Any:
        return lambda self, row, why, _delivered: later(self, row, why, ())

    with _replaced(courier.CourierActor, "_later", make):
        yield


@_mutant("a mail that some did not get counts as sent")
def _passes_over_the_unwilling() -> Iterator[None]:
    def make(outcome: Any) -> Any:
        def sent(self: Any, row: Any, receipt: Any) -> Any:
            return msgspec.structs.replace(outcome(self, row, receipt), state=NotificationState.SENT)

        return sent

    with _replaced(courier.CourierActor, "_outcome", make):
        yield


@_mutant("whom a plan tells is what it said first")
def _heeds_no_change() -> Iterator[None]:
    def make(heed: Any) -> Any:
        def first_only(self: Any, stored: Any) -> None:
            if stored.position == 1:
                heed(self, stored)

        return first_only

    with _replaced(follower.FollowerActor, "_heed_settings", make):
        yield


@_mutant("what becomes due by time alone waits until something happens")
def _hears_no_alarms() -> Iterator[None]:
    with mock.patch.object(follower.FollowerActor, "_ring", return_value=None):
        yield


# --- secrets ------------------------------------------------------------------------------------------------


@_mutant("secrets are opened where jobs are initiated")
def _opens_early() -> Iterator[None]:
    def make(parameters_for: Any) -> Any:
        def plain(*given: Any) -> Any:
            carried = parameters_for(*given)
            return msgspec.structs.replace(carried, values=opened(carried.values))

        return plain

    with _replaced(decision, "parameters_for", make):
        yield


@_mutant("an agent keeps secrets as they came")
def _seals_nothing() -> Iterator[None]:
    def sealed(_seal: Any, initiation: Any) -> Any:
        return msgspec.structs.replace(initiation, secrets=())

    with mock.patch.object(seal.Seal, "sealed", sealed):
        yield


@_mutant("a command is given secrets that nobody has opened")
def _opens_nothing() -> Iterator[None]:
    with mock.patch.object(seal.Seal, "opened", lambda _seal, initiation: initiation.parameters):
        yield


@_mutant("an agent reports what a command was given")
def _reports_what_was_given() -> Iterator[None]:
    def make(details: Any) -> Any:
        def all_of_it(self: Any, order: Any) -> str:
            return f"{details(self, order)} {dict(self._seal.opened(order.initiation))}"

        return all_of_it

    with _replaced(preparation.Preparation, "_details", make):
        yield


@_mutant("what agents of another make report is kept as it came")
def _covers_nothing() -> Iterator[None]:
    with mock.patch.object(covering.Covering, "of", lambda _self, events: list(events)):
        yield


@_mutant("why an agent refuses is kept as it says it")
def _keeps_refusals() -> Iterator[None]:
    with mock.patch.object(gateway, "_without_secrets", lambda text, _initiations: text):
        yield


@_mutant("why an agent is not reached is logged with what it was sent")
def _logs_what_was_sent() -> Iterator[None]:
    def send(_self: Any, transport: Any, initiations: Any) -> Any:
        return transport.initiate(initiations)

    with mock.patch.object(gateway.AgentGatewayActor, "_send", send):
        yield


# --- agents -------------------------------------------------------------------------------------------------


@_mutant("an initiation that comes again is taken again")
def _takes_again() -> Iterator[None]:
    with mock.patch.object(Intake, "_find_position", return_value=None):
        yield


@_mutant("an agent that restarts deletes the markers of what it has yet to do")
def _deletes_markers() -> Iterator[None]:
    def make(forget: Any) -> Any:
        return lambda launcher, _pending: forget(launcher, set())

    with _replaced(recovery, "_forget_orphans", make):
        yield


@_mutant("a report counts as delivered before the dashboard has it")
def _settles_early() -> Iterator[None]:
    def make(deliver: Any) -> Any:
        def early(self: Any, waiting: Any) -> None:
            self._reports.delivered([each.position for each in waiting])
            deliver(self, waiting)

        return early

    with _replaced(outbound.OutboundActor, "_deliver", make):
        yield


@_mutant("fires that the disk did not take are forgotten")
def _forgets_fires() -> Iterator[None]:
    def make(write: Any) -> Any:
        def forgetful(self: Any, now: int) -> None:
            try:
                write(self, now)
            except (SegmentLogError, OSError):
                self._unwritten = []
                raise

        return forgetful

    with _replaced(schedules.SchedulesActor, "_write", make):
        yield


@_mutant("what was due when an instance ended, and did not happen, is not told")
def _leaves_fires_over() -> Iterator[None]:
    with mock.patch.object(triggers.Timetable, "left_over", return_value=[]):
        yield


@_mutant("an agent does what was overtaken on its way")
def _takes_late_orders() -> Iterator[None]:
    with (
        mock.patch.object(instance_store.InstanceStore, "overtaken", return_value=False),
        mock.patch.object(provision_store.ProvisionStore, "overtaken", return_value=False),
    ):
        yield


@_mutant("an agent that restarts does not take up what was under way")
def _takes_up_nothing() -> Iterator[None]:
    def make(opened: Any) -> Any:
        return lambda self, around, _orders: opened(self, around, [])

    with _replaced(JobQueues, "open", make):
        yield


@_mutant("the start of a command is not told when it has ended meanwhile")
def _tells_no_start() -> Iterator[None]:
    def make(report_start: Any) -> Any:
        def untold(self: Any, order: Any, started: Any) -> None:
            if order.found is None:
                report_start(self, order, started)

        return untold

    with _replaced(JobQueueActor, "_report_start", make):
        yield


__all__ = ["MUTANTS"]
