"""Agents that take every order and do nothing by themselves: the story tells what became of the orders."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from jobledger.actors.dashboard.ports import AgentRefused, AgentUnreachable
from jobledger.domain.messages import Initiation, ProvisionedJobs, PublishedInstance
from jobledger.domain.plan import JobPlan


@dataclass(frozen=True)
class Order:
    """One thing that an agent was told."""

    agent: str
    verb: str
    """initiate, kill, publish, remove, provision or withdraw."""
    instance_id: str = ""
    plan: str = ""
    initiation: Initiation | None = None
    initiation_id: str = ""
    published: PublishedInstance | None = None
    jobs: tuple[str, ...] = ()
    """The names of the jobs, of a provision."""
    force: bool = False
    """Of a kill."""


class Orders:
    """What all agents of a stage were told, in the order in which they were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[Order] = []

    def add(self, order: Order) -> None:
        with self._lock:
            self._orders.append(order)

    def all(self) -> list[Order]:
        """Everything so far."""
        with self._lock:
            return list(self._orders)


class StandInAgent:
    """Stands in for one agent; the way to it may be cut, and it may refuse jobs."""

    recognises_repeats = True

    def __init__(self, name: str, orders: Orders) -> None:
        self.name = name
        self.reachable = True
        self.refuses: set[str] = set()
        self._orders = orders

    def provision(self, jobs: ProvisionedJobs, *, order: int = 0) -> None:
        """Take note."""
        names = tuple(job.name for job in jobs.jobs)
        self._told(Order(self.name, "provision", plan=jobs.plan, jobs=names))

    def withdraw(self, plan: str, *, order: int = 0) -> None:
        """Take note."""
        self._told(Order(self.name, "withdraw", plan=plan))

    def publish(self, instance: PublishedInstance, plan: JobPlan | None = None, *, order: int = 0) -> None:
        """Take note."""
        self._told(Order(self.name, "publish", instance.instance_id, plan=instance.plan, published=instance))

    def remove(self, instance_id: str, ended_at: int = 0, *, order: int = 0) -> None:
        """Take note."""
        self._told(Order(self.name, "remove", instance_id))

    def initiate(self, initiations: Sequence[Initiation]) -> list[str | None]:
        """Take note of those that it does not refuse."""
        self._must_be_reached()
        answers: list[str | None] = []
        for each in initiations:
            refusal = "no such job here" if each.job in self.refuses else None
            answers.append(refusal)
            if refusal is None:
                order = Order(
                    self.name, "initiate", each.instance_id, each.plan, initiation=each, initiation_id=each.id
                )
                self._told(order)
        return answers

    def kill(self, initiation_id: str | None, pid: int | None, *, force: bool) -> None:
        """Take note; a kill is of an initiation, or of a process where only that is known."""
        run = initiation_id or f"pid {pid}"
        self._told(Order(self.name, "kill", initiation_id=run, force=force))

    def output(self, initiation_id: str, stream: str, offset: int, limit: int) -> bytes:
        """It has none."""
        self._must_be_reached()
        raise AgentRefused(f"{initiation_id} wrote no {stream} here")

    def queues(self, look: str) -> bytes:
        """It has none."""
        self._must_be_reached()
        raise AgentRefused(f"there is nothing to look into at {look}")

    def close(self) -> None:
        """Nothing is held."""

    def _must_be_reached(self) -> None:
        if not self.reachable:
            raise AgentUnreachable(f"agent {self.name} does not answer")

    def _told(self, order: Order) -> None:
        self._must_be_reached()
        self._orders.add(order)
