"""A real dashboard behind its HTTP application, for tests of what callers see."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import falcon.testing
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.origin import Origin
from jobledger.actors.dashboard.ports import AgentRefused, AgentUnreachable
from jobledger.actors.notifications.notifier import Notifying
from jobledger.domain.messages import Initiation, PublishedInstance
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    Grouping,
    JobPlan,
    ListedJob,
)
from jobledger.http.dashboard.app import Application
from jobledger.http.dashboard.auth import Authentication, Nobody
from jobledger.http.dashboard.services import Services, Waiting

JSON = "application/json"
START = 1_790_000_000_000


class Clock:
    """Tells what it is told, a millisecond later each time, so that no two facts are of one instant."""

    def __init__(self, now: int = START) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self._now += 1
            return self._now

    def advance(self, by_ms: int) -> None:
        """Let time pass."""
        with self._lock:
            self._now += by_ms


class QuietAgent:
    """An agent that accepts and remembers everything, and has written what it is told."""

    recognises_repeats = True

    def __init__(self) -> None:
        self.written: dict[tuple[str, str], bytes] = {}
        self.queued: dict[str, bytes] = {}
        self.published: list[str] = []
        self.initiated: list[str] = []
        self.reachable = True

    def provision(self, jobs: object, *, order: int) -> None:
        """Accepted."""

    def withdraw(self, plan: str, *, order: int) -> None:
        """Accepted."""

    def publish(self, instance: PublishedInstance, plan: object, *, order: int) -> None:
        """Accepted."""
        self.published.append(instance.instance_id)

    def remove(self, instance_id: str, ended_at: int, *, order: int) -> None:
        """Accepted."""

    def initiate(self, initiations: list[Initiation]) -> list[None]:
        """All accepted."""
        self.initiated += [each.instance_id for each in initiations]
        return [None for _ in initiations]

    def kill(self, initiation_id: str | None, pid: int | None, *, force: bool) -> None:
        """Accepted."""

    def output(self, initiation_id: str, stream: str, offset: int, limit: int) -> bytes:
        """What was put into ``written``."""
        if not self.reachable:
            raise AgentUnreachable("agent host cannot be reached")
        return self.written.get((initiation_id, stream), b"")[offset : offset + limit]

    def queues(self, look: str) -> bytes:
        """What was put into ``queued``."""
        if not self.reachable:
            raise AgentUnreachable("agent host cannot be reached")
        if look not in self.queued:
            raise AgentRefused("404: there is no queue of that name")
        return self.queued[look]

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class Served:
    """A dashboard, the application over it, and a client that calls it without a network."""

    dashboard: Dashboard
    application: Application
    client: falcon.testing.TestClient
    agent: QuietAgent
    headers: dict[str, str]

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> falcon.testing.Result:
        """A request with a JSON body, or with bytes as they are."""
        headers = {**self.headers, **more.pop("headers", {})}
        if body is not None:
            headers.setdefault("Content-Type", JSON)
            more["body"] = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.client.simulate_request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> falcon.testing.Result:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> falcon.testing.Result:
        return self.call("POST", path, body, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> falcon.testing.Result:
        return self.call("PUT", path, body, **more)

    def push(self, plan: JobPlan) -> None:
        """Make it the newest version, without HTTP."""
        self.dashboard.push_plan(plan, {}, Origin(by="test"))

    def start(self, plan: str = "nightly") -> str:
        """The id of a fresh instance."""
        answer = self.post(f"/api/v1/plans/{plan}/instances")
        assert answer.status_code == 201, answer.text
        return str(answer.json["instance_id"])

    def shown(self, instance_id: str) -> dict[str, Any]:
        """An instance as it is now."""
        document: dict[str, Any] = self.get(f"/api/v1/instances/{instance_id}").json
        return document

    def settle(self) -> None:
        """Return when every event that was taken has been dealt with."""
        eventually(lambda: not self.dashboard.ledger.unhandled(limit=1))

    def digest(self) -> str:
        """Of everything that is stored: the same before and after whatever changed nothing."""
        self.settle()
        told = hashlib.sha256()
        for table in _TABLES:
            for row in self.dashboard.ledger.reader.rows(f"SELECT * FROM {table}"):
                told.update(repr(tuple(row)).encode())
        return told.hexdigest()


_TABLES = (
    *("stored_events", "inbox", "instances", "plans", "agents", "answers", "users", "tokens"),
    "notifications",
)


@contextmanager
def served(
    data_dir: Path,
    *,
    authentication: Authentication | None = None,
    body_limit_bytes: int = 1024 * 1024,
    waiting_places: int = 2,
    notifying: Notifying | None = None,
    **config: Any,
) -> Iterator[Served]:
    """A dashboard that runs, with the plan ``nightly`` pushed."""
    agent = QuietAgent()
    dashboard = Dashboard(
        DashboardConfig(data_dir=data_dir, threads=2, **config),
        open_transport=lambda _url: agent,
        clock=Clock(),
        notifying=notifying,
    )
    dashboard.start()
    try:
        application = Application(
            Services(dashboard, Waiting(waiting_places)),
            authentication or Nobody(),
            body_limit_bytes=body_limit_bytes,
        )
        running = Served(dashboard, application, falcon.testing.TestClient(application), agent, {})
        running.push(nightly())
        yield running
        running.settle()
    finally:
        dashboard.close()


def nightly(name: str = "nightly", command: str = "true") -> JobPlan:
    """Load, then check in a context of its own; a global event beside them."""
    load = CommandJob(agent="host", name="load", command_line=command)
    check = CommandJob(agent="host", name="check", command_line=command)
    event = EventJob.listed(EventKind.GLOBAL, "market closed")
    return JobPlan(
        root=Context(
            name=name,
            jobs=(ListedJob("host", "load"), ListedJob("GLOBAL_EVENT", "market closed")),
            dependencies=(Dependency("host-load"), Dependency(event.identifier)),
            contexts=(
                Context(
                    name=f"{name} checks",
                    jobs=(ListedJob("host", "load"), ListedJob("host", "check")),
                    dependencies=(Dependency("host-check", Grouping(all_of=("host-load",))),),
                ),
            ),
        ),
        jobs=(load, check, event),
        concurrent=True,
    )


def finished(instance_id: str | UUID, job: str = "load", **more: Any) -> dict[str, Any]:
    """The event by which an agent says that a job finished well."""
    return {
        "agentName": "host",
        "jobName": job,
        "contextInstanceId": str(instance_id),
        "contextName": "nightly",
        "jobStarting": False,
        "successful": True,
        "returnCode": 0,
        "fireTime": START,
        "completionTime": START + 5,
        **more,
    }


def eventually(holds: Callable[[], bool], within_seconds: float = 10.0) -> None:
    """Return as soon as a condition holds; fail if it does not in time."""
    deadline = monotonic() + within_seconds
    pause = threading.Event()
    while not holds():
        assert monotonic() < deadline, "it did not come to pass in time"
        pause.wait(0.005)
