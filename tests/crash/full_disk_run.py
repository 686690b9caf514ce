"""A plan on a dashboard and an agent whose disks fill up, one after the other; run in mounts of its own.

    unshare --mount python full_disk_run.py FOLDER

Prints as JSON what was told and what came of it.
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from rig import Rig, bundle, command, jobs_of, running

MEGABYTES = 8
PLACES = 6
ENOUGH = 200


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        for block in (bytes(65536), bytes(512)):
            try:
                while True:
                    ballast.write(block)
            except OSError:
                continue


def event(instance: str, number: int) -> dict[str, Any]:
    """One that is about no job of the plan: it is noted and starts nothing."""
    return {
        "id": f"told {number}",
        "agentName": "host",
        "jobName": f"nobody {number}",
        "contextInstanceId": instance,
        "successful": True,
        "fireTime": number + 1,
    }


def told_until_refused(rig: Rig, instance: str) -> tuple[list[str], Any]:
    """The ids of events that were answered with 200, and the first other answer."""
    told = []
    for number in range(ENOUGH):
        status, answer = rig.request("PUT", "/rest/event/scheduled", event(instance, number))
        if status != 200:
            return told, {"status": status, "answer": answer}
        told.append(f"told {number}")
    return told, None


def heard(rig: Rig, instance: str) -> list[str]:
    """The ids of all such events that stand in the log."""
    facts = rig.ok("GET", f"/api/v1/instances/{instance}/log?limit=1000")["items"]
    return [fact["data"]["event_id"] for fact in facts if "told" in str(fact["data"].get("event_id"))]


def refused(rig: Rig, plan: dict[str, Any], instance: str) -> dict[str, int]:
    """What orders are answered while nothing can be stored."""
    orders = {
        "start": ("POST", "/api/v1/plans/chain/instances", {}),
        "submit": ("POST", f"/api/v1/instances/{instance}/contexts/chain/jobs/host-j0/submit", {}),
        "push": ("PUT", "/api/v1/plans/other", plan),
    }
    return {name: rig.request(*order)[0] for name, order in orders.items()}


def main(folder: Path) -> None:
    """The night."""
    dashboard, agent = folder / "dashboard", folder / "agent"
    for disk in (dashboard, agent):
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(disk)], check=True)
    effects = folder / "effects"
    jobs = [command(f"j{n}", f"echo {n} >> {effects}") for n in range(PLACES)]
    after = {f"j{n}": [f"j{n - 1}"] for n in range(1, PLACES)}
    found: dict[str, Any] = {}
    with running(folder) as rig:
        rig.push(bundle("chain", jobs, after))
        instance = rig.begin("chain")

        fill(dashboard)
        found["told"], found["refusal"] = told_until_refused(rig, instance)
        found["refused"] = refused(rig, bundle("other", jobs, after), instance)
        found["seen while full"] = rig.request("GET", f"/api/v1/instances/{instance}")[0]
        (dashboard / "ballast").unlink()
        again, nothing = told_until_refused(rig, instance)
        found["refused afterwards"] = nothing
        found["told"] += [each for each in again if each not in found["told"]]
        found["plans"] = [each["name"] for each in rig.ok("GET", "/api/v1/plans")["items"]]
        found["instances"] = len(rig.ok("GET", "/api/v1/instances")["items"])

        fill(agent)
        rig.submit(instance, "chain", "host-j0")
        threading.Event().wait(1.0)  # the agent is asked several times meanwhile, and has nowhere to note it
        found["ran while the agent's disk was full"] = effects.exists()
        (agent / "ballast").unlink()
        first = next(jobs_of(rig.instance(instance)))
        found["not in error"] = first["status"] != "ERROR"
        rig.wait_for(instance, lambda state: state["counts"].get("COMPLETE", 0) >= 2, seconds=30)
        fill(dashboard)
        threading.Event().wait(1.0)  # what the agent reports meanwhile is not taken
        (dashboard / "ballast").unlink()
        final = rig.wait_complete(instance)
        found["effects"] = effects.read_text().split()
        found["replayed"] = rig.ok("GET", f"/api/v1/instances/{instance}?at={final['position']}") == final
        found["heard"] = sorted(set(heard(rig, instance)))
        found["stops with"] = [rig.agent.stop() if rig.agent else None, rig.dashboard.stop()]
    found["tracebacks"] = [
        line
        for log in (folder / "dashboard.log", folder / "agent.log")
        for line in log.read_text().splitlines()
        if "Traceback" in line
    ]
    print(json.dumps(found))
    os.sync()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
