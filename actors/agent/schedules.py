"""Fires the schedule jobs of armed plan instances, and accounts for every fire that was due."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeGuard
from zoneinfo import ZoneInfo

import msgspec
import structlog

from ...domain.instants import Instant
from ...domain.messages import Outcome, ProcessEvent, ProvisionedJobs, PublishedInstance
from ...domain.plan import ScheduleJob, StartupControl
from ...storage.segment_log import SegmentLogError
from ..pool import ActorPool, PooledActor
from ..timers import Clock
from .backoff import pause_ms
from .fire_marks import FireMarks, MarkKey, fire_id
from .instance_store import InstanceStore
from .ports import Alarms
from .provision_store import AgentJob, ProvisionStore
from .reports import Reports
from .telling import telling
from .triggers import Fired, InBlackout, Missed, Timetable, Verdict

_log = structlog.get_logger(__name__)

_CLOCK_WAS_WRONG_MS = 24 * 3_600_000
_REMOVAL_COMES_MS = 10 * 60_000
"""For so long the removal of an instance that is not listed any more is waited for: it says when it ended."""


class Refresh(msgspec.Struct, frozen=True):
    """Instances or templates have changed."""


class Release(msgspec.Struct, frozen=True):
    """The active instances are known now: fires may begin."""


class Tick(msgspec.Struct, frozen=True):
    """Something is due, or to be tried again."""


class Disarm(msgspec.Struct, frozen=True):
    """Tell what was due for these instances and did not happen, then forget them.

    Answers why that could not be done, or ``None`` when it is: then everything is on disk.
    """

    instance_ids: tuple[str, ...]
    ended_at: Instant | None = None
    """When they ended; ``None``: nobody knows, so now."""
    order: int | None = None
    """The number of the order to do so, if it has one."""


class Retime(msgspec.Struct, frozen=True):
    """The jobs of these plans are about to be replaced: account for what was due by the timetables of before.

    Answers as ``Disarm`` does.
    """

    provisioned: tuple[ProvisionedJobs, ...]


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
        self._refreshed_for: tuple[int, int] | None = None
        self._entries: dict[MarkKey, _Entry] = {}
        self._unwritten: list[ProcessEvent] = []
        self._failures = 0
        self._fired = 0
        self._last_error: str | None = None

    def on_receive(
        self, message: Refresh | Release | Tick | Disarm | Retime | ReadSchedules
    ) -> dict[str, Any] | Exception | None:
        """Look what is due; or describe."""
        match message:
            case Refresh():
                if self._refreshed_for != (self._instances.version, self._provision.version):
                    self._refresh()
            case Release():
                self._released = True
                self._refresh()
            case Tick():
                self._look()
            case Disarm():
                return self._attempt(lambda now: self._disarm(message, now))
            case Retime(provisioned=provisioned):
                return self._attempt(lambda now: self._retime(provisioned, now))
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
        self._refreshed_for = self._instances.version, self._provision.version
        before, self._entries = self._entries, {}
        now = self._clock()
        for instance, job in self._jobs_of(self._instances.all()):
            key = MarkKey(instance.instance_id, job.identifier)
            known = before.get(key)
            if known is not None and known.job == job and known.instance == instance:
                self._entries[key] = known
                continue
            self._entries[key] = self._entry(key, instance, job, now)
        self._look()

    def _jobs_of(
        self, instances: Iterable[PublishedInstance]
    ) -> Iterator[tuple[PublishedInstance, ScheduleJob]]:
        for instance in instances:
            mine = set(instance.jobs)
            for job in self._provision.jobs(instance.plan):
                if _fires(job) and job.identifier in mine:
                    yield instance, job

    def _entry(self, key: MarkKey, instance: PublishedInstance, job: ScheduleJob, now: Instant) -> _Entry:
        """Fires count since the instance's start, or the last one that was accounted for."""
        mark = self._marks.find(key)
        if mark is None:
            started = instance.started_at
            self._marks.advance(key, started - 1 if 0 < started <= now else now)
        elif mark > now + _CLOCK_WAS_WRONG_MS:
            _log.warning("fires were accounted for in the future", job=key.job, mark=mark, now=now)
            self._marks.set_back(key, now)
        entry = _Entry(instance, job, Timetable(job.trigger, self._zone))
        entry.next_due = entry.timetable.next_due(self._mark(key))
        return entry

    def _mark(self, key: MarkKey) -> Instant:
        return self._marks.find(key) or 0

    # -- what is due -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._attempt(self._fire) is None:
            due = [*self._due(), *(at + _REMOVAL_COMES_MS for at in self._instances.unlisted().values())]
            if due:
                self._wake_at(min(due))

    def _due(self) -> list[Instant]:
        return [entry.next_due for entry in self._entries.values() if entry.next_due is not None]

    def _fire(self, now: Instant) -> None:
        if not self._unwritten:
            for key, entry in self._entries.items():
                if entry.next_due is not None and entry.next_due <= now:
                    self._account(key, entry, now)
        self._write(now)
        for instance_id, unlisted_at in self._instances.unlisted().items():
            if unlisted_at + _REMOVAL_COMES_MS <= now:
                self._disarm(Disarm((instance_id,), unlisted_at), now)

    def _attempt(self, work: Callable[[Instant], None]) -> Exception | None:
        """What the disk does not take is kept and tried again, soon."""
        now = self._clock()
        try:
            work(now)
        except (SegmentLogError, OSError) as error:
            self._failures += 1
            self._last_error = str(error)
            _log.warning("fires not written", count=len(self._unwritten), error=str(error))
            self._wake_at(now + pause_ms(self._failures))
            return error
        self._failures = 0
        self._last_error = None
        return None

    def _account(self, key: MarkKey, entry: _Entry, now: Instant) -> None:
        self._tell(key, entry, entry.timetable.account(self._mark(key), now))
        entry.next_due = entry.timetable.next_due(max(self._mark(key), now))

    def _tell(self, key: MarkKey, entry: _Entry, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            event = self._event(key, entry, verdict)
            if event is not None:
                self._unwritten.append(event)
            self._marks.advance(key, verdict.due)

    def _write(self, now: Instant) -> None:
        """The events first: a mark without its event would be a fire lost."""
        if self._unwritten:
            self._reports.write(self._unwritten)
            self._fired += len(self._unwritten)
            self._unwritten = []
        armed = {each.instance_id for each in self._instances.kept()}
        self._marks.write(armed, now, self._reports.last_position)

    # -- what changes ----------------------------------------------------------------------------------------

    def _disarm(self, wanted: Disarm, now: Instant) -> None:
        """What was due is told before an instance is forgotten: killed between, it is tried again."""
        ids = {each for each in wanted.instance_ids if not self._instances.overtaken(each, wanted.order)}
        until = now if wanted.ended_at is None else min(wanted.ended_at, now)
        leaving = [each for each in self._instances.kept() if each.instance_id in ids]
        for instance, job in self._jobs_of(leaving):
            key = MarkKey(instance.instance_id, job.identifier)
            entry = self._entries.get(key) or self._entry(key, instance, job, now)
            self._tell(key, entry, entry.timetable.left_over(self._mark(key), until))
        self._write(now)
        for instance_id in sorted(ids):
            self._instances.remove(instance_id, now, wanted.order)
        self._entries = {
            key: entry for key, entry in self._entries.items() if self._instances.find(key.instance_id)
        }

    def _retime(self, provisioned: Sequence[ProvisionedJobs], now: Instant) -> None:
        """What a timetable said until now is told; what takes its place counts from now."""
        for given in provisioned:
            held = [job for job in self._provision.jobs(given.plan) if _fires(job)]
            after = {job.identifier: job.trigger for job in given.jobs if _fires(job)}
            new = after.keys() - {job.identifier for job in held}
            instances = [each for each in self._instances.kept() if each.plan == given.plan]
            for instance, job in self._jobs_of(instances):
                if after.get(job.identifier) != job.trigger:
                    key = MarkKey(instance.instance_id, job.identifier)
                    self._account(key, self._entries.get(key) or self._entry(key, instance, job, now), now)
                    self._marks.advance(key, now)
            self._count_anew(
                {MarkKey(each.instance_id, job) for each in instances for job in each.jobs if job in new}, now
            )
        self._write(now)

    def _count_anew(self, keys: Iterable[MarkKey], now: Instant) -> None:
        """A timetable that was away said nothing meanwhile; one that is new counts from the start."""
        for key in keys:
            if self._marks.find(key) is not None:
                self._marks.advance(key, now)

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
        return {
            "actor": "schedules",
            "mailbox": self.mailbox_depth,
            "released": self._released,
            "armed": len(self._entries),
            "next_due": min(self._due(), default=None),
            "fired": self._fired,
            "unwritten": len(self._unwritten),
            "last_error": self._last_error,
        }


def _fires(job: AgentJob) -> TypeGuard[ScheduleJob]:
    """Whether a clock starts it."""
    return isinstance(job, ScheduleJob) and job.startup is StartupControl.AUTOMATIC


def _skipped(event: ProcessEvent, reason: str) -> ProcessEvent:
    return msgspec.structs.replace(event, outcome=Outcome.FIRE_SKIPPED, details=reason)


def passthrough_details(properties: dict[str, str]) -> str | None:
    """A job's pass-through properties, as they travel with its events."""
    return "\n".join(f"{name}={value}" for name, value in properties.items()) or None
