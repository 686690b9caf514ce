"""A log that was read over HTTP, replayed here: the same functions, no dashboard behind them."""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from ..domain.facts import Cause, InstanceFact, Recorded
from ..domain.instance import replay
from ..domain.instants import parse_rfc3339
from ..domain.plan import JobPlan
from ..domain.topology import Topology
from ..http.wire.views import instance_view

_INSTANTS = frozenset({"due_at", "ends_at", "fired_at", "completed_at", "next_fire_at", "through"})


def replayed_view(plan: JobPlan, instance_id: str, facts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """An instance as the API shows it, made from nothing but its plan and its facts."""
    state = replay(Topology(plan), (_recorded(UUID(instance_id), fact) for fact in facts))
    shown: dict[str, Any] = json.loads(msgspec.json.encode(instance_view(state)))
    return shown


def _recorded(instance_id: UUID, fact: dict[str, Any]) -> Recorded:
    data = {name: _instant(name, value) for name, value in fact["data"].items()}
    return Recorded(
        originator_id=instance_id,
        originator_version=fact["position"],
        at=parse_rfc3339(fact["at"]),
        cause=msgspec.convert(fact["cause"], Cause),
        fact=msgspec.convert({"type": fact["type"], **data}, InstanceFact),
    )


def _instant(name: str, value: Any) -> Any:
    return parse_rfc3339(value) if name in _INSTANTS and isinstance(value, str) else value
