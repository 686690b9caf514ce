"""What was, is or is to be told to people: a row for each notification, and how far the log was followed.

A notification's id follows from what it is about, and stands in the table once: to follow the same part of
the log again adds nothing. The rows that a part of the log gives and the position after it are kept together.
"""

from collections.abc import Collection, Sequence
from enum import IntEnum
from typing import Any
from uuid import UUID

import msgspec

from ..domain.instants import Instant
from ..domain.notifications import Matter, Notification
from .engine import Row, Transaction
from .ledger import Ledger
from .records import Page

_FOLLOWER = "notifications"

_COLUMNS = (
    "number, id, plan, instance, channel, said_for, matter, state, created_at, attempts, next_at, "
    "settled_at, error, recipients, delivered, round, sent_again_by"
)
_PUT = (
    "INSERT INTO notifications (id, plan, instance, channel, said_for, matter, state, created_at, next_at, "
    "recipients, delivered) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)
_FOLLOWED = (
    "INSERT INTO followers (name, sequence) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence "
    "WHERE excluded.sequence > followers.sequence"
)

_encode = msgspec.msgpack.Encoder().encode
_decode_matter = msgspec.msgpack.Decoder(Matter).decode
_decode_names = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_NOBODY = _encode(())


class NotificationState(IntEnum):
    """What became of a notification; the values are stored."""

    WAITING = 0
    """To be sent, for the first time or again after an attempt that failed for now."""
    SENT = 1
    FAILED = 2
    """Trying again would not help; a person may have it sent again."""


class NotificationRow(msgspec.Struct, frozen=True, kw_only=True):
    """A notification and what became of it."""

    number: int
    """Strictly increasing in the order in which they came about."""
    id: UUID
    plan: str
    instance_id: UUID
    channel: str
    said_for: str
    """The context for which the plan's settings say it apart; empty when they do not."""
    matter: Matter
    state: NotificationState
    created_at: Instant
    attempts: int
    next_at: Instant | None
    """When it is tried next; ``None`` unless it waits."""
    settled_at: Instant | None
    """When it was sent, or given up."""
    error: str | None
    """Of the latest attempt that did not succeed whole."""
    recipients: tuple[str, ...]
    """To whom the latest attempt was made."""
    delivered: tuple[str, ...]
    """Those that have it: it is not sent to them again."""
    round: int
    """How often a person had it sent again."""
    sent_again_by: str | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt to send a notification came to."""

    state: NotificationState
    at: Instant
    error: str | None = None
    next_at: Instant | None = None
    """For one that still waits."""
    recipients: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()


class NotificationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which notifications a list is to hold."""

    plan: str | None = None
    plans: Collection[str] | None = None
    """Those that the reader may see; ``None``: all."""
    instance_id: UUID | None = None
    state: NotificationState | None = None


class Notifications:
    """The notifications in a ledger's database. Safe to share between threads.

    Every method may raise ``Unavailable``; what is changed is on disk when a method returns.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # --- following the log ----------------------------------------------------------------------------------

    def position(self) -> int | None:
        """The sequence through which the log was followed; ``None`` before it ever was."""
        rows = self._ledger.reader.rows("SELECT sequence FROM followers WHERE name = ?", _FOLLOWER)
        return rows[0][0] if rows else None

    def begin(self, at_sequence: int) -> None:
        """Follow the log from a sequence on, unless it is followed already."""
        statement = "INSERT INTO followers (name, sequence) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
        self._ledger.write(lambda transaction: transaction.run(statement, (_FOLLOWER, at_sequence)))

    def forget_position(self) -> None:
        """Follow the log no more: what happens until it is begun again is not told of."""
        statement = "DELETE FROM followers WHERE name = ?"
        self._ledger.write(lambda transaction: transaction.run(statement, (_FOLLOWER,)))

    def add(self, notifications: Sequence[Notification], through: int, at: Instant) -> None:
        """Keep notifications that are not there yet, and that the log was followed through a sequence."""
        rows = [self._row(each, at) for each in notifications]

        def work(transaction: Transaction) -> None:
            if rows:
                transaction.run(_PUT, *rows)
            transaction.run(_FOLLOWED, (_FOLLOWER, through))

        self._ledger.write(work)

    def _row(self, each: Notification, at: Instant) -> tuple[object, ...]:
        key = self._ledger.reader.key
        return (
            key(each.id),
            each.plan,
            key(each.instance_id),
            each.channel,
            each.said_for,
            _encode(each.matter),
            int(NotificationState.WAITING),
            at,
            at,
            _NOBODY,
            _NOBODY,
        )

    # --- sending --------------------------------------------------------------------------------------------

    def waiting(self, channel: str, now: Instant, limit: int) -> list[NotificationRow]:
        """What is to be sent on a channel by now, that which has waited longest for its turn first."""
        return self._read(
            "WHERE state = 0 AND channel = ? AND next_at <= ? ORDER BY next_at, number LIMIT ?",
            (channel, now, limit),
        )

    def waiting_beyond(self, channel: str, at: Instant, limit: int) -> list[NotificationRow]:
        """What is to be sent on a channel later than an instant, the earliest first."""
        return self._read(
            "WHERE state = 0 AND channel = ? AND next_at > ? ORDER BY next_at, number LIMIT ?",
            (channel, at, limit),
        )

    def next_at(self, channel: str) -> Instant | None:
        """When something is to be sent on a channel next; ``None`` when nothing waits."""
        rows = self._ledger.reader.rows(
            "SELECT MIN(next_at) FROM notifications WHERE state = 0 AND channel = ?", channel
        )
        found: Instant | None = rows[0][0]
        return found

    def channels_with_waiting(self) -> list[str]:
        """The channels that something waits for."""
        rows = self._ledger.reader.rows("SELECT DISTINCT channel FROM notifications WHERE state = 0")
        return sorted(channel for (channel,) in rows)

    def settle(self, row: NotificationRow, outcome: Outcome) -> bool:
        """Keep what an attempt came to; false when somebody had it sent again meanwhile."""
        settled = outcome.state is not NotificationState.WAITING
        parameters = (
            int(outcome.state),
            outcome.next_at,
            outcome.at if settled else None,
            outcome.error,
            _encode(outcome.recipients),
            _encode(outcome.delivered),
            self._ledger.reader.key(row.id),
            row.round,
        )
        statement = (
            "UPDATE notifications SET state = ?, next_at = ?, settled_at = ?, error = ?, recipients = ?, "
            "delivered = ?, attempts = attempts + 1 WHERE id = ? AND round = ? AND state = 0"
        )
        return bool(self._ledger.write(lambda transaction: transaction.run(statement, parameters)))

    def send_again(self, notification_id: UUID, by: str, at: Instant) -> bool:
        """Have one that was sent or failed wait again, for those who do not have it, or for all who had it.

        False when there is none of that id or it waits already.
        """
        statement = (
            "UPDATE notifications SET delivered = CASE WHEN state = 1 THEN ? ELSE delivered END, state = 0, "
            "next_at = ?, settled_at = NULL, attempts = 0, round = round + 1, sent_again_by = ? "
            "WHERE id = ? AND state <> 0"
        )
        parameters = (_NOBODY, at, by, self._ledger.reader.key(notification_id))
        return bool(self._ledger.write(lambda transaction: transaction.run(statement, parameters)))

    # --- looking --------------------------------------------------------------------------------------------

    def find(self, notification_id: UUID) -> NotificationRow | None:
        """The notification of an id."""
        found = self._read("WHERE id = ?", (self._ledger.reader.key(notification_id),))
        return found[0] if found else None

    def page(self, which: NotificationFilter, cursor: str | None, limit: int) -> Page[NotificationRow]:
        """Notifications, newest first; ``ValueError`` for a cursor that is none of ours."""
        conditions: list[str] = []
        parameters: list[Any] = []
        for column, value in (
            ("plan", which.plan),
            ("instance", None if which.instance_id is None else self._ledger.reader.key(which.instance_id)),
            ("state", None if which.state is None else int(which.state)),
        ):
            if value is not None:
                conditions.append(f"{column} = ?")
                parameters.append(value)
        if which.plans is not None:
            plans = sorted(which.plans)
            conditions.append(f"plan IN ({', '.join('?' * len(plans))})" if plans else "1 = 0")
            parameters += plans
        if cursor is not None:
            if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 18:
                raise ValueError(f"{cursor[:40]!r} is no cursor of a list of notifications")
            conditions.append("number < ?")
            parameters.append(int(cursor))
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        rows = self._read(f"{where}ORDER BY number DESC LIMIT ?", (*parameters, limit + 1))
        items = rows[:limit]
        return Page(items=items, next=str(items[-1].number) if len(rows) > limit and items else None)

    def _read(self, rest: str, parameters: Sequence[object]) -> list[NotificationRow]:
        rows = self._ledger.reader.rows_of(f"SELECT {_COLUMNS} FROM notifications {rest}", parameters)  # noqa: S608  parts of our own
        return [self._notification(row) for row in rows]

    def _notification(self, row: Row) -> NotificationRow:
        number, key, plan, instance, channel, said_for, matter, state, created_at, *rest = row
        attempts, next_at, settled_at, error, recipients, delivered, rounds, sent_again_by = rest
        stream = self._ledger.reader.stream
        return NotificationRow(
            number=number,
            id=stream(key),
            plan=plan,
            instance_id=stream(instance),
            channel=channel,
            said_for=said_for,
            matter=_decode_matter(matter),
            state=NotificationState(state),
            created_at=created_at,
            attempts=attempts,
            next_at=next_at,
            settled_at=settled_at,
            error=error,
            recipients=_decode_names(recipients),
            delivered=_decode_names(delivered),
            round=rounds,
            sent_again_by=sent_again_by,
        )
