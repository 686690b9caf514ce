"""A real dashboard on a port of its own, for commands whose answers a stand-in would have to make up."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import structlog
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.ports import AgentTransport, AgentUnreachable
from jobledger.http.dashboard.app import Application
from jobledger.http.dashboard.auth import Nobody
from jobledger.http.dashboard.services import Services
from jobledger.http.serving import HttpServer

START = 1_790_000_000_000
BODY_LIMIT_BYTES = 16 * 1024 * 1024


def _no_agent(url: str) -> AgentTransport:
    raise AgentUnreachable(f"nobody is at {url}")


@contextmanager
def dashboard_on_a_port(data_dir: Path, **settings: Any) -> Iterator[str]:
    """The address of a dashboard that knows no agent, and whose clock moves when it is looked at."""
    # Its log lines would be taken for the output of the commands that run in this process.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    ticks = count(START)
    config = DashboardConfig(data_dir=data_dir, threads=2, **settings)
    dashboard = Dashboard(config, open_transport=_no_agent, clock=lambda: next(ticks))
    dashboard.start()
    services = Services(dashboard)
    server = HttpServer(
        Application(services, Nobody(), body_limit_bytes=BODY_LIMIT_BYTES),
        host="127.0.0.1",
        port=0,
        threads=2,
        body_limit_bytes=BODY_LIMIT_BYTES,
    )
    thread = threading.Thread(target=server.serve, args=(services.waiting.close,), daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join()
        dashboard.close()
        structlog.reset_defaults()
