"""Kills the dashboard, the agent or both while jobs of two plans wait for each other's locks.

Every command writes a line when it begins and one when it ends, all to one file. Whatever is killed, what ran
beside what never exceeds a lock's count, nothing ran beside the exclusive lock's holder, every command ran
once, and in the end nobody holds a lock or waits for one.
"""

import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from random_kills import kill_at_random
from rig import Rig, bundle, command, running

ROUNDS = max(3, int(os.environ.get("JOBLEDGER_CRASH_ROUNDS", "3")) // 5)
SEED = int(os.environ.get("JOBLEDGER_SEED", "20261124"))
COUNT = 3
PLANS = ("north", "south")
TAKES = {**{f"light{number}": 1 for number in range(8)}, "heavy": 2, "heavier": 5}
SOLE = ("sole0", "sole1")
ALL = sorted(f"{plan}.{job}" for plan in PLANS for job in (*TAKES, *SOLE))


def plan_with_locks(plan: str, diary: Path) -> dict[str, Any]:
    """After one job all others are ready at once, and take part in a lock that both plans share."""
    jobs = [command("go", "true")]
    for number, name in enumerate((*TAKES, *SOLE)):
        script = (
            f"echo + {plan}.{name} >> {diary}; sleep 0.0{number % 7 + 2}; echo - {plan}.{name} >> {diary}"
        )
        jobs.append(command(name, script))
    after = {name: ["go"] for name in (*TAKES, *SOLE)}

    def lock(name: str, count: int, takes: dict[str, int], *, exclusive: bool = False) -> dict[str, Any]:
        participants = [
            {"identifier": f"host-{job}", "agentName": "host", "jobName": job, "lockCount": taken}
            for job, taken in takes.items()
        ]
        return {
            "name": name,
            "lockCount": count,
            "exclusiveJobLock": exclusive,
            "jobs": {plan: participants},
        }

    locks = [lock("few", COUNT, TAKES), lock("sole", 1, dict.fromkeys(SOLE, 1), exclusive=True)]
    return bundle(plan, jobs, after, jobLocks=locks)


def claims(rig: Rig) -> list[Any]:
    """All that holds any lock or waits for it."""
    found = rig.ok("GET", "/api/v1/locks")["items"]
    assert {lock["name"] for lock in found} == {"few", "sole"}
    return [claim for lock in found for claim in (*lock["holders"], *lock["waiting"])]


def assert_kept(diary: list[str], story: str) -> None:
    """What ran beside what, as the commands themselves have written it."""
    running: set[str] = set()
    for line in diary:
        sign, name = line.split()
        if sign == "-":
            running.remove(name)
            continue
        running.add(name)
        jobs = [each.partition(".")[2] for each in running]
        if any(job in SOLE for job in jobs):
            assert len(jobs) == 1, f"{running} ran beside each other; {story}"
        else:
            taken = sum(TAKES[job] for job in jobs)
            assert taken <= COUNT or len(jobs) == 1, f"{running} took {taken} of {COUNT}; {story}"
    assert not running, story


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS), ids=lambda seed: f"seed {seed}")
def test_no_lock_is_taken_beyond_its_count_whatever_is_killed(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    diary = tmp_path / "diary"
    with running(tmp_path) as rig:
        for plan in PLANS:
            rig.push(plan_with_locks(plan, diary))
        instances = {plan: rig.begin(plan) for plan in PLANS}
        for plan, instance in instances.items():
            rig.submit(instance, plan, "host-go")
        story = f"seed {seed}: {', '.join(kill_at_random(rig, dice, threading.Event()))}"
        finals = {plan: rig.wait_complete(instance) for plan, instance in instances.items()}
        lines = diary.read_text().splitlines()
        assert sorted(line[2:] for line in lines if line.startswith("+")) == ALL, story
        assert_kept(lines, story)
        assert claims(rig) == [], story
        for plan, instance in instances.items():
            replayed = rig.ok("GET", f"/api/v1/instances/{instance}?at={finals[plan]['position']}")
            assert replayed == finals[plan], story
