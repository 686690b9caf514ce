"""What came from outside while instances were active: every due fire and every file has been told of.

Only what can be said for certain is looked at: instances of plans that were pushed once, in worlds whose
clocks were left alone; files only of instances that are active still.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from jobledger.actors.agent.file_search import searches
from jobledger.actors.agent.triggers import Timetable
from jobledger.domain.instants import Instant, parse_rfc3339, rfc3339, time_zone
from jobledger.domain.messages import Outcome, ProcessEvent
from jobledger.domain.plan import FileJob, ScheduleJob
from violations import Violation

SLACK_MS = 8_000
"""What is due may still be under way for so long, and files are looked at twice."""

_RANGE = re.compile(r"fires due from (\S+) to (\S+),")
_SINGLE = re.compile(r"^due at (\S+),")


class Arrivals:
    """Of one world at rest."""

    def __init__(self, world: Any, instances: dict[UUID, Any], events: Iterable[ProcessEvent]) -> None:
        self._world = world
        self._instances = instances
        self._told: dict[tuple[str, str], list[ProcessEvent]] = defaultdict(list)
        for event in events:
            if event.initiation_id is None:
                self._told[event.instance_id, event.job_identifier].append(event)

    def check(self) -> None:
        """P11, for what agents fire; raises ``Violation``."""
        for stream, shadow in self._instances.items():
            state = shadow.state
            if state.prepared or len(shadow.plan.versions) > 1:
                continue
            for unit in shadow.topology.units:
                match unit.job:
                    case ScheduleJob() as job:
                        self._schedule(stream, state.started_at, state.ended_at, job)
                    case FileJob() as job if not state.ended:
                        self._file(stream, shadow.state.started_at, job)
                    case _:
                        continue

    def _schedule(
        self, stream: UUID, started_at: Instant, ended_at: Instant | None, job: ScheduleJob
    ) -> None:
        site = self._world.agents[job.agent]
        timetable = Timetable(job.trigger, time_zone(self._world.case.time_zone))
        if timetable.cron is None:
            return
        told = self._told[str(stream), job.identifier]
        fired = {event.fired_at for event in told if event.outcome is not Outcome.FIRE_SKIPPED}
        skipped = [
            each for event in told if event.outcome is Outcome.FIRE_SKIPPED for each in _skipped(event)
        ]
        until = site.clock() - SLACK_MS if ended_at is None else ended_at
        for due in timetable.cron.fires_between(started_at - 1, until, timetable.zone):
            if due in fired or any(first <= due <= last for first, last in skipped):
                continue
            if job.trigger.drop_event_on_blackout and timetable.blackout.covers(due):
                continue
            raise Violation(f"P11: the fire of {job.identifier} at {due} for {stream} is not accounted for")

    def _file(self, stream: UUID, started_at: Instant, job: FileJob) -> None:
        site = self._world.agents[job.agent]
        told = "\n".join(event.details or "" for event in self._told[str(stream), job.identifier])
        by = site.clock() - SLACK_MS - 30_000
        for search in searches(job, {}):
            for file in site.places.look(search, job.directory_depth):
                seen_ms = max(file.modified_at + job.min_file_age_seconds * 1000, started_at)
                line = f"file {file.path}, {file.size} bytes, modified {rfc3339(file.modified_at)}"
                if seen_ms < by and line not in told:
                    raise Violation(f"{Path(file.path)} has come for {job.identifier} of {stream}, untold")


def _skipped(event: ProcessEvent) -> Iterator[tuple[Instant, Instant]]:
    details = event.details or ""
    if (found := _RANGE.search(details)) is not None:
        yield parse_rfc3339(found[1]), parse_rfc3339(found[2])
    elif (found := _SINGLE.search(details)) is not None:
        yield parse_rfc3339(found[1]), parse_rfc3339(found[1])
    elif event.fired_at is not None:
        yield event.fired_at, event.fired_at
