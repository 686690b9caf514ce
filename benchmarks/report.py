"""Prints figures with their floors and their ratios to what the machine can do, measured in the same run."""

import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def fdatasync_per_second(seconds: float = 1.0) -> float:
    """Appended 4 KiB blocks a second, each with its own ``fdatasync``."""
    block = b"x" * 4096
    with tempfile.NamedTemporaryFile(dir=Path.cwd()) as file:
        number, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            os.write(file.fileno(), block)
            os.fdatasync(file.fileno())
            number += 1
        return number / (time.perf_counter() - began)


def spawns_per_second(number: int = 400) -> float:
    """Starts and reaps of ``/bin/true`` a second from one thread: what running nothing costs."""
    began = time.perf_counter()
    for _ in range(number):
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    return number / (time.perf_counter() - began)


def show(title: str, figures: dict[str, Any]) -> None:
    """The figures, as a table or with ``--json`` as one object."""
    if "--json" in sys.argv:
        print(json.dumps({"benchmark": title, **figures}))
        return
    print(title)
    for name, value in figures.items():
        print(f"  {name:<44} {value:,.3f}" if isinstance(value, float) else f"  {name:<44} {value}")


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)
