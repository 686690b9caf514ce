"""A disk in memory that fails, crashes and loses power at any call, as its worst real relatives do.

What was written stays in a cache, sector by sector, until ``fdatasync``; names stay there until the directory
is synced. A power loss keeps what was synced and, of the rest, nothing, all, or a random part. A failed
``fdatasync`` loses its sectors and then forgets that they were ever dirty, as kernels do.
"""

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 32


class Crashed(BaseException):
    """The process is gone: nothing that it tries from here on happens."""


@dataclass
class StoredFile:
    content: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)

    def write(self, data: bytes, offset: int) -> None:
        assert offset <= len(self.content), "a hole would be written"
        self.content[offset : offset + len(data)] = data
        if data:
            self.dirty.update(range(offset // SECTOR_BYTES, (offset + len(data) - 1) // SECTOR_BYTES + 1))

    def make_durable(self, sectors: set[int], size: int) -> None:
        del self.durable[size:]
        self.durable.extend(bytes(size - len(self.durable)))
        for sector in sectors:
            start = sector * SECTOR_BYTES
            end = min(start + SECTOR_BYTES, size, len(self.content))
            if start < end:
                self.durable[start:end] = self.content[start:end]

    def sync(self) -> None:
        self.make_durable(self.dirty, len(self.content))
        self.dirty.clear()

    def lose_sync(self, rng: random.Random) -> None:
        """What a failed sync does: part of it may be on disk, and none of it is tried again."""
        kept = {sector for sector in self.dirty if rng.random() < 0.5}
        self.make_durable(kept, rng.choice([len(self.durable), len(self.content)]))
        self.dirty.clear()

    def forget_cached(self) -> None:
        for sector in range(-(-len(self.content) // SECTOR_BYTES)):
            if sector not in self.dirty:
                start = sector * SECTOR_BYTES
                end = min(start + SECTOR_BYTES, len(self.content))
                stored = bytes(self.durable[start:end])
                self.content[start:end] = stored + bytes(end - start - len(stored))

    def lose_power(self, rng: random.Random | None) -> "StoredFile":
        if rng is not None:
            sizes = [len(self.durable), len(self.content)]
            size = rng.choice([*sizes, rng.randint(min(sizes), max(sizes))])
            ordered = sorted(self.dirty)
            kept = rng.choice(
                [
                    set(ordered),
                    set(ordered[: rng.randint(0, len(ordered))]),
                    {sector for sector in ordered if rng.random() < 0.5},
                ]
            )
            self.make_durable(kept, size)
        return StoredFile(bytearray(self.durable), bytearray(self.durable))


class SimulatedDisk:
    """Implements the ``Files`` port. ``calls`` counts them; ``fault`` decides at each what happens.

    ``fault`` is given the number of the call (from 1) and its name, and raises or returns; what it raises at
    a ``write`` or ``fdatasync`` leaves half of it done.
    """

    def __init__(self, fault: Callable[[int, str], None] | None = None, seed: int = 0) -> None:
        self.calls = 0
        self.fault = fault
        self.full = False
        self._rng = random.Random(seed)
        self._crashed = False
        self._names: dict[Path, StoredFile] = {}
        self._durable_names: dict[Path, StoredFile] = {}
        self._unsynced: list[tuple[Path, Callable[[dict[Path, StoredFile]], None]]] = []
        self._open: dict[int, tuple[Path, StoredFile]] = {}
        self._locked: dict[Path, int] = {}
        self._next_descriptor = 100

    # --- what the tests do ---

    @property
    def open_descriptors(self) -> list[str]:
        return sorted(path.name for path, _ in self._open.values())

    def names(self) -> list[str]:
        return sorted(path.name for path in self._names)

    def paths(self) -> list[Path]:
        return sorted(self._names)

    def content(self, path: Path) -> bytes:
        return bytes(self._names[path].content)

    def put(self, path: Path, content: bytes) -> None:
        self._names[path] = self._durable_names[path] = StoredFile(bytearray(content), bytearray(content))

    def damage(self, path: Path, offset: int, bits: int) -> None:
        content = bytearray(self.content(path))
        content[offset] ^= bits
        self.put(path, content)

    def cut(self, path: Path, size: int) -> None:
        self.put(path, self.content(path)[:size])

    def lengthen(self, path: Path, more: bytes) -> None:
        self.put(path, self.content(path) + more)

    def remove(self, path: Path) -> None:
        del self._names[path], self._durable_names[path]

    def copy(self) -> "SimulatedDisk":
        return self._reborn({path: bytes(file.content) for path, file in self._names.items()})

    def die(self) -> None:
        """The process that uses it is gone: whatever that still tries does not happen."""
        self._crashed = True

    def after_kill(self) -> "SimulatedDisk":
        """The process is gone, the machine is not: what it wrote is in the cache, synced or not."""
        disk = SimulatedDisk(seed=self._rng.randrange(1 << 30))
        disk._names, disk._durable_names = self._names, self._durable_names
        disk._unsynced = self._unsynced
        return disk

    def after_power_loss(self, rng: random.Random | None) -> "SimulatedDisk":
        """Without ``rng`` all that was not synced is gone; with it a random part of that is there."""
        names = dict(self._durable_names)
        if rng is not None:
            for _, change in self._unsynced[: rng.randint(0, len(self._unsynced))]:
                change(names)
        return self._reborn({path: bytes(file.lose_power(rng).content) for path, file in names.items()})

    @staticmethod
    def _reborn(contents: dict[Path, bytes]) -> "SimulatedDisk":
        disk = SimulatedDisk()
        for path, content in contents.items():
            disk.put(path, content)
        return disk

    # --- the port ---

    def create(self, path: Path) -> int:
        self._call("create")
        self._need_space()
        if path in self._names:
            file = self._names[path]
            file.content.clear()
            file.dirty.clear()
        else:
            file = StoredFile()
            self._change(path, lambda names: names.__setitem__(path, file))
        return self._descriptor(path, file)

    def open(self, path: Path) -> int:
        self._call("open")
        return self._descriptor(path, self._find(path))

    def close(self, descriptor: int) -> None:
        path, _ = self._open.pop(descriptor)
        if self._locked.get(path) == descriptor:
            del self._locked[path]
        self._call("close")

    def size(self, descriptor: int) -> int:
        self._call("size")
        return len(self._open[descriptor][1].content)

    def read(self, descriptor: int, offset: int, length: int) -> bytes:
        self._call("read")
        return bytes(self._open[descriptor][1].content[offset : offset + length])

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        file = self._open[descriptor][1]
        data = bytes(data)
        try:
            self._call("write")
        except BaseException:
            if not self._crashed or self._dying:
                file.write(data[: len(data) // 2], offset)
            raise
        if self.full:
            if len(data) < 2:
                self._need_space()
            data = data[: len(data) // 2]
        file.write(data, offset)
        return len(data)

    def fdatasync(self, descriptor: int) -> None:
        file = self._open[descriptor][1]
        try:
            self._call("fdatasync")
        except OSError:
            file.lose_sync(self._rng)
            raise
        file.sync()

    def forget_cached(self, descriptor: int) -> None:
        self._call("forget_cached")
        self._open[descriptor][1].forget_cached()

    def truncate(self, descriptor: int, size: int) -> None:
        self._call("truncate")
        file = self._open[descriptor][1]
        assert size <= len(file.content), "a file would be lengthened"
        del file.content[size:]

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename")
        moved = {path: file for path, file in self._names.items() if path == source or source in path.parents}
        if not moved:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
        for path, file in moved.items():

            def change(names: dict[Path, StoredFile], path: Path = path, file: StoredFile = file) -> None:
                names.pop(path, None)
                names[target / path.relative_to(source)] = file

            self._change(target, change)

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        self._find(path)
        self._change(path, lambda names: names.pop(path, None))

    def list_directory(self, directory: Path) -> list[str]:
        self._call("list_directory")
        return [path.name for path in self._names if path.parent == directory]

    def make_directory(self, directory: Path) -> None:
        self._call("make_directory")

    def fsync_directory(self, directory: Path) -> None:
        self._call("fsync_directory")
        for path, change in self._unsynced:
            if path.parent == directory:
                change(self._durable_names)
        self._unsynced[:] = [one for one in self._unsynced if one[0].parent != directory]

    def lock(self, path: Path) -> int:
        self._call("lock")
        if path in self._locked:
            raise BlockingIOError(errno.EAGAIN, "locked")
        if path not in self._names:
            file = StoredFile()
            self._change(path, lambda names: names.__setitem__(path, file))
        descriptor = self._descriptor(path, self._names[path])
        self._locked[path] = descriptor
        return descriptor

    # --- inside ---

    def _call(self, name: str) -> None:
        self._dying = False
        if self._crashed:
            raise Crashed
        self.calls += 1
        if self.fault is not None:
            try:
                self.fault(self.calls, name)
            except Crashed:
                self._crashed = self._dying = True
                raise

    def _need_space(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _find(self, path: Path) -> StoredFile:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._names[path]

    def _change(self, path: Path, change: Callable[[dict[Path, StoredFile]], object]) -> None:
        change(self._names)
        self._unsynced.append((path, change))

    def _descriptor(self, path: Path, file: StoredFile) -> int:
        self._next_descriptor += 1
        self._open[self._next_descriptor] = (path, file)
        return self._next_descriptor
