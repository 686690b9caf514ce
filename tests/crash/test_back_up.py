"""A copy taken while the dashboard runs, and what a dashboard makes of it."""

import sqlite3
import threading
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from rig import Rig, bundle, command, running

CHAIN = [f"j{n}" for n in range(200)]


def copy(source: Path, target: Path) -> None:
    """As the README says it is done."""
    target.parent.mkdir(parents=True)
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as running_database,
        closing(sqlite3.connect(target)) as copied,
    ):
        running_database.backup(copied)


def position_in(database: Path, instance: str) -> int:
    with closing(sqlite3.connect(database)) as copied:
        query = "SELECT MAX(originator_version) FROM stored_events WHERE originator_id = ?"
        position: int = copied.execute(query, (UUID(instance).hex,)).fetchone()[0]
    return position


def test_a_copy_taken_in_the_middle_of_a_run_is_the_dashboard_as_it_was_at_that_moment(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "restored" / "dashboard" / "jobledger.db"
    with running(tmp_path) as rig:
        jobs = [command(name, "true") for name in CHAIN]
        rig.push(bundle("chain", jobs, {after: [before] for before, after in pairwise(CHAIN)}))
        instance = rig.begin("chain")
        rig.submit(instance, "chain", "host-j0")
        seen = rig.wait_for(instance, lambda state: state["counts"].get("COMPLETE", 0) >= 5)
        copy(tmp_path / "dashboard" / "jobledger.db", kept)
        position = position_in(kept, instance)
        later = rig.wait_for(instance, lambda state: state["position"] > position + 5)
        assert seen["position"] <= position < later["position"], "it is not of that moment"
        then = rig.ok("GET", f"/api/v1/instances/{instance}?at={position}")

    restored = Rig(tmp_path / "restored")
    try:
        restored.dashboard.start()
        assert restored.instance(instance) == then
        _ended_and_started_anew(restored, instance)
    finally:
        restored.close()


def _ended_and_started_anew(restored: Rig, instance: str) -> None:
    """As the operations page says: the old instances are ended, the agents begin with nothing."""
    listed = restored.ok("GET", "/api/v1/instances?active=true")["items"]
    assert [each["instance_id"] for each in listed] == [instance]
    restored.ok("POST", f"/api/v1/instances/{instance}/end", {"reason": "restored"})
    restored.start_agent()
    for _ in range(1_500):
        known = {each["name"]: each for each in restored.ok("GET", "/api/v1/agents")["items"]}
        assert restored.agent is not None
        if known["host"]["url"].endswith(f":{restored.agent.port}"):
            break
        threading.Event().wait(0.02)
    fresh = restored.begin("chain")
    restored.submit(fresh, "chain", "host-j0")
    restored.wait_for(fresh, lambda state: state["counts"].get("COMPLETE", 0) >= 3)
