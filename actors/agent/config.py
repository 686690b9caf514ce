"""What an agent is told when it is started."""

from pathlib import Path

import msgspec


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one agent process."""

    name: str
    """By this name plans call it."""
    data_dir: Path
    dashboard_urls: tuple[str, ...]
    """Tried in turn: the next when one does not answer."""
    host: str = "127.0.0.1"
    port: int = 8080
    """Zero: any free one."""
    advertise_url: str | None = None
    """Where the dashboard reaches this agent, if that is not its own host and port."""
    token: str | None = None
    """Shared with the dashboard: expected of it, and sent to it. Without one only loopback is served."""
    max_jobs: int | None = None
    """How many commands may run at once."""
    timeout_minutes: int = 240
    """For jobs that have no time limit of their own."""
    kill_grace_seconds: float = 10.0
    heartbeat_seconds: float = 5.0
    time_zone: str | None = None
    """Of schedules that name none, and of the days of the week; the host's if not given."""
    environment: tuple[str, ...] = ()
    """Variables of the agent's own that commands get beside the usual ones."""
    http_threads: int = 8
    body_limit_bytes: int = 16 << 20
