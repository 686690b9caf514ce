"""Real processes are killed at random moments: every command runs exactly once, and is reported once.

A process of its own owns the launcher, as an agent would, and keeps a log of what it reported. It is killed
and started again, as are the launcher's processes; in the end every command must have been reported.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from jobledger.actors.agent import launcher_process
from jobledger.actors.agent.environment import shell_command
from jobledger.actors.agent.launcher import Launcher
from jobledger.actors.agent.markers import CouldNotStart, NotStarted, Running, RunResult
from jobledger.actors.agent.spawner import RunSpec

pytestmark = pytest.mark.crash

COMMANDS = 80
AT_ONCE = 10
ROUNDS = 12
LIMIT_SECONDS = 120.0


def own(directory: Path) -> None:
    """Be an agent: recover what was before, start the rest a few at a time, log each report durably."""
    reports = directory / "reports"
    reported = (
        {json.loads(line)[0] for line in reports.read_text().splitlines()} if reports.exists() else set()
    )
    due = [name for name in (f"run-{number}" for number in range(COMMANDS)) if name not in reported]
    finished = threading.Semaphore(0)

    def report(name: str, result: object) -> None:
        with reports.open("ab") as log:
            log.write(json.dumps([name, type(result).__name__, msgspec.to_builtins(result)]).encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())
        finished.release()

    slots = threading.Semaphore(AT_ONCE)

    def on_finished(name: str, result: RunResult) -> None:
        report(name, result)
        slots.release()

    launcher = Launcher(
        directory / "runs",
        on_started=lambda _: None,
        on_finished=on_finished,
        on_no_room=lambda name, reason: report(name, CouldNotStart(reason)),
    )
    to_start = []
    for name in due:
        state = launcher.recover(name)
        if isinstance(state, NotStarted):
            to_start.append(name)
        elif not isinstance(state, Running):
            report(name, state)
    for name in to_start:
        slots.acquire()
        number = int(name.removeprefix("run-"))
        script = f"echo {name} >> {directory}/effects; sleep 0.{number % 10}; echo end >&1; exit {number % 7}"
        launcher.start(
            RunSpec(
                initiation_id=name,
                argv=shell_command(script),
                cwd=directory,
                env={"PATH": os.environ["PATH"]},
                stdout=directory / "out" / name,
                stderr=directory / "err" / name,
            )
        )
    for _ in due:
        finished.acquire()
    launcher.close()


class Owner:
    """The process that owns the launcher, and the processes below it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._start()

    def _start(self) -> None:
        log = (self.directory / "owner.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(self.directory)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def again(self) -> None:
        self._start()

    def spawners(self) -> list[int]:
        return _launcher_processes(self.process.pid)

    def supervisors(self) -> list[int]:
        return [pid for spawner in self.spawners() for pid in _launcher_processes(spawner)]


def _launcher_processes(parent: int) -> list[int]:
    """The children of a process that run the launcher's program."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            if (
                int(launcher_process.process_stat(int(path.name))[1]) == parent
                and b"launcher_process.py" in (path / "cmdline").read_bytes()
            ):
                found.append(int(path.name))
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path)
    yield owner
    owner.kill()
    print((tmp_path / "owner.log").read_text(errors="replace")[-3000:])
    for marker in (tmp_path / "runs").glob("*.run"):
        body = launcher_process.record_body(marker.read_bytes(), launcher_process.STARTED)
        record = json.loads(body) if body else {"pid": 0}
        if launcher_process.start_ticks(record["pid"]) == record.get("start_ticks"):
            _kill(record["pid"])
    _wait(lambda: not _ours_left(tmp_path))


def _ours_left(directory: Path) -> bool:
    for marker in (directory / "runs").glob("*.run"):
        body = launcher_process.record_body(marker.read_bytes(), launcher_process.STARTED)
        if body:
            record = json.loads(body)
            if launcher_process.start_ticks(record["supervisor_pid"]) == record["supervisor_start_ticks"]:
                return True
    return False


def _wait(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        threading.Event().wait(0.02)


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("JOBLEDGER_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"JOBLEDGER_TEST_SEED={seed}")
    return random.Random(seed)


def _after_a_random_moment(chance: random.Random) -> None:
    threading.Event().wait(chance.choice((chance.uniform(0, 0.05), chance.uniform(0.05, 0.4))))


def _reports(directory: Path) -> list[tuple[str, str, dict[str, object]]]:
    path = directory / "reports"
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def _finish(owner: Owner) -> dict[str, tuple[str, dict[str, object]]]:
    """Let the owner come to its end, and check what must hold whatever was killed."""
    assert owner.process.wait(LIMIT_SECONDS) == 0
    reports = _reports(owner.directory)
    names = {f"run-{number}" for number in range(COMMANDS)}
    assert Counter(name for name, _, _ in reports) == dict.fromkeys(names, 1)
    effects = Counter((owner.directory / "effects").read_text().split())
    assert effects == dict.fromkeys(names, 1)
    return {name: (kind, result) for name, kind, result in reports}


def _all_ended_well(reports: dict[str, tuple[str, dict[str, object]]]) -> None:
    for name, (kind, result) in reports.items():
        assert kind == "Ended", (name, result)
        assert result["return_code"] == int(name.removeprefix("run-")) % 7


def test_commands_run_once_and_keep_their_return_codes_when_their_agent_is_killed(
    owner: Owner, chance: random.Random
) -> None:
    for _ in range(ROUNDS):
        _after_a_random_moment(chance)
        owner.kill()
        owner.again()
    _all_ended_well(_finish(owner))


def test_commands_run_once_and_keep_their_return_codes_when_the_spawner_is_killed(
    owner: Owner, chance: random.Random
) -> None:
    for _ in range(ROUNDS * 2):
        _after_a_random_moment(chance)
        for pid in owner.spawners():
            _kill(pid)
    _all_ended_well(_finish(owner))


def test_commands_run_once_and_are_reported_once_when_supervisors_are_killed(
    owner: Owner, chance: random.Random
) -> None:
    for _ in range(ROUNDS * 3):
        threading.Event().wait(chance.uniform(0, 0.05))
        for pid in owner.supervisors():
            if chance.random() < 0.2:
                _kill(pid)
    for name, (kind, result) in _finish(owner).items():
        assert kind in {"Ended", "OutcomeUnknown"}, (name, result)


def test_commands_run_once_and_are_reported_once_whatever_is_killed(
    owner: Owner, chance: random.Random
) -> None:
    for _ in range(ROUNDS):
        _after_a_random_moment(chance)
        supervisors, spawners = owner.supervisors(), owner.spawners()
        for pid in (*chance.sample(supervisors, len(supervisors) // 4), *spawners):
            if chance.random() < 0.5:
                _kill(pid)
        if chance.random() < 0.5:
            owner.kill()
            owner.again()
    for name, (kind, result) in _finish(owner).items():
        assert kind in {"Ended", "OutcomeUnknown"}, (name, result)


if __name__ == "__main__":
    own(Path(sys.argv[1]))
