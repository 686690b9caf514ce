"""The queue of one job for one plan instance: its initiations are carried out one after another.

For each: decide what is to be done, wait for a place, have the launcher start the command, report that it
started, report how it ended, let go. What is reported is on disk before anything follows from it. A disk that
does not take a report is asked again and again, and one that has no room for a command's files likewise; the
queue waits meanwhile, and nothing is lost.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pykka
import structlog

from ...domain.instants import Instant
from ...domain.messages import Outcome, ProcessEvent
from ...storage.segment_log import SegmentLogError
from ..pool import ActorPool, PooledActor
from ..timers import Clock
from .backoff import pause_ms
from .board import RunBoard
from .disk_room import DiskRoom
from .launcher import Launcher, LauncherClosed
from .markers import CouldNotStart, NotStarted, Running, RunResult, Started
from .orders import Order, PassOver, Phase, Pretend, QueueKey, RunCommand, course_of
from .ports import Alarms
from .preparation import Preparation
from .reports import Reports
from .retirement import Retire, RetirementActor
from .run_reports import RunReporter
from .slots import Slots
from .telling import telling

_log = structlog.get_logger(__name__)


class Enqueue(msgspec.Struct, frozen=True):
    """Carry this out when those before it are done."""

    order: Order


class RunStarted(msgspec.Struct, frozen=True):
    """The launcher says that a command runs."""

    started: Started


class RunOver(msgspec.Struct, frozen=True):
    """The launcher says what became of a command."""

    initiation_id: str
    result: RunResult


class NoRoom(msgspec.Struct, frozen=True):
    """The launcher says that the disk has no room for a command's files: nothing ran."""

    initiation_id: str
    reason: str


class TryAgain(msgspec.Struct, frozen=True):
    """There may be room on the disk now."""

    initiation_id: str


class Granted(msgspec.Struct, frozen=True):
    """There is a place to run in."""

    initiation_id: str


class PretenceOver(msgspec.Struct, frozen=True):
    """The simulated time has passed."""

    initiation_id: str


class RetryReports(msgspec.Struct, frozen=True):
    """Time to try again what the disk did not take."""


class Kill(msgspec.Struct, frozen=True):
    """End a run, or do not begin it; answered with whether there was anything to end.

    What was not begun is told of before that is answered: a crash must not have it run after all. As long as
    the disk does not take that, the answer is why.
    """

    initiation_id: str
    force: bool


class ReadQueue(msgspec.Struct, frozen=True):
    """Answer a description of this queue, for debugging."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every queue of an agent works with."""

    pool: ActorPool
    reports: Reports
    launcher: Launcher
    slots: Slots
    room: DiskRoom
    board: RunBoard
    alarms: Alarms
    clock: Clock
    zone: ZoneInfo
    reporter: RunReporter
    preparation: Preparation
    retirement: pykka.ActorRef[RetirementActor]


class _Stage(StrEnum):
    """Of the order at the head of the queue."""

    NONE = "none"
    WAITING = "waiting for a place"
    NO_ROOM = "waiting for disk space"
    STARTING = "starting"
    RUNNING = "running"
    PRETENDING = "pretending"
    ENDING = "ending"


@dataclass(slots=True)
class _Report:
    events: Sequence[ProcessEvent]
    then: Callable[[], None]


class JobQueueActor(PooledActor):
    """Carries out the orders with one key, in their order."""

    def __init__(
        self,
        *,
        key: QueueKey,
        around: Surroundings,
        on_done: Callable[[Order], None],
        on_failed: Callable[[QueueKey, BaseException], None],
    ) -> None:
        """``on_done``: the end of an order is durably reported. ``on_failed``: this actor is no more."""
        super().__init__(pool=around.pool)
        self._key = key
        self._around = around
        self._on_done = on_done
        self._on_failed = on_failed
        self._orders: deque[Order] = deque()
        self._stage = _Stage.NONE
        self._start_reported = False
        self._kill_forced: bool | None = None
        self._pretended_at: Instant = 0
        self._results: dict[str, RunResult] = {}
        self._unwritten: deque[_Report] = deque()
        self._called_off: set[str] = set()
        self._disk_refuses: SegmentLogError | None = None
        self._failures = 0
        self._last_error: str | None = None

    def on_receive(
        self,
        message: Enqueue
        | RunStarted
        | RunOver
        | NoRoom
        | TryAgain
        | Granted
        | PretenceOver
        | RetryReports
        | Kill
        | ReadQueue,
    ) -> object:
        """Handle what the agent, the launcher or an alarm says."""
        answer: object = None
        match message:
            case Enqueue(order=order):
                self._orders.append(order)
            case RunStarted(started=started):
                self._when_current(started.initiation_id, lambda: self._started(started))
            case RunOver(initiation_id=initiation_id, result=result):
                self._note_result(initiation_id, result)
            case NoRoom(initiation_id=initiation_id, reason=reason):
                self._when_current(initiation_id, lambda: self._wait_for_room(reason))
            case TryAgain(initiation_id=initiation_id):
                self._when_current(initiation_id, self._try_again)
            case Granted(initiation_id=initiation_id):
                self._when_current(initiation_id, self._enter)
            case PretenceOver(initiation_id=initiation_id):
                self._when_current(initiation_id, self._end_pretence)
            case RetryReports():
                self._disk_refuses = None
            case Kill():
                answer = self._kill(message)
            case ReadQueue():
                answer = self.snapshot()
        self._go_on()
        if isinstance(message, Kill) and message.initiation_id in self._called_off:
            answer = self._disk_refuses
        return answer

    def on_failure(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: object
    ) -> None:
        """This actor stops here; who started it begins anew from what is on disk."""
        self._on_failed(self._key, error or RuntimeError("unknown"))

    def _go_on(self) -> None:
        """Write what is to be reported, and begin the next order when there is none under way."""
        self._write_reports()
        while self._orders and self._stage is _Stage.NONE:
            self._begin(self._orders[0])
            self._write_reports()

    def _when_current(self, initiation_id: str, act: Callable[[], None]) -> None:
        if self._stage is not _Stage.NONE and self._orders[0].id == initiation_id:
            act()

    # -- one order after another -----------------------------------------------------------------------------

    def _begin(self, order: Order) -> None:
        self._start_reported = order.start_reported
        self._kill_forced = None
        self._stage = _Stage.WAITING
        result = self._results.get(order.id)
        if result is not None:
            self._over(result)
            return
        match order.found:
            case None | NotStarted():
                self._begin_anew(order)
            case Running(started=started):
                self._started(started)
            case found:
                self._over(found)

    def _begin_anew(self, order: Order) -> None:
        now = self._around.clock()
        match course_of(order, now, self._around.zone):
            case RunCommand():
                self._around.slots.request(order.id, telling(self.actor_ref, Granted(order.id)))
            case PassOver(wrong_day=wrong_day):
                outcome = Outcome.IGNORED_DAY_OF_WEEK if wrong_day else Outcome.EXECUTION_INVOKED
                self._pass_over(order, outcome, now)
            case Pretend() as pretence:
                self._begin_pretence(order, pretence, now)

    def _enter(self) -> None:
        """There is a place; whether there is room on the disk too is for the first that waits to find out."""
        if self._stage is not _Stage.WAITING:
            return
        order = self._orders[0]
        if self._around.room.enter(order.id, telling(self.actor_ref, TryAgain(order.id))):
            self._launch(order)
        else:
            self._stage = _Stage.NO_ROOM
            self._around.board.set_phase(order.id, Phase.NO_ROOM)

    def _wait_for_room(self, reason: str) -> None:
        if self._stage is not _Stage.STARTING:
            return
        order = self._orders[0]
        if self._kill_forced is not None:
            self._call_off_current(order)
            return
        self._stage = _Stage.NO_ROOM
        self._last_error = reason
        self._around.board.set_phase(order.id, Phase.NO_ROOM)
        self._around.room.refused(order.id, reason, telling(self.actor_ref, TryAgain(order.id)))

    def _try_again(self) -> None:
        if self._stage is _Stage.NO_ROOM:
            self._launch(self._orders[0])

    def _launch(self, order: Order) -> None:
        self._stage = _Stage.STARTING
        self._around.board.set_phase(order.id, Phase.STARTING)
        try:
            self._around.launcher.start(self._around.preparation.spec(order))
        except ValueError as error:
            self._over(CouldNotStart(str(error)))
        except LauncherClosed:
            _log.info("not started, the agent stops", initiation=order.id)

    def _started(self, started: Started) -> None:
        order = self._orders[0]
        self._stage = _Stage.RUNNING
        self._around.slots.occupy(order.id)
        self._around.room.found(order.id)
        self._around.board.set_running(order.id, started)
        if self._kill_forced is not None:
            self._kill_wanted(order.id, self._kill_forced)
        self._report_start(order, started)

    def _report_start(self, order: Order, started: Started) -> None:
        if self._start_reported:
            return
        self._start_reported = True
        files = self._around.preparation.files(order)
        self._report([self._around.reporter.started(order, files, started)])

    def _note_result(self, initiation_id: str, result: RunResult) -> None:
        """Of an order that has not begun again yet after a restart, it is used when its turn comes."""
        if any(order.id == initiation_id for order in self._orders):
            self._results[initiation_id] = result
        self._when_current(initiation_id, lambda: self._over(result))

    def _over(self, result: RunResult) -> None:
        if self._stage is _Stage.ENDING:
            return
        self._stage = _Stage.ENDING
        order = self._orders[0]
        self._around.room.leave(order.id)
        started = None if isinstance(result, CouldNotStart) else result.started
        if started is not None:
            self._report_start(order, started)
        files = self._around.preparation.files(order)
        event = self._around.reporter.finished(order, files, result, self._around.clock())
        self._report([event], then=self._finish)

    def _finish(self) -> None:
        """The end of the current order is on disk."""
        order = self._orders.popleft()
        self._stage = _Stage.NONE
        self._let_go(order)

    def _let_go(self, order: Order) -> None:
        self._results.pop(order.id, None)
        self._around.retirement.tell(Retire(order.accepted.position, order.id))
        self._around.slots.release(order.id)
        self._on_done(order)

    # -- what is not run -------------------------------------------------------------------------------------

    def _pass_over(self, order: Order, outcome: Outcome, now: Instant) -> None:
        self._stage = _Stage.ENDING
        reporter = self._around.reporter
        self._report(
            [
                reporter.pretended_start(order, outcome, now),
                reporter.pretended_end(order, outcome, now, now, successful=True),
            ],
            then=self._finish,
        )

    def _begin_pretence(self, order: Order, pretence: Pretend, now: Instant) -> None:
        self._stage = _Stage.PRETENDING
        self._pretended_at = now
        self._around.board.set_phase(order.id, Phase.RUNNING)
        if not self._start_reported:
            self._start_reported = True
            self._report([self._around.reporter.pretended_start(order, Outcome.EXECUTION_INVOKED, now)])
        self._around.alarms.set(
            ("pretence", order.id), now + pretence.for_ms, telling(self.actor_ref, PretenceOver(order.id))
        )

    def _end_pretence(self) -> None:
        if self._stage is not _Stage.PRETENDING:
            return
        self._stage = _Stage.ENDING
        order = self._orders[0]
        now = self._around.clock()
        match course_of(order, self._pretended_at, self._around.zone):
            case Pretend(successful=successful):
                event = self._around.reporter.pretended_end(
                    order, Outcome.EXECUTION_INVOKED, self._pretended_at, now, successful=successful
                )
                self._report([event], then=self._finish)
            case other:
                raise RuntimeError(f"the pretence of {order.id} became {other}")

    # -- killing ---------------------------------------------------------------------------------------------

    def _kill(self, kill: Kill) -> bool:
        order = next((each for each in self._orders if each.id == kill.initiation_id), None)
        if order is None:
            return kill.initiation_id in self._called_off
        if order is not self._orders[0] or self._stage is _Stage.NONE:
            self._orders.remove(order)
            self._call_off(order, then=lambda: self._let_go(order))
            return True
        match self._stage:
            case _Stage.WAITING | _Stage.NO_ROOM | _Stage.PRETENDING:
                self._call_off_current(order)
                return True
            case _Stage.STARTING:
                self._kill_forced = kill.force
                return True
            case _Stage.RUNNING:
                return self._around.launcher.kill(order.id, force=kill.force)
            case _:
                return order.id in self._called_off

    def _call_off_current(self, order: Order) -> None:
        self._stage = _Stage.ENDING
        self._around.room.leave(order.id)
        self._around.alarms.cancel(("pretence", order.id))
        self._call_off(order, then=self._finish)

    def _call_off(self, order: Order, then: Callable[[], None]) -> None:
        """Have it never run; until that is on disk, a crash would bring it back."""

        def settled() -> None:
            self._called_off.discard(order.id)
            then()

        self._called_off.add(order.id)
        now = self._around.clock()
        reporter = self._around.reporter
        self._report([reporter.never_ran(order, now, "killed before it was started", killed=True)], settled)

    def _kill_wanted(self, initiation_id: str, force: bool) -> None:
        """Carry out what was asked for while the command was being started."""
        try:
            self._around.launcher.kill(initiation_id, force=force)
        except OSError as error:
            _log.error("not killed, ask again", initiation=initiation_id, error=str(error))

    # -- reports ---------------------------------------------------------------------------------------------

    def _report(self, events: Sequence[ProcessEvent], then: Callable[[], None] | None = None) -> None:
        """Have events written behind those that the disk has not taken yet; ``then`` runs once they are."""
        self._unwritten.append(_Report(events, then or _nothing))

    def _write_reports(self) -> None:
        while self._unwritten and self._disk_refuses is None:
            report = self._unwritten[0]
            try:
                self._around.reports.write(report.events)
            except SegmentLogError as error:
                self._wait_for_disk(error)
                return
            self._failures = 0
            self._last_error = None
            self._unwritten.popleft()
            report.then()

    def _wait_for_disk(self, error: SegmentLogError) -> None:
        self._disk_refuses = error
        self._failures += 1
        self._last_error = str(error)
        _log.warning(
            "report not written", job=self._key.job, instance=self._key.instance_id, error=str(error)
        )
        at = self._around.clock() + pause_ms(self._failures)
        self._around.alarms.set(("reports", self._key), at, telling(self.actor_ref, RetryReports()))

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of this queue."""
        return {
            "actor": f"queue {self._key.instance_id} {self._key.plan} {self._key.job}",
            "mailbox": self.mailbox_depth,
            "orders": [order.id for order in self._orders],
            "stage": self._stage.value,
            "unwritten_reports": len(self._unwritten),
            "last_error": self._last_error,
        }


def _nothing() -> None:
    """Nothing follows."""
