"""Fires the schedule jobs of armed plan instances, and accounts for every fire that was due."""

from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import structlog

from ...domain.instants import Instant
from ...domain.messages import Outcome, ProcessEvent, PublishedInstance
from ...domain.plan import ScheduleJob, StartupControl
from ...storage.segment_log import SegmentLogError
from ..pool import ActorPool, PooledActor
from ..timers import Clock
from .backoff import pause_ms
from .fire_marks import FireMarks, MarkKey, fire_id
from .instance_store import InstanceStore
from .ports import Alarms
from .provision_store import ProvisionStore
from .reports import Reports
from .telling import telling
from .triggers import Fired, InBlackout, Missed, Timetable, Verdict

_log = structlog.get_logger(__name__)

_CLOCK_WAS_WRONG_MS = 24 * 3_600_000


class Refresh(msgspec.Struct, frozen=True):
    """Instances or templates have changed."""


class Release(msgspec.Struct, frozen=True):
    """The active instances are known now: fires may begin."""


class Tick(msgspec.Struct, frozen=True):
    """Something is due, or to be tried again."""


class ReadSchedules(msgspec.Struct, frozen=True):
    """Answer a description of the schedules, for debugging."""


class _Entry:
    __slots__ = ("instance", "job", "next_due", "timetable")

    def __init__(self, instance: PublishedInstance, job: ScheduleJob, timetable: Timetable) -> None:
        self.instance = instance
        self.job = job
        self.timetable = timetable
        self.next_due: Instant | None = None


class SchedulesActor(PooledActor):
    """One for all schedules of an agent: what is due at the same time is reported in one write."""

    def __init__(
        self,
        *,
        pool: ActorPool,
        agent: str,
        host: str,
        instances: InstanceStore,
        provision: ProvisionStore,
        marks: FireMarks,
        reports: Reports,
        alarms: Alarms,
        clock: Clock,
        zone: ZoneInfo,
        on_failed: Callable[[], None],
    ) -> None:
        """``on_failed``: this actor is no more; one that replaces it begins from what is on disk."""
        super().__init__(pool=pool)
        self._on_failed = on_failed
        self._agent = agent
        self._host = host
        self._instances = instances
        self._provision = provision
        self._marks = marks
        self._reports = reports
        self._alarms = alarms
        self._clock = clock
        self._zone = zone
        self._released = False
        self._entries: dict[MarkKey, _Entry] = {}
        self._unwritten: list[ProcessEvent] = []
        self._failures = 0
        self._fired = 0
        self._last_error: str | None = None

    def on_receive(self, message: Refresh | Release | Tick | ReadSchedules) -> object:
        """Look what is due; or describe."""
        match message:
            case Refresh():
                self._refresh()
            case Release():
                self._released = True
                self._refresh()
            case Tick():
                self._look()
            case ReadSchedules():
                return self.snapshot()
        return None

    def on_failure(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: object
    ) -> None:
        """Pykka has logged it."""
        self._on_failed()

    def _refresh(self) -> None:
        if not self._released:
            return
        before, self._entries = self._entries, {}
        now = self._clock()
        for instance, job in self._armed_jobs():
            key = MarkKey(instance.instance_id, job.identifier)
            known = before.get(key)
            if known is not None and known.job == job and known.instance == instance:
                self._entries[key] = known
                continue
            entry = _Entry(instance, job, Timetable(job.trigger, self._zone))
            self._entries[key] = entry
            self._count_from(key, entry, known, now)
        self._look()

    def _armed_jobs(self) -> Iterator[tuple[PublishedInstance, ScheduleJob]]:
        for instance in self._instances.all():
            mine = set(instance.jobs)
            for job in self._provision.jobs(instance.plan):
                if (
                    isinstance(job, ScheduleJob)
                    and job.startup is StartupControl.AUTOMATIC
                    and job.identifier in mine
                ):
                    yield instance, job

    def _count_from(self, key: MarkKey, entry: _Entry, known: _Entry | None, now: Instant) -> None:
        """Fires count since the instance's start, the last one accounted for, or a new timetable."""
        mark = self._marks.find(key)
        if mark is None:
            started = entry.instance.started_at
            self._marks.advance(key, started - 1 if 0 < started <= now else now)
        elif mark > now + _CLOCK_WAS_WRONG_MS:
            _log.warning("fires were accounted for in the future", job=key.job, mark=mark, now=now)
            self._marks.set_back(key, now)
        elif known is not None and known.job.trigger != entry.job.trigger:
            self._marks.advance(key, now)
        entry.next_due = entry.timetable.next_due(self._mark(key))

    def _mark(self, key: MarkKey) -> Instant:
        return self._marks.find(key) or 0

    # -- what is due -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        now = self._clock()
        if not self._unwritten:
            for key, entry in self._entries.items():
                if entry.next_due is not None and entry.next_due <= now:
                    self._account(key, entry, now)
        try:
            self._write(now)
        except (SegmentLogError, OSError) as error:
            self._failures += 1
            self._last_error = str(error)
            _log.warning("fires not written", count=len(self._unwritten), error=str(error))
            self._wake_at(now + pause_ms(self._failures))
            return
        self._failures = 0
        self._last_error = None
        due = [entry.next_due for entry in self._entries.values() if entry.next_due is not None]
        if due:
            self._wake_at(min(due))

    def _account(self, key: MarkKey, entry: _Entry, now: Instant) -> None:
        for verdict in entry.timetable.account(self._mark(key), now):
            event = self._event(key, entry, verdict)
            if event is not None:
                self._unwritten.append(event)
            self._marks.advance(key, verdict.due)
        entry.next_due = entry.timetable.next_due(max(self._mark(key), now))

    def _write(self, now: Instant) -> None:
        """The events first: a mark without its event would be a fire lost."""
        if self._unwritten:
            self._reports.write(self._unwritten)
            self._fired += len(self._unwritten)
            self._unwritten = []
        armed = {key.instance_id for key in self._entries}
        self._marks.write(armed, now, self._reports.last_position)

    def _wake_at(self, at: Instant) -> None:
        self._alarms.set("schedules", at, telling(self.actor_ref, Tick()))

    # -- what is told ----------------------------------------------------------------------------------------

    def _event(self, key: MarkKey, entry: _Entry, verdict: Verdict) -> ProcessEvent | None:
        trigger = entry.job.trigger
        event = ProcessEvent(
            agent=self._agent,
            job=entry.job.name,
            instance_id=key.instance_id,
            plan=entry.instance.plan,
            id=fire_id(key, verdict.due),
            contexts=entry.instance.contexts.get(key.job, ()),
            host=self._host,
            group=trigger.group,
            fired_at=verdict.due,
            next_fire_at=entry.timetable.next_due(verdict.due),
            details=passthrough_details(trigger.passthrough),
        )
        match verdict:
            case Missed(reason=reason):
                _log.warning("fires missed", job=key.job, instance=key.instance_id, reason=reason)
                return _skipped(event, reason)
            case Fired() | InBlackout() if entry.instance.schedules_disabled:
                return _skipped(event, "schedules are disabled for the instance")
            case InBlackout(reason=reason) if trigger.drop_event_on_blackout:
                _log.info("fire dropped", job=key.job, instance=key.instance_id, reason=reason)
                return None
            case InBlackout(reason=reason):
                return msgspec.structs.replace(
                    event, successful=True, outcome=Outcome.IGNORED_IN_BLACKOUT, details=reason
                )
            case Fired():
                return msgspec.structs.replace(event, successful=True)

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of the schedules."""
        due = [entry.next_due for entry in self._entries.values() if entry.next_due is not None]
        return {
            "actor": "schedules",
            "mailbox": self.mailbox_depth,
            "released": self._released,
            "armed": len(self._entries),
            "next_due": min(due, default=None),
            "fired": self._fired,
            "unwritten": len(self._unwritten),
            "last_error": self._last_error,
        }


def _skipped(event: ProcessEvent, reason: str) -> ProcessEvent:
    return msgspec.structs.replace(event, outcome=Outcome.FIRE_SKIPPED, details=reason)


def passthrough_details(properties: dict[str, str]) -> str | None:
    """A job's pass-through properties, as they travel with its events."""
    return "\n".join(f"{name}={value}" for name, value in properties.items()) or None
