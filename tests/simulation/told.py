"""What people were told of: each thing that there was to tell, by the log, and each of them once."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from jobledger.domain.notification_settings import TIMED, NotificationSettings
from jobledger.domain.notifications import Notification, Occasion, notifications
from jobledger.domain.watching import Watch
from jobledger.storage.notifications import NotificationState
from simulated_database import SimulatedEngine
from violations import Violation
from virtual_channel import CONFIG

_SAYS_NOTHING = NotificationSettings()
"""Of every plan: all is told because somebody subscribes to it."""
SLACK_MS = 30_000
"""What has just become due may be told later, after a start of the dashboard above all."""


class Told:
    """Of one world at rest."""

    def __init__(self, world: Any, instances: Mapping[UUID, Any], engine: SimulatedEngine) -> None:
        self._world = world
        self._instances = instances
        self._engine = engine
        self._deadlines = CONFIG.deadlines(world.case.time_zone)

    def check(self) -> None:
        """Raises ``Violation``."""
        kept = {
            self._engine.stream(key): NotificationState(state)
            for key, state in self._engine.read("SELECT id, state FROM notifications")
        }
        clocks_were_right = all(each.what != "clock jump" for each in self._world.case.operations)
        now = self._world.dashboard.clock()
        must, may = self._by_the_log(now - SLACK_MS), self._by_the_log(now)
        for each in must.values():
            timed = each.matter.monitor_type in TIMED
            if each.id not in kept and (clocks_were_right or not timed):
                raise Violation(f"{each.matter.monitor_type} of {each.matter.job} was never told: {each}")
        if clocks_were_right and (unknown := kept.keys() - may.keys()):
            raise Violation(f"{unknown} were told, and nothing in the log gives them")
        box, lives = self._world.letterbox, self._world.dashboard.lives
        for number, state in kept.items():
            received = box.received[number]
            if state == NotificationState.SENT and not received:
                raise Violation(f"notification {number} counts as sent, and has not arrived")
            if state == NotificationState.FAILED and number not in box.rejected:
                raise Violation(f"notification {number} was given up, and nobody had rejected it")
            if received > lives + box.unanswered[number]:
                raise Violation(f"notification {number} was sent {received} times")

    def _by_the_log(self, now: int) -> dict[UUID, Notification]:
        """All that follows from the facts, and from the time."""
        found: dict[UUID, Notification] = {}

        def tell(watch: Watch, occasions: Iterable[Occasion]) -> None:
            for occasion in occasions:
                for each in notifications(watch.state, occasion, _SAYS_NOTHING, CONFIG.subscriptions()):
                    found[each.id] = each

        for shadow in self._instances.values():
            watch = Watch(shadow.at_first, self._deadlines)
            for recorded in shadow.facts[1:]:
                tell(watch, watch.follow(recorded))
            tell(watch, watch.ring(now))
        return found
