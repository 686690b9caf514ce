"""Notifications to store and to send."""

from uuid import UUID, uuid5

from jobledger.domain.notification_settings import MonitorType
from jobledger.domain.notifications import Matter, Notification
from msgspec.structs import replace

INSTANCE = UUID("5e0d6a52-0c1b-4b8e-9a53-0f9a4ddc6f22")
MATTER = Matter(
    monitor_type=MonitorType.ERROR,
    at=1_790_000_000_000,
    plan="eod",
    plan_version=1,
    instance_id=str(INSTANCE),
    instance_started_at=1_789_999_000_000,
    job="host-load",
    job_name="load",
    agent="host",
    kind="command",
    context="eod",
    contexts=("eod",),
    execution="initiation 1",
    status="ERROR",
    return_code=3,
)


def notification(
    name: object,
    channel: str = "email",
    *,
    plan: str = "eod",
    instance_id: UUID = INSTANCE,
    said_for: str = "",
    **matter: object,
) -> Notification:
    """One that is told apart from others by its name."""
    return Notification(
        id=uuid5(INSTANCE, str(name)),
        plan=plan,
        instance_id=instance_id,
        channel=channel,
        said_for=said_for,
        matter=replace(MATTER, plan=plan, **matter),
    )
