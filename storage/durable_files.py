"""Files that are on disk when a call returns: the port to the operating system, and the two ways to write.

``write_durably`` replaces a small file as a whole; ``GrowingFile`` lengthens a file by whole writes and takes
back what could not be made durable. Both go through ``Files``, so that a test can fail any single call, or
lose everything that was not synced.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

UNFINISHED_SUFFIX = ".new"
"""Of a file that is being written; renamed when it is whole. One left behind by a crash can be deleted."""


class Files(Protocol):
    """What durable storage asks of the operating system. Every call may raise ``OSError``."""

    def create(self, path: Path) -> int:
        """Open an empty file, emptying one that is there, for its owner only to read and write."""

    def open(self, path: Path) -> int:
        """Open an existing file for reading and writing."""

    def close(self, descriptor: int) -> None: ...

    def size(self, descriptor: int) -> int: ...

    def read(self, descriptor: int, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer only at the end of the file."""

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """Write at ``offset`` and say how many bytes were taken, which may be fewer than given."""

    def fdatasync(self, descriptor: int) -> None: ...

    def forget_cached(self, descriptor: int) -> None:
        """Let the next read come from the disk, as far as the system allows."""

    def truncate(self, descriptor: int, size: int) -> None: ...

    def rename(self, source: Path, target: Path) -> None: ...

    def unlink(self, path: Path) -> None: ...

    def list_directory(self, directory: Path) -> list[str]: ...

    def make_directory(self, directory: Path) -> None:
        """Create the directory and its parents, durably; one that is there is left as it is."""

    def fsync_directory(self, directory: Path) -> None: ...

    def lock(self, path: Path) -> int:
        """Open and lock a file until it is closed; ``BlockingIOError`` while anyone else holds it."""


class OperatingSystemFiles:
    """The real ones (POSIX)."""

    def create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, offset: int, length: int) -> bytes:
        data = os.pread(descriptor, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        taken = len(data)
        while taken < length:
            data = os.pread(descriptor, length - taken, offset + taken)
            if not data:
                break
            parts.append(data)
            taken += len(data)
        return b"".join(parts)

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        return os.pwrite(descriptor, data, offset)

    def fdatasync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def forget_cached(self, descriptor: int) -> None:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def list_directory(self, directory: Path) -> list[str]:
        return [entry.name for entry in directory.iterdir()]

    def make_directory(self, directory: Path) -> None:
        missing = [one for one in (directory, *directory.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
            self.fsync_directory(one.parent)

    def fsync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


OS_FILES: Files = OperatingSystemFiles()


def write_durably(path: Path, data: bytes, files: Files = OS_FILES) -> None:
    """Replace the file's content at once: after a crash it has the old content or the new, never a mixture.

    The new content is on disk when this returns. One writer per path at a time.

    Raises ``OSError`` when it could not be written; then, unless only the very last step (syncing the
    directory) failed, the old content still stands.
    """
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    try:
        descriptor = files.create(unfinished)
        try:
            write_whole(files, descriptor, data, 0)
            files.fdatasync(descriptor)
        finally:
            files.close(descriptor)
        files.rename(unfinished, path)
    except OSError as error:
        _discard(files, unfinished, error)
        raise
    files.fsync_directory(path.parent)


def _discard(files: Files, path: Path, cause: OSError) -> None:
    try:
        files.unlink(path)
    except FileNotFoundError:
        return
    except OSError as second:
        cause.add_note(f"{path} was left behind: {second}")


def write_whole(files: Files, descriptor: int, data: bytes, offset: int) -> None:
    """Write all of it, however few bytes each call takes; ``OSError`` leaves an unknown part written."""
    rest = memoryview(data)
    while rest:
        taken = files.write(descriptor, rest, offset)
        rest = rest[taken:]
        offset += taken


def read_whole(path: Path, files: Files = OS_FILES) -> bytes:
    """The file's content; raises ``OSError``, of which ``FileNotFoundError`` when there is none."""
    descriptor = files.open(path)
    try:
        return files.read(descriptor, 0, files.size(descriptor))
    finally:
        files.close(descriptor)


class GrowingFile:
    """A file that grows by whole writes: each is durable when ``append`` returns, or leaves no trace.

    A write that failed is cut off again. As long as even that fails, the file takes no further write. A
    failed ``fdatasync`` is never repeated in the hope that it works: the kernel may by then regard the lost
    pages as clean and say yes. The file is closed, opened anew, cut back to what is known to be durable, and
    that part is read again.

    One thread at a time may append. ``size`` is the durable length in bytes.
    """

    def __init__(self, files: Files, path: Path, size: int, verify: Callable[[int, int], None]) -> None:
        """``verify`` gets a descriptor and a length, reads that much and raises if it is not as it was."""
        self.path = path
        self.size = size
        self._files = files
        self._verify = verify
        self._descriptor: int | None = None
        self._unsettled = False
        self._sync_in_doubt = False

    def append(self, data: bytes) -> None:
        """Write at the end and sync; ``OSError`` when that failed and nothing of it will remain."""
        self.settle()
        self._unsettled = True
        try:
            descriptor = self._open()
            write_whole(self._files, descriptor, data, self.size)
            self._sync_in_doubt = True
            self._files.fdatasync(descriptor)
        except OSError as error:
            try:
                self.settle()
            except OSError as second:
                error.add_note(
                    f"{self.path} takes no writes until it can be cut back to {self.size} bytes: {second}"
                )
            raise
        self.size += len(data)
        self._unsettled = self._sync_in_doubt = False

    def settle(self) -> None:
        """Take back what a failed write left, if anything; ``OSError`` when that cannot be done now."""
        if not self._unsettled:
            return
        self.close()
        descriptor = self._open()
        self._files.truncate(descriptor, self.size)
        self._files.fdatasync(descriptor)
        if self._sync_in_doubt:
            self._files.forget_cached(descriptor)
            self._verify(descriptor, self.size)
        self._unsettled = self._sync_in_doubt = False

    def close(self) -> None:
        """Give the descriptor back; the next write opens the file again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._files.close(descriptor)

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = self._files.open(self.path)
        return self._descriptor
