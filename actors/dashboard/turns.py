"""Whose turn it is to write to the log of a prepared instance: its own actor's, or that of its plan.

Both do. The version check of the log would refuse the slower one, and it would decide anew; but while many
orders come for the instance at the moment of its start, the plan could be the slower one again and again.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from uuid import UUID


class Turns:
    """A lock for each instance that a plan writes to before its start; taken before those of lock groups."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[UUID, threading.Lock] = {}

    def of_instance(self, instance_id: UUID) -> AbstractContextManager[object]:
        """For the instance's actor, around each of its turns."""
        return self._of.get(instance_id) or nullcontext()

    @contextmanager
    def of_plan(self, instance_id: UUID | None) -> Iterator[None]:
        """For the plan's actor, while it decides about the instance and has that stored."""
        if instance_id is None:
            yield
            return
        with self._lock:
            turn = self._of.setdefault(instance_id, threading.Lock())
        with turn:
            yield

    def over(self, instance_id: UUID) -> None:
        """The plan writes to it no more: it has begun, or has ended before."""
        with self._lock:
            self._of.pop(instance_id, None)
