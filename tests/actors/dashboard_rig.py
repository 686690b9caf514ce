"""A dashboard on a real ledger, with agents that live in memory and a clock that the test sets."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.origin import Origin
from jobledger.actors.dashboard.ports import AgentRefused, AgentUnreachable
from jobledger.domain.instance import InstanceState
from jobledger.domain.messages import Initiation, ProcessEvent, ProvisionedJobs, PublishedInstance
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    Grouping,
    JobPlan,
    ListedJob,
    StartWindow,
)
from ledger_samples import wait_until

DATABASE_URL: str | None = None
"""Where dashboards of this module keep their ledger; ``None``: SQLite in the test's folder."""

OPERATOR = Origin(by="olga", source="10.0.0.7", reason="test")


class MemoryAgent:
    """Takes orders into lists; can be out of reach, or refuse."""

    recognises_repeats = True

    def __init__(self) -> None:
        self.reachable = True
        self.refuses: set[str] = set()
        self.told: list[str] = []
        self.initiations: list[Initiation] = []
        self.orders: list[int] = []
        self.removed: dict[str, int] = {}
        self._changed = threading.Condition()

    def _tell(self, what: str) -> None:
        if not self.reachable:
            raise AgentUnreachable("nobody answers")
        with self._changed:
            self.told.append(what)
            self._changed.notify_all()

    def provision(self, jobs: ProvisionedJobs, *, order: int) -> None:
        self.orders.append(order)
        self._tell(f"provision {jobs.plan}")
        if "provision" in self.refuses:
            raise AgentRefused("no jobs here")

    def withdraw(self, plan: str, *, order: int) -> None:
        self.orders.append(order)
        self._tell(f"withdraw {plan}")

    def publish(self, instance: PublishedInstance, plan: JobPlan, *, order: int) -> None:
        self.orders.append(order)
        self._tell(f"publish {instance.plan}")

    def remove(self, instance_id: str, ended_at: int, *, order: int) -> None:
        self.orders.append(order)
        self.removed[instance_id] = ended_at
        self._tell("remove")

    def initiate(self, initiations: Sequence[Initiation]) -> list[str | None]:
        answers: list[str | None] = []
        for initiation in initiations:
            self._tell(f"initiate {initiation.job}")
            refused = initiation.job in self.refuses
            answers.append("no such job here" if refused else None)
            if not refused:
                with self._changed:
                    self.initiations.append(initiation)
                    self._changed.notify_all()
        return answers

    def kill(self, initiation_id: str | None, pid: int | None, *, force: bool) -> None:
        self._tell(f"kill {pid}{' by force' if force else ''}")

    def output(self, initiation_id: str, stream: str, offset: int, limit: int) -> bytes:
        if not self.reachable:
            raise AgentUnreachable("nobody answers")
        if stream == "stderr":
            raise AgentRefused("it wrote none")
        return b"hello"[offset : offset + limit]

    def queues(self, look: str) -> bytes:
        raise AgentRefused(f"it has no queues to look into: {look}")

    def close(self) -> None:
        return

    def wait_for(self, done: Callable[["MemoryAgent"], bool], seconds: float = 10.0) -> None:
        """Return once the agent was told what the test waits for."""
        with self._changed:
            if not self._changed.wait_for(lambda: done(self), seconds):
                raise AssertionError(f"the agent was only told {self.told}")


class Bench:
    """The dashboard under test; it can be stopped and opened again on the same data."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.config = config
        self.now = 1_800_000_000_000
        self.agents: dict[str, MemoryAgent] = {}
        self.dashboard = self._open()

    def _open(self) -> Dashboard:
        dashboard = Dashboard(
            DashboardConfig(data_dir=self.folder, database_url=DATABASE_URL, threads=4, **self.config),
            open_transport=lambda url: self.agents[url],
            clock=lambda: self.now,
        )
        dashboard.start()
        return dashboard

    def agent(self, name: str = "host") -> MemoryAgent:
        """An agent that has announced itself; its url is its name."""
        agent = self.agents.setdefault(name, MemoryAgent())
        self.dashboard.announce(name, url=name, host="here", version="1")
        return agent

    def restart(self) -> None:
        """Stop and open again."""
        self.dashboard.close()
        self.dashboard = self._open()

    def report(self, instance_id: UUID, job: str, number: int | None = None, **given: object) -> list[int]:
        """An agent reports; ``number`` is the initiation's."""
        event = ProcessEvent(
            agent="host",
            job=job,
            instance_id=str(instance_id),
            initiation_id=None if number is None else f"{instance_id}-{number}",
            **given,  # type: ignore[arg-type]
        )
        return self.dashboard.receive([event], OPERATOR)

    def wait(
        self, instance_id: UUID, done: Callable[[InstanceState], bool], seconds: float = 10.0
    ) -> InstanceState:
        """The instance's state once it is as the test expects."""
        deadline = time.monotonic() + seconds
        state = self.dashboard.instance(instance_id)
        while not done(state):
            assert time.monotonic() < deadline, f"{state.status} {state.counts()} at {state.position}"
            state = self.dashboard.wait_for_change(instance_id, state.position, 0.5)
        return state

    def wait_delivered(self, left: int = 0, agent: str = "host") -> None:
        """Return once so many deliveries to an agent are left."""
        wait_until(
            lambda: len(self.dashboard.ledger.outgoing(agent)) == left,
            f"{left} deliveries to {agent} are left",
        )

    def pass_time(self, to: int) -> None:
        """Set the clock, and have the timers look at it."""
        self.now = to
        self.dashboard.look_at_clock()


@contextmanager
def bench(folder: Path, **config: Any) -> Iterator[Bench]:
    """A bench that is closed at the end."""
    opened = Bench(folder, **config)
    try:
        yield opened
    finally:
        opened.dashboard.close()


def plan_of(
    name: str,
    jobs: Sequence[str],
    after: dict[str, Sequence[str]] | None = None,
    *,
    window: StartWindow | None = None,
    **fields: object,
) -> JobPlan:
    """A plan of one context with commands on the agent ``host``."""
    return JobPlan(
        root=Context(
            name=name,
            jobs=tuple(ListedJob("host", job) for job in jobs),
            dependencies=tuple(
                Dependency(f"host-{job}", Grouping(all_of=tuple(f"host-{each}" for each in needed)))
                for job, needed in (after or {}).items()
            ),
        ),
        jobs=tuple(CommandJob(agent="host", name=job, command_line="true") for job in jobs),
        window=window or StartWindow(),
        **fields,  # type: ignore[arg-type]
    )
