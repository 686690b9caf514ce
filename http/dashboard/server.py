"""The dashboard as a process: its HTTP port, its threads, and how it stops."""

from collections.abc import Callable
from typing import Literal

import msgspec
import structlog

from ...actors.dashboard.dashboard import Dashboard, DashboardConfig
from ...actors.dashboard.ports import AgentTransport
from ...actors.notifications.notifier import Notifying
from ...actors.timers import Clock
from ...storage.ledger import Ledger
from .. import logs
from ..serving import HttpServer, NotLoopback, is_loopback
from .app import Application
from .auth import Authentication, Nobody
from .limits import DEFAULT_BODY_LIMIT_BYTES
from .services import Services, Waiting

_log = structlog.get_logger(__name__)


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a dashboard is reached."""

    dashboard: DashboardConfig
    host: str = "127.0.0.1"
    port: int = 9090
    """0 picks a free one."""
    auth: Literal["users", "none"] = "users"
    threads: int = 16
    body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES
    log_level: logs.Level = "info"


def authentication_for(config: ServerConfig, accounts: Callable[[], Authentication]) -> Authentication:
    """How callers are recognised; raises ``NotLoopback``."""
    refuse_strangers(config)
    if config.auth == "users":
        return accounts()
    _log.warning("no accounts: everybody on this host may do everything", host=config.host)
    return Nobody()


def refuse_strangers(config: ServerConfig) -> None:
    """Without accounts nobody else may reach the dashboard: raises ``NotLoopback`` if somebody could."""
    if config.auth == "none" and not is_loopback(config.host):
        raise NotLoopback(
            f"without accounts the dashboard is bound to loopback only, and {config.host} is not; "
            "create accounts, or bind it to 127.0.0.1"
        )


def serve_dashboard(
    config: ServerConfig,
    *,
    open_transport: Callable[[str], AgentTransport],
    clock: Clock,
    accounts: Callable[[Ledger], Authentication],
    notifying: Notifying | None = None,
) -> None:
    """Run a dashboard until it is told to stop; raises ``NotLoopback`` and what keeps it from starting."""
    refuse_strangers(config)
    dashboard = Dashboard(config.dashboard, open_transport=open_transport, clock=clock, notifying=notifying)
    try:
        authentication = authentication_for(config, lambda: accounts(dashboard.ledger))
        services = Services(dashboard, Waiting(max(1, config.threads // 2)))
        server = HttpServer(
            Application(services, authentication, body_limit_bytes=config.body_limit_bytes),
            host=config.host,
            port=config.port,
            threads=config.threads,
            body_limit_bytes=config.body_limit_bytes,
        )
        dashboard.start()
        server.serve_until_signalled(on_stopping=services.waiting.close)
    finally:
        dashboard.close()
