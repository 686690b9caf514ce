"""Who calls, and what they may do: the table of roles, and limits to plans and agents."""

from collections.abc import Iterable
from enum import Enum

import msgspec

from ...storage.accounts import Account, Role
from .errors import Refusal


class Access(Enum):
    """What a service asks of its caller."""

    OPEN = "nothing"
    READ = "role read"
    WRITE = "role write"
    ADMIN = "role admin"
    REPORT = "role write, or to be an agent"
    READ_OR_AGENT = "role read, or to be an agent"
    ADMIN_OR_AGENT = "role admin, or to be an agent"


_READ = frozenset({Role.READ, Role.WRITE, Role.ADMIN})
_WRITE = frozenset({Role.WRITE, Role.ADMIN})
_ADMIN = frozenset({Role.ADMIN})
_AGENT = frozenset({Role.AGENT})

MAY: dict[Access, frozenset[Role]] = {
    Access.READ: _READ,
    Access.WRITE: _WRITE,
    Access.ADMIN: _ADMIN,
    Access.REPORT: _WRITE | _AGENT,
    Access.READ_OR_AGENT: _READ | _AGENT,
    Access.ADMIN_OR_AGENT: _ADMIN | _AGENT,
}
"""The roles that a service is open to; ``Access.OPEN`` is open to those without an account too."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever sent a request, after their credentials were found good."""

    name: str
    role: Role
    plans: frozenset[str] | None = None
    """The plans they are limited to; ``None``: all."""
    agents: frozenset[str] | None = None
    """The agents they are limited to; ``None``: all. An agent's own account is limited to itself."""

    @property
    def unlimited(self) -> bool:
        """Whether no limit to plans or agents applies."""
        return self.plans is None and self.agents is None

    def sees_plan(self, plan: str) -> bool:
        """Whether the plan is within their limits."""
        return self.plans is None or plan in self.plans

    def sees_agent(self, agent: str) -> bool:
        """Whether the agent is within their limits."""
        return self.agents is None or agent in self.agents

    def must_see_all(self, because: str) -> None:
        """Raises a ``Refusal`` of 403 for whoever is limited at all; ``because`` says what may be of any."""
        if not self.unlimited:
            raise forbidden(f"{self.name} is limited to plans or agents; {because}")

    def must_see_plan(self, plan: str) -> None:
        """Raises a ``Refusal`` of 403 for a plan outside their limits."""
        if not self.sees_plan(plan):
            raise forbidden(f"{self.name} is not allowed to use plan {plan}")

    def must_see_agent(self, agent: str) -> None:
        """Raises a ``Refusal`` of 403 for an agent outside their limits."""
        self.must_see_agents((agent,))

    def must_see_agents(self, agents: Iterable[str]) -> None:
        """Raises a ``Refusal`` of 403 if any of the agents is outside their limits."""
        for agent in agents:
            if not self.sees_agent(agent):
                raise forbidden(f"{self.name} is not allowed to use agent {agent}")


def caller_of(account: Account) -> Caller:
    """Whom an account speaks for; that of an agent for the agent of its name, unless it says otherwise."""
    agents = account.agents
    if account.role is Role.AGENT and agents is None:
        agents = frozenset({account.name})
    return Caller(name=account.name, role=account.role, plans=account.plans, agents=agents)


ANYBODY = Caller(name="anonymous", role=Role.READ, plans=frozenset(), agents=frozenset())
"""The caller of a service that asks for no account."""

TRUSTED = Caller(name="anonymous", role=Role.ADMIN)
"""Every caller of a dashboard that runs without accounts, on the loopback interface alone."""


def forbidden(detail: str) -> Refusal:
    """403, with the reason."""
    return Refusal(403, detail)
