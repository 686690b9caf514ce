"""Every single byte of a small log is damaged: it is noticed, located, and what is readable is saved."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from jobledger.storage.segment_files import (
    HEADER_BYTES,
    decode_acknowledgements,
    encode_acknowledgements,
    encode_frame,
    encode_header,
    read_frames,
)
from jobledger.storage.segment_log import LogCorrupted, LogInUse, Record, RecoveryReport, SegmentLog
from jobledger.storage.segment_repair import (
    RecordEntry,
    RepairReport,
    SegmentEntry,
    Unreadable,
    describe,
    repair,
)
from simulated_disk import SimulatedDisk

DIRECTORY = Path("/log")
REPAIRED = Path("/repaired")
SEALED = DIRECTORY / "00000000000000000004.segment"
NEWEST = DIRECTORY / "00000000000000000008.segment"
CHECKPOINT = DIRECTORY / "checkpoint"
WRITES = [1, 2, 1, 3, 1, 2, 1]
"""How many records each append has."""
PAYLOADS = {number + 1: letter * (60 if letter == "a" else 20) for number, letter in enumerate("abcdefghijk")}
ACKNOWLEDGED = {1, 2, 3, 5, 6, 8, 9}


@pytest.fixture(scope="module")
def small_log() -> SimulatedDisk:
    """1 to 3 were consumed and deleted; 4 to 7 are sealed; 8 to 11 are in the newest segment."""
    disk = SimulatedDisk()
    log, _ = SegmentLog.open(DIRECTORY, segment_bytes=190, retain_segments=0, files=disk)
    position = 1
    for size in WRITES:
        log.append_many([PAYLOADS[position + number] for number in range(size)])
        position += size
    for acknowledged in ([1, 3, 2], [6, 5], [8], [9]):
        log.acknowledge(acknowledged)
    log.close()
    return disk


def open_log(disk: SimulatedDisk, directory: Path = DIRECTORY) -> tuple[SegmentLog, RecoveryReport]:
    return SegmentLog.open(directory, retain_segments=10, files=disk)


def frame_starts(disk: SimulatedDisk, file: Path, first: int) -> list[int]:
    descriptor = disk.open(file)
    size = disk.size(descriptor)
    starts = [frame.offset for frame in read_frames(disk, descriptor, HEADER_BYTES, size, first)]
    disk.close(descriptor)
    return starts


def damaged(disk: SimulatedDisk, file: Path) -> Iterator[tuple[int, SimulatedDisk]]:
    """For each byte of the file, disks on which it is another one."""
    for offset in range(len(disk.content(file))):
        for bits in (0x01, 0x80, 0xFF):
            copy = disk.copy()
            copy.damage(file, offset, bits)
            yield offset, copy


def test_the_small_log_is_as_the_tests_below_take_it(small_log: SimulatedDisk) -> None:
    names = {SEALED.name, NEWEST.name, SEALED.stem + ".acks", NEWEST.stem + ".acks", "checkpoint", "lock"}
    assert set(small_log.names()) == names
    assert len(frame_starts(small_log, SEALED, 4)) == len(frame_starts(small_log, NEWEST, 8)) == 4
    log, _ = open_log(small_log.copy())
    assert {one.position: one.payload for one in log.pending()} == {
        position: payload for position, payload in PAYLOADS.items() if position not in ACKNOWLEDGED
    }


@pytest.mark.parametrize(("file", "first", "safe"), [(SEALED, 4, 4), (NEWEST, 8, 3)])
def test_any_damaged_byte_before_the_last_write_stops_with_file_and_offset(
    small_log: SimulatedDisk, file: Path, first: int, safe: int
) -> None:
    starts = [0, *frame_starts(small_log, file, first)]
    end = len(small_log.content(file)) if safe == 4 else starts[-1]
    for offset, disk in damaged(small_log, file):
        if offset >= end:
            continue
        with pytest.raises(LogCorrupted) as caught:
            open_log(disk)
        assert caught.value.file == file
        assert caught.value.offset == max(start for start in starts if start <= offset)
        assert str(file) in str(caught.value)
        assert disk.open_descriptors == []


def test_a_damaged_byte_in_the_last_write_is_a_torn_tail_that_is_cut_and_reported(
    small_log: SimulatedDisk,
) -> None:
    start = frame_starts(small_log, NEWEST, 8)[-1]
    size = len(small_log.content(NEWEST))
    for offset, disk in damaged(small_log, NEWEST):
        if offset < start:
            continue
        log, report = open_log(disk)
        (torn,) = report.torn_tails
        assert (torn.file, torn.offset, torn.bytes_cut) == (NEWEST, start, size - start)
        assert [one.position for one in log.pending()] == [4, 7, 10]
        assert log.append("again") == 11


def test_a_newest_segment_cut_anywhere_in_the_last_write_is_a_torn_tail(small_log: SimulatedDisk) -> None:
    start = frame_starts(small_log, NEWEST, 8)[-1]
    for size in range(start + 1, len(small_log.content(NEWEST))):
        disk = small_log.copy()
        disk.cut(NEWEST, size)
        log, report = open_log(disk)
        assert [tail.offset for tail in report.torn_tails] == [start]
        assert log.last_position == 10


def test_an_append_of_several_of_which_only_some_are_whole_is_cut_as_a_whole(
    small_log: SimulatedDisk,
) -> None:
    starts = frame_starts(small_log, NEWEST, 8)
    for size in range(starts[1] + 1, starts[3]):
        disk = small_log.copy()
        disk.cut(NEWEST, size)
        disk.cut(NEWEST.with_suffix(".acks"), 12)
        log, report = open_log(disk)
        assert [tail.offset for tail in report.torn_tails] == [starts[1]]
        assert log.last_position == 8


def test_a_last_record_that_was_acknowledged_was_durable_so_that_its_damage_is_no_torn_tail(
    small_log: SimulatedDisk,
) -> None:
    disk = small_log.copy()
    log, _ = open_log(disk)
    log.acknowledge([11])
    log.close()
    before = bytes(disk.content(NEWEST))
    disk.damage(NEWEST, -1, 0xFF)
    with pytest.raises(LogCorrupted, match=r"record 11 .* acknowledged"):
        open_log(disk)
    assert len(disk.content(NEWEST)) == len(before), "nothing is cut off a corrupted log"


def test_a_sealed_segment_may_not_end_early_not_even_between_two_records(small_log: SimulatedDisk) -> None:
    for size in range(len(small_log.content(SEALED))):
        disk = small_log.copy()
        disk.cut(SEALED, size)
        with pytest.raises(LogCorrupted):
            open_log(disk)


@pytest.mark.parametrize("file", [SEALED, NEWEST, CHECKPOINT])
def test_a_missing_file_is_noticed(small_log: SimulatedDisk, file: Path) -> None:
    disk = small_log.copy()
    disk.remove(file)
    with pytest.raises(LogCorrupted):
        open_log(disk)


def test_a_missing_oldest_segment_without_acknowledgements_is_noticed(small_log: SimulatedDisk) -> None:
    disk = small_log.copy()
    disk.remove(SEALED)
    disk.remove(SEALED.with_suffix(".acks"))
    with pytest.raises(LogCorrupted, match="records 4 to 7 before it are missing"):
        open_log(disk)


def test_any_damaged_byte_of_the_checkpoint_stops(small_log: SimulatedDisk) -> None:
    for _, disk in damaged(small_log, CHECKPOINT):
        with pytest.raises(LogCorrupted) as caught:
            open_log(disk)
        assert caught.value.file == CHECKPOINT


def test_a_damaged_acknowledgement_stops_unless_it_is_of_the_last_write(small_log: SimulatedDisk) -> None:
    file = NEWEST.with_suffix(".acks")
    for offset, disk in damaged(small_log, file):
        if offset < 12:
            with pytest.raises(LogCorrupted) as caught:
                open_log(disk)
            assert (caught.value.file, caught.value.offset) == (file, 0)
        else:
            log, report = open_log(disk)
            assert [(tail.file, tail.offset) for tail in report.torn_tails] == [(file, 12)]
            assert [one.position for one in log.pending()] == [4, 7, 9, 10, 11]
            log.acknowledge([9, 10])
            log.close()
            assert open_log(disk)[1].pending == 3


def test_acknowledgements_of_which_only_the_later_part_of_one_write_is_on_disk_are_torn() -> None:
    data = encode_acknowledgements([7]) + bytes(12) + encode_acknowledgements([8, 9, 10])[12:]
    positions, torn = decode_acknowledgements(Path("x.acks"), data)
    assert positions == [7]
    assert torn is not None
    assert (torn.offset, torn.bytes_cut) == (12, 36)


def test_a_record_in_the_place_of_another_is_corruption_even_at_the_end(small_log: SimulatedDisk) -> None:
    disk = small_log.copy()
    disk.lengthen(NEWEST, encode_frame(13, b"\xc0", 0))
    with pytest.raises(LogCorrupted, match="record 13 stands where 12 should"):
        open_log(disk)


def test_zeros_behind_the_last_record_are_a_torn_tail(small_log: SimulatedDisk) -> None:
    disk = small_log.copy()
    disk.lengthen(NEWEST, bytes(5000))
    log, report = open_log(disk)
    assert [tail.bytes_cut for tail in report.torn_tails] == [5000]
    assert log.last_position == 11


def test_garbage_behind_the_last_record_is_a_torn_tail(small_log: SimulatedDisk) -> None:
    disk = small_log.copy()
    disk.lengthen(NEWEST, bytes(range(256)) * 40)
    log, report = open_log(disk)
    assert [tail.bytes_cut for tail in report.torn_tails] == [256 * 40]
    assert log.last_position == 11


def test_positions_beyond_32_bits_are_found_behind_damage() -> None:
    """The search for a later write must not depend on how large the positions are."""
    first = 2**32 - 1
    disk = SimulatedDisk()
    log, _ = SegmentLog.open(DIRECTORY, files=disk)
    log.close()
    disk.remove(DIRECTORY / f"{1:020d}.segment")
    frames = b"".join(encode_frame(first + number, b"\xc0", 1 << 31) for number in range(4))
    file = DIRECTORY / f"{first:020d}.segment"
    disk.put(file, encode_header(first) + frames)
    disk.damage(file, HEADER_BYTES, 1)
    report = repair(DIRECTORY, REPAIRED, disk)
    assert report.records == 3
    again, _ = open_log(disk, REPAIRED)
    assert [one.position for one in again.scan()] == [first + 1, first + 2, first + 3]


def test_damage_that_comes_while_the_log_is_open_is_noticed_on_reading(tmp_path: Path) -> None:
    log, _ = SegmentLog.open(tmp_path)
    log.append_many(["a" * 30, "b" * 30, "c" * 30])
    file = tmp_path / f"{1:020d}.segment"
    content = bytearray(file.read_bytes())
    content[HEADER_BYTES + 70] ^= 1
    file.write_bytes(content)
    with pytest.raises(LogCorrupted):
        log.read(2)
    with pytest.raises(LogCorrupted):
        log.pending()
    assert log.read(1) == Record(1, "a" * 30)
    log.close()


# --- repair -------------------------------------------------------------------------------------------------


def lost_positions(report: RepairReport) -> set[int]:
    ranges = [one.positions for one in report.unreadable if one.positions is not None]
    return {position for first, last in ranges for position in range(first, last + 1)}


@pytest.mark.parametrize("file", [SEALED, NEWEST])
def test_whatever_byte_is_damaged_repair_saves_all_records_but_the_one_and_names_it(
    small_log: SimulatedDisk, file: Path
) -> None:
    for offset, broken in damaged(small_log, file):
        disk = broken.copy()
        before = {name: bytes(disk.content(DIRECTORY / name)) for name in disk.names()}
        report = repair(DIRECTORY, REPAIRED, disk)
        assert before == {name: bytes(disk.content(DIRECTORY / name)) for name in before}, (
            "the source changed"
        )
        log, recovery = open_log(disk, REPAIRED)
        assert recovery.torn_tails == ()
        there = {one.position: one.payload for one in log.scan()}
        assert there.items() <= PAYLOADS.items()
        missing = set(range(4, 12)) - there.keys()
        assert len(missing) == (0 if offset < HEADER_BYTES else 1)
        assert report.unreadable[0].file == file
        assert any(one.offset <= offset < one.offset + one.length_bytes for one in report.unreadable)
        assert missing <= lost_positions(report) or any(one.torn for one in report.unreadable)
        assert {one.position for one in log.pending()} == there.keys() - ACKNOWLEDGED
        assert (report.records, report.pending) == (len(there), log.size)
        assert log.append("goes on") > max(
            there.keys() | (missing if not report.unreadable[0].torn else set())
        )
        log.close()
        open_log(disk, REPAIRED)[0].close()


def test_repair_of_a_sound_log_is_a_copy(small_log: SimulatedDisk) -> None:
    disk = small_log.copy()
    report = repair(DIRECTORY, REPAIRED, disk)
    assert report == RepairReport(segments=2, records=8, pending=4, unreadable=())
    original, copy = open_log(disk)[0], open_log(disk, REPAIRED)[0]
    assert list(original.scan()) == list(copy.scan())
    assert original.pending() == copy.pending()
    assert original.append("next") == copy.append("next")


def test_repair_names_the_records_of_a_missing_segment(small_log: SimulatedDisk) -> None:
    disk = small_log.copy()
    disk.remove(SEALED)
    report = repair(DIRECTORY, REPAIRED, disk)
    assert lost_positions(report) == {4, 5, 6, 7}
    log, _ = open_log(disk, REPAIRED)
    assert [one.position for one in log.scan()] == [8, 9, 10, 11]


def test_repair_without_a_checkpoint_says_that_it_does_not_know_what_was_consumed(
    small_log: SimulatedDisk,
) -> None:
    disk = small_log.copy()
    disk.damage(CHECKPOINT, -1, 1)
    report = repair(DIRECTORY, REPAIRED, disk)
    assert report.unreadable[0].file == CHECKPOINT
    assert lost_positions(report) == {1, 2, 3}
    log, _ = open_log(disk, REPAIRED)
    assert [one.position for one in log.scan()] == list(range(4, 12))


def test_records_whose_acknowledgement_is_unreadable_are_pending_again(small_log: SimulatedDisk) -> None:
    disk = small_log.copy()
    file = NEWEST.with_suffix(".acks")
    disk.damage(file, 3, 1)
    report = repair(DIRECTORY, REPAIRED, disk)
    assert [one.file for one in report.unreadable] == [file]
    log, _ = open_log(disk, REPAIRED)
    assert [one.position for one in log.pending()] == [4, 7, 8, 10, 11]


def test_repair_of_a_log_of_which_nothing_is_readable_leaves_an_empty_one(small_log: SimulatedDisk) -> None:
    disk = small_log.copy()
    for file in (SEALED, NEWEST):
        disk.put(file, b"\x55" * 150)
    report = repair(DIRECTORY, REPAIRED, disk)
    assert report.records == 0
    assert lost_positions(report) >= set(range(4, 12))
    log, _ = open_log(disk, REPAIRED)
    assert log.append("first") > 11


def test_a_log_in_use_is_not_repaired_and_no_existing_target_is_overwritten(tmp_path: Path) -> None:
    log, _ = SegmentLog.open(tmp_path / "log")
    log.append("a")
    with pytest.raises(LogInUse):
        repair(tmp_path / "log", tmp_path / "repaired")
    log.close()
    assert repair(tmp_path / "log", tmp_path / "repaired").records == 1
    with pytest.raises(FileExistsError):
        repair(tmp_path / "log", tmp_path / "repaired")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "repaired"]


# --- describe -----------------------------------------------------------------------------------------------


def test_describe_shows_an_open_log_record_by_record(tmp_path: Path) -> None:
    log, _ = SegmentLog.open(tmp_path, segment_bytes=100)
    log.append_many(["a", {"b": 1}])
    log.append("c" * 80)
    log.acknowledge([2])
    entries = list(describe(tmp_path))
    records = [one for one in entries if isinstance(one, RecordEntry)]
    assert [(one.position, one.acknowledged, one.payload) for one in records] == [
        (1, False, "a"),
        (2, True, {"b": 1}),
        (3, False, "c" * 80),
    ]
    assert [one.first_position for one in entries if isinstance(one, SegmentEntry)] == [1, 3]
    assert [
        one.position for one in describe(tmp_path / f"{3:020d}.segment") if isinstance(one, RecordEntry)
    ] == [3]
    log.close()


def test_describe_shows_damage_where_it_is_and_goes_on_behind_it(tmp_path: Path) -> None:
    log, _ = SegmentLog.open(tmp_path)
    for payload in "abcd":
        log.append(payload * 50)
    log.close()
    file = tmp_path / f"{1:020d}.segment"
    content = bytearray(file.read_bytes())
    content[HEADER_BYTES + 68 + 1] ^= 0xFF
    file.write_bytes(content[:-5])
    shown = list(describe(file))[1:]
    assert [one.position if isinstance(one, RecordEntry) else one for one in shown] == [
        1,
        Unreadable(file, HEADER_BYTES + 68, 68, shown[1].reason, (2, 2)),
        3,
        Unreadable(file, HEADER_BYTES + 204, 63, shown[3].reason, torn=True),
    ]


def test_describe_refuses_what_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        list(describe(tmp_path / "notes.txt"))
    assert list(describe(tmp_path)) == []
