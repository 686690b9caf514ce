"""The segment log as its users see it: positions, order, acknowledgements, retention, locking, threads."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jobledger.storage.segment_log import (
    LogClosed,
    LogInUse,
    LogPositionUnknown,
    Record,
    RecordTooLarge,
    RecoveryReport,
    SegmentLog,
)


def reopen(log: SegmentLog, **options: int) -> SegmentLog:
    log.close()
    again, _ = SegmentLog.open(log.directory, **options)
    return again


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SegmentLog]:
    log, _ = SegmentLog.open(tmp_path / "log", segment_bytes=200, retain_segments=1)
    yield log
    log.close()


def segments(log: SegmentLog) -> list[int]:
    return sorted(int(path.stem) for path in log.directory.glob("*.segment"))


def test_a_new_log_is_empty_and_its_positions_count_from_one(tmp_path: Path) -> None:
    log, report = SegmentLog.open(tmp_path / "not" / "yet" / "there")
    assert report == RecoveryReport(segments=1, records=0, pending=0, torn_tails=())
    assert (log.last_position, log.size, log.pending(), list(log.scan())) == (0, 0, [], [])
    assert [log.append("a"), log.append("b"), *log.append_many(["c", "d"])] == [1, 2, 3, 4]
    assert log.last_position == 4
    log.close()


def test_what_was_appended_is_read_back_before_and_after_reopening(log: SegmentLog) -> None:
    payloads = [
        None,
        True,
        -1,
        2**64 - 1,
        1.5,
        "ü\x00",
        b"\xff",
        [1, [2]],
        {"k": {"n": 1}, 7: "seven"},
        "x" * 3000,
    ]
    for payload in payloads:
        log.append(payload)
    expected = [Record(number + 1, payload) for number, payload in enumerate(payloads)]
    assert list(log.scan()) == log.pending() == expected
    assert [log.read(one.position) for one in expected] == expected
    again = reopen(log)
    assert list(again.scan()) == again.pending() == expected
    again.close()


def test_appending_nothing_gives_no_positions_and_writes_nothing(log: SegmentLog) -> None:
    assert log.append_many([]) == []
    log.acknowledge([])
    assert log.last_position == 0


@pytest.mark.parametrize(
    ("payload", "error"),
    [(object(), TypeError), (2**64, OverflowError), ("\ud800", ValueError), ({"a": {1, 2}}, TypeError)],
)
def test_a_payload_that_cannot_be_stored_is_refused_and_no_record_of_its_append_is_kept(
    log: SegmentLog, payload: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        log.append_many(["good", payload])
    assert log.append("next") == 1


def test_a_payload_beyond_the_limit_is_refused(log: SegmentLog) -> None:
    with pytest.raises(RecordTooLarge):
        log.append(bytes(65 << 20))
    assert log.append("next") == 1


def test_pending_goes_on_behind_a_position_and_stops_at_the_limit(log: SegmentLog) -> None:
    log.append_many(list(range(40)))
    log.acknowledge([2, 3, 5])
    assert [one.position for one in log.pending(limit=3)] == [1, 4, 6]
    assert [one.position for one in log.pending(after=4, limit=2)] == [6, 7]
    assert [one.position for one in log.pending(after=39)] == [40]
    assert log.pending(after=40) == []
    assert log.pending(limit=0) == []
    assert log.size == 37


def test_scan_begins_behind_a_position_in_any_segment(log: SegmentLog) -> None:
    for number in range(300):
        log.append(number)
    assert len(segments(log)) > 5
    for after in range(0, 301, 7):
        assert [one.position for one in log.scan(after)] == list(range(after + 1, 301))


def test_acknowledged_records_are_pending_no_more_in_any_order_and_however_often(
    log: SegmentLog,
) -> None:
    log.append_many(list("abcdef"))
    log.acknowledge([5, 1, 5])
    log.acknowledge([1, 4])
    assert [one.payload for one in log.pending()] == ["b", "c", "f"]
    again = reopen(log)
    assert [one.payload for one in again.pending()] == ["b", "c", "f"]
    assert [one.payload for one in again.scan()] == list("abcdef")
    again.close()


@pytest.mark.parametrize("position", [0, -1, 3])
def test_acknowledging_a_position_that_was_not_given_out_is_refused_as_a_whole(
    log: SegmentLog, position: int
) -> None:
    log.append_many(["a", "b"])
    with pytest.raises(LogPositionUnknown):
        log.acknowledge([1, position])
    assert log.size == 2
    with pytest.raises(KeyError):
        log.read(position)


def test_consumed_segments_are_deleted_except_for_the_newest_retained(log: SegmentLog) -> None:
    for number in range(30):
        log.append(f"record {number}")
    before = segments(log)
    assert len(before) > 4
    log.acknowledge(range(1, 31))
    assert segments(log) == before[-2:], "one consumed segment is retained, and the active one stays"
    assert [one.position for one in log.scan()] == list(range(before[-2], 31))
    with pytest.raises(LogPositionUnknown):
        log.read(1)
    log.acknowledge([1, 30])
    assert log.append("next") == 31
    again = reopen(log, segment_bytes=200, retain_segments=0)
    assert segments(again) == before[-1:]
    assert [one.position for one in again.pending()] == [31]
    again.close()


def test_a_record_never_acknowledged_keeps_its_segment_but_not_those_behind_it(
    log: SegmentLog,
) -> None:
    first = log.append("hangs for a month")
    for number in range(100):
        log.acknowledge([log.append(f"record {number}")])
    assert segments(log)[0] == first
    assert len(segments(log)) <= 3
    again = reopen(log)
    assert [one.position for one in again.pending()] == [first]
    assert again.read(first).payload == "hangs for a month"
    again.acknowledge([first])
    again.close()


def test_a_record_longer_than_a_segment_gets_one_of_its_own(log: SegmentLog) -> None:
    log.append("short")
    log.append("long" * 500)
    log.append("short again")
    assert segments(log) == [1, 2, 3]
    assert [len(one.payload) for one in log.scan()] == [5, 2000, 11]


def test_a_log_that_is_open_cannot_be_opened_again_until_it_is_closed(log: SegmentLog) -> None:
    with pytest.raises(LogInUse):
        SegmentLog.open(log.directory)
    log.append("a")
    log.close()
    again, report = SegmentLog.open(log.directory)
    assert report.records == 1
    again.close()


def test_a_closed_log_refuses_everything_and_closes_again_without_harm(log: SegmentLog) -> None:
    log.append("a")
    log.close()
    log.close()
    for use in (lambda: log.append("b"), lambda: log.acknowledge([1]), log.pending, lambda: log.read(1)):
        with pytest.raises(LogClosed):
            use()
    with pytest.raises(LogClosed):
        next(log.scan())


def test_a_context_manager_closes_the_log(tmp_path: Path) -> None:
    log, _ = SegmentLog.open(tmp_path)
    with log:
        log.append("a")
    with pytest.raises(LogClosed):
        log.append("b")


def test_only_the_owner_may_read_the_files(log: SegmentLog) -> None:
    log.append("secret parameter value")
    log.acknowledge([1])
    assert {path.stat().st_mode & 0o077 for path in log.directory.iterdir()} == {0}


def test_many_threads_append_and_acknowledge_at_once_and_each_finds_its_own(tmp_path: Path) -> None:
    log, _ = SegmentLog.open(tmp_path, segment_bytes=4000, retain_segments=1000)
    started = threading.Barrier(16)

    def work(thread: int) -> dict[int, str]:
        mine = {}
        started.wait(timeout=30)
        for number in range(60):
            together = [f"{thread}/{number}/{part}" for part in range(number % 3 + 1)]
            positions = log.append_many(together)
            assert positions == list(range(positions[0], positions[0] + len(together)))
            mine.update(zip(positions, together, strict=True))
            if number % 2:
                log.acknowledge(positions)
            assert log.read(positions[0]).payload == together[0]
        return mine

    with ThreadPoolExecutor(16) as pool:
        expected: dict[int, str] = {}
        for mine in pool.map(work, range(16)):
            assert not expected.keys() & mine.keys()
            expected.update(mine)
    assert {one.position: one.payload for one in log.scan()} == expected
    assert sorted(expected) == list(range(1, len(expected) + 1))
    pending = [one.payload for one in log.pending()]
    assert log.size == len(pending) == 16 * 60
    assert all(int(payload.split("/")[1]) % 2 == 0 for payload in pending)
    log.close()
    again, report = SegmentLog.open(tmp_path, retain_segments=1000)
    assert {one.position: one.payload for one in again.scan()} == expected
    assert report.pending == 16 * 60
    again.close()


def test_reading_goes_on_while_segments_are_consumed_under_it(tmp_path: Path) -> None:
    log, _ = SegmentLog.open(tmp_path, segment_bytes=100, retain_segments=0)
    for number in range(50):
        log.append(number)
    reading = log.scan()
    assert next(reading) == Record(1, 0)
    log.acknowledge(range(1, 51))
    rest = [one.position for one in reading]
    assert rest == sorted(rest)
    assert rest[-1] == 50
    log.close()


def test_closing_lets_appends_that_have_begun_finish(tmp_path: Path) -> None:
    log, _ = SegmentLog.open(tmp_path)
    started = threading.Barrier(9)

    def work(thread: int) -> list[int]:
        positions = []
        started.wait(timeout=30)
        try:
            while True:
                positions.append(log.append(thread))
        except LogClosed:
            return positions

    with ThreadPoolExecutor(8) as pool:
        working = [pool.submit(work, thread) for thread in range(8)]
        started.wait(timeout=30)
        while log.last_position < 100:
            log.append("main")
        log.close()
        told = {position for one in working for position in one.result(timeout=30)}
    again, report = SegmentLog.open(tmp_path)
    assert told <= {one.position for one in again.scan()}
    assert report.torn_tails == ()
    again.close()
