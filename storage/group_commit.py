"""Groups of requests, each written in one transaction: who asked is told, and what came in is announced.

Nothing here knows of threads; the committer calls it from its own.
"""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from eventsourcing import persistence
from eventsourcing.domain import EventSourcingError

from ..domain.instants import Instant
from . import inbox
from .engine import Engine, Transaction
from .reader import Reader
from .records import Conflict, InboxEntry, Unavailable, Unstorable
from .requests import Deliver, Receive, Request, Save, Step
from .write_set import WriteSet

_log = structlog.get_logger(__name__)

_REFUSED = (
    persistence.DataError,
    persistence.IntegrityError,
    persistence.ProgrammingError,
    persistence.NotSupportedError,
)
"""Errors for which one request is to blame; all others mean that the database cannot be written to now."""


class GroupCommit:
    """Writes to one database what was asked together. For one thread at a time."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], Instant],
        announce: Callable[[Sequence[InboxEntry]], None],
    ) -> None:
        """``announce`` gets the inbox entries that each commit made durable, in the order of positions.

        Raises ``Unavailable``.
        """
        self._engine = engine
        self._clock = clock
        self._announce = announce
        self._announced_to = Reader(engine).rows("SELECT MAX(position) FROM inbox")[0][0] or 0
        self._in_doubt = False

    def commit(self, group: Sequence[Request[Any]]) -> None:
        """Settle every request of the group: written, in conflict, or told why it could not be."""
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
                self.commit([request])
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
