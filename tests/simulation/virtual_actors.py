"""Actors, pools, timers and everything else that would be a thread, as tasks of a simulated process.

``virtual_actors`` puts these in place of pykka's threads, and of what the product takes from the standard
library to wait or to draw chance, for as long as a world is simulated.
"""

import queue
import random
import sys
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock
from uuid import UUID

import pykka
from jobledger.actors.agent import backoff, intake, outbound
from jobledger.actors.dashboard import dashboard, gateway, lock_groups, plan_actor, turns
from jobledger.actors.notifications import courier, follower
from jobledger.actors.pool import ActorPool, PooledActor
from jobledger.actors.timers import Clock, Timers
from jobledger.domain.instants import Instant
from jobledger.storage.segment_log import SegmentLog
from virtual_time import Process, Signal, current_process, pause

_SNAPSHOT_AFTER = 8
"""Facts between snapshots of a plan: worlds are short, and restarts are to begin with one."""
CLOCK_LOOK_US = 1_000_000
"""How long a jump of the clock goes unnoticed at most, as with the real timers."""


class VirtualFuture(pykka.Future[Any]):
    """The answer to a question."""

    def __init__(self) -> None:
        super().__init__()
        self._settled = Signal()
        self._value: Any = None
        self._error: Any = None

    def get(self, *, timeout: float | None = None) -> Any:
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self._settled.is_set and not self._settled.wait(
            None if timeout is None else round(timeout * 1e6)
        ):
            raise pykka.Timeout(f"{timeout} seconds")
        if self._error is not None:
            raise self._error
        return self._value

    def set(self, value: Any = None) -> None:
        self._settle(value, None)

    def set_exception(self, exc_info: Any = None) -> None:
        found = sys.exc_info() if exc_info is None else exc_info
        self._settle(None, found[1])

    def _settle(self, value: Any, error: BaseException | None) -> None:
        if self._settled.is_set:
            raise queue.Full
        self._value, self._error = value, error
        self._settled.set()


class VirtualInbox:
    """The inbox of an actor with a thread of its own."""

    def __init__(self) -> None:
        self._envelopes: deque[Any] = deque()
        self._filled = Signal()

    def put(self, envelope: Any) -> None:
        self._envelopes.append(envelope)
        self._filled.set()

    def get(self) -> Any:
        while not self._envelopes:
            self._filled.clear()
            self._filled.wait()
        return self._envelopes.popleft()

    def empty(self) -> bool:
        return not self._envelopes

    def qsize(self) -> int:
        return len(self._envelopes)


def _start_actor_loop(actor: Any) -> None:
    current_process().spawn(lambda: _run_actor(actor), f"begin {type(actor).__name__}")


def _run_actor(actor: Any) -> None:
    """As pykka's own loop; but the death of the process is for this process alone."""
    actor._actor_loop_setup()
    while not actor.actor_stopped.is_set():
        envelope = actor.actor_inbox.get()
        try:
            response = actor._handle_receive(envelope.message)
        except Exception as error:  # noqa: BLE001  as pykka does: told to the asker or to the supervisor
            if envelope.reply_to is not None:
                envelope.reply_to.set_exception((type(error), error, error.__traceback__))
                continue
            actor._handle_failure(type(error), error, error.__traceback__)
            actor.on_failure(type(error), error, error.__traceback__)
        else:
            if envelope.reply_to is not None:
                envelope.reply_to.set(response)
    actor._actor_loop_teardown()


class VirtualPool(ActorPool):
    """Turns are tasks, so many at a time; the rest waits in a queue."""

    def __init__(self, process: Process, threads: int) -> None:
        self._process = process
        self._threads = self._free = threads
        self._queue: deque[Callable[[], None]] = deque()
        self._closed = False
        self._turn_over = Signal()

    def submit(self, turn: Callable[[], None]) -> None:
        if self._closed:
            return
        self._queue.append(turn)
        self._begin()

    def _begin(self) -> None:
        while self._free and self._queue:
            self._free -= 1
            turn = self._queue.popleft()
            self._process.spawn(lambda turn=turn: self._run(turn), "turn")

    def _run(self, turn: Callable[[], None]) -> None:
        turn()
        self._free += 1
        self._begin()
        if self._closed:
            self._turn_over.set()

    def close(self) -> None:
        self._closed = True
        self._queue.clear()
        while self._free < self._threads:
            self._turn_over.clear()
            self._turn_over.wait()


class VirtualTimers(Timers):
    """Alarms by the clock of the host, which may jump."""

    def __init__(self, process: Process, clock: Clock) -> None:
        self._process = process
        self._clock = clock
        self._alarms: dict[Hashable, tuple[Instant, int, Callable[[], None]]] = {}
        self._number = 0
        self._started = False
        self._closed = False

    def start(self) -> None:
        self._started = True
        for key, (at, number, _) in self._alarms.items():
            self._plan(key, at, number)

    def set(self, key: Hashable, at: Instant, act: Callable[[], None]) -> None:
        self._number += 1
        self._alarms[key] = (at, self._number, act)
        if self._started:
            self._plan(key, at, self._number)

    def cancel(self, key: Hashable) -> None:
        self._alarms.pop(key, None)

    def look(self) -> None:
        """The clock may have jumped forward: everything that is set is looked at again before long."""
        for key, (_, number, _) in self._alarms.items():
            self._soon(lambda key=key, number=number: self._ring(key, number))

    def set_back(self) -> None:
        """The clock was set back: everything rings before long, as with the real timers."""
        for key, (_, number, _) in self._alarms.items():
            self._soon(lambda key=key, number=number: self._ring(key, number, early=True))

    def _soon(self, act: Callable[[], None]) -> None:
        within_us = self._process.chance.randrange(CLOCK_LOOK_US)
        self._process.loop.after(within_us, act, "alarm", self._process)

    def next_at(self) -> Instant | None:
        return min((at for at, _, _ in self._alarms.values()), default=None)

    def close(self) -> None:
        self._closed = True
        self._alarms.clear()

    def _plan(self, key: Hashable, at: Instant, number: int) -> None:
        wait_us = max(0, (at - self._clock()) * 1000) + self._process.delay_us() // 4
        self._process.loop.after(wait_us, lambda: self._ring(key, number), "alarm", self._process)

    def _ring(self, key: Hashable, number: int, *, early: bool = False) -> None:
        found = self._alarms.get(key)
        if self._closed or found is None or found[1] != number:
            return
        at, _, act = found
        if at > self._clock() and not early:
            self._plan(key, at, number)
            return
        del self._alarms[key]
        self._process.spawn(act, "alarm rings", 0)


class VirtualEvent:
    """What ``threading.Event`` is to a thread."""

    def __init__(self) -> None:
        self._signal = Signal()

    def is_set(self) -> bool:
        return self._signal.is_set

    def set(self) -> None:
        self._signal.set()

    def clear(self) -> None:
        self._signal.clear()

    def wait(self, timeout: float | None = None) -> bool:
        return self._signal.wait(None if timeout is None else round(timeout * 1e6)) or self.is_set()


class VirtualLock:
    """What ``threading.Lock`` is to a thread, for locks that are held while others go on."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[Signal] = deque()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_error: object) -> None:
        self.release()

    def acquire(self, timeout: float | None = None) -> bool:
        """Whether it was had in time."""
        if self._taken:
            mine = Signal()
            self._waiting.append(mine)
            if not mine.wait(None if timeout is None else round(timeout * 1e6)) and not mine.is_set:
                self._waiting.remove(mine)
                return False
        self._taken = True
        return True

    def release(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._taken = False


class ConcurrentFuture:
    """What ``concurrent.futures.Future`` is to a thread."""

    def __init__(self) -> None:
        self._settled = Signal()
        self._value: Any = None
        self._error: BaseException | None = None

    def __class_getitem__(cls, _item: object) -> type["ConcurrentFuture"]:
        return cls

    def set_result(self, value: Any) -> None:
        self._value = value
        self._settled.set()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._settled.set()

    def exception(self) -> BaseException | None:
        return self._error

    def result(self) -> Any:
        self._settled.wait()
        if self._error is not None:
            raise self._error
        return self._value


_append_many = SegmentLog.append_many


def _append_slowly(log: SegmentLog, payloads: Any) -> list[int]:
    """A write to a disk takes its time, and others go on meanwhile."""
    process = current_process()
    pause(process.delay_us() // 2, "write")
    positions = _append_many(log, payloads)
    pause(process.delay_us() // 4, "written")
    return positions


@contextmanager
def virtual_actors(chance: random.Random) -> Iterator[None]:
    """Within, product code runs in tasks: nothing waits on a thread, and all chance is drawn from here."""

    def uuid4() -> UUID:
        return UUID(int=chance.getrandbits(128), version=4)

    replaced: list[tuple[Any, str, Any]] = [
        (pykka.ThreadingActor, "_create_actor_inbox", staticmethod(VirtualInbox)),
        (pykka.ThreadingActor, "_create_future", staticmethod(VirtualFuture)),
        (pykka.ThreadingActor, "_start_actor_loop", _start_actor_loop),
        (PooledActor, "_create_future", staticmethod(VirtualFuture)),
        (pykka.ActorRegistry, "register", staticmethod(lambda _ref: None)),
        (pykka.ActorRegistry, "unregister", staticmethod(lambda _ref: None)),
        (SegmentLog, "append_many", _append_slowly),
        (outbound, "threading", SimpleNamespace(Event=VirtualEvent)),
        (intake, "Future", ConcurrentFuture),
        (lock_groups, "threading", SimpleNamespace(Lock=VirtualLock)),
        (turns, "threading", SimpleNamespace(Lock=VirtualLock)),
        (backoff, "random", chance),
        (courier, "random", chance),
        (follower, "random", chance),
        (gateway, "random", chance),
        (dashboard, "uuid4", uuid4),
        (plan_actor, "uuid4", uuid4),
        (plan_actor, "SNAPSHOT_AFTER", _SNAPSHOT_AFTER),
    ]
    with ExitStack() as stack:
        for target, name, value in replaced:
            stack.enter_context(mock.patch.object(target, name, value))
        yield
