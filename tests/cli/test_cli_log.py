"""``jobledger log``: what is on disk is told as it is, damaged parts too, and reading changes nothing."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from jobledger.cli.main import cli
from jobledger.domain.facts import Cause, InstanceEnded, InstanceStarted, Recorded
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Append, Change
from jobledger.storage.segment_log import SegmentLog


def log(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["log", *arguments])


def segment_log(directory: Path, *payloads: object, acknowledged: int = 0) -> Path:
    """A closed log with these records; gives its one segment."""
    opened, _report = SegmentLog.open(directory)
    with opened:
        positions = [opened.append(payload) for payload in payloads]
        opened.acknowledge(positions[:acknowledged])
    return next(directory.glob("*.segment"))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_a_segment_log_is_read_record_by_record_and_not_changed(tmp_path: Path) -> None:
    segment_log(tmp_path, {"job": "load"}, {"job": "report"}, acknowledged=1)
    before = contents(tmp_path)
    lines = log(str(tmp_path)).output.splitlines()
    assert lines[0].startswith("segment ")
    assert lines[1].split(maxsplit=2) == ["1", "done", '{"job": "load"}']
    assert lines[2].split(maxsplit=2) == ["2", "pending", '{"job": "report"}']
    assert contents(tmp_path) == before


def test_one_segment_is_read_by_its_file(tmp_path: Path) -> None:
    segment = segment_log(tmp_path, "only")
    assert '"only"' in log(str(segment)).output


def test_a_damaged_record_is_named_with_file_and_offset_and_the_exit_code_says_so(tmp_path: Path) -> None:
    segment = segment_log(tmp_path, "first" * 20, "second" * 20, "third" * 20)
    data = bytearray(segment.read_bytes())
    data[data.index(b"secondsecond")] ^= 1
    segment.write_bytes(data)
    result = log(str(tmp_path))
    assert result.exit_code == 1
    assert f"UNREADABLE: {segment} at byte " in result.output
    assert "firstfirst" in result.output
    assert "thirdthird" in result.output


def test_a_torn_tail_is_told_and_is_no_damage(tmp_path: Path) -> None:
    segment = segment_log(tmp_path, "first" * 20, "second" * 20)
    segment.write_bytes(segment.read_bytes()[:-5])
    result = log(str(tmp_path))
    assert result.exit_code == 0
    assert "TORN TAIL" in result.output


def test_repair_copies_what_is_readable_and_says_what_is_lost(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    segment = segment_log(source, "first" * 20, "second" * 20, "third" * 20)
    data = bytearray(segment.read_bytes())
    data[data.index(b"secondsecond")] ^= 1
    segment.write_bytes(data)
    result = log("repair", str(source), str(target))
    assert result.exit_code == 0
    assert "UNREADABLE" in result.output
    assert "copied 2 records" in result.output
    with SegmentLog.open(target)[0] as repaired:
        assert [record.position for record in repaired.scan()] == [1, 3]


def test_repair_refuses_a_log_that_is_open_and_a_target_that_is_there(tmp_path: Path) -> None:
    source = tmp_path / "source"
    segment_log(source, "first")
    (tmp_path / "there").mkdir()
    assert "is there already" in log("repair", str(source), str(tmp_path / "there")).output
    with SegmentLog.open(source)[0]:
        result = log("repair", str(source), str(tmp_path / "new"))
    assert result.exit_code == 1
    assert "stop the agent" in result.output


def ledger(directory: Path) -> tuple[str, str]:
    """An event store with two instances of two facts each; gives their ids."""
    streams = (uuid4(), uuid4())
    opened = Ledger.open(None, directory)
    try:
        for stream in streams:
            recorded = tuple(
                Recorded(
                    originator_id=stream,
                    originator_version=number,
                    at=1000 * number,
                    cause=Cause(),
                    fact=fact,
                )
                for number, fact in enumerate(
                    (InstanceStarted(plan="p", plan_version=1), InstanceEnded(reason="by hand")), 1
                )
            )
            opened.save(Change(appends=(Append(stream=stream, expected=0, facts=recorded),)))
    finally:
        opened.close()
    return str(streams[0]), str(streams[1])


def test_an_event_store_is_read_in_the_order_in_which_facts_were_recorded(tmp_path: Path) -> None:
    first, second = ledger(tmp_path)
    told = [json.loads(line) for line in log(str(tmp_path), "--json").output.splitlines()]
    assert [(each["stream"], each["position"]) for each in told] == [
        (first, 1),
        (first, 2),
        (second, 1),
        (second, 2),
    ]
    assert [each["type"] for each in told[:2]] == ["InstanceStarted", "InstanceEnded"]
    assert told[0]["at"] == "1970-01-01T00:00:01.000Z"


def test_the_facts_of_one_instance_can_be_picked(tmp_path: Path) -> None:
    _first, second = ledger(tmp_path)
    told = log(str(tmp_path / "jobledger.db"), "--instance", second, "--json").output.splitlines()
    assert [json.loads(line)["stream"] for line in told] == [second, second]


def test_an_event_store_is_read_while_somebody_writes_to_it(tmp_path: Path) -> None:
    ledger(tmp_path)
    opened = Ledger.open(None, tmp_path)
    try:
        assert len(log(str(tmp_path)).output.splitlines()) == 4
    finally:
        opened.close()


def test_a_fact_of_a_newer_version_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    ledger(tmp_path)
    with closing(sqlite3.connect(tmp_path / "jobledger.db")) as database, database:
        database.execute("UPDATE stored_events SET topic = 'Invented:9' WHERE rowid = 2")
    result = log(str(tmp_path))
    assert result.exit_code == 1
    assert "Invented:9" in result.output
    assert result.output.count("InstanceEnded") == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\x00" + bytes(200)])
def test_what_is_no_log_is_told_without_a_traceback(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    result = log(str(tmp_path / "file"))
    assert result.exit_code == 1
    assert result.output.startswith("jobledger: ")


def test_what_is_not_there_is_exit_code_5(tmp_path: Path) -> None:
    assert log(str(tmp_path / "nosuch")).exit_code == 5


def test_a_record_cannot_steer_the_terminal(tmp_path: Path) -> None:
    segment_log(tmp_path, {"job": "\x1b[2J"}, {"raw": b"\x1b\x00"})
    output = log(str(tmp_path)).output
    assert "\x1b" not in output
    assert "1b00" in output
