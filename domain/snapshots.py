"""The stored form of an instance's state, and the digest by which two states are compared.

What only follows from the statuses of the jobs is left out of the stored form and worked out again on
reading, so a snapshot can never disagree with the rules.
"""

import hashlib
from uuid import UUID

import msgspec
from immutables import Map

from .instance import STATE_SCHEMA, InstanceState, with_job
from .instants import Instant
from .job_state import UNTOUCHED, JobState
from .messages import DryRun
from .topology import Topology


class _StoredJob(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    identifier: str
    context: str | None
    state: JobState


class _StoredInstance(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    schema: int
    instance_id: UUID
    position: int
    plan_version: int
    started_at: Instant
    updated_at: Instant
    prepared: bool = False
    due_at: Instant | None = None
    ends_at: Instant | None = None
    ended_at: Instant | None = None
    end_reason: str | None = None
    agents: tuple[str, ...] = ()
    environment_group: str | None = None
    parameters: dict[str, str] = {}
    dry_run: DryRun | None = None
    context_parameters: dict[str, dict[str, str]] = {}
    schedules_disabled: bool = False
    until_ended: bool = False
    commands_held: bool = False
    source_parameters: dict[str, str] = {}
    zone: str = "UTC"
    business_date: str | None = None
    initiations: int = 0
    raised: int = 0
    seen: dict[str, int] = {}
    jobs: tuple[_StoredJob, ...] = ()


_SAME_IN_BOTH = (
    "instance_id",
    "position",
    "plan_version",
    "started_at",
    "updated_at",
    "prepared",
    "due_at",
    "ends_at",
    "ended_at",
    "end_reason",
    "agents",
    "environment_group",
    "parameters",
    "dry_run",
    "schedules_disabled",
    "until_ended",
    "commands_held",
    "source_parameters",
    "zone",
    "business_date",
    "initiations",
    "raised",
)
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(_StoredInstance).decode


def freeze(state: InstanceState) -> bytes:
    """The state as msgpack; equal states give equal bytes."""
    units = state.topology.units
    jobs = (_StoredJob(units[i].identifier, units[i].context, job) for i, job in sorted(state.jobs.items()))
    same = {name: getattr(state, name) for name in _SAME_IN_BOTH}
    stored = _StoredInstance(
        schema=STATE_SCHEMA,
        seen=dict(state.seen),
        context_parameters=dict(state.context_parameters),
        jobs=tuple(jobs),
        **same,
    )
    return _encode(stored)


def thaw(topology: Topology, data: bytes) -> InstanceState | None:
    """The state that ``freeze`` stored; ``None`` if it is of another schema: replay the log then."""
    try:
        stored = _decode(data)
    except msgspec.DecodeError:
        return None
    if stored.schema != STATE_SCHEMA:
        return None
    same = {name: getattr(stored, name) for name in _SAME_IN_BOTH}
    state = InstanceState(
        topology=topology, seen=Map(stored.seen), context_parameters=Map(stored.context_parameters), **same
    )
    for each in stored.jobs:
        unit = topology.unit_of(each.identifier, each.context)
        if unit is None:
            return None
        state = with_job(state, unit, each.state)
    return state


def digest(state: InstanceState) -> str:
    """SHA-256 over all that is stored and derived: live and replayed state agree, or there is a fault."""
    derived = (
        [state.context_status(context.index).value for context in state.topology.contexts],
        [state.gate_holds(dependency.gate) for dependency in state.topology.dependencies],
        [list(msgspec.structs.astuple(state.context_counters(c.index))) for c in state.topology.contexts],
        [unit.index for unit in state.topology.units if state.job(unit.index) != UNTOUCHED],
    )
    return hashlib.sha256(freeze(state) + _encode(derived)).hexdigest()
