"""Durable writes, and that the disk which the tests fail behaves as the real one while it does not fail."""

import contextlib
import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobledger.storage.durable_files import OS_FILES, Files, GrowingFile, write_durably
from simulated_disk import Crashed, SimulatedDisk


@pytest.fixture(params=["operating system", "simulated"])
def files_and_directory(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Files, Path]:
    if request.param == "simulated":
        return SimulatedDisk(), Path("/directory")
    return OS_FILES, tmp_path / "directory"


@pytest.fixture
def disk() -> SimulatedDisk:
    return SimulatedDisk()


def content(files: Files, path: Path) -> bytes:
    descriptor = files.open(path)
    try:
        return files.read(descriptor, 0, files.size(descriptor))
    finally:
        files.close(descriptor)


def as_it_was(descriptor: int, size: int) -> None:
    """Nothing to verify."""


def test_files_are_created_written_read_cut_renamed_listed_and_deleted(
    files_and_directory: tuple[Files, Path],
) -> None:
    files, directory = files_and_directory
    files.make_directory(directory)
    files.make_directory(directory)
    descriptor = files.create(directory / "a")
    assert files.write(descriptor, b"hello world", 0) == 11
    assert files.write(descriptor, memoryview(b"W"), 6) == 1
    assert files.size(descriptor) == 11
    assert files.read(descriptor, 6, 100) == b"World"
    assert files.read(descriptor, 11, 5) == b""
    files.fdatasync(descriptor)
    files.truncate(descriptor, 5)
    files.fdatasync(descriptor)
    files.forget_cached(descriptor)
    files.close(descriptor)
    assert content(files, directory / "a") == b"hello"
    files.rename(directory / "a", directory / "b")
    files.fsync_directory(directory)
    assert files.list_directory(directory) == ["b"]
    descriptor = files.create(directory / "b")
    assert files.size(descriptor) == 0
    files.close(descriptor)
    files.unlink(directory / "b")
    assert files.list_directory(directory) == []


def test_a_file_that_is_not_there_is_said_to_be_missing(files_and_directory: tuple[Files, Path]) -> None:
    files, directory = files_and_directory
    files.make_directory(directory)
    with pytest.raises(FileNotFoundError):
        files.open(directory / "absent")
    with pytest.raises(FileNotFoundError):
        files.unlink(directory / "absent")
    with pytest.raises(FileNotFoundError):
        files.rename(directory / "absent", directory / "b")


def test_a_lock_is_held_by_one_until_it_is_closed(files_and_directory: tuple[Files, Path]) -> None:
    files, directory = files_and_directory
    files.make_directory(directory)
    held = files.lock(directory / "lock")
    with pytest.raises(BlockingIOError):
        files.lock(directory / "lock")
    files.close(held)
    files.close(files.lock(directory / "lock"))


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_left(
    files_and_directory: tuple[Files, Path],
) -> None:
    files, directory = files_and_directory
    files.make_directory(directory)
    for data in (b"first", b"", b"second, which is longer" * 1000):
        write_durably(directory / "state", data, files)
        assert content(files, directory / "state") == data
        assert files.list_directory(directory) == ["state"]


def test_a_replaced_file_is_old_or_new_after_a_power_loss_at_any_call_and_new_once_told() -> None:
    for number in range(1, 20):
        for seed in range(20):
            disk = SimulatedDisk()
            write_durably(Path("/d/state"), b"old" * 50, disk)
            before = disk.calls

            def crash(call: int, name: str, at: int = before + number) -> None:
                if call == at:
                    raise Crashed

            disk.fault = crash
            told = False
            with contextlib.suppress(Crashed):
                write_durably(Path("/d/state"), b"new" * 70, disk)
                told = True
            after = disk.after_power_loss(random.Random(seed) if seed else None)
            found = content(after, Path("/d/state"))
            assert found == b"new" * 70 if told else found in {b"old" * 50, b"new" * 70}
    assert told


@pytest.mark.parametrize("call", ["create", "write", "fdatasync", "close", "rename"])
def test_a_file_that_cannot_be_replaced_stays_as_it_was(disk: SimulatedDisk, call: str) -> None:
    write_durably(Path("/d/state"), b"old", disk)
    disk.fault = FailOnce(call, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        write_durably(Path("/d/state"), b"new", disk)
    assert content(disk, Path("/d/state")) == b"old"
    assert disk.names() == ["state"]
    assert disk.open_descriptors == []


class FailOnce:
    """The next call of this kind raises, the ones after it do not."""

    def __init__(self, kind: str, error: int) -> None:
        self.kind = kind
        self.error = error
        self.left = 1

    def __call__(self, call: int, name: str) -> None:
        if name == self.kind and self.left:
            self.left -= 1
            raise OSError(self.error, os.strerror(self.error))


@pytest.fixture
def growing(files_and_directory: tuple[Files, Path]) -> Iterator[GrowingFile]:
    files, directory = files_and_directory
    files.make_directory(directory)
    files.close(files.create(directory / "grows"))
    growing = GrowingFile(files, directory / "grows", 0, as_it_was)
    yield growing
    growing.close()


def test_a_growing_file_has_what_was_appended_in_order(
    growing: GrowingFile, files_and_directory: tuple[Files, Path]
) -> None:
    for part in (b"one", b"two", b"three"):
        growing.append(part)
    assert content(files_and_directory[0], growing.path) == b"onetwothree"
    assert growing.size == 11


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_failed_append_leaves_no_trace_not_even_after_a_power_loss(disk: SimulatedDisk, call: str) -> None:
    path = Path("/d/grows")
    write_durably(path, b"kept", disk)
    growing = GrowingFile(disk, path, 4, as_it_was)
    disk.fault = FailOnce(call, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        growing.append(b"lost" * 30)
    assert content(disk, path) == b"kept"
    assert content(disk.after_power_loss(None), path) == b"kept"
    growing.append(b", and more")
    assert content(disk.after_power_loss(None), path) == b"kept, and more"


def test_a_file_whose_sync_failed_is_closed_and_opened_anew_before_it_is_cut(disk: SimulatedDisk) -> None:
    """The old descriptor may have used up the only report of the error."""
    write_durably(Path("/d/grows"), b"kept", disk)
    growing = GrowingFile(disk, Path("/d/grows"), 4, as_it_was)
    calls: list[str] = []
    failing = FailOnce("fdatasync", errno.EIO)

    def fail(call: int, name: str) -> None:
        calls.append(name)
        failing(call, name)

    disk.fault = fail
    with pytest.raises(OSError, match="Input/output error"):
        growing.append(b"x")
    assert calls[calls.index("fdatasync") :] == [
        "fdatasync", "close", "open", "truncate", "fdatasync", "forget_cached"
    ]  # fmt: skip


def test_what_was_durable_is_read_again_after_a_failed_sync_and_a_difference_stops_all_writes(
    disk: SimulatedDisk,
) -> None:
    path = Path("/d/grows")
    write_durably(path, b"kept", disk)
    verified: list[bytes] = []

    def verify(descriptor: int, size: int) -> None:
        verified.append(disk.read(descriptor, 0, size))
        if verified[-1] != b"kept":
            raise ValueError("not what it was")

    growing = GrowingFile(disk, path, 4, verify)
    disk.fault = FailOnce("write", errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        growing.append(b"x")
    assert verified == [], "a failed write says nothing about what is durable"
    disk.fault = FailOnce("fdatasync", errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        growing.append(b"x")
    assert verified == [b"kept"]
    disk.damage(path, 0, 1)
    growing.close()
    disk.fault = FailOnce("fdatasync", errno.EIO)
    for _ in range(2):
        with pytest.raises(ValueError, match="not what it was"):
            growing.append(b"x")


def test_the_error_says_so_when_a_failed_append_could_not_be_cut_off(disk: SimulatedDisk) -> None:
    path = Path("/d/grows")
    write_durably(path, b"kept", disk)
    growing = GrowingFile(disk, path, 4, as_it_was)
    failing = [FailOnce("write", errno.ENOSPC), FailOnce("truncate", errno.EIO)]

    def fail(call: int, name: str) -> None:
        for one in failing:
            one(call, name)

    disk.fault = fail
    with pytest.raises(OSError, match="No space left") as caught:
        growing.append(b"x")
    assert "/d/grows takes no writes until it can be cut back to 4 bytes" in caught.value.__notes__[0]
