"""What the markers of the launcher say about an initiation: never started, running, over, or nobody knows.

A marker is one file per initiation, made by the very process that becomes its command (see
``launcher_process``). This module reads them; it writes only the request to kill.
"""

import errno
import hashlib
import os
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

import msgspec

from ...domain.instants import Instant
from .launcher_process import (
    KILL,
    MARKER_BYTES,
    RESULT,
    STARTED,
    boot_id,
    record_body,
    start_ticks,
    write_record,
)

_SUFFIX: Final = ".run"
_LONGEST_NAME: Final = 150
_PASSING_ERRORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class ProcessIdentity(msgspec.Struct, frozen=True):
    """A process, told apart from a later one that has been given the same id."""

    pid: int
    start_ticks: int
    boot_id: str

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return boot_id() == self.boot_id and start_ticks(self.pid) == self.start_ticks


class StartedRecord(msgspec.Struct, frozen=True):
    """What the process that became the command wrote of itself before it did."""

    initiation_id: str
    boot_id: str
    pid: int
    start_ticks: int
    supervisor_pid: int
    supervisor_start_ticks: int
    started_at: Instant

    @property
    def command(self) -> ProcessIdentity:
        """The command: leader of its session and of its process group."""
        return ProcessIdentity(self.pid, self.start_ticks, self.boot_id)

    @property
    def supervisor(self) -> ProcessIdentity:
        """The process that waits for the command and records its outcome."""
        return ProcessIdentity(self.supervisor_pid, self.supervisor_start_ticks, self.boot_id)


class Started(msgspec.Struct, frozen=True):
    """A command runs, or has run."""

    initiation_id: str
    pid: int
    started_at: Instant


class NotStarted(msgspec.Struct, frozen=True):
    """Nothing has ever run for the initiation."""


class Running(msgspec.Struct, frozen=True):
    """The command runs; without its supervisor its return code will not be known."""

    started: Started
    record: StartedRecord
    supervised: bool


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The command ran and ended."""

    return_code: int
    """What it returned; 128 and the signal's number if a signal ended it."""
    started: Started
    completed_at: Instant
    timed_out: bool = False
    killed: bool = False
    """A kill was asked for while it ran."""


class CouldNotStart(msgspec.Struct, frozen=True):
    """The command did not run, and why."""

    reason: str


class OutcomeUnknown(msgspec.Struct, frozen=True):
    """The command was started, and nobody can say how it ended: a person must decide."""

    reason: str
    started: Started | None = None


RunResult: TypeAlias = Ended | CouldNotStart | OutcomeUnknown
Recovered: TypeAlias = NotStarted | Running | Ended | CouldNotStart | OutcomeUnknown


class _EndedRecord(msgspec.Struct, frozen=True, tag="Ended"):
    return_code: int
    completed_at: Instant
    timed_out: bool
    killed: bool


class _CouldNotStartRecord(msgspec.Struct, frozen=True, tag="CouldNotStart"):
    reason: str


class _OutcomeUnknownRecord(msgspec.Struct, frozen=True, tag="OutcomeUnknown"):
    reason: str


_ResultRecord: TypeAlias = _EndedRecord | _CouldNotStartRecord | _OutcomeUnknownRecord
_started_decoder = msgspec.json.Decoder(StartedRecord)
_result_decoder: msgspec.json.Decoder[_ResultRecord] = msgspec.json.Decoder(_ResultRecord)


def marker_path(runs_dir: Path, initiation_id: str) -> Path:
    """Where the marker of an initiation is: a name that is safe for every id, and different for every id."""
    return runs_dir / f"{safe_name(initiation_id)}{_SUFFIX}"


def safe_name(text: str) -> str:
    """Any text as a file name of at most 150 characters without separators, blanks or a leading dot.

    Different texts have different names: what had to be cut or begins with a dot ends with a digest.
    """
    name = quote(text, safe=" ", errors="surrogatepass").replace(" ", "+").replace("~", "%7E")
    if len(name) <= _LONGEST_NAME and name and not name.startswith("."):
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{name[: _LONGEST_NAME - 33].lstrip('.')}~{digest}"


def initiation_ids(runs_dir: Path) -> list[str]:
    """The initiations that have a readable marker, for an agent to forget those that it has long reported.

    :raises OSError: if the directory or a marker cannot be read.
    """
    records = (_read_started(path.read_bytes()) for path in sorted(runs_dir.glob(f"*{_SUFFIX}")))
    return [record.initiation_id for record in records if record is not None]


def classify(path: Path, initiation_id: str) -> Recovered:
    """What has become of an initiation, from its marker and the processes that it names.

    Whatever a marker contains, its presence alone means that the initiation must not be started (again).

    :raises OSError: if the marker cannot be looked at for now, such as for want of file descriptors.
    """
    try:
        marker = path.read_bytes()
    except FileNotFoundError:
        return NotStarted()
    except OSError as problem:
        if problem.errno in _PASSING_ERRORS:
            raise
        return OutcomeUnknown(f"its marker cannot be read: {problem}")
    record = _read_started(marker)
    if record is None or len(marker) != MARKER_BYTES:
        return OutcomeUnknown("its marker is damaged")
    if record.initiation_id != initiation_id:
        return OutcomeUnknown(f"its marker belongs to initiation {record.initiation_id!r}")
    started = Started(initiation_id, record.pid, record.started_at)
    result = _read_result(marker, started)
    if result is None and record.supervisor.is_alive():
        return Running(started, record, supervised=True)
    if result is None:  # it may have been recorded between our look at the file and our look at the process
        result = _read_result(path.read_bytes(), started)
    return result or _without_supervisor(record, started)


def _without_supervisor(record: StartedRecord, started: Started) -> Running | OutcomeUnknown:
    if record.command.is_alive():
        return Running(started, record, supervised=False)
    if record.boot_id != boot_id():
        return OutcomeUnknown("the host went down while it ran", started)
    return OutcomeUnknown("it and the process that would have recorded its outcome are gone", started)


def _read_started(marker: bytes) -> StartedRecord | None:
    body = record_body(marker, STARTED)
    if body is None:
        return None
    try:
        return _started_decoder.decode(body)
    except msgspec.DecodeError:
        return None


def _read_result(marker: bytes, started: Started) -> RunResult | None:
    body = record_body(marker, RESULT)
    return None if body is None else decode_result(body, started)


def decode_result(body: bytes, started: Started) -> RunResult:
    """A result as a supervisor wrote it."""
    try:
        record = _result_decoder.decode(body)
    except msgspec.DecodeError as problem:
        return OutcomeUnknown(f"its outcome cannot be read: {problem}", started)
    match record:
        case _EndedRecord():
            return Ended(
                return_code=record.return_code,
                started=started,
                completed_at=record.completed_at,
                timed_out=record.timed_out,
                killed=record.killed,
            )
        case _CouldNotStartRecord():
            return CouldNotStart(record.reason)
        case _OutcomeUnknownRecord():
            return OutcomeUnknown(record.reason, started)


def request_kill(path: Path, *, force: bool) -> None:
    """Note in a marker that its command is to be killed; the supervisor must then be told to look.

    :raises OSError: if the marker cannot be written.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        write_record(fd, KILL, {"force": force}, durably=False)
    finally:
        os.close(fd)
