"""Real servers on disks that are really full: refused, nothing by half, and on as soon as there is space."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rig import bundle, command, running
from small_disk import fill, small_disk

RUN = Path(__file__).with_name("full_disk_run.py")


def in_mounts_of_its_own(command: list[str]) -> list[str]:
    """The command where it may mount; skips where that is not allowed."""
    unshare = shutil.which("unshare")
    if unshare is not None:
        for options in (["--mount"], ["--user", "--map-root-user", "--mount"]):
            probe = [unshare, *options, "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return [unshare, *options, *command]
    pytest.skip("mounting a small disk needs root or user namespaces")


@pytest.mark.crash
def test_a_job_that_waits_for_room_on_its_agents_disk_never_runs_once_its_instance_is_called_off(
    tmp_path: Path,
) -> None:
    effects = tmp_path / "effects"
    with small_disk(tmp_path / "agent" / "runs") as disk, running(tmp_path) as rig:
        rig.push(bundle("night", [command("job", f"echo ran >> {effects}")], {}))
        called_off, other = rig.begin("night"), rig.begin("night")
        ballast = fill(disk)
        for instance in (called_off, other):
            rig.submit(instance, "night", "host-job")
        rig.wait_until(lambda: len(rig.problems()) == 1 and "2 initiations wait" in rig.problems()[0])
        rig.ok("POST", f"/api/v1/instances/{called_off}/end", {"reason": "books stay open"})
        rig.wait_until(lambda: "1 initiation waits" in "".join(rig.problems()))
        ballast.unlink()
        rig.wait_complete(other)
        rig.wait_until(lambda: rig.problems() == [])
    assert effects.read_text().split() == ["ran"]


@pytest.mark.crash
def test_full_disks_of_dashboard_and_agent_lose_nothing_that_was_answered_and_run_nothing_twice(
    tmp_path: Path,
) -> None:
    command = in_mounts_of_its_own([sys.executable, str(RUN), str(tmp_path)])
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])

    assert found["refusal"]["status"] == 503
    assert (
        found["refusal"]["answer"]["errorMessage"] == "it could not be made durable: database or disk is full"
    )
    assert found["refused"] == {"start": 503, "submit": 503, "push": 503}
    assert found["seen while full"] == 200, "what is there could not be read"
    assert found["refused afterwards"] is None, "there was space again"
    assert (found["plans"], found["instances"]) == (["chain"], 1), "what was refused was done all the same"
    assert set(found["heard"]) == set(found["told"]), "an event that was answered is gone"
    assert len(found["told"]) > 100

    assert not found["ran while the agent's disk was full"]
    assert found["not in error"], "a full disk is no end: it waits for room, accepted or not"
    assert found["effects"] == [str(number) for number in range(6)], "each command once, in order"
    assert found["replayed"]
    assert found["tracebacks"] == []
    assert found["stops with"] == [0, 0]
