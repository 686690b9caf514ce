"""Follows the facts of all instances and keeps what is to be told of them; sends nothing itself.

The position in the log is kept with the notifications that follow from it, so a crash at any moment makes
some facts be followed twice, which gives the same notifications again. Nobody waits for a follower: it reads
what is committed, on a thread of its own.
"""

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import pykka
import structlog

from ...domain.facts import InstanceEnded, InstancePrepared, InstanceStarted, NotificationsSet, PlanPushed
from ...domain.instance import begin
from ...domain.instants import Instant
from ...domain.notification_settings import TIMED, NotificationSettings, Subscription
from ...domain.notifications import Deadlines, Notification, Occasion, notifications
from ...domain.watching import Watch
from ...storage.ledger import Ledger
from ...storage.notifications import Notifications
from ...storage.records import StoredFact, Unavailable, Unstorable
from ..dashboard.instance_log import InstanceLog
from ..timers import Clock
from .plan_settings import PlanSettings, settings_in

_log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH = 500
"""Facts that are read at once."""
KEEP_AFTER = 2_000
"""Facts that give nothing to tell are followed so far before the position is kept."""
GRACE_MS = 15_000
"""After a start agents have this long to report what would otherwise be told of as overdue or slow."""
FIRST_PAUSE_MS = 200
LONGEST_PAUSE_MS = 30_000
_WATCHES_KEPT = 2_000
_STREAMS_KNOWN = 100_000
_SHOWN = 20
_BEGINNINGS = frozenset({InstanceStarted.__name__, InstancePrepared.__name__})
_SETTINGS = frozenset({PlanPushed.__name__, NotificationsSet.__name__})


class Follow(msgspec.Struct, frozen=True):
    """There may be new facts."""


class Ring(msgspec.Struct, frozen=True):
    """Something has come due in an instance."""

    instance_id: UUID


class ReadFollower(msgspec.Struct, frozen=True):
    """Answer a description of this follower, for debugging."""


class ActiveOf(msgspec.Struct, frozen=True):
    """An active instance, as far as the follower needs to know."""

    instance_id: UUID
    plan: str


class FollowerActor(pykka.ThreadingActor):
    """The only one that adds notifications."""

    use_daemon_thread = True

    def __init__(
        self,
        *,
        ledger: Ledger,
        kept: Notifications,
        logs: InstanceLog,
        settings: PlanSettings,
        subscriptions: tuple[Subscription, ...],
        deadlines: Deadlines,
        active: Callable[[], Iterable[ActiveOf]],
        clock: Clock,
        alarm: Callable[[UUID, Instant | None], None],
        follow_at: Callable[[Instant], None],
        added: Callable[[Iterable[str]], None],
        woken: threading.Event,
        closing: threading.Event,
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._kept = kept
        self._logs = logs
        self._settings = settings
        self._subscriptions = subscriptions
        self._deadlines = deadlines
        self._active = active
        self._clock = clock
        self._alarm = alarm
        self._follow_at = follow_at
        self._added = added
        self._woken = woken
        self._closing = closing
        self._not_before = clock() + GRACE_MS
        self._settings_then: dict[str, NotificationSettings] = {}
        """Of plans, as they stood at the position."""
        self._position: int | None = None
        self._position_kept = 0
        self._watches: OrderedDict[UUID, Watch] = OrderedDict()
        self._passed_over: OrderedDict[UUID, str | None] = OrderedDict()
        self._alarms: dict[UUID, Instant] = {}
        self._given_up: dict[UUID, str] = {}
        """Streams that cannot be followed, and why."""
        self._failures = 0
        self._last_error: str | None = None

    def on_receive(self, message: Follow | Ring | ReadFollower) -> object:
        """Follow, ring, or describe."""
        match message:
            case Follow():
                self._woken.clear()
                self._work(None)
            case Ring(instance_id=instance_id):
                self._work(instance_id)
            case ReadFollower():
                return self.snapshot()
        return None

    def _work(self, ringing: UUID | None) -> None:
        try:
            if self._position is None:
                self._begin()
            self._follow_all()
            if ringing is not None:
                self._ring(ringing)
        except Exception as error:  # noqa: BLE001  the supervisor: it goes on from what is kept
            if not isinstance(error, Unavailable):
                _log.exception("follower failed, it goes on from the position that it kept")
            self._start_over(error)
        else:
            self._failures, self._last_error = 0, None

    def _start_over(self, error: Exception) -> None:
        """Forget all that was worked out since the position that was kept, and follow from there again."""
        self._position = None
        self._settings_then.clear()
        self._watches.clear()
        self._passed_over.clear()
        self._failures += 1
        self._last_error = str(error)
        longest = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** min(self._failures, 20))
        self._follow_at(self._clock() + round(longest * random.uniform(0.5, 1.0)))  # noqa: S311  spreads attempts

    def _begin(self) -> None:
        position = self._kept.position()
        if position is None:
            raise RuntimeError("where to begin in the log was not kept")
        self._position = self._position_kept = position
        self._follow_all()
        for each in self._active():
            if self._tells_by_time(each.plan):
                self._derive_alarm(each.instance_id)

    # --- following ------------------------------------------------------------------------------------------

    def _follow_all(self) -> None:
        while not self._closing.is_set():
            stored = self._ledger.stored_after(self._position or 0, BATCH)
            if not stored:
                return
            found: list[Notification] = []
            for each in stored:
                self._position = each.sequence
                if each.name in _SETTINGS:
                    self._change_settings(each)
                else:
                    found += self._follow(each)
            if found or stored[-1].sequence - self._position_kept >= KEEP_AFTER:
                self._keep(found)

    def _keep(self, found: list[Notification]) -> None:
        position, now = self._position or 0, self._clock()
        try:
            self._kept.add(found, position, now)
        except Unstorable as error:
            _log.error("notifications cannot be stored together", error=str(error))
            found = [each for each in found if self._storable(each, now)]
            self._kept.add([], position, now)
        self._position_kept = position
        self._added(dict.fromkeys(each.channel for each in found))

    def _storable(self, notification: Notification, now: Instant) -> bool:
        try:
            self._kept.add([notification], self._position_kept, now)
        except Unstorable as error:
            _log.error(
                "notification dropped, no database can hold it", id=str(notification.id), error=str(error)
            )
            return False
        return True

    def _follow(self, stored: StoredFact) -> list[Notification]:
        if stored.stream in self._passed_over:
            return []
        return self._apart(stored.stream, lambda: self._occasions_of(stored)) or []

    def _occasions_of(self, stored: StoredFact) -> list[Notification]:
        stream = stored.stream
        watch = self._watches.get(stream) or self._watch_before(stored)
        if watch is None or watch.state.position >= stored.position:
            return []
        self._watches.move_to_end(stream)
        recorded = self._ledger.read(stored)
        found = self._told(watch, watch.follow(recorded))
        self._set_alarm(stream, watch.next_at)
        if isinstance(recorded.fact, InstanceEnded):
            self._pass_over(stream, None)
        return found

    def _apart(self, stream: UUID, work: Callable[[], T]) -> T | None:
        """Do something about one stream; when that cannot be done the others are followed all the same."""
        try:
            return work()
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  told in the log and to whoever asks for the snapshot
            _log.exception("stream is not followed any more", stream=str(stream))
            self._given_up[stream] = f"{type(error).__name__}: {error}"
            self._pass_over(stream, None)
            return None

    def _watch_before(self, stored: StoredFact) -> Watch | None:
        """A watch of the instance as it was before a fact; ``None`` for what is not told of."""
        plan = self._plan_of(stored)
        if plan is None or not self._tells(plan):
            self._pass_over(stored.stream, plan)
            return None
        if stored.position == 1:
            recorded = self._ledger.read(stored)
            state = begin(self._logs.topology(stored.stream), recorded)
        else:
            state = self._logs.state(stored.stream, stored.position - 1)
        watch = Watch(state, self._deadlines)
        self._watches[stored.stream] = watch
        while len(self._watches) > _WATCHES_KEPT:
            self._watches.popitem(last=False)
        self._set_alarm(stored.stream, watch.next_at)
        return watch

    def _plan_of(self, stored: StoredFact) -> str | None:
        """The plan of an instance; ``None`` when the stream is of something else."""
        if stored.position == 1:
            first = self._ledger.read(stored).fact if stored.name in _BEGINNINGS else None
        else:
            first = self._ledger.facts(stored.stream, until=1)[0].fact
        return first.plan if isinstance(first, InstancePrepared | InstanceStarted) else None

    def _pass_over(self, stream: UUID, plan: str | None) -> None:
        """Look at nothing more of a stream, unless its plan comes to say something."""
        self._watches.pop(stream, None)
        self._set_alarm(stream, None)
        self._passed_over[stream] = plan
        while len(self._passed_over) > _STREAMS_KNOWN:
            self._passed_over.popitem(last=False)

    def _told(self, watch: Watch, occasions: Iterable[Occasion]) -> list[Notification]:
        settings = self._settings_of(watch.state.plan)
        return [
            each
            for occasion in occasions
            for each in notifications(watch.state, occasion, settings, self._subscriptions)
        ]

    # --- settings -------------------------------------------------------------------------------------------

    def _change_settings(self, stored: StoredFact) -> None:
        self._apart(stored.stream, lambda: self._heed_settings(stored))

    def _heed_settings(self, stored: StoredFact) -> None:
        """Heed a fact by which the settings of a plan may be others from here on."""
        fact = self._ledger.read(stored).fact
        pushed = fact if isinstance(fact, PlanPushed) else self._ledger.facts(stored.stream, until=1)[0].fact
        settings = settings_in(fact)
        if not isinstance(pushed, PlanPushed) or settings is None:
            raise TypeError(f"fact {stored.position} of {stored.stream} is {stored.name}")
        plan = pushed.plan.name
        self._settings_then[plan] = settings
        self._settings.forget(plan)
        self._look_again(plan)

    def _settings_of(self, plan: str) -> NotificationSettings:
        """The settings of a plan as they stood at the position: whoever follows it again finds the same."""
        found = self._settings_then.get(plan)
        if found is None:
            found = self._settings_then[plan] = self._settings.as_of(plan, self._position or 0)
        return found

    def _look_again(self, plan: str) -> None:
        """Tell of the instances of a plan from now on, or not any more, as its settings say."""
        for stream in [stream for stream, of in self._passed_over.items() if of == plan]:
            del self._passed_over[stream]
        told, by_time = self._tells(plan), self._tells_by_time(plan)
        for each in self._active():
            if each.plan != plan:
                continue
            if not told:
                self._pass_over(each.instance_id, plan)
            elif by_time:
                self._derive_alarm(each.instance_id)

    def _tells(self, plan: str) -> bool:
        return bool(self._settings_of(plan)) or any(each.covers(plan) for each in self._subscriptions)

    def _tells_by_time(self, plan: str) -> bool:
        subscribed = any(each.covers(plan) and each.monitor_types & TIMED for each in self._subscriptions)
        return subscribed or self._settings_of(plan).mentions(TIMED)

    # --- alarms ---------------------------------------------------------------------------------------------

    def _ring(self, instance_id: UUID) -> None:
        self._alarms.pop(instance_id, None)
        if instance_id not in self._passed_over:
            found = self._apart(instance_id, lambda: self._due_in(instance_id))
            if found:
                self._keep(found)

    def _due_in(self, instance_id: UUID) -> list[Notification]:
        watch = self._watches.get(instance_id) or self._throwaway(instance_id)
        if not self._tells(watch.state.plan):
            return []
        found = self._told(watch, watch.ring(self._clock()))
        self._set_alarm(instance_id, watch.next_at)
        return found

    def _derive_alarm(self, instance_id: UUID) -> None:
        """Know again when something becomes due in an instance of which nothing was followed lately."""
        if instance_id not in self._watches and instance_id not in self._passed_over:
            self._apart(
                instance_id, lambda: self._set_alarm(instance_id, self._throwaway(instance_id).next_at)
            )

    def _throwaway(self, instance_id: UUID) -> Watch:
        """A watch that is not kept: it may be ahead of what was followed."""
        return Watch(self._logs.state(instance_id), self._deadlines)

    def _set_alarm(self, instance_id: UUID, at: Instant | None) -> None:
        if self._alarms.get(instance_id) == at:
            return
        if at is None:
            del self._alarms[instance_id]
            self._alarm(instance_id, None)
        else:
            self._alarms[instance_id] = at
            # When the clock was set back, the grace after the start is over all the same.
            self._alarm(instance_id, max(at, min(self._not_before, self._clock() + GRACE_MS)))

    # --- debugging ------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of this follower."""
        return {
            "actor": "notifications",
            "position": self._position,
            "log": self._ledger.last_sequence(),
            "position_kept": self._position_kept,
            "watched": len(self._watches),
            "alarms": len(self._alarms),
            "failures_in_a_row": self._failures,
            "last_error": self._last_error,
            "given_up": {str(stream): why for stream, why in list(self._given_up.items())[:_SHOWN]},
        }
