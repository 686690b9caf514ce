"""Up to which instant the fires of each job and instance are accounted for, durably."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from ...domain.instants import Instant
from ...domain.messages import ProcessEvent
from ...storage.durable_files import OS_FILES, Files, read_whole, write_durably

_KEPT_MS = 48 * 3_600_000
"""How long the marks of an instance that is not armed are kept: it may be armed again."""


class MarkKey(msgspec.Struct, frozen=True, order=True):
    """One job of one plan instance."""

    instance_id: str
    job: str
    """``agent-job``."""


class _Mark(msgspec.Struct, frozen=True):
    instance_id: str
    job: str
    at: Instant


class _File(msgspec.Struct, frozen=True):
    reported_through: int
    marks: list[_Mark]


class MarksDamaged(RuntimeError):
    """The file with the marks cannot be read."""


def fire_id(key: MarkKey, due: Instant) -> str:
    """The id of the event for a fire: the same however often it is reported."""
    return f"{key.instance_id}/{key.job}/fire/{due}"


class FireMarks:
    """Marks in memory, and on disk once ``write`` has returned. For one thread at a time."""

    def __init__(self, file: Path, files: Files = OS_FILES) -> None:
        """Raises ``MarksDamaged`` and ``OSError``."""
        self._file = file
        self._files = files
        stored = _read(file, files)
        self._marks = {MarkKey(each.instance_id, each.job): each.at for each in stored.marks}
        self.reported_through = stored.reported_through
        """The marks know of all events up to this position of the outbound log."""
        self._dirty = False

    def bring_forward(self, events: Iterable[ProcessEvent]) -> None:
        """Account for what was reported behind ``reported_through``, before the marks could be written."""
        for event in events:
            if event.id is None or event.fired_at is None or event.initiation_id is not None:
                continue
            key = MarkKey(event.instance_id, event.job_identifier)
            if event.id == fire_id(key, event.fired_at):
                self.advance(key, event.fired_at)

    def find(self, key: MarkKey) -> Instant | None:
        """Up to when all is accounted for."""
        return self._marks.get(key)

    def advance(self, key: MarkKey, at: Instant) -> None:
        """All fires up to then are accounted for; what was accounted for remains so."""
        if at > self._marks.get(key, -1):
            self._marks[key] = at
            self._dirty = True

    def set_back(self, key: MarkKey, at: Instant) -> None:
        """The clock was wrong: count from here."""
        self._marks[key] = at
        self._dirty = True

    def write(self, armed: set[str], now: Instant, reported_through: int) -> None:
        """Make them durable; marks of instances that are long gone are dropped. Raises ``OSError``.

        ``reported_through``: a position of the outbound log up to which all fires are accounted for.
        """
        if not self._dirty:
            return
        self._marks = {
            key: at for key, at in self._marks.items() if key.instance_id in armed or at > now - _KEPT_MS
        }
        marks = [_Mark(key.instance_id, key.job, at) for key, at in self._marks.items()]
        write_durably(self._file, msgspec.json.encode(_File(reported_through, marks)), self._files)
        self.reported_through = reported_through
        self._dirty = False


def _read(file: Path, files: Files) -> _File:
    try:
        return msgspec.json.decode(read_whole(file, files), type=_File)
    except FileNotFoundError:
        return _File(0, [])
    except msgspec.DecodeError as error:
        raise MarksDamaged(f"{file} cannot be read: {error}") from error
