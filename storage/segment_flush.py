"""Many threads, one flush: what arrives while a flush runs shares the next one.

No thread of its own: the first that waits leads, writes what all have queued, and hands the lead to the first
that came meanwhile.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class FlushInterrupted(Exception):
    """The thread that flushed was interrupted: what it wrote is not known, and nothing more is taken."""


class FlusherClosed(Exception):
    """No more items are taken."""


class _Entry(Generic[ItemT]):
    __slots__ = ("error", "item", "settled", "wake")

    def __init__(self, item: ItemT) -> None:
        self.item = item
        self.settled = False
        self.error: Exception | None = None
        self.wake = threading.Lock()
        self.wake.acquire()


class SharedFlush(Generic[ItemT]):
    """Collects the items of many threads and gives them, in their order, to one ``flush`` at a time."""

    def __init__(
        self, flush: Callable[[Sequence[ItemT]], None], weight: Callable[[ItemT], int], most_weight: int
    ) -> None:
        """One flush takes items until the next would exceed ``most_weight``, but at least one."""
        self._flush = flush
        self._weight = weight
        self._most_weight = most_weight
        self._mutex = threading.Lock()
        self._idle = threading.Condition(self._mutex)
        self._queue: deque[_Entry[ItemT]] = deque()
        self._leader: _Entry[ItemT] | None = None
        self._closed = False

    def submit(self, item: ItemT) -> None:
        """Return once a flush with this item has returned; raise what it raised.

        Raises ``FlusherClosed`` after ``close``, ``FlushInterrupted`` when another thread was interrupted.
        """
        entry = _Entry(item)
        with self._mutex:
            if self._closed:
                raise FlusherClosed
            self._queue.append(entry)
            leads = self._leader is None
            if leads:
                self._leader = entry
        try:
            if not leads:
                entry.wake.acquire()
            if not entry.settled:
                self._lead(entry)
        except BaseException:
            self._withdraw(entry)
            raise
        if entry.error is not None:
            raise type(entry.error)(*entry.error.args) from entry.error

    def close(self) -> None:
        """Take nothing more and return once all that was taken is flushed; again: nothing."""
        with self._mutex:
            self._closed = True
            self._idle.wait_for(lambda: self._leader is None)

    def _lead(self, leader: _Entry[ItemT]) -> None:
        batch = self._take()
        error: Exception | None = FlushInterrupted("the thread that wrote for this one was interrupted")
        try:
            self._flush([entry.item for entry in batch])
            error = None
        except Exception as raised:  # noqa: BLE001 - handed to every thread that waits for this flush
            error = raised
        finally:
            with self._mutex:
                if isinstance(error, FlushInterrupted):
                    self._closed = True
                    batch.extend(self._queue)
                    self._queue.clear()
                self._pass_on()
            for entry in batch:
                entry.error = error
                entry.settled = True
                if entry is not leader:
                    entry.wake.release()

    def _take(self) -> list[_Entry[ItemT]]:
        with self._mutex:
            batch = [self._queue.popleft()]
            weight = self._weight(batch[0].item)
            while self._queue:
                weight += self._weight(self._queue[0].item)
                if weight > self._most_weight:
                    break
                batch.append(self._queue.popleft())
            return batch

    def _pass_on(self) -> None:
        if self._queue:
            self._leader = self._queue[0]
            self._leader.wake.release()
        else:
            self._leader = None
            self._idle.notify_all()

    def _withdraw(self, entry: _Entry[ItemT]) -> None:
        """Its thread was interrupted while it waited: nobody may wait for it to lead."""
        with self._mutex:
            if entry in self._queue:
                self._queue.remove(entry)
                if self._leader is entry:
                    self._pass_on()
