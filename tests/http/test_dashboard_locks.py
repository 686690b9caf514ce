"""Job locks over HTTP: who holds them and who waits, and taking one away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from dashboard_over_http import Served, eventually, served
from jobledger.http.dashboard.auth import ByAccount
from jobledger.storage.accounts import Role
from test_dashboard_auth import Book, account, bearer

NIGHT = """
plan: {plan}
agent: host
concurrent: true
{group}
locks:
  database:
    jobs: [load, check]
jobs:
  load:
    command: "true"
  check:
    command: "true"
"""


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def begin(dashboard: Served, plan: str, group: str = "") -> str:
    document = NIGHT.format(plan=plan, group=f"environment_group: {group}" if group else "")
    pushed = dashboard.put(f"/api/v1/plans/{plan}", document, headers={"Content-Type": "application/yaml"})
    assert pushed.status_code == 201, pushed.json
    started = dashboard.post(f"/api/v1/plans/{plan}/instances")
    return str(started.json["instance_id"])


def submit(dashboard: Served, instance_id: str, plan: str, job: str) -> None:
    path = f"/api/v1/instances/{instance_id}/contexts/{plan}/jobs/host-{job}/submit"
    assert dashboard.post(path).status_code == 200


def jobs(dashboard: Served, instance_id: str) -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in dashboard.shown(instance_id)["root"]["jobs"]}


def test_a_lock_tells_who_holds_it_and_who_waits_since_when(dashboard: Served) -> None:
    instance_id = begin(dashboard, "locked")
    submit(dashboard, instance_id, "locked", "load")
    submit(dashboard, instance_id, "locked", "check")

    (lock,) = dashboard.get("/api/v1/locks").json["items"]

    assert (lock["name"], lock["count"], lock["held"], lock["exclusive"]) == ("database", 1, 1, False)
    assert [(each["job"], each["plan"]) for each in lock["holders"]] == [("host-load", "locked")]
    assert [each["job"] for each in lock["waiting"]] == ["host-check"]
    shown = jobs(dashboard, instance_id)
    assert shown["check"]["status"] == "LOCK_QUEUED"
    assert shown["check"]["lock"]["waiting_since"] == lock["waiting"][0]["since"]
    held_by = [{"instance_id": instance_id, "job": "host-load", "context": None}]
    assert shown["load"]["lock"] == {"name": "database", "count": 1, "holds": True, "waiting_since": None}
    for name in ("check", "load"):
        one = dashboard.get(f"/api/v1/instances/{instance_id}/contexts/locked/jobs/host-{name}").json
        assert one["lock"] == {**shown[name]["lock"], "held_by": held_by}


def test_holders_that_a_caller_may_not_see_are_not_named(tmp_path: Path) -> None:
    book = Book(
        account(name="admin", role=Role.ADMIN),
        account(name="other", role=Role.WRITE, plans=frozenset({"other"})),
    )
    with served(tmp_path, authentication=ByAccount(book)) as running:
        running.headers = bearer("admin")
        holder, waiter = begin(running, "locked"), begin(running, "other")
        submit(running, holder, "locked", "load")
        submit(running, waiter, "other", "load")
        one = f"/api/v1/instances/{waiter}/contexts/other/jobs/host-load"
        assert running.get(one).json["lock"]["held_by"][0]["instance_id"] == holder
        running.headers = bearer("other")
        shown = running.get(one).json
        assert (shown["status"], shown["lock"]["held_by"]) == ("LOCK_QUEUED", [])


def test_a_lock_that_is_reset_goes_to_the_one_that_waits(dashboard: Served) -> None:
    instance_id = begin(dashboard, "locked", "north east")
    submit(dashboard, instance_id, "locked", "load")
    submit(dashboard, instance_id, "locked", "check")

    answer = dashboard.post(
        f"/api/v1/locks/{quote('north east', safe='')}/database/reset", {"reason": "stuck"}
    )

    assert answer.status_code == 200, answer.json
    assert [fact["type"] for fact in answer.json["facts"]] == ["LockReset", "LockGranted"]
    assert answer.json["facts"][0]["cause"]["reason"] == "stuck"
    eventually(lambda: jobs(dashboard, instance_id)["check"]["initiated"] is True)
    (lock,) = dashboard.get("/api/v1/locks").json["items"]
    assert [each["job"] for each in lock["holders"]] == ["host-check"]


@pytest.mark.parametrize("path", ["DEFAULT_ENVIRONMENT/nothing", "nowhere/database"])
def test_a_lock_that_is_not_there_is_told(dashboard: Served, path: str) -> None:
    begin(dashboard, "locked")

    answer = dashboard.post(f"/api/v1/locks/{path}/reset")

    assert answer.status_code == 404
    assert "has no lock" in answer.json["detail"]


def test_of_many_that_wait_as_many_are_told_as_were_asked_for(dashboard: Served) -> None:
    instance_id = begin(dashboard, "locked")
    submit(dashboard, instance_id, "locked", "load")
    for _ in range(3):
        other = str(dashboard.post("/api/v1/plans/locked/instances").json["instance_id"])
        submit(dashboard, other, "locked", "load")

    (lock,) = dashboard.get("/api/v1/locks?limit=2").json["items"]

    assert (len(lock["waiting"]), lock["waiting_count"]) == (2, 3)
