"""The way to one agent: follows the facts that it must be told of, in order, until it has them.

Each agent has a gateway with a thread of its own, so one that does not answer delays nobody else.
"""

import random
import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import msgspec
import pykka
import structlog

from ...domain.commands import RefuseInitiation
from ...domain.facts import KillRequested, PlanPushed
from ...domain.instants import Instant
from ...storage.ledger import Ledger
from ...storage.records import Inbound, Outgoing, Unavailable
from ..timers import Clock
from .orders import Orders
from .ports import AgentRefused, AgentTransport, AgentUnreachable

_log = structlog.get_logger(__name__)

BATCH = 200
"""Deliveries that are read, and initiations that are sent, at once."""
FIRST_PAUSE_MS = 100
LONGEST_PAUSE_MS = 30_000


class Wake(msgspec.Struct, frozen=True):
    """There may be something to deliver."""


class ReadGateway(msgspec.Struct, frozen=True):
    """Answer a description of this gateway, for debugging."""


class AgentGatewayActor(pykka.ThreadingActor):
    """Delivers to one agent, at whichever address it announced last."""

    use_daemon_thread = True

    def __init__(
        self,
        *,
        agent: str,
        ledger: Ledger,
        orders: Orders,
        clock: Clock,
        connect: Callable[[str], AgentTransport | None],
        wake_at: Callable[[Instant], None],
        woken: threading.Event,
        refused: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._agent = agent
        self._ledger = ledger
        self._orders = orders
        self._clock = clock
        self._connect = connect
        self._wake_at = wake_at
        self._failures = 0
        self._delivered = 0
        self._last_error: str | None = None
        self._woken = woken
        self._refused = refused

    def on_receive(self, message: Wake | ReadGateway) -> object:
        """Deliver, or describe."""
        match message:
            case Wake():
                self._woken.clear()
                self._deliver_all()
                return None
            case ReadGateway():
                return self.snapshot()

    def _deliver_all(self) -> None:
        try:
            while True:
                # Before anything is read: what waits for an agent that may never come can be large.
                transport = self._connect(self._agent)
                if transport is None:
                    self._last_error = "the agent has not announced itself yet"
                    return
                items = self._ledger.outgoing(self._agent, limit=BATCH)
                if not items:
                    break
                for kind, group in groupby(items, key=lambda item: item.kind):
                    self._deliver(transport, kind, list(group))
        except AgentUnreachable as error:
            self._pause(error)
        except Unavailable as error:
            self._pause(error)
        except Exception as error:  # noqa: BLE001  the supervisor: nothing is lost, it is tried again
            _log.exception("gateway failed, it goes on from the log", agent=self._agent)
            self._pause(error)
        else:
            self._failures = 0
            self._last_error = None

    def _deliver(self, transport: AgentTransport, kind: str, items: Sequence[Outgoing]) -> None:
        if kind == "initiate":
            refusals = self._initiate(transport, items)
            if refusals:
                self._ledger.receive(refusals)
            self._delivered_through(items)
            return
        for item in items:
            try:
                self._give(transport, kind, item)
            except AgentRefused as error:
                _log.error(
                    "agent refused",
                    agent=self._agent,
                    order=kind,
                    stream=str(item.recorded.originator_id),
                    error=str(error),
                )
                self._last_error = str(error)
                self._refused(f"it refused to {kind}: {error}")
            self._delivered_through([item])

    def _delivered_through(self, items: Sequence[Outgoing]) -> None:
        self._ledger.delivered(self._agent, items[-1].sequence)
        self._delivered += len(items)
        self._failures = 0

    def _initiate(self, transport: AgentTransport, items: Sequence[Outgoing]) -> list[Inbound]:
        """Send initiations; what the agent refuses for good goes back to its instance as an event."""
        initiations = [self._orders.initiation(item.recorded) for item in items]
        refusals = []
        for item, initiation, refusal in zip(
            items, initiations, transport.initiate(initiations), strict=True
        ):
            if refusal is not None:
                _log.error("initiation refused", agent=self._agent, initiation=initiation.id, error=refusal)
                told = f"the agent refused the initiation: {refusal}"
                refused = RefuseInitiation(initiation_id=initiation.id, detail=told)
                refusals.append(
                    Inbound(
                        stream=item.recorded.originator_id,
                        kind="refused",
                        payload=msgspec.msgpack.encode(refused),
                        source=self._agent,
                    )
                )
        return refusals

    def _give(self, transport: AgentTransport, kind: str, item: Outgoing) -> None:
        recorded = item.recorded
        match kind, recorded.fact:
            case "provision", PlanPushed(plan=plan):
                transport.provision(self._orders.provision(plan, self._agent))
            case "withdraw", PlanPushed(plan=plan):
                transport.withdraw(plan.name)
            case "publish", _:
                transport.publish(*self._orders.publication(recorded.originator_id, self._agent))
            case "remove", _:
                transport.remove(str(recorded.originator_id))
            case "kill", KillRequested(initiation=number, pid=pid, force=force):
                transport.kill(f"{recorded.originator_id}-{number}", pid, force=force)
            case _:
                raise ValueError(f"{kind} of {type(recorded.fact).__name__} is nothing to deliver")

    def _pause(self, error: Exception) -> None:
        self._failures += 1
        self._last_error = str(error)
        longest = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** min(self._failures, 20))
        pause_ms = round(longest * random.uniform(0.5, 1.0))  # noqa: S311  spreads retries, guards nothing
        _log.warning("agent not reached", agent=self._agent, error=str(error), pause_ms=pause_ms)
        self._wake_at(self._clock() + pause_ms)

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of this gateway."""
        waiting = self._ledger.outgoing(self._agent, limit=1)
        return {
            "actor": f"gateway-{self._agent}",
            "delivered": self._delivered,
            "failures_in_a_row": self._failures,
            "last_error": self._last_error,
            "next": waiting[0].sequence if waiting else None,
        }
