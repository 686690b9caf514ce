"""An instance as it is watched for what is worth telling: its state, and its alarms in their order.

What was due when something happened is told before it, so what is told follows from the log alone, whether
somebody was there to hear an alarm or not. What is reported late rings nothing that came due only after it
happened: the next report may say that it came in time.
"""

import heapq
from functools import lru_cache

from .facts import InstanceEnded, InstanceStarted, JobCompleted, JobFailed, JobStarted, Recorded
from .instance import InstanceState, evolve
from .instants import Instant
from .notifications import Alarm, Deadlines, Occasion, alarm_of, occasions, rung, timed_units
from .topology import Topology, Unit


class Watch:
    """Follows the log of one instance, one fact after another, from any state of it."""

    def __init__(self, state: InstanceState, deadlines: Deadlines) -> None:
        self.state = state
        self._deadlines = deadlines
        self._alarms: dict[int, Alarm] = {}
        self._due: list[tuple[Instant, int]] = []
        self._set_all()

    @property
    def next_at(self) -> Instant | None:
        """When the next alarm comes due."""
        while self._due and not self._stands(self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def follow(self, recorded: Recorded) -> list[Occasion]:
        """What one more fact gives occasion to tell; ``ValueError`` when it is out of its place."""
        before = self.state
        after = evolve(before, recorded)
        unit = self._unit_of(recorded)
        # A job that has finished says itself whether it did so in time.
        finished = unit if isinstance(recorded.fact, JobCompleted | JobFailed) else None
        found = self._rung(_due_through(recorded), besides=finished)
        self.state = after
        found.extend(occasions(before, recorded, after, self._deadlines))
        if unit is not None:
            self._set(unit)
        elif isinstance(recorded.fact, InstanceStarted | InstanceEnded):
            self._set_all()
        return found

    def ring(self, now: Instant) -> list[Occasion]:
        """What has become due by now."""
        return self._rung(now, besides=None)

    def _rung(self, now: Instant, *, besides: Unit | None) -> list[Occasion]:
        found: list[Occasion] = []
        kept: list[Alarm] = []
        while (at := self.next_at) is not None and at <= now:
            alarm = self._alarms.pop(heapq.heappop(self._due)[1])
            if besides is not None and alarm.unit == besides.index:
                kept.append(alarm)
            elif (occasion := rung(self.state, alarm, self._deadlines)) is not None:
                found.append(occasion)
        for alarm in kept:
            self._keep(alarm)
        return found

    def _unit_of(self, recorded: Recorded) -> Unit | None:
        job = getattr(recorded.fact, "job", None)
        if job is None:
            return None
        return self.state.topology.unit_of(job, getattr(recorded.fact, "context", None))

    def _set_all(self) -> None:
        self._alarms.clear()
        self._due.clear()
        for unit in _timed_units(self.state.topology):
            self._set(unit)

    def _set(self, unit: Unit) -> None:
        self._alarms.pop(unit.index, None)
        alarm = alarm_of(self.state, unit, self._deadlines)
        if alarm is not None:
            self._keep(alarm)

    def _keep(self, alarm: Alarm) -> None:
        self._alarms[alarm.unit] = alarm
        heapq.heappush(self._due, (alarm.at, alarm.unit))

    def _stands(self, due: tuple[Instant, int]) -> bool:
        alarm = self._alarms.get(due[1])
        return alarm is not None and alarm.at == due[0]


def _due_through(recorded: Recorded) -> Instant:
    """Up to when it is certain what came due before a fact: for a report, until what it tells of happened.

    What follows from a report, or from anything else that waited in the inbox, shows nothing more.
    """
    match recorded.fact:
        case (
            JobStarted(fired_at=int(at))
            | JobCompleted(completed_at=int(at))
            | JobFailed(completed_at=int(at))
        ):
            return min(at, recorded.at)
        case JobCompleted(fired_at=int(at)) | JobFailed(fired_at=int(at)):
            return min(at, recorded.at)
        case InstanceEnded():
            return recorded.at
        case _:
            return recorded.at if recorded.cause.position is None else 0


@lru_cache(maxsize=256)
def _timed_units(topology: Topology) -> tuple[Unit, ...]:
    return timed_units(topology)
