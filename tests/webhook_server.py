"""A real HTTP server on the loopback interface that takes what webhooks are told, or does not."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Posted:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class WebhookServer:
    """Takes requests until it is stopped; started again, it is at the same port."""

    answer: Callable[[Posted], tuple[int, dict[str, str], bytes]] = lambda _posted: (204, {}, b"")
    port: int = 0
    posted: list[Posted] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = threading.Event()
        """While it is clear, requests are not answered."""
        self.gate.set()
        self.connections = 0
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> "WebhookServer":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posted = Posted(self.path, {name.lower(): each for name, each in self.headers.items()}, body)
                outer._take(posted)
                outer.gate.wait(60)
                status, headers, content = outer.answer(posted)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST  # noqa: N815  the library's name

            def log_message(self, *_: object) -> None:
                """The test looks at what was posted."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that went away is what some tests are about."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def __enter__(self) -> "WebhookServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.stop()

    def _take(self, posted: Posted) -> None:
        with self._changed:
            self.posted.append(posted)
            self._changed.notify_all()

    def wait_for(self, count: int, seconds: float = 20.0) -> list[Posted]:
        """Return once so many requests came."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.posted) >= count, seconds):
                raise AssertionError(f"only {len(self.posted)} came")
            return list(self.posted)
