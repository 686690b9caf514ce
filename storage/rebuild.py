"""Makes the lists of plans and instances anew from the log."""

from collections.abc import Callable, Iterable
from uuid import UUID

from ..domain.facts import InstancePrepared, InstanceStarted, PlanPushed
from ..domain.plan_log import PlanState, evolve_plan
from .engine import Engine, Row, Transaction
from .event_log import EventLog
from .read_models import PUT_INSTANCE, PUT_PLAN, instance_row, plan_row, summary_of_plan
from .reader import Reader
from .records import InstanceSummary

_FIRST_FACTS = "SELECT originator_id, topic FROM stored_events WHERE originator_version = 1"
_LAST_POSITIONS = "SELECT originator_id, MAX(originator_version) FROM stored_events GROUP BY originator_id"
_OF_INSTANCES = frozenset({InstancePrepared.__name__, InstanceStarted.__name__})


class Rebuild:
    """The rows of both lists as they follow from the log, each with the position that it follows from."""

    def __init__(self, reader: Reader, log: EventLog, summarise: Callable[[UUID], InstanceSummary]) -> None:
        """``summarise`` gives the row of an instance from its log."""
        self._reader = reader
        self._log = log
        self._summarise = summarise
        self._read_to: dict[UUID, int] = {}
        self._instances: dict[UUID, Row] = {}
        self._plans: dict[UUID, Row] = {}

    def read_all(self) -> None:
        """Work the rows of all streams out."""
        self._read(self._reader.rows(_FIRST_FACTS))

    def read_again(self, streams: Iterable[UUID]) -> None:
        """Work out the rows of streams that have moved on."""
        for stream in streams:
            first = f"{_FIRST_FACTS} AND originator_id = ?"
            self._read(self._reader.rows(first, self._reader.key(stream)))

    def write(self, transaction: Transaction, engine: Engine) -> list[UUID]:
        """Replace the lists, unless logs have moved on: returns their streams, and then changes nothing."""
        lasts = ((engine.stream(key), last) for key, last in transaction.rows(_LAST_POSITIONS))
        moved = [stream for stream, last in lasts if self._read_to.get(stream) != last]
        if not moved:
            for table, put, rows in (
                ("instances", PUT_INSTANCE, self._instances),
                ("plans", PUT_PLAN, self._plans),
            ):
                transaction.run(f"DELETE FROM {table}", ())  # noqa: S608  the two names above
                if rows:
                    transaction.run(put, *rows.values())
        return moved

    def _read(self, first_facts: Iterable[Row]) -> None:
        for key, topic in first_facts:
            stream = self._reader.stream(key)
            name = topic.partition(":")[0]
            if name in _OF_INSTANCES:
                summary = self._summarise(stream)
                self._read_to[stream] = summary.position
                self._instances[stream] = instance_row(key, summary)
                continue
            self._read_to[stream] = self._log.last_position(stream)
            if name == PlanPushed.__name__:
                self._read_plan(stream, self._read_to[stream])

    def _read_plan(self, stream: UUID, until: int) -> None:
        state: PlanState | None = None
        for recorded in self._log.facts(stream, 0, until, None):
            state = evolve_plan(state, recorded)
        if state is not None:
            self._plans[stream] = plan_row(self._reader.key(stream), summary_of_plan(state))
