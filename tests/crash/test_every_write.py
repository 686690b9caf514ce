"""The inbox and the event log on SQLite: at every write to its files the process dies, or the disk fails."""

import errno
import shutil
import sqlite3
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from jobledger.storage.ledger import DATABASE_FILE, Ledger
from jobledger.storage.sqlite_engine import SqliteEngine
from ledger_samples import inbound
from sqlite_writes import Remains, Write, every_write_in
from test_ledger_faults import ROUNDS, Acknowledged, _stream

MORE_WRITES_THAN_ANY_SCENARIO = 2_000


class _FoldsOften(sqlite3.Connection):
    """Moves what was committed from the write-ahead log into the file every few pages."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.execute("PRAGMA wal_autocheckpoint = 25")


def _opened(folder: Path) -> Ledger:
    return Ledger(SqliteEngine(folder / DATABASE_FILE, _FoldsOften))


def test_killed_at_any_write_even_half_way_through_the_ledger_has_all_that_it_acknowledged(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "dashboard"
    folder.mkdir()
    acknowledged = Acknowledged()
    left: list[tuple[str, Remains, Acknowledged]] = []
    files = set()

    def look(write: Write) -> int:
        what = f"{write.kind} {len(left)} of {write.file.name}"
        remains = Remains(folder)
        left.append((what, remains, deepcopy(acknowledged)))
        if write.half:
            left.append((f"half of {what}", remains.torn(write), deepcopy(acknowledged)))
        files.add((write.file.name.removeprefix(DATABASE_FILE), write.kind))
        return 0

    with every_write_in(folder, look):
        ledger = _opened(folder)
        acknowledged.run(ledger)
        ledger.close()

    assert len(acknowledged.saved) == ROUNDS
    assert {("", "write"), ("-wal", "write"), ("-wal", "unlink")} <= files
    assert len(left) > 200, "not every write was seen"
    for what, remains, told in left:
        remains.lay_into(tmp_path / "left")
        again = Ledger.open(None, tmp_path / "left")
        try:
            told.verify(again)
            again.receive([inbound(_stream(99), b"afterwards")])
        except AssertionError as error:
            raise AssertionError(f"killed before {what}: {error}") from error
        finally:
            again.close()
        shutil.rmtree(tmp_path / "left")


def _fails_once(number: int, error: int) -> Callable[[Write], int]:
    seen = 0

    def strike(_write: Write) -> int:
        nonlocal seen
        seen += 1
        return error if seen == number else 0

    return strike


def _full_from(number: int) -> Callable[[Write], int]:
    seen = 0

    def strike(write: Write) -> int:
        nonlocal seen
        seen += 1
        return errno.ENOSPC if seen >= number and write.kind == "write" else 0

    return strike


def _struck(number: int, folder: Path, strike: Callable[[Write], int]) -> int:
    """Run while writes fail, then on with a sound disk; how many steps were refused."""
    folder.mkdir()
    ledger = _opened(folder)
    acknowledged = Acknowledged()
    try:
        with every_write_in(folder, strike):
            acknowledged.run(ledger)
        acknowledged.verify(ledger)
        ledger.receive([inbound(_stream(99), b"afterwards")])
    except AssertionError as error:
        raise AssertionError(f"write {number} failed: {error}") from error
    finally:
        ledger.close()
    again = Ledger.open(None, folder)
    acknowledged.verify(again)
    assert b"afterwards" in {entry.payload for entry in again.entries(range(1, 100)).values()}
    again.close()
    shutil.rmtree(folder)
    return acknowledged.failures


def _writes_of_a_run(folder: Path) -> int:
    folder.mkdir()
    ledger = _opened(folder)
    writes: list[Write] = []

    def count(write: Write) -> int:
        writes.append(write)
        return 0

    with every_write_in(folder, count):
        Acknowledged().run(ledger)
    ledger.close()
    return len(writes)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_half_way_is_told_to_its_waiter_and_leaves_no_trace(
    tmp_path: Path, error: int
) -> None:
    writes = _writes_of_a_run(tmp_path / "sound")
    assert 100 < writes < MORE_WRITES_THAN_ANY_SCENARIO
    refused = [
        _struck(number, tmp_path / f"{number}", _fails_once(number, error)) for number in range(1, writes + 1)
    ]
    assert set(refused) == {0, 1}, "one step was refused, or none when it was only the log that was folded"


def test_a_disk_that_is_full_from_any_write_on_refuses_until_there_is_space_and_stores_nothing_by_half(
    tmp_path: Path,
) -> None:
    writes = _writes_of_a_run(tmp_path / "sound")
    for number in range(1, writes + 1):
        refused = _struck(number, tmp_path / f"{number}", _full_from(number))
        assert refused or number > writes - 40, (
            f"nothing was refused although the disk was full from write {number}"
        )
