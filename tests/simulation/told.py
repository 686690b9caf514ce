"""What people were told of: each thing that there was to tell, by the log, and each of them once."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec
from jobledger.actors.notifications.plan_settings import settings_in
from jobledger.domain.facts import NotificationsSet, PlanPushed
from jobledger.domain.notification_settings import TIMED, NotificationSettings
from jobledger.domain.notifications import EMAIL, Notification, Occasion, notifications
from jobledger.domain.watching import Watch
from jobledger.storage.notifications import NotificationState
from simulated_database import SimulatedDatabase, SimulatedEngine
from violations import Violation
from virtual_channel import HOOK

SLACK_MS = 30_000
"""What has just become due may be told later, after a start of the dashboard above all."""
_NOTHING = NotificationSettings()
_decode_names = msgspec.msgpack.Decoder(tuple[str, ...]).decode


def already_has(database: SimulatedDatabase, number: UUID, address: str) -> bool:
    """Whether it is stored that a notification was received by somebody."""
    rows = database.connection.execute(
        "SELECT state, delivered FROM notifications WHERE id = ?", (number.hex,)
    )
    return any(
        state == NotificationState.SENT or address in _decode_names(delivered) for state, delivered in rows
    )


class _Said:
    """What a plan has said of notifications, one thing after the other."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.settings: list[NotificationSettings] = []

    def at(self, sequence: int) -> NotificationSettings:
        number = bisect_right(self.sequences, sequence)
        return self.settings[number - 1] if number else _NOTHING

    @property
    def never_changed(self) -> bool:
        return all(each == self.settings[0] for each in self.settings)


class Told:
    """Of one world at rest."""

    def __init__(
        self, world: Any, plans: Mapping[UUID, Any], instances: Mapping[UUID, Any], engine: SimulatedEngine
    ) -> None:
        self._world = world
        self._instances = instances
        self._engine = engine
        self._config = world.letterbox.config
        self._deadlines = self._config.deadlines(world.case.time_zone)
        self._sequences = {
            (UUID(stream), position): sequence
            for sequence, stream, position in engine.read(
                "SELECT rowid, originator_id, originator_version FROM stored_events"
            )
        }
        self._said = {shadow.name: self._said_by(stream, shadow) for stream, shadow in plans.items()}

    def check(self) -> None:
        """Raises ``Violation``."""
        kept = {
            self._engine.stream(key): (NotificationState(state), plan, channel, *map(_decode_names, names))
            for key, state, plan, channel, *names in self._engine.read(
                "SELECT id, state, plan, channel, recipients, delivered FROM notifications"
            )
        }
        clocks_were_right = all(each.what != "clock jump" for each in self._world.case.operations)
        now = self._world.dashboard.clock()
        must = self._by_the_log(now - SLACK_MS, looked_between=False)
        may = self._by_the_log(now, looked_between=False) | self._by_the_log(now, looked_between=True)
        for each in must.values():
            timed = each.matter.monitor_type in TIMED
            certain = clocks_were_right and self._said[each.plan].never_changed
            if each.id not in kept and (certain or not timed):
                raise Violation(f"{each.matter.monitor_type} of {each.matter.job} was never told: {each}")
        if clocks_were_right and (unknown := kept.keys() - may.keys()):
            raise Violation(f"{unknown} were told, and nothing in the log gives them")
        for number, (state, plan, channel, recipients, delivered) in kept.items():
            if state == NotificationState.SENT and not set(recipients) <= set(delivered):
                raise Violation(f"notification {number} counts as sent, and {recipients} are to have it")
            self._one_was_told(number, state, plan, delivered if channel == EMAIL else (HOOK,))
        for number, address in self._world.letterbox.received:
            if number not in kept:
                raise Violation(f"{address} was told of {number}, which nobody was to be told of")

    def _one_was_told(
        self, number: UUID, state: NotificationState, plan: str, delivered: tuple[str, ...]
    ) -> None:
        box = self._world.letterbox
        if state == NotificationState.SENT:
            if missing := [each for each in delivered if (number, each) not in box.received] or not delivered:
                raise Violation(f"notification {number} counts as sent, and has not arrived: {missing}")
        # A mail to nobody any more: what the plan says now counts for whom it goes to.
        elif number not in box.rejected and self._said[plan].never_changed:
            raise Violation(f"notification {number} was given up, and nobody had rejected it")

    # --- what there was to tell -----------------------------------------------------------------------------

    def _said_by(self, stream: UUID, shadow: Any) -> _Said:
        said = _Said()
        for recorded in shadow.about_notifications:
            assert isinstance(recorded.fact, PlanPushed | NotificationsSet)
            settings = settings_in(recorded.fact)
            assert settings is not None
            said.sequences.append(self._sequences[stream, recorded.position])
            said.settings.append(settings)
        return said

    def _by_the_log(self, now: int, *, looked_between: bool) -> dict[UUID, Notification]:
        """All that follows from the facts, and from the time.

        Whoever looked between facts was told also of what a report, come late, says was in time.
        """
        found: dict[UUID, Notification] = {}

        def tell(watch: Watch, occasions: Iterable[Occasion], sequence: int) -> None:
            said = self._said[watch.state.plan]
            for occasion in occasions:
                timed = occasion.monitor_type in TIMED
                # What becomes due by time alone is told by what is said when somebody looks.
                for settings in said.settings if timed else [said.at(sequence)]:
                    for each in notifications(watch.state, occasion, settings, self._config.subscriptions()):
                        found[each.id] = each

        for stream, shadow in self._instances.items():
            watch = Watch(shadow.at_first, self._deadlines)
            for recorded in shadow.facts[1:]:
                if looked_between:
                    tell(watch, watch.ring(recorded.at), self._sequences[stream, recorded.position])
                tell(watch, watch.follow(recorded), self._sequences[stream, recorded.position])
            tell(watch, watch.ring(now), self._engine.last_sequence())
        return found
