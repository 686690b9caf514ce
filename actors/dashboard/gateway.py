"""The way to one agent: follows the facts that it must be told of, in order, until it has them.

Each agent has a gateway with a thread of its own, so one that does not answer delays nobody else.
"""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec
import pykka
import structlog

from ...domain.commands import RefuseInitiation
from ...domain.facts import AgentsSynchronised, JobInitiated, KillRequested, PlanDeleted, PlanPushed
from ...domain.instants import Instant
from ...domain.messages import Initiation
from ...domain.secret_values import MASK
from ...storage.ledger import Ledger
from ...storage.records import Inbound, Outgoing, Unavailable
from ..timers import Clock
from .orders import Orders, ParameterNotOpened
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
        """Send initiations; what can never be carried out goes back to its instance as an event."""
        refusals: list[Inbound] = []
        ready: list[tuple[Outgoing, Initiation]] = []
        for item in items:
            try:
                ready.append((item, self._orders.initiation(item.recorded)))
            except ParameterNotOpened as error:
                refusals.append(self._refusal(item, f"it was not sent to the agent: {error}"))
        initiations = [initiation for _, initiation in ready]
        answers = self._send(transport, initiations) if initiations else []
        for (item, initiation), answer in zip(ready, answers, strict=True):
            if answer is not None:
                told = f"the agent refused the initiation: {_without_secrets(answer, [initiation])}"
                refusals.append(self._refusal(item, told))
        return refusals

    def _send(self, transport: AgentTransport, initiations: Sequence[Initiation]) -> list[str | None]:
        """As the transport does; an agent that answers with what it was sent gives no secrets away."""
        try:
            return transport.initiate(initiations)
        except AgentUnreachable as error:
            raise AgentUnreachable(_without_secrets(str(error), initiations)) from None

    def _refusal(self, item: Outgoing, detail: str) -> Inbound:
        fact = item.recorded.fact
        number = fact.initiation if isinstance(fact, JobInitiated) else 0
        initiation_id = f"{item.recorded.originator_id}-{number}"
        _log.error("initiation refused", agent=self._agent, initiation=initiation_id, error=detail)
        refused = RefuseInitiation(initiation_id=initiation_id, detail=detail)
        return Inbound(
            stream=item.recorded.originator_id,
            kind="refused",
            payload=msgspec.msgpack.encode(refused),
            source=self._agent,
        )

    def _give(self, transport: AgentTransport, kind: str, item: Outgoing) -> None:
        recorded = item.recorded
        match kind, recorded.fact:
            case "provision", PlanPushed(plan=plan):
                transport.provision(self._orders.provision(plan, self._agent))
            case "provision", AgentsSynchronised(plan=name, version=version):
                transport.provision(self._orders.provision(self._orders.plan(name, version), self._agent))
            case "withdraw", PlanPushed(plan=plan):
                transport.withdraw(plan.name)
            case "withdraw", AgentsSynchronised(plan=name) | PlanDeleted(plan=name):
                transport.withdraw(name)
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


def _without_secrets(text: str, initiations: Iterable[Initiation]) -> str:
    for initiation in initiations:
        for name in initiation.secrets:
            if secret := initiation.parameters.get(name):
                text = text.replace(secret, MASK)
    return text
