"""The stored form of a plan's state, without the plan: that is read from the fact that pushed it."""

import msgspec

from .instants import Instant
from .plan_log import PlanStanding, PlanState, Prepared

PLAN_STATE_SCHEMA = 1
"""Of the stored form; a snapshot of another schema is not read, the log is."""


class StoredPlan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a snapshot has."""

    schema: int
    position: int
    pushed_at: Instant
    pushed_position: int
    """Of the fact that has the plan and its documents."""
    notifications_at: int
    """Of the fact that says who is told of what."""
    standing: PlanStanding
    accounted_through: Instant
    begun_with: int = 1
    deferred: Instant | None = None
    prepared: Prepared | None = None
    holders: tuple[str, ...] = ()
    source_parameters: dict[str, str] = {}
    synchronised: bool = True


_SAME_IN_BOTH = (
    "position",
    "pushed_at",
    "pushed_position",
    "notifications_at",
    "standing",
    "accounted_through",
    "begun_with",
    "deferred",
    "prepared",
    "holders",
    "source_parameters",
    "synchronised",
)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(StoredPlan).decode


def freeze_plan(state: PlanState) -> bytes:
    """The state as msgpack; equal states of one version give equal bytes."""
    same = {name: getattr(state, name) for name in _SAME_IN_BOTH}
    return _encode(StoredPlan(schema=PLAN_STATE_SCHEMA, **same))


def thaw_plan(data: bytes) -> StoredPlan | None:
    """What ``freeze_plan`` stored; ``None`` if it is of another schema: replay the log then."""
    try:
        stored = _decode(data)
    except msgspec.DecodeError:
        return None
    return stored if stored.schema == PLAN_STATE_SCHEMA else None


def with_plan(stored: StoredPlan, state: PlanState) -> PlanState:
    """The state that was stored; given is the state after the facts that said what the plan is."""
    same = {name: getattr(stored, name) for name in _SAME_IN_BOTH}
    return msgspec.structs.replace(state, **same)
