"""Finds the actor of an instance, and brings it to life when there is none.

Telling and passivating are done under one lock, so that nothing is told to an actor that is about to stop.
"""

import threading
from dataclasses import dataclass
from uuid import UUID

import pykka

from ...domain.instants import Instant
from ..pool import ActorPool
from .instance_actor import Heard, InstanceMessage, Passivate, PlanInstanceActor, ReadAgain
from .surroundings import Surroundings


@dataclass(slots=True)
class _Live:
    ref: pykka.ActorRef[PlanInstanceActor]
    told_at: Instant = 0


class Instances:
    """The instance actors that are alive."""

    def __init__(self, pool: ActorPool, surroundings: Surroundings) -> None:
        self._pool = pool
        self._around = surroundings
        self._lock = threading.Lock()
        self._live: dict[UUID, _Live] = {}

    def tell(self, instance_id: UUID, message: InstanceMessage) -> None:
        """Give the instance a message; its actor is started if it sleeps."""
        with self._lock:
            self._actor(instance_id).tell(message)

    def ask(self, instance_id: UUID, message: InstanceMessage, timeout_seconds: float) -> object:
        """Give the instance a message and wait for its answer; raises what the actor raised."""
        with self._lock:
            future = self._actor(instance_id).ask(message, block=False)
        return future.get(timeout=timeout_seconds)

    def hear(self, entries: list[Heard]) -> None:
        """Tell instances of inbox entries, in the order of their positions."""
        with self._lock:
            for heard in entries:
                self._actor(heard.entry.stream).tell(heard)

    def read_again(self, instance_id: UUID) -> None:
        """Its log was written to by its plan; one that sleeps reads it anyway."""
        with self._lock:
            if instance_id in self._live:
                self._actor(instance_id).tell(ReadAgain())

    def live(self) -> list[UUID]:
        """The instances whose actors are alive."""
        with self._lock:
            return list(self._live)

    def passivate_idle(self, since: Instant) -> int:
        """Let actors sleep that nothing was told since the instant; how many there were."""
        with self._lock:
            idle = [each for each, live in self._live.items() if live.told_at < since]
            for instance_id in idle:
                self._live.pop(instance_id).ref.tell(Passivate())
        return len(idle)

    def _actor(self, instance_id: UUID) -> pykka.ActorRef[PlanInstanceActor]:
        live = self._live.get(instance_id)
        if live is None or not live.ref.is_alive():
            live = _Live(
                PlanInstanceActor.start(pool=self._pool, instance_id=instance_id, surroundings=self._around)
            )
            self._live[instance_id] = live
        live.told_at = self._around.clock()
        return live.ref
