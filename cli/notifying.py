"""The ways to people that a dashboard's configuration opens."""

from pathlib import Path

from ..actors.notifications.config import NotificationsConfig, SmtpConfig
from ..actors.notifications.letters import address_of
from ..actors.notifications.notifier import Notifying
from ..actors.notifications.smtp import Mailer, SmtpMailer
from ..actors.timers import Clock
from ..http.webhooks import HttpWebhook
from .notification_config import read_notifications


def notifying_by(file: Path, *, clock: Clock, zone: str) -> Notifying:
    """How a dashboard tells people, by a file; raises ``Failure``."""
    config = read_notifications(file)

    def webhook(name: str) -> HttpWebhook:
        return HttpWebhook(config.webhooks[name], public_url=config.public_url, zone=zone, clock=clock)

    return Notifying(config=config, open_mailer=lambda: _mailer(_smtp(config)), open_webhook=webhook)


def _smtp(config: NotificationsConfig) -> SmtpConfig:
    if config.smtp is None:
        raise ValueError("the configuration names no mail server")
    return config.smtp


def _mailer(smtp: SmtpConfig) -> Mailer:
    sender = address_of(smtp.sender)
    return SmtpMailer(smtp, sender=smtp.sender if sender is None else sender.addr_spec)
