"""How soon a dashboard answers after its start, and what both processes weigh when idle."""

import tempfile
import threading
import time
from pathlib import Path

from report import amount, bare_python, median, show
from rig import Rig, running

STARTS = amount(5, 1)
QUIET_SECONDS = amount(5, 0)


def main() -> None:
    """Several starts on existing data; memory after a while of quiet."""
    began = time.perf_counter()
    bare_seconds, bare_mb = bare_python()
    with tempfile.TemporaryDirectory(prefix="jobledger-") as name, running(Path(name)) as rig:
        starts = []
        for _ in range(STARTS):
            rig.dashboard.kill()
            starts.append(_start(rig))
        threading.Event().wait(QUIET_SECONDS)
        assert rig.agent is not None
        dashboard, agent = rig.dashboard.rss_mb, rig.agent.rss_mb
    show(
        "footprint",
        {
            "dashboard ready s, median (floor 1)": median(starts),
            "dashboard idle MB (floor 80)": dashboard,
            "agent idle MB (floor 60)": agent,
            "bare Python: ready s, measured now": bare_seconds,
            "bare Python: MB, measured now": bare_mb,
            "dashboard ready / bare Python": median(starts) / bare_seconds,
            "dashboard idle MB / bare Python": dashboard / bare_mb,
            "agent idle MB / bare Python": agent / bare_mb,
            "whole run s": time.perf_counter() - began,
        },
    )


def _start(rig: Rig) -> float:
    seconds = rig.dashboard.start()
    rig.ok("GET", "/health/ready")
    return seconds


if __name__ == "__main__":
    main()
