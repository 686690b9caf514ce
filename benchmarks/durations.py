"""Calls timed one by one, from one thread or from many that begin together."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def repeat(act: Callable[[], object], seconds: float) -> list[float]:
    """How long each call took, in seconds, for about that long in all."""
    durations = []
    begun = last = time.perf_counter()
    while last - begun < seconds:
        act()
        now = time.perf_counter()
        durations.append(now - last)
        last = now
    return durations


def from_threads(number: int, work: Callable[[int], list[float]]) -> tuple[float, float]:
    """Calls a second and the 99th percentile of a call's duration in seconds."""
    started = threading.Barrier(number)

    def begin(worker: int) -> list[float]:
        started.wait()
        return work(worker)

    begun = time.perf_counter()
    with ThreadPoolExecutor(number) as pool:
        durations = [each for done in pool.map(begin, range(number)) for each in done]
    return len(durations) / (time.perf_counter() - begun), percentile(durations, 0.99)
