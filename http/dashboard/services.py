"""What the resources are given: the dashboard they speak for, and what bounds them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from uuid import UUID

from ...actors.dashboard.dashboard import Dashboard
from ...actors.dashboard.errors import UnknownName
from ...domain.instance import InstanceState
from ...domain.topology import Unit
from ..wire.views import HolderView
from .callers import Caller

MOST_HOLDERS_OF_A_JOB = 3
"""Beside each job that takes part in a lock; ``GET /api/v1/locks`` tells of more."""

_LOOK_SECONDS = 1.0
"""How long a request that waits may stay unaware that the process is to stop."""


class Waiting:
    """Bounds how many requests wait for a change at one time, because each holds a thread."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def free(self) -> int:
        """How many more may wait."""
        return self._free

    @property
    def closed(self) -> bool:
        """Whether nobody is to wait any more."""
        return self._closed.is_set()

    def close(self) -> None:
        """Have those who wait answered with what there is."""
        self._closed.set()

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Whether there is a place to wait; it is given back at the end."""
        with self._lock:
            taken = self._free > 0
            self._free -= taken
        try:
            yield taken
        finally:
            with self._lock:
                self._free += taken


@dataclass(frozen=True, slots=True)
class Services:
    """Shared by all resources of one application."""

    dashboard: Dashboard
    waiting: Waiting = field(default_factory=lambda: Waiting(8))

    def instance(self, instance_id: UUID, caller: Caller) -> InstanceState:
        """The live state of an instance that the caller may see."""
        state = self.dashboard.instance(instance_id)
        caller.must_see_plan(state.plan)
        return state

    def lock_holders(self, state: InstanceState, unit: Unit, caller: Caller) -> Iterator[HolderView]:
        """Who holds the lock that a job takes part in now, the first of those that the caller may see."""
        use = unit.lock
        group = None if use is None else self.dashboard.locks_of(state.environment_group)
        if use is None or group is None or use.lock.name not in group.locks:
            return
        for ticket in islice(group.locks[use.lock.name].holders, MOST_HOLDERS_OF_A_JOB):
            claim = group.claims[ticket]
            if caller.sees_plan(self.dashboard.plan_of(claim.instance_id) or ""):
                yield HolderView(instance_id=str(claim.instance_id), job=claim.job, context=claim.context)

    def changed_instance(self, instance_id: UUID, after: int, wait_seconds: float) -> InstanceState:
        """The state once its log is past a position, or when the time is over or nobody may wait."""
        deadline = monotonic() + wait_seconds
        with self.waiting.place() as taken:
            state = self.dashboard.instance(instance_id)
            while taken and state.position <= after and not self.waiting.closed:
                remaining = deadline - monotonic()
                if remaining <= 0:
                    break
                state = self.dashboard.wait_for_change(instance_id, after, min(remaining, _LOOK_SECONDS))
        return state

    def must_see_instance(self, instance_id: UUID, caller: Caller) -> None:
        """Refuse a caller whose limits leave the instance's plan out."""
        if caller.plans is not None:
            caller.must_see_plan(self.dashboard.instance(instance_id).plan)


def unit_in(state: InstanceState, context: str, identifier: str) -> Unit:
    """A job of an instance by context and identifier; raises ``UnknownName``."""
    unit = state.topology.unit_in(context, identifier)
    if unit is not None:
        return unit
    if context not in state.topology.context_index:
        raise UnknownName(f"plan {state.plan} version {state.plan_version} has no context {context}")
    raise UnknownName(f"context {context} of plan {state.plan} lists no job {identifier}")


def units_beneath(state: InstanceState, context: str) -> list[Unit]:
    """The jobs of an instance in a context and beneath it, each once; raises ``UnknownName``."""
    units = state.topology.beneath(context)
    if units is None:
        raise UnknownName(f"plan {state.plan} version {state.plan_version} has no context {context}")
    return units
