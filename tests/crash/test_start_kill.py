"""The dashboard is killed while a plan starts every second: no start is lost or told twice."""

import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from jobledger.domain.instants import parse_rfc3339
from rig import Rig, bundle, command, running

ROUNDS = max(1, int(os.environ.get("JOBLEDGER_CRASH_ROUNDS", "10")) // 10)
SEED = int(os.environ.get("JOBLEDGER_SEED", "20261124"))
KILLS = 4
SECOND = 1000


def log_of(rig: Rig, plan: str) -> list[dict[str, Any]]:
    """All facts of a plan."""
    facts: list[dict[str, Any]] = []
    after = 0
    while True:
        page = rig.ok("GET", f"/api/v1/plans/{plan}/log?after={after}&limit=1000")
        facts += page["items"]
        if page["next"] is None:
            return facts
        after = int(page["next"])


def accounted(facts: list[dict[str, Any]]) -> dict[int, str]:
    """What became of each second; each must be told of once."""
    told: dict[int, str] = {}
    for fact in facts:
        data = fact["data"]
        if fact["type"] == "InstanceDue":
            first = through = parse_rfc3339(data["due_at"])
        elif fact["type"] == "StartSkipped":
            first, through = parse_rfc3339(data["due_at"]), parse_rfc3339(data["through"])
            assert (through - first) // SECOND + 1 == data.get("count", 1), fact
        else:
            continue
        for due_at in range(first, through + 1, SECOND):
            assert due_at not in told, f"the start of {due_at} was told of twice"
            told[due_at] = data.get("reason", "started")
    return told


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS), ids=lambda seed: f"seed {seed}")
def test_every_second_has_one_fact_whenever_the_dashboard_is_killed(seed: int, tmp_path: Path) -> None:
    dice, never = random.Random(seed), threading.Event()
    plan = bundle(
        "ticking",
        [command("tick", "true")],
        {},
        timeWindowStart="* * * * * ?",
        timezone="UTC",
        contextTtlMilliseconds=2 * SECOND,
    )
    with running(tmp_path) as rig:
        rig.push(plan)
        for _ in range(KILLS):
            never.wait(dice.uniform(0.5, 1.5))
            rig.dashboard.kill()
            never.wait(dice.choice([0.0, dice.uniform(0.0, 1.0), dice.uniform(2.0, 4.0)]))
            rig.dashboard.start()
        rig.ok("POST", "/api/v1/plans/ticking/disable", {})
        facts = log_of(rig, "ticking")
        pushed, disabled = facts[0], next(each for each in facts if each["type"] == "PlanDisabled")
        told = accounted(facts[: disabled["position"]])
        first = parse_rfc3339(pushed["at"]) // SECOND * SECOND + SECOND
        last = parse_rfc3339(disabled["at"]) // SECOND * SECOND
        assert sorted(told) == list(range(first, last + 1, SECOND)), f"seed {seed}"
        assert set(told.values()) <= {"started", "window passed"}, f"seed {seed}"
        started = [at for at, what in told.items() if what == "started"]
        instances = rig.ok("GET", "/api/v1/instances?plan=ticking&limit=1000")["items"]
        begun = [each for each in instances if _began_by(each, disabled["at"])]
        assert len(begun) == len(started), f"seed {seed}"


def _began_by(instance: dict[str, Any], at: str) -> bool:
    """Whether it began up to then; one that was only prepared, or ended before its start, did not."""
    began: str | None = instance["started_at"]
    return instance["status"] != "PREPARED" and began is not None and began <= at
