"""What an agent knows of the host that it runs on."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from ...domain.instants import UnknownTimeZone, time_zone

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
