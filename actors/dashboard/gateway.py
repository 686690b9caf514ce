"""The way to one agent: follows the facts that it must be told of, in order, until it has them.

Each agent has a gateway with a thread of its own, so one that does not answer delays nobody else. That it has
taken initiations is confirmed a moment later, for many at once: after a crash in between they are sent again,
and the agent knows them by their ids.
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
from ...storage.mapper import UnreadableFact
from ...storage.records import Inbound, Outgoing, Unavailable
from ..timers import Clock
from .errors import UnknownName
from .orders import Orders, ParameterNotOpened
from .ports import AgentRefused, AgentTransport, AgentUnreachable

_log = structlog.get_logger(__name__)

BATCH = 200
"""Deliveries that are read, and initiations that are sent, at once."""
CONFIRM_AFTER_MS = 100
"""How long it may be known in memory only that initiations were taken."""
FIRST_PAUSE_MS = 100
LONGEST_PAUSE_MS = 30_000


class Wake(msgspec.Struct, frozen=True):
    """There may be something to deliver."""


class Confirm(msgspec.Struct, frozen=True):
    """Time to note durably what the agent has taken."""


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
        tell_at: Callable[[Instant, Wake | Confirm], None],
        woken: threading.Event,
        refused: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._agent = agent
        self._ledger = ledger
        self._orders = orders
        self._clock = clock
        self._connect = connect
        self._tell_at = tell_at
        self._through = 0
        self._confirmed_through = 0
        self._confirm_set = False
        self._failures = 0
        self._delivered = 0
        self._last_error: str | None = None
        self._woken = woken
        self._refused = refused
        self._killed_ahead: set[int] = set()
        """Kills that the agent was told of before their turn, by their place in the outbox."""

    def on_receive(self, message: Wake | Confirm | ReadGateway) -> object:
        """Deliver, or describe."""
        match message:
            case Wake():
                self._woken.clear()
                self._deliver_all()
                return None
            case Confirm():
                self._confirm_set = False
                self._deliver_all()
                return None
            case ReadGateway():
                return self.snapshot()

    def on_stop(self) -> None:
        """Leave nothing to be sent again."""
        try:
            self._confirm()
        except Unavailable as error:
            _log.warning("initiations will be sent again", agent=self._agent, error=str(error))

    def _deliver_all(self) -> None:
        try:
            if not self._confirm_set:
                self._confirm()
            while True:
                # Before anything is read: what waits for an agent that may never come can be large.
                transport = self._connect(self._agent)
                if transport is None:
                    self._last_error = "the agent has not announced itself yet"
                    return
                items = self._ledger.outgoing(self._agent, after=self._through, limit=BATCH)
                if not items:
                    break
                for kind, group in groupby(items, key=lambda item: item.kind):
                    self._deliver(transport, kind, list(group))
        except AgentUnreachable as error:
            self._kill_ahead()
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
            self._taken_through(items)
            if refusals or not transport.recognises_repeats:
                self._confirm()
            else:
                self._confirm_soon()
            return
        try:
            for item in items:
                self._tell(transport, kind, item)
                self._taken_through([item])
                if kind == "kill":
                    self._confirm()
        finally:
            # Once for all that it heard: what an agent hears twice changes nothing.
            self._confirm()

    def _kill_ahead(self) -> None:
        """Have what runs killed before the agent takes other orders.

        It may be what keeps the agent from taking them, such as a job that fills the disk. What has not been
        reported as running waits for its turn: a kill must not overtake the order to start.
        """
        transport = self._connect(self._agent)
        if transport is None:
            return
        try:
            for item in self._ledger.outgoing(self._agent, after=self._through, limit=BATCH, kind="kill"):
                fact = item.recorded.fact
                runs = isinstance(fact, KillRequested) and fact.pid is not None
                if runs and item.sequence not in self._killed_ahead:
                    self._tell(transport, "kill", item)
                    self._killed_ahead.add(item.sequence)
        except (AgentUnreachable, Unavailable) as error:
            _log.warning("not killed yet", agent=self._agent, error=str(error))

    def _tell(self, transport: AgentTransport, kind: str, item: Outgoing) -> None:
        if item.sequence in self._killed_ahead:
            self._killed_ahead.remove(item.sequence)
            return
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
        except (UnknownName, UnreadableFact) as error:
            self._pass_over(item, error)

    def _pass_over(self, item: Outgoing, error: Exception) -> None:
        """Damage on disk stops the stream that it is in, and not what else the agent is to be told."""
        _log.error("delivery passed over", agent=self._agent, order=item.kind, error=str(error))

    def _taken_through(self, items: Sequence[Outgoing]) -> None:
        self._through = items[-1].sequence
        self._delivered += len(items)
        self._failures = 0

    def _confirm(self) -> None:
        if self._confirmed_through < self._through:
            self._ledger.delivered(self._agent, self._through)
            self._confirmed_through = self._through

    def _confirm_soon(self) -> None:
        if not self._confirm_set:
            self._confirm_set = True
            self._tell_at(self._clock() + CONFIRM_AFTER_MS, Confirm())

    def _initiate(self, transport: AgentTransport, items: Sequence[Outgoing]) -> list[Inbound]:
        """Send initiations; what can never be carried out goes back to its instance as an event."""
        refusals: list[Inbound] = []
        ready: list[tuple[Outgoing, Initiation]] = []
        for item in items:
            try:
                ready.append((item, self._orders.initiation(item.recorded)))
            except (ParameterNotOpened, UnknownName) as error:
                refusals.append(self._refusal(item, f"it was not sent to the agent: {error}"))
            except UnreadableFact as error:
                self._pass_over(item, error)
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
        recorded, order = item.recorded, item.sequence
        match kind, recorded.fact:
            case "provision", PlanPushed(plan=plan):
                transport.provision(self._orders.provision(plan, self._agent), order=order)
            case "provision", AgentsSynchronised(plan=name, version=version):
                jobs = self._orders.provision(self._orders.plan(name, version), self._agent)
                transport.provision(jobs, order=order)
            case "withdraw", PlanPushed(plan=plan):
                transport.withdraw(plan.name, order=order)
            case "withdraw", AgentsSynchronised(plan=name) | PlanDeleted(plan=name):
                transport.withdraw(name, order=order)
            case "publish", _:
                publication = self._orders.publication(recorded.originator_id, self._agent)
                if publication is not None:
                    transport.publish(*publication, order=order)
            case "remove", _:
                transport.remove(str(recorded.originator_id), recorded.at, order=order)
            case "kill", KillRequested(initiation=number, pid=pid, force=force):
                run = f"{recorded.originator_id}-{number}" if number else None
                transport.kill(run, pid, force=force)
            case _:
                raise ValueError(f"{kind} of {type(recorded.fact).__name__} is nothing to deliver")

    def _pause(self, error: Exception) -> None:
        self._failures += 1
        self._last_error = str(error)
        longest = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** min(self._failures, 20))
        pause_ms = round(longest * random.uniform(0.5, 1.0))  # noqa: S311  spreads retries, guards nothing
        _log.warning("agent not reached", agent=self._agent, error=str(error), pause_ms=pause_ms)
        self._tell_at(self._clock() + pause_ms, Wake())

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of this gateway."""
        waiting = self._ledger.outgoing(self._agent, after=self._through, limit=1)
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
