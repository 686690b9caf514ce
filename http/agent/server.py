"""The agent as a process: its HTTP port, its threads, and how it stops."""

import time

from ... import __version__
from ...actors.agent.agent import Agent
from ...actors.agent.config import AgentConfig
from ...domain.instants import Instant
from .. import logs
from ..serving import HttpServer, NotLoopback, is_loopback
from .app import agent_app
from .dashboard_client import HttpDashboardClient


def now_ms() -> Instant:
    """The host's clock."""
    return time.time_ns() // 1_000_000


def run_agent(config: AgentConfig) -> None:
    """Run an agent until SIGTERM or SIGINT; the commands that it has started run on.

    Raises ``NotLoopback``, ``LogInUse`` when another agent serves the data directory, ``LogCorrupted`` and
    ``OSError``.
    """
    if config.token is None and not is_loopback(config.host):
        raise NotLoopback(
            f"without a token an agent is bound to loopback only, and {config.host} is not; give it a token"
        )
    logs.configure("info")
    agent = Agent(
        config,
        client=HttpDashboardClient(config.dashboard_urls, config.token),
        clock=now_ms,
        version=__version__,
    )
    try:
        app = agent_app(agent, token=config.token, body_limit_bytes=config.body_limit_bytes)
        server = HttpServer(
            app,
            host=config.host,
            port=config.port,
            threads=config.http_threads,
            body_limit_bytes=config.body_limit_bytes,
        )
        agent.start(config.advertise_url or server.url)
        server.serve_until_signalled(on_stopping=lambda: None)
    finally:
        agent.close()
