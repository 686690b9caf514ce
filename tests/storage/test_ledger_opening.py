"""Opening a ledger: quick, private, as often as one likes, and never a database that it cannot understand."""

import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import pytest
from jobledger.storage import schema
from jobledger.storage.ledger import DATABASE_FILE, Ledger
from jobledger.storage.records import Change, NewerSchema, Unavailable
from ledger_samples import LedgerBench, append, in_threads, inbound


def test_opening_again_keeps_everything(bench: LedgerBench) -> None:
    stream = uuid4()
    first = bench.open()
    first.receive([inbound(stream)])
    first.save(Change(appends=(append(stream, 0),)))
    first.close()
    for _ in range(2):
        again = bench.open()
        assert (len(again.unhandled()), again.last_position(stream)) == (1, 1)
        again.close()


def test_many_processes_can_open_a_new_database_at_once(bench: LedgerBench) -> None:
    outcomes = in_threads(*(bench.open for _ in range(8)))()
    assert all(isinstance(outcome, Ledger) for outcome in outcomes), outcomes
    assert bench.open().receive([inbound(uuid4())]) == [1]


def test_a_database_of_a_newer_version_is_refused_with_a_sentence(bench: LedgerBench) -> None:
    ledger = bench.open()
    ledger.write(lambda transaction: transaction.run("UPDATE schema_version SET version = ?", (99,)))
    ledger.close()
    with pytest.raises(NewerSchema, match=r"version 99 .* up to version 1: use the version of the program"):
        bench.open()


def test_an_older_database_is_brought_up_to_date_one_version_at_a_time(
    bench: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.open().receive([inbound(uuid4())])
    monkeypatch.setattr(schema, "VERSION", 3)
    monkeypatch.setattr(
        schema,
        "MIGRATIONS",
        {1: ["CREATE TABLE remarks (remark {bytes})"], 2: ["ALTER TABLE remarks ADD COLUMN made_at BIGINT"]},
    )
    for _ in range(2):
        ledger = bench.open()
        assert ledger.reader.rows("SELECT remark, made_at FROM remarks") == []
        assert len(ledger.unhandled()) == 1


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    bench: LedgerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.open().close()
    with monkeypatch.context() as patched:
        patched.setattr(schema, "VERSION", 2)
        patched.setattr(schema, "MIGRATIONS", {1: ["CREATE TABLE remarks (remark TEXT)", "NO SQL AT ALL"]})
        with pytest.raises(Unavailable):
            bench.open()
    ledger = bench.open()
    with pytest.raises(Unavailable):
        ledger.reader.rows("SELECT * FROM remarks")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(b"These are not the rows you are looking for." * 100)
    with pytest.raises(Unavailable, match="cannot be opened"):
        Ledger.open(None, tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be opened"):
        Ledger.open(None, tmp_path / "file" / "data")


@pytest.mark.parametrize("url", ["mysql://host/db", "jobledger.db", "sqlite:///x.db", ""])
def test_a_url_of_another_kind_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="begins with postgresql://"):
        Ledger.open(url, tmp_path)


def test_a_server_that_is_not_there_is_told_and_its_password_is_not(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as raised:
        Ledger.open("postgresql://tests:s3cr3t@127.0.0.1:1/none", tmp_path)
    assert "s3cr3t" not in str(raised.value)


def test_a_database_url_that_does_not_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Ledger.open("postgresql://[", tmp_path)


def test_the_file_and_its_folder_are_for_their_owner_alone(tmp_path: Path) -> None:
    ledger = Ledger.open(None, tmp_path / "new" / "data")
    ledger.receive([inbound(uuid4())])
    folder = tmp_path / "new" / "data"
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (folder, *folder.iterdir())}
    ledger.close()
    assert modes == {
        "data": 0o700,
        DATABASE_FILE: 0o600,
        f"{DATABASE_FILE}-wal": 0o600,
        f"{DATABASE_FILE}-shm": 0o600,
    }


def test_a_folder_with_characters_that_mean_something_in_urls_is_used_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a?mode=memory#%41 b"
    ledger = Ledger.open(None, folder)
    ledger.receive([inbound(uuid4())])
    ledger.close()
    assert (folder / DATABASE_FILE).stat().st_size > 0


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    ledger = Ledger.open(None, tmp_path)
    settings = ledger.write(
        lambda transaction: [
            transaction.rows(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")
        ]
    )
    ledger.close()
    assert settings == ["wal", 2]


def test_opening_a_file_takes_no_time_to_speak_of(tmp_path: Path) -> None:
    Ledger.open(None, tmp_path).close()
    taken = []
    for _ in range(5):
        began = perf_counter()
        ledger = Ledger.open(None, tmp_path)
        taken.append(perf_counter() - began)
        ledger.close()
    assert min(taken) < 0.06


def test_a_dashboard_on_a_file_does_not_load_the_client_of_the_server(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from jobledger.storage.ledger import Ledger\n"
        "ledger = Ledger.open(None, Path(sys.argv[1])); ledger.close()\n"
        "assert 'sqlite3' in sys.modules; print('psycopg' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert told.stdout.strip() == "False"


def test_a_closed_ledger_leaves_no_thread_and_no_open_file(tmp_path: Path) -> None:
    before = threading.active_count()
    ledger = Ledger.open(None, tmp_path)
    in_threads(*(partial(ledger.receive, [inbound(uuid4())]) for _ in range(8)))()
    in_threads(*(ledger.unhandled for _ in range(8)))()
    ledger.close()
    assert threading.active_count() == before
    open_files = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert not [each for each in open_files if each.parent == tmp_path]


def test_a_crowd_can_read_at_once(bench: LedgerBench) -> None:
    ledger = bench.open()
    stream = uuid4()
    ledger.save(Change(appends=(append(stream, 0, 50),)))
    outcomes = in_threads(*(lambda: [len(ledger.facts(stream)) for _ in range(10)] for _ in range(48)))()
    assert outcomes == [[50] * 10] * 48
