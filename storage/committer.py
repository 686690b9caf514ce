"""One thread writes for all: what is asked while a commit is under way shares the next one.

Each who asks waits for the commit that has their request. What came into the inbox is announced after it, on
this thread, in the order of positions.
"""

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

import structlog
from eventsourcing import persistence
from eventsourcing.domain import EventSourcingError

from ..domain.instants import Instant
from . import inbox
from .engine import Engine, Transaction
from .records import Conflict, InboxEntry, Unavailable, Unstorable
from .requests import Deliver, Receive, Request, Save, Step
from .write_set import WriteSet

_log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

_REFUSED = (
    persistence.DataError,
    persistence.IntegrityError,
    persistence.ProgrammingError,
    persistence.NotSupportedError,
)
"""Errors for which one request is to blame; all others mean that the database cannot be written to now."""


class Committer:
    """Owns the writing connection, and the thread that uses it."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], Instant],
        announce: Callable[[Sequence[InboxEntry]], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._announce = announce
        self._queue: SimpleQueue[Request[Any] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._refusal: str | None = None
        self._announced_to = engine.read("SELECT MAX(position) FROM inbox")[0][0] or 0
        self._in_doubt = False
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
                    self._commit(group)
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

    def _commit(self, group: Sequence[Request[Any]]) -> None:
        try:
            results, entries = self._write(group)
        except Exception as error:  # noqa: BLE001  every error is told to those whose request it met
            self._after_failure(group, error)
            return
        self._in_doubt = False
        for request, result in zip(group, results, strict=True):
            if isinstance(result, Conflict):
                request.fail(result)
            else:
                request.succeed(result)
        self._tell(entries)

    def _after_failure(self, group: Sequence[Request[Any]], error: Exception) -> None:
        if isinstance(error, EventSourcingError | OSError) and not isinstance(error, _REFUSED):
            self._in_doubt = True
            _log.error("commit failed", requests=len(group), error=str(error))
            for request in group:
                request.fail(Unavailable(f"it could not be made durable: {error}"))
        elif len(group) > 1:
            for request in group:
                self._commit([request])
        else:
            group[0].fail(_told(error))

    def _write(self, group: Sequence[Request[Any]]) -> tuple[list[Any], list[InboxEntry]]:
        entries: list[InboxEntry] = []
        with self._engine.write() as transaction:
            if self._in_doubt:
                # A commit that was reported as failed may have been one after all: nobody heard of it yet.
                entries += inbox.waiting_after(transaction, self._engine, self._announced_to)
            write_set = WriteSet(transaction, self._engine, self._clock())
            write_set.expect(group)
            results = [_take(request, write_set, transaction, entries) for request in group]
            write_set.flush()
        return results, entries

    def _tell(self, entries: Sequence[InboxEntry]) -> None:
        if not entries:
            return
        self._announced_to = entries[-1].position
        try:
            self._announce(entries)
        except Exception:  # noqa: BLE001  they are on disk, and whoever looks for unhandled entries finds them
            _log.exception("inbox entries could not be announced", first=entries[0].position)


def _told(error: Exception) -> Exception:
    """What the one whose request is to blame is told."""
    if isinstance(error, persistence.IntegrityError):
        # A primary key has the last word, should somebody have written past the committer.
        return error if isinstance(error, Conflict) else Conflict(str(error))
    if isinstance(error, (*_REFUSED, OverflowError, UnicodeError)):
        return Unstorable(str(error))
    return error


def _take(
    request: Request[Any], write_set: WriteSet, transaction: Transaction, entries: list[InboxEntry]
) -> object:
    match request:
        case Receive():
            received = write_set.receive(request)
            entries += received
            return [entry.position for entry in received]
        case Save():
            saved = write_set.save(request)
            if isinstance(saved, Conflict):
                return saved
            entries += saved
            return None
        case Deliver():
            write_set.deliver(request)
            return None
        case Step(work=work):
            write_set.flush()
            return work(transaction)
        case _:
            raise TypeError(f"{type(request).__name__} is nothing to commit")
