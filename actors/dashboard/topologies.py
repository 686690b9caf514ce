"""Plans compiled once per version and shared by all instances of it."""

import threading
from collections import OrderedDict

from ...domain.topology import Topology
from .plan_versions import PlanVersions

_KEPT = 256
"""Compiled versions that are kept when nothing else holds them."""


class Topologies:
    """Finds the compiled form of a plan's version, from the plan's log when it is not at hand."""

    def __init__(self, versions: PlanVersions) -> None:
        self._versions = versions
        self._lock = threading.Lock()
        self._compiled: OrderedDict[tuple[str, int], Topology] = OrderedDict()

    def of(self, plan: str, version: int) -> Topology:
        """The compiled version; raises ``UnknownName`` when the plan has no such version."""
        key = (plan, version)
        with self._lock:
            found = self._compiled.get(key)
            if found is not None:
                self._compiled.move_to_end(key)
                return found
        return self.put(plan, version, Topology(self._versions.find(plan, version).plan))

    def put(self, plan: str, version: int, topology: Topology) -> Topology:
        """Keep a version that somebody has compiled; returns the one that is kept."""
        with self._lock:
            topology = self._compiled.setdefault((plan, version), topology)
            while len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return topology
