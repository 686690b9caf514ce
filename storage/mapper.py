"""Facts as rows of the event store, and back.

A row's topic is the fact's name with the version of its schema, such as ``JobStarted:1``; its state is
msgpack of the instant, the cause and the fact. Facts of older versions are brought to the present form when
they are read; the rows stay as they were written.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast, get_args
from uuid import UUID

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent

from ..domain.facts import SCHEMA_VERSION, Cause, EventKept, Fact, InstanceFact, LockFact, PlanFact, Recorded
from ..domain.instants import Instant

Upcast: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a fact as plain data of one version and gives it as the next version has it."""

UPCASTS: dict[tuple[str, int], Upcast] = {}
"""By the fact's name and the version that is read. Versions without an entry need no change."""

_FACT_TYPES: tuple[type[msgspec.Struct], ...] = (
    *get_args(InstanceFact),
    *get_args(PlanFact),
    *get_args(LockFact),
    EventKept,
)


class UnreadableFact(RuntimeError):
    """A row of the event store that this version of the program cannot read."""


class _PlainState(msgspec.Struct, frozen=True, array_like=True):
    at: Instant
    cause: Cause
    fact: dict[str, Any]


class _Stored(msgspec.Struct, frozen=True):
    at: Instant
    cause: Cause
    fact: Any


class _Instant(msgspec.Struct, frozen=True, array_like=True):
    at: Instant


class _Header(msgspec.Struct, frozen=True, array_like=True):
    at: Instant
    cause: Cause


_decode_instant = msgspec.msgpack.Decoder(_Instant).decode
_decode_header = msgspec.msgpack.Decoder(_Header).decode
_decode_plain = msgspec.msgpack.Decoder(_PlainState).decode


class FactMapper(Mapper[UUID]):
    """Maps recorded facts to stored events. Safe to share between threads."""

    def __init__(
        self,
        *,
        schema_version: int = SCHEMA_VERSION,
        upcasts: Mapping[tuple[str, int], Upcast] = UPCASTS,
        types: tuple[type[msgspec.Struct], ...] = _FACT_TYPES,
    ) -> None:
        self._schema_version = schema_version
        self._upcasts = upcasts
        self._types = {each.__name__: each for each in types}
        self._topics = {each: f"{each.__name__}:{schema_version}" for each in types}
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoders: dict[str, Callable[[bytes], Any]] = {
            topic: msgspec.msgpack.Decoder(_state_type(each)).decode for each, topic in self._topics.items()
        }

    def topic(self, fact: Fact) -> str:
        """The topic under which the fact is stored now; ``TypeError`` for what is no fact."""
        try:
            return self._topics[type(fact)]
        except KeyError:
            raise TypeError(f"{type(fact).__name__} is no fact that can be stored") from None

    def encode(self, recorded: Recorded) -> tuple[str, bytes]:
        """The topic and the state of a row."""
        fact = recorded.fact
        return self.topic(fact), self._encode((recorded.at, recorded.cause, fact))

    def decode(self, stream: UUID, position: int, topic: str, state: bytes) -> Recorded:
        """The fact that a row holds; raises ``UnreadableFact``."""
        decode = self._decoders.get(topic)
        try:
            stored = self._upcast(topic, state) if decode is None else decode(state)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise UnreadableFact(f"fact {position} of {stream} ({topic}) does not read: {error}") from error
        return Recorded(
            originator_id=stream,
            originator_version=position,
            at=stored.at,
            cause=stored.cause,
            fact=stored.fact,
        )

    def instant(self, state: bytes) -> Instant:
        """When the fact of a row was recorded, without reading the rest of it."""
        return _decode_instant(state).at

    def header(self, state: bytes) -> tuple[Instant, Cause]:
        """When and why the fact of a row was recorded, without reading the fact."""
        header = _decode_header(state)
        return header.at, header.cause

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """The row as the event store library has it."""
        recorded = cast("Recorded", domain_event)
        topic, state = self.encode(recorded)
        return StoredEvent(recorded.originator_id, recorded.originator_version, topic, state)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """The recorded fact of a row as the event store library has it; raises ``UnreadableFact``."""
        stream = stored_event.originator_id
        return self.decode(
            stream if isinstance(stream, UUID) else UUID(stream),
            stored_event.originator_version,
            stored_event.topic,
            stored_event.state,
        )

    def _upcast(self, topic: str, state: bytes) -> _Stored:
        name, _, version_text = topic.rpartition(":")
        if name not in self._types or not version_text.isdecimal():
            raise UnreadableFact(f"no fact is called {topic}; a newer version of this program may know it")
        version = int(version_text)
        if version > self._schema_version:
            raise UnreadableFact(
                f"{name} is stored in version {version} of its schema; this program knows it up to "
                f"version {self._schema_version}: use a version of the program at least as new as its writer"
            )
        stored = _decode_plain(state)
        data = stored.fact
        while version < self._schema_version:
            upcast = self._upcasts.get((name, version))
            data = data if upcast is None else upcast(data)
            version += 1
        fact = msgspec.convert(data, self._types[name])
        return _Stored(stored.at, stored.cause, fact)


def _state_type(fact_type: type[msgspec.Struct]) -> Any:
    return msgspec.defstruct(
        f"{fact_type.__name__}State",
        [("at", Instant), ("cause", Cause), ("fact", fact_type)],
        frozen=True,
        array_like=True,
    )
