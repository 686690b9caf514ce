"""What an instance looked like, read back at every position, on real processes."""

from pathlib import Path
from typing import Any

from rig import Rig, bundle, command, running

JOBS = [f"j{n}" for n in range(12)]


def follow(rig: Rig, instance: str) -> dict[int, Any]:
    """Every state that was seen live, by position, until the instance is complete."""
    seen: dict[int, Any] = {}
    position = 0
    while True:
        state = rig.ok("GET", f"/api/v1/instances/{instance}?after={position}&wait=5")
        position = state["position"]
        seen[position] = state
        if state["status"] == "COMPLETE":
            return seen


def test_every_position_reads_back_as_it_was_seen_live(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        jobs = [command(name, "exit 3" if name == "j5" else "true") for name in JOBS]
        after = {name: [JOBS[n // 2]] for n, name in enumerate(JOBS) if n}
        del after["j11"]
        rig.push(bundle("tree", jobs, after))
        instance = rig.begin("tree")
        rig.submit(instance, "tree", "host-j0")
        failed = rig.wait_for(instance, lambda state: state["counts"].get("ERROR") == 1, what="failed job")
        assert failed["status"] == "ERROR"
        live = {failed["position"]: failed}
        rig.ok("POST", "/api/v1/events", [success(instance, "j5"), success(instance, "j11")])
        live |= follow(rig, instance)
        last = max(live)
        for position in range(1, last + 1):
            again = rig.ok("GET", f"/api/v1/instances/{instance}?at={position}")
            assert again["position"] == position
            if position in live:
                assert again == live[position], f"position {position} reads back otherwise than it was"
        facts = rig.ok("GET", f"/api/v1/instances/{instance}/log?limit=1000")["items"]
        assert [fact["position"] for fact in facts] == list(range(1, last + 1))
        by_instant = rig.ok("GET", f"/api/v1/instances/{instance}?at={facts[-1]['at']}")
        assert by_instant == live[last]


def success(instance: str, job: str) -> dict[str, Any]:
    """The report of a success that nobody initiated."""
    return {
        "id": f"by hand {job}",
        "agentName": "host",
        "jobName": job,
        "contextInstanceId": instance,
        "jobStarting": False,
        "successful": True,
        "returnCode": 0,
        "fireTime": 4_000_000_000_000,
    }
