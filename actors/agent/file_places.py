"""The places where file watchers look and to which they move, as a port to the host's file systems."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from ...domain.instants import Instant
from .file_moves import finish, free_target, move
from .file_search import FoundFile, Search, look


class FilePlaces(Protocol):
    """The directories of a host."""

    def look(self, search: Search, depth: int) -> Iterable[FoundFile]:
        """The regular files that match, so many levels deep; raises ``OSError``."""
        ...

    def free_target(self, source: Path, directory: Path, now: Instant) -> Path:
        """Where in a directory a file can be moved to."""
        ...

    def move(self, source: Path, target: Path) -> None:
        """Move a file, replacing nothing; raises ``OSError``, with the source still where it was."""
        ...

    def finish(self, source: Path, target: Path) -> bool:
        """Whether a move that a crash interrupted has come to its end, with our help; raises ``OSError``."""
        ...


class _HostPlaces:
    look = staticmethod(look)
    free_target = staticmethod(free_target)
    move = staticmethod(move)
    finish = staticmethod(finish)


HOST_PLACES: FilePlaces = _HostPlaces()
"""The real ones."""
