"""Files beside the configuration: templates, and the values of placeholders; read again when they change."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from ...domain.placeholders import read_properties
from ...domain.templates import MAX_CHARACTERS

_log = structlog.get_logger(__name__)

T = TypeVar("T")

DEFAULT = "default"
"""The name under which placeholders of all plans are configured."""
_MAX_PLACEHOLDER_BYTES = 1024 * 1024


class _Watched(Generic[T]):
    """What a file says, read again when its time or size changed; ``None`` while it cannot be read."""

    def __init__(self, path: Path, limit_bytes: int, read: Callable[[str], T]) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._read = read
        self._seen: tuple[int, int, int] | None = None
        self._value: T | None = None

    def value(self) -> T | None:
        """What it says now."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen:
                self._value = self._read(self._text(stat.st_size))
                self._seen = seen
        except (OSError, ValueError) as error:
            _log.warning("file not read", file=str(self._path), error=str(error))
            self._seen, self._value = None, None
        return self._value

    def _text(self, size_bytes: int) -> str:
        if size_bytes > self._limit_bytes:
            raise ValueError(f"it has more than {self._limit_bytes} bytes")
        return self._path.read_text("utf-8")


class TemplateFiles:
    """Templates by the name of their file, below one folder and nowhere else."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder.resolve()
        self._known: dict[Path, _Watched[str]] = {}

    def text(self, name: str) -> str | None:
        """A template; ``None`` when there is none of that name.

        A plan that came from elsewhere may name a file by the path it had there: then the file's own name is
        looked for.
        """
        if self._folder is None or not name or "\0" in name:
            return None
        path = self._below(self._folder, Path(name))
        if path is None:
            return None
        watched = self._known.setdefault(path, _Watched(path, MAX_CHARACTERS, str))
        return watched.value()

    def _below(self, folder: Path, name: Path) -> Path | None:
        for candidate in (folder / name, folder / name.name):
            try:
                path = candidate.resolve()
                if path.is_file() and path.is_relative_to(folder):
                    return path
            except (OSError, RuntimeError, ValueError):
                continue
        return None


class PlaceholderFiles:
    """The values of placeholders, by plan."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = {
            plan: _Watched(path, _MAX_PLACEHOLDER_BYTES, _toml if path.suffix == ".toml" else read_properties)
            for plan, path in files.items()
        }

    def of(self, plan: str) -> dict[str, str]:
        """The values for a plan: its own, and those for all plans that it does not have itself."""
        values: dict[str, str] = {}
        for name in (DEFAULT, plan):
            if name in self._files:
                values |= self._files[name].value() or {}
        return values


def _toml(text: str) -> dict[str, str]:
    return {
        name: ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)
        for name, value in tomllib.loads(text).items()
        if not isinstance(value, dict)
    }
