"""What the dashboard's actors ask of the world beyond the database: agents to talk to, and the time."""

from collections.abc import Sequence
from typing import Protocol

from ...domain.instants import Instant
from ...domain.messages import Initiation, ProvisionedJobs, PublishedInstance
from ...domain.plan import JobPlan


class AgentUnreachable(ConnectionError):
    """The agent did not answer, or answered that it cannot now: the same order is given again later."""


class AgentRefused(RuntimeError):
    """The agent answered that the order is wrong: giving it again would not help."""


class AgentTransport(Protocol):
    """The way to one agent. Every call raises ``AgentUnreachable`` or returns once the agent has it on disk.

    All calls may be repeated: agents take the same order twice as one. One that was given up on may arrive
    late: agents do nothing of a lower ``order`` than what they were told last of that plan or instance.
    """

    @property
    def recognises_repeats(self) -> bool:
        """Whether that holds for initiations too; agents that are not ours may run them again."""
        ...

    def provision(self, jobs: ProvisionedJobs, *, order: int) -> None:
        """Give the agent the jobs of a plan, in place of those that it had; raises ``AgentRefused``."""
        ...

    def withdraw(self, plan: str, *, order: int) -> None:
        """Take a plan's jobs from the agent."""
        ...

    def publish(self, instance: PublishedInstance, plan: JobPlan, *, order: int) -> None:
        """Let schedules and file watchers fire for an instance of a plan; raises ``AgentRefused``."""
        ...

    def remove(self, instance_id: str, ended_at: Instant, *, order: int) -> None:
        """Let nothing fire any more for an instance that has ended."""
        ...

    def initiate(self, initiations: Sequence[Initiation]) -> list[str | None]:
        """Have jobs run; for each, ``None`` or why the agent refuses it for good."""
        ...

    def kill(self, initiation_id: str | None, pid: int | None, *, force: bool) -> None:
        """Stop the process group of a run, by force or not; one that has ended already is no error.

        Without an initiation somebody else has started it, and the process is all that is known.
        """
        ...

    def output(self, initiation_id: str, stream: str, offset: int, limit: int) -> bytes:
        """What a run wrote, from an offset; raises ``AgentRefused`` when the agent has none of it."""
        ...

    def queues(self, look: str) -> bytes:
        """What the agent says of its queues, in JSON; raises ``AgentRefused`` for what it does not know.

        ``look`` is the end of an address below ``/rest/big/queue``; empty asks for their names.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
