#!/usr/bin/env python3
"""Simulates many seeds, or one case again: ``python tests/simulation/run.py --help``."""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from cases import Case, case_of  # noqa: E402  its folder is known only now
from shrinking import shrink  # noqa: E402
from trials import Totals, Trial, try_case, try_seed  # noqa: E402

FOUND = Path("build/simulation")
_SHOWN_STEPS = 60
_TELL_SECONDS = 10.0


def seeds_of(text: str) -> Iterator[int]:
    """``7``, ``0-999``, or ``1000-`` without an end."""
    first, dash, last = text.partition("-")
    if not dash:
        return iter([int(first)])
    return iter(range(int(first), int(last) + 1)) if last else count(int(first))


def simulate(seeds: Iterator[int], minutes: float | None, jobs: int, most_failures: int) -> Totals:
    """Try seed after seed, in so many processes, and say now and then how it goes."""
    totals = Totals()
    began = told = time.monotonic()
    until = None if minutes is None else began + minutes * 60
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for trial in _trials(pool, seeds, until, jobs * 4):
            totals.add(trial)
            if trial.failure is not None:
                print(f"seed {trial.seed}: {trial.failure.splitlines()[0]}", flush=True)
            now = time.monotonic()
            if now - told > _TELL_SECONDS:
                told = now
                print(_progress(totals, now - began), flush=True)
            if len(totals.failed) >= most_failures:
                break
        pool.shutdown(cancel_futures=True)
    tell(totals, time.monotonic() - began)
    return totals


def _trials(
    pool: ProcessPoolExecutor, seeds: Iterator[int], until: float | None, ahead: int
) -> Iterator[Trial]:
    """Of one seed after the other, as they are done; only so many are begun ahead."""
    begun: set[Future[Trial]] = set()
    while True:
        while len(begun) < ahead and (until is None or time.monotonic() < until):
            seed = next(seeds, None)
            if seed is None:
                break
            begun.add(pool.submit(try_seed, seed))
        if not begun:
            return
        done, begun = wait(begun, return_when=FIRST_COMPLETED)
        for each in done:
            yield each.result()


def _progress(totals: Totals, seconds: float) -> str:
    facts = sum(totals.facts.values())
    return (
        f"{totals.seeds:,} seeds, {totals.steps:,} events, {facts:,} facts in {seconds:,.0f} s: "
        f"{totals.steps / seconds:,.0f} events/s, {len(totals.failed)} failed"
    )


def tell(totals: Totals, seconds: float) -> None:
    """Everything that happened, by its kind."""
    print()
    print(_progress(totals, seconds))
    faults = {kind: number for kind, number in totals.kinds.items() if _is_fault(kind)}
    for title, counted in (("faults", faults), ("facts", totals.facts), ("answers", totals.answers)):
        print(f"{title}: {sum(counted.values()):,}")
        for kind, number in sorted(counted.items(), key=lambda each: -each[1]):
            print(f"  {number:>12,}  {kind.removeprefix('fault: ')}")


MISFORTUNES = (
    "crash dashboard",
    "stop dashboard",
    "crash agent",
    "stop agent",
    "power loss",
    "stall",
    "cut off",
    "clock jump",
    "disk full",
    "database unreadable",
)


def _is_fault(kind: str) -> bool:
    return kind.startswith("fault: ") or kind in MISFORTUNES


def show(trial: Trial) -> None:
    """A failure, with what happened just before it."""
    print(f"\nseed {trial.seed} failed after {trial.after_ms} ms of its world:\n{trial.failure}\n")
    for line in trial.trace[-_SHOWN_STEPS:]:
        print(f"  {line}")


def look_into(case: Case, seconds: float) -> None:
    """Make a case that fails smaller, and write it down."""
    smaller = shrink(case, seconds=seconds)
    FOUND.mkdir(parents=True, exist_ok=True)
    file = FOUND / f"seed-{case.seed}.json"
    file.write_bytes(smaller.to_json())
    show(try_case(smaller))
    print(f"\nThe case, made smaller: {len(smaller.operations)} operations of {len(case.operations)}")
    for operation in smaller.operations:
        print(f"  {operation}")
    print(
        f"\nIt stands in {file}. Run it again:  python tests/simulation/run.py --case {file}\n"
        "To keep it from coming back, put it into tests/simulation/found, named after what it shows."
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0-99", help="7, 0-999, or 1000- without an end (default: 0-99)")
    parser.add_argument("--minutes", type=float, help="begin no seed after so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--failures", type=int, default=5, help="stop after so many (default: 5)")
    parser.add_argument("--shrink-seconds", type=float, default=120.0, help="0: do not make it smaller")
    parser.add_argument("--case", type=Path, help="run the case in this file instead")
    given = parser.parse_args()
    if given.case is not None:
        trial = try_case(Case.from_json(given.case.read_bytes()))
        if trial.failure is None:
            print(f"all is well: {trial.steps:,} events in {trial.seconds:.1f} s, digest {trial.digest}")
            return 0
        show(trial)
        return 1
    totals = simulate(seeds_of(given.seeds), given.minutes, given.jobs, given.failures)
    seen: set[str | None] = set()
    for trial in totals.failed:
        if trial.signature not in seen:
            seen.add(trial.signature)
            look_into(case_of(trial.seed), given.shrink_seconds)
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
