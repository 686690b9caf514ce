"""What the agent's actors ask of the world: the time, alarms, and a dashboard."""

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import msgspec

from ...domain.instants import Instant
from ...domain.messages import ProcessEvent, PublishedInstance


class Alarms(Protocol):
    """Tells when an instant has come."""

    def set(self, key: Hashable, at: Instant, act: Callable[[], None]) -> None:
        """Run ``act``, which must not block, once the instant has come; replaces an alarm of the same key."""
        ...

    def cancel(self, key: Hashable) -> None:
        """Forget an alarm; nothing happens if there is none."""
        ...


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent says of itself, at start and as its heartbeat."""

    name: str
    url: str
    version: str
    host: str
    running: int = 0
    queued: int = 0
    problems: tuple[str, ...] = ()
    """What a person should see to on the agent's host, in words."""


class DashboardUnreachable(ConnectionError):
    """The dashboard did not answer, or answered that it cannot now or does not know us: try again later."""


class DashboardRefused(RuntimeError):
    """The dashboard answered that what it was given is wrong: giving it again would not help."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


class DashboardClient(Protocol):
    """The way to the dashboard, or to several that stand in for each other."""

    def deliver(self, events: Sequence[ProcessEvent]) -> int:
        """Give it events in their order; how many, from the first on, it has on disk now: at least one.

        Raises ``DashboardRefused`` (of one event: that one; of several: one among them, and it took none) and
        ``DashboardUnreachable``.
        """
        ...

    def announce(self, announcement: Announcement) -> None:
        """Say where this agent is; raises ``DashboardUnreachable`` and ``DashboardRefused``."""
        ...

    def active_instances(self, agent: str) -> list[PublishedInstance]:
        """The active plan instances that concern the agent.

        Raises ``DashboardUnreachable``, ``DashboardRefused``.
        """
        ...

    def close(self) -> None:
        """Let go of connections; a request under way is given up by its own time limit."""
        ...
