"""A plan's starts accounted for a second time, from its log alone: which have which fact, and which none.

What is due is worked out here by asking for every fire between two instants; what must become of it is said
as a list of reasons that may be true of a start, and no start may be told one that is not true of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID
from zoneinfo import ZoneInfo

from jobledger.domain.cron import CronExpression
from jobledger.domain.facts import (
    AgentsSynchronised,
    ClockSetBack,
    InstanceDue,
    InstanceReset,
    InstanceStarted,
    NextDropped,
    NextPrepared,
    ParameterSourceRead,
    PlanDeleted,
    PlanDeletionBegun,
    PlanDisabled,
    PlanEnabled,
    PlanPushed,
    Recorded,
    ResetDropped,
    StartDeferred,
    StartSkipped,
)
from jobledger.domain.instants import Instant, time_zone
from jobledger.domain.plan import JobPlan
from violations import Violation

ON_TIME_MS = 5_000
"""Later than this a start is late: it must not fall into a blackout that it was not meant for."""
WRONG_CLOCK_MS = 24 * 3_600_000
SLACK_US = 5_000_000
"""For so long it may not have been heard that an instance ended."""
_COUNTED = 1_000
_LOOKED_AT = 1_000


@dataclass
class Commit:
    """What one commit says beside the log of the plan."""

    now_us: int
    started: Mapping[UUID, InstanceStarted]
    ended: frozenset[UUID]
    called_off: frozenset[UUID] = frozenset()
    """Prepared instances that somebody has ended, in this commit or before."""
    begun: set[UUID] = field(default_factory=set)
    """The plan's log says of these that they start."""
    told: set[UUID] = field(default_factory=set)
    """And of these that they exist ahead of their start."""


class StartAccount:
    """Of one plan."""

    def __init__(self, zone: str, *, undisturbed: bool) -> None:
        """``undisturbed``: nothing befalls the dashboard, so every start is on time."""
        self._zone = zone
        self._undisturbed = undisturbed
        self._plan: JobPlan | None = None
        self.version = 0
        self.told_version = 0
        """The newest that agents were told the jobs of."""
        self.standing = "DELETED"
        self.through: Instant = 0
        """What was due up to here has been accounted for."""
        self.deferred: Instant | None = None
        self.prepared: tuple[UUID, int, Instant] | None = None
        self.active: set[UUID] = set()
        self._ends: dict[UUID, Instant] = {}
        """When the windows of instances close, as far as they do."""
        self._pushed_us = 0
        """When the newest version came, which may let start what the one before let wait."""
        self.ended_at_us = 0
        """When the last instance that was active ended."""
        self.source: dict[str, str] = {}
        """What its parameter source said last."""
        self.unsettled: set[UUID] = set()
        """Instances that were reset and of which the plan has not heard."""
        self.resets: dict[UUID, UUID | None] = {}
        """By the instance that was reset: the one that began instead, if one did."""

    @property
    def plan(self) -> JobPlan:
        assert self._plan is not None
        return self._plan

    # --- facts ----------------------------------------------------------------------------------------------

    def apply(self, recorded: Recorded, commit: Commit) -> None:
        """Take the next fact of the plan's log; raises ``Violation`` for one that should not be there."""
        fact, at = recorded.fact, recorded.at
        match fact:
            case PlanPushed():
                self._pushed(fact, at)
                self._pushed_us = commit.now_us
            case PlanEnabled():
                self._turned(at, "DISABLED", "ENABLED")
            case PlanDisabled():
                self._turned(at, "ENABLED", "DISABLED")
            case PlanDeletionBegun():
                self._nothing_due(at)
                self._expect(self.deferred is None, "it is deleted, and a start still waits")
                self.standing = "DELETING"
            case PlanDeleted():
                self._expect(self.standing == "DELETING", "it is deleted without having been told so")
                self._expect(not self.active, f"it is deleted and {self.active} is active")
                self.standing = "DELETED"
            case InstanceDue():
                self._due(fact, at, commit)
            case InstanceReset(instance_id=instance_id, previous=previous, version=version):
                self._alive()
                self._settle_reset(previous, instance_id)
                self._started(instance_id, version, commit)
            case ResetDropped(previous=previous):
                self._expect(self.standing in {"DELETING", "DELETED"}, "a reset was dropped without need")
                self._settle_reset(previous, None)
            case StartDeferred(due_at=due_at):
                self._defer(due_at, at, commit)
            case StartSkipped():
                self._skip(fact, at, commit)
            case ClockSetBack(accounted_through=to):
                self._expect(self.through > at + WRONG_CLOCK_MS, f"the clock was right at {at}")
                self.through = to
                if self.deferred is not None and self.deferred > to:
                    self.deferred = None
            case NextPrepared(instance_id=instance_id, version=version, due_at=due_at):
                self._expect(self.standing == "ENABLED", f"an instance is prepared while {self.standing}")
                self._expect(version == self.version, f"an instance of version {version} is prepared")
                self.prepared = (instance_id, version, due_at)
                commit.told.add(instance_id)
            case NextDropped(instance_id=instance_id):
                self._expect(
                    self.prepared is not None and self.prepared[0] == instance_id,
                    f"{instance_id} is dropped, and prepared is {self.prepared}",
                )
                self.prepared = None
            case AgentsSynchronised(version=version):
                self._expect(version == self.version, f"agents are told of version {version}")
                self.told_version = version
            case ParameterSourceRead(parameters=parameters):
                self.source = parameters
            case _:
                return

    def ended(self, instance_id: UUID, now_us: int) -> None:
        """An instance that was active ended."""
        self.active.discard(instance_id)
        self.ended_at_us = now_us

    def reset_ordered(self, instance_id: UUID) -> None:
        """An instance ended to begin anew: its place is taken until the fresh one begins."""
        self.unsettled.add(instance_id)

    def after_commit(self, called_off: frozenset[UUID]) -> None:
        """The next instance exists, and is of the start that it is to be of."""
        if self.standing != "ENABLED":
            self._expect(self.standing == "DISABLED" or self.prepared is None, "prepared, and deleted")
            return
        due_at = self._to_prepare()
        if due_at is None:
            self._expect(self.prepared is None, f"{self.prepared} is prepared, and nothing will start")
            return
        if self.prepared is None:
            self._expect(holds=False, otherwise=f"nothing is prepared for the start at {due_at}")
            return
        instance_id, version, found = self.prepared
        self._expect(found == due_at, f"{instance_id} is prepared for {found}, next is {due_at}")
        self._expect(
            version == self.version or instance_id in called_off,
            f"{instance_id} is prepared of version {version}, newest is {self.version}",
        )

    def _to_prepare(self) -> Instant | None:
        """The start that an instance is to exist ahead of: the one that waits, or the next in no blackout."""
        if not self._has_clock():
            return None
        if self.deferred is not None:
            return self.deferred
        cron, at = self._cron(), self.through
        for _ in range(_LOOKED_AT):
            found = cron.next_fire(at, self._where())
            if found is None or not self._dark(found):
                return found
            at = found
        return None

    def overdue(self, now: Instant) -> Instant | None:
        """A start that was due by then and has no fact."""
        if self.standing in {"DELETING", "DELETED"}:
            return None
        return next(iter(self._fires(self.through, now)), None)

    # --- the plan -------------------------------------------------------------------------------------------

    def _pushed(self, fact: PlanPushed, at: Instant) -> None:
        self._expect(fact.version == self.version + 1, f"version {fact.version} follows {self.version}")
        self._expect(self.standing != "DELETING", "it is pushed while it is being deleted")
        standing = "DISABLED" if fact.plan.disabled else "ENABLED"
        if self.standing == "DELETED":
            self.deferred = self.prepared = None
            self.standing = standing
        else:
            self._nothing_due(at)
            if self.plan.disabled != fact.plan.disabled:
                self.standing = standing
        self.through = max(self.through, at)
        self._plan, self.version = fact.plan, fact.version
        if not fact.plan.delay_agent_synchronisation:
            self.told_version = fact.version

    def _turned(self, at: Instant, before: str, after: str) -> None:
        self._expect(self.standing == before, f"{after} while {self.standing}")
        self._nothing_due(at)
        self.standing = after

    def _nothing_due(self, at: Instant) -> None:
        """Before it changes what starts mean, everything that was due has its fact."""
        due = self.overdue(at)
        self._expect(due is None, f"the start at {due} has no fact, and at {at} the plan changes")

    def _alive(self) -> None:
        self._expect(self.standing not in {"DELETING", "DELETED"}, "it is deleted and starts an instance")

    # --- starts ---------------------------------------------------------------------------------------------

    def _due(self, fact: InstanceDue, at: Instant, commit: Commit) -> None:
        self._alive()
        self._expect(self.standing == "ENABLED", "it is disabled and starts an instance")
        if (due_at := fact.due_at) is not None:
            since_us = due_at * 1000
            if due_at == self.deferred:
                self.deferred = None
                since_us = max(since_us, self.ended_at_us, self._pushed_us)
            else:
                self._next_is([due_at])
            in_time = commit.now_us - since_us <= SLACK_US
            self._expect(
                in_time or not self._undisturbed, f"{due_at} starts at {at}, and nothing was in the way"
            )
            self._expect(due_at <= at, f"{due_at} is started at {at}, ahead of its time")
            self._expect(at < self._closes(due_at), f"{due_at} is started at {at}, when its window was over")
            self._expect(not self._dark(due_at), f"{due_at} is in a blackout and starts")
            late = at - due_at > ON_TIME_MS
            self._expect(not (late and self._dark(at)), f"{due_at} starts late, in the blackout at {at}")
            self.through = max(self.through, due_at)
            self._uses_prepared(fact, due_at, commit)
        self._begins(fact.instance_id, fact.version, commit)
        started = commit.started[fact.instance_id]
        self._expect(started.due_at == due_at, f"{fact.instance_id} is of {started.due_at}, not {due_at}")

    def _uses_prepared(self, fact: InstanceDue, due_at: Instant, commit: Commit) -> None:
        """The instance that was prepared for the start is the one that begins."""
        if self.prepared is None:
            return
        instance_id, version, prepared_for = self.prepared
        if (version, prepared_for) == (self.version, due_at):
            self._expect(instance_id not in commit.called_off, f"{instance_id} was called off and starts")
            self._expect(fact.instance_id == instance_id, f"{instance_id} was prepared for {due_at} in vain")
        if fact.instance_id == instance_id:
            self.prepared = None

    def _begins(self, instance_id: UUID, version: int, commit: Commit) -> None:
        busy = self.active | self.unsettled
        self._expect(
            self.plan.concurrent or not busy,
            f"it runs one at a time, {busy} is active or to be begun anew, and {instance_id} starts",
        )
        self._started(instance_id, version, commit)

    def _started(self, instance_id: UUID, version: int, commit: Commit) -> None:
        self._expect(self.told_version == self.version, "agents are not told its jobs, and it starts")
        self._expect(version == self.version, f"version {version} starts, newest is {self.version}")
        started = commit.started.get(instance_id)
        self._expect(started is not None, f"{instance_id} was to start and did not")
        assert started is not None
        self._expect(started.plan_version == version, f"{instance_id} starts as another version")
        self._expect(
            started.source_parameters == self.source,
            f"{instance_id} starts with {started.source_parameters}, the source had said {self.source}",
        )
        commit.begun.add(instance_id)
        if instance_id not in commit.ended:
            self.active.add(instance_id)
            self._ends[instance_id] = started.ends_at or 0

    def _settle_reset(self, previous: UUID, successor: UUID | None) -> None:
        self._expect(previous not in self.resets, f"the reset of {previous} was heard twice")
        self._expect(previous not in self.active, f"{previous} was reset and is active")
        self.unsettled.discard(previous)
        self.resets[previous] = successor

    def _defer(self, due_at: Instant, at: Instant, commit: Commit) -> None:
        self._alive()
        self._expect(self.standing == "ENABLED", "it is disabled and lets a start wait")
        self._expect(self.deferred is None, f"{due_at} waits behind {self.deferred}")
        self._next_is([due_at])
        closing = any(0 < self._ends.get(each, 0) <= at for each in self.active)
        self._expect(
            self.plan.end_on_completion or closing,
            f"{due_at} waits, and nothing ends on completion or is about to be ended",
        )
        self._expect(self._may_be_busy(commit), f"{due_at} waits, and nothing is active")
        self._expect(at < self._closes(due_at), f"{due_at} waits, and its window is over")
        self._expect(not self._dark(due_at), f"{due_at} waits, and is in a blackout")
        self.through = self.deferred = due_at

    def _skip(self, fact: StartSkipped, at: Instant, commit: Commit) -> None:
        self._alive()
        waited = self.deferred is not None and fact.due_at == self.deferred
        if waited:
            self._expect(fact.through == fact.due_at and fact.count == 1, f"{fact} is of one that waited")
            due = [fact.due_at]
        else:
            due = self._fires(self.through, fact.through)
            counted = len(due) == fact.count or (fact.at_least and len(due) >= fact.count >= _COUNTED)
            self._expect(
                bool(due) and counted and (due[0], due[-1]) == (fact.due_at, fact.through),
                f"{fact.count} starts from {fact.due_at} to {fact.through} skipped, due were {due[:20]}",
            )
        for due_at in due:
            self._expect(
                self._is_true(fact.reason, due_at, at, commit, waited=waited),
                f"{due_at} was skipped at {at} because of '{fact.reason}' {fact.detail}, which is not so",
            )
        self.through = max(self.through, fact.through)
        if waited:
            self.deferred = None
        if fact.reason == "ended before its start":
            self.prepared = None

    def _is_true(self, reason: str, due_at: Instant, at: Instant, commit: Commit, *, waited: bool) -> bool:
        """Whether a start did not happen because of that."""
        match reason:
            case "plan disabled":
                return self.standing == "DISABLED"
            case "blackout":
                return self._dark(due_at) or (at - due_at > ON_TIME_MS and self._dark(at))
            case "window passed":
                return not waited and self._closes(due_at) <= at
            case "another instance is active":
                return self._waits_in_vain(due_at, at, commit) if waited else self._may_be_busy(commit)
            case "ended before its start":
                prepared = self.prepared
                return prepared is not None and prepared[0] in commit.called_off and prepared[2] == due_at
            case "plan changed":
                return waited and not self._has_clock()
            case "plan deleted":
                return waited
            case _:
                return False

    def _waits_in_vain(self, due_at: Instant, at: Instant, commit: Commit) -> bool:
        """Whether a start that waited does so no more: it has for too long, or another comes to wait."""
        if self._closes(due_at) <= at:
            return True
        return self._may_be_busy(commit) and self.overdue(at) is not None

    def _may_be_busy(self, commit: Commit) -> bool:
        """Whether an instance is active, or was until just now, and one runs at a time."""
        just_ended = commit.now_us - self.ended_at_us <= SLACK_US
        return not self.plan.concurrent and (bool(self.active | self.unsettled) or just_ended)

    # --- the clock ------------------------------------------------------------------------------------------

    def _next_is(self, due: list[Instant]) -> None:
        fires = self._fires(self.through, due[-1])
        self._expect(fires == due, f"{due} was taken up, due were {fires[:20]} since {self.through}")

    def _has_clock(self) -> bool:
        window = self.plan.window
        return window.cron is not None and window.time_to_live_ms > 0

    def _cron(self) -> CronExpression:
        window = self.plan.window
        assert window.cron is not None
        return CronExpression.parse(window.cron, working_days=window.working_days)

    def _where(self) -> ZoneInfo:
        return time_zone(self.plan.window.zone or self._zone)

    def _fires(self, after: Instant, until: Instant) -> Sequence[Instant]:
        if not self._has_clock():
            return []
        return list(islice(self._cron().fires_between(after, until, self._where()), 50_000))

    def _closes(self, due_at: Instant) -> Instant:
        return due_at + self.plan.window.time_to_live_ms

    def _dark(self, at: Instant) -> bool:
        """In a range, its ends included, or in a second in which an expression fires."""
        window = self.plan.window
        if any(begin <= at <= end for begin, end in window.blackout_ranges):
            return True
        second = at // 1000 * 1000
        return any(
            CronExpression.parse(text).next_fire(second - 1, self._where()) == second
            for text in window.blackout_expressions
        )

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            name = "?" if self._plan is None else self._plan.name
            raise Violation(f"P11: of plan {name}: {otherwise}")
