"""The plan instances for which schedules and file watchers fire, a file for each."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from ...domain.instants import Instant
from ...domain.messages import PublishedInstance
from ...storage.durable_files import OS_FILES, Files, read_whole, write_durably
from .markers import safe_name

_log = structlog.get_logger(__name__)

_SUFFIX = ".json"


class InstanceStore:
    """Armed instances on disk and in memory. Safe to use from any thread."""

    def __init__(self, directory: Path, on_change: Callable[[], None], files: Files = OS_FILES) -> None:
        """``on_change`` is called after each change; raises ``OSError``."""
        self._directory = directory
        self._files = files
        self._on_change = on_change
        self._lock = threading.Lock()
        self._changes = 0
        self._changed: dict[str, int] | None = None
        """Since a mark that is still out, by number."""
        files.make_directory(directory)
        names = sorted(name for name in files.list_directory(directory) if name.endswith(_SUFFIX))
        found = [_read(directory / name, files) for name in names]
        self._instances = {each.instance_id: each for each in found if each is not None}
        self._unlisted: dict[str, Instant] = {}

    def save(self, instances: Sequence[PublishedInstance]) -> None:
        """Arm these, or update them, durably. Raises ``OSError``, and then some of them may be armed."""
        with self._lock:
            for instance in instances:
                self._save(instance)
        self._on_change()

    def remove(self, instance_id: str) -> None:
        """Disarm one, durably; one that is not known is disarmed already. Raises ``OSError``."""
        with self._lock:
            self._remove(instance_id)
        self._on_change()

    def mark(self) -> int:
        """A point in time, to be given to ``replace_all``."""
        with self._lock:
            self._changed = {}
            return self._changes

    def replace_all(self, instances: Sequence[PublishedInstance], mark: int, now: Instant) -> None:
        """Arm these and no others, except for what has been armed or disarmed since the mark.

        The list was made by someone who may not have known of that. What is not in it is disarmed, and kept
        as unlisted until it is removed: only then is known when it ended. Raises ``OSError``.
        """
        with self._lock:
            changed, self._changed = self._changed or {}, None
            late = {instance_id for instance_id, number in changed.items() if number > mark}
            wanted = {each.instance_id: each for each in instances}
            for instance_id in list(self._instances):
                if instance_id not in wanted and instance_id not in late:
                    self._unlisted.setdefault(instance_id, now)
            for instance_id, instance in wanted.items():
                if instance_id not in late:
                    self._save(instance)
        self._on_change()

    def find(self, instance_id: str) -> PublishedInstance | None:
        """An armed instance."""
        return None if instance_id in self._unlisted else self._instances.get(instance_id)

    def all(self) -> list[PublishedInstance]:
        """Every armed instance."""
        with self._lock:
            return [each for each in self._instances.values() if each.instance_id not in self._unlisted]

    def unlisted(self) -> dict[str, Instant]:
        """The ids of those that are unlisted, with when that was learned."""
        with self._lock:
            return dict(self._unlisted)

    def kept(self) -> list[PublishedInstance]:
        """Every instance, armed or unlisted."""
        with self._lock:
            return list(self._instances.values())

    def _save(self, instance: PublishedInstance) -> None:
        self._note(instance.instance_id)
        if self._instances.get(instance.instance_id) != instance:
            write_durably(self._path(instance.instance_id), msgspec.json.encode(instance), self._files)
            self._instances[instance.instance_id] = instance
        self._unlisted.pop(instance.instance_id, None)

    def _remove(self, instance_id: str) -> None:
        self._note(instance_id)
        if instance_id not in self._instances:
            return
        try:
            self._files.unlink(self._path(instance_id))
        except FileNotFoundError:
            _log.warning("file of an armed instance was gone", instance=instance_id)
        self._files.fsync_directory(self._directory)
        del self._instances[instance_id]
        self._unlisted.pop(instance_id, None)

    def _note(self, instance_id: str) -> None:
        self._changes += 1
        if self._changed is not None:
            self._changed[instance_id] = self._changes

    def _path(self, instance_id: str) -> Path:
        return self._directory / f"{safe_name(instance_id)}{_SUFFIX}"


def _read(path: Path, files: Files) -> PublishedInstance | None:
    """A damaged file is no loss: the dashboard tells all that is active before anything fires."""
    try:
        return msgspec.json.decode(read_whole(path, files), type=PublishedInstance)
    except msgspec.DecodeError as error:
        _log.error("file of an armed instance cannot be read", file=str(path), error=str(error))
        return None
