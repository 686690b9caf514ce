"""One thread writes for all: what is asked while a commit is under way shares the next one.

Each who asks waits for the commit that has their request. What came into the inbox is announced after it, on
this thread, in the order of positions.
"""

import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from .group_commit import GroupCommit
from .records import Unavailable
from .requests import Request

ResultT = TypeVar("ResultT")


class Committing(Protocol):
    """Has requests written and settled, on a thread or otherwise."""

    def submit(self, request: Request[ResultT]) -> ResultT:
        """Return once the request is durable, or raise why it is not: ``Unavailable`` and others."""
        ...

    def close(self) -> None:
        """Take nothing more, and return once what was taken is settled."""
        ...


class Committer:
    """The thread that owns the writing connection."""

    def __init__(self, groups: GroupCommit) -> None:
        self._groups = groups
        self._queue: SimpleQueue[Request[Any] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._refusal: str | None = None
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def submit(self, request: Request[ResultT]) -> ResultT:
        """Return once the request is durable, or raise why it is not: ``Unavailable`` and others."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("the committer's own thread would wait for itself")
        with self._lock:
            if self._refusal is not None:
                raise Unavailable(self._refusal)
            self._queue.put(request)
        return request.wait()

    def close(self) -> None:
        """Take nothing more, and return once what was taken is settled."""
        with self._lock:
            if self._refusal is None:
                self._refusal = "the ledger is closed"
                self._queue.put(None)
        self._thread.join()

    # --- on the committer's thread --------------------------------------------------------------------------

    def _run(self) -> None:
        group: list[Request[Any]] = []
        try:
            closing = False
            while not closing:
                taken = [self._queue.get()]
                taken += [self._queue.get() for _ in range(self._queue.qsize())]
                group = [each for each in taken if each is not None]
                closing = len(group) < len(taken)
                if group:
                    self._groups.commit(group)
        except BaseException as error:
            self._die(group, error)
            raise

    def _die(self, group: Sequence[Request[Any]], error: BaseException) -> None:
        with self._lock:
            self._refusal = f"the ledger's committer has stopped: {type(error).__name__}"
        left = [self._queue.get() for _ in range(self._queue.qsize())]
        for request in (*group, *left):
            if request is not None and not request.settled:
                request.fail(Unavailable(self._refusal))
