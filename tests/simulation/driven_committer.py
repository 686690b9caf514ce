"""The ledger's committer, as a task: what is asked while a commit takes its time shares the next one."""

from typing import Any, TypeVar

from jobledger.storage.group_commit import GroupCommit
from jobledger.storage.records import Unavailable
from jobledger.storage.requests import Request
from virtual_time import Process, Signal

ResultT = TypeVar("ResultT")


class DrivenCommitter:
    """Commits what was asked once the disk has taken its time."""

    def __init__(self, groups: GroupCommit, process: Process) -> None:
        self._groups = groups
        self._process = process
        self._queue: list[tuple[Request[Any], Signal]] = []
        self._due = False
        self._closed = False

    def submit(self, request: Request[ResultT]) -> ResultT:
        """Wait until it is settled."""
        if self._closed:
            raise Unavailable("the ledger is closed")
        settled = Signal()
        self._queue.append((request, settled))
        self._expect()
        settled.wait()
        return request.wait()

    def close(self) -> None:
        """Take nothing more; whoever waits is served at once."""
        self._closed = True
        self._commit()

    def _expect(self) -> None:
        if not self._due:
            self._due = True
            self._process.spawn(self._commit, "commit")

    def _commit(self) -> None:
        self._due = False
        taken, self._queue = self._queue, []
        if taken:
            self._groups.commit([request for request, _ in taken])
        for _, settled in taken:
            settled.set()
