"""A process that appends from several threads is killed with SIGKILL, again and again, on the same log."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from jobledger.storage.segment_log import LogInUse, SegmentLog

APPENDER = """
import itertools, os, sys, threading
from pathlib import Path
from jobledger.storage.segment_log import SegmentLog

directory, run = Path(sys.argv[1]), sys.argv[2]
log, report = SegmentLog.open(directory, segment_bytes=3000, retain_segments=1)

def tell(line):
    os.write(1, (line + "\\n").encode())

def work(thread):
    for number in itertools.count():
        payloads = [f"{run}/{thread}/{number}/{part}" for part in range(number % 3 + 1)]
        positions = log.append_many(payloads)
        for position, payload in zip(positions, payloads):
            tell(f"appended {position} {payload}")
        if number % 2:
            tell(f"acknowledging {positions[0]}")
            log.acknowledge(positions[:1])
            tell(f"acknowledged {positions[0]}")

threads = [threading.Thread(target=work, args=(thread,)) for thread in range(6)]
for thread in threads:
    thread.start()
"""


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_each_record_that_was_told_of_is_there_once(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    appended: dict[int, str] = {}
    acknowledging: set[int] = set()
    acknowledged: set[int] = set()
    for run in range(6):
        for line in run_until_killed(tmp_path, run, lines=rng.randint(1, 600)):
            word, position, *payload = line.split(" ")
            if word == "appended":
                assert int(position) not in appended, "a position was given out twice"
                appended[int(position)] = payload[0]
            else:
                (acknowledging if word == "acknowledging" else acknowledged).add(int(position))
        log, report = SegmentLog.open(tmp_path, segment_bytes=3000, retain_segments=1)
        pending = {record.position: record.payload for record in log.pending()}
        scanned = {record.position: record.payload for record in log.scan()}
        log.close()
        assert len(set(scanned.values())) == len(scanned), "a record is there twice"
        for position, payload in appended.items():
            if position in acknowledged:
                assert position not in pending
            elif position not in acknowledging:
                assert pending.get(position) == payload
            assert scanned.get(position, payload) == payload
        assert report.pending == len(pending)
        assert_whole_appends(scanned, max(appended))


def run_until_killed(directory: Path, run: int, lines: int) -> list[str]:
    """All that it said; what it said last may be cut."""
    with subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(directory), str(run)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = []
        for _ in range(lines):
            line = process.stdout.readline()
            assert line, "the appender ended by itself"
            said.append(line)
        process.kill()
        said += process.stdout.readlines()
    return [line.rstrip("\n") for line in said if line.endswith("\n")]


def assert_whole_appends(scanned: dict[int, str], last_told: int) -> None:
    """What was in flight when it was killed is there as a whole or not at all."""
    behind = [payload for position, payload in scanned.items() if position > last_told]
    for payload in behind:
        run, thread, number, _ = payload.split("/")
        together = [f"{run}/{thread}/{number}/{part}" for part in range(int(number) % 3 + 1)]
        assert set(together) <= set(scanned.values())


@pytest.mark.crash
def test_a_log_is_locked_while_its_process_lives_and_free_once_it_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(tmp_path), "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        with pytest.raises(LogInUse):
            SegmentLog.open(tmp_path)
        process.kill()
        process.stdout.read()
    log, report = SegmentLog.open(tmp_path)
    assert report.records > 0
    log.close()
