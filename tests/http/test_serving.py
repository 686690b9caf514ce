"""The server that both processes serve with, stopped from another thread."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import urllib3
from jobledger.http.serving import HttpServer


def hello(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


def test_a_server_that_is_over_before_it_is_woken_is_stopped_all_the_same(monkeypatch: Any) -> None:
    server = HttpServer(hello, host="127.0.0.1", port=0, threads=1, body_limit_bytes=1000)
    thread = threading.Thread(target=server.serve, args=(lambda: None,))
    thread.start()
    client = urllib3.PoolManager()
    assert client.request("GET", server.url).data == b"hello"
    told = server._stopping.set

    def told_and_woken_by_the_client() -> None:
        told()
        client.clear()
        thread.join(10)

    monkeypatch.setattr(server._stopping, "set", told_and_woken_by_the_client)
    server.stop()
    assert not thread.is_alive()
