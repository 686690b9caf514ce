"""Kills of real servers at random moments."""

import random
import threading

from rig import Rig


def kill_at_random(rig: Rig, dice: random.Random, finished: threading.Event) -> list[str]:
    """Two or three kills; returns what was done, for the report of a failure."""
    done = []
    assert rig.agent is not None
    for _ in range(dice.randint(2, 3)):
        finished.wait(dice.uniform(0.0, 0.4))
        victims = dice.choice([[rig.dashboard], [rig.agent], [rig.dashboard, rig.agent]])
        dice.shuffle(victims)
        for victim in victims:
            victim.kill()
            done.append(f"kill {victim.name}")
        finished.wait(dice.uniform(0.0, 0.2))
        for victim in sorted(victims, key=lambda server: server.name, reverse=dice.random() < 0.5):
            victim.start()
            done.append(f"start {victim.name}")
    return done
