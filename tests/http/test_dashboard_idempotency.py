"""The same key and the same request give the same answer, and are done once."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_over_http import Served, finished, served


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


def test_an_instance_is_started_once_for_a_key(dashboard: Served) -> None:
    path = "/api/v1/plans/nightly/instances"

    answers = [dashboard.post(path, {"reason": "x"}, headers=key("k-1")) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert len({answer.json["instance_id"] for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(dashboard.get("/api/v1/instances").json["items"]) == 1


def test_a_key_with_another_body_is_refused(dashboard: Served) -> None:
    path = "/api/v1/plans/nightly/instances"
    first = dashboard.post(path, {"reason": "x"}, headers=key("k-1"))
    before = dashboard.digest()

    second = dashboard.post(path, {"reason": "y"}, headers=key("k-1"))

    assert first.status_code == 201
    assert second.status_code == 422
    assert "key" in second.json["detail"]
    assert dashboard.digest() == before


def test_keys_are_of_one_address_each(dashboard: Served) -> None:
    instance_id = dashboard.post("/api/v1/plans/nightly/instances", headers=key("k")).json["instance_id"]

    assert dashboard.post(f"/api/v1/instances/{instance_id}/end", headers=key("k")).status_code == 200


def test_a_command_is_given_once_for_a_key(dashboard: Served) -> None:
    instance_id = dashboard.start()
    job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load/submit"

    first = dashboard.post(job, {"reason": "again"}, headers=key("s-1"))
    second = dashboard.post(job, {"reason": "again"}, headers=key("s-1"))

    assert first.status_code == second.status_code == 200
    assert first.json == second.json
    assert dashboard.shown(instance_id)["position"] == 2


def test_events_are_taken_once_for_a_key(dashboard: Served) -> None:
    event = finished(dashboard.start())

    first = dashboard.post("/api/v1/events", event, headers=key("e"))
    second = dashboard.post("/api/v1/events", event, headers=key("e"))

    assert first.json == second.json


def test_what_was_refused_may_be_tried_again_with_its_key(dashboard: Served) -> None:
    instance_id = dashboard.start()
    end = f"/api/v1/instances/{instance_id}/end"
    dashboard.post(end)
    assert dashboard.post(end, headers=key("e")).status_code == 409

    other = dashboard.start()
    assert dashboard.post(f"/api/v1/instances/{other}/end", headers=key("e")).status_code == 200


def test_the_same_key_at_the_same_time_is_done_once(dashboard: Served) -> None:
    path = "/api/v1/plans/nightly/instances"
    started: list[str] = []
    ready = threading.Barrier(8)

    def start() -> None:
        ready.wait(timeout=10)
        started.append(dashboard.post(path, {}, headers=key("together")).json["instance_id"])

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert len(started) == 8
    assert len(set(started)) == 1


def test_answers_outlive_the_process(tmp_path: Path) -> None:
    with served(tmp_path) as dashboard:
        instance_id = dashboard.start()
        job = f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load/submit"
        first = dashboard.post(job, headers=key("durable"))
    with served(tmp_path) as dashboard:
        again = dashboard.post(job, headers=key("durable"))
        other = dashboard.post(job, {"reason": "another body"}, headers=key("durable"))

        assert again.json == first.json
        assert other.status_code == 422
        assert dashboard.shown(instance_id)["position"] == 2


@pytest.mark.parametrize("text", ["", "x" * 256, "two words", "ä"])
def test_a_key_that_is_no_token_is_refused(dashboard: Served, text: str) -> None:
    before = dashboard.digest()

    answer = dashboard.post("/api/v1/plans/nightly/instances", headers=key(text))

    assert answer.status_code == 400
    assert dashboard.digest() == before
