"""Durable events a second from sixty-four clients: one event a request, and fifty events a request."""

import json
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from durations import percentile
from report import amount, fdatasync_per_second, show
from rig import bundle, command, running

CLIENTS = 64
SECONDS = amount(50, 3) / 10


def request(instance: str, number: int, count: int, size: int) -> bytes:
    """One request with events that were never sent before."""
    events = [
        {
            "id": f"{number}-{size}-{count}-{each}",
            "agentName": "host",
            "jobName": "heard",
            "contextInstanceId": instance,
            "jobStarting": False,
            "successful": True,
            "fireTime": count * size + each + 1,
        }
        for each in range(size)
    ]
    line, body = ("PUT /rest/event/scheduled", events[0]) if size == 1 else ("POST /api/v1/events", events)
    text = json.dumps(body).encode()
    head = (
        f"{line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


class Client:
    """A connection with at most one request under way."""

    def __init__(self, port: int, instance: str, number: int, size: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._what = (instance, number, size)
        self._count = 0
        self._sent_at = 0.0
        self._answer = b""

    def send(self) -> None:
        """The next request."""
        instance, number, size = self._what
        self._count += 1
        data = request(instance, number, self._count, size)
        self._sent_at = time.perf_counter()
        self.socket.sendall(data)

    def read(self) -> float | None:
        """The seconds that the request took, once its answer is whole."""
        self._answer += self.socket.recv(65536)
        head, split, body = self._answer.partition(b"\r\n\r\n")
        if not split:
            return None
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if length is not None and len(body) < int(length[1]):
            return None
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(self._answer.decode())
        self._answer = b""
        return time.perf_counter() - self._sent_at


def clients(port: int, instance: str, first: int, number: int, size: int) -> list[float]:
    """Several clients in one loop, so that they leave the processors to the server."""
    took: list[float] = []
    waiting = selectors.DefaultSelector()
    for each in range(first, first + number):
        client = Client(port, instance, each, size)
        waiting.register(client.socket, selectors.EVENT_READ, client)
        client.send()
    under_way = number
    until = time.perf_counter() + SECONDS
    while under_way:
        for key, _ in waiting.select():
            seconds = key.data.read()
            if seconds is None:
                continue
            took.append(seconds)
            if time.perf_counter() < until:
                key.data.send()
            else:
                under_way -= 1
    return took


def measure(url: str, instance: str, size: int) -> tuple[float, float]:
    """Events a second, and the 99th percentile of a request in milliseconds."""
    port = url.rpartition(":")[2]
    output = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--client", port, instance, "0", str(CLIENTS), str(size)],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    took = json.loads(output)
    return len(took) * size / SECONDS, percentile(took, 0.99) * 1000


def main() -> None:
    """Against one dashboard whose instance hears every event."""
    if "--client" in sys.argv:
        port, instance, *numbers = sys.argv[sys.argv.index("--client") + 1 :]
        first, number, size = (int(each) for each in numbers)
        print(json.dumps(clients(int(port), instance, first, number, size)))
        return
    syncs = fdatasync_per_second()
    with tempfile.TemporaryDirectory(prefix="jobledger-") as name, running(Path(name)) as rig:
        rig.push(bundle("hearing", [command("heard", "true")], {}))
        instance = rig.begin("hearing")
        single, single_p99 = measure(rig.dashboard.url, instance, 1)
        listed, listed_p99 = measure(rig.dashboard.url, instance, 50)
    show(
        "ingestion",
        {
            "single events/s (floor 3000)": single,
            "single p99 ms (floor 50)": single_p99,
            "lists of 50, events/s": listed,
            "lists of 50, p99 ms of a list": listed_p99,
            "fdatasync/s, measured now": syncs,
            "single / fdatasync": single / syncs,
            "lists / fdatasync": listed / syncs,
        },
    )


if __name__ == "__main__":
    main()
