"""Looks for the files that armed plan instances wait for.

A file counts when it is old enough and has not changed since the look before. All instances that wait for it
are told of it together; if it is to be moved, that is noted first, then done, then told, so that no crash
loses a file that was moved.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pykka
import structlog

from ...domain.instants import Instant, rfc3339
from ...domain.messages import ProcessEvent, PublishedInstance
from ...domain.plan import FileJob, StartupControl
from ...storage.segment_log import SegmentLogError
from ..file_notices import Notices
from ..timers import Clock
from .backoff import pause_ms
from .file_marks import Arrival, FileMarks
from .file_places import HOST_PLACES, FilePlaces
from .file_search import FoundFile, PatternInvalid, in_order, literal_roots, searches
from .fire_marks import MarkKey
from .instance_store import InstanceStore
from .ports import Alarms
from .provision_store import ProvisionStore
from .reports import Reports
from .schedules import passthrough_details
from .telling import telling
from .triggers import Timetable

_log = structlog.get_logger(__name__)

_SETTLE_MS = 1_000
"""How soon a file that has just been seen is looked at again."""

_BLACKOUT_LOOK_MS = 10_000
_WITHOUT_CRON_MS = 10_000
_MOST_NAMED = 50
_BATCH = 500
"""Arrivals that are moved and told in one go."""


class RefreshWatchers(msgspec.Struct, frozen=True):
    """Instances or templates have changed."""


class ReleaseWatchers(msgspec.Struct, frozen=True):
    """The active instances are known now: files may be reported."""


class LookForFiles(msgspec.Struct, frozen=True):
    """Some watcher is due."""


class FilesChanged(msgspec.Struct, frozen=True):
    """The file system says that something has changed in a directory that is watched."""


class ReadWatchers(msgspec.Struct, frozen=True):
    """Answer a description of the watchers, for debugging."""


class _Watcher:
    """One job, with all instances that wait for its files."""

    def __init__(self, job: FileJob, plan: str, timetable: Timetable) -> None:
        self.job = job
        self.plan = plan
        self.timetable = timetable
        self.instances: list[PublishedInstance] = []
        self.next_look: Instant = 0
        self.last_look: Instant = 0
        self.before: dict[str, FoundFile] = {}
        """What the look before saw."""


class FileWatchersActor(pykka.ThreadingActor):
    """One for all file watchers of an agent, on a thread of its own: file systems may take their time."""

    use_daemon_thread = True

    def __init__(
        self,
        *,
        agent: str,
        host: str,
        instances: InstanceStore,
        provision: ProvisionStore,
        marks: FileMarks,
        reports: Reports,
        alarms: Alarms,
        clock: Clock,
        zone: ZoneInfo,
        open_notices: Callable[[Callable[[], None]], Notices],
        on_failed: Callable[[], None],
        places: FilePlaces = HOST_PLACES,
    ) -> None:
        """``on_failed``: this actor is no more; one that replaces it begins from what is on disk."""
        super().__init__()
        self._agent = agent
        self._host = host
        self._instances = instances
        self._provision = provision
        self._marks = marks
        self._reports = reports
        self._alarms = alarms
        self._clock = clock
        self._zone = zone
        self._notices = open_notices(telling(self.actor_ref, FilesChanged()))
        self._on_failed = on_failed
        self._places = places
        self._released = False
        self._refreshed_for: tuple[int, int] | None = None
        self._roots: set[Path] = set()
        self._watchers: dict[tuple[str, str], _Watcher] = {}
        self._failures = 0
        self._reported = 0
        self._last_error: str | None = None

    def on_receive(
        self, message: RefreshWatchers | ReleaseWatchers | LookForFiles | FilesChanged | ReadWatchers
    ) -> object:
        """Look for files; or describe."""
        match message:
            case RefreshWatchers():
                if self._refreshed_for != (self._instances.version, self._provision.version):
                    self._refresh()
            case ReleaseWatchers():
                self._released = True
                self._refresh()
            case FilesChanged():
                for watcher in self._watchers.values():
                    watcher.next_look = min(watcher.next_look, watcher.last_look + _SETTLE_MS)
            case ReadWatchers():
                return self.snapshot()
            case LookForFiles():
                _log.debug("file watchers due")
        if self._released:
            self._look_at_all()
        return None

    def on_stop(self) -> None:
        """Watch nothing any more."""
        self._notices.close()

    def on_failure(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: object
    ) -> None:
        """Pykka has logged it."""
        self._notices.close()
        self._on_failed()

    def _refresh(self) -> None:
        if not self._released:
            return
        self._refreshed_for = self._instances.version, self._provision.version
        before, self._watchers = self._watchers, {}
        for instance, job in self._armed_jobs():
            name = (instance.plan, job.name)
            watcher = self._watchers.get(name)
            if watcher is None:
                watcher = _Watcher(job, instance.plan, Timetable(job.trigger, self._zone))
                known = before.get(name)
                if known is not None and known.job == job:
                    watcher.before = known.before
                self._watchers[name] = watcher
            watcher.instances.append(instance)
        self._roots = {
            root
            for watcher in self._watchers.values()
            for instance in watcher.instances
            for root in self._roots_of(watcher, instance)
        }

    def _roots_of(self, watcher: _Watcher, instance: PublishedInstance) -> set[Path]:
        try:
            return literal_roots(searches(watcher.job, instance.parameters))
        except PatternInvalid as error:
            _log.error("file watcher cannot look", job=watcher.job.name, error=str(error))
            return set()

    def _armed_jobs(self) -> Iterator[tuple[PublishedInstance, FileJob]]:
        for instance in self._instances.all():
            mine = set(instance.jobs)
            for job in self._provision.jobs(instance.plan):
                if (
                    isinstance(job, FileJob)
                    and job.startup is StartupControl.AUTOMATIC
                    and job.identifier in mine
                ):
                    yield instance, job

    # -- looking ---------------------------------------------------------------------------------------------

    def _look_at_all(self) -> None:
        now = self._clock()
        self._notices.watch(self._roots)
        try:
            self._finish_moves()
            for watcher in self._watchers.values():
                if watcher.next_look <= now or now < watcher.last_look:  # else the clock was set back
                    self._look(watcher, now)
        except (SegmentLogError, OSError) as error:
            self._failures += 1
            self._last_error = str(error)
            _log.warning("files not reported, tried again", error=str(error))
            self._wake_at(now + pause_ms(self._failures))
            return
        self._failures = 0
        self._last_error = None
        if self._watchers:
            self._wake_at(min(watcher.next_look for watcher in self._watchers.values()))

    def _look(self, watcher: _Watcher, now: Instant) -> None:
        watcher.last_look = now
        due = watcher.timetable.next_due(now)
        watcher.next_look = now + _WITHOUT_CRON_MS if due is None else due
        if watcher.timetable.blackout.covers(now):
            watcher.next_look = min(watcher.next_look, now + _BLACKOUT_LOOK_MS)
            return
        found = self._found(watcher)
        ready: dict[MarkKey, list[FoundFile]] = {}
        for key, file in found:
            if not self._marks.is_new(key, file):
                continue
            if watcher.before.get(file.path) == file and self._is_old_enough(watcher, file, now):
                ready.setdefault(key, []).append(file)
            else:
                watcher.next_look = min(watcher.next_look, now + self._settles_in(watcher, file, now))
        watcher.before = {file.path: file for _, file in found}
        try:
            self._report(watcher.job, self._arrivals(watcher, ready, now))
        except (SegmentLogError, OSError):
            watcher.next_look = now  # what could not be told is not to wait for the next look of its own
            raise

    def _is_old_enough(self, watcher: _Watcher, file: FoundFile, now: Instant) -> bool:
        return now - file.modified_at >= watcher.job.min_file_age_seconds * 1000

    def _settles_in(self, watcher: _Watcher, file: FoundFile, now: Instant) -> int:
        """When a file could count."""
        return max(_SETTLE_MS, file.modified_at + watcher.job.min_file_age_seconds * 1000 - now)

    def _found(self, watcher: _Watcher) -> list[tuple[MarkKey, FoundFile]]:
        found: list[tuple[MarkKey, FoundFile]] = []
        for instance in watcher.instances:
            key = MarkKey(instance.instance_id, watcher.job.identifier)
            try:
                wanted = searches(watcher.job, instance.parameters)
            except PatternInvalid as error:
                self._cannot_look(watcher, error)
                continue
            for search in wanted:
                files = self._places.look(search, max(watcher.job.directory_depth, 1))
                try:
                    found.extend((key, file) for file in files)  # also those before an error
                except OSError as error:
                    self._cannot_look(watcher, error)
        return found

    def _cannot_look(self, watcher: _Watcher, error: PatternInvalid | OSError) -> None:
        self._last_error = str(error)
        _log.warning("file watcher cannot look", job=watcher.job.name, error=str(error))

    def _arrivals(
        self, watcher: _Watcher, ready: dict[MarkKey, list[FoundFile]], now: Instant
    ) -> list[Arrival]:
        """Instances that wait for the same files are told together, for after that these may be moved."""
        directory = watcher.job.move_directory
        moves = directory is not None and directory not in {"", "."}
        by_files: dict[tuple[FoundFile, ...], list[MarkKey]] = {}
        for key, files in ready.items():
            unique = in_order(list({file.path: file for file in files}.values()), watcher.job)
            for part in [(file,) for file in unique] if moves else [tuple(unique)]:
                by_files.setdefault(part, []).append(key)
        taken: set[Path] = set()
        return [
            Arrival(
                plan=watcher.plan,
                job=watcher.job.name,
                keys=tuple(keys),
                files=files,
                targets=self._targets(files, directory or "", now, taken) if moves else (),
            )
            for files, keys in by_files.items()
        ]

    def _targets(
        self, files: tuple[FoundFile, ...], directory: str, now: Instant, taken: set[Path]
    ) -> tuple[str, ...]:
        """Where each is moved to; files of one name that come at once get names of their own."""
        targets = []
        for file in files:
            free = target = self._places.free_target(Path(file.path), Path(directory), now)
            number = 1
            while free in taken:
                number += 1
                free = target.with_name(f"{target.stem}_{number}{target.suffix}")
            taken.add(free)
            targets.append(str(free))
        return tuple(targets)

    # -- reporting -------------------------------------------------------------------------------------------

    def _report(self, job: FileJob, arrivals: list[Arrival]) -> None:
        """Many at once, for each needs the disk; not all at once, for so much is done again after a crash."""
        for begin in range(0, len(arrivals), _BATCH):
            batch = arrivals[begin : begin + _BATCH]
            if batch[0].targets:
                batch = self._moved(batch)
            self._tell([(arrival, job) for arrival in batch])

    def _moved(self, arrivals: list[Arrival]) -> list[Arrival]:
        """What of it could be moved; the rest is tried again at the next look."""
        before = list(self._marks.moving)
        self._marks.moving += arrivals
        self._marks.write(self._armed())
        done = []
        for arrival in arrivals:
            pairs = zip(arrival.files, arrival.targets, strict=True)
            moved = _only(arrival, [pair for pair in pairs if self._move(*pair)])
            if moved.files:
                done.append(moved)
        self._marks.moving = before + done
        return done

    def _move(self, file: FoundFile, target: str) -> bool:
        try:
            self._places.move(Path(file.path), Path(target))
        except OSError as error:
            self._last_error = str(error)
            _log.warning("file not moved", file=file.path, target=target, error=str(error))
            return False
        return True

    def _tell(self, arrivals: list[tuple[Arrival, FileJob]]) -> None:
        """Events first, marks second: told twice is harmless, for the events are the same."""
        events = [self._event(key, arrival, job) for arrival, job in arrivals for key in arrival.keys]
        if events:
            self._reports.write(events)
        self._reported += len(events)
        for arrival, _ in arrivals:
            self._marks.note(arrival)
        told = {arrival for arrival, _ in arrivals}
        self._marks.moving = [each for each in self._marks.moving if each not in told]
        self._marks.write(self._armed())
        for arrival, job in arrivals:
            for file in arrival.files:
                _log.info("file came", file=file.path, job=job.name, instances=len(arrival.keys))

    def _finish_moves(self) -> None:
        """After a crash or a full disk: tell of files that have been moved, forget those that have not."""
        if not self._marks.moving:
            return
        moved = []
        for arrival in self._marks.moving:
            pairs = list(zip(arrival.files, arrival.targets, strict=True))
            done = [each for each in pairs if self._places.finish(Path(each[0].path), Path(each[1]))]
            job = self._provision.find(arrival.plan, arrival.job)
            if done and isinstance(job, FileJob):
                moved.append((_only(arrival, done), job))
            elif done:
                _log.warning("moved files are waited for no more", job=arrival.job, files=len(done))
        self._marks.moving = [arrival for arrival, _ in moved]
        self._tell(moved)

    def _armed(self) -> set[str]:
        return {instance.instance_id for instance in self._instances.all()}

    def _wake_at(self, at: Instant) -> None:
        self._alarms.set("file-watchers", at, telling(self.actor_ref, LookForFiles()))

    def _event(self, key: MarkKey, arrival: Arrival, job: FileJob) -> ProcessEvent:
        instance = self._instances.find(key.instance_id)
        first = arrival.files[0]
        name = hashlib.sha256(msgspec.json.encode(first)).hexdigest()[:32]
        return ProcessEvent(
            agent=self._agent,
            job=job.name,
            instance_id=key.instance_id,
            plan=arrival.plan,
            id=f"{key.instance_id}/{key.job}/file/{name}",
            contexts=instance.contexts.get(key.job, ()) if instance is not None else (),
            host=self._host,
            group=job.trigger.group,
            successful=True,
            fired_at=self._clock(),
            details=_details(arrival, job),
        )

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of the watchers."""
        return {
            "actor": "file-watchers",
            "released": self._released,
            "armed": sum(len(watcher.instances) for watcher in self._watchers.values()),
            "next_look": min((watcher.next_look for watcher in self._watchers.values()), default=None),
            "reported": self._reported,
            "moving": len(self._marks.moving),
            "last_error": self._last_error,
        }


def _only(arrival: Arrival, pairs: list[tuple[FoundFile, str]]) -> Arrival:
    """An arrival of these files alone, with where they went."""
    files, targets = (tuple(each) for each in zip(*pairs, strict=True)) if pairs else ((), ())
    return msgspec.structs.replace(arrival, files=files, targets=targets)


def _details(arrival: Arrival, job: FileJob) -> str:
    lines = []
    for at, file in enumerate(arrival.files[:_MOST_NAMED]):
        moved = f", moved to {arrival.targets[at]}" if arrival.targets else ""
        lines.append(f"file {file.path}, {file.size} bytes, modified {rfc3339(file.modified_at)}{moved}")
    if len(arrival.files) > _MOST_NAMED:
        lines.append(f"and {len(arrival.files) - _MOST_NAMED} more files")
    properties = passthrough_details(job.trigger.passthrough)
    return "\n".join([*lines, properties] if properties else lines)
