"""The queues of instances as existing clients look into them: what waits, and what was put aside."""

from typing import Any

import msgspec

from ...actors.dashboard.errors import UnknownName
from ...actors.dashboard.queues import Queue, queue_of
from ...storage.mapper import UnreadableFact
from ...storage.records import InboxEntry, Outgoing
from ..wire.queue_messages import QueueMessage, message_of_entry, message_of_initiation
from .callers import Access
from .routes import NO_BODY, Answer, AnyQuery, Call, Handler, Looking, Route
from .services import Services

_OF_ANY = "queues may be of any"
"""As with dead letters: what waits may be of any plan, or of none that is known."""

ANSWERS: dict[str, dict[int, Any]] = {
    "queues": {200: list[str]},
    "queue_sizes": {200: dict[str, int]},
    "queue_size": {200: int},
    "peek_queue": {200: QueueMessage, 204: None},
    "queue_messages": {200: list[QueueMessage]},
}
"""What each service that only looks answers."""


class SizesQuery(msgspec.Struct, frozen=True, rename="camel"):
    """Whether queues in which nothing is are told too."""

    include_zeros: bool = True


class Queues:
    """The resources of queues."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard
        self._queues = services.dashboard.queues

    def names(self, call: Call[None, AnyQuery]) -> Answer:
        """The names of all."""
        call.caller.must_see_all(_OF_ANY)
        return Answer([str(each) for each in sorted(self._queues.sizes())])

    def sizes(self, call: Call[None, SizesQuery]) -> Answer:
        """How much is in each."""
        call.caller.must_see_all(_OF_ANY)
        sizes = sorted(self._queues.sizes().items())
        return Answer({str(each): size for each, size in sizes if size or call.query.include_zeros})

    def size(self, call: Call[None, AnyQuery]) -> Answer:
        """How much is in one."""
        return Answer(self._queues.sizes().get(self._queue(call), 0))

    def peek(self, call: Call[None, AnyQuery]) -> Answer:
        """The oldest message of one; nothing when there is none."""
        found = self._messages(self._queue(call), limit=1)
        return Answer(found[0]) if found else Answer(status=204)

    def messages(self, call: Call[None, AnyQuery]) -> Answer:
        """The messages of one, oldest first."""
        return Answer(self._messages(self._queue(call)))

    def delete(self, call: Call[None, AnyQuery]) -> Answer:
        """Give one dead letter up."""
        queue, number = self._queue(call), call.path["message_id"]
        if not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise UnknownName(f"queue {queue} has no message {number[:200]}")
        self._queues.delete(queue, int(number), call.origin())
        return Answer()

    def delete_all(self, call: Call[None, AnyQuery]) -> Answer:
        """Give all dead letters of a queue up."""
        self._queues.delete_all(self._queue(call), call.origin())
        return Answer()

    def _queue(self, call: Call[None, Any]) -> Queue:
        call.caller.must_see_all(_OF_ANY)
        return queue_of(call.path["queue"])

    def _messages(self, queue: Queue, **limit: int) -> list[QueueMessage]:
        plan = self._plan_of(queue)
        found = self._queues.messages(queue, **limit)
        entries = [each for each in found if isinstance(each, InboxEntry)]
        events = self._dashboard.events([each.position for each in entries])
        return [
            *(message_of_entry(each, events.get(each.position), plan) for each in entries),
            *(message_of_initiation(each, plan) for each in found if isinstance(each, Outgoing)),
        ]

    def _plan_of(self, queue: Queue) -> str | None:
        """The plan of the queue's instance, as far as that is known."""
        try:
            return self._dashboard.plan_of_instance(queue.instance_id)
        except (UnknownName, UnreadableFact):
            return None


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of these resources."""
    queues = Queues(services)
    base = "/rest/dashboard/bigQueue"

    read = Looking(base, ANSWERS).row

    def delete(path: str, name: str, summary: str, handle: Handler[AnyQuery]) -> Route[Any, Any]:
        return Route(
            method="DELETE",
            path=f"{base}/delete/{path}",
            name=name,
            summary=summary,
            access=Access.ADMIN,
            handle=handle,
            body=NO_BODY,
            query=AnyQuery,
            answers={200: None},
            errors=(409,),
        )

    return (
        read("", "queues", "List the queues of instances", queues.names, AnyQuery),
        read("/size", "queue_sizes", "Say how much is in each queue", queues.sizes, SizesQuery),
        read("/size/{queue}", "queue_size", "Say how much is in a queue", queues.size, AnyQuery),
        read("/peek/{queue}", "peek_queue", "Show the oldest message of a queue", queues.peek, AnyQuery),
        read(
            "/messages/{queue}",
            "queue_messages",
            "Show the messages of a queue, oldest first",
            queues.messages,
            AnyQuery,
        ),
        delete(
            "{queue}/{message_id}", "delete_queue_message", "Give a dead letter up for good", queues.delete
        ),
        delete(
            "allMessages/{queue}",
            "delete_queue_messages",
            "Give all dead letters of an instance up for good",
            queues.delete_all,
        ),
        delete(
            "{queue}",
            "delete_queue",
            "Give all dead letters of an instance up for good, and with them their queue",
            queues.delete_all,
        ),
    )
