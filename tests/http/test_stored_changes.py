"""The count by which the fuzzing of the API knows that a refused request changed nothing."""

import sqlite3
from pathlib import Path

import pytest
from dashboard_over_http import finished, served
from jobledger.storage.ledger import DATABASE_FILE
from stored_changes import StoredChanges


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dashboard that has a row in its tables and runs no more."""
    with served(tmp_path) as running:
        running.put("/rest/event/scheduled", finished(running.start()))
        running.put("/api/v1/agents/host", {"url": "http://127.0.0.1:9"})
        running.settle()
    return tmp_path


def test_whatever_is_added_altered_or_removed_is_counted_in_every_table(folder: Path) -> None:
    changes = StoredChanges(folder)
    database = sqlite3.connect(folder / DATABASE_FILE, isolation_level=None)
    counted = changes.tables()
    assert {"stored_events", "inbox", "instances", "plans", "agents", "answers", "outbox"} <= set(counted)
    for table in counted:
        columns = database.execute(f"PRAGMA table_info({table})").fetchall()
        names = ", ".join(column[1] for column in columns)
        values = ", ".join({"TEXT": "'x'", "BLOB": "x'00'"}.get(column[2], "999") for column in columns)

        steps = [f"INSERT INTO {table} ({names}) VALUES ({values})"]
        if table != "outbox":
            steps += [f"UPDATE {table} SET {columns[0][1]} = {columns[0][1]}", f"DELETE FROM {table}"]
        for step in steps:
            before = changes()
            database.execute(step)
            assert changes() > before, step
    database.close()
    changes.close()


def test_looking_counts_nothing_and_a_change_that_is_taken_back_counts_nothing(folder: Path) -> None:
    changes = StoredChanges(folder)
    database = sqlite3.connect(folder / DATABASE_FILE, isolation_level=None)

    before = changes()
    database.execute("SELECT * FROM stored_events").fetchall()
    database.execute("BEGIN")
    database.execute("DELETE FROM stored_events")
    database.execute("ROLLBACK")

    assert changes() == before
    database.close()
    changes.close()
