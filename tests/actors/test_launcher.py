"""Commands are started once, watched, ended with all they started, and found again."""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobledger.actors.agent import launcher as launcher_module
from jobledger.actors.agent import launcher_process
from jobledger.actors.agent.environment import (
    RunIdentity,
    job_environment,
    output_paths,
    shell_command,
)
from jobledger.actors.agent.launcher import Launcher, LauncherClosed
from jobledger.actors.agent.markers import (
    CouldNotStart,
    Ended,
    NotStarted,
    OutcomeUnknown,
    Recovered,
    Running,
    RunResult,
    Started,
    StartedRecord,
    classify,
    initiation_ids,
    marker_path,
)
from jobledger.actors.agent.spawner import RunSpec
from small_disk import small_disk

WAIT_SECONDS = 30.0


class Told:
    """What the callbacks were told, in order, and a way to wait for it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.order: list[tuple[str, str]] = []
        self.started: dict[str, Started] = {}
        self.finished: dict[str, RunResult] = {}
        self.no_room: list[tuple[str, str]] = []

    def on_started(self, started: Started) -> None:
        with self.changed:
            self.order.append(("started", started.initiation_id))
            self.started[started.initiation_id] = started
            self.changed.notify_all()

    def on_finished(self, initiation_id: str, result: RunResult) -> None:
        with self.changed:
            self.order.append(("finished", initiation_id))
            self.finished[initiation_id] = result
            self.changed.notify_all()

    def on_no_room(self, initiation_id: str, reason: str) -> None:
        with self.changed:
            self.no_room.append((initiation_id, reason))
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_SECONDS), f"only told {self.order[-5:]}"

    def result(self, initiation_id: str) -> RunResult:
        self.wait(lambda: initiation_id in self.finished)
        return self.finished[initiation_id]

    def ended(self, initiation_id: str) -> Ended:
        result = self.result(initiation_id)
        assert isinstance(result, Ended), result
        return result

    def pid(self, initiation_id: str) -> int:
        self.wait(lambda: initiation_id in self.started)
        return self.started[initiation_id].pid


class Host:
    """A directory of runs, and the launchers that take charge of it one after the other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runs = directory / "runs"
        self.launchers: list[Launcher] = []

    def launcher(self, told: Told, *, grace_seconds: float = 10.0) -> Launcher:
        launcher = Launcher(
            self.runs,
            on_started=told.on_started,
            on_finished=told.on_finished,
            on_no_room=told.on_no_room,
            kill_grace_seconds=grace_seconds,
        )
        self.launchers.append(launcher)
        return launcher

    def spec(self, name: str, script: str, **changed: object) -> RunSpec:
        values: dict[str, object] = {
            "initiation_id": name,
            "argv": shell_command(script),
            "cwd": self.directory,
            "env": {"PATH": os.environ["PATH"]},
            "stdout": self.directory / "out" / f"{name}.out",
            "stderr": self.directory / "out" / f"{name}.err",
        }
        return RunSpec(**{**values, **changed})  # type: ignore[arg-type]

    def output(self, name: str) -> str:
        return (self.directory / "out" / f"{name}.out").read_text()

    def errors(self, name: str) -> str:
        return (self.directory / "out" / f"{name}.err").read_text()

    def record(self, name: str) -> StartedRecord:
        state = classify(marker_path(self.runs, name), name)
        assert isinstance(state, Running), state
        return state.record

    def state(self, name: str) -> Recovered:
        return classify(marker_path(self.runs, name), name)

    def clean_up(self) -> None:
        for launcher in self.launchers:
            launcher.close()
        supervisors = []
        for path in self.runs.glob("*.run"):
            marker = path.read_bytes()
            body = launcher_process.record_body(marker, launcher_process.STARTED)
            if body is None:
                continue
            with contextlib.suppress(ValueError):
                record = StartedRecord(
                    **{k: v for k, v in _json(body).items() if k != "deadline_monotonic_ms"}
                )
                for pid, _ in launcher_process._members(record.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                supervisors.append(record.supervisor)
        wait_until(lambda: not any(supervisor.is_alive() for supervisor in supervisors))


def _json(body: bytes) -> dict[str, object]:
    return launcher_process.json.loads(body)  # type: ignore[no-any-return]


def wait_until(condition: Callable[[], bool]) -> None:
    """For what another process does, of which nothing tells us."""
    give_up = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        threading.Event().wait(0.01)


def is_running(pid: int) -> bool:
    return launcher_process.start_ticks(pid) is not None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.clean_up()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def launcher(host: Host, told: Told) -> Launcher:
    return host.launcher(told)


_SIGNALS_OF_PROGRAMS = sum(1 << number - 1 for number in signal.valid_signals())
"""As a mask; the C library keeps two signals for itself, and whoever ignores those hands it down."""


# -- running ------------------------------------


def test_a_command_is_told_started_then_finished_with_its_return_code(
    host: Host, told: Told, launcher: Launcher
) -> None:
    before = time.time_ns() // 1_000_000
    launcher.start(host.spec("one", "echo out; echo err >&2; exit 7"))
    ended = told.ended("one")
    assert told.order == [("started", "one"), ("finished", "one")]
    assert (ended.return_code, ended.killed, ended.timed_out) == (7, False, False)
    assert ended.started == told.started["one"]
    assert before <= ended.started.started_at <= ended.completed_at <= time.time_ns() // 1_000_000
    assert (host.output("one"), host.errors("one")) == ("out\n", "err\n")


def test_a_script_of_several_lines_runs_in_its_directory_with_nothing_but_its_environment_and_no_input(
    host: Host, told: Told, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_AGENT", "do not pass on")
    (host.directory / "work").mkdir()
    script = 'pwd\ncat | wc -c\nif [ -n "$GREETING" ]; then\n  echo "$GREETING"\nfi\nenv | grep -c SECRET\n'
    environment = {"PATH": os.environ["PATH"], "GREETING": "it's $(date) `id` \"; rm -rf /"}
    launcher.start(host.spec("lines", script, cwd=host.directory / "work", env=environment))
    told.ended("lines")
    assert host.output("lines").splitlines() == [
        str(host.directory / "work"),
        "0",
        environment["GREETING"],
        "0",
    ]


def test_a_command_ended_by_a_signal_returns_128_and_the_signal(
    host: Host, told: Told, launcher: Launcher
) -> None:
    launcher.start(host.spec("signalled", "kill -SEGV $$"))
    assert told.ended("signalled").return_code == 128 + signal.SIGSEGV


def test_a_command_has_default_signal_handling_and_inherits_no_open_files(host: Host, told: Told) -> None:
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        launcher = host.launcher(told)
        script = (
            "grep -E 'Sig(Ign|Blk)' /proc/self/status; "
            "for n in {0..99}; do [ -e /dev/fd/$n ] && echo $n; done"
        )
        launcher.start(host.spec("clean", script))
        told.ended("clean")
    finally:
        signal.signal(signal.SIGUSR2, before)
    blocked, blocked_mask, ignored, ignored_mask, *open_files = host.output("clean").split()
    assert (blocked, blocked_mask, ignored, open_files) == ("SigBlk:", "0" * 16, "SigIgn:", ["0", "1", "2"])
    assert int(ignored_mask, 16) & _SIGNALS_OF_PROGRAMS == 0, ignored_mask


def test_output_of_more_than_a_megabyte_is_all_there_and_can_be_read_meanwhile(
    host: Host, told: Told, launcher: Launcher
) -> None:
    gate = host.directory / "gate"
    os.mkfifo(gate)
    launcher.start(host.spec("big", f"head -c 3000000 /dev/zero | tr '\\0' x; read < {gate}; echo end"))
    wait_until(lambda: (host.directory / "out/big.out").exists() and len(host.output("big")) == 3_000_000)
    assert "big" not in told.finished
    gate.write_text("go\n")
    told.ended("big")
    assert host.output("big").endswith("xend\n")
    assert len(host.output("big")) == 3_000_004


def test_two_hundred_commands_run_at_once_and_each_exactly_once(
    host: Host, told: Told, launcher: Launcher
) -> None:
    gate = host.directory / "gate"
    effects = host.directory / "effects"
    names = [f"many-{number}" for number in range(200)]
    threads = [
        threading.Thread(
            target=lambda part: [
                launcher.start(
                    host.spec(n, f"echo {n} >> {effects}; until [ -e {gate} ]; do sleep 0.2; done; exit 5")
                )
                for n in part
            ],
            args=(names[offset::4],),
        )
        for offset in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.wait(lambda: len(told.started) == 200)
    assert not told.finished
    assert {launcher.find_by_pid(told.pid(name)) for name in names} == set(names)
    gate.touch()
    told.wait(lambda: len(told.finished) == 200)
    assert {told.ended(name).return_code for name in names} == {5}
    assert sorted(effects.read_text().split()) == sorted(names)
    assert len(told.order) == 400
    assert launcher.running() == []


def test_what_a_command_leaves_in_the_background_goes_on_after_its_ordinary_end(
    host: Host, told: Told, launcher: Launcher
) -> None:
    launcher.start(host.spec("daemon", "sleep 60 & echo $!"))
    assert told.ended("daemon").return_code == 0
    left = int(host.output("daemon"))
    assert is_running(left)
    os.kill(left, signal.SIGKILL)


# -- not starting ------------------------------------


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"cwd": Path("/no/such/place")}, "working directory '/no/such/place': No such file or directory"),
        ({"cwd": Path("/etc/passwd")}, "working directory '/etc/passwd': Not a directory"),
        (
            {"argv": ("/no/such/shell", "-c", "true")},
            "cannot execute '/no/such/shell': No such file or directory",
        ),
        (
            {"argv": ("no-such-shell", "-c", "true")},
            "cannot execute 'no-such-shell': No such file or directory",
        ),
        ({"argv": ("/etc/passwd",)}, "cannot execute '/etc/passwd': Permission denied"),
        ({"env": {"HUGE": "x" * 3_000_000}}, "cannot execute '/bin/bash': Argument list too long"),
        ({"stdout": Path("/proc/no/output")}, "output file '/proc/no/output': No such file or directory"),
    ],
)
def test_what_cannot_start_is_finished_with_a_reason_that_says_what_is_wrong(
    host: Host, told: Told, launcher: Launcher, changed: dict[str, object], reason: str
) -> None:
    launcher.start(host.spec("hopeless", "true", **changed))
    assert told.result("hopeless") == CouldNotStart(reason)
    assert told.order == [("finished", "hopeless")]
    assert host.state("hopeless") == CouldNotStart(reason)
    launcher.start(host.spec("next", "true"))
    assert told.ended("next").return_code == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"argv": ("/bin/bash", "-c", "a\0b")},
        {"argv": ()},
        {"env": {"A": "b\0c"}},
        {"env": {"A=B": "c"}},
        {"env": {"": "c"}},
        {"initiation_id": ""},
        {"initiation_id": "two\nlines"},
        {"initiation_id": "ü" * 251},
    ],
)
def test_what_no_process_could_be_given_is_refused_at_once(
    host: Host, told: Told, launcher: Launcher, changed: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"."):
        launcher.start(host.spec("refused", "true", **changed))
    assert launcher.running() == []


def test_a_full_disk_at_the_start_is_no_end_and_a_disk_filled_by_the_command_loses_no_return_code(
    host: Host, told: Told
) -> None:
    with small_disk(host.runs):
        launcher = host.launcher(told)
        launcher.start(host.spec("filler", f"cat /dev/zero > {host.runs}/filling; exit 9"))
        assert told.ended("filler").return_code == 9
        for attempt in (1, 2):
            launcher.start(host.spec("starved", "exit 4"))
            told.wait(lambda times=attempt: len(told.no_room) == times)
        assert set(told.no_room) == {("starved", "cannot prepare to start: No space left on device")}
        assert host.state("starved") == NotStarted()
        assert launcher.running() == []
        assert list(host.runs.glob("*.new")) == []
        (host.runs / "filling").unlink()
        launcher.start(host.spec("starved", "exit 4"))
        assert told.ended("starved").return_code == 4
        launcher.close()


def test_without_room_for_output_files_nothing_is_claimed_and_it_can_be_started_when_there_is(
    host: Host, told: Told, launcher: Launcher
) -> None:
    with small_disk(host.directory / "out", "nr_inodes=3") as output:
        (output / "in the way").touch()
        launcher.start(host.spec("starved", "echo ran"))
        told.wait(lambda: bool(told.no_room))
        assert told.no_room == [("starved", f"output file '{output}/starved.err': No space left on device")]
        assert host.state("starved") == NotStarted()
        (output / "in the way").unlink()
        launcher.start(host.spec("starved", "echo ran"))
        assert told.ended("starved").return_code == 0
        assert host.output("starved") == "ran\n"
        assert told.order == [("started", "starved"), ("finished", "starved")]


def test_a_marker_that_a_limit_lets_grow_by_half_only_is_no_marker(host: Host, told: Told) -> None:
    # A write that is cut short is no error: what it left would be taken for a damaged marker ever after.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (launcher_process.MARKER_BYTES // 2, limits[1]))
    try:
        limited = host.launcher(told)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    limited.start(host.spec("cut short", "true"))
    told.wait(lambda: bool(told.no_room))
    assert told.no_room == [("cut short", "cannot prepare to start: File too large")]
    assert host.state("cut short") == NotStarted()


# -- once ------------------------------------


def test_the_same_initiation_again_starts_nothing_whether_it_runs_has_finished_or_is_of_before(
    host: Host, told: Told, launcher: Launcher
) -> None:
    spec = host.spec("once", f"echo ran >> {host.directory}/effects; exit 3")
    launcher.start(spec)
    launcher.start(spec)
    told.ended("once")
    launcher.start(spec)
    launcher.close()
    later = Told()
    second = host.launcher(later)
    second.start(spec)
    assert later.ended("once") == told.ended("once")
    assert later.order == [("started", "once"), ("finished", "once")]
    assert (host.directory / "effects").read_text() == "ran\n"
    assert told.order == [("started", "once"), ("finished", "once")]


def test_started_anew_only_after_it_was_forgotten(host: Host, told: Told, launcher: Launcher) -> None:
    spec = host.spec("again", "exit 1")
    launcher.start(spec)
    told.ended("again")
    assert initiation_ids(host.runs) == ["again"]
    launcher.forget("again")
    assert initiation_ids(host.runs) == []
    assert launcher.recover("again") == NotStarted()
    launcher.start(spec)
    told.wait(lambda: told.order.count(("finished", "again")) == 2)


def test_a_running_initiation_cannot_be_forgotten(host: Host, told: Told, launcher: Launcher) -> None:
    launcher.start(host.spec("busy", "sleep 60"))
    told.pid("busy")
    with pytest.raises(ValueError, match="running"):
        launcher.forget("busy")


def test_a_request_of_an_agent_that_was_replaced_starts_nothing(host: Host, told: Told) -> None:
    replaced = host.launcher(told)
    host.launcher(Told())
    replaced.start(host.spec("late", f"touch {host.directory}/effect"))
    result = told.result("late")
    assert isinstance(result, CouldNotStart)
    assert "another agent process" in result.reason
    assert not (host.directory / "effect").exists()
    assert host.state("late") == NotStarted()


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\0" * 4096, b"garbage", os.urandom(4096), b'00000000 {"pid": 1}\n' + bytes(4076)],
    ids=["empty", "zeros", "text", "random", "bad checksum"],
)
def test_a_marker_that_cannot_be_read_is_outcome_unknown_and_never_started(
    host: Host, told: Told, launcher: Launcher, garbage: bytes
) -> None:
    marker_path(host.runs, "torn").write_bytes(garbage)
    assert isinstance(launcher.recover("torn"), OutcomeUnknown)
    launcher.start(host.spec("torn", f"touch {host.directory}/effect"))
    assert told.result("torn") == OutcomeUnknown("its marker is damaged")
    assert not (host.directory / "effect").exists()


# -- outliving ------------------------------------


def test_a_command_outlives_its_launcher_and_is_watched_by_the_next(
    host: Host, told: Told, launcher: Launcher
) -> None:
    gate = host.directory / "gate"
    os.mkfifo(gate)
    launcher.start(host.spec("outlives", f"read < {gate}; exit 6"))
    pid = told.pid("outlives")
    launcher.close()
    later = Told()
    second = host.launcher(later)
    state = second.recover("outlives")
    assert isinstance(state, Running)
    assert (state.started.pid, state.supervised) == (pid, True)
    assert second.find_by_pid(pid) == "outlives"
    gate.write_text("go\n")
    assert later.ended("outlives").return_code == 6
    assert later.order == [("finished", "outlives")]
    assert "outlives" not in told.finished
    assert second.find_by_pid(pid) is None


def test_what_ended_while_no_launcher_was_there_is_recovered_with_its_return_code(
    host: Host, told: Told, launcher: Launcher
) -> None:
    gate = host.directory / "gate"
    os.mkfifo(gate)
    launcher.start(host.spec("unseen", f"read < {gate}; exit 6"))
    told.pid("unseen")
    supervisor = host.record("unseen").supervisor
    launcher.close()
    gate.write_text("go\n")
    wait_until(lambda: not supervisor.is_alive())
    recovered = host.launcher(Told()).recover("unseen")
    assert isinstance(recovered, Ended)
    assert recovered.return_code == 6


def test_a_recovered_command_can_be_killed(host: Host, told: Told, launcher: Launcher) -> None:
    launcher.start(host.spec("killed later", "sleep 60"))
    told.pid("killed later")
    launcher.close()
    later = Told()
    second = host.launcher(later)
    second.recover("killed later")
    assert second.kill("killed later", force=False)
    assert later.ended("killed later").killed


def test_the_spawner_is_replaced_when_it_dies_and_running_commands_do_not_notice(
    host: Host, told: Told, launcher: Launcher
) -> None:
    gate = host.directory / "gate"
    os.mkfifo(gate)
    launcher.start(host.spec("before", f"read < {gate}; exit 6"))
    told.pid("before")
    os.kill(launcher._spawner.pid, signal.SIGKILL)
    for number in range(5):
        launcher.start(host.spec(f"after-{number}", "exit 0"))
    for number in range(5):
        assert told.ended(f"after-{number}").return_code == 0
    gate.write_text("go\n")
    assert told.ended("before").return_code == 6


def test_a_spawner_that_cannot_be_replaced_at_once_is_replaced_later(
    host: Host, told: Told, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = launcher._spawner.pid
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: not is_running(dead))
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", no_process)
        launcher.start(host.spec("too early", "true"))
        assert told.result("too early") == CouldNotStart(
            "the launcher cannot be reached: [Errno 11] Resource temporarily unavailable"
        )
    launcher.start(host.spec("later", "exit 3"))
    assert told.ended("later").return_code == 3


def no_process(*_arguments: object, **_more: object) -> None:
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def test_a_launcher_that_cannot_be_made_leaves_no_process_behind(
    host: Host, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            made.append(self)

    def no_descriptors(_most_idle: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    monkeypatch.setattr(launcher_module, "Watches", no_descriptors)
    with pytest.raises(OSError, match="Too many open files"):
        host.launcher(told)
    assert [process.returncode for process in made] == [0]


def test_a_closed_launcher_keeps_nothing_of_its_process(host: Host, told: Told) -> None:
    # What is kept is let go of by the collector, in the middle of anything, where its end may go wrong.
    launcher = host.launcher(told)
    running = launcher._spawner._running
    assert running is not None
    process = weakref.ref(running.process)
    del running
    launcher.close()
    assert process() is None


def test_what_is_started_while_the_launcher_closes_touches_nothing_that_is_closed(
    host: Host, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = host.launcher(told)
    hand_over, closing, problems = launcher._hand_over, threading.Event(), []

    def late(run: Any, command: Any) -> None:
        closing.wait(WAIT_SECONDS)
        hand_over(run, command)

    def start() -> None:
        try:
            launcher.start(host.spec("late", "true"))
        except Exception as problem:  # noqa: BLE001  whatever it is, there must be none
            problems.append(problem)

    monkeypatch.setattr(launcher, "_hand_over", late)
    thread = threading.Thread(target=start)
    thread.start()
    wait_until(lambda: launcher.running() == ["late"])
    launcher.close()
    with (host.directory / "innocent").open("w+b") as innocent:
        reused = launcher._watches._wake  # the next file that somebody opens may get this number
        if reused != innocent.fileno():
            os.dup2(innocent.fileno(), reused)
        closing.set()
        thread.join()
        written = os.pread(innocent.fileno(), 100, 0)
        if reused != innocent.fileno():
            os.close(reused)
    assert written == b""
    assert problems == []
    assert host.launcher(Told()).recover("late") == NotStarted()


def test_a_command_whose_supervisor_is_killed_goes_on_and_ends_as_outcome_unknown(
    host: Host, told: Told, launcher: Launcher
) -> None:
    gate = host.directory / "gate"
    os.mkfifo(gate)
    launcher.start(host.spec("orphan", f"read < {gate}; echo done; exit 6"))
    pid = told.pid("orphan")
    os.kill(host.record("orphan").supervisor_pid, signal.SIGKILL)
    wait_until(lambda: not host.record("orphan").supervisor.is_alive())
    assert is_running(pid)
    gate.write_text("go\n")
    result = told.result("orphan")
    assert isinstance(result, OutcomeUnknown)
    assert result.started == told.started["orphan"]
    assert host.output("orphan") == "done\n"


def test_a_command_that_was_adopted_can_be_killed(host: Host, told: Told, launcher: Launcher) -> None:
    launcher.start(host.spec("adopted", "sleep 60"))
    told.pid("adopted")
    run = launcher._runs["adopted"]
    os.kill(host.record("adopted").supervisor_pid, signal.SIGKILL)
    wait_until(lambda: run.adopter is not None)
    assert launcher.kill("adopted", force=False)
    result = told.result("adopted")
    assert isinstance(result, OutcomeUnknown)
    assert "after a kill" in result.reason


def test_one_that_is_adopted_when_there_are_no_descriptors_left_ends_no_watching(
    host: Host, told: Told, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptors(_supervisor: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    launcher.start(host.spec("adopted", "sleep 60"))
    told.pid("adopted")
    run = launcher._runs["adopted"]
    with monkeypatch.context() as patched:
        patched.setattr(launcher_module, "_nudge", no_descriptors)
        os.kill(host.record("adopted").supervisor_pid, signal.SIGKILL)
        wait_until(lambda: run.adopter is not None)
        launcher.start(host.spec("next", "exit 3"))
        assert told.ended("next").return_code == 3
    assert launcher.kill("adopted", force=True)
    assert isinstance(told.result("adopted"), OutcomeUnknown)


def test_a_command_whose_adopter_is_killed_is_adopted_again(
    host: Host, told: Told, launcher: Launcher
) -> None:
    launcher.start(host.spec("twice orphan", "sleep 60", timeout_ms=2500))
    told.pid("twice orphan")
    run = launcher._runs["twice orphan"]
    os.kill(host.record("twice orphan").supervisor_pid, signal.SIGKILL)
    wait_until(lambda: run.adopter is not None)
    assert run.adopter is not None
    os.kill(run.adopter.pid, signal.SIGKILL)
    result = told.result("twice orphan")
    assert isinstance(result, OutcomeUnknown)
    assert "after its timeout" in result.reason


def test_a_command_whose_supervisor_is_killed_can_still_be_killed_and_still_has_its_timeout(
    host: Host, told: Told, launcher: Launcher
) -> None:
    launcher.start(host.spec("to kill", "sleep 60"))
    launcher.start(host.spec("to time out", "sleep 60", timeout_ms=1500))
    for name in ("to kill", "to time out"):
        told.pid(name)
        os.kill(host.record(name).supervisor_pid, signal.SIGKILL)
    assert launcher.kill("to kill", force=True)
    killed, timed_out = told.result("to kill"), told.result("to time out")
    assert isinstance(killed, OutcomeUnknown)
    assert "after a kill" in killed.reason
    assert isinstance(timed_out, OutcomeUnknown)
    assert "after its timeout" in timed_out.reason
    assert not any(is_running(told.pid(name)) for name in ("to kill", "to time out"))


# -- ending ------------------------------------


@pytest.mark.parametrize(("force", "number"), [(False, signal.SIGTERM), (True, signal.SIGKILL)])
def test_a_kill_ends_the_command_and_its_children_and_says_so(
    host: Host, told: Told, launcher: Launcher, force: bool, number: int
) -> None:
    launcher.start(host.spec("family", "sleep 60 & echo $!; (sleep 60 & echo $!; wait) & wait"))
    told.pid("family")
    wait_until(lambda: len(host.output("family").split()) == 2)
    children = [int(pid) for pid in host.output("family").split()]
    assert launcher.kill("family", force=force)
    ended = told.ended("family")
    assert (ended.return_code, ended.killed, ended.timed_out) == (128 + number, True, False)
    assert not any(is_running(pid) for pid in children)


def test_children_that_ignore_a_kill_or_have_groups_of_their_own_are_killed_after_the_grace_period(
    host: Host, told: Told
) -> None:
    launcher = host.launcher(told, grace_seconds=0.3)
    script = "set -m; (trap '' TERM; echo ready; while :; do sleep 1; done) & echo $!; wait"
    launcher.start(host.spec("stubborn", script))
    wait_until(lambda: told.pid("stubborn") > 0 and "ready" in host.output("stubborn"))
    child = next(int(word) for word in host.output("stubborn").split() if word.isdigit())
    assert launcher.kill("stubborn", force=False)
    assert told.ended("stubborn").killed
    assert not is_running(child)


def test_a_command_that_outlasts_a_gentle_kill_can_be_killed_by_force(
    host: Host, told: Told, launcher: Launcher
) -> None:
    launcher.start(host.spec("deaf", "trap 'echo heard' TERM; echo ready; while :; do sleep 0.05; done"))
    wait_until(lambda: told.pid("deaf") > 0 and "ready" in host.output("deaf"))
    assert launcher.kill("deaf", force=False)
    wait_until(lambda: "heard" in host.output("deaf"))
    assert "deaf" not in told.finished
    assert launcher.kill("deaf", force=True)
    assert told.ended("deaf").return_code == 128 + signal.SIGKILL


def test_a_timeout_terminates_and_after_the_grace_period_kills(host: Host, told: Told) -> None:
    launcher = host.launcher(told, grace_seconds=0.3)
    launcher.start(host.spec("polite", "sleep 60", timeout_ms=200))
    launcher.start(host.spec("deaf", "trap '' TERM; while :; do sleep 0.05; done", timeout_ms=200))
    polite, deaf = told.ended("polite"), told.ended("deaf")
    assert (polite.return_code, polite.timed_out, polite.killed) == (128 + signal.SIGTERM, True, False)
    assert (deaf.return_code, deaf.timed_out, deaf.killed) == (128 + signal.SIGKILL, True, False)


def test_a_timeout_is_enforced_while_no_launcher_is_there(host: Host, told: Told, launcher: Launcher) -> None:
    launcher.start(host.spec("unwatched", "sleep 60", timeout_ms=1000))
    told.pid("unwatched")
    supervisor = host.record("unwatched").supervisor
    launcher.close()
    wait_until(lambda: not supervisor.is_alive())
    recovered = host.launcher(Told()).recover("unwatched")
    assert isinstance(recovered, Ended)
    assert recovered.timed_out


def test_kill_of_what_is_not_running_does_nothing(host: Host, told: Told, launcher: Launcher) -> None:
    assert not launcher.kill("never heard of", force=True)
    launcher.start(host.spec("over", "true"))
    told.ended("over")
    assert not launcher.kill("over", force=True)


def test_a_kill_of_one_command_spares_the_next_of_the_same_supervisor(
    host: Host, told: Told, launcher: Launcher
) -> None:
    launcher.start(host.spec("first", "sleep 60"))
    told.pid("first")
    supervisor = host.record("first").supervisor
    launcher.kill("first", force=True)
    told.ended("first")
    launcher.start(host.spec("second", "exit 2"))
    assert not told.ended("second").killed
    os.kill(supervisor.pid, signal.SIGUSR1)  # one that arrives late
    launcher.start(host.spec("third", "exit 3"))
    assert (told.ended("third").return_code, told.ended("third").killed) == (3, False)


def test_a_stranger_that_was_given_the_pid_of_a_command_is_neither_waited_for_nor_killed(
    host: Host, told: Told, launcher: Launcher
) -> None:
    with subprocess.Popen(["/bin/sleep", "60"], start_new_session=True) as stranger:
        ticks = launcher_process.start_ticks(stranger.pid)
        assert ticks is not None
        forged = {
            "initiation_id": "reused",
            "boot_id": launcher_process.boot_id(),
            "pid": stranger.pid,
            "start_ticks": ticks - 1,
            "supervisor_pid": stranger.pid,
            "supervisor_start_ticks": ticks - 1,
            "started_at": 1,
            "deadline_monotonic_ms": 0,
        }
        path = marker_path(host.runs, "reused")
        path.write_bytes(bytes(launcher_process.MARKER_BYTES))
        fd = os.open(path, os.O_RDWR)
        launcher_process.write_record(fd, launcher_process.STARTED, forged, durably=False)
        assert isinstance(launcher.recover("reused"), OutcomeUnknown)
        assert not launcher.kill("reused", force=True)
        launcher_process.write_record(
            fd, launcher_process.STARTED, {**forged, "start_ticks": ticks, "boot_id": "x"}, durably=False
        )
        os.close(fd)
        assert launcher.recover("reused") == OutcomeUnknown(
            "the host went down while it ran", Started("reused", stranger.pid, 1)
        )
        assert launcher.find_by_pid(stranger.pid) is None
        assert stranger.poll() is None
        path.unlink()
        stranger.kill()


# -- the callbacks ------------------------------------


def test_a_callback_that_fails_does_not_end_the_watching(host: Host) -> None:
    told = Told()

    def fail(initiation_id: str, result: RunResult) -> None:
        told.on_finished(initiation_id, result)
        raise RuntimeError("the listener is broken")

    launcher = Launcher(host.runs, on_started=told.on_started, on_finished=fail, on_no_room=told.on_no_room)
    host.launchers.append(launcher)
    for number in range(3):
        launcher.start(host.spec(f"run-{number}", "true"))
        told.ended(f"run-{number}")


def test_idle_supervisors_and_the_spawner_end_with_their_launcher(
    host: Host, told: Told, launcher: Launcher
) -> None:
    launcher.start(host.spec("short", "ps -o ppid= -p $$"))
    told.ended("short")
    supervisor, spawner = int(host.output("short")), launcher._spawner.pid
    assert is_running(supervisor)
    assert is_running(spawner)
    launcher.close()
    wait_until(lambda: not is_running(supervisor) and not is_running(spawner))


def test_a_closed_launcher_starts_nothing(host: Host, launcher: Launcher) -> None:
    launcher.close()
    with pytest.raises(LauncherClosed, match="closed"):
        launcher.start(host.spec("late", "true"))


# -- what commands are run with ------------------------------------

RUN = RunIdentity(
    plan="../Night run/ü",
    instance_id="i-1",
    context="ctx",
    agent="agent one",
    job=".." + "x" * 400,
    initiation_id="init-1",
    fired_at=1_774_747_800_123,
)


def test_output_files_stay_below_their_directory_whatever_names_a_plan_has(tmp_path: Path) -> None:
    paths = output_paths(tmp_path, RUN)
    assert paths.output.name == "agent+one@20260329T013000.123Z.out"
    assert paths.error == paths.output.with_suffix(".err")
    assert paths.output.resolve().is_relative_to(tmp_path)
    assert len(paths.output.relative_to(tmp_path).parts) == 4
    assert max(len(part) for part in paths.output.parts) < 256
    assert all(not part.startswith(".") for part in paths.output.relative_to(tmp_path).parts)


def test_commands_inherit_only_what_is_allowed_and_are_told_who_they_are(tmp_path: Path) -> None:
    own = {"PATH": "/bin", "LC_TIME": "C", "AWS_SECRET": "x", "JOBLEDGER_TOKEN": "y", "TZ": "UTC"}
    paths = output_paths(tmp_path, RUN)
    environment = job_environment(
        own, {"TZ": "Asia/Tokyo", "JOBLEDGER_JOB": "forged", "odd-name": ""}, RUN, paths
    )
    assert environment == {
        "PATH": "/bin",
        "LC_TIME": "C",
        "TZ": "Asia/Tokyo",
        "odd-name": "",
        "LOG_FILE_PATH": str(paths.output),
        "ERROR_LOG_FILE_PATH": str(paths.error),
        "JOBLEDGER_PLAN": RUN.plan,
        "JOBLEDGER_INSTANCE_ID": "i-1",
        "JOBLEDGER_CONTEXT": "ctx",
        "JOBLEDGER_JOB": RUN.job,
        "JOBLEDGER_INITIATION_ID": "init-1",
    }
    assert "AWS_SECRET" in job_environment(own, {}, RUN, paths, allowed=("AWS_*",))


@pytest.mark.parametrize(
    "parameters", [{"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"PASSWORD": "hidden\0hidden"}]
)
def test_a_parameter_that_cannot_be_a_variable_is_named_but_its_value_is_not(
    tmp_path: Path, parameters: dict[str, str]
) -> None:
    with pytest.raises(ValueError, match="parameter") as refusal:
        job_environment({}, parameters, RUN, output_paths(tmp_path, RUN))
    assert "hidden" not in str(refusal.value)


def test_a_job_may_name_its_shell() -> None:
    assert shell_command("echo hi") == ("/bin/bash", "-c", "echo hi")
    assert shell_command("dir", "cmd.exe|/c") == ("cmd.exe", "/c", "dir")
    assert shell_command("a|b", "") == ("/bin/bash", "-c", "a|b")
    with pytest.raises(ValueError, match="no shell"):
        shell_command("dir", "|/c")
    with pytest.raises(ValueError, match="NUL"):
        shell_command("a\0b")
