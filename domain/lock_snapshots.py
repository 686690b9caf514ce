"""The stored form of the locks of an environment group, and the digest by which two states are compared.

Stored are the locks as defined and the claims on them. Who holds what, who waits in which order and who is
next follow from these, and are worked out again on reading.
"""

import hashlib
from uuid import UUID

import msgspec

from .instants import Instant
from .lock_group import Claim, LockGroup, LockState, with_claim, with_lock

_SCHEMA = 1
"""Of the stored form; one of another schema is not read, the log is."""


class _StoredLock(msgspec.Struct, frozen=True, array_like=True):
    name: str
    count: int
    exclusive: bool


class _StoredGroup(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    schema: int
    stream: UUID
    environment_group: str | None
    position: int
    updated_at: Instant
    next_ticket: int
    locks: tuple[_StoredLock, ...] = ()
    claims: tuple[Claim, ...] = ()


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(_StoredGroup).decode


def freeze_locks(state: LockGroup) -> bytes:
    """The state as msgpack; equal states give equal bytes."""
    locks = (_StoredLock(lock.name, lock.count, lock.exclusive) for _, lock in sorted(state.locks.items()))
    return _encode(
        _StoredGroup(
            schema=_SCHEMA,
            stream=state.stream,
            environment_group=state.environment_group,
            position=state.position,
            updated_at=state.updated_at,
            next_ticket=state.next_ticket,
            locks=tuple(locks),
            claims=tuple(claim for _, claim in sorted(state.claims.items())),
        )
    )


def thaw_locks(data: bytes) -> LockGroup | None:
    """The state that ``freeze_locks`` stored; ``None`` if it does not read as such: replay the log then."""
    try:
        stored = _decode(data)
    except msgspec.DecodeError:
        return None
    if stored.schema != _SCHEMA:
        return None
    state = LockGroup(
        stream=stored.stream,
        environment_group=stored.environment_group,
        position=stored.position,
        updated_at=stored.updated_at,
        next_ticket=stored.next_ticket,
    )
    for lock in stored.locks:
        state = with_lock(state, LockState(name=lock.name, count=lock.count, exclusive=lock.exclusive))
    for claim in stored.claims:
        if claim.lock not in state.locks:
            return None
        state = with_claim(state, claim)
    return state


def digest_of_locks(state: LockGroup) -> str:
    """SHA-256 over all that is stored and derived: live and replayed state agree, or there is a fault."""
    derived = (
        [
            (name, lock.held, list(lock.holders), list(lock.waiting), lock.candidate)
            for name, lock in sorted(state.locks.items())
        ],
        sorted((instance_id.bytes, list(tickets)) for instance_id, tickets in state.by_instance.items()),
        (state.held, state.exclusively_held, list(state.candidates)),
    )
    return hashlib.sha256(freeze_locks(state) + _encode(derived)).hexdigest()
