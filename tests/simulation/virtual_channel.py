"""Those who are told of what happens: a webhook that is away, forgets to answer, or wants to hear nothing."""

from collections import Counter
from uuid import UUID

from jobledger.actors.notifications.config import NotificationsConfig, WebhookConfig
from jobledger.actors.notifications.notifier import Notifying
from jobledger.actors.notifications.ports import Channel, ChannelDown, NotNow, Receipt, Rejected
from jobledger.actors.notifications.smtp import Mailer
from jobledger.domain.notification_settings import MonitorType
from jobledger.storage.notifications import NotificationRow
from virtual_network import Network
from virtual_time import Loop, pause

HOOK = "hook"
CONFIG = NotificationsConfig(
    webhooks={HOOK: WebhookConfig(url="http://hook.test", monitor_types=tuple(MonitorType))}
)
"""Of everything, of every plan."""


class Letterbox:
    """What has arrived. It outlives the dashboards that send."""

    def __init__(self, loop: Loop, network: Network) -> None:
        self._chance = loop.chance("webhook")
        self._network = network
        self.received: Counter[UUID] = Counter()
        self.unanswered: Counter[UUID] = Counter()
        """Of those that were received: how often the sender could not know."""
        self.rejected: set[UUID] = set()

    def notifying(self) -> Notifying:
        """How a dashboard gets here."""
        return Notifying(config=CONFIG, open_mailer=_no_mail, open_webhook=lambda _name: _Hook(self))

    def take(self, row: NotificationRow) -> Receipt:
        """One arrives, or does not."""
        weather, chance = self._network.weather, self._chance
        pause(1_000 + chance.randrange(20_000), "send")
        if chance.random() < weather.lost_requests:
            raise ChannelDown("nobody answers")
        if chance.random() < weather.repeated / 4:
            self.rejected.add(row.id)
            raise Rejected("this is not for us")
        self.received[row.id] += 1
        if chance.random() < weather.lost_answers:
            self.unanswered[row.id] += 1
            raise NotNow("no answer in time")
        return Receipt(recipients=(HOOK,), delivered=(HOOK,))


class _Hook(Channel):
    def __init__(self, box: Letterbox) -> None:
        self._box = box

    def send(self, row: NotificationRow) -> Receipt:
        return self._box.take(row)

    def probe(self, to: str) -> str:
        return f"said hello to {to}"

    def rest(self) -> None:
        """Nothing is held."""


def _no_mail() -> Mailer:
    raise AssertionError("no mail server is named")
