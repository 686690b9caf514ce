"""Whom plans want told of what: as they stand now, and as they stood at a place in the log."""

import threading

from ...domain.facts import Fact, NotificationsSet, PlanPushed
from ...domain.notification_settings import NotificationSettings
from ...domain.plan_log import plan_stream
from ...storage.ledger import Ledger

_NOTHING = NotificationSettings()


class PlanSettings:
    """Reads the settings of plans from their logs, and keeps them until it is told that they changed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._known: dict[str, NotificationSettings] = {}

    def of(self, plan: str) -> NotificationSettings:
        """The settings of a plan; nothing is said for a plan that does not exist. Raises ``Unavailable``."""
        with self._lock:
            found = self._known.get(plan)
        if found is None:
            found = self._read(plan)
            with self._lock:
                self._known[plan] = found
        return found

    def forget(self, plan: str) -> None:
        """They changed, or may have."""
        with self._lock:
            self._known.pop(plan, None)

    def as_of(self, plan: str, sequence: int) -> NotificationSettings:
        """The settings as they stood after a fact, by its place among all facts. Raises ``Unavailable``."""
        return self._read(plan, sequence)

    def _read(self, plan: str, until: int | None = None) -> NotificationSettings:
        stream = plan_stream(plan)
        kinds = (PlanPushed, NotificationsSet)
        positions = sorted(each for kind in kinds for each in self._ledger.positions_of(stream, kind))
        for position in reversed(positions):
            if until is None or self._ledger.sequence_of(stream, position) <= until:
                (recorded,) = self._ledger.facts(stream, after=position - 1, until=position)
                return settings_in(recorded.fact) or _NOTHING
        return _NOTHING


def settings_in(fact: Fact) -> NotificationSettings | None:
    """The settings that hold from a fact on; ``None`` when it leaves them as they are."""
    match fact:
        case PlanPushed(plan=plan):
            return plan.notifications
        case NotificationsSet(notifications=settings):
            return settings
        case _:
            return None
