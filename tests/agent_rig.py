"""An agent under test: in this process with a dashboard in memory, or as a process with one over HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import urllib3
from jobledger.actors.agent.agent import Agent
from jobledger.actors.agent.config import AgentConfig
from jobledger.actors.agent.ports import Announcement, DashboardRefused, DashboardUnreachable
from jobledger.domain.instants import Instant
from jobledger.domain.messages import Initiation, ProcessEvent, PublishedInstance
from jobledger.domain.plan import CommandJob

WAIT_SECONDS = 30.0
AGENT = "host"


def initiation(
    number: int | str, script: str = "true", *, job: str | None = None, instance: str = "i1", **more: Any
) -> Initiation:
    """An initiation with its template."""
    name = job or f"job{number}"
    template = more.pop("template", CommandJob(agent=AGENT, name=name, command_line=script))
    return Initiation(
        id=f"id-{number}",
        agent=AGENT,
        job=name,
        plan="plan",
        instance_id=instance,
        template=template,
        **more,
    )


class Told:
    """What a dashboard was told, to be waited for."""

    def __init__(self) -> None:
        self.events: list[ProcessEvent] = []
        self.condition = threading.Condition()

    def add(self, events: Sequence[ProcessEvent]) -> None:
        with self.condition:
            self.events.extend(events)
            self.condition.notify_all()

    def wait_for(self, enough: Callable[[list[ProcessEvent]], bool]) -> list[ProcessEvent]:
        """Wait until it is enough; the test fails when it never is."""
        with self.condition:
            assert self.condition.wait_for(lambda: enough(self.events), WAIT_SECONDS), self.events
            return list(self.events)

    def wait_finished(self, *ids: str) -> dict[str, ProcessEvent]:
        """Wait for the ends of these initiations."""
        wanted = {f"{each}/finished" for each in ids}
        events = self.wait_for(lambda events: wanted <= {event.id for event in events})
        return {
            event.initiation_id: event
            for event in events
            if event.id in wanted and event.initiation_id is not None
        }


class InMemoryDashboard:
    """A dashboard that can be away, and can refuse."""

    def __init__(self) -> None:
        self.told = Told()
        self.away = threading.Event()
        self.refuses: Callable[[ProcessEvent], DashboardRefused | None] = lambda _event: None
        self.requests: list[int] = []
        self.announcements: list[Announcement] = []
        self.instances: list[PublishedInstance] = []
        self.questions = 0

    def deliver(self, events: Sequence[ProcessEvent]) -> int:
        if self.away.is_set():
            raise DashboardUnreachable("away")
        self.requests.append(len(events))
        for event in events:
            refusal = self.refuses(event)
            if refusal is not None:
                raise refusal
        self.told.add(events)
        return len(events)

    def announce(self, announcement: Announcement) -> None:
        if self.away.is_set():
            raise DashboardUnreachable("away")
        self.announcements.append(announcement)

    def active_instances(self, agent: str) -> list[PublishedInstance]:
        self.questions += 1
        if self.away.is_set():
            raise DashboardUnreachable("away")
        return list(self.instances)

    def close(self) -> None:
        """There is nothing to let go of."""


class ManualTime:
    """A clock and alarms that a test moves by hand."""

    def __init__(self, now: Instant) -> None:
        self.now = now
        self.alarms: dict[Hashable, tuple[Instant, Callable[[], None]]] = {}
        self.lock = threading.Lock()

    def __call__(self) -> Instant:
        return self.now

    def set(self, key: Hashable, at: Instant, act: Callable[[], None]) -> None:
        with self.lock:
            self.alarms[key] = (at, act)

    def cancel(self, key: Hashable) -> None:
        with self.lock:
            self.alarms.pop(key, None)

    def move_to(self, instant: Instant) -> None:
        """Let the time be that, and ring what has come due."""
        self.now = instant
        with self.lock:
            due = [key for key, (at, _) in self.alarms.items() if at <= instant]
            acts = [self.alarms.pop(key)[1] for key in due]
        for act in acts:
            act()


def now_ms() -> Instant:
    return time.time_ns() // 1_000_000


@contextmanager
def agent_in(
    folder: Path, dashboard: InMemoryDashboard, *, clock: Callable[[], Instant] = now_ms, **config: Any
) -> Iterator[Agent]:
    """An agent of this process, started."""
    settings = {"kill_grace_seconds": 1.0, "heartbeat_seconds": 0.2, **config}
    agent = Agent(
        AgentConfig(name=AGENT, data_dir=folder, dashboard_urls=("http://nowhere",), **settings),
        client=dashboard,
        clock=clock,
        version="test",
    )
    try:
        agent.start("http://127.0.0.1:1")
        yield agent
    finally:
        agent.close()


class StandInDashboard:
    """Answers what agents ask, over HTTP, and remembers it."""

    def __init__(self, *, takes_lists: bool = True) -> None:
        self.takes_lists = takes_lists
        self.condition = threading.Condition()
        self.events: list[dict[str, Any]] = []
        self.announced: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.status_of: Callable[[dict[str, Any]], int] = lambda _event: 200
        self.busy: Callable[[], bool] = lambda: False
        self.away = False
        self.instances: dict[str, Any] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, object]:
        with self.condition:
            self.requests.append((method, path, headers))
            try:
                return self._answer(method, path, body)
            finally:
                self.condition.notify_all()

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        if self.away:
            return 503, {"detail": "away"}
        if path.startswith("/rest/jobContext/getByAgentName"):
            return 200, self.instances
        if path.startswith("/api/v1/") and not self.takes_lists:
            return 404, {"errorMessage": "no such service"}
        if path.startswith("/api/v1/agents/"):
            self.announced.append((path.rpartition("/")[2], json.loads(body)))
            return 200, {}
        if self.busy():
            return 503, {"detail": "try again"}
        given = json.loads(body)
        events = given if isinstance(given, list) else [given]
        status = max((self.status_of(event) for event in events), default=200)
        if status == 200:
            self.events += events
        return status, {"detail": "as the test wants it"}

    def wait_for(self, enough: Callable[[list[dict[str, Any]]], bool], seconds: float = WAIT_SECONDS) -> None:
        with self.condition:
            assert self.condition.wait_for(lambda: enough(self.events), seconds), self.events[-20:]

    def wait_finished(self, *ids: str) -> list[dict[str, Any]]:
        """Wait for the ends of these; all events, in the order in which they came."""
        wanted = {f"{each}/finished" for each in ids}
        self.wait_for(lambda events: wanted <= {event["id"] for event in events})
        with self.condition:
            return list(self.events)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = stand_in.answer(self.command, self.path, dict(self.headers), body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815  as the base class wants them

        return Handler


_START = """
import sys
from pathlib import Path
import msgspec
from jobledger.actors.agent.config import AgentConfig
from jobledger.http.agent.server import run_agent
settings = msgspec.json.decode(sys.argv[1], type=dict)
run_agent(msgspec.convert({**settings, "data_dir": Path(settings["data_dir"])}, AgentConfig))
"""


class AgentProcess:
    """An agent as a process; remembers its port, so that it can be started again where it was."""

    def __init__(self, folder: Path, *dashboard_urls: str, **config: Any) -> None:
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.http = urllib3.PoolManager(maxsize=32, retries=False, timeout=urllib3.Timeout(30.0))
        self._config = {
            "name": AGENT,
            "data_dir": str(folder / "agent"),
            "dashboard_urls": dashboard_urls,
            "kill_grace_seconds": 1.0,
            "heartbeat_seconds": 0.5,
            **config,
        }

    def start(self) -> float:
        """Start it and wait for its line; how many seconds that took."""
        began = time.perf_counter()
        with (self.folder / "agent.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps({**self._config, "port": self.port})],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)\n", line):
                self.port = int(found[1])
                threading.Thread(target=_drain, args=(self.process.stdout,), daemon=True).start()
                return time.perf_counter() - began
        self.end(signal.SIGKILL)
        raise RuntimeError(f"the agent did not start:\n{(self.folder / 'agent.log').read_text()[-4000:]}")

    def end(self, how: signal.Signals) -> int:
        """Signal it; its exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        with process:
            process.send_signal(how)
            try:
                return process.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

    def kill(self) -> None:
        """As the kernel would: without a warning."""
        self.end(signal.SIGKILL)

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """One request; the answer's status and its JSON or bytes."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        answer = self.http.request(method, f"http://127.0.0.1:{self.port}{path}", body=data, headers=headers)
        media = answer.headers.get("Content-Type", "")
        assert answer.data or "json" not in media, f"{method} {path} says that nothing is JSON"
        return answer.status, json.loads(answer.data) if "json" in media and answer.data else answer.data

    def __enter__(self) -> "AgentProcess":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.end(signal.SIGTERM)
        self.http.clear()


def _drain(stream: Any) -> None:
    try:
        for _line in stream:
            continue
    except ValueError:
        return


def wire(number: int | str, script: str = "true", *, job: str | None = None, **more: Any) -> dict[str, Any]:
    """An initiation as a dashboard writes it."""
    return {
        "initiationId": f"id-{number}",
        "agentName": AGENT,
        "jobName": job or f"job{number}",
        "contextName": "plan",
        "contextInstanceId": "i1",
        "internalEventDrivenJob": {"commandLine": script},
        **more,
    }
