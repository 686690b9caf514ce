"""The small program between the agent and the commands it runs: one spawner, and one supervisor per command.

Executed by its path with ``python -I -S``, so it uses the standard library only and stays small enough for a
fork to be cheap. The *spawner* takes requests from the agent over a socket and forks a *supervisor* for each;
it ends when the agent does. A supervisor looks after one command at a time and ends only when that is over:
it is in a session of its own, enforces the timeout and records the outcome, whether or not an agent is there.
If the agent still is, it may give the supervisor its next command, which spares it a fork.

Exactly once rests on one file per initiation, the *marker*. The process that is about to become the command
writes its own pid and start time into a temporary file and hard-links it to the marker's name: the link is
there or it is not, only one process can make it, and only that process goes on to run the command. What is
killed before the link has run nothing; what comes later finds the link and runs nothing.

A marker is 4096 bytes, allocated in full before the command starts, so that a disk filled by the very command
still has room for its outcome. Three places hold a record each: started, kill requested, outcome.
"""

import array
import contextlib
import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn, TypedDict


class Place(NamedTuple):
    """Where in a marker a record stands, in bytes."""

    offset: int
    length: int


STARTED = Place(0, 2048)
KILL = Place(2048, 256)
RESULT = Place(2304, 1792)
MARKER_BYTES = 4096

_REASON_CHARACTERS = 300
"""Few enough that a reason fits its place however many bytes its characters need."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where a disk is full, or a quota or a limit is reached: it may be otherwise later."""
_NO_ROOM_STATUS = 126
"""How a child ends that found no room before it had made the marker its own."""

_STATE_FIELD, _GROUP_FIELD, _SESSION_FIELD, _START_FIELD = 0, 2, 3, 19
"""Places in ``/proc/<pid>/stat`` counted from behind the command's name, which may hold anything."""

_IGNORED_BY_SUPERVISORS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)
_RESETTABLE = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""What ignores a signal leaves that to its children: whatever started the agent must not show in commands."""


class Command(TypedDict):
    """What to run, and on whose order."""

    initiation_id: str
    generation_file: str
    generation: str
    argv: list[str]
    cwd: str
    env: dict[str, str]
    stdout: str
    stderr: str
    timeout_ms: int | None


class Request(TypedDict):
    """What the agent asks of a supervisor; without a command it adopts the one that the marker names."""

    marker: str
    grace_ms: int
    command: Command | None


class Identity(TypedDict):
    """A process, told apart from a later one that has been given the same id."""

    pid: int
    start_ticks: int | None
    boot_id: str


# -- records -------------------------------------------------------------------------------------------------


def encode_record(value: dict[str, Any]) -> bytes:
    """A record as one line of text: its checksum, a space, its JSON."""
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def record_body(marker: bytes, place: Place) -> bytes | None:
    """The JSON of the record at a place of a marker; ``None`` when there is none, or a torn one."""
    line, newline, _ = marker[place.offset : place.offset + place.length].partition(b"\n")
    checksum, _, body = line.partition(b" ")
    return body if newline and checksum == b"%08x" % zlib.crc32(body) else None


def write_record(fd: int, place: Place, value: dict[str, Any], *, durably: bool) -> None:
    """Write a record into a place of an open marker.

    :raises ValueError: if it does not fit.
    :raises OSError: if it cannot be written.
    """
    record = encode_record(value)
    if len(record) > place.length:
        raise ValueError(f"a record of {len(record)} bytes does not fit {place.length}")
    os.pwrite(fd, record.ljust(place.length, b"\0"), place.offset)
    if durably:
        os.fdatasync(fd)


def _read_record(fd: int, place: Place) -> dict[str, Any] | None:
    body = record_body(os.pread(fd, MARKER_BYTES, 0), place)
    if body is None:
        return None
    record: dict[str, Any] = json.loads(body)
    return record


def _short(reason: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in reason[:_REASON_CHARACTERS])


# -- processes -----------------------------------------------------------------------------------------------


def process_stat(pid: int) -> list[str]:
    """The fields of ``/proc/<pid>/stat`` from the state on.

    :raises OSError: if there is no such process.
    """
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    try:
        return os.read(fd, 4096).rpartition(b")")[2].decode("ascii").split()
    finally:
        os.close(fd)


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; ``None`` if it has ended, reaped or not."""
    try:
        fields = process_stat(pid)
    except OSError:
        return None
    return None if fields[_STATE_FIELD] in "ZX" else int(fields[_START_FIELD])


def boot_id() -> str:
    """The kernel's name for the time since this host booted."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to import
        return file.read().strip()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _members(session: int) -> list[tuple[int, int]]:
    """Pid and process group of the living processes of a session."""
    members = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is slow to import
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = process_stat(int(name))
                if int(fields[_SESSION_FIELD]) == session and fields[_STATE_FIELD] not in "ZX":
                    members.append((int(name), int(fields[_GROUP_FIELD])))
    return members


# -- the spawner ---------------------------------------------------------------------------------------------


def _serve(requests: socket.socket) -> None:
    """Fork a supervisor for each request until the agent is gone; each brings its channel and its text."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    while True:
        message, fds = _receive(requests, 2)
        if not message:
            return
        if len(fds) == 2:
            _fork_supervisor(requests, socket.socket(fileno=fds[0]), fds[1])
        else:  # out of descriptors; the agent sees its channel close and that nothing was started
            for fd in fds:
                os.close(fd)


def _fork_supervisor(requests: socket.socket, channel: socket.socket, text: int) -> None:
    try:
        supervisor = os.fork()
    except OSError as problem:
        _tell(channel, {"error": f"cannot fork: {problem.strerror}"})
        supervisor = -1
    if supervisor != 0:
        channel.close()
        os.close(text)
        return
    try:
        requests.close()
        _supervise(channel, text)
    except BaseException as problem:  # noqa: BLE001 - the top of a process: told to the agent, which has a log
        _tell(channel, {"error": _short(f"supervisor failed: {type(problem).__name__}: {problem}")})
    finally:
        os._exit(0)


def _receive(source: socket.socket, most: int) -> tuple[bytes, list[int]]:
    """A message of one byte and its descriptors, closed on exec from the start.

    ``socket.recv_fds`` drops its flags in some versions of Python, and a command that inherits its channel
    would hide its supervisor's death.
    """
    numbers = array.array("i")
    message, ancillary, _, _ = source.recvmsg(
        1, socket.CMSG_SPACE(most * numbers.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return message, list(numbers)


def _tell(channel: socket.socket, message: dict[str, Any]) -> None:
    """Tell the agent, if it is there: everything that must not be lost is in the marker."""
    with contextlib.suppress(OSError):
        channel.send(json.dumps(message).encode(), socket.MSG_NOSIGNAL)


# -- the supervisor ------------------------------------------------------------------------------------------


class _Supervisor(NamedTuple):
    """What stays the same from one command to the next."""

    channel: socket.socket
    woken: int
    """Becomes readable when the marker is to be looked at again."""
    identity: Identity
    altered: tuple[int, ...]
    """Signals that are not dealt with as they are by default: commands must not inherit that."""


def _supervise(channel: socket.socket, text: int) -> None:
    """Look after one command after the other, until the agent has no more or is gone."""
    os.setsid()
    for number in _IGNORED_BY_SUPERVISORS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    pid = os.getpid()
    identity: Identity = {"pid": pid, "start_ticks": start_ticks(pid), "boot_id": boot_id()}
    supervisor = _Supervisor(channel, woken, identity, _altered_signals())
    while True:
        with os.fdopen(text, "rb") as file:
            request: Request = json.load(file)
        if request["command"] is None:
            _adopt(request["marker"], request["grace_ms"], supervisor)
        else:
            _run(request["command"], request["marker"], request["grace_ms"], supervisor)
        _tell(channel, {"over": True})
        _, fds = _receive(channel, 1)
        if not fds:
            return
        text = fds[0]


def _altered_signals() -> tuple[int, ...]:
    """Asked once, since it is slow to set more than sixty signals for each command."""
    return tuple(number for number in _RESETTABLE if signal.getsignal(number) != signal.SIG_DFL)


def _run(order: Command, path: str, grace_ms: int, supervisor: _Supervisor) -> None:
    """Start the command, wait until it is over, record its outcome."""
    temporary = f"{path}.{os.getpid()}.new"
    deadline = None if order["timeout_ms"] is None else _monotonic_ms() + order["timeout_ms"]
    with contextlib.ExitStack() as opened:
        try:
            marker = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, marker)
            _fill(marker)
            progress, report = os.pipe()
            opened.callback(os.close, progress)
            with os.fdopen(report, "wb", 0) as reporting:
                pid = os.fork()
                if pid == 0:
                    claim = _Claim(path, temporary, marker, supervisor.identity, deadline)
                    _become_command(order, claim, supervisor.altered, reporting.fileno())
        except OSError as problem:
            _tell_not_begun(
                supervisor.channel,
                f"cannot prepare to start: {problem.strerror}",
                no_room=problem.errno in _NO_ROOM,
            )
            _remove_quietly(temporary)
            return
        command = _Running(pid, marker, supervisor.woken, deadline, grace_ms)
        opened.callback(command.close)
        failure = command.wait_for_launch(progress)
        if not _is_claimed(path, marker):
            _, status = os.waitpid(pid, 0)
            _remove_quietly(temporary)
            if failure:  # otherwise it was killed before it could say anything: the agent may try again
                no_room = os.waitstatus_to_exitcode(status) == _NO_ROOM_STATUS
                _tell_not_begun(supervisor.channel, failure, no_room=no_room)
        elif failure:
            os.waitpid(pid, 0)
            _record(marker, supervisor.channel, {"type": "CouldNotStart", "reason": failure})
        else:
            _tell(supervisor.channel, {"started": _read_record(marker, STARTED)})
            command.wait_until_over()
            _, status = os.waitpid(pid, 0)
            _record(marker, supervisor.channel, _ended(status, command))


def _fill(marker: int) -> None:
    """Allocate all of a marker: a write to a disk that is nearly full may be done in part only."""
    missing = MARKER_BYTES
    while missing:
        missing -= os.write(marker, bytes(missing))


def _tell_not_begun(channel: socket.socket, reason: str, *, no_room: bool) -> None:
    """Nothing is claimed, and by this supervisor nothing will be."""
    _tell(channel, {"error": reason, "no_room": no_room})


def _remove_quietly(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - pathlib is slow to import


def _is_claimed(path: str, marker: int) -> bool:
    """Whether the open file is the one that bears the marker's name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(marker))  # noqa: PTH116 - pathlib is slow to import
    except FileNotFoundError:
        return False


def _ended(status: int, command: "_Running") -> dict[str, Any]:
    code = os.waitstatus_to_exitcode(status)
    return {
        "type": "Ended",
        "return_code": 128 - code if code < 0 else code,
        "completed_at": _now_ms(),
        "timed_out": command.timed_out,
        "killed": command.killed,
    }


def _record(marker: int, channel: socket.socket, result: dict[str, Any]) -> None:
    try:
        write_record(marker, RESULT, result, durably=True)
    except OSError:
        _tell(channel, {"unrecorded": result})
        raise


def _adopt(path: str, grace_ms: int, supervisor: _Supervisor) -> None:
    """Watch over a command whose supervisor has died: its timeout and its kills hold, its status is lost."""
    with contextlib.ExitStack() as opened:
        marker = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        opened.callback(os.close, marker)
        started = _read_record(marker, STARTED)
        if started is None or started["boot_id"] != boot_id():
            return
        deadline = started["deadline_monotonic_ms"]
        try:
            command = _Running(started["pid"], marker, supervisor.woken, deadline, grace_ms)
        except ProcessLookupError:
            return  # ended meanwhile, which the agent sees for itself
        opened.callback(command.close)
        if start_ticks(started["pid"]) != started["start_ticks"]:
            return
        _tell(supervisor.channel, {"adopter": supervisor.identity})
        command.obey_kill()
        command.wait_until_over()
        how = " after its timeout" if command.timed_out else " after a kill" if command.killed else ""
        reason = f"its supervisor was killed while it ran; it ended{how}, but its return code is lost"
        _record(marker, supervisor.channel, {"type": "OutcomeUnknown", "reason": reason})


class _Running:
    """A command being waited for: when it is over, and what was done to end it."""

    def __init__(self, pid: int, marker: int, woken: int, deadline_ms: int | None, grace_ms: int) -> None:
        self.timed_out = False
        self.killed = False
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._leader_lives = True
        self._marker = marker
        self._woken = woken
        self._deadline_ms = deadline_ms
        self._grace_ms = grace_ms
        self._next_signal: signal.Signals | None = signal.SIGTERM
        self._ending = False
        self._given_up = False

    def close(self) -> None:
        """Let go of the process."""
        os.close(self._pidfd)

    def wait_for_launch(self, progress: int) -> str:
        """Wait until the child is the command, or never will be; what it said was wrong."""
        told = b""
        while True:
            if progress in self._poll([progress]):
                part = os.read(progress, 4096)
                if not part:
                    break
                told += part
        return _short(told.decode("utf-8", "replace"))

    def wait_until_over(self) -> None:
        """Return once the command has ended and, when it was told to end, the rest of its session too.

        What a command leaves behind by itself is left alone; what a kill or a timeout leaves behind gets the
        grace period and is then killed. Processes that even that does not end are not waited for twice.
        """
        while not self._given_up:
            if self._leader_lives:
                if self._pidfd in self._poll([self._pidfd]):
                    self._leader_lives = False
                    if self._ending and self._next_signal is not None:
                        self._next_signal = signal.SIGKILL
                        self._deadline_ms = _monotonic_ms() + self._grace_ms
                continue
            if not self._ending or not self._wait_for_members():
                return

    def obey_kill(self) -> None:
        """Do what the marker's kill record asks for, if it does."""
        request = _read_record(self._marker, KILL)
        if request is not None:
            self.killed = True
            self._ending = True
            self._signal(signal.SIGKILL if request["force"] else signal.SIGTERM)

    def _wait_for_members(self) -> bool:
        """Wait until something changes among the rest of the session; whether there is any."""
        pidfds = []
        for pid, _ in _members(self._pid):
            with contextlib.suppress(ProcessLookupError):
                pidfds.append(os.pidfd_open(pid))
        if pidfds:
            self._poll(pidfds)
        for fd in pidfds:
            os.close(fd)
        return bool(pidfds)

    def _poll(self, fds: list[int]) -> list[int]:
        """Wait for one of some descriptors, heeding the deadline and requests to kill meanwhile."""
        poll = select.poll()
        for fd in (*fds, self._woken):
            poll.register(fd, select.POLLIN)
        timeout = None if self._deadline_ms is None else max(0, self._deadline_ms - _monotonic_ms())
        ready = [fd for fd, _ in poll.poll(timeout)]
        if self._woken in ready:
            os.read(self._woken, 4096)
            self.obey_kill()
        if not ready:
            self._pass_deadline()
        return ready

    def _pass_deadline(self) -> None:
        """Time is up: ask to end, then insist, then stop waiting."""
        if self._next_signal is None:
            self._given_up = True
            self._deadline_ms = None
            return
        self.timed_out = self.timed_out or not self._ending
        self._ending = True
        self._signal(self._next_signal)
        self._next_signal = signal.SIGKILL if self._next_signal == signal.SIGTERM else None
        self._deadline_ms = _monotonic_ms() + self._grace_ms

    def _signal(self, number: signal.Signals) -> None:
        """Signal the command's process group, and what has left the group but not the session.

        The command's id cannot have passed to a stranger: its zombie, or a member of its session, holds it.
        """
        with contextlib.suppress(ProcessLookupError):
            if self._leader_lives:
                signal.pidfd_send_signal(self._pidfd, 0)
                os.killpg(self._pid, number)
        for pid, group in _members(self._pid):
            if group != self._pid or not self._leader_lives:
                _signal_member(pid, self._pid, number)


def _signal_member(pid: int, session: int, number: signal.Signals) -> None:
    """Signal a process, if it is of the session still once its id is held fast."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        fd = os.pidfd_open(pid)
        try:
            if int(process_stat(pid)[_SESSION_FIELD]) == session:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


# -- the child that becomes the command ----------------------------------------------------------------------


class _CannotStartError(Exception):
    """The command cannot be started; the text says why."""


class _NoRoomError(_CannotStartError):
    """It cannot be started for want of room on a disk."""


class _Claim(NamedTuple):
    """What is needed to make a marker one's own."""

    path: str
    temporary: str
    marker: int
    supervisor: Identity
    deadline_monotonic_ms: int | None


def _become_command(order: Command, claim: _Claim, altered: tuple[int, ...], report: int) -> NoReturn:
    """Claim the marker and run the command in place of this process; never returns."""
    signal.set_wakeup_fd(-1)
    for number in altered:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    exit_status = 127
    try:
        os.setsid()
        _find_room_for_output(order)
        _make_own(order, claim)
        _replace_this_process(order)
    except BaseException as problem:  # noqa: BLE001 - the top of a process: told to the supervisor
        kind = "" if isinstance(problem, _CannotStartError) else f"{type(problem).__name__}: "
        exit_status = _NO_ROOM_STATUS if isinstance(problem, _NoRoomError) else exit_status
        with contextlib.suppress(OSError):
            os.write(report, f"{kind}{problem}".encode("utf-8", "replace"))
    finally:
        os._exit(exit_status)


def _find_room_for_output(order: Command) -> None:
    """Make the output files while nothing is claimed: what finds no room for them can be tried again.

    Whatever else is wrong with them stays wrong, and is told once the marker can say so for good.

    :raises _NoRoomError: if there is no room.
    """
    for path in (order["stdout"], order["stderr"]):
        try:
            with _step(f"output file {path!r}"):
                os.close(_open_output(path))
        except _NoRoomError:
            raise
        except _CannotStartError:
            return


def _make_own(order: Command, claim: _Claim) -> None:
    """Make the marker this process's own, durably.

    The generation names the agent process in charge of the directory. A request of an earlier one, delayed
    somewhere, must not start what the later one has already run and forgotten.

    :raises _CannotStartError: if the initiation has been started before, this request comes too late, or the
        marker cannot be made.
    :raises OSError: if the directory of markers cannot be used.
    """
    pid = os.getpid()
    started = {
        "initiation_id": order["initiation_id"],
        "boot_id": claim.supervisor["boot_id"],
        "pid": pid,
        "start_ticks": start_ticks(pid),
        "supervisor_pid": claim.supervisor["pid"],
        "supervisor_start_ticks": claim.supervisor["start_ticks"],
        "started_at": _now_ms(),
        "deadline_monotonic_ms": claim.deadline_monotonic_ms,
    }
    with _step("cannot prepare to start"):
        write_record(claim.marker, STARTED, started, durably=True)
    directory = os.path.dirname(claim.path)  # noqa: PTH120 - pathlib is slow to import
    generation = os.open(order["generation_file"], os.O_RDONLY)
    fcntl.flock(generation, fcntl.LOCK_SH)
    if os.read(generation, 256).decode() != order["generation"]:
        raise _CannotStartError("another agent process has taken charge of the directory")
    with _step("cannot prepare to start"):
        try:
            os.link(claim.temporary, claim.path)
        except FileExistsError:
            raise _CannotStartError("it has been started before") from None
    os.close(generation)
    os.unlink(claim.temporary)  # noqa: PTH108 - pathlib is slow to import
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def _replace_this_process(order: Command) -> NoReturn:
    with _step(f"working directory {order['cwd']!r}"):
        os.chdir(order["cwd"])
    for path, target in ((order["stdout"], 1), (order["stderr"], 2)):
        with _step(f"output file {path!r}"):
            os.dup2(_open_output(path), target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with _step(f"cannot execute {order['argv'][0]!r}"):
        os.execvpe(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - running commands is meant


def _open_output(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        return os.open(path, flags, 0o640)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - pathlib is slow to import
        return os.open(path, flags, 0o640)


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        no_room = isinstance(problem, OSError) and problem.errno in _NO_ROOM
        raise (_NoRoomError if no_room else _CannotStartError)(f"{what}: {reason}") from problem


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
