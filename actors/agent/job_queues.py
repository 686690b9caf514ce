"""The queues of an agent: made when there is something to do, begun anew when they fail."""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import pykka
import structlog

from ...storage.segment_log import SegmentLogError
from .job_queue import (
    Enqueue,
    JobQueueActor,
    Kill,
    NoRoom,
    ReadQueue,
    RunOver,
    RunStarted,
    Surroundings,
)
from .markers import OutcomeUnknown, RunResult, Started
from .orders import Order, QueueKey
from .telling import tell_if_alive

_log = structlog.get_logger(__name__)

ATTEMPTS = 3
"""How often a queue may fail over the same order before that order is given up."""

_ASK_SECONDS = 10.0
_ANEW_MS = 1_000
"""How soon it is tried again to begin a queue anew."""


class _Queue:
    __slots__ = ("actor", "failures", "orders")

    def __init__(self, actor: pykka.ActorRef[JobQueueActor]) -> None:
        self.actor = actor
        self.orders: dict[str, Order] = {}
        self.failures = 0


class JobQueues:
    """Sends each order, and each word about it, to the actor of its queue. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._around: Surroundings | None = None
        self._queues: dict[QueueKey, _Queue] = {}
        self._keys: dict[str, QueueKey] = {}
        self._early: list[RunStarted | RunOver | NoRoom] = []

    def open(self, around: Surroundings, orders: Sequence[Order]) -> None:
        """Begin, with the orders of before in the order in which they were accepted."""
        with self._lock:
            self._around = around
            for order in orders:
                self._add(around, order)
            for message in self._early:
                self._pass_on(message)
            self._early.clear()

    def add(self, order: Order) -> None:
        """Carry it out after those of its queue that came before."""
        with self._lock:
            self._add(self._open_surroundings(), order)

    def _open_surroundings(self) -> Surroundings:
        if self._around is None:
            raise RuntimeError("the queues are not open yet")
        return self._around

    def _add(self, around: Surroundings, order: Order) -> None:
        key = order.key
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(self._start_actor(around, key))
        queue.orders[order.id] = order
        self._keys[order.id] = key
        around.board.add(order)
        tell_if_alive(queue.actor, Enqueue(order))

    def _start_actor(self, around: Surroundings, key: QueueKey) -> pykka.ActorRef[JobQueueActor]:
        return JobQueueActor.start(key=key, around=around, on_done=self._done, on_failed=self._failed)

    # -- what the launcher says ------------------------------------------------------------------------------

    def on_started(self, started: Started) -> None:
        """A command runs."""
        self._tell(RunStarted(started))

    def on_finished(self, initiation_id: str, result: RunResult) -> None:
        """A command is over."""
        self._tell(RunOver(initiation_id, result))

    def on_no_room(self, initiation_id: str, reason: str) -> None:
        """A command could not be prepared for want of room on the disk; nothing ran."""
        self._tell(NoRoom(initiation_id, reason))

    def _tell(self, message: RunStarted | RunOver | NoRoom) -> None:
        with self._lock:
            if self._around is None:
                self._early.append(message)
            else:
                self._pass_on(message)

    def _pass_on(self, message: RunStarted | RunOver | NoRoom) -> None:
        match message:
            case RunStarted(started=started):
                initiation_id = started.initiation_id
            case RunOver(initiation_id=initiation_id) | NoRoom(initiation_id=initiation_id):
                pass
        key = self._keys.get(initiation_id)
        if key is not None:
            tell_if_alive(self._queues[key].actor, message)

    # -- what the queues say ---------------------------------------------------------------------------------

    def _done(self, order: Order) -> None:
        """Called by an actor in its own turn; it is let go when nothing more can come for it."""
        around = self._open_surroundings()
        around.board.remove(order.id)
        with self._lock:
            key = self._keys.pop(order.id, None)
            queue = self._queues.get(order.key)
            if key is None or queue is None:
                return
            queue.orders.pop(order.id, None)
            queue.failures = 0
            if not queue.orders:
                del self._queues[order.key]
                queue.actor.stop(block=False)

    def _failed(self, key: QueueKey, error: BaseException) -> None:
        """Supervision: what the failed actor knew is found out again from the markers."""
        with self._lock:
            around = self._open_surroundings()
            queue = self._queues[key]
            try:
                orders = [self._again(around, order) for order in queue.orders.values()]
            except OSError as problem:
                _log.error("queue not begun anew yet", job=key.job, error=str(problem), exc_info=error)
                at = around.clock() + _ANEW_MS
                around.alarms.set(("queue", key), at, lambda: self._failed(key, error))
                return
            queue.failures += 1
            _log.error("queue failed, begun anew", job=key.job, instance=key.instance_id, exc_info=error)
            if queue.failures >= ATTEMPTS and orders:
                reason = f"it could not be carried out: {type(error).__name__}: {error}"
                orders[0] = msgspec.structs.replace(orders[0], found=OutcomeUnknown(reason))
            queue.actor = self._start_actor(around, key)
            for order in orders:
                queue.orders[order.id] = order
                tell_if_alive(queue.actor, Enqueue(order))

    def _again(self, around: Surroundings, order: Order) -> Order:
        return msgspec.structs.replace(order, found=around.launcher.recover(order.id))

    # -- what people ask -------------------------------------------------------------------------------------

    def kill(self, initiation_id: str, *, force: bool) -> bool:
        """End a run or take it out of its queue; ``False`` if it is neither running nor waiting.

        Raises ``OSError`` when the request could not be noted, ``LogUnavailable`` when it is heeded and not
        yet known to be on disk, ``TimeoutError`` while its queue is begun anew, ``pykka.Timeout``: ask again.
        """
        with self._lock:
            key = self._keys.get(initiation_id)
            actor = None if key is None else self._queues[key].actor
        if actor is None:
            return False
        try:
            answer: Any = actor.ask(Kill(initiation_id, force), timeout=_ASK_SECONDS)
        except pykka.ActorDeadError:
            return self._is_gone(initiation_id)
        if isinstance(answer, SegmentLogError):
            raise answer
        return bool(answer)

    def _is_gone(self, initiation_id: str) -> bool:
        """``False`` for one that was done just now; of any other nothing can be said yet."""
        with self._lock:
            if initiation_id in self._keys:
                raise TimeoutError(f"the queue of initiation {initiation_id!r} begins anew")
        return False

    def snapshots(self) -> list[dict[str, Any]]:
        """A description of every queue, as far as they answer."""
        with self._lock:
            actors = [queue.actor for queue in self._queues.values()]
        futures = []
        for actor in actors:
            try:
                futures.append(actor.ask(ReadQueue(), block=False))
            except pykka.ActorDeadError:
                continue
        return [found for each in futures if (found := _answer(each)) is not None]

    def close(self) -> None:
        """Stop all actors after the message they are handling; the commands run on."""
        with self._lock:
            actors = [queue.actor for queue in self._queues.values()]
        for actor in actors:
            actor.stop(block=False)


def _answer(future: "pykka.Future[Any]") -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = future.get(timeout=_ASK_SECONDS)
    except (pykka.ActorDeadError, pykka.Timeout):
        return None
    return answer
