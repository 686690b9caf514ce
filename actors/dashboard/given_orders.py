"""Orders that a plan gives its instances through their inboxes, in the transaction that they follow from."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from ...domain.commands import EndInstance, HeardOrder
from ...domain.facts import Cause
from ...storage.records import Inbound, InboxEntry

ORDERED = "ordered"
"""The kind of inbox entry that holds an order."""


class GivenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order, and who is behind it."""

    order: EndInstance
    cause: Cause

    def command(self) -> HeardOrder:
        """The order as an instance obeys it."""
        return HeardOrder(order=self.order)


def end_all(instances: Iterable[UUID], order: EndInstance, cause: Cause) -> list[Inbound]:
    """The inbox entries that have instances ended."""
    payload = msgspec.msgpack.encode(GivenOrder(order=order, cause=cause))
    return [Inbound(stream=each, kind=ORDERED, payload=payload) for each in instances]


def given_order(entry: InboxEntry) -> GivenOrder:
    """What an entry orders; raises ``msgspec.DecodeError`` for what does not read."""
    return _decode(entry.payload)


_decode = msgspec.msgpack.Decoder(GivenOrder).decode
