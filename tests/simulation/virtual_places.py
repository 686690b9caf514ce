"""The directories of a simulated host in which files arrive, and to which file watchers move them."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from jobledger.actors.agent.file_search import FoundFile, Search
from jobledger.domain.instants import Instant
from simulated_disk import Crashed
from virtual_time import Process


class Places:
    """What lies where, by full path. It outlives agents, and the host's power."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Instant, int, int]] = {}
        """When each was changed, its size, and which file it is: a link is the same under another name."""
        self._made = 0
        self.crash_at_move: Callable[[], bool] = lambda: False
        self.notices: list[VirtualNotices] = []

    def put(self, path: str, size: int, at: Instant) -> None:
        """A file arrives, or one is written anew."""
        self._made += 1
        self.files[path] = (at, size, self._made)
        for notices in list(self.notices):
            notices.tell(path)

    # --- the port of file watchers --------------------------------------------------------------------------

    def look(self, search: Search, depth: int) -> Iterator[FoundFile]:
        root = f"{search.root}/"
        for path, (at, size, _) in sorted(self.files.items()):
            if (
                path.startswith(root)
                and path[len(root) :].count("/") < max(depth, 1)
                and search.matches(path)
            ):
                yield FoundFile(path, at, size)

    def free_target(self, source: Path, directory: Path, now: Instant) -> Path:
        target = directory / source.name
        return target if str(target) not in self.files else directory / f"{source.stem}_{now}{source.suffix}"

    def move(self, source: Path, target: Path) -> None:
        if str(source) not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        if str(target) in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        self._may_crash()
        self.files[str(target)] = self.files[str(source)]
        self._may_crash()
        del self.files[str(source)]
        self._may_crash()

    def finish(self, source: Path, target: Path) -> bool:
        if str(target) not in self.files:
            return False
        if self.files.get(str(source)) == self.files[str(target)]:
            del self.files[str(source)]
        return str(source) not in self.files

    def _may_crash(self) -> None:
        if self.crash_at_move():
            raise Crashed


class VirtualNotices:
    """Word of arrivals, for one agent process; some of it is lost."""

    def __init__(self, places: Places, process: Process, on_change: Callable[[], None]) -> None:
        self._places = places
        self._process = process
        self._on_change = on_change
        self._directories: set[Path] = set()

    def watch(self, directories: set[Path]) -> None:
        self._directories = directories
        if self not in self._places.notices:
            self._places.notices.append(self)
            self._process.on_death.append(self.close)

    def close(self) -> None:
        if self in self._places.notices:
            self._places.notices.remove(self)

    def tell(self, path: str) -> None:
        """Something has changed there."""
        if Path(path).parent in self._directories and self._process.chance.random() < 0.7:
            self._process.spawn(self._on_change, "notice")
