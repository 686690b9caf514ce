"""How active instances hear that their plan's parameter source says something else: through their inboxes."""

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

import msgspec

from ...domain.commands import TakeSourceParameters
from ...storage.records import Inbound

SOURCE_NEWS: Final = "source"
"""The kind of such an inbox entry."""


def source_news(instances: Iterable[UUID], parameters: Mapping[str, str], *, source: str) -> list[Inbound]:
    """An inbox entry for each instance, to be stored with the fact of the plan that says the same."""
    payload = msgspec.msgpack.encode(TakeSourceParameters(parameters=dict(parameters)))
    return [Inbound(stream=each, kind=SOURCE_NEWS, payload=payload, source=source) for each in instances]
