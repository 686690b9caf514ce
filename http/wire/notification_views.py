"""How notifications look to clients of our own API."""

import msgspec

from ...domain.wording import message_of
from ...storage.notifications import NotificationRow
from .views import written, written_if_known


class NotificationView(msgspec.Struct, frozen=True, kw_only=True):
    """A notification and what became of it."""

    id: str
    """The same in the mail (``Message-ID`` begins with it) and in what a webhook is told."""
    plan: str
    instance_id: str
    context: str
    job: str
    monitor_type: str
    execution: str
    """Tells executions of the job in its instance apart."""
    message: str
    """What happened, in a sentence."""
    at: str
    """When it happened."""
    channel: str
    """``email``, or ``webhook:`` and its name."""
    state: str
    """``waiting``, ``sent`` or ``failed``."""
    recipients: tuple[str, ...]
    delivered: tuple[str, ...]
    attempts: int
    error: str | None
    """Of the latest attempt that did not succeed whole."""
    created_at: str
    next_at: str | None
    """When it is tried next."""
    settled_at: str | None
    """When it was sent, or given up."""
    sent_again: int
    """How often somebody had it sent again."""
    sent_again_by: str | None


def notification_view(row: NotificationRow) -> NotificationView:
    """A notification as it is shown."""
    matter = row.matter
    return NotificationView(
        id=str(row.id),
        plan=row.plan,
        instance_id=str(row.instance_id),
        context=matter.context,
        job=matter.job,
        monitor_type=matter.monitor_type.value,
        execution=matter.execution,
        message=message_of(matter),
        at=written(matter.at),
        channel=row.channel,
        state=row.state.name.lower(),
        recipients=row.recipients,
        delivered=row.delivered,
        attempts=row.attempts,
        error=row.error,
        created_at=written(row.created_at),
        next_at=written_if_known(row.next_at),
        settled_at=written_if_known(row.settled_at),
        sent_again=row.round,
        sent_again_by=row.sent_again_by,
    )
