"""Faults put into the product on purpose: a simulation that does not find them has no teeth.

Each is one that somebody could make: a line left out, an order of two writes turned round, a rule forgotten.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import msgspec
from immutables import Map
from jobledger.actors.agent import outbound, recovery, schedules
from jobledger.actors.agent.intake import Intake
from jobledger.actors.agent.job_queue import JobQueueActor
from jobledger.actors.agent.job_queues import JobQueues
from jobledger.actors.dashboard import active_instances, dashboard, gateway, instance_actor
from jobledger.domain import decision, hearing, lock_group, plan_decision, topology
from jobledger.domain.facts import StartSkipped
from jobledger.storage import group_commit
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Change
from jobledger.storage.segment_errors import SegmentLogError

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
