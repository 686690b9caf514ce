"""Kills the dashboard, the agent or both at random moments of a forty-job plan, again and again.

Every command appends one line to a file of its own. However the processes die, each file must hold exactly
one line in the end, the instance must be COMPLETE, and what the log replays to must be what is live.
"""

import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from random_kills import kill_at_random
from rig import bundle, command, jobs_of, running

ROUNDS = int(os.environ.get("JOBLEDGER_CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("JOBLEDGER_SEED", "20261124"))
LAYERS, WIDTH = 5, 8


def forty_jobs(folder: Path, plan: str) -> dict[str, Any]:
    """Five layers of eight; each job follows two of the layer before."""
    jobs, after = [], {}
    for layer in range(LAYERS):
        for place in range(WIDTH):
            name = f"j{layer}x{place}"
            jobs.append(command(name, f"echo ran >> {folder}/{plan}-{name}; sleep 0.0{place}"))
            if layer:
                after[name] = [f"j{layer - 1}x{place}", f"j{layer - 1}x{(place + 1) % WIDTH}"]
    return bundle(plan, jobs, after)


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS), ids=lambda seed: f"seed {seed}")
def test_every_command_runs_exactly_once_whatever_is_killed(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    effects = tmp_path / "effects"
    effects.mkdir()
    with running(tmp_path) as rig:
        rig.push(forty_jobs(effects, "forty"))
        instance = rig.begin("forty")
        for place in range(WIDTH):
            rig.submit(instance, "forty", f"host-j0x{place}")
        done = kill_at_random(rig, dice, threading.Event())
        story = f"seed {seed}: {', '.join(done)}"
        final = rig.wait_complete(instance)
        ran = {path.name: path.read_text().count("ran") for path in effects.iterdir()}
        assert ran == {f"forty-j{x}x{y}": 1 for x in range(LAYERS) for y in range(WIDTH)}, story
        assert {job["status"] for job in jobs_of(final)} == {"COMPLETE"}, story
        assert {job["return_code"] for job in jobs_of(final)} == {0}, story
        replayed = rig.ok("GET", f"/api/v1/instances/{instance}?at={final['position']}")
        assert replayed == final, story
