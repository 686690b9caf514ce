"""What a dashboard has of its host: a database, threads, alarms and word of changed files."""

from collections.abc import Callable
from pathlib import Path

from ...storage.ledger import Ledger
from ..file_notices import FileSystemNotices, Notices
from ..pool import ActorPool
from ..timers import Clock, Timers


class Host:
    """The real ones. A test may give a dashboard another host."""

    def ledger(self, database_url: str | None, data_dir: Path) -> Ledger:
        """The durable memory; raises ``Unavailable``, ``NewerSchema``, and ``ValueError`` for other URLs."""
        return Ledger.open(database_url, data_dir)

    def pool(self, threads: int) -> ActorPool:
        """Threads for actors to share."""
        return ActorPool(threads)

    def timers(self, clock: Clock) -> Timers:
        """Alarms by a clock."""
        return Timers(clock)

    def notices(self, on_change: Callable[[], None]) -> Notices:
        """Word of changes in directories."""
        return FileSystemNotices(on_change)


THIS_HOST = Host()
"""The one that this process runs on."""
