"""A file system of a few kilobytes, to be filled to its last byte."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, options: str = "size=64k") -> Iterator[Path]:
    """Mount one on a folder, which is made; skips where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte free; the file to delete for there to be room again."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for block in (bytes(4096), bytes(1)):
            try:
                while True:
                    file.write(block)
            except OSError:
                continue
    return ballast
