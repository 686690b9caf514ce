"""The process that forks supervisors, and the description of a command that it is handed."""

import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from . import launcher_process

_LONGEST_ID_BYTES = 500
_HAND_OVER_SECONDS = 30.0
_FLAGS = ("-I", "-S", "-X", "utf8")
_NEEDED_VARIABLES = ("LD_LIBRARY_PATH",)
"""All that the launcher's processes get of the agent's environment: commands can read theirs."""

_log = structlog.get_logger(__name__)


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to run, where, and for how long at most."""

    initiation_id: str
    argv: tuple[str, ...]
    """Such as ``("/bin/bash", "-c", script)``; a name without a slash is looked up in ``env``'s ``PATH``."""
    cwd: Path
    env: Mapping[str, str]
    """The whole environment: nothing of the agent's own is added."""
    stdout: Path
    stderr: Path
    timeout_ms: int | None = None

    def check(self) -> None:
        """Refuse what no process can be given.

        :raises ValueError: saying what is wrong.
        """
        identity = self.initiation_id
        if not identity or not identity.isprintable() or len(identity.encode()) > _LONGEST_ID_BYTES:
            raise ValueError(
                f"an initiation id is 1 to {_LONGEST_ID_BYTES} bytes of printable text, not {identity!r}"
            )
        if not self.argv:
            raise ValueError("a command needs at least its name")
        for text in (
            *self.argv,
            *self.env,
            *self.env.values(),
            *map(str, (self.cwd, self.stdout, self.stderr)),
        ):
            if "\0" in text:
                raise ValueError("a command, its environment and its paths cannot hold NUL characters")
        for name in self.env:
            if not name or "=" in name:
                raise ValueError(f"{name!r} cannot be the name of an environment variable")


class Spawner:
    """The process that forks supervisors, started again when it is found dead."""

    def __init__(self) -> None:
        """Start it; raises ``OSError``."""
        self._lock = threading.Lock()
        self._closed = False
        self._running: _Running | None = _launch()

    @property
    def pid(self) -> int | None:
        """Of the process; ``None`` when there is none."""
        return None if self._running is None else self._running.process.pid

    def hand_over(self, fds: list[int]) -> None:
        """Send a request; it may still be lost with the process, which closes its descriptors.

        :raises OSError: if there is no process to send it to, and none can be started.
        """
        with self._lock:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "the launcher is closed")
            if self._running is None:
                self._running = _launch()
            try:
                socket.send_fds(self._running.requests, [b"r"], fds)
            except (BrokenPipeError, ConnectionResetError):
                _log.warning("launcher_restarted", pid=self._running.process.pid)
                self._end()
                self._running = _launch()
                socket.send_fds(self._running.requests, [b"r"], fds)

    def close(self) -> None:
        """Let it finish what it has been handed, and end."""
        with self._lock:
            self._closed = True
            self._end()

    def _end(self) -> None:
        """Wait for it, and keep nothing of it: it may be that no other can be started now."""
        if self._running is not None:
            self._running.requests.close()
            self._running.process.wait()
            self._running = None


class _Running(NamedTuple):
    process: subprocess.Popen[bytes]
    requests: socket.socket


def _launch() -> _Running:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(_HAND_OVER_SECONDS)
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, *_FLAGS, launcher_process.__file__, str(theirs.fileno())],
                env={name: os.environ[name] for name in _NEEDED_VARIABLES if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    return _Running(process, ours)
