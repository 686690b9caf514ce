"""What waits for instances and for their agents, as the queues that existing clients know.

They are views: of the inbox, of the initiations that agents have not accepted yet, and of the dead letters.
"""

from collections.abc import Callable
from enum import StrEnum
from uuid import UUID

import msgspec

from ...domain.commands import Refused
from ...storage.ledger import Ledger
from ...storage.records import InboxEntry, Outgoing
from .errors import NotPermitted, UnknownName
from .origin import Origin

MOST_MESSAGES = 10_000
"""Of one queue that are shown at a time; they are its oldest."""

_INITIATE = "initiate"


class QueueKind(StrEnum):
    """What a queue holds; the words begin its name."""

    INBOUND = "inbound"
    """What came for an instance and has not been dealt with."""
    OUTBOUND = "outbound"
    """Initiations of an instance that no agent has accepted yet."""
    DEAD = "dlq"
    """What came for an instance and could not be dealt with."""


class Queue(msgspec.Struct, frozen=True, order=True):
    """A queue of an instance."""

    instance_id: UUID
    kind: QueueKind

    def __str__(self) -> str:
        return f"{self.kind}-{self.instance_id}-queue"


def queue_of(name: str) -> Queue:
    """The queue of that name; raises ``UnknownName``."""
    kind, _, rest = name.partition("-")
    if kind in set(QueueKind) and rest.endswith("-queue"):
        try:
            return Queue(UUID(rest.removesuffix("-queue")), QueueKind(kind))
        except ValueError:
            pass
    raise UnknownName(f"there is no queue {name[:200]}")


class Queues:
    """The queues of all instances."""

    def __init__(self, ledger: Ledger, active: Callable[[], list[UUID]]) -> None:
        """``active`` gives the instances that have queues even if nothing is in them."""
        self._ledger = ledger
        self._active = active

    def sizes(self) -> dict[Queue, int]:
        """How much is in each queue: of the active instances, and of those for which there is something."""
        sizes = {Queue(each, kind): 0 for each in self._active() for kind in QueueKind}
        plans = {row.stream for row in self._ledger.plans(deleted=True)}
        for kind, counts in (
            (QueueKind.INBOUND, self._ledger.unhandled_counts()),
            (QueueKind.OUTBOUND, self._ledger.undelivered_counts(_INITIATE)),
            (QueueKind.DEAD, self._ledger.parked_counts()),
        ):
            sizes |= {Queue(each, kind): count for each, count in counts.items() if each not in plans}
        return sizes

    def messages(self, queue: Queue, limit: int = MOST_MESSAGES) -> list[InboxEntry] | list[Outgoing]:
        """What is in a queue, oldest first."""
        match queue.kind:
            case QueueKind.INBOUND:
                return self._ledger.unhandled(queue.instance_id, limit=limit)
            case QueueKind.OUTBOUND:
                return self._ledger.undelivered_of(_INITIATE, queue.instance_id, limit)
            case QueueKind.DEAD:
                return self._ledger.parked(limit=limit, stream=queue.instance_id)

    def delete(self, queue: Queue, number: int, origin: Origin) -> None:
        """Give one dead letter up for good.

        Raises ``UnknownName`` when it is not there, and ``NotPermitted`` for a queue of another kind.
        """
        _must_hold_dead_letters(queue)
        found = self._ledger.parked(after=number - 1, limit=1, stream=queue.instance_id)
        if [each.position for each in found] != [number] or not self._ledger.discard(number, origin.by):
            raise UnknownName(f"queue {queue} has no message {number}")

    def delete_all(self, queue: Queue, origin: Origin) -> None:
        """Give all dead letters of a queue up; raises ``NotPermitted`` for another that holds something."""
        if self.messages(queue, limit=1):
            _must_hold_dead_letters(queue)
        while entries := self._ledger.parked(stream=queue.instance_id):
            for each in entries:
                self._ledger.discard(each.position, origin.by)


def _must_hold_dead_letters(queue: Queue) -> None:
    """What is on its way may be at its instance or its agent by now: it cannot be taken back unseen."""
    match queue.kind:
        case QueueKind.INBOUND:
            reason = "its instance is dealing with it: end the instance if nothing more is to happen in it"
        case QueueKind.OUTBOUND:
            reason = "its agent may have it by now: kill or reset the job, or end its instance"
        case QueueKind.DEAD:
            return
    raise NotPermitted(Refused(reason=f"nothing is deleted from {queue}: {reason}"))
