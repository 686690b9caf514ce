"""Enable, disable, delete, reset, forecast and the plan's log, as callers see them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dashboard_over_http import START, Served, eventually, nightly, served
from jobledger.domain.plan import Context, JobPlan, ListedJob, ScheduleJob, StartWindow, Trigger
from jobledger.http.wire.views import written

HOUR = 3_600_000
DAY = 24 * HOUR
CLOCKED = StartWindow(cron="0 0 0/6 * * ?", zone="UTC", time_to_live_ms=HOUR)
FIRST = START - START % (6 * HOUR) + 6 * HOUR
"""The first start of the clocked plan after the clock of these tests begins."""


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def clocked(name: str = "clocked", **fields: Any) -> JobPlan:
    plan = msgspec.structs.replace(nightly(name), window=CLOCKED, **fields)
    schedule = ScheduleJob(agent="host", name="half", trigger=Trigger(cron="0 30 * * * ?", zone="UTC"))
    root = msgspec.structs.replace(plan.root, jobs=(*plan.root.jobs, ListedJob("host", "half")))
    return msgspec.structs.replace(plan, root=root, jobs=(*plan.jobs, schedule))


# --- enable and disable -------------------------------------------------------------------------------------


def test_a_plan_is_disabled_and_enabled_with_a_reason_and_says_so(dashboard: Served) -> None:
    answer = dashboard.post("/api/v1/plans/nightly/disable", {"reason": "month end"})

    assert answer.status_code == 200
    assert [(each["type"], each["cause"]["reason"]) for each in answer.json["facts"]] == [
        ("PlanDisabled", "month end")
    ]
    assert dashboard.get("/api/v1/plans/nightly").json["standing"] == "DISABLED"
    assert dashboard.get("/api/v1/plans/nightly").json["disabled"] is True
    assert dashboard.get("/api/v1/plans").json["items"][0]["disabled"] is True
    again = dashboard.post("/api/v1/plans/nightly/disable")
    assert (again.json["facts"], again.json["position"]) == ([], answer.json["position"])

    refused = dashboard.post("/api/v1/plans/nightly/instances")
    assert refused.status_code == 409
    assert refused.json["status"] == "DISABLED"
    assert refused.json["permitted_in"] == ["ENABLED"]
    assert "enable it first" in refused.json["detail"]

    assert dashboard.post("/api/v1/plans/nightly/enable").json["facts"][0]["type"] == "PlanEnabled"
    assert dashboard.post("/api/v1/plans/nightly/instances").status_code == 201


def test_what_is_held_or_skipped_on_a_plan_leaves_it_disabled_or_enabled_as_it_was(
    dashboard: Served,
) -> None:
    plan = "/api/v1/plans/nightly"
    changes = [f"{plan}/jobs/host-load/{order}" for order in ("hold", "skip", "enable", "release")]
    changes += [f"{plan}/schedules/{order}" for order in ("disable", "enable")]

    def standings(first: str) -> set[tuple[str, bool]]:
        dashboard.post(f"{plan}/{first}")
        seen = set()
        for path in changes:
            changed = dashboard.post(path)
            assert (changed.status_code, changed.json["changed"]) == (200, True), changed.text
            shown = dashboard.get(plan).json
            assert shown["version"] == changed.json["version"]
            seen.add((shown["standing"], shown["disabled"]))
        return seen

    assert standings("disable") == {("DISABLED", True)}
    assert standings("enable") == {("ENABLED", False)}
    dashboard.push(msgspec.structs.replace(nightly(), disabled=True))
    assert dashboard.get(plan).json["standing"] == "DISABLED"
    assert standings("enable") == {("ENABLED", False)}


@pytest.mark.parametrize("order", ["enable", "disable"])
def test_a_plan_that_nobody_pushed_is_not_found(dashboard: Served, order: str) -> None:
    assert dashboard.post(f"/api/v1/plans/nobody/{order}").status_code == 404
    assert dashboard.call("DELETE", "/api/v1/plans/nobody").status_code == 404
    assert dashboard.get("/api/v1/plans/nobody/log").status_code == 404
    refused = dashboard.post(f"/api/v1/plans/nightly/{order}", {"why": "?"})
    assert refused.status_code == 422


def test_a_plan_shows_its_next_start_what_is_prepared_and_whom_it_still_has_to_tell(
    dashboard: Served,
) -> None:
    dashboard.push(clocked())

    shown = dashboard.get("/api/v1/plans/clocked").json

    assert (shown["standing"], shown["next_start"]) == ("ENABLED", written(FIRST))
    prepared = dashboard.shown(shown["prepared"])
    assert (prepared["status"], prepared["due_at"]) == ("PREPARED", written(FIRST))
    assert shown["prepared_for"] == written(FIRST)
    assert shown["agents_to_tell"] == ["host"]
    dashboard.put("/api/v1/agents/host", {"url": "http://127.0.0.1:9"})
    eventually(lambda: dashboard.get("/api/v1/plans/clocked").json["agents_to_tell"] == [])
    assert "standing" not in dashboard.get("/api/v1/plans/clocked/versions/1").json


def test_a_plan_shows_the_start_that_waits_beside_the_next_one_until_it_is_disabled(
    dashboard: Served,
) -> None:
    dashboard.push(clocked(end_on_completion=True, concurrent=False))
    dashboard.post("/api/v1/plans/clocked/instances", {"run_until_ended": True})

    def shown() -> tuple[str | None, str]:
        plan = dashboard.get("/api/v1/plans/clocked").json
        assert plan["prepared_for"] == written(FIRST)
        return plan["waiting_start"], plan["next_start"]

    dashboard.dashboard.clock.advance(FIRST - START)  # type: ignore[attr-defined]
    dashboard.dashboard.look_at_clock()

    eventually(lambda: shown() == (written(FIRST), written(FIRST + 6 * HOUR)))
    dashboard.post("/api/v1/plans/clocked/disable")
    eventually(lambda: shown() == (None, written(FIRST + 6 * HOUR)))
    log = dashboard.get("/api/v1/plans/clocked/log").json["items"]
    assert [each["data"]["reason"] for each in log if each["type"] == "StartSkipped"] == ["plan disabled"]


# --- delete -------------------------------------------------------------------------------------------------


def test_a_deleted_plan_is_gone_with_its_instances_and_its_history_stays(dashboard: Served) -> None:
    instance_id = dashboard.start()

    answer = dashboard.call("DELETE", "/api/v1/plans/nightly", query_string="reason=no+longer+needed")

    assert answer.status_code == 200, answer.text
    assert answer.json["facts"][0]["type"] == "PlanDeletionBegun"
    assert answer.json["facts"][0]["cause"]["reason"] == "no longer needed"
    assert (answer.json["standing"], answer.json["ending"]) == ("DELETED", [])
    assert dashboard.get("/api/v1/plans").json["items"] == []
    assert dashboard.get("/api/v1/plans/nightly").status_code == 404
    assert "was deleted" in dashboard.get("/api/v1/plans/nightly").json["detail"]
    assert dashboard.post("/api/v1/plans/nightly/instances").status_code == 404
    assert dashboard.call("DELETE", "/api/v1/plans/nightly").status_code == 404
    assert dashboard.shown(instance_id)["end_reason"] == "plan deleted"
    assert dashboard.get("/api/v1/plans/nightly/versions/1").status_code == 200
    kinds = [each["type"] for each in dashboard.get("/api/v1/plans/nightly/log").json["items"]]
    assert kinds == ["PlanPushed", "InstanceDue", "PlanDeletionBegun", "PlanDeleted"]


def test_a_deleted_plan_is_pushed_again_as_new(dashboard: Served) -> None:
    dashboard.call("DELETE", "/api/v1/plans/nightly")
    bundle = "plan: nightly\nagent: host\njobs:\n  load: {command: 'true'}\n"

    preview = dashboard.put(
        "/api/v1/plans/nightly",
        bundle,
        headers={"Content-Type": "application/yaml"},
        query_string="dry_run=true",
    )
    pushed = dashboard.put("/api/v1/plans/nightly", bundle, headers={"Content-Type": "application/yaml"})

    assert pushed.status_code == 201, pushed.text
    assert (pushed.json["version"], pushed.json["created"]) == (2, True)
    assert (preview.json["version"], preview.json["created"]) == (2, True)
    assert [each["version"] for each in dashboard.get("/api/v1/plans/nightly/versions").json["items"]] == [
        2,
        1,
    ]


# --- the log ------------------------------------------------------------------------------------------------


def test_the_log_of_a_plan_tells_starts_that_did_not_happen_and_not_the_plan_itself(
    dashboard: Served,
) -> None:
    dashboard.push(clocked())
    dashboard.post("/api/v1/plans/clocked/disable", {"reason": "holiday"})
    dashboard.dashboard.clock.advance(FIRST - START + 1000)  # type: ignore[attr-defined]
    dashboard.dashboard.look_at_clock()

    def log() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = dashboard.get("/api/v1/plans/clocked/log").json["items"]
        return items

    eventually(lambda: log()[-1]["type"] == "StartSkipped")
    skipped = log()[-1]
    assert skipped["data"] == {"due_at": written(FIRST), "through": written(FIRST), "reason": "plan disabled"}
    assert skipped["cause"]["by"] == "clock"
    assert log()[0]["data"] == {"version": 1, "previous_agents": []}
    page = dashboard.get("/api/v1/plans/clocked/log?after=1&limit=1").json
    assert ([each["position"] for each in page["items"]], page["next"]) == ([2], "2")


# --- reset --------------------------------------------------------------------------------------------------


def test_an_instance_is_reset_with_the_same_parameters_and_its_commands_held(dashboard: Served) -> None:
    started = dashboard.post("/api/v1/plans/nightly/instances", {"parameters": {"day": "1"}})
    old = started.json["instance_id"]

    answer = dashboard.post(
        f"/api/v1/instances/{old}/reset",
        {"same_parameters": True, "hold_commands": True, "reason": "wrong file"},
    )

    assert answer.status_code == 201, answer.text
    fresh = answer.json["instance_id"]
    assert answer.headers["location"] == f"/api/v1/instances/{fresh}"
    assert [each["type"] for each in answer.json["facts"]] == ["ResetOrdered", "InstanceEnded"]
    shown = dashboard.shown(fresh)
    assert (shown["parameters"], shown["counts"]["ON_HOLD"]) == ({"day": "1"}, 3)
    assert dashboard.shown(old)["end_reason"] == "reset"
    first = dashboard.get(f"/api/v1/instances/{fresh}/log").json["items"][0]
    assert (first["data"]["instead_of"], first["cause"]["reason"]) == (old, "wrong file")


def test_a_reset_that_comes_twice_under_one_key_is_one(dashboard: Served) -> None:
    old = dashboard.start()
    keyed = {"headers": {"Idempotency-Key": "k"}}

    answers = [dashboard.post(f"/api/v1/instances/{old}/reset", {}, **keyed).json for _ in range(2)]

    assert answers[0] == answers[1]
    assert len(dashboard.get("/api/v1/instances?active=true").json["items"]) == 1


def test_what_cannot_be_reset_is_refused_with_its_status(dashboard: Served) -> None:
    old = dashboard.start()
    dashboard.post(f"/api/v1/instances/{old}/end")

    refused = dashboard.post(f"/api/v1/instances/{old}/reset")

    assert (refused.status_code, refused.json["status"]) == (409, "ENDED")
    nobody = "6f0e4a0e-0000-4000-8000-000000000001"
    assert dashboard.post(f"/api/v1/instances/{nobody}/reset").status_code == 404
    dashboard.push(clocked())
    prepared = dashboard.get("/api/v1/plans/clocked").json["prepared"]
    assert dashboard.post(f"/api/v1/instances/{prepared}/reset").json["status"] == "PREPARED"


def test_existing_clients_reset_the_only_active_instance_or_the_one_they_name(dashboard: Served) -> None:
    assert dashboard.put("/rest/context/reset/nightly").status_code == 404
    first = dashboard.start()

    assert dashboard.put("/rest/context/reset/nightly").status_code == 200

    assert dashboard.shown(first)["end_reason"] == "reset"
    second = dashboard.start()
    several = dashboard.put("/rest/context/reset/nightly")
    assert several.status_code == 400
    assert second in several.json["errorMessage"]
    assert dashboard.put(f"/rest/context/reset/nightly/{second}").status_code == 200
    assert dashboard.shown(second)["end_reason"] == "reset"
    unknown = dashboard.put("/rest/context/reset/nobody")
    assert (unknown.status_code, unknown.json["errorMessage"]) == (404, "there is no plan nobody")
    dashboard.push(nightly("other"))
    assert dashboard.put(f"/rest/context/reset/other/{second}").status_code == 404
    assert len(dashboard.get("/api/v1/instances?active=true").json["items"]) == 2


# --- prepared and overrunning -------------------------------------------------------------------------------


def test_what_is_prepared_is_listed_where_it_is_asked_for_and_nowhere_else(dashboard: Served) -> None:
    dashboard.push(clocked())
    all_instances = "/rest/contextStatus/json/allInstance"

    assert dashboard.get(all_instances).json["contextMachineStatusList"] == []
    (prepared,) = dashboard.get(f"{all_instances}?includePrepared=true").json["contextMachineStatusList"]
    assert (prepared["contextName"], prepared["instanceStatus"]) == ("clocked", "PREPARED")
    assert dashboard.get("/rest/jobContext/getByAgentName?agentName=host").json == {}
    assert dashboard.get("/api/v1/instances?active=true").json["items"] == []
    assert [each["status"] for each in dashboard.get("/api/v1/instances").json["items"]] == ["PREPARED"]


def test_what_runs_until_it_is_ended_is_listed_once_it_has_outlived_its_time(dashboard: Served) -> None:
    dashboard.push(clocked())
    kept = dashboard.post("/api/v1/plans/clocked/instances", {"run_until_ended": True}).json["instance_id"]
    over_running = "/rest/contextStatus/overRunningJobPlans"
    assert dashboard.get(over_running).json == []

    dashboard.dashboard.clock.advance(HOUR + 1000)  # type: ignore[attr-defined]

    (late,) = dashboard.get(over_running).json
    assert late["contextInstanceId"] == kept
    assert late["projectedEndTime"] == late["startTime"] + HOUR


def test_an_instance_may_begin_with_its_commands_held(dashboard: Served) -> None:
    answer = dashboard.post("/api/v1/plans/nightly/instances", {"hold_commands": True})

    assert dashboard.shown(answer.json["instance_id"])["counts"]["ON_HOLD"] == 3


# --- forecast -----------------------------------------------------------------------------------------------


def forecast(dashboard: Served, query: str) -> list[tuple[str, str, Any]]:
    document = dashboard.get(f"/api/v1/forecast?{query}").json
    return [(each["at"], each["kind"], each["skipped"]) for each in document["items"]]


def test_a_forecast_tells_starts_and_the_schedules_of_their_instances_in_order(dashboard: Served) -> None:
    dashboard.push(clocked())

    told = forecast(dashboard, f"plan=clocked&to={written(START + DAY)}")

    assert told == [
        item
        for start in range(FIRST, START + DAY, 6 * HOUR)
        for item in (
            (written(start), "instance", None),
            (written(start + HOUR // 2), "schedule", None),
        )
        if item[0] <= written(START + DAY)
    ]
    first = dashboard.get("/api/v1/forecast?plan=clocked").json["items"][0]
    assert first["instance_id"] == dashboard.get("/api/v1/plans/clocked").json["prepared"]


def test_a_start_that_was_called_off_is_shown_and_foretold_so(dashboard: Served) -> None:
    dashboard.push(clocked())
    shown = dashboard.get("/api/v1/plans/clocked").json
    assert shown["called_off"] is False

    dashboard.post(f"/api/v1/instances/{shown['prepared']}/end")

    assert dashboard.get("/api/v1/plans/clocked").json["called_off"] is True
    told = forecast(dashboard, f"plan=clocked&to={written(START + DAY)}")
    assert [(kind, skipped) for at, kind, skipped in told if at == written(FIRST)] == [
        ("instance", "ended before its start")
    ]
    assert {skipped for at, _, skipped in told if at != written(FIRST)} == {None}


def test_an_instance_that_ended_before_its_start_shows_no_start(dashboard: Served) -> None:
    dashboard.push(clocked())
    prepared = dashboard.get("/api/v1/plans/clocked").json["prepared"]
    (listed,) = dashboard.get("/api/v1/instances?plan=clocked").json["items"]
    assert listed["started_at"] == dashboard.shown(prepared)["started_at"] == written(FIRST)

    dashboard.post(f"/api/v1/instances/{prepared}/end")

    (listed,) = dashboard.get("/api/v1/instances?plan=clocked&active=false").json["items"]
    shown = dashboard.shown(prepared)
    assert listed["started_at"] is shown["started_at"] is None
    assert listed["ended_at"] == shown["ended_at"] is not None
    assert shown["due_at"] == written(FIRST)


def test_lists_go_on_behind_an_instance_that_never_began(dashboard: Served) -> None:
    dashboard.push(clocked())
    prepared = dashboard.get("/api/v1/plans/clocked").json["prepared"]
    dashboard.post(f"/api/v1/instances/{prepared}/end")
    started = dashboard.start()

    first = dashboard.get("/api/v1/instances?limit=1").json
    assert [each["instance_id"] for each in first["items"]] == [prepared]
    then = dashboard.get(f"/api/v1/instances?limit=1&cursor={first['next']}").json
    assert [each["instance_id"] for each in then["items"]] == [started]


def test_a_forecast_says_what_will_not_happen(dashboard: Served) -> None:
    dark = msgspec.structs.replace(CLOCKED, blackout_ranges=((FIRST, FIRST),))
    dashboard.push(msgspec.structs.replace(clocked(), window=dark))
    told = forecast(dashboard, f"plan=clocked&to={written(FIRST + 6 * HOUR)}")
    assert told[0][2].startswith("in the blackout")
    assert [each[1] for each in told] == ["instance", "instance"]

    dashboard.post("/api/v1/plans/clocked/disable")
    told = forecast(dashboard, f"plan=clocked&to={written(FIRST + 6 * HOUR)}")
    assert [each[2] for each in told] == ["plan disabled", "plan disabled"]


def test_a_forecast_comes_in_pages_without_gap_or_repeat(dashboard: Served) -> None:
    for name in ("one", "two", "three"):
        dashboard.push(clocked(name))
    until = f"to={written(START + 2 * DAY)}"
    whole = dashboard.get(f"/api/v1/forecast?{until}&limit=1000").json["items"]
    pages, cursor = [], ""
    while True:
        page = dashboard.get(f"/api/v1/forecast?{until}&limit=4{cursor}").json
        pages += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert pages == whole
    assert len(whole) == 3 * 2 * 8


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=yesterday", 400),
        ("to=2026-01-01", 400),
        ("cursor=1", 400),
        ("cursor=-1.0", 400),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", 422),
        ("from=2026-01-01T00:00:00Z&to=2028-01-01T00:00:00Z", 422),
        ("plan=nobody", 404),
        ("limit=0", 400),
        ("what=ever", 400),
    ],
)
def test_a_forecast_that_cannot_be_is_refused(dashboard: Served, query: str, status: int) -> None:
    assert dashboard.get(f"/api/v1/forecast?{query}").status_code == status


def test_a_forecast_over_too_much_says_so(dashboard: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    never = ScheduleJob(agent="host", name="never", trigger=Trigger(cron="0 0 5 * * ?", zone="UTC"))
    root = Context(name="busy", jobs=(ListedJob("host", "never"),))
    window = StartWindow(cron="0 * * * * ?", zone="UTC", time_to_live_ms=1000)
    dashboard.push(JobPlan(root=root, jobs=(never,), window=window, concurrent=True))
    monkeypatch.setattr("jobledger.actors.dashboard.forecasts.MOST_LOOKED_AT", 500)

    refused = dashboard.get("/api/v1/forecast?plan=busy&limit=1000")

    assert refused.status_code == 422
    assert "shorter" in refused.json["detail"]
