"""How fast the segment log takes and gives back records, beside what the same disk can sync in the same run.

    python benchmarks/segment_log.py [--json] [--directory DIR] [--seconds SECONDS]

One record is an initiation of about 300 bytes; each append returns when it is on disk.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from durations import from_threads, repeat
from jobledger.storage.segment_log import SegmentLog

BLOCK_BYTES = 4096
THREADS = 16
SCANNED_RECORDS = 300_000
INITIATION = {
    "plan": "END_OF_DAY",
    "instance": "0190c5a4-6f3b-7c2e-9d1a-3b5f8e7a6c21",
    "job": "LOAD_POSITIONS_FROM_CUSTODIAN",
    "contexts": ["END_OF_DAY", "LOAD"],
    "agent": "agent-17.example.com",
    "parameters": {"business_date": "2025-03-31", "region": "EMEA", "source": "custodian-a"},
    "script": "load_positions --date $business_date --region $region",
    "fired_at": 1_743_379_200_000,
}


def raw_syncs_per_second(directory: Path, seconds: float) -> float:
    """Appends of one block, each with its own fdatasync: what the disk does at best, one by one."""
    descriptor = os.open(directory / "raw", os.O_CREAT | os.O_WRONLY, 0o600)
    block = bytes(BLOCK_BYTES)

    def append() -> None:
        os.write(descriptor, block)
        os.fdatasync(descriptor)

    durations = repeat(append, seconds)
    os.close(descriptor)
    return len(durations) / sum(durations)


def appends(directory: Path, threads: int, seconds: float) -> tuple[float, float]:
    """Records per second and the 99th percentile of an append's duration in seconds."""
    log, _ = SegmentLog.open(directory / f"threads-{threads}")
    measured = from_threads(threads, lambda _worker: repeat(lambda: log.append(INITIATION), seconds))
    log.close()
    return measured


def acknowledgements_per_second(directory: Path, seconds: float) -> float:
    log, _ = SegmentLog.open(directory / "acknowledged")
    positions = iter(log.append_many([INITIATION] * int(20_000 * seconds)))
    durations = repeat(lambda: log.acknowledge([next(positions)]), seconds)
    log.close()
    return len(durations) / sum(durations)


def recovery(directory: Path) -> tuple[float, float]:
    """Records per second that opening checks, and that ``each_pending`` reads and decodes."""
    log, _ = SegmentLog.open(directory / "scanned")
    for _ in range(0, SCANNED_RECORDS, 10_000):
        log.append_many([INITIATION] * 10_000)
    log.close()
    begun = time.perf_counter()
    log, report = SegmentLog.open(directory / "scanned")
    opened = time.perf_counter()
    assert sum(1 for _ in log.each_pending()) == report.pending == SCANNED_RECORDS
    read = time.perf_counter()
    log.close()
    return SCANNED_RECORDS / (opened - begun), SCANNED_RECORDS / (read - opened)


def measure(directory: Path, seconds: float) -> dict[str, float]:
    before = raw_syncs_per_second(directory, seconds / 2)
    one_rate, one_p99 = appends(directory, 1, seconds)
    many_rate, many_p99 = appends(directory, THREADS, seconds)
    acknowledged = acknowledgements_per_second(directory, seconds)
    after = raw_syncs_per_second(directory, seconds / 2)
    opened, decoded = recovery(directory)
    raw = (before + after) / 2
    return {
        "raw_fdatasync_per_s": raw,
        "append_1_thread_per_s": one_rate,
        "append_1_thread_p99_ms": one_p99 * 1000,
        "append_1_thread_to_raw": one_rate / raw,
        f"append_{THREADS}_threads_per_s": many_rate,
        f"append_{THREADS}_threads_p99_ms": many_p99 * 1000,
        f"append_{THREADS}_threads_to_raw": many_rate / raw,
        "acknowledge_1_thread_per_s": acknowledged,
        "recovery_records_per_s": opened,
        "pending_records_per_s": decoded,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: the temporary one")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each measurement (default %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        results = measure(Path(directory), options.seconds)
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in results.items()}))
        return
    for name, value in results.items():
        print(f"{name:28} {value:12,.2f}")


if __name__ == "__main__":
    main()
