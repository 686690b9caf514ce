"""Actors that share a few threads, so that thousands of them fit in one process.

A ``PooledActor`` is a pykka actor whose messages are handled one after another, as always, but on whichever
thread of the pool is free. An idle actor costs a few kilobytes and no thread.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pykka
import structlog
from pykka import ActorRegistry

_log = structlog.get_logger(__name__)

TURN_LIMIT = 256
"""Messages handled before other actors get their turn."""


class ActorPool:
    """The threads that pooled actors share.

    Handlers may block on disk for as long as a commit takes; what waits on a network belongs in a
    ``pykka.ThreadingActor`` of its own.
    """

    def __init__(self, threads: int, name: str = "actors") -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def submit(self, turn: Callable[[], None]) -> None:
        """Run one turn of an actor as soon as a thread is free; nothing runs after ``close``."""
        try:
            self._executor.submit(turn)
        except RuntimeError:
            _log.debug("turn refused, the pool is closed")

    def close(self) -> None:
        """Finish the turns that are under way and accept no more."""
        self._executor.shutdown(wait=True, cancel_futures=True)


class _Mailbox:
    """An actor's inbox that asks for a turn when something comes in and no turn is due."""

    def __init__(self) -> None:
        self._envelopes: deque[Any] = deque()
        self._lock = threading.Lock()
        self._turn_due = True  # until the actor has started
        self.schedule: Callable[[], None] = lambda: None

    def put(self, envelope: Any) -> None:
        with self._lock:
            self._envelopes.append(envelope)
            if self._turn_due:
                return
            self._turn_due = True
        self.schedule()

    def take(self) -> list[Any]:
        """What one turn is to handle."""
        with self._lock:
            count = min(len(self._envelopes), TURN_LIMIT)
            return [self._envelopes.popleft() for _ in range(count)]

    def turn_ended(self) -> None:
        with self._lock:
            if not self._envelopes:
                self._turn_due = False
                return
        self.schedule()

    def get(self) -> Any:
        return self._envelopes.popleft()

    def empty(self) -> bool:
        return not self._envelopes

    def qsize(self) -> int:
        return len(self._envelopes)


class PooledActor(pykka.Actor):
    """A pykka actor on a shared pool; give the pool to ``start(pool=…)``."""

    def __init__(self, *, pool: ActorPool) -> None:
        super().__init__()
        self._pool = pool

    @staticmethod
    def _create_actor_inbox() -> Any:
        return _Mailbox()

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return pykka.ThreadingFuture()

    def _start_actor_loop(self) -> None:
        self.actor_inbox.schedule = lambda: self._pool.submit(self._turn)  # type: ignore[attr-defined]
        self._pool.submit(self._first_turn)

    @property
    def mailbox_depth(self) -> int:
        """Messages that wait."""
        return int(self.actor_inbox.qsize())  # type: ignore[attr-defined]

    def _first_turn(self) -> None:
        self._actor_loop_setup()
        self._turn()

    def _turn(self) -> None:
        mailbox: Any = self.actor_inbox
        envelopes = mailbox.take()
        if envelopes:
            try:
                self.receive_batch(envelopes)
            except Exception as error:  # noqa: BLE001  it ends here: nothing that is told to it later would be handled
                self._handle_failure(type(error), error, error.__traceback__)
                self.on_failure(type(error), error, error.__traceback__)
        if self.actor_stopped.is_set():
            self._actor_loop_teardown()
            return
        mailbox.turn_ended()

    def receive_batch(self, envelopes: Sequence[Any]) -> None:
        """Handle what came in since the last turn, in order; override it to commit once for all of them."""
        for envelope in envelopes:
            if self.actor_stopped.is_set():
                refuse(envelope, pykka.ActorDeadError(f"{self} stopped before handling the message"))
                continue
            self.receive_one(envelope)

    def receive_one(self, envelope: Any) -> None:
        """Handle one message as pykka does: its result or its exception goes to whoever asked."""
        try:
            response = self._handle_receive(envelope.message)
        except Exception as error:  # noqa: BLE001  an actor's failure is told to its asker or to its supervisor
            if envelope.reply_to is not None:
                refuse(envelope, error)
                return
            self._handle_failure(type(error), error, error.__traceback__)
            self.on_failure(type(error), error, error.__traceback__)
        else:
            if envelope.reply_to is not None:
                envelope.reply_to.set(response)


def refuse(envelope: Any, error: BaseException) -> None:
    """Answer an envelope with an error; if nobody waits for an answer, say so in the log."""
    if envelope.reply_to is not None:
        envelope.reply_to.set_exception((type(error), error, error.__traceback__))
        return
    _log.warning("message not handled", message=str(envelope.message), error=str(error))


def live_actors(kind: type[pykka.Actor]) -> list[pykka.ActorRef[Any]]:
    """The actors of one class that run in this process."""
    return list(ActorRegistry.get_by_class(kind))
