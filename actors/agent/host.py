"""The host that an agent runs on: what it is called, its zone, and what an agent uses of it."""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from ...domain.instants import UnknownTimeZone, time_zone
from ...storage.durable_files import OS_FILES, Files
from ..file_notices import FileSystemNotices, Notices
from ..pool import ActorPool
from ..timers import Clock, Timers
from .file_places import HOST_PLACES, FilePlaces
from .launcher import Launcher
from .markers import RunResult, Started

_LOCAL_TIME = Path("/etc/localtime")


def host_name() -> str:
    """As the host calls itself."""
    return socket.gethostname()


def host_zone(environment: Mapping[str, str] = os.environ, local_time: Path = _LOCAL_TIME) -> ZoneInfo:
    """The host's time zone: of ``TZ``, else of ``/etc/localtime``, else UTC."""
    names = [environment.get("TZ", "").removeprefix(":")]
    if local_time.is_symlink():
        names.append(str(local_time.resolve()).partition("zoneinfo/")[2])
    for name in names:
        try:
            return time_zone(name)
        except UnknownTimeZone:
            continue
    return ZoneInfo("UTC")


class Host:
    """Disks, threads, alarms and processes for one agent. A test may give an agent another host."""

    @property
    def name(self) -> str:
        """As the host calls itself."""
        return host_name()

    @property
    def files(self) -> Files:
        """The disk that the agent's own directory is on."""
        return OS_FILES

    @property
    def places(self) -> FilePlaces:
        """Where files may arrive."""
        return HOST_PLACES

    @property
    def environment(self) -> Mapping[str, str]:
        """The agent's own environment."""
        return os.environ

    def notices(self, on_change: Callable[[], None]) -> Notices:
        """Word of changes in directories."""
        return FileSystemNotices(on_change)

    def pool(self, threads: int) -> ActorPool:
        """Threads for actors to share."""
        return ActorPool(threads, name="agent")

    def timers(self, clock: Clock) -> Timers:
        """Alarms by a clock."""
        return Timers(clock)

    def launcher(
        self,
        runs_dir: Path,
        *,
        on_started: Callable[[Started], None],
        on_finished: Callable[[str, RunResult], None],
        on_no_room: Callable[[str, str], None],
        kill_grace_seconds: float,
    ) -> Launcher:
        """Starts processes and watches them; raises ``OSError``."""
        return Launcher(
            runs_dir,
            on_started=on_started,
            on_finished=on_finished,
            on_no_room=on_no_room,
            kill_grace_seconds=kill_grace_seconds,
        )


THIS_HOST = Host()
"""The one that this process runs on."""
