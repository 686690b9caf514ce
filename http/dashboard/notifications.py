"""Notifications: what was told to whom, what waits, what failed; have one sent again; try a channel."""

from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

import msgspec

from ...actors.dashboard.errors import UnknownName
from ...actors.notifications.ports import ChannelDown, NotNow, Rejected
from ...domain.notifications import EMAIL, WEBHOOK
from ...storage.notifications import NotificationFilter, NotificationRow, NotificationState
from ..wire.notification_views import NotificationView, notification_view
from .callers import Access, Caller
from .errors import FieldError, Refusal
from .instances import Limit, ReasonBody
from .routes import NO_BODY, Answer, Call, NoQuery, Route, json_body, optional_json_body
from .services import Services

State: TypeAlias = Literal["waiting", "sent", "failed"]


class NotificationsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which notifications to list."""

    plan: str | None = None
    instance: UUID | None = None
    state: State | None = None
    cursor: str | None = None
    limit: Limit = 100


class NotificationList(msgspec.Struct, frozen=True):
    """A page of notifications, newest first."""

    items: tuple[NotificationView, ...]
    next: str | None


class ProbeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to send something that says nothing: an address for a mail, or the name of a webhook."""

    to: Annotated[str, msgspec.Meta(min_length=3, max_length=320)] | None = None
    webhook: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None


class ProbeAnswer(msgspec.Struct, frozen=True):
    """What was done."""

    done: str


class Notifications:
    """The resources of notifications."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def list(self, call: Call[None, NotificationsQuery]) -> Answer:
        """A page of those of plans that the caller may see."""
        query = call.query
        which = NotificationFilter(
            plan=query.plan,
            plans=call.caller.plans,
            instance_id=query.instance,
            state=None if query.state is None else NotificationState[query.state.upper()],
        )
        try:
            page = self._dashboard.notifications.page(which, query.cursor, query.limit)
        except ValueError as error:
            raise Refusal(400, str(error), errors=(FieldError(str(error), "?cursor"),)) from error
        return Answer(NotificationList(tuple(notification_view(row) for row in page.items), page.next))

    def show(self, call: Call[None, NoQuery]) -> Answer:
        """One of them."""
        return Answer(notification_view(self._find(call.path["id"], call.caller)))

    def resend(self, call: Call[ReasonBody, NoQuery]) -> Answer:
        """Have one that was sent or failed sent again."""
        row = self._find(call.path["id"], call.caller)
        self._dashboard.send_notification_again(row, call.origin(call.body.reason))
        return Answer(notification_view(self._find(row.id, call.caller)))

    def probe(self, call: Call[ProbeBody, NoQuery]) -> Answer:
        """Send something that says nothing, now, and say what came of it."""
        body = call.body
        if (body.to is None) == (body.webhook is None):
            detail = "give either an address (to) or the name of a webhook"
            raise Refusal(422, detail, errors=(FieldError(detail),))
        channel = EMAIL if body.webhook is None else f"{WEBHOOK}{body.webhook}"
        try:
            return Answer(ProbeAnswer(self._dashboard.probe_channel(channel, body.to or "")))
        except Rejected as error:
            raise Refusal(422, str(error), errors=(FieldError(str(error)),)) from error
        except (ChannelDown, NotNow) as error:
            raise Refusal(502, str(error)) from error

    def _find(self, notification_id: UUID, caller: Caller) -> NotificationRow:
        row = self._dashboard.notifications.find(notification_id)
        if row is None:
            raise UnknownName(f"there is no notification {notification_id}")
        caller.must_see_plan(row.plan)
        return row


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    notifications = Notifications(services)
    base = "/api/v1/notifications"
    one = f"{base}/{{id:uuid}}"
    return (
        Route(
            method="GET",
            path=base,
            name="list_notifications",
            summary="List what was, is or is to be told to people, newest first",
            access=Access.READ,
            handle=notifications.list,
            body=NO_BODY,
            query=NotificationsQuery,
            answers={200: NotificationList},
        ),
        Route(
            method="GET",
            path=one,
            name="show_notification",
            summary="Show a notification and what became of it",
            access=Access.READ,
            handle=notifications.show,
            body=NO_BODY,
            query=NoQuery,
            answers={200: NotificationView},
            errors=(404,),
        ),
        Route(
            method="POST",
            path=f"{one}/resend",
            name="resend_notification",
            summary="Have a notification sent again that was sent or failed",
            access=Access.WRITE,
            handle=notifications.resend,
            body=optional_json_body(ReasonBody),
            query=NoQuery,
            answers={200: NotificationView},
            errors=(404, 409),
            keyed=True,
        ),
        Route(
            method="POST",
            path=f"{base}/test",
            name="test_notifications",
            summary="Send a mail or tell a webhook now, to see whether it arrives",
            access=Access.ADMIN,
            handle=notifications.probe,
            body=json_body(ProbeBody),
            query=NoQuery,
            answers={200: ProbeAnswer},
            errors=(409, 502),
            keyed=True,
        ),
    )
