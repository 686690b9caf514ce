"""The registry of agents: they announce themselves at start and as a heartbeat."""

from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from ...actors.dashboard.agents import AgentView as KnownAgent
from ...storage.accounts import Role
from ..wire.views import AgentView, written
from .callers import Access, forbidden
from .errors import invalid
from .routes import NO_BODY, Answer, Call, NoQuery, Route, json_body
from .services import Services

Problem = Annotated[str, msgspec.Meta(max_length=1000)]
Load = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class AnnounceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an agent is, and how much it has to do."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    """Its base URL, as the dashboard reaches it."""
    version: Annotated[str, msgspec.Meta(max_length=200)] = ""
    host: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    running: Load = 0
    queued: Load = 0
    problems: Annotated[tuple[Problem, ...], msgspec.Meta(max_length=20)] = ()
    """What a person should see to on its host."""


class AgentList(msgspec.Struct, frozen=True):
    """Every agent that ever announced itself."""

    items: tuple[AgentView, ...]
    next: str | None = None


class Announced(msgspec.Struct, frozen=True):
    """The agent is known."""

    name: str


class Agents:
    """The resources of agents."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def list(self, call: Call[None, NoQuery]) -> Answer:
        """Those that the caller may see."""
        known = self._dashboard.agents()
        return Answer(
            AgentList(tuple(agent_view(each) for each in known if call.caller.sees_agent(each.name)))
        )

    def announce(self, call: Call[AnnounceBody, NoQuery]) -> Answer:
        """An agent says where it is and that it lives."""
        name, body = call.path["name"], call.body
        if call.caller.role is Role.AGENT and not call.caller.sees_agent(name):
            raise forbidden(f"{call.caller.name} cannot announce agent {name}")
        self._dashboard.announce(
            name,
            url=_base_url(body.url),
            host=body.host,
            version=body.version,
            running=body.running,
            queued=body.queued,
            problems=body.problems,
        )
        return Answer(Announced(name))


def agent_view(agent: KnownAgent) -> AgentView:
    """An agent, with its times written out."""
    return AgentView(
        name=agent.name,
        url=agent.url,
        host=agent.host,
        version=agent.version,
        reachable=agent.reachable,
        last_seen=written(agent.last_seen),
        running=agent.running,
        queued=agent.queued,
        problems=agent.problems,
        refused=agent.refused,
    )


def _base_url(text: str) -> str:
    """The URL without a slash at its end; refused if nothing could be reached there."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or any(character.isspace() or not character.isprintable() for character in text):
        raise invalid(f"{text!r} is no http or https URL of an agent", "/url")
    return text.rstrip("/")


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    agents = Agents(services)
    return (
        Route(
            method="GET",
            path="/api/v1/agents",
            name="list_agents",
            summary="List the agents, and whether they can be reached",
            access=Access.READ,
            handle=agents.list,
            body=NO_BODY,
            query=NoQuery,
            answers={200: AgentList},
        ),
        Route(
            method="PUT",
            path="/api/v1/agents/{name}",
            name="announce_agent",
            summary="Announce an agent, at its start and as a heartbeat",
            access=Access.ADMIN_OR_AGENT,
            handle=agents.announce,
            body=json_body(AnnounceBody),
            query=NoQuery,
            answers={200: Announced},
        ),
    )
