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
_REMOVED_KEPT_MS = 24 * 3_600_000
"""For so long a late order is known to be older than the removal of its instance."""


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A file: of an instance, or of one that was removed."""

    instance_id: str
    order: int
    """The highest number of an order about it; 0 when none had any."""
    instance: PublishedInstance | None = None
    removed_at: Instant | None = None


class InstanceStore:
    """Armed instances on disk and in memory. Safe to use from any thread.

    Orders may have numbers. One that comes late, behind a newer order about the same instance, does nothing.
    """

    def __init__(self, directory: Path, on_change: Callable[[], None], files: Files = OS_FILES) -> None:
        """``on_change`` is called after each change; raises ``OSError``."""
        self._directory = directory
        self._files = files
        self._on_change = on_change
        self._lock = threading.Lock()
        self._version = 0
        self._changes = 0
        self._changed: dict[str, int] | None = None
        """Since a mark that is still out, by number."""
        files.make_directory(directory)
        names = sorted(name for name in files.list_directory(directory) if name.endswith(_SUFFIX))
        stored = [each for name in names if (each := _read(directory / name, files)) is not None]
        self._orders = {each.instance_id: each.order for each in stored}
        self._instances = {each.instance_id: each.instance for each in stored if each.instance is not None}
        removed = [(each.removed_at, each.instance_id) for each in stored if each.removed_at is not None]
        self._removed = {instance_id: at for at, instance_id in sorted(removed)}
        """The oldest first."""
        self._unlisted: dict[str, Instant] = {}

    @property
    def version(self) -> int:
        """Another after each change: what is read afterwards holds at least the changes up to it."""
        with self._lock:
            return self._version

    def save(self, instances: Sequence[PublishedInstance], order: int | None = None) -> None:
        """Arm these, or update them, durably. Raises ``OSError``, and then some of them may be armed."""
        with self._lock:
            self._version += 1
            for instance in instances:
                if not self.overtaken(instance.instance_id, order):
                    self._save(instance, order or 0)
        self._on_change()

    def remove(self, instance_id: str, now: Instant, order: int | None = None) -> None:
        """Disarm one, durably; one that is not known is disarmed already. Raises ``OSError``."""
        with self._lock:
            self._version += 1
            if not self.overtaken(instance_id, order):
                self._remove(instance_id, order or 0, now)
        self._on_change()

    def overtaken(self, instance_id: str, order: int | None) -> bool:
        """Whether a newer order about an instance was there before one of that number."""
        known = self._orders.get(instance_id, 0)
        if order is None or order > known:
            return False
        if order == known and instance_id not in self._unlisted and instance_id not in self._removed:
            return False  # the same again
        _log.info("late order ignored", instance=instance_id, order=order, known=known)
        return True

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
            self._version += 1
            changed, self._changed = self._changed or {}, None
            late = {instance_id for instance_id, number in changed.items() if number > mark}
            wanted = {each.instance_id: each for each in instances}
            for instance_id in list(self._instances):
                if instance_id not in wanted and instance_id not in late:
                    self._unlisted.setdefault(instance_id, now)
            for instance_id, instance in wanted.items():
                if instance_id not in late:
                    self._save(instance, 0)
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

    def _save(self, instance: PublishedInstance, order: int) -> None:
        instance_id = instance.instance_id
        self._note(instance_id)
        known = self._orders.get(instance_id, 0)
        if self._instances.get(instance_id) != instance or order > known:
            order = max(order, known)
            self._write(_Stored(instance_id=instance_id, order=order, instance=instance))
            self._instances[instance_id] = instance
            self._orders[instance_id] = order
        self._removed.pop(instance_id, None)
        self._unlisted.pop(instance_id, None)

    def _remove(self, instance_id: str, order: int, now: Instant) -> None:
        self._note(instance_id)
        order = max(order, self._orders.get(instance_id, 0))
        if order:
            self._write(_Stored(instance_id=instance_id, order=order, removed_at=now))
            self._orders[instance_id] = order
            self._removed.pop(instance_id, None)
            self._removed[instance_id] = now
        elif instance_id in self._instances:
            self._unlink(instance_id)
            self._orders.pop(instance_id, None)
        self._instances.pop(instance_id, None)
        self._unlisted.pop(instance_id, None)
        self._forget_long_removed(now)

    def _forget_long_removed(self, now: Instant) -> None:
        while self._removed:
            oldest = next(iter(self._removed))
            if abs(now - self._removed[oldest]) < _REMOVED_KEPT_MS:
                return
            self._unlink(oldest)
            del self._removed[oldest], self._orders[oldest]

    def _write(self, stored: _Stored) -> None:
        write_durably(self._path(stored.instance_id), msgspec.json.encode(stored), self._files)

    def _unlink(self, instance_id: str) -> None:
        try:
            self._files.unlink(self._path(instance_id))
        except FileNotFoundError:
            _log.warning("file of an instance was gone", instance=instance_id)
        self._files.fsync_directory(self._directory)

    def _note(self, instance_id: str) -> None:
        self._changes += 1
        if self._changed is not None:
            self._changed[instance_id] = self._changes

    def _path(self, instance_id: str) -> Path:
        return self._directory / f"{safe_name(instance_id)}{_SUFFIX}"


def _read(path: Path, files: Files) -> _Stored | None:
    """A damaged file is no loss: the dashboard tells all that is active before anything fires."""
    try:
        return msgspec.json.decode(read_whole(path, files), type=_Stored)
    except msgspec.DecodeError as error:
        _log.error("file of an instance cannot be read", file=str(path), error=str(error))
        return None
