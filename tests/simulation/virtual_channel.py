"""Those who are told of what happens: a webhook and a mail server that are away, silent, or not willing."""

from collections.abc import Callable, Mapping, Sequence
from email.message import EmailMessage
from uuid import UUID

from jobledger.actors.notifications.config import NotificationsConfig, SmtpConfig, WebhookConfig
from jobledger.actors.notifications.notifier import Notifying
from jobledger.actors.notifications.ports import Channel, ChannelDown, NotNow, Receipt, Rejected
from jobledger.actors.notifications.smtp import Mailer
from jobledger.domain.notification_settings import MonitorType
from jobledger.storage.notifications import NotificationRow
from violations import Violation
from virtual_network import Network
from virtual_time import Chance, Loop, Process, current_process, pause

HOOK = "hook"
Fail = Callable[[Violation], None]
Overhear = Callable[[str, object], None]
"""Is told of what goes out, and to whom."""


def config_of(*, subscribed: bool) -> NotificationsConfig:
    """How a dashboard is configured; ``subscribed``: the webhook is told of everything, of every plan."""
    types = tuple(MonitorType) if subscribed else ()
    return NotificationsConfig(
        smtp=SmtpConfig(host="mail.test", sender="jobledger@night.test"),
        webhooks={HOOK: WebhookConfig(url="http://hook.test", monitor_types=types)},
    )


class Letterbox:
    """What has arrived. It outlives the dashboards that send."""

    def __init__(
        self, loop: Loop, network: Network, *, subscribed: bool, overhear: Overhear | None, fail: Fail
    ) -> None:
        self.config = config_of(subscribed=subscribed)
        self.received: set[tuple[UUID, str]] = set()
        """By notification and address."""
        self.rejected: set[UUID] = set()
        self.already_has: Callable[[UUID, str], bool] = lambda _number, _address: False
        """Whether the dashboard has stored that a notification was received by somebody."""
        self._answered: set[tuple[Process, UUID, str]] = set()
        """What was received, with the process that sent it and knows that."""
        self._loop = loop
        self._network = network
        self._overhear = overhear
        self._fail = fail

    def notifying(self) -> Notifying:
        """How a dashboard gets here."""
        return Notifying(
            config=self.config, open_mailer=lambda: _Post(self), open_webhook=lambda _name: _Hook(self)
        )

    def post(self, row: NotificationRow) -> Receipt:
        """One arrives at the webhook, or does not."""
        if self._overhear is not None:
            self._overhear("what a webhook is told", row.matter)
        chance = self._on_the_way("webhook", row.id)
        self._arrives(row.id, (HOOK,), chance)
        return Receipt(recipients=(HOOK,), delivered=(HOOK,))

    def deliver(self, message: EmailMessage, recipients: Sequence[str]) -> Mapping[str, tuple[int, str]]:
        """A mail arrives, or does not, or with some of them alone."""
        number = UUID(message["X-Jobledger-Notification"])
        if self._overhear is not None:
            self._overhear("a mail", message.as_string())
        chance = self._on_the_way("mail", number)
        unwilling = self._network.weather.repeated
        refused = {
            each: chance.choice([(450, "come again later"), (550, "nobody is called that")])
            for each in recipients
            if chance.random() < unwilling
        }
        if any(code >= 500 for code, _ in refused.values()):
            self.rejected.add(number)
        self._arrives(number, [each for each in recipients if each not in refused], chance)
        return refused

    def _on_the_way(self, where: str, number: UUID) -> Chance:
        """Raises ``ChannelDown`` and ``Rejected``."""
        weather, chance = self._network.weather, self._loop.chance(where)
        longest_us = 20_000 if chance.random() >= weather.late else 20_000_000
        pause(1_000 + chance.randrange(longest_us), "send")
        if chance.random() < weather.lost_requests:
            raise ChannelDown("nobody answers")
        if chance.random() < weather.repeated / 4:
            self.rejected.add(number)
            raise Rejected("this is not for us")
        return chance

    def _arrives(self, number: UUID, addresses: Sequence[str], chance: Chance) -> None:
        """Raises ``NotNow`` and ``ChannelDown`` when nobody hears that it has arrived."""
        sender = current_process()
        for each in addresses:
            if (sender, number, each) in self._answered or self.already_has(number, each):
                self._fail(Violation(f"{each} was told of {number} again, and the dashboard knew that"))
            self.received.add((number, each))
        if chance.random() < self._network.weather.lost_answers:
            raise chance.choice([NotNow, ChannelDown])("no answer in time")
        self._answered.update((sender, number, each) for each in addresses)


class _Hook(Channel):
    def __init__(self, box: Letterbox) -> None:
        self._box = box

    def send(self, row: NotificationRow) -> Receipt:
        return self._box.post(row)

    def probe(self, to: str) -> str:
        return f"said hello to {to}"

    def rest(self) -> None:
        """Nothing is held."""


class _Post(Mailer):
    def __init__(self, box: Letterbox) -> None:
        self._box = box

    def deliver(self, message: EmailMessage, recipients: Sequence[str]) -> Mapping[str, tuple[int, str]]:
        return self._box.deliver(message, recipients)

    def rest(self) -> None:
        """Nothing is held."""
