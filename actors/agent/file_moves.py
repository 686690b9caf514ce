"""Moving a file so that a crash in the middle can be made good."""

import errno
import os
import shutil
from pathlib import Path

from ...domain.instants import Instant


def free_target(source: Path, directory: Path, now: Instant) -> Path:
    """Where to move a file: under its own name, or one with the time in it if that is taken."""
    target = directory / source.name
    if not target.exists():
        return target
    return directory / f"{source.stem}_{now}{source.suffix}"


def move(source: Path, target: Path) -> None:
    """Move a file, replacing nothing: at once on one file system, else by a copy that appears whole.

    Raises ``OSError``, with the source still where it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP}:
            raise
        _copy(source, target)
    source.unlink()
    _sync_directory(target.parent)


def _copy(source: Path, target: Path) -> None:
    unfinished = target.with_name(f".{target.name}.moving")
    try:
        shutil.copy2(source, unfinished)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        if target.exists():
            raise FileExistsError(errno.EEXIST, "it is there already", str(target))
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)


def finish(source: Path, target: Path) -> bool:
    """After a crash: whether a move that was begun has come to its end, if need be with our help.

    Raises ``OSError``.
    """
    if not target.exists():
        return False
    if source.exists() and source.samefile(target):
        source.unlink()
    return not source.exists()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
