"""An agent put together: its logs, its stores, the launcher and the actors between them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import pykka
import structlog

from ...domain.instants import Instant, rfc3339
from ...domain.messages import Initiation, ProvisionedJobs, PublishedInstance
from ...storage.segment_log import SegmentLog, SegmentLogError
from ..timers import Clock
from .acceptance import Acceptance
from .board import RunBoard, RunRow
from .config import AgentConfig
from .dead_letters import DeadLetter, DeadLetters
from .disk_room import DiskRoom, Shortage
from .environment import OutputPaths
from .file_marks import FileMarks
from .file_watchers import FileWatchersActor, ReadWatchers, RefreshWatchers, ReleaseWatchers
from .fire_marks import FireMarks, MarksDamaged
from .host import THIS_HOST, Host, host_zone
from .instance_store import InstanceStore
from .intake import Accepted, Intake
from .job_queue import Surroundings
from .job_queues import JobQueues
from .orders import Order
from .outbound import OutboundActor, OutboundDoor, ReadOutbound
from .ports import Announcement, DashboardClient
from .preparation import Preparation
from .provision_store import ProvisionStore
from .recovery import find_what_was
from .registration import ReadRegistration, RegistrationActor
from .reports import Reports, Waiting
from .retirement import ReadRetirement, RetirementActor
from .run_reports import RunReporter
from .schedules import Disarm, ReadSchedules, Refresh, Release, Retime, SchedulesActor
from .seal import Seal
from .slots import Slots
from .telling import tell_if_alive

_log = structlog.get_logger(__name__)

_POOL_THREADS = 8
_STOP_SECONDS = 10.0
_RESTART_MS = 1_000
_ASK_SECONDS = 10.0


class Agent:
    """One agent. ``start`` once, ``close`` once; everything else from any thread in between."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        client: DashboardClient,
        clock: Clock,
        version: str,
        host: Host = THIS_HOST,
    ) -> None:
        """Open what is on disk and find out what has become of what ran.

        Raises ``LogInUse`` when another process serves the directory, ``LogCorrupted``, ``OSError``.
        """
        self.config = config
        self._clock = clock
        self._client = client
        self._version = version
        self._host = host
        files = host.files
        self._zone = host_zone() if config.time_zone is None else host_zone({"TZ": config.time_zone})
        self._url = ""
        self._started = False
        self._instances_known = False
        data = config.data_dir
        for directory in (data, data / "jobs", data / "output"):
            files.make_directory(directory)
        self._logs = [
            SegmentLog.open(data / "log" / name, files=files)[0]
            for name in ("inbound", "outbound", "dead-letters")
        ]
        inbound, outbound, dead_letters = self._logs
        self._door = OutboundDoor()
        self._board = RunBoard()
        self._slots = Slots(config.max_jobs)
        self._queues = JobQueues()
        self._reports = Reports(outbound, self._door.wake)
        self._dead_letters = DeadLetters(dead_letters)
        self._intake = Intake(inbound, self._enqueue)
        self._provision = ProvisionStore(data / "provisioned.json", self._refresh, files)
        self._instances = InstanceStore(data / "instances", self._refresh, files)
        self._acceptance = Acceptance(config.name, self._intake, self._provision, self._zone)
        self._marks = self._read_marks()
        self._file_marks = FileMarks(data / "files.json", files)
        self._seal = Seal(data / "secrets.key", files)
        self._preparation = Preparation(
            agent=config.name,
            output_dir=(data / "output").resolve(),
            jobs_dir=(data / "jobs").resolve(),
            own_environment=host.environment,
            inherited=config.environment,
            timeout_minutes=config.timeout_minutes,
            seal=self._seal,
        )
        self._timers = host.timers(clock)
        self._room = DiskRoom(self._timers, clock)
        self._pool = host.pool(_POOL_THREADS)
        self._launcher = host.launcher(
            data / "runs",
            on_started=self._queues.on_started,
            on_finished=self._queues.on_finished,
            on_no_room=self._queues.on_no_room,
            kill_grace_seconds=config.kill_grace_seconds,
        )

    # -- life ------------------------------------------------------------------------------------------------

    def start(self, url: str) -> None:
        """Take up what was under way, make this agent known under its URL, let everything run."""
        self._url = url
        self._timers.start()
        self._retirement = RetirementActor.start(
            pool=self._pool,
            intake=self._intake,
            launcher=self._launcher,
            alarms=self._timers,
            clock=self._clock,
        )
        before = find_what_was(self._intake, self._reports, self._launcher, self._slots)
        for ended in before.ended:
            self._retirement.tell(ended)
        self._queues.open(self._surroundings(), before.orders)
        self._schedules = self._start_schedules()
        self._file_watchers = self._start_file_watchers()
        self._outbound = OutboundActor.start(
            reports=self._reports,
            dead_letters=self._dead_letters,
            client=self._client,
            alarms=self._timers,
            clock=self._clock,
            woken=self._door.woken,
            stopping=self._door.stopping,
        )
        self._door.connect(self._outbound)
        self._registration = RegistrationActor.start(
            client=self._client,
            announcement=self._announcement,
            begin_asking=self._instances.mark,
            on_instances=self._take_instances,
            on_heard=self._door.heard,
            alarms=self._timers,
            clock=self._clock,
            heartbeat_ms=round(self.config.heartbeat_seconds * 1000),
        )
        self._started = True
        _log.info("agent started", name=self.config.name, url=url, taken_up=len(before.orders))

    def _start_schedules(self) -> "pykka.ActorRef[SchedulesActor]":
        return SchedulesActor.start(
            pool=self._pool,
            agent=self.config.name,
            host=self._host.name,
            instances=self._instances,
            provision=self._provision,
            marks=self._marks,
            reports=self._reports,
            alarms=self._timers,
            clock=self._clock,
            zone=self._zone,
            on_failed=lambda: self._timers.set(
                "restart", self._clock() + _RESTART_MS, self._restart_schedules
            ),
        )

    def _start_file_watchers(self) -> "pykka.ActorRef[FileWatchersActor]":
        return FileWatchersActor.start(
            agent=self.config.name,
            host=self._host.name,
            instances=self._instances,
            provision=self._provision,
            marks=self._file_marks,
            reports=self._reports,
            alarms=self._timers,
            clock=self._clock,
            zone=self._zone,
            open_notices=self._host.notices,
            places=self._host.places,
            on_failed=lambda: self._timers.set(
                "restart file watchers", self._clock() + _RESTART_MS, self._restart_file_watchers
            ),
        )

    def _restart_file_watchers(self) -> None:
        """Supervision: what has been reported and what is being moved stands on disk."""
        self._file_watchers = self._start_file_watchers()
        if self._instances_known:
            self._file_watchers.tell(ReleaseWatchers())

    def _read_marks(self) -> FireMarks:
        marks = FireMarks(self.config.data_dir / "fires.json", self._host.files)
        marks.bring_forward(self._reports.reported(marks.reported_through))
        return marks

    def _restart_schedules(self) -> None:
        """Supervision: what stands on disk counts, so nothing is fired twice or left out."""
        try:
            self._marks = self._read_marks()
        except (MarksDamaged, SegmentLogError, OSError) as error:
            _log.error("schedules cannot be begun anew yet", error=str(error))
            self._timers.set("restart", self._clock() + _RESTART_MS, self._restart_schedules)
            return
        self._schedules = self._start_schedules()
        if self._instances_known:
            self._schedules.tell(Release())

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            pool=self._pool,
            reports=self._reports,
            launcher=self._launcher,
            slots=self._slots,
            room=self._room,
            board=self._board,
            alarms=self._timers,
            clock=self._clock,
            zone=self._zone,
            reporter=RunReporter(self.config.name, self._host.name),
            preparation=self._preparation,
            retirement=self._retirement,
        )

    def close(self) -> None:
        """Finish what is in hand and let go; the commands run on."""
        self._timers.close()
        self._launcher.close()
        if self._started:
            self._stop_actors()
        self._pool.close()
        self._client.close()
        for log in self._logs:
            log.close()
        _log.info("agent stopped", name=self.config.name)

    def _stop_actors(self) -> None:
        self._door.close()
        self._registration.stop(block=False)
        self._queues.close()
        for actor in (self._retirement, self._schedules):
            actor.stop(block=False)
        for waiting in (self._outbound, self._registration, self._file_watchers):
            try:
                waiting.stop(block=True, timeout=_STOP_SECONDS)
            except pykka.Timeout:
                _log.warning("still busy, left behind", actor=str(waiting))

    # -- what the dashboard asks -----------------------------------------------------------------------------

    def initiate(self, initiations: Sequence[Initiation]) -> list[str | None]:
        """Have jobs run: for each why it is refused for good, or ``None`` if it is on disk and will be done.

        Raises ``LogUnavailable`` when it is not known whether all are on disk, ``OSError`` and
        ``KeyFileUnusable`` when secrets among them cannot be kept: give them again.
        """
        taken: list[Initiation] = []
        refusals: list[str | None] = []
        for initiation in initiations:
            known = self._acceptance.of_initiation(initiation)
            if isinstance(known, str):
                refusals.append(known)
            else:
                refusals.append(None)
                taken.append(self._seal.sealed(known))
        if taken:
            self._intake.accept(taken, self._clock(), reports_after=self._reports.last_position)
        return refusals

    def initiate_unnamed(self, initiation: Initiation) -> str | None:
        """As ``initiate``, for one without an id of its own, from a dashboard that gives none.

        Job, instance, contexts and catalyst are its id for as long as it is not finished; after that, the
        same again is another.
        """
        subject = (
            initiation.plan,
            initiation.instance_id,
            initiation.job_identifier,
            initiation.contexts,
            initiation.catalyst,
        )
        name = hashlib.sha256(msgspec.json.encode(subject)).hexdigest()[:32]
        number = 1
        while self._intake.find(f"{name}-{number}") and self._board.find(f"{name}-{number}") is None:
            number += 1
        named = msgspec.structs.replace(initiation, id=f"{name}-{number}")
        return self.initiate([named])[0]

    def _enqueue(self, accepted: Sequence[Accepted]) -> None:
        for each in accepted:
            self._queues.add(Order(accepted=each))

    # An ``order`` is the number that a dashboard of ours gives to what it tells: it says what is late.

    def provision(self, provisioned: Sequence[ProvisionedJobs], *, order: int | None = None) -> list[str]:
        """Replace the jobs of these plans, all or none; what is wrong with them, if anything.

        Raises as ``remove`` does when it could not be made durable.
        """
        problems = [problem for plan in provisioned for problem in self._acceptance.of_jobs(plan)]
        if not problems:
            self._ask_schedules(Retime(tuple(provisioned)))
            self._provision.replace(provisioned, order)
        return problems

    def withdraw(self, plan: str, *, order: int | None = None) -> None:
        """Forget a plan's jobs; what was due of them has been told of then. Raises as ``remove`` does."""
        self._ask_schedules(Retime((ProvisionedJobs(plan=plan, jobs=()),)))
        self._provision.remove(plan, order)

    def publish(self, instances: Sequence[PublishedInstance], *, order: int | None = None) -> None:
        """Let schedules and file watchers fire for these instances; raises ``OSError``."""
        self._instances.save([self._acceptance.of_instance(each) for each in instances], order)

    def remove(self, instance_id: str, *, ended_at: Instant | None = None, order: int | None = None) -> None:
        """Let nothing fire for an instance any more; what was due until it ended has been told of then.

        Raises ``LogUnavailable`` and ``OSError``, and then it may still be armed.
        """
        self._ask_schedules(Disarm((instance_id,), ended_at, order))

    def remove_all(self) -> None:
        """Let nothing fire any more; as ``remove``."""
        self._ask_schedules(Disarm(tuple(each.instance_id for each in self._instances.kept())))

    def _ask_schedules(self, message: Disarm | Retime) -> None:
        try:
            error: Any = self._schedules.ask(message, timeout=_ASK_SECONDS)
        except (pykka.ActorDeadError, pykka.Timeout) as gone:
            raise TimeoutError("the schedules are busy, or begin anew") from gone
        if error is not None:
            raise error

    def kill(self, initiation_id: str, *, force: bool) -> bool:
        """End a run, or take it out of its queue; ``False`` if there is neither.

        Raises ``OSError``, and ``LogUnavailable`` when it is out of its queue and that is not on disk yet.
        """
        return self._queues.kill(initiation_id, force=force)

    def kill_pid(self, pid: int, *, force: bool) -> bool:
        """End the run whose command has this pid; ``False`` if it is none of ours. Raises ``OSError``."""
        initiation_id = self._launcher.find_by_pid(pid)
        return initiation_id is not None and self._queues.kill(initiation_id, force=force)

    # -- what people ask -------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether what was under way before has been taken up."""
        return self._started

    @property
    def shortage(self) -> Shortage | None:
        """Whether initiations wait for room on the disk."""
        return self._room.shortage()

    def runs(self) -> list[RunRow]:
        """What runs and what waits."""
        return self._board.rows()

    def output(self, initiation_id: str) -> OutputPaths | None:
        """Where a run writes to; ``None`` when the initiation is not known, or no longer."""
        accepted = self._intake.find(initiation_id)
        return None if accepted is None else self._preparation.paths(accepted)

    def undelivered(self, limit: int) -> list[Waiting]:
        """The oldest events that no dashboard has yet."""
        return self._reports.waiting(0, limit)

    @property
    def sizes(self) -> dict[str, int]:
        """How many initiations are not finished, events not delivered, and dead letters kept."""
        return {
            "inbound": sum(self._board.counts()),
            "outbound": self._reports.size,
            "dead-letters": self._dead_letters.size,
        }

    def dead_letters(self, limit: int) -> list[tuple[int, DeadLetter]]:
        """The oldest events that the dashboard refused for good, with their positions."""
        return self._dead_letters.items(limit)

    def discard_dead_letter(self, position: int) -> None:
        """Let go of one that somebody has seen to; raises ``LogPositionUnknown`` and ``LogUnavailable``."""
        self._dead_letters.discard(position)

    def snapshots(self) -> list[dict[str, Any]]:
        """What a person needs to see of every actor."""
        futures = [
            self._outbound.ask(ReadOutbound(), block=False),
            self._registration.ask(ReadRegistration(), block=False),
            self._schedules.ask(ReadSchedules(), block=False),
            self._file_watchers.ask(ReadWatchers(), block=False),
            self._retirement.ask(ReadRetirement(), block=False),
        ]
        answers = []
        for each in futures:
            try:
                answers.append(each.get(timeout=_ASK_SECONDS))
            except pykka.Timeout:
                answers.append({"error": "busy"})
        return answers + self._queues.snapshots()

    # -- between the parts -----------------------------------------------------------------------------------

    def _announcement(self) -> Announcement:
        running, queued = self._board.counts()
        return Announcement(
            name=self.config.name,
            url=self._url,
            version=self._version,
            host=self._host.name,
            running=running,
            queued=queued,
            problems=self._problems(),
        )

    def _problems(self) -> tuple[str, ...]:
        told = []
        shortage = self.shortage
        if shortage is not None:
            wait = "1 initiation waits" if shortage.waiting == 1 else f"{shortage.waiting} initiations wait"
            told.append(f"no room on its disk since {rfc3339(shortage.since)}, {wait}: {shortage.reason}")
        if self._dead_letters.size:
            events = "1 event" if self._dead_letters.size == 1 else f"{self._dead_letters.size} events"
            told.append(f"{events} refused by the dashboard and kept in its dead letters")
        return tuple(told)

    def _take_instances(self, instances: Sequence[PublishedInstance], mark: int) -> None:
        mine = [self._acceptance.of_instance(each) for each in instances]
        self._instances.replace_all(mine, mark, self._clock())
        self._instances_known = True
        tell_if_alive(self._schedules, Release())
        tell_if_alive(self._file_watchers, ReleaseWatchers())

    def _refresh(self) -> None:
        if self._started:
            tell_if_alive(self._schedules, Refresh())
            tell_if_alive(self._file_watchers, RefreshWatchers())
