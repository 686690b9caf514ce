"""Word from the file system that something has changed, so that files are found at once.

It only hastens: what it misses, as on network file systems, the next regular look finds.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)


class Notices(Protocol):
    """Tells when something changes in some directories."""

    def watch(self, directories: set[Path]) -> None:
        """From now on these, and no others."""
        ...

    def close(self) -> None:
        """Watch nothing."""
        ...


class FileSystemNotices:
    """The host's. Costs nothing as long as no directory is to be watched."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        """``on_change`` is called from a thread of its own and must be quick."""
        self._on_change = on_change
        self._directories: set[Path] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, directories: set[Path]) -> None:
        """Those that are not there are left to the regular looks."""
        there = {each for each in directories if each.is_dir()}
        if there == self._directories:
            return
        self.close()
        self._directories = there
        if there:
            self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(there, self._stop), name="file-notices", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Watch nothing."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        self._directories = set()

    def _run(self, directories: set[Path], stop: threading.Event) -> None:
        import watchfiles  # noqa: PLC0415  only agents with file watchers need it

        try:
            up = False
            for changes in watchfiles.watch(
                *directories,
                recursive=False,
                stop_event=stop,
                rust_timeout=1_000,
                yield_on_timeout=True,
                raise_interrupt=False,
            ):
                # What changed before the watch was up is told of by nobody else.
                if changes or not up:
                    self._on_change()
                up = True
        except (OSError, RuntimeError) as error:
            _log.warning("no notices from the file system, files are found by looking", error=str(error))
