"""Prints figures with their floors and their ratios to what the machine can do, measured in the same run."""

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

SMALL = "--small" in sys.argv
"""Only to see that the benchmark runs; its figures mean nothing then."""


def amount(measured: int, small: int) -> int:
    """How much to do for a figure that means something, or with ``--small`` for any figure."""
    return small if SMALL else measured


def fdatasync_per_second(seconds: float = amount(10, 1) / 10) -> float:
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


def bare_python(number: int = 5) -> tuple[float, float]:
    """Seconds until a Python that does nothing has said so, and its MB: what no server in Python is below."""
    seconds, megabytes = [], 0.0
    script = "print(open('/proc/self/statm').read().split()[1], flush=True)"
    for _ in range(number):
        began = time.perf_counter()
        told = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout
        seconds.append(time.perf_counter() - began)
        megabytes = int(told) * os.sysconf("SC_PAGE_SIZE") / 1024**2
    return statistics.median(seconds), megabytes


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
