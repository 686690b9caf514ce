"""A waitress server that finishes what is in hand before it stops: what both processes serve with."""

import contextlib
import ipaddress
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from types import FrameType
from typing import Any

from waitress import wasyncore  # type: ignore[import-untyped]  # waitress ships no types
from waitress.server import TcpWSGIServer, create_server  # type: ignore[import-untyped]

STOPPING_SECONDS = 20.0
"""How long requests that are in hand may take to finish once the process is told to stop."""
_LOOK_SECONDS = 1.0
_CROWD = 16
_BREATH_SECONDS = 0.002
"""Each turn of waitress looks at every connection. With many of them, a breath between turns lets one turn
serve several; docs/decisions/0009-http.md has the figures."""
_HEADER_LIMIT_BYTES = 64 * 1024
_SPARE_BYTES = 64 * 1024
"""A body a little over the limit is let in, so that the application can say what is wrong with it."""


class NotLoopback(ValueError):
    """A server that takes anybody at their word was to be bound where others could reach it."""


def is_loopback(host: str) -> bool:
    """Whether only this host can reach an address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return _resolves_to_loopback(host)


def _resolves_to_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(each[4][0]).is_loopback for each in found)


class HttpServer:
    """One application on one port."""

    def __init__(
        self, application: Any, *, host: str, port: int, threads: int, body_limit_bytes: int
    ) -> None:
        # Requests that wait for a thread are no news: there are more connections than threads.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._sockets: dict[int, Any] = {}
        self._stopping = threading.Event()
        self._closing = threading.RLock()
        """Reentrant: the signal that stops the server may arrive on the thread that closes it."""
        self._closed = False
        server = create_server(
            application,
            map=self._sockets,
            host=host,
            port=port,
            threads=threads,
            ident=None,
            connection_limit=1000,
            channel_timeout=120,
            backlog=1024,
            asyncore_use_poll=True,
            max_request_header_size=_HEADER_LIMIT_BYTES,
            max_request_body_size=body_limit_bytes + _SPARE_BYTES,
        )
        if not isinstance(server, TcpWSGIServer):
            raise TypeError(f"{host} names several addresses; give one of them")
        self._server = server

    @property
    def url(self) -> str:
        """Where it listens."""
        host = self._server.effective_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._server.effective_port}"

    def serve_until_signalled(self, on_stopping: Callable[[], None]) -> None:
        """Say on standard output where it listens, and serve until SIGTERM or SIGINT."""
        with _stopped_by_signals(self.stop):
            sys.stdout.write(f"listening on {self.url}\n")
            sys.stdout.flush()
            self.serve(on_stopping)

    def stop(self) -> None:
        """Have ``serve`` finish what is in hand and return; may be called from a signal handler."""
        self._stopping.set()
        with self._closing:
            # Woken by something else, it may be over by now, and the trigger's descriptor be another file's.
            if not self._closed:
                self._server.pull_trigger()

    def serve(self, on_stopping: Callable[[], None]) -> None:
        """Serve until ``stop``; what was received by then is answered, what was not is not taken any more."""
        while not self._stopping.is_set():
            self._turn(_LOOK_SECONDS)
        wasyncore.dispatcher.close(self._server)
        on_stopping()
        deadline = monotonic() + STOPPING_SECONDS
        while self._let_idle_go() and monotonic() < deadline:
            self._turn(0.05)
        self._server.task_dispatcher.shutdown(timeout=max(0.1, deadline - monotonic()))
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        with self._closing:
            self._closed = True
            self._server.trigger.close()

    def _turn(self, timeout_seconds: float) -> None:
        if len(self._sockets) > _CROWD:
            self._stopping.wait(_BREATH_SECONDS)
        wasyncore.loop(timeout=timeout_seconds, map=self._sockets, use_poll=True, count=1)

    def _let_idle_go(self) -> bool:
        """Close connections on which nothing is under way; whether any is left."""
        channels = list(self._server.active_channels.values())
        for channel in channels:
            if not (channel.requests or channel.request or channel.total_outbufs_len):
                channel.handle_close()
        return bool(self._server.active_channels)


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT mean: finish and stop. Only the main thread can be told so."""

    def heard(_number: int, _frame: FrameType | None) -> None:
        stop()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, heard) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
