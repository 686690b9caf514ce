"""How a dashboard tells people: the mail server, the webhooks, the words that differ between environments."""

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from ...domain.instants import Instant
from ...domain.notification_settings import MonitorType, Subscription
from ...domain.notifications import Deadlines

Security: TypeAlias = Literal["none", "starttls", "tls"]

_PORTS: dict[Security, int] = {"none": 25, "starttls": 587, "tls": 465}
_MINUTE_MS: Instant = 60_000


class SmtpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mail server."""

    host: str
    sender: str = msgspec.field(name="from")
    port: int | None = None
    """Unless given the usual one: 587 with ``starttls``, 465 with ``tls``, 25 with neither."""
    security: Security = "starttls"
    user: str | None = None
    password: str | None = None
    timeout_seconds: float = 10.0
    """Of each step of a conversation with the server."""
    ca_file: Path | None = None
    """Certificates of those who may vouch for the server, instead of the system's."""
    hello: str | None = None
    """The name by which it greets the server; unless given, this host's."""

    @property
    def port_used(self) -> int:
        """The port, whether it was given or not."""
        return _PORTS[self.security] if self.port is None else self.port


class WebhookConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address that is told in JSON."""

    url: str
    secret: str | None = None
    """By which what is sent is signed."""
    monitor_types: tuple[MonitorType, ...] = ()
    """What it is told of although no plan names it."""
    plans: tuple[str, ...] | None = None
    """Of these plans alone; ``None``: of all."""
    timeout_seconds: float = 10.0
    ca_file: Path | None = None


class NotificationsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    enabled: bool = True
    public_url: str = ""
    """Where people reach the dashboard: links begin with it."""
    overdue_tolerance_minutes: int = 0
    """How long after its agreed time a file counts as in time."""
    smtp: SmtpConfig | None = None
    webhooks: dict[str, WebhookConfig] = {}
    """By the name by which plans call them."""
    templates: Path | None = None
    """The folder of template files."""
    placeholders: dict[str, Path] = {}
    """By plan: the file with the values of its placeholders; ``default`` is for all plans."""

    def subscriptions(self) -> tuple[Subscription, ...]:
        """The webhooks that are told whatever the plans say."""
        return tuple(
            Subscription(
                webhook=name,
                monitor_types=frozenset(each.monitor_types),
                plans=None if each.plans is None else frozenset(each.plans),
            )
            for name, each in self.webhooks.items()
            if each.monitor_types
        )

    def deadlines(self, zone: str) -> Deadlines:
        """How deadlines are worked out; ``zone`` is of plans that name none."""
        return Deadlines(zone=zone, tolerance_ms=self.overdue_tolerance_minutes * _MINUTE_MS)
