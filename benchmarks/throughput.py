"""No-op jobs a second, end to end: a fan of 1 → 200 → 1, and a hundred instances of a ten-job diamond."""

import tempfile
import time
from pathlib import Path

from report import amount, show, spawns_per_second
from rig import Rig, bundle, command, running


def fan(rig: Rig, width: int = amount(200, 10)) -> float:
    """Jobs a second through one wide instance."""
    middle = [f"m{n}" for n in range(width)]
    jobs = [command(name, "true") for name in ["first", *middle, "last"]]
    rig.push(bundle("fan", jobs, {**{name: ["first"] for name in middle}, "last": middle}))
    instance = rig.begin("fan")
    began = time.perf_counter()
    rig.submit(instance, "fan", "host-first")
    rig.wait_complete(instance)
    return (width + 2) / (time.perf_counter() - began)


def diamonds(rig: Rig, number: int = amount(100, 5)) -> float:
    """Jobs a second through many small instances at once."""
    middle = [f"m{n}" for n in range(8)]
    jobs = [command(name, "true") for name in ["first", *middle, "last"]]
    rig.push(bundle("diamond", jobs, {**{name: ["first"] for name in middle}, "last": middle}))
    instances = [rig.begin("diamond") for _ in range(number)]
    began = time.perf_counter()
    for instance in instances:
        rig.submit(instance, "diamond", "host-first")
    for instance in instances:
        rig.wait_complete(instance)
    return 10 * number / (time.perf_counter() - began)


def main() -> None:
    """Both shapes, and their ratios to starting ``/bin/true`` alone."""
    spawns = spawns_per_second()
    with tempfile.TemporaryDirectory(prefix="jobledger-") as name, running(Path(name)) as rig:
        wide, many = fan(rig), diamonds(rig)
    show(
        "throughput",
        {
            "1-200-1 jobs/s (floor 150)": wide,
            "100 diamonds jobs/s (floor 150)": many,
            "spawn and reap of true /s, measured now": spawns,
            "1-200-1 / spawns": wide / spawns,
            "diamonds / spawns": many / spawns,
        },
    )


if __name__ == "__main__":
    main()
