"""The files in which a dashboard's host has parameters for plans: people write them while they are read."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from jobledger.actors.dashboard import parameter_sources
from jobledger.storage.parameter_files import ParameterFileUnusable, ReadFile, Stamp
from virtual_actors import VirtualEvent, VirtualLock
from virtual_places import Places
from virtual_time import Loop, current_process, pause

INDEX = Path("/sources/plans.toml")
_WRITING_US = 150_000


class SourceFiles:
    """What they say."""

    def __init__(self, loop: Loop, plans: Iterable[str]) -> None:
        self._loop = loop
        self.places = Places()
        """That something has changed is told as it is of files that arrive."""
        self._plans = {plan: INDEX.parent / f"{plan}.properties" for plan in sorted(plans)}
        self._said: dict[Path, Mapping[str, str] | None] = {INDEX: {}}
        self._changed_us: dict[Path, int] = dict.fromkeys(self._plans.values(), 0)
        for path in self._plans.values():
            self._said[path] = {"DATE": "source"}
        self._writing: dict[Path, int] = {}

    def write(self, plan: str, values: Mapping[str, str] | None) -> None:
        """A file is written anew, which takes a while; ``None``: with something that does not read."""
        path = self._plans[plan]
        turn = self._writing[path] = self._writing.get(path, 0) + 1
        self._put(path, None if values is None else dict(list(values.items())[:1]))
        self._loop.after(_WRITING_US, lambda: self._finish(path, turn, values), "file written")

    def _finish(self, path: Path, turn: int, values: Mapping[str, str] | None) -> None:
        if self._writing[path] == turn:
            self._put(path, values)

    def _put(self, path: Path, values: Mapping[str, str] | None) -> None:
        self._said[path] = values
        self._changed_us[path] = self._loop.now_us
        self.places.put(str(path), 0 if values is None else len(values), self._loop.now_ms)

    def said(self, plan: str) -> Mapping[str, str] | None:
        """What the plan's file says now; ``None`` when it does not read."""
        return self._said[self._plans[plan]]

    # --- what the dashboard reads ---------------------------------------------------------------------------

    def stamp_of(self, path: Path) -> Stamp:
        changed_ns = self._changed_us.get(path, 0) * 1000
        return Stamp(changed_ns=changed_ns, modified_ns=changed_ns, size=1, inode=1)

    def read(self, path: Path) -> ReadFile:
        pause(current_process().delay_us(), "read file")
        values = self._said[path]
        if values is None:
            raise ParameterFileUnusable(f"{path} is not in UTF-8")
        return ReadFile(dict(values))

    def read_index(self, _path: Path) -> dict[str, Path]:
        return dict(self._plans)


class _Thread:
    """What ``threading.Thread`` is to the dashboard: it dies with its process."""

    def __init__(self, *, target: Any, name: str, daemon: bool) -> None:
        assert daemon
        self._target = target
        self._name = name

    def start(self) -> None:
        current_process().spawn(self._target, self._name)

    def join(self, timeout: float) -> None:
        pause(min(1_000, round(timeout * 1e6)), "join")


@contextmanager
def virtual_sources(loop: Loop, files: SourceFiles) -> Iterator[None]:
    """Within, the parameter sources of dashboards are these files."""
    replaced: list[tuple[str, Any]] = [
        ("threading", SimpleNamespace(Lock=VirtualLock, Event=VirtualEvent, Thread=_Thread)),
        ("time", SimpleNamespace(time_ns=lambda: loop.now_us * 1000)),
        ("stamp_of", files.stamp_of),
        ("read_parameters", files.read),
        ("read_plan_sources", files.read_index),
    ]
    with ExitStack() as stack:
        for name, value in replaced:
            stack.enter_context(mock.patch.object(parameter_sources, name, value))
        yield


__all__ = ["INDEX", "SourceFiles", "virtual_sources"]
