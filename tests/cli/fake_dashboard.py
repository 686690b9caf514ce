"""A dashboard that answers what a test tells it to, over real HTTP, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

INSTANCE_ID = "0b5a4c1e-7d1f-4c62-9a55-0c8f0f3f7d10"


@dataclass
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What is answered: bytes as they are, anything else as JSON."""

    content: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeDashboard:
    """Answers by method and path; ``hang_up`` closes so many connections without an answer first."""

    url: str = ""
    answers: dict[tuple[str, str], Callable[[Asked], Reply]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    hang_up: int = 0
    connections: int = 0

    def on(self, method: str, path: str, answer: Any) -> None:
        """Answer with a document, a ``Reply``, or what a function makes of the request."""
        if callable(answer):
            self.answers[method, path] = answer
        else:
            reply = answer if isinstance(answer, Reply) else Reply(answer)
            self.answers[method, path] = lambda _asked: reply

    def last(self, method: str) -> Asked:
        return [each for each in self.asked if each.method == method][-1]


@contextmanager
def serving() -> Iterator[FakeDashboard]:
    """A fake dashboard on a free port of the loopback interface."""
    fake = FakeDashboard()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            fake.connections += 1

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(
                self.command,
                unquote(parts.path),
                dict(parse_qsl(parts.query)),
                dict(self.headers.items()),
                body,
            )
            fake.asked.append(asked)
            if fake.hang_up:
                fake.hang_up -= 1
                self.close_connection = True
                return
            answer = fake.answers.get((asked.method, asked.path))
            missing = Reply({"title": "Not found", "status": 404, "detail": f"no {asked.path}"}, 404)
            reply = missing if answer is None else answer(asked)
            content = (
                reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
            )
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  the names that http.server calls

        def log_message(self, *_arguments: object) -> None:
            """Nothing: a test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def job(name: str, status: str = "WAITING", **more: Any) -> dict[str, Any]:
    """A job as the dashboard shows it."""
    return {
        "identifier": f"host-{name}",
        "agent": "host",
        "name": name,
        "kind": "command",
        "status": status,
        **more,
    }


def instance(
    *jobs: dict[str, Any],
    status: str = "RUNNING",
    position: int = 5,
    children: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    """An instance of the plan ``nightly`` as the dashboard shows it."""
    return {
        "instance_id": INSTANCE_ID,
        "plan": "nightly",
        "plan_version": 3,
        "status": status,
        "position": position,
        "started_at": "2026-03-01T02:00:00.000Z",
        "ends_at": None,
        "ended_at": None,
        "parameters": {},
        "counts": {status: len(jobs)},
        "root": {"name": "nightly", "status": status, "jobs": list(jobs), "contexts": list(children)},
    }


def page(*items: Any, following: str | None = None) -> dict[str, Any]:
    """A page of a list."""
    return {"items": list(items), "next": following}


def with_nightly(fake: FakeDashboard, shown: dict[str, Any]) -> None:
    """Have the fake know one instance, by its id and as the newest of the plan ``nightly``."""
    fake.on("GET", "/api/v1/instances", page({**shown, "root": None}))
    fake.on("GET", f"/api/v1/instances/{INSTANCE_ID}", shown)
