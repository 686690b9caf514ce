"""Every single call of a workload fails, or is the last before a crash or a power loss: promises hold."""

import contextlib
import errno
import itertools
import os
import random
from collections.abc import Callable

import pytest
from jobledger.storage.segment_files import encode_header
from jobledger.storage.segment_log import LogFull, LogUnavailable, SegmentLog
from segment_log_expectations import DIRECTORY, Expectations
from simulated_disk import Crashed, SimulatedDisk

Fault = Callable[[int, str], None]


def run_workload(expectations: Expectations, disk: SimulatedDisk) -> None:
    """Appends alone and together, acknowledgements in and out of order, rotations and deletions."""
    open_at_last(expectations, disk)
    expectations.append(1)
    expectations.append(3)
    expectations.acknowledge(lambda told: told[1:2])
    for count in (1, 2, 1, 4, 1):
        expectations.append(count)
    expectations.acknowledge(lambda told: told[::-2])
    expectations.check_running()
    expectations.append(2)
    expectations.acknowledge(lambda told: told[:-3])
    expectations.append(1)
    expectations.check_running()
    try:
        expectations.log.close()
    except OSError:
        expectations.log.close()
    open_at_last(expectations, disk)
    expectations.append(5)
    expectations.acknowledge(lambda told: told[:-2])
    for count in (2, 1, 3):
        expectations.append(count)
    expectations.check_running()


def open_at_last(expectations: Expectations, disk: SimulatedDisk) -> None:
    for _ in range(3):
        try:
            expectations.open(disk)
        except OSError:
            continue
        return
    pytest.fail("the log does not open though only one call failed")


def count_calls() -> int:
    disk = SimulatedDisk()
    run_workload(Expectations(), disk)
    return disk.calls


CALLS = count_calls()


def crash_at(number: int) -> Fault:
    def fault(call: int, name: str) -> None:
        if call == number:
            raise Crashed

    return fault


def fail_at(number: int, error: int) -> Fault:
    def fault(call: int, name: str) -> None:
        if call == number:
            raise OSError(error, os.strerror(error))

    return fault


def check_after(expectations: Expectations, disk: SimulatedDisk) -> None:
    """The log opens, holds what it must, takes more, and is the same when opened again."""
    expectations.open(disk)
    expectations.check_recovered()
    expectations.append(2)
    expectations.check_running()
    expectations.log.close()
    assert disk.open_descriptors == []
    assert not [name for name in disk.names() if name.endswith(".new")], "an unfinished file was left"
    report = expectations.open(disk)
    assert report.torn_tails == ()
    expectations.check_recovered()
    expectations.log.close()


def test_the_workload_rotates_deletes_and_reopens_so_that_every_kind_of_call_is_failed() -> None:
    seen: set[str] = set()
    disk = SimulatedDisk(lambda call, name: seen.add(name))
    expectations = Expectations()
    run_workload(expectations, disk)
    assert {"create", "open", "write", "fdatasync", "rename", "unlink", "fsync_directory", "lock"} <= seen
    assert "00000000000000000001.segment" not in disk.names()
    assert 100 < CALLS == disk.calls


def test_killed_at_any_call_no_record_is_lost_doubled_or_torn() -> None:
    for number in range(1, CALLS + 1):
        disk = SimulatedDisk(crash_at(number))
        expectations = Expectations()
        with pytest.raises(Crashed):
            run_workload(expectations, disk)
        check_after(expectations, disk.after_kill())


def test_what_was_seen_after_a_kill_is_still_there_after_a_power_loss() -> None:
    """What is in the cache only must not be believed: someone may have acted on it by then."""
    for number in range(1, CALLS + 1):
        disk = SimulatedDisk(crash_at(number))
        expectations = Expectations()
        with pytest.raises(Crashed):
            run_workload(expectations, disk)
        disk = disk.after_kill()
        expectations.open(disk)
        expectations.check_recovered()
        expectations.append(1)
        pending = expectations.log.pending()
        disk = disk.after_power_loss(None)
        expectations.open(disk)
        expectations.check_recovered()
        assert expectations.log.pending() == pending


def test_a_record_whose_sync_failed_is_not_seen_in_the_cache_and_then_lost() -> None:
    for seed in range(20):
        disk = SimulatedDisk(seed=seed)
        log, _ = SegmentLog.open(DIRECTORY, files=disk)
        log.append("durable")
        disk.fault = both(fail_first("fdatasync", errno.EIO), fail_first("truncate", errno.EIO))
        with pytest.raises(LogUnavailable):
            log.append("in the cache until it is dropped")
        disk = disk.after_kill()
        log, _ = SegmentLog.open(DIRECTORY, files=disk)
        seen = list(log.scan())
        log, _ = SegmentLog.open(DIRECTORY, files=disk.after_power_loss(None))
        assert list(log.scan()) == seen


def test_power_lost_at_any_call_no_record_is_lost_even_if_nothing_unsynced_survives() -> None:
    for number in range(1, CALLS + 1):
        disk = SimulatedDisk(crash_at(number))
        expectations = Expectations()
        with pytest.raises(Crashed):
            run_workload(expectations, disk)
        check_after(expectations, disk.after_power_loss(None))


@pytest.mark.parametrize("seed", range(12))
def test_power_lost_at_any_call_no_record_is_lost_whatever_part_of_the_unsynced_survives(seed: int) -> None:
    for number in range(1, CALLS + 1):
        disk = SimulatedDisk(crash_at(number))
        expectations = Expectations()
        with pytest.raises(Crashed):
            run_workload(expectations, disk)
        check_after(expectations, disk.after_power_loss(random.Random(seed * 10_000 + number)))


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("seed", range(3))
def test_any_single_call_may_fail_and_what_was_told_still_holds(error: int, seed: int) -> None:
    for number in range(1, CALLS + 1):
        disk = SimulatedDisk(fail_at(number, error), seed=seed)
        expectations = Expectations()
        run_workload(expectations, disk)
        disk.fault = None
        expectations.log.close()
        assert disk.open_descriptors == []
        check_after(expectations, disk.copy())


def test_a_call_fails_and_power_is_lost_at_any_later_one() -> None:
    rng = random.Random(7)
    for failing in range(1, CALLS, 3):
        for crashing in rng.sample(range(failing + 1, CALLS + 8), 4):
            disk = SimulatedDisk(both(fail_at(failing, errno.EIO), crash_at(crashing)), seed=failing)
            expectations = Expectations()
            with contextlib.suppress(Crashed):
                run_workload(expectations, disk)
            check_after(expectations, disk.after_power_loss(rng.choice([None, rng])))


def both(*faults: Fault) -> Fault:
    def fault(call: int, name: str) -> None:
        for one in faults:
            one(call, name)

    return fault


def test_power_lost_again_at_any_call_of_the_recovery() -> None:
    rng = random.Random(11)
    for number in range(1, CALLS + 1, 2):
        for again in itertools.count(1):
            disk = SimulatedDisk(crash_at(number))
            expectations = Expectations()
            with pytest.raises(Crashed):
                run_workload(expectations, disk)
            disk = disk.after_power_loss(random.Random(number))
            disk.fault = crash_at(again)
            try:
                expectations.open(disk)
            except Crashed:
                check_after(expectations, disk.after_power_loss(rng))
            else:
                break


def test_disk_full_from_any_call_on_refuses_leaves_nothing_half_written_and_goes_on_with_space() -> None:
    for number in range(1, CALLS + 1):
        disk = SimulatedDisk()

        def fill_up(call: int, name: str, number: int = number, disk: SimulatedDisk = disk) -> None:
            if call == number:
                disk.full = True

        disk.fault = fill_up
        expectations = Expectations()
        with contextlib.suppress(OSError):  # from ``open``: the disk was full before there was a log
            run_workload_until_full(expectations, disk)
        full = disk.copy()
        disk.full = False
        disk.fault = None
        if hasattr(expectations, "log"):
            expectations.log.close()
        check_after(expectations, full)


def run_workload_until_full(expectations: Expectations, disk: SimulatedDisk) -> None:
    expectations.open(disk)
    for count in (1, 3, 1, 2, 1, 4, 1, 2):
        before = disk.copy()
        failed = len(expectations.failed)
        expectations.append(count)
        if disk.full and len(expectations.failed) > failed:
            assert_nothing_half_written(before, disk)
        expectations.acknowledge(lambda told: told[::2])
        expectations.check_running()


def assert_nothing_half_written(before: SimulatedDisk, after: SimulatedDisk) -> None:
    """The segments are as they were; a new one may have been begun, whole and empty."""
    for name in after.names():
        assert not name.endswith(".new"), f"{name} was left behind"
        content = after.content(DIRECTORY / name)
        if name in before.names():
            assert content == before.content(DIRECTORY / name), f"{name} was left half-written"
        else:
            assert content == encode_header(int(name.removesuffix(".segment")))


def test_a_short_write_is_continued() -> None:
    disk = SimulatedDisk()
    log, _ = SegmentLog.open(DIRECTORY, files=disk)
    whole = disk.write
    disk.write = lambda fd, data, offset: whole(fd, bytes(data)[:3], offset)  # type: ignore[method-assign]
    assert log.append({"key": "a value longer than three bytes"}) == 1
    log.close()
    log, report = SegmentLog.open(DIRECTORY, files=disk)
    assert report.torn_tails == ()
    assert log.read(1).payload == {"key": "a value longer than three bytes"}


def test_a_failed_sync_is_never_taken_for_success_by_trying_again() -> None:
    """The kernel calls the second sync a success though the pages of the first are gone."""
    disk = SimulatedDisk()
    log, _ = SegmentLog.open(DIRECTORY, files=disk)
    log.append("durable")
    disk.fault = fail_first("fdatasync", errno.EIO)
    with pytest.raises(LogUnavailable):
        log.append("lost")
    assert log.append("after") == 2
    disk = disk.after_power_loss(None)
    log, _ = SegmentLog.open(DIRECTORY, files=disk)
    assert [record.payload for record in log.scan()] == ["durable", "after"]


def fail_first(kind: str, error: int, times: int = 1) -> Fault:
    left = [times]

    def fault(call: int, name: str) -> None:
        if name == kind and left[0]:
            left[0] -= 1
            raise OSError(error, os.strerror(error))

    return fault


def test_no_append_is_taken_while_the_remains_of_a_failed_one_cannot_be_cut_off() -> None:
    disk = SimulatedDisk()
    log, _ = SegmentLog.open(DIRECTORY, files=disk)
    log.append("first")
    disk.fault = both(fail_first("write", errno.ENOSPC), fail_first("truncate", errno.EIO, times=3))
    with pytest.raises(LogFull):
        log.append("second")
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            log.append("third")
    assert log.append("fourth") == 2
    assert [record.payload for record in log.scan()] == ["first", "fourth"]


def test_no_segment_is_begun_behind_the_remains_of_a_failed_append() -> None:
    disk = SimulatedDisk()
    log, _ = SegmentLog.open(DIRECTORY, segment_bytes=130, files=disk)
    log.append("x" * 60)
    disk.fault = both(fail_first("write", errno.EIO), fail_first("truncate", errno.EIO, times=2))
    with pytest.raises(LogUnavailable):
        log.append("short")
    with pytest.raises(LogUnavailable):
        log.append("y" * 60)
    assert log.append("y" * 60) == 2
    log.close()
    again, report = SegmentLog.open(DIRECTORY, files=disk)
    assert (report.segments, report.torn_tails) == (2, ())
    assert [record.payload for record in again.scan()] == ["x" * 60, "y" * 60]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_no_space_no_quota_and_too_large_a_file_are_all_log_full(error: int, call: str) -> None:
    disk = SimulatedDisk()
    log, _ = SegmentLog.open(DIRECTORY, files=disk)
    disk.fault = fail_first(call, error)
    with pytest.raises(LogFull):
        log.append("x")
    assert log.append("y") == 1
