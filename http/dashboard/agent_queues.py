"""The queues of agents, looked into through the dashboard by existing clients."""

from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from .callers import forbidden
from .errors import FieldError, Refusal
from .routes import Answer, AnyQuery, Call, Looking, Route
from .services import Services

T = TypeVar("T")

Message = dict[str, Any]
ANSWERS: dict[str, dict[int, Any]] = {
    "agent_queues": {200: list[str]},
    "agent_queue_sizes": {200: dict[str, int]},
    "agent_queue_size": {200: int},
    "peek_agent_queue": {200: Message, 204: None},
    "agent_queue_messages": {200: list[Message]},
}
"""What each service answers, which is what the agent answers."""


class AgentQueues:
    """The resources."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def names(self, call: Call[None, AnyQuery]) -> Answer:
        """The names of an agent's queues."""
        return Answer(self._told(call, "", list[str]))

    def sizes(self, call: Call[None, AnyQuery]) -> Answer:
        """How much is in each queue of an agent."""
        zeros = call.path["include_zeros"].lower()
        if zeros not in {"true", "false"}:
            detail = f"give true or false, not {zeros[:80]!r}"
            raise Refusal(400, detail, errors=(FieldError(detail),))
        return Answer(self._told(call, f"size?includeZeros={zeros}", dict[str, int]))

    def size(self, call: Call[None, AnyQuery]) -> Answer:
        """How much is in one."""
        return Answer(self._told(call, f"size/{_queue(call)}", int))

    def peek(self, call: Call[None, AnyQuery]) -> Answer:
        """The oldest message of one; nothing when there is none."""
        told = self._ask(call, f"peek/{_queue(call)}")
        return Answer(_read(told, Message)) if told else Answer(status=204)

    def messages(self, call: Call[None, AnyQuery]) -> Answer:
        """The messages of one."""
        return Answer(self._told(call, f"messages/{_queue(call)}", list[Message]))

    def _told(self, call: Call[None, AnyQuery], look: str, kind: type[T]) -> T:
        return _read(self._ask(call, look), kind)

    def _ask(self, call: Call[None, AnyQuery], look: str) -> bytes:
        agent = call.path["module"]
        call.caller.must_see_agent(agent)
        if call.caller.plans is not None:
            raise forbidden(f"{call.caller.name} is limited to plans; the queues of an agent may be of any")
        return self._dashboard.queues_of_agent(agent, look)


def _queue(call: Call[None, AnyQuery]) -> str:
    return quote(call.path["queue"], safe="")


def _read(told: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(told, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(502, f"what the agent answered does not read: {error}") from error


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of these resources."""
    queues = AgentQueues(services)

    row = Looking("/rest/module/bigQueue", ANSWERS, errors=(502,)).row

    return (
        row("/{module}", "agent_queues", "List the queues of an agent", queues.names, AnyQuery),
        row(
            "/size/module/{include_zeros}/{module}",
            "agent_queue_sizes",
            "Say how much is in each queue of an agent",
            queues.sizes,
            AnyQuery,
        ),
        row(
            "/size/{queue}/{module}",
            "agent_queue_size",
            "Say how much is in a queue of an agent",
            queues.size,
            AnyQuery,
        ),
        row(
            "/peek/{queue}/{module}",
            "peek_agent_queue",
            "Show the oldest message of a queue of an agent",
            queues.peek,
            AnyQuery,
        ),
        row(
            "/messages/{queue}/{module}",
            "agent_queue_messages",
            "Show the messages of a queue of an agent",
            queues.messages,
            AnyQuery,
        ),
    )
