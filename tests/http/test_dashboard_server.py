"""The dashboard as a process on a real port: ready, busy, flooded, stopped."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import falcon
import psutil
import pytest
from dashboard_over_http import eventually, finished
from jobledger.http.dashboard.limits import DEFAULT_BODY_LIMIT_BYTES as LIMIT
from jobledger.http.serving import HttpServer

PLAN_FILE = "plan: nightly\njobs:\n  load:\n    agent: host\n    command: echo load\n"
IDLE_MEMORY_MEBIBYTES = 80


class Process:
    """A dashboard in a process of its own."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self._log = (data_dir.parent / f"{data_dir.name}.log").open("w+b")
        self.child = subprocess.Popen(
            [
                *(sys.executable, "-m", "jobledger", "dashboard", "--data-dir", str(data_dir)),
                *("--port", "0", "--auth", "none", *arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )
        assert self.child.stdout is not None
        self.first_line = self.child.stdout.readline().decode()
        found = re.fullmatch(r"listening on (http://\S+)\n", self.first_line)
        assert found, f"it said {self.first_line!r} and told its log {self.log()!r}"
        self.url = found[1]

    def connection(self, timeout_seconds: float = 30) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        assert parts.hostname
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)

    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname
        assert parts.port
        return parts.hostname, parts.port

    def ask(
        self, method: str, path: str, body: str | bytes | None = None, media: str = "application/json"
    ) -> tuple[int, bytes]:
        """One request on a connection of its own."""
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body, {"Content-Type": media} if body is not None else {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def stop(self) -> int:
        """Tell it to stop and wait for it."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout=40)

    def close(self) -> None:
        """Make sure that it is gone."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait(timeout=10)
        assert self.child.stdout is not None
        self.child.stdout.close()
        self._log.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path / "data")
    try:
        yield running
    finally:
        running.close()


def accepts_connections(process: Process) -> bool:
    try:
        socket.create_connection(process.address(), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def started(process: Process) -> str:
    status, text = process.ask("PUT", "/api/v1/plans/nightly", PLAN_FILE, "application/yaml")
    assert status in {200, 201}, text
    status, text = process.ask("POST", "/api/v1/plans/nightly/instances", "{}")
    assert status == 201, text
    return str(json.loads(text)["instance_id"])


def test_it_says_where_it_listens_and_that_nobody_needs_an_account(process: Process) -> None:
    assert process.ask("GET", "/health/ready") == (200, b'{"status":"ready"}')
    assert "no accounts" in process.log()
    for line in process.log().splitlines():
        assert json.loads(line)["level"], "the log is not one JSON document a line"


def test_told_to_stop_it_exits_with_0_and_what_was_answered_is_there_again(tmp_path: Path) -> None:
    first = Process(tmp_path / "data")
    try:
        instance_id = started(first)
        assert first.ask("PUT", "/rest/event/scheduled", json.dumps(finished(instance_id)))[0] == 200
        assert first.stop() == 0, first.log()
    finally:
        first.close()
    second = Process(tmp_path / "data")
    try:

        def complete() -> bool:
            _status, text = second.ask("GET", f"/api/v1/instances/{instance_id}")
            return bool(json.loads(text)["root"]["jobs"][0]["status"] == "COMPLETE")

        eventually(complete)
        assert second.stop() == 0
    finally:
        second.close()


def test_told_to_stop_it_answers_who_waits_and_closes_idle_connections(process: Process) -> None:
    instance_id = started(process)
    idle = socket.create_connection(process.address(), timeout=30)
    waiting = process.connection()
    waiting.request("GET", f"/api/v1/instances/{instance_id}?after=1&wait=60")
    # Another request is answered only after the one before it was read.
    assert process.ask("GET", "/health/live")[0] == 200

    assert process.stop() == 0, process.log()

    answer = waiting.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["position"] == 1
    assert idle.recv(1) == b"", "an idle connection was left open"
    idle.close()
    waiting.close()


def test_told_to_stop_again_when_it_has_stopped_it_stays_stopped() -> None:
    server = HttpServer(falcon.App(), host="127.0.0.1", port=0, threads=1, body_limit_bytes=LIMIT)
    thread = threading.Thread(target=server.serve, args=(lambda: None,))
    thread.start()
    server.stop()
    thread.join(timeout=30)
    assert not thread.is_alive()

    server.stop()


def test_a_request_that_is_half_received_is_finished_before_it_stops(process: Process) -> None:
    instance_id = started(process)
    body = json.dumps(finished(instance_id)).encode()
    with socket.create_connection(process.address(), timeout=30) as half:
        head = f"PUT /rest/event/scheduled HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        half.sendall(head.encode() + body[:10])
        assert process.ask("GET", "/health/live")[0] == 200
        process.child.send_signal(signal.SIGTERM)
        eventually(lambda: not accepts_connections(process))
        half.sendall(body[10:])
        assert half.recv(1000).startswith(b"HTTP/1.1 200")
    assert process.child.wait(timeout=40) == 0


def test_sixty_four_clients_with_kept_connections_are_all_served(process: Process) -> None:
    instance_id = started(process)
    ready = threading.Barrier(64)

    def report(number: int) -> list[int]:
        statuses = []
        with contextlib.closing(process.connection()) as connection:
            ready.wait(timeout=30)
            for turn in range(5):
                event = json.dumps(finished(instance_id, id=f"{number}-{turn}"))
                connection.request("PUT", "/rest/event/scheduled", event)
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
        return statuses

    with ThreadPoolExecutor(64) as clients:
        results = list(clients.map(report, range(64)))

    assert results == [[200] * 5] * 64

    def all_accounted_for() -> bool:
        _status, text = process.ask("GET", f"/api/v1/instances/{instance_id}")
        return bool(json.loads(text)["position"] >= 1 + 64 * 5)

    eventually(all_accounted_for, within_seconds=30)


@pytest.mark.parametrize("over", [1, 1024 * 1024])
def test_a_body_over_the_limit_is_refused_on_the_wire(process: Process, over: int) -> None:
    with socket.create_connection(process.address(), timeout=30) as wire:
        head = f"PUT /rest/event/scheduled HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT + over}\r\n\r\n"
        wire.sendall(head.encode())
        with contextlib.suppress(OSError):
            # The server may refuse, and close, before all of it is sent.
            wire.sendall(bytes(LIMIT + over))
        assert b" 413 " in wire.recv(1000)


def test_a_chunked_body_is_read_and_one_over_the_limit_is_refused(process: Process) -> None:
    event = json.dumps(finished(started(process))).encode()

    def chunked(pieces: list[bytes]) -> int:
        with contextlib.closing(process.connection()) as connection:
            with contextlib.suppress(OSError):
                connection.request("PUT", "/rest/event/scheduled", iter(pieces), encode_chunked=True)
            return connection.getresponse().status

    assert chunked([event[:50], event[50:]]) == 200
    assert chunked([b" " * 1024 * 1024] * 17) == 413


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PUT /rest/event/scheduled HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"PUT /rest/event/scheduled HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"PUT /rest/event/scheduled HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PUT /rest/event/scheduled HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/plans HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
)
def test_garbage_on_the_wire_is_refused_and_the_next_caller_is_served(
    process: Process, request_bytes: bytes
) -> None:
    with socket.create_connection(process.address(), timeout=30) as wire:
        with contextlib.suppress(OSError):
            wire.sendall(request_bytes)
        with contextlib.suppress(OSError):
            told = wire.recv(10_000)
            assert not told or re.match(rb"HTTP/1\.[01] 4\d\d ", told), told
    assert process.ask("GET", "/health/live")[0] == 200


def test_a_name_with_a_slash_has_an_address(process: Process) -> None:
    plan = PLAN_FILE.replace("nightly", '"a/b"')

    assert process.ask("PUT", "/api/v1/plans/a%2Fb", plan, "application/yaml")[0] == 201
    assert process.ask("GET", "/api/v1/plans/a%2Fb")[0] == 200
    assert process.ask("GET", "/api/v1/plans/a/b")[0] == 404


def test_an_idle_dashboard_is_small(process: Process) -> None:
    started(process)

    used = psutil.Process(process.child.pid).memory_info().rss / 1024**2

    assert used <= IDLE_MEMORY_MEBIBYTES, f"it uses {used:.0f} MiB"


def test_without_accounts_it_is_not_bound_where_others_could_reach_it(tmp_path: Path) -> None:
    refused = subprocess.run(
        [
            *(sys.executable, "-m", "jobledger", "dashboard", "--data-dir", str(tmp_path / "data")),
            *("--port", "0", "--auth", "none", "--host", "0.0.0.0"),  # noqa: S104  that is what is refused
        ],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ},
    )

    assert refused.returncode == 2
    assert b"loopback" in refused.stderr
    assert not (tmp_path / "data").exists(), "a refused start left something behind"


def test_with_accounts_it_asks_for_credentials(tmp_path: Path) -> None:
    running = Process(tmp_path / "data", "--auth", "users")
    try:
        assert running.ask("GET", "/api/v1/plans")[0] == 401
        assert running.ask("GET", "/health/live")[0] == 200
        assert running.stop() == 0
    finally:
        running.close()
