"""The agents that the dashboard knows: where they are, when they were last heard, and the ways to them."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pykka

from ...domain.instants import Instant
from ...storage.ledger import Ledger
from ...storage.records import AgentRow
from ..timers import Clock, Timers
from .errors import UnknownName
from .gateway import AgentGatewayActor, Confirm, ReadGateway, Wake
from .orders import Orders
from .ports import AgentTransport

UNREACHABLE_AFTER_MS = 15_000
"""Three heartbeats."""


class AgentView(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as people see it."""

    name: str
    url: str
    host: str
    version: str
    reachable: bool
    last_seen: Instant
    running: int
    queued: int
    problems: tuple[str, ...] = ()
    """What it says of itself that a person should see to."""
    refused: str | None = None
    """The latest order that it refused for good, and why."""


class _Gateway(msgspec.Struct):
    ref: pykka.ActorRef[AgentGatewayActor]
    woken: threading.Event


class Agents:
    """The registry of agents and their gateways."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        orders: Orders,
        clock: Clock,
        timers: Timers,
        open_transport: Callable[[str], AgentTransport],
    ) -> None:
        self._ledger = ledger
        self._orders = orders
        self._clock = clock
        self._timers = timers
        self._open_transport = open_transport
        self._lock = threading.Lock()
        self._closed = False
        self._gateways: dict[str, _Gateway] = {}
        self._known: dict[str, AgentRow] = {}
        self._last_seen: dict[str, Instant] = {}
        self._loads: dict[str, tuple[int, int]] = {}
        self._problems: dict[str, tuple[str, ...]] = {}
        self._refusals: dict[str, str] = {}
        self._transports: dict[str, tuple[str, AgentTransport]] = {}

    def start(self) -> None:
        """Bring back what was known, and go on delivering."""
        for row in self._ledger.agents():
            self._known[row.name] = row
            self._last_seen[row.name] = row.announced_at
        self.wake(self._ledger.agents_with_outgoing())

    def announce(
        self,
        name: str,
        *,
        url: str,
        host: str,
        version: str,
        running: int = 0,
        queued: int = 0,
        problems: tuple[str, ...] = (),
    ) -> None:
        """An agent says where it is and that it lives; only news is written."""
        now = self._clock()
        row = AgentRow(name=name, url=url, host=host, version=version, announced_at=now)
        with self._lock:
            known = self._known.get(name)
            self._last_seen[name] = now
            self._loads[name] = (running, queued)
            self._problems[name] = problems
        if known is None or (known.url, known.host, known.version) != (url, host, version):
            self._ledger.put_agent(row)
            with self._lock:
                self._known[name] = row
        self.wake([name])

    def names(self) -> frozenset[str]:
        """Every agent that ever announced itself."""
        with self._lock:
            return frozenset(self._known)

    def views(self) -> list[AgentView]:
        """Every agent that ever announced itself, by name."""
        now = self._clock()
        with self._lock:
            return [self._view(self._known[name], now) for name in sorted(self._known)]

    def _view(self, row: AgentRow, now: Instant) -> AgentView:
        running, queued = self._loads.get(row.name, (0, 0))
        seen = self._last_seen[row.name]
        return AgentView(
            name=row.name,
            url=row.url,
            host=row.host,
            version=row.version,
            reachable=now - seen < UNREACHABLE_AFTER_MS,
            last_seen=seen,
            running=running,
            queued=queued,
            problems=self._problems.get(row.name, ()),
            refused=self._refusals.get(row.name),
        )

    def wake(self, agents: Iterable[str]) -> None:
        """Have gateways look for deliveries; many calls while one is busy count as one."""
        for name in agents:
            gateway = self._gateway(name)
            if gateway is not None and not gateway.woken.is_set():
                gateway.woken.set()
                gateway.ref.tell(Wake())

    def _tell(self, name: str, message: Wake | Confirm) -> None:
        gateway = self._gateway(name)
        if gateway is not None:
            gateway.ref.tell(message)

    def transport(self, name: str) -> AgentTransport | None:
        """The way to an agent at the address it announced last; ``None`` before it announced any."""
        with self._lock:
            row = self._known.get(name)
            if row is None:
                return None
            url, transport = self._transports.get(name, ("", None))
            if transport is None or url != row.url:
                if transport is not None:
                    transport.close()
                transport = self._open_transport(row.url)
                self._transports[name] = (row.url, transport)
            return transport

    def gateway_names(self) -> list[str]:
        """The agents whose gateways are alive."""
        with self._lock:
            return sorted(self._gateways)

    def gateway_snapshot(self, agent: str, timeout_seconds: float) -> dict[str, object]:
        """A description of one gateway; raises ``UnknownName``."""
        with self._lock:
            gateway = self._gateways.get(agent)
        if gateway is None:
            raise UnknownName(f"there is no gateway to an agent {agent}")
        snapshot: Any = gateway.ref.ask(ReadGateway(), timeout=timeout_seconds)
        answer: dict[str, object] = snapshot
        return answer

    def close(self) -> None:
        """Stop delivering; what is under way is finished or given up by its own time limit."""
        with self._lock:
            self._closed = True
            gateways = list(self._gateways.values())
            transports = [transport for _, transport in self._transports.values()]
        for gateway in gateways:
            gateway.ref.stop(block=False)
        for transport in transports:
            transport.close()
        for gateway in gateways:
            gateway.ref.stop(block=True)

    def _gateway(self, name: str) -> _Gateway | None:
        with self._lock:
            if self._closed:
                return None
            found = self._gateways.get(name)
            if found is None or not found.ref.is_alive():
                woken = threading.Event()
                ref = AgentGatewayActor.start(
                    agent=name,
                    ledger=self._ledger,
                    orders=self._orders,
                    clock=self._clock,
                    connect=self.transport,
                    tell_at=lambda at, message: self._timers.set(
                        (type(message), name), at, lambda: self._tell(name, message)
                    ),
                    woken=woken,
                    refused=lambda why: self._refusals.__setitem__(name, why),
                )
                found = self._gateways[name] = _Gateway(ref, woken)
            return found
