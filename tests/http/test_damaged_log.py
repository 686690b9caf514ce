"""A fact that is damaged on disk: it is named, and no other instance and no agent is held up by it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
from dashboard_over_http import Served, eventually, finished, nightly, served
from jobledger.domain.instance import STATE_SCHEMA
from jobledger.domain.plan_log import plan_stream
from jobledger.storage.ledger import DATABASE_FILE
from test_dashboard_plan_life import clocked

Damage = Callable[[sqlite3.Connection, str], object]


class Two(NamedTuple):
    """Instances of which the first is damaged."""

    damaged: str
    sound: str


def two_instances(folder: Path, damage: Damage) -> Two:
    with served(folder) as running:
        two = Two(running.start(), running.start())
        for each in two:
            running.put("/rest/event/scheduled", finished(each))
        running.settle()
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        damage(database, UUID(two.damaged).hex)
        database.commit()
    return two


def unreadable(position: int) -> Damage:
    statement = "UPDATE stored_events SET state = x'c1' WHERE originator_id = ? AND originator_version = ?"
    return lambda database, stream: database.execute(statement, (stream, position))


def missing(position: int) -> Damage:
    statement = "DELETE FROM stored_events WHERE originator_id = ? AND originator_version = ?"
    return lambda database, stream: database.execute(statement, (stream, position))


DAMAGES = [
    pytest.param(unreadable(1), "fact 1 of", id="its first fact does not read"),
    pytest.param(unreadable(2), "fact 2 of", id="a fact does not read"),
    pytest.param(missing(2), "fact 2 of", id="a fact is missing"),
]


@pytest.mark.parametrize(("damage", "named"), DAMAGES)
def test_an_instance_whose_log_is_damaged_says_where_and_the_others_go_on(
    damage: Damage, named: str, tmp_path: Path
) -> None:
    two = two_instances(tmp_path, damage)
    with served(tmp_path) as running:
        refused = running.get(f"/api/v1/instances/{two.damaged}")
        assert refused.status_code == 500
        assert f"damaged on disk: {named} {two.damaged}" in refused.json["detail"]
        assert running.post(f"/api/v1/instances/{two.damaged}/end").status_code == 500

        assert running.put("/rest/event/scheduled", finished(two.sound, "check")).status_code == 200
        eventually(lambda: running.shown(two.sound)["counts"].get("WAITING") == 1)
        assert two.sound in {each["instance_id"] for each in running.get("/api/v1/instances").json["items"]}
        listed = running.get("/rest/contextStatus/json/allInstance").json["contextMachineStatusList"]
        assert [each["contextInstanceId"] for each in listed] == [two.sound]
        running.start()


@pytest.mark.parametrize(("damage", "named"), DAMAGES)
def test_an_agent_that_starts_is_told_of_the_instances_whose_logs_are_sound(
    damage: Damage, named: str, tmp_path: Path
) -> None:
    """Else none of its schedules and file watchers would be live, because of one damaged instance."""
    two = two_instances(tmp_path, damage)
    with served(tmp_path) as running:
        told = running.get("/rest/jobContext/getByAgentName?agentName=host")
        assert told.status_code == 200, named
        assert list(told.json) == [two.sound]


@pytest.mark.parametrize(("damage", "named"), DAMAGES)
def test_an_agent_that_comes_late_is_told_of_all_that_waits_for_it_but_the_damaged(
    damage: Damage, named: str, tmp_path: Path
) -> None:
    """Else one damaged instance would keep every job of that agent from running."""
    two = two_instances(tmp_path, damage)
    with served(tmp_path) as running:
        running.dashboard.announce("host", url="http://127.0.0.1:1", host="h", version="1")
        eventually(lambda: two.sound in running.agent.initiated)
        assert two.damaged not in running.agent.published, named
        assert two.sound in running.agent.published


def test_a_prepared_instance_that_is_damaged_is_left_out_of_lists_and_named_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    with served(tmp_path) as running:
        running.push(clocked())
        running.push(clocked("sound"))
        damaged, sound = (
            running.get(f"/api/v1/plans/{plan}").json["prepared"] for plan in ("clocked", "sound")
        )
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        unreadable(1)(database, UUID(damaged).hex)
        database.commit()

    with served(tmp_path) as running:
        every = running.get("/rest/contextStatus/json/allInstance?includePrepared=true")
        assert every.status_code == 200
        assert [each["contextInstanceId"] for each in every.json["contextMachineStatusList"]] == [sound]
        refused = running.get(f"/api/v1/instances/{damaged}")
        assert (refused.status_code, "damaged on disk" in refused.json["detail"]) == (500, True)

        plan = running.get("/api/v1/plans/clocked").json
        assert (plan["prepared"], plan["called_off"]) == (damaged, False)
        first = {
            each["plan"]: each["skipped"]
            for each in running.get("/api/v1/forecast").json["items"]
            if each["instance_id"] in {damaged, sound} and each["kind"] == "instance"
        }
        assert first == {
            "clocked": "the instance that is prepared for it is damaged on disk",
            "sound": None,
        }


def test_a_forecast_leaves_out_what_is_damaged_and_foretells_the_rest(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        for name in ("broken", "clocked", "sound"):
            running.push(clocked(name))
        active = running.start("clocked")
        before = running.get("/api/v1/forecast?limit=1000").json["items"]
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        unreadable(1)(database, UUID(active).hex)
        unreadable(1)(database, plan_stream("broken").hex)
        database.commit()

    with served(tmp_path) as running:
        told = running.get("/api/v1/forecast?limit=1000")
        assert told.status_code == 200, told.text
        foretold = [each for each in before if each["plan"] != "broken" and each["at"] > before[0]["at"]]
        assert [each for each in told.json["items"] if each["at"] > before[0]["at"]] == foretold
        assert {each["plan"] for each in foretold} == {"clocked", "sound"}
        refused = running.get("/api/v1/forecast?plan=broken")
        assert (refused.status_code, "damaged on disk" in refused.json["detail"]) == (500, True)


@pytest.mark.parametrize(("damage", "_named"), DAMAGES)
def test_an_event_for_a_damaged_instance_is_kept(damage: Damage, _named: str, tmp_path: Path) -> None:
    two = two_instances(tmp_path, damage)
    running: Served
    with served(tmp_path) as running:
        assert running.put("/rest/event/scheduled", finished(two.damaged, "check")).status_code == 200
        (waiting,) = running.dashboard.ledger.unhandled(UUID(two.damaged))
        assert waiting.position > 2
        running.settle = lambda: None  # type: ignore[method-assign]  it stays unhandled


def test_a_snapshot_that_does_not_read_is_passed_over_for_the_log(tmp_path: Path) -> None:
    statement = (
        "INSERT INTO stored_snapshots (originator_id, originator_version, topic, state) VALUES (?, 2, ?, ?)"
    )

    def damage(database: sqlite3.Connection, stream: str) -> None:
        database.execute("DELETE FROM stored_snapshots")
        database.execute(statement, (stream, f"State:{STATE_SCHEMA}", b"\xc1"))

    two = two_instances(tmp_path, damage)
    with served(tmp_path) as running:
        assert running.shown(two.damaged)["counts"] == running.shown(two.sound)["counts"]


def test_a_plan_that_is_damaged_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        running.push(nightly("other"))
        of_other, of_nightly = running.start("other"), running.start()
    stream = plan_stream("other").hex
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        unreadable(1)(database, stream)
        database.commit()

    with served(tmp_path) as running:
        for method, path in (
            ("POST", "/api/v1/plans/other/instances"),
            ("GET", "/api/v1/plans/other"),
            ("GET", f"/api/v1/instances/{of_other}"),
        ):
            refused = running.call(method, path)
            assert refused.status_code == 500, path
            assert "damaged on disk: fact 1 of" in refused.json["detail"], path
        assert running.get("/api/v1/plans").status_code == 200
        assert running.shown(of_nightly)["status"] == "WAITING"
        assert list(running.get("/rest/jobContext/getByAgentName?agentName=host").json) == [of_nightly]
        running.start()
        running.push(nightly("third"))
        running.dashboard.announce("host", url="http://127.0.0.1:1", host="h", version="1")
        eventually(lambda: of_nightly in running.agent.published)
        assert of_other not in running.agent.published


def test_a_global_event_reaches_all_instances_also_beside_those_of_a_damaged_plan(tmp_path: Path) -> None:
    """Whether those of the damaged one expect it cannot be told, so it waits for them too."""
    with served(tmp_path) as running:
        running.push(nightly("other"))
        of_other, of_nightly = running.start("other"), running.start()
    with closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as database:
        unreadable(1)(database, plan_stream("other").hex)
        database.commit()

    with served(tmp_path) as running:
        assert running.post("/api/v1/global-events/market closed").json == {"instances": 2}
        eventually(lambda: running.shown(of_nightly)["counts"].get("COMPLETE") == 1)
        (waiting,) = running.dashboard.ledger.unhandled(UUID(of_other))
        assert waiting.kind == "event"
        running.settle = lambda: None  # type: ignore[method-assign]  it stays unhandled
