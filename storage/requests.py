"""What threads ask of the committer, prepared as far as it can be without the database."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from .engine import FactRow, Transaction
from .event_log import snapshot_row
from .mapper import FactMapper
from .read_models import instance_row, plan_row
from .records import Change, Inbound

ResultT = TypeVar("ResultT")


class Request(Generic[ResultT]):
    """One thread's wish; the thread waits until it is settled."""

    __slots__ = ("_error", "_result", "_settled")

    def __init__(self) -> None:
        self._settled = threading.Lock()
        self._settled.acquire()
        self._result: ResultT | None = None
        self._error: Exception | None = None

    def succeed(self, result: ResultT) -> None:
        """It is durable."""
        self._result = result
        self._settled.release()

    def fail(self, error: Exception) -> None:
        """It is not, and why."""
        self._error = error
        self._settled.release()

    @property
    def settled(self) -> bool:
        """Whether it has its result, or its error."""
        return not self._settled.locked()

    def wait(self) -> ResultT:
        """Return the result or raise the error, once there is one."""
        self._settled.acquire()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # ``None`` is a result where the type says so


class Receive(Request[list[int]]):
    """Take entries into the inbox; the result has their positions."""

    __slots__ = ("inbound",)

    def __init__(self, inbound: Sequence[Inbound]) -> None:
        super().__init__()
        self.inbound = inbound


class AppendRows(msgspec.Struct, frozen=True):
    """Facts of one stream as rows of the event store."""

    stream: UUID
    expected: int
    rows: list[FactRow]


class Save(Request[None]):
    """Store a change."""

    __slots__ = ("appends", "change", "plans", "snapshots", "summaries")

    def __init__(self, change: Change, mapper: FactMapper, key: Callable[[UUID], object]) -> None:
        """Encode the change; ``ValueError`` when its facts do not follow each other."""
        super().__init__()
        self.change = change
        self.appends: list[AppendRows] = []
        for append in change.appends:
            rows = []
            for position, recorded in enumerate(append.facts, append.expected + 1):
                if (recorded.originator_id, recorded.originator_version) != (append.stream, position):
                    raise ValueError(
                        f"fact {recorded.originator_version} of {recorded.originator_id} was given "
                        f"as fact {position} of {append.stream}"
                    )
                rows.append((append.stream, position, *mapper.encode(recorded)))
            self.appends.append(AppendRows(append.stream, append.expected, rows))
        self.summaries = [instance_row(key(each.instance_id), each) for each in change.summaries]
        self.plans = [plan_row(key(each.stream), each) for each in change.plans]
        self.snapshots = [snapshot_row(key(each.stream), each) for each in change.snapshots]


class Deliver(Request[None]):
    """An agent has all that it was to be told, up to a sequence."""

    __slots__ = ("agent", "through")

    def __init__(self, agent: str, through: int) -> None:
        super().__init__()
        self.agent = agent
        self.through = through


class Step(Request[ResultT]):
    """Anything else: a few statements whose result depends on what they find."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[Transaction], ResultT]) -> None:
        super().__init__()
        self.work = work
