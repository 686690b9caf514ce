"""A dashboard that tells people, with a mail server and webhooks of the test's own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from actors.dashboard_rig import OPERATOR, Bench
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.notifications.config import NotificationsConfig, SmtpConfig
from jobledger.actors.notifications.notifier import Notifying
from jobledger.actors.notifications.smtp import SmtpMailer
from jobledger.domain.commands import SubmitJob
from jobledger.domain.notification_settings import MonitorType, NotificationSettings, PlanNotifications
from jobledger.http.webhooks import HttpWebhook
from jobledger.storage.notifications import NotificationFilter, NotificationRow, NotificationState
from mail_server import MailServer

WAITING, SENT, FAILED = NotificationState
SENDER = "Job Ledger <jobs@example.org>"


def tells(
    *monitor_types: MonitorType, to: tuple[str, ...] = ("ops@example.org",), **more: Any
) -> NotificationSettings:
    """Settings by which a plan tells of these; of everything, if of nothing in particular."""
    types = monitor_types or tuple(MonitorType)
    return NotificationSettings(plan=PlanNotifications(monitor_types=types, to=to, **more))


class NotifiedBench(Bench):
    """A bench whose dashboard sends mails to a server, and tells webhooks."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.notifications = NotificationsConfig(**{"public_url": "http://dash.test", **config})
        self.database_url: str | None = None
        super().__init__(folder)

    def _open(self) -> Dashboard:
        dashboard = Dashboard(
            DashboardConfig(data_dir=self.folder, database_url=self.database_url, threads=4),
            open_transport=lambda url: self.agents[url],
            clock=lambda: self.now,
            notifying=self.notifying(),
        )
        dashboard.start()
        return dashboard

    def notifying(self) -> Notifying:
        """How it tells people."""
        return notifying(self.notifications)

    def rows(self, **which: Any) -> list[NotificationRow]:
        """What was, is or is to be told, oldest first."""
        page = self.dashboard.notifications.page(NotificationFilter(**which), None, 1000)
        return page.items[::-1]

    def until(
        self, holds: Callable[[list[NotificationRow]], object], seconds: float = 20.0
    ) -> list[NotificationRow]:
        """The rows once they are as the test expects."""
        deadline = time.monotonic() + seconds
        while not holds(rows := self.rows()):
            told = [(each.state.name, each.attempts, each.error) for each in rows]
            assert time.monotonic() < deadline, f"the notifications stay {told}"
            time.sleep(0.005)
        return rows

    def until_tried(self, attempts: int, channel: str = "email") -> list[NotificationRow]:
        """The rows once the first was tried so often, and its courier is at rest."""
        self.until(lambda rows: rows and rows[0].attempts == attempts)
        self.dashboard.actor_snapshot(f"courier-{channel}")
        return self.rows()

    def until_settled(self, count: int) -> list[NotificationRow]:
        """The rows once there are so many and none waits."""
        return self.until(lambda rows: len(rows) == count and all(each.state != WAITING for each in rows))

    def until_followed(self) -> None:
        """Return once every fact was followed."""
        deadline = time.monotonic() + 20
        while True:
            snapshot = self.dashboard.actor_snapshot("notifications")
            if snapshot["position"] == snapshot["log"] == self.dashboard.ledger.last_sequence():
                return
            assert time.monotonic() < deadline, f"it was not followed: {snapshot}"

    def run(self, instance_id: UUID, job: str, *, successful: bool = True, number: int = 1) -> None:
        """Submit a job and let it end."""
        self.start_run(instance_id, job, number=number)
        self.end_run(instance_id, job, successful=successful, number=number)

    def start_run(self, instance_id: UUID, job: str, *, number: int = 1) -> None:
        self.submit(instance_id, job)
        self.report(instance_id, job, number, starting=True, fired_at=self.now)

    def end_run(self, instance_id: UUID, job: str, *, successful: bool = True, number: int = 1) -> None:
        code = 0 if successful else 3
        self.report(instance_id, job, number, successful=successful, return_code=code, completed_at=self.now)

    def submit(self, instance_id: UUID, job: str) -> None:
        context = self.dashboard.instance(instance_id).plan
        self.dashboard.command(instance_id, SubmitJob(job=f"host-{job}", context=context), OPERATOR)


def notifying(config: NotificationsConfig) -> Notifying:
    """The real channels of a configuration."""
    return Notifying(
        config=config,
        open_mailer=lambda: SmtpMailer(smtp_of(config), sender="jobs@example.org"),
        open_webhook=lambda name: HttpWebhook(
            config.webhooks[name], public_url=config.public_url, zone="UTC", clock=lambda: 0
        ),
    )


def smtp_of(config: NotificationsConfig) -> SmtpConfig:
    assert config.smtp is not None
    return config.smtp


def smtp(server: MailServer, **more: Any) -> SmtpConfig:
    """How to reach a test's mail server."""
    return SmtpConfig(
        **{
            "host": "127.0.0.1",
            "port": server.port,
            "sender": SENDER,
            "security": "none",
            "timeout_seconds": 5.0,
            **more,
        }
    )


@contextmanager
def notified_bench(folder: Path, **config: Any) -> Iterator[NotifiedBench]:
    """A bench that is closed at the end."""
    opened = NotifiedBench(folder, **config)
    try:
        yield opened
    finally:
        opened.dashboard.close()
