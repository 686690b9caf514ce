"""A disk that is really full, a file that really may not grow: refused, nothing half-written, then on."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = """
import json, sys
from pathlib import Path
from jobledger.storage.segment_log import LogFull, SegmentLog

directory = Path(sys.argv[1])
segment_bytes = int(sys.argv[2])
log, _ = SegmentLog.open(directory / "log", segment_bytes=segment_bytes)
told, refused = [], 0
while refused < 20:
    try:
        told.append(log.append("x" * 5000))
    except LogFull:
        refused += 1
        newest = max((directory / "log").glob("*.segment"))
        before = newest.stat().st_size
        left_over = [path.name for path in (directory / "log").glob("*.new")]
    else:
        assert not refused, "there was no space and then there was"
same_size = newest.stat().st_size == before
seen_while_full = [record.position for record in log.scan()]
make_space()
acknowledged = told[: len(told) // 2]
log.acknowledge(acknowledged)
told += [log.append("y"), log.append("z")]
log.close()
log, report = SegmentLog.open(directory / "log")
print(json.dumps({
    "told": told,
    "seen_while_full": seen_while_full,
    "seen": [record.position for record in log.scan()],
    "pending": [record.position for record in log.pending()],
    "acknowledged": acknowledged,
    "torn": len(report.torn_tails),
    "left_over": left_over,
    "same_size": same_size,
}))
log.close()
"""
FULL_DISK = """
def make_space():
    (directory / "ballast").unlink()

import sys
from pathlib import Path
(Path(sys.argv[1]) / "ballast").write_bytes(bytes(300_000))
"""
LIMITED_FILE = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

def make_space():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def unshared(command: list[str]) -> list[str] | None:
    """The command in mounts of its own, in which it may mount; ``None`` where that is not allowed."""
    unshare = shutil.which("unshare")
    for options in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        probe = ["sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
        if (
            unshare
            and subprocess.run([unshare, *options, *probe], capture_output=True, check=False).returncode == 0
        ):
            return [unshare, *options, *command]
    return None


@pytest.mark.parametrize("segment_bytes", [64 << 20, 50_000])
def test_a_full_disk_refuses_records_keeps_all_others_and_takes_more_when_there_is_space(
    tmp_path: Path, segment_bytes: int
) -> None:
    mount = f'mount -t tmpfs -o size=1m tmpfs "{tmp_path}" && exec "$@"'
    scenario = [sys.executable, "-c", FULL_DISK + SCENARIO, str(tmp_path), str(segment_bytes)]
    command = unshared(["sh", "-c", mount, "sh", *scenario])
    if command is None:
        pytest.skip("mounting a small disk needs root or user namespaces")
    check(
        json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
    )


def test_a_file_size_limit_refuses_records_keeps_all_others_and_takes_more_when_it_is_lifted(
    tmp_path: Path,
) -> None:
    scenario = [sys.executable, "-c", LIMITED_FILE + SCENARIO, str(tmp_path), str(64 << 20)]
    check(
        json.loads(
            subprocess.run(scenario, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
    )


def check(found: dict[str, object]) -> None:
    told, acknowledged = found["told"], found["acknowledged"]
    assert isinstance(told, list)
    assert isinstance(acknowledged, list)
    assert told == list(range(1, len(told) + 1)), "positions of refused records were used up"
    assert len(told) > 10
    assert found["seen_while_full"] == told[:-2]
    assert told[-2:] == found["seen"][-2:]  # type: ignore[index]
    assert found["pending"] == [position for position in told if position not in set(acknowledged)]
    assert found["torn"] == 0
    assert found["left_over"] == []
    assert found["same_size"]
