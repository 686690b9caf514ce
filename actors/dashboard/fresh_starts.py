"""How an instance that is reset has a fresh one started: through the inbox of its plan.

The entry is stored in the transaction that ends the old instance, so that no crash comes between the two: the
end without the fresh start cannot be, and the plan hears of it once.
"""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from ...domain.facts import Cause, Recorded, ResetOrdered
from ...domain.plan_log import plan_stream
from ...storage.records import Inbound, InboxEntry

RESET = "reset"
"""The kind of inbox entry by which a plan hears of it."""


class FreshStart(msgspec.Struct, frozen=True, kw_only=True):
    """One instance has ended, and another of its plan is to begin instead."""

    plan: str
    previous: UUID
    order: ResetOrdered
    cause: Cause


def fresh_starts(plan: str, facts: Iterable[Recorded]) -> list[Inbound]:
    """The inbox entry for the plan, if its instance was reset among these facts."""
    return [
        Inbound(
            stream=plan_stream(plan),
            kind=RESET,
            payload=_encode(
                FreshStart(plan=plan, previous=each.originator_id, order=fact, cause=_author(each))
            ),
            source=str(each.originator_id),
        )
        for each in facts
        if isinstance(fact := each.fact, ResetOrdered)
    ]


def fresh_start(entry: InboxEntry) -> FreshStart:
    """What an entry asks for; raises ``msgspec.DecodeError`` for what does not read."""
    return _decode(entry.payload)


def _author(recorded: Recorded) -> Cause:
    cause = recorded.cause
    return Cause(command="ResetInstance", by=cause.by, source=cause.source, reason=cause.reason)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FreshStart).decode
