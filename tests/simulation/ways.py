"""How dashboards, agents and clients reach each other in a simulated world, with HTTP's answers.

With ``wire`` everything is written and read as it is on the network; without, values are handed over.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import pykka
from jobledger.actors.agent.agent import Agent
from jobledger.actors.agent.ports import Announcement, DashboardRefused, DashboardUnreachable
from jobledger.actors.dashboard.dashboard import Dashboard, PlanInvalid
from jobledger.actors.dashboard.errors import KeyReused, NotPermitted, UnknownName
from jobledger.actors.dashboard.origin import Origin
from jobledger.actors.dashboard.ports import AgentRefused, AgentUnreachable
from jobledger.domain.instants import Instant
from jobledger.domain.messages import Initiation, ProcessEvent, ProvisionedJobs, PublishedInstance
from jobledger.domain.plan import JobPlan
from jobledger.http.wire.compatible_views import context_instance
from jobledger.http.wire.initiations import decode_initiation, encode_initiation
from jobledger.http.wire.instances import decode_instance, decode_instances, encode_instance
from jobledger.http.wire.process_events import decode_process_events, encode_process_event
from jobledger.http.wire.provision import decode_provision, encode_provision
from jobledger.storage.records import Unavailable, Unstorable
from jobledger.storage.segment_errors import LogCorrupted, SegmentLogError
from virtual_network import Network, NetworkFailed, Station

AnswerT = TypeVar("AnswerT")


class Busy(Exception):
    """Answered with a 5xx: nobody knows whether it was done, try again."""


class Refused(Exception):
    """Answered with a 4xx: nothing was done, and trying again would not help."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


# --- the dashboard, as others see it ------------------------------------------------------------------------


def asked_of_dashboard(work: Callable[[Dashboard], AnswerT]) -> Callable[[Dashboard], AnswerT]:
    """As the dashboard's HTTP answers; what nobody expects fails the simulation."""

    def handle(dashboard: Dashboard) -> AnswerT:
        try:
            return work(dashboard)
        except (Unavailable, pykka.Timeout) as error:
            raise Busy(str(error)) from error
        except UnknownName as error:
            raise Refused(404, str(error)) from error
        except NotPermitted as error:
            raise Refused(409, str(error)) from error
        except (KeyReused, PlanInvalid, Unstorable) as error:
            raise Refused(422, str(error)) from error

    return handle


class DashboardOverNetwork:
    """The agent's way to the dashboard; its ``DashboardClient``."""

    def __init__(self, network: Network, station: Station, agent: str, *, wire: bool) -> None:
        self._network = network
        self._station = station
        self._agent = agent
        self._wire = wire

    def deliver(self, events: Sequence[ProcessEvent]) -> int:
        if self._network.overhear is not None:
            self._network.overhear(f"what {self._agent} reports", events)
        raw = b"[" + b",".join(map(encode_process_event, events)) + b"]" if self._wire else None

        def receive(dashboard: Dashboard) -> int:
            received = list(events) if raw is None else decode_process_events(raw)
            dashboard.receive(received, Origin(by=self._agent, source=self._agent))
            return len(events)

        return self._ask(receive)

    def announce(self, announcement: Announcement) -> None:
        def announced(dashboard: Dashboard) -> None:
            dashboard.announce(
                announcement.name,
                url=announcement.url,
                host=announcement.host,
                version=announcement.version,
                running=announcement.running,
                queued=announcement.queued,
                problems=announcement.problems,
            )

        self._ask(announced)

    def active_instances(self, agent: str) -> list[PublishedInstance]:
        def answer(dashboard: Dashboard) -> bytes:
            states = dashboard.instances_for_agent(agent)
            told = msgspec.json.encode({str(each.instance_id): context_instance(each) for each in states})
            if self._network.overhear is not None:
                self._network.overhear(f"what {agent} is told of instances", told)
            return told

        return list(decode_instances(self._ask(answer)))

    def queues(self, look: str) -> bytes:
        raise AgentRefused(f"nobody looks into the queues of a simulated agent: {look}")

    def close(self) -> None:
        """There is nothing to let go of."""

    def _ask(self, work: Callable[[Dashboard], AnswerT]) -> AnswerT:
        try:
            link = f"{self._agent} to dashboard"
            return self._network.request(self._station, link, asked_of_dashboard(work))
        except (NetworkFailed, Busy) as error:
            raise DashboardUnreachable(str(error)) from error
        except Refused as error:
            raise DashboardRefused(error.status, error.detail) from error


# --- an agent, as the dashboard sees it ---------------------------------------------------------------------


def _asked_of_agent(work: Callable[[Agent], AnswerT]) -> Callable[[Agent], AnswerT]:
    def handle(agent: Agent) -> AnswerT:
        try:
            return work(agent)
        except LogCorrupted:
            raise
        except (SegmentLogError, OSError, pykka.Timeout) as error:
            raise Busy(str(error)) from error

    return handle


class TransportOverNetwork:
    """The dashboard's way to one agent; its ``AgentTransport``."""

    recognises_repeats = True

    def __init__(self, network: Network, station: Station, *, wire: bool) -> None:
        self._network = network
        self._station = station
        self._wire = wire

    def provision(self, jobs: ProvisionedJobs, *, order: int) -> None:
        self._overhear(jobs)
        raw = encode_provision(jobs) if self._wire else None

        def provision(agent: Agent) -> None:
            problems = agent.provision([jobs if raw is None else decode_provision(raw)], order=order)
            if problems:
                raise Refused(400, "; ".join(problems))

        self._ask(provision)

    def withdraw(self, plan: str, *, order: int) -> None:
        self._ask(lambda agent: agent.withdraw(plan, order=order))

    def publish(self, instance: PublishedInstance, plan: JobPlan, *, order: int) -> None:
        self._overhear(instance)
        raw = encode_instance(instance, plan) if self._wire else None
        self._ask(
            lambda agent: agent.publish([instance if raw is None else decode_instance(raw)], order=order)
        )

    def remove(self, instance_id: str, ended_at: Instant, *, order: int) -> None:
        self._ask(lambda agent: agent.remove(instance_id, ended_at=ended_at, order=order))

    def initiate(self, initiations: Sequence[Initiation]) -> list[str | None]:
        """The only message with secrets in it; who does not take it may answer with all that it was sent."""
        raw = [encode_initiation(each) for each in initiations] if self._wire else None
        if self._network.overhear is None:
            return self._initiate(initiations, raw)
        chance = self._network.loop.chance(f"answers of {self._station.name}")
        if chance.random() < self._network.weather.repeated / 4:
            return [f"not wanted: {dict(each.parameters)}" for each in initiations]
        try:
            return self._initiate(initiations, raw)
        except AgentUnreachable as error:
            sent = [dict(each.parameters) for each in initiations]
            raise AgentUnreachable(f"{error}: could not take {sent}") from error

    def _initiate(self, initiations: Sequence[Initiation], raw: Sequence[bytes] | None) -> list[str | None]:
        def initiate(agent: Agent) -> list[str | None]:
            return agent.initiate(
                list(initiations) if raw is None else [decode_initiation(one) for one in raw]
            )

        return self._ask(initiate)

    def kill(self, initiation_id: str | None, pid: int | None, *, force: bool) -> None:
        if initiation_id is not None:
            self._ask(lambda agent: agent.kill(initiation_id, force=force))
        elif pid is not None:
            self._ask(lambda agent: agent.kill_pid(pid, force=force))

    def output(self, initiation_id: str, stream: str, offset: int, limit: int) -> bytes:
        raise AgentRefused("a simulated command writes nothing")

    def close(self) -> None:
        """There is nothing to let go of."""

    def _overhear(self, said: object) -> None:
        if self._network.overhear is not None:
            self._network.overhear(f"what {self._station.name} is told", said)

    def _ask(self, work: Callable[[Agent], AnswerT]) -> AnswerT:
        try:
            link = f"dashboard to {self._station.name}"
            return self._network.request(self._station, link, _asked_of_agent(work))
        except (NetworkFailed, Busy) as error:
            raise AgentUnreachable(str(error)) from error
        except Refused as error:
            raise AgentRefused(str(error)) from error


__all__ = ["Busy", "DashboardOverNetwork", "Refused", "TransportOverNetwork", "asked_of_dashboard"]
