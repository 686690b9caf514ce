"""How many commands a second the launcher starts, watches and records, beside bare process creation.

Both are measured in turns in the same run, so that the ratio holds where the absolute figures do not. A
command of the launcher costs three syncs, a fork and an exec; a bare one costs a spawn and a wait.

    python benchmarks/launcher.py --commands 800 --at-once 8 --json
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from jobledger.actors.agent.launcher import Launcher
from jobledger.actors.agent.markers import Ended, RunResult, Started
from jobledger.actors.agent.spawner import RunSpec

COMMANDS_MEASURED = {"true": ("/bin/true",), "bash": ("/bin/bash", "-c", "true")}


def bare_per_second(argv: tuple[str, ...], commands: int, threads: int) -> float:
    """Commands spawned and waited for by some threads, without any record of them."""

    def run(count: int) -> None:
        for _ in range(count):
            os.waitpid(os.posix_spawn(argv[0], argv, {}), 0)

    workers = [threading.Thread(target=run, args=(commands // threads,)) for _ in range(threads)]
    begun = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return commands / (time.perf_counter() - begun)


class Measured:
    """A launcher kept busy with so many commands at once, and how long each took from start to report."""

    def __init__(self, directory: Path, at_once: int) -> None:
        self._directory = directory
        self._slots = threading.Semaphore(at_once)
        self._at_once = at_once
        self._begun: dict[str, float] = {}
        self.started_after: list[float] = []
        self.finished_after: list[float] = []
        self._launcher = Launcher(
            directory / "runs", on_started=self._note_started, on_finished=self._note_finished
        )

    def _note_started(self, started: Started) -> None:
        self.started_after.append(time.perf_counter() - self._begun[started.initiation_id])

    def _note_finished(self, initiation_id: str, result: RunResult) -> None:
        assert isinstance(result, Ended), result
        assert result.return_code == 0, result
        self.finished_after.append(time.perf_counter() - self._begun.pop(initiation_id))
        self._launcher.forget(initiation_id)
        self._slots.release()

    def per_second(self, argv: tuple[str, ...], commands: int, prefix: str) -> float:
        begun = time.perf_counter()
        for number in range(commands):
            self._slots.acquire()
            name = f"{prefix}-{number}"
            self._begun[name] = time.perf_counter()
            self._launcher.start(
                RunSpec(
                    initiation_id=name,
                    argv=argv,
                    cwd=self._directory,
                    env={"PATH": "/usr/bin:/bin"},
                    stdout=self._directory / "out" / f"{name}.out",
                    stderr=self._directory / "out" / f"{name}.err",
                )
            )
        for _ in range(self._at_once):
            self._slots.acquire()
        elapsed = time.perf_counter() - begun
        for _ in range(self._at_once):
            self._slots.release()
        return commands / elapsed

    def close(self) -> None:
        self._launcher.close()


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed, in milliseconds."""
    return round(sorted(values)[int(share * (len(values) - 1))] * 1000, 2)


def measure(directory: Path, commands: int, at_once: int, rounds: int) -> dict[str, object]:
    """Rates (median of the rounds), ratios and latencies for each kind of command."""
    report: dict[str, object] = {
        "commands": commands,
        "at_once": at_once,
        "rounds": rounds,
        "cpus": os.cpu_count(),
    }
    for kind, argv in COMMANDS_MEASURED.items():
        measured = Measured(directory / kind, at_once)
        measured.per_second(argv, min(commands, 4 * at_once), "warm")
        measured.started_after.clear()
        measured.finished_after.clear()
        bare, launched = [], []
        for number in range(rounds):
            bare.append(bare_per_second(argv, commands, os.cpu_count() or 1))
            launched.append(measured.per_second(argv, commands, f"round-{number}"))
        measured.close()
        report[kind] = {
            "launched_per_second": round(statistics.median(launched), 1),
            "bare_per_second": round(statistics.median(bare), 1),
            "ratio": round(statistics.median(launched) / statistics.median(bare), 3),
            "started_ms_p50": percentile(measured.started_after, 0.5),
            "started_ms_p99": percentile(measured.started_after, 0.99),
            "finished_ms_p50": percentile(measured.finished_after, 0.5),
            "finished_ms_p99": percentile(measured.finished_after, 0.99),
        }
    return report


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the launcher beside bare process creation.")
    parser.add_argument("--commands", type=int, default=800, help="in each round")
    parser.add_argument("--at-once", type=int, default=8, help="commands running at any moment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--directory", type=Path, help="on the file system to measure; default: a temporary one"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        report = measure(Path(directory), arguments.commands, arguments.at_once, arguments.rounds)
    if arguments.json:
        print(json.dumps(report))
        return 0
    for kind in COMMANDS_MEASURED:
        print(kind, report[kind])
    return 0


if __name__ == "__main__":
    sys.exit(main())
