"""Starts commands exactly once, watches them, and finds them again after the agent was gone.

The work is done by ``launcher_process``: this is the agent's side of it. One thread waits for all commands at
once. For each supervisor that this process asked for it holds one end of a *channel* whose other end belongs
to the supervisor and, until it has become the command, to its child. When the supervisor says it is done,
or the channel closes, the marker says all there is to know, and nothing can start the command any more.
Commands started by an earlier agent process are watched through a pidfd of their supervisor. Commands whose
supervisor was killed are given a new one.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from .launcher_process import Command, Request
from .markers import (
    CouldNotStart,
    Ended,
    NotStarted,
    OutcomeUnknown,
    ProcessIdentity,
    Recovered,
    Running,
    RunResult,
    Started,
    StartedRecord,
    classify,
    decode_result,
    initiation_ids,
    marker_path,
    request_kill,
)
from .spawner import RunSpec, Spawner
from .watches import Watch, Watches

_ATTEMPTS = 10
"""How often a command is handed over when the launcher's processes die with it and nothing was started."""

_POSTPONED_SECONDS = 1.0
_MOST_IDLE = 16
"""Supervisors kept for commands to come; each is a small process."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Run:
    initiation_id: str
    marker: Path
    spec: RunSpec | None = None
    attempts: int = 1
    adoption_due: bool = True
    told: Started | None = None
    command: ProcessIdentity | None = None
    adopter: ProcessIdentity | None = None
    """The supervisor that has taken the place of the one that the marker names."""
    error: str = ""
    no_room: bool = False
    problem: str = ""
    """Why it was not handed over at the latest attempt."""
    unrecorded: bytes = b""
    """An outcome that the supervisor could not write, in its words."""


class _Message(msgspec.Struct, frozen=True):
    started: StartedRecord | None = None
    error: str = ""
    no_room: bool = False
    unrecorded: msgspec.Raw = msgspec.Raw()
    adopter: ProcessIdentity | None = None
    over: bool = False


_message_decoder = msgspec.json.Decoder(_Message)


class LauncherClosed(RuntimeError):
    """The agent is about to stop: what was not handed over is left to the next one."""


class Launcher:
    """Runs commands for initiations, each at most once for ever; safe to use from any thread.

    The callbacks run on the watching thread and must be quick: hand on what they are told. Each initiation
    has one ``on_finished`` in the life of this object, and before it, if the command ever ran, one
    ``on_started`` (``CouldNotStart`` comes without). What ``recover`` has answered is not told again.

    A start for which there is no room on the disk is told by ``on_no_room`` instead, with the reason: nothing
    ran, nothing is noted, and ``start`` may be asked again.

    Only one process may use a directory at a time: a later one takes over, and what the earlier one has
    handed over but not yet started is not started any more.
    """

    def __init__(
        self,
        runs_dir: Path,
        *,
        on_started: Callable[[Started], None],
        on_finished: Callable[[str, RunResult], None],
        on_no_room: Callable[[str, str], None],
        kill_grace_seconds: float = 10.0,
    ) -> None:
        """Take charge of a directory of markers, which is made if need be.

        :raises OSError: if the directory cannot be used or the launcher's process not started.
        """
        self._runs_dir = runs_dir.resolve()
        self._on_started = on_started
        self._on_finished = on_finished
        self._on_no_room = on_no_room
        self._grace_ms = round(kill_grace_seconds * 1000)
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._finished: set[str] = set()
        self._by_pid: dict[int, str] = {}
        self._unsettled: deque[_Run] = deque()
        self._postponed: list[_Run] = []
        self._postponed_until = 0.0
        self._closed = False
        self._runs_dir.mkdir(parents=True, exist_ok=True)
        self._generation = self._take_charge()
        with contextlib.ExitStack() as made:
            self._spawner = Spawner()
            made.callback(self._spawner.close)
            self._watches: Watches[_Run] = Watches(_MOST_IDLE)
            made.callback(self._watches.close)
            self._thread = threading.Thread(target=self._watch, name="launcher-watch", daemon=True)
            self._thread.start()
            made.pop_all()

    def start(self, spec: RunSpec) -> None:
        """Hand over a command to be run; what comes of it is told by the callbacks.

        Does nothing for an initiation that is running or has finished here and is not forgotten. One that was
        ever started before is not started again: what became of it is told.

        :raises ValueError: if a text holds a NUL character, or the id is empty, longer than 500 bytes or not
            printable.
        :raises LauncherClosed: if it is closed; then it is not started.
        """
        spec.check()
        run = _Run(spec.initiation_id, marker_path(self._runs_dir, spec.initiation_id), spec)
        with self._lock:
            if self._closed:
                raise LauncherClosed("the launcher is closed")
            if spec.initiation_id in self._runs or spec.initiation_id in self._finished:
                return
            self._runs[spec.initiation_id] = run
        self._hand_over(run, self._command(spec))

    def recover(self, initiation_id: str) -> Recovered:
        """What has become of an initiation of before; if it is running it is watched from now on.

        :raises OSError: if its marker cannot be looked at for now.
        """
        marker = marker_path(self._runs_dir, initiation_id)
        state = classify(marker, initiation_id)
        if isinstance(state, Running):
            run = _Run(initiation_id, marker, told=state.started, command=state.record.command)
            with self._lock:
                if initiation_id in self._runs:
                    return state
                self._runs[initiation_id] = run
                self._by_pid[state.started.pid] = initiation_id
            self._settle_soon(run)
        return state

    def known(self) -> list[str]:
        """The initiations that have a readable marker.

        :raises OSError: if the directory or a marker cannot be read.
        """
        return initiation_ids(self._runs_dir)

    def kill(self, initiation_id: str, *, force: bool) -> bool:
        """Signal a command's whole process group: SIGKILL if forced, else SIGTERM; whether it is running.

        What is left of its session once the command itself has ended is killed after the grace period.

        :raises OSError: if the request cannot be noted.
        """
        with self._lock:
            run = self._runs.get(initiation_id)
        if run is None:
            return False
        state = classify(run.marker, initiation_id)
        if not isinstance(state, Running):
            return False
        request_kill(run.marker, force=force)
        _nudge(run.adopter or state.record.supervisor)
        return True

    def forget(self, initiation_id: str) -> None:
        """Delete the marker, once the report of the outcome is durable: it could then be started anew.

        :raises ValueError: if it is running.
        :raises OSError: if the marker cannot be deleted.
        """
        with self._lock:
            if initiation_id in self._runs:
                raise ValueError(f"initiation {initiation_id!r} is running")
            self._finished.discard(initiation_id)
        marker_path(self._runs_dir, initiation_id).unlink(missing_ok=True)

    def find_by_pid(self, pid: int) -> str | None:
        """The initiation whose command has this pid now; ``None`` if it is none of ours."""
        with self._lock:
            run = self._runs.get(self._by_pid.get(pid, ""))
        return run.initiation_id if run and run.command and run.command.is_alive() else None

    def running(self) -> list[str]:
        """The initiations handed over or recovered and not yet finished."""
        with self._lock:
            return list(self._runs)

    def close(self) -> None:
        """Stop watching. What has been handed over is started, what is running goes on."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._watches.wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._spawner.close()
        self._watches.close()

    def _take_charge(self) -> str:
        """Put an end to requests of earlier processes, however delayed, and to what they left half made."""
        generation = uuid.uuid4().hex
        with self._generation_file.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(generation.encode())
            file.flush()
            for left in self._runs_dir.glob("*.new"):
                left.unlink(missing_ok=True)
        return generation

    @property
    def _generation_file(self) -> Path:
        return self._runs_dir / "generation"

    def _command(self, spec: RunSpec) -> Command:
        return {
            "initiation_id": spec.initiation_id,
            "generation_file": str(self._generation_file),
            "generation": self._generation,
            "argv": list(spec.argv),
            "cwd": str(spec.cwd),
            "env": dict(spec.env),
            "stdout": str(spec.stdout),
            "stderr": str(spec.stderr),
            "timeout_ms": spec.timeout_ms,
        }

    def _hand_over(self, run: _Run, command: Command | None) -> None:
        """Ask for a supervisor: for a command to start or, without one, for one to adopt."""
        request: Request = {
            "marker": str(run.marker),
            "grace_ms": self._grace_ms,
            "command": command,
        }
        watch = None
        run.problem = ""
        try:
            with os.fdopen(os.memfd_create("request", os.MFD_CLOEXEC), "wb") as text:
                text.write(json.dumps(request).encode())
                text.seek(0)
                watch = self._watches.take_idle(run)
                if watch is not None and watch.channel is not None:
                    socket.send_fds(watch.channel, [b"r"], [text.fileno()])
                else:
                    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    with theirs:
                        watch = self._watches.add(ours.fileno(), run, ours)
                        self._spawner.hand_over([theirs.fileno(), text.fileno()])
        except OSError as problem:
            _log.warning("launcher_unreachable", initiation=run.initiation_id, error=str(problem))
            run.problem = f"the launcher cannot be reached: {problem}"
            if watch is None or watch.channel is None:
                run.error = run.problem
                self._settle_soon(run)
            else:
                with contextlib.suppress(
                    OSError
                ):  # the watching thread sees the end of it, and settles the run
                    watch.channel.shutdown(socket.SHUT_RDWR)

    # -- the watching thread ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._closed:
            for watch in self._watches.wait(self._until_postponed()):
                if not self._closed:
                    self._attend(watch)
            if self._postponed and time.monotonic() >= self._postponed_until:
                self._unsettled.extend(self._postponed)
                self._postponed.clear()
            while self._unsettled:
                self._settle(self._unsettled.popleft())

    def _until_postponed(self) -> float | None:
        return max(0.0, self._postponed_until - time.monotonic()) if self._postponed else None

    def _attend(self, watch: Watch[_Run]) -> None:
        """Something happened to a channel or to a supervisor of before."""
        message = b""
        if watch.channel is not None:
            try:
                message = watch.channel.recv(65536, socket.MSG_DONTWAIT)
            except ConnectionResetError as problem:
                _log.warning("channel_broken", error=str(problem))
        if message and watch.run is not None:
            try:
                self._hear(watch, watch.run, _message_decoder.decode(message))
            except msgspec.DecodeError as problem:  # then it is no supervisor of ours: go by the marker alone
                _log.warning("message_not_understood", initiation=watch.run.initiation_id, error=str(problem))
            else:
                return
        self._watches.remove(watch)
        if watch.run is not None:
            self._settle(watch.run)

    def _hear(self, watch: Watch[_Run], run: _Run, message: _Message) -> None:
        if message.started is not None:
            record = message.started
            self._tell_started(run, Started(run.initiation_id, record.pid, record.started_at), record.command)
        if message.adopter is not None:
            run.adopter = message.adopter
            try:
                _nudge(message.adopter)  # a kill may have been asked for when we did not know whom to tell
            except OSError as problem:
                _log.warning("adopter_not_told", initiation=run.initiation_id, error=str(problem))
        if message.error:
            run.error, run.no_room = message.error, message.no_room
        run.unrecorded = bytes(message.unrecorded) or run.unrecorded
        if message.over:
            self._watches.release(watch)
            self._settle(run)

    def _settle(self, run: _Run) -> None:
        """Do what the marker calls for, now that nobody is watching on behalf of this run."""
        try:
            state = classify(run.marker, run.initiation_id)
            match state:
                case Running():
                    self._tell_started(run, state.started, state.record.command)
                    self._follow(run, state)
                case NotStarted():
                    self._start_again(run)
                case OutcomeUnknown() if run.unrecorded and state.started:
                    self._finish(run, decode_result(run.unrecorded, state.started))
                case Ended() | CouldNotStart() | OutcomeUnknown():
                    self._finish(run, state)
        except OSError as problem:
            _log.warning("run_not_settled", initiation=run.initiation_id, error=str(problem))
            self._postpone(run)

    def _follow(self, run: _Run, state: Running) -> None:
        """Watch a command that runs without a channel of ours: through its supervisor, or a new one."""
        if state.supervised:
            self._watch_process(run, state.record.supervisor)
        elif run.adoption_due:
            run.adoption_due = False
            self._hand_over(run, None)
        else:
            run.adoption_due = True
            self._postpone(run)

    def _start_again(self, run: _Run) -> None:
        if run.told is not None:
            self._finish(run, OutcomeUnknown("its marker has vanished", run.told))
        elif run.no_room:
            self._give_back(run)
        elif run.error:
            self._finish(run, CouldNotStart(run.error))
        elif run.spec is not None and run.attempts < _ATTEMPTS:
            run.attempts += 1
            self._hand_over(run, self._command(run.spec))
        else:
            killed = f"the launcher was killed {run.attempts} times before starting it"
            self._finish(run, CouldNotStart(run.problem or killed))

    def _give_back(self, run: _Run) -> None:
        """There was no room for it: whoever asked may ask again."""
        with self._lock:
            del self._runs[run.initiation_id]
        try:
            self._on_no_room(run.initiation_id, run.error)
        except Exception:  # noqa: BLE001 - one listener's failure must not end the watching of all
            _log.exception("on_no_room_failed", initiation=run.initiation_id)

    def _tell_started(self, run: _Run, started: Started, command: ProcessIdentity | None = None) -> None:
        if run.told is not None:
            return
        run.told = started
        run.command = command
        with self._lock:
            self._by_pid[started.pid] = run.initiation_id
        try:
            self._on_started(started)
        except Exception:  # noqa: BLE001 - one listener's failure must not end the watching of all
            _log.exception("on_started_failed", initiation=run.initiation_id)

    def _finish(self, run: _Run, result: RunResult) -> None:
        if isinstance(result, Ended | OutcomeUnknown) and result.started:
            self._tell_started(run, result.started)
        with self._lock:
            del self._runs[run.initiation_id]
            self._finished.add(run.initiation_id)
            if run.told and self._by_pid.get(run.told.pid) == run.initiation_id:
                del self._by_pid[run.told.pid]
        try:
            self._on_finished(run.initiation_id, result)
        except Exception:  # noqa: BLE001 - one listener's failure must not end the watching of all
            _log.exception("on_finished_failed", initiation=run.initiation_id)

    def _settle_soon(self, run: _Run) -> None:
        self._unsettled.append(run)
        self._watches.wake()

    def _postpone(self, run: _Run) -> None:
        if not self._postponed:
            self._postponed_until = time.monotonic() + _POSTPONED_SECONDS
        self._postponed.append(run)

    def _watch_process(self, run: _Run, supervisor: ProcessIdentity) -> None:
        try:
            fd = os.pidfd_open(supervisor.pid)
        except ProcessLookupError:
            self._settle_soon(run)
            return
        watch = self._watches.add(fd, run)
        if not supervisor.is_alive():  # the id may have passed to another process before it was opened
            self._watches.remove(watch)
            self._settle_soon(run)


def _nudge(supervisor: ProcessIdentity) -> None:
    """Tell a supervisor to look at its marker; one that has died is followed by one that looks by itself."""
    try:
        fd = os.pidfd_open(supervisor.pid)
    except ProcessLookupError:
        return
    try:
        if supervisor.is_alive():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGUSR1)
    finally:
        os.close(fd)
