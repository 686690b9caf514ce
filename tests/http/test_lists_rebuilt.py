"""``jobledger log rebuild``: the lists of plans and instances are made anew from the facts of a dashboard."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

from click.testing import CliRunner, Result
from dashboard_over_http import Served, eventually, finished, nightly, served
from jobledger.cli.main import cli
from jobledger.storage.ledger import DATABASE_FILE

LISTS = ("/api/v1/plans", "/api/v1/instances", "/api/v1/instances?active=true")


def rebuild(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["log", "rebuild", "--data-dir", str(folder), *options])


def lists(running: Served) -> list[Any]:
    return [running.get(path).json for path in LISTS]


def filled(running: Served) -> None:
    running.push(nightly("other"))
    ids = [running.start(), running.start("other"), running.start()]
    for each in ids:
        running.put("/rest/event/scheduled", finished(each))
    running.settle()
    assert running.post(f"/api/v1/instances/{ids[2]}/end").status_code == 200


def spoil(folder: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        assert database.execute(statement, parameters).rowcount
        database.commit()


def test_lists_that_were_dropped_or_spoilt_are_as_they_were(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        filled(running)
        before = lists(running)
    spoil(tmp_path, "DELETE FROM plans")
    spoil(tmp_path, "UPDATE instances SET counts = x'c1', status = 'nonsense', position = 0")
    spoil(tmp_path, "DELETE FROM instances WHERE ended_at IS NOT NULL")

    assert rebuild(tmp_path).output == "listed 2 plans and 3 instances\n"

    with served(tmp_path) as running:
        assert lists(running) == before


def test_a_dashboard_may_run_meanwhile_and_goes_on_with_the_lists(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        filled(running)
        before = lists(running)
        assert json.loads(rebuild(tmp_path, "--json").output) == {"plans": 2, "instances": 3, "damaged": []}
        assert lists(running) == before
        instance_id = running.start()
        running.put("/rest/event/scheduled", finished(instance_id))
        eventually(lambda: running.get("/api/v1/instances?limit=1").json["items"][0]["position"] == 3)


def test_an_instance_that_is_damaged_is_listed_as_it_was_before_and_told(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        instance_id = running.start()
        running.put("/rest/event/scheduled", finished(instance_id))
        running.settle()
    spoil(
        tmp_path,
        "UPDATE stored_events SET state = x'c1' WHERE originator_id = ? AND originator_version = 2",
        UUID(instance_id).hex,
    )

    told = rebuild(tmp_path)

    assert told.exit_code == 0
    assert f"listed as it was before the damage: fact 2 of {instance_id}" in told.output
    with served(tmp_path) as running:
        (listed,) = running.get("/api/v1/instances").json["items"]
        assert (listed["instance_id"], listed["counts"], listed["position"]) == (
            instance_id,
            {"WAITING": 4},
            3,
        )


def test_a_dashboard_that_cannot_read_its_lists_says_how_they_are_made_anew(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        running.start()
    spoil(tmp_path, "UPDATE instances SET counts = x'c1'")
    refused = subprocess.run(
        [
            sys.executable,
            "-m",
            "jobledger",
            "dashboard",
            "--data-dir",
            tmp_path,
            "--auth",
            "none",
            "--port",
            "0",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "jobledger log rebuild" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_is_no_dashboards_directory_is_told(tmp_path: Path) -> None:
    assert rebuild(tmp_path).exit_code == 5
    assert CliRunner().invoke(cli, ["log", "rebuild"]).exit_code == 2
