"""From a job's end to the start of the next one's process, all four hops durable, on an idle system."""

import os
import tempfile
from itertools import pairwise
from pathlib import Path

from durations import percentile
from report import amount, fdatasync_per_second, median, show
from rig import bundle, command, running

LENGTH = amount(200, 10)
PLAIN = {"name": "LC_ALL", "defaultValue": "C"}
"""The shell's reading of its locale is no part of a hop."""


def main() -> None:
    """A chain of commands, each of which writes when it ran; nobody looks on, the last one rings."""
    syncs = fdatasync_per_second()
    with tempfile.TemporaryDirectory(prefix="jobledger-") as name:
        folder = Path(name)
        times = folder / "times"
        bell = folder / "bell"
        os.mkfifo(bell)
        jobs = [
            command(f"j{n}", f"echo $EPOCHREALTIME >> {times}", contextParameters=[PLAIN])
            for n in range(LENGTH)
        ]
        jobs[-1]["commandLine"] += f"; echo >> {bell}"
        with running(folder) as rig:
            rig.push(bundle("chain", jobs, {f"j{n}": [f"j{n - 1}"] for n in range(1, LENGTH)}))
            instance = rig.begin("chain")
            rig.submit(instance, "chain", "host-j0")
            bell.read_text()
        instants = [float(line) for line in times.read_text().split()]
    hops = [(after - before) * 1000 for before, after in pairwise(instants)]
    shortest_ms = 4 / syncs * 1000
    show(
        "hop latency",
        {
            "hops": len(hops),
            "median ms (floor 10)": median(hops),
            "p99 ms (floor 50)": percentile(hops, 0.99),
            "four fdatasync ms, measured now": shortest_ms,
            "median / four fdatasync": median(hops) / shortest_ms,
        },
    )


if __name__ == "__main__":
    main()
