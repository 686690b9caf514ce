"""Every write that SQLite makes to its files, one by one: to look at the disk before it, or to have it fail.

SQLite's own file layer can be told to call something else instead of the operating system. That is used here
on the very library that the product uses; the product knows nothing of it.
"""

import ctypes
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_MEMORY = "-shm"
"""The file that is only shared memory: it is made anew at every opening."""


@dataclass(frozen=True)
class Write:
    """A call that is about to change a file."""

    file: Path
    kind: str
    """``write``, ``truncate`` or ``unlink``."""
    data: bytes
    offset: int
    """Where the data goes; of a truncation the length."""

    @property
    def half(self) -> bytes:
        """What is on disk if not all of it gets there."""
        return self.data[: len(self.data) // 2]


Strike = Callable[[Write], int]
"""Told of a write before it is done: 0 has it done, an error number has it fail half-way."""


class _Vfs(ctypes.Structure):
    """``sqlite3_vfs`` of version 3, as far as it is used."""


_SET = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Vfs), ctypes.c_char_p, ctypes.c_void_p)
_POINTERS = [
    *("xOpen", "xDelete", "xAccess", "xFullPathname"),
    *("xDlOpen", "xDlError", "xDlSym", "xDlClose"),
    *("xRandomness", "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64"),
]
_Vfs._fields_ = [
    ("iVersion", ctypes.c_int),
    ("szOsFile", ctypes.c_int),
    ("mxPathname", ctypes.c_int),
    ("pNext", ctypes.c_void_p),
    ("zName", ctypes.c_char_p),
    ("pAppData", ctypes.c_void_p),
    *((name, ctypes.c_void_p) for name in _POINTERS),
    ("xSetSystemCall", _SET),
]

_PWRITE = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_longlong, use_errno=True
)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_longlong, use_errno=True)
_UNLINK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, use_errno=True)


def _file_layer() -> Any:
    try:
        import _sqlite3  # noqa: PLC0415  the library as this Python has it

        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    except (ImportError, AttributeError, OSError) as error:
        pytest.skip(f"this Python has SQLite {sqlite3.sqlite_version} where it cannot be reached: {error}")
    found = library.sqlite3_vfs_find(None)
    if found.contents.iVersion < 3:
        pytest.skip("this SQLite cannot be told what to call")
    return found


@contextmanager
def every_write_in(folder: Path, strike: Strike) -> Iterator[None]:
    """Within, SQLite's writes to files in the folder are told before they are done."""
    layer = _file_layer()

    def struck(file: Path, kind: str, data: bytes, offset: int) -> int:
        if file.parent != folder or file.name.endswith(_MEMORY):
            return 0
        return strike(Write(file, kind, data, offset))

    def pwrite(fd: int, buffer: int, length: int, offset: int) -> int:
        data = ctypes.string_at(buffer, length)
        failure = struck(_path(fd), "write", data, offset)
        if failure == 0:
            return os.pwrite(fd, data, offset)
        os.pwrite(fd, data[: length // 2], offset)
        ctypes.set_errno(failure)
        return -1

    def truncate(fd: int, length: int) -> int:
        failure = struck(_path(fd), "truncate", b"", length)
        if failure == 0:
            os.ftruncate(fd, length)
            return 0
        ctypes.set_errno(failure)
        return -1

    def unlink(name: bytes) -> int:
        file = Path(os.fsdecode(name))
        failure = struck(file, "unlink", b"", 0)
        if failure == 0:
            try:
                file.unlink()
            except FileNotFoundError:
                failure = errno.ENOENT
        ctypes.set_errno(failure)
        return -1 if failure else 0

    calls = {
        b"pwrite": _PWRITE(pwrite),
        b"pwrite64": _PWRITE(pwrite),
        b"ftruncate": _TRUNCATE(truncate),
        b"unlink": _UNLINK(unlink),
    }
    try:
        for name, call in calls.items():
            layer.contents.xSetSystemCall(layer, name, ctypes.cast(call, ctypes.c_void_p))
        yield
    finally:
        for name in calls:
            layer.contents.xSetSystemCall(layer, name, None)


def _path(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


class Remains:
    """The files of a folder as they were at a moment."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith(_MEMORY)
        }

    def torn(self, write: Write) -> "Remains":
        """The same, with half of a write done."""
        torn = object.__new__(Remains)
        torn._files = dict(self._files)
        old = torn._files.get(write.file.name, b"").ljust(write.offset, b"\0")
        torn._files[write.file.name] = (
            old[: write.offset] + write.half + old[write.offset + len(write.half) :]
        )
        return torn

    def lay_into(self, folder: Path) -> None:
        """Make a folder of them."""
        folder.mkdir(parents=True)
        for name, content in self._files.items():
            (folder / name).write_bytes(content)
