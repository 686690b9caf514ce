"""Which files have been reported for which instance, and which moves are under way, durably."""

from pathlib import Path

import msgspec

from ...storage.durable_files import OS_FILES, Files, read_whole, write_durably
from .file_search import FoundFile
from .fire_marks import MarkKey, MarksDamaged


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """Files that came for one job, and the instances that are to be told."""

    plan: str
    job: str
    """The job's name, without its agent."""
    keys: tuple[MarkKey, ...]
    files: tuple[FoundFile, ...]
    """As they were found."""
    targets: tuple[str, ...] = ()
    """Where each is moved to; empty when they stay."""


class _Seen(msgspec.Struct, frozen=True):
    instance_id: str
    job: str
    files: list[FoundFile]


class _File(msgspec.Struct, frozen=True):
    seen: list[_Seen]
    moving: list[Arrival]


class FileMarks:
    """Marks in memory, and on disk once ``write`` has returned. For one thread at a time."""

    def __init__(self, file: Path, files: Files = OS_FILES) -> None:
        """Raises ``MarksDamaged`` and ``OSError``."""
        self._file = file
        self._files = files
        stored = _read(file, files)
        self._seen = {
            MarkKey(each.instance_id, each.job): {found.path: found for found in each.files}
            for each in stored.seen
        }
        self.moving = stored.moving
        """Arrivals whose files may or may not have been moved."""

    def is_new(self, key: MarkKey, file: FoundFile) -> bool:
        """Whether it has not been reported for this instance as it is now."""
        return self._seen.get(key, {}).get(file.path) != file

    def note(self, arrival: Arrival) -> None:
        """Its events are on disk."""
        for key in arrival.keys:
            self._seen.setdefault(key, {}).update({file.path: file for file in arrival.files})

    def write(self, armed: set[str]) -> None:
        """Make them durable, without those of instances that are not armed. Raises ``OSError``."""
        self._seen = {key: files for key, files in self._seen.items() if key.instance_id in armed}
        seen = [_Seen(key.instance_id, key.job, list(files.values())) for key, files in self._seen.items()]
        write_durably(self._file, msgspec.json.encode(_File(seen, self.moving)), self._files)


def _read(file: Path, files: Files) -> _File:
    try:
        return msgspec.json.decode(read_whole(file, files), type=_File)
    except FileNotFoundError:
        return _File([], [])
    except msgspec.DecodeError as error:
        raise MarksDamaged(f"{file} cannot be read: {error}") from error
