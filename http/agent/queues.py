"""What waits on an agent, as the queues that existing clients look into, below ``/rest/big/queue``.

``inbound`` has the initiations that are not finished, ``outbound`` the events that no dashboard has yet, and
``dead-letters`` those that it refused for good.
"""

import falcon

from ...actors.agent.agent import Agent
from ...actors.agent.orders import Phase
from ...domain.instants import Instant
from ...domain.messages import ProcessEvent
from ..wire.queue_messages import QueueMessage, message_of_order, message_of_report
from .errors import Refusal
from .requests import answer, flag

INBOUND, OUTBOUND, DEAD = "inbound", "outbound", "dead-letters"
MOST_MESSAGES = 10_000
_BEGUN = frozenset({Phase.STARTING, Phase.RUNNING})


class Names:
    """Which queues there are."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Their names."""
        answer(resp, list(self._agent.sizes))


class Sizes:
    """How much is in each queue."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """By name; without those in which nothing is, if they are not wanted."""
        zeros = flag(req, "includeZeros", otherwise=True)
        answer(resp, {name: size for name, size in self._agent.sizes.items() if size or zeros})


class Size:
    """How much is in one queue."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, _req: falcon.Request, resp: falcon.Response, queue: str) -> None:
        """A number."""
        answer(resp, self._agent.sizes[_known(self._agent, queue)])


class Peek:
    """The oldest message of a queue."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, _req: falcon.Request, resp: falcon.Response, queue: str) -> None:
        """It, or 204 when there is none."""
        found = _messages(self._agent, _known(self._agent, queue), 1)
        if found:
            answer(resp, found[0])
        else:
            resp.status = 204


class Messages:
    """The messages of a queue."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, _req: falcon.Request, resp: falcon.Response, queue: str) -> None:
        """The oldest of them, in order."""
        answer(resp, _messages(self._agent, _known(self._agent, queue), MOST_MESSAGES))


class MessageRemoval:
    """The end of one message."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_delete(self, _req: falcon.Request, _resp: falcon.Response, queue: str, message_id: str) -> None:
        """Let go of a dead letter, or take an initiation that waits out of its queue."""
        match _known(self._agent, queue):
            case "inbound":
                self._call_off(message_id)
            case "dead-letters":
                self._discard(message_id)
            case _:
                raise _never_told()

    def _call_off(self, initiation_id: str) -> None:
        row = next((each for each in self._agent.runs() if each.order.id == initiation_id), None)
        if row is None:
            raise Refusal(404, f"queue {INBOUND} has no message {initiation_id[:200]}")
        if row.phase in _BEGUN:
            raise Refusal(409, f"initiation {initiation_id} is being carried out: kill it instead")
        self._agent.kill(initiation_id, force=False)

    def _discard(self, number: str) -> None:
        for position, _letter in self._agent.dead_letters(MOST_MESSAGES):
            if str(position) == number:
                self._agent.discard_dead_letter(position)
                return
        raise Refusal(404, f"queue {DEAD} has no message {number[:200]}")


class MessagesRemoval:
    """The end of all messages of a queue."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_delete(self, _req: falcon.Request, _resp: falcon.Response, queue: str) -> None:
        """As one by one; initiations that are being carried out stay."""
        match _known(self._agent, queue):
            case "inbound":
                for row in self._agent.runs():
                    if row.phase not in _BEGUN:
                        self._agent.kill(row.order.id, force=False)
            case "dead-letters":
                while letters := self._agent.dead_letters(MOST_MESSAGES):
                    for position, _letter in letters:
                        self._agent.discard_dead_letter(position)
            case _ if self._agent.undelivered(1):
                raise _never_told()


def _known(agent: Agent, queue: str) -> str:
    if queue not in agent.sizes:
        raise Refusal(404, f"there is no queue {queue[:200]}")
    return queue


def _never_told() -> Refusal:
    return Refusal(409, f"nothing is deleted from {OUTBOUND}: the dashboard would never hear of it")


def _messages(agent: Agent, queue: str, limit: int) -> list[QueueMessage]:
    match queue:
        case "inbound":
            orders = [row.order for row in agent.runs()[:limit]]
            return [message_of_order(each.initiation, each.accepted.accepted_at) for each in orders]
        case "outbound":
            return [
                message_of_report(each.position, each.event, _told_at(each.event))
                for each in agent.undelivered(limit)
            ]
        case _:
            return [
                message_of_report(position, letter.event, letter.at, error=f"{letter.status} {letter.reason}")
                for position, letter in agent.dead_letters(limit)
            ]


def _told_at(event: ProcessEvent) -> Instant:
    """When what an event tells of was; 0 if nobody knows."""
    return event.completed_at or event.fired_at or 0


def add_routes(app: "falcon.App[falcon.Request, falcon.Response]", agent: Agent) -> None:
    """Put all of them below ``/rest/big/queue``."""
    base = "/rest/big/queue"
    app.add_route(base, Names(agent))
    app.add_route(f"{base}/size", Sizes(agent))
    app.add_route(f"{base}/size/{{queue}}", Size(agent))
    app.add_route(f"{base}/peek/{{queue}}", Peek(agent))
    app.add_route(f"{base}/messages/{{queue}}", Messages(agent))
    app.add_route(f"{base}/delete/{{queue}}", MessagesRemoval(agent))
    app.add_route(f"{base}/delete/allMessages/{{queue}}", MessagesRemoval(agent))
    app.add_route(f"{base}/delete/{{queue}}/{{message_id}}", MessageRemoval(agent))
