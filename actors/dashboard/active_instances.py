"""Which instances are active, and which of them a global event reaches."""

import threading
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

import msgspec
import structlog
from msgspec.structs import replace

from ...domain.instants import Instant
from ...domain.plan import EventKind, JobIdentifier
from ...storage.mapper import UnreadableFact
from .errors import UnknownName
from .topologies import Topologies

_log = structlog.get_logger(__name__)

KeyT = TypeVar("KeyT")


class ActiveInstance(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an active instance without rebuilding it."""

    instance_id: UUID
    plan: str
    plan_version: int
    environment_group: str | None = None
    ends_at: Instant | None = None
    agents: tuple[str, ...] = ()
    """Those that have to know it."""


class ActiveInstances:
    """An index of the active instances; filled from the list of instances at start, kept by the actors."""

    def __init__(self, topologies: Topologies) -> None:
        self._topologies = topologies
        self._lock = threading.Lock()
        self._by_id: dict[UUID, ActiveInstance] = {}
        self._by_plan: dict[str, dict[UUID, None]] = {}
        self._by_version: dict[tuple[str, int, str | None], dict[UUID, None]] = {}
        self._ended_early: set[UUID] = set()
        """Ended before it was told that they had started: whoever starts one may be the slower."""

    def add(self, instance: ActiveInstance) -> bool:
        """An instance started, or was found active at start; false if it has ended meanwhile."""
        with self._lock:
            if instance.instance_id in self._ended_early:
                self._ended_early.remove(instance.instance_id)
                return False
            self._by_id[instance.instance_id] = instance
            self._by_plan.setdefault(instance.plan, {})[instance.instance_id] = None
            self._by_version.setdefault(_version(instance), {})[instance.instance_id] = None
            return True

    def discard(self, instance_id: UUID) -> None:
        """An instance ended."""
        with self._lock:
            instance = self._by_id.pop(instance_id, None)
            if instance is None:
                self._ended_early.add(instance_id)
                return
            _drop(self._by_plan, instance.plan, instance_id)
            _drop(self._by_version, _version(instance), instance_id)

    def run_until_ended(self, instance_id: UUID) -> None:
        """No clock ends an instance any more; nothing happens if it was not known."""
        with self._lock:
            instance = self._by_id.get(instance_id)
            if instance is not None:
                self._by_id[instance_id] = replace(instance, ends_at=None)

    def knows(self, instance_id: UUID) -> bool:
        """Whether it counts as active."""
        with self._lock:
            return instance_id in self._by_id

    def of_plan(self, plan: str) -> list[UUID]:
        """The active instances of a plan, oldest first."""
        with self._lock:
            return list(self._by_plan.get(plan, ()))

    def all_of_plan(self, plan: str) -> list[ActiveInstance]:
        """What is known of the active instances of a plan, oldest first."""
        with self._lock:
            return [self._by_id[each] for each in self._by_plan.get(plan, ())]

    def closing(self, plan: str, now: Instant) -> bool:
        """Whether an instance of the plan is active although its window is over: it is about to be ended."""
        with self._lock:
            ends = [self._by_id[each].ends_at for each in self._by_plan.get(plan, ())]
        return any(ends_at is not None and ends_at <= now for ends_at in ends)

    def plan_of(self, instance_id: UUID) -> str | None:
        """The plan that an active instance is a run of; ``None`` if it is not active."""
        with self._lock:
            found = self._by_id.get(instance_id)
        return None if found is None else found.plan

    def all(self) -> list[ActiveInstance]:
        """Every active instance, oldest first."""
        with self._lock:
            return list(self._by_id.values())

    def ids(self) -> list[UUID]:
        """Every active instance, oldest first."""
        with self._lock:
            return list(self._by_id)

    def expecting(self, event: str, environment_group: str | None) -> list[UUID]:
        """The active instances of a group that contain a global event; no group is a group of its own."""
        return self._expecting(event, lambda group: group == _folded(environment_group))

    def expecting_anywhere(self, event: str) -> list[UUID]:
        """The active instances of every group that contain a global event."""
        return self._expecting(event, lambda _group: True)

    def _expecting(self, event: str, meant: Callable[[str | None], bool]) -> list[UUID]:
        identifier = f"{EventKind.GLOBAL.value}-{event}"
        with self._lock:
            candidates = [(key, list(ids)) for key, ids in self._by_version.items() if meant(key[2])]
        reached: list[UUID] = []
        for (plan, version, _group), ids in candidates:
            if self._may_contain(plan, version, identifier):
                reached.extend(ids)
        return reached

    def _may_contain(self, plan: str, version: int, identifier: JobIdentifier) -> bool:
        """Whether a plan lists the job; the instances of one that does not read are told, to lose nothing."""
        try:
            return identifier in self._topologies.of(plan, version).by_identifier
        except (UnknownName, UnreadableFact) as error:
            _log.error("plan damaged", plan=plan, version=version, error=str(error))
            return True


def _folded(group: str | None) -> str | None:
    return group.casefold() if group else None


def _version(instance: ActiveInstance) -> tuple[str, int, str | None]:
    return instance.plan, instance.plan_version, _folded(instance.environment_group)


def _drop(index: dict[KeyT, dict[UUID, None]], key: KeyT, instance_id: UUID) -> None:
    alike = index[key]
    alike.pop(instance_id, None)
    if not alike:
        del index[key]
