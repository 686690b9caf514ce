"""Servers as child processes: started, listened to until they are ready, and always stopped again."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from .failures import ExitCode, Failure

READY = "listening on "
STOP_SECONDS = 20.0
_DRAIN_SECONDS = 2.0
_LAST_LINES = 15


class ServerProcess:
    """One jobledger server in a process, and a session, of its own.

    Of its own session, so that Ctrl-C in a terminal reaches only the command that started it, which then
    stops it in good order.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[str, str], None] | None = None,
        on_exit: Callable[[str, int], None] | None = None,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.url: str | None = None
        self._on_line = on_line
        self._on_exit = on_exit
        self._ready = threading.Event()
        self._last: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobledger", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            cwd=cwd,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, name=f"{name} output", daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_exit, name=f"{name} exit", daemon=True).start()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait_until_ready(self, timeout_seconds: float = 30.0) -> str:
        """The address that it listens on; raises ``Failure`` with its last words when it ends before."""
        if not self._ready.wait(timeout_seconds) or self.url is None:
            self.stop()
            raise Failure(
                f"the {self.name} did not come up",
                code=ExitCode.UNREACHABLE,
                details=self._last or ["it said nothing"],
                next_step="put right what it says and start again",
            )
        return self.url

    def stop(self) -> int:
        """Ask it to finish what is in hand, wait, and give its exit code; killed when it takes too long."""
        if self.running:
            self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._finish_reading()
        return code

    def kill(self) -> None:
        """End it at once, as a power cut would: ``SIGKILL``."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._finish_reading()

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _read(self) -> None:
        output = self._process.stdout
        if output is None:
            raise RuntimeError("the process was started without a pipe")
        for raw in output:
            text = raw.rstrip("\n")
            self._last = [*self._last[1 - _LAST_LINES :], text]
            if self.url is None and (found := text.find(READY)) >= 0:
                self.url = text[found + len(READY) :].split()[0].strip("\"'")
                self._ready.set()
            if self._on_line is not None:
                self._on_line(self.name, text)

    def _await_exit(self) -> None:
        """Apart from reading: a job that inherited the pipe may hold it open after the server's end."""
        code = self._process.wait()
        self._reader.join(timeout=_DRAIN_SECONDS)
        self._ready.set()
        if self._on_exit is not None:
            self._on_exit(self.name, code)

    def _finish_reading(self) -> None:
        self._reader.join(timeout=_DRAIN_SECONDS)
        if not self._reader.is_alive() and self._process.stdout is not None:
            self._process.stdout.close()
