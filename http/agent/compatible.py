"""The services that dashboards of the reference scheduler call too, below ``/rest``."""

from uuid import uuid4

import falcon

from ...actors.agent.agent import Agent
from ..wire.documents import WireError
from ..wire.initiations import decode_initiation
from ..wire.instances import decode_instance
from ..wire.provision import decode_provision
from .errors import Refusal, bad_wire
from .requests import BodyReader, flag, whole_number

_LARGEST = 2**53


def _order(req: falcon.Request) -> int | None:
    """The number that a dashboard of ours gives to what it tells; raises a ``Refusal``."""
    return whole_number(req, "order", 0, _LARGEST) or None


class SchedulerJobInitiation:
    """One initiation."""

    def __init__(self, agent: Agent, bodies: BodyReader) -> None:
        self._agent = agent
        self._bodies = bodies

    def on_put(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """200 once it is on disk; 400 for what is wrong with it."""
        unnamed = f"unnamed-{uuid4()}"
        try:
            initiation = decode_initiation(self._bodies.read(req), otherwise_id=unnamed)
        except WireError as error:
            raise bad_wire(error, 400) from error
        if initiation.id == unnamed:
            refused = self._agent.initiate_unnamed(initiation)
        else:
            refused = self._agent.initiate([initiation])[0]
        if refused is not None:
            raise Refusal(400, refused)


class JobProvision:
    """The templates of a plan's jobs."""

    def __init__(self, agent: Agent, bodies: BodyReader) -> None:
        self._agent = agent
        self._bodies = bodies

    def on_put(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Replace them: all or, with 400, none."""
        try:
            provisioned = decode_provision(self._bodies.read(req))
        except WireError as error:
            raise bad_wire(error, 400) from error
        problems = self._agent.provision([provisioned], order=_order(req))
        if problems:
            raise Refusal(400, "; ".join(problems))


class JobProvisionRemoval:
    """The end of a plan's templates."""

    def __init__(self, agent: Agent, bodies: BodyReader) -> None:
        self._agent = agent
        self._bodies = bodies

    def on_delete(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Remove them; a plan that is not known has none."""
        try:
            plan = self._bodies.read(req).decode()
        except UnicodeDecodeError as error:
            raise Refusal(400, "the plan's name is not UTF-8") from error
        plan = plan.strip().removeprefix('"').removesuffix('"')
        if not plan:
            raise Refusal(400, "give the plan's name as the body")
        self._agent.withdraw(plan, order=_order(req))


class ContextInstanceSave:
    """A plan instance that begins."""

    def __init__(self, agent: Agent, bodies: BodyReader) -> None:
        self._agent = agent
        self._bodies = bodies

    def on_put(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Its schedules and file watchers are live."""
        try:
            instance = decode_instance(self._bodies.read(req))
        except WireError as error:
            raise bad_wire(error, 400) from error
        self._agent.publish([instance], order=_order(req))


class ContextInstanceRemove:
    """A plan instance that has ended."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_delete(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Nothing fires for it any more; a dashboard of ours says when it ended, as ``endedAt``."""
        instance_id = req.get_param("correlationId")
        if not instance_id:
            raise Refusal(400, "give the instance's id as correlationId")
        ended_at = whole_number(req, "endedAt", 0, _LARGEST)
        self._agent.remove(instance_id, ended_at=ended_at or None, order=_order(req))


class ContextInstanceRemoveAll:
    """All plan instances have ended."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_delete(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        """Nothing fires any more."""
        self._agent.remove_all()


class Kill:
    """The end of a process."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, req: falcon.Request, _resp: falcon.Response, pid: str) -> None:
        """Ask the process group of one of this agent's jobs to end, or make it end."""
        force = flag(req, "destroy")
        if not (pid.isascii() and pid.isdecimal() and len(pid) < 10):
            raise Refusal(400, f"{pid!r} is no process id")
        if not self._agent.kill_pid(int(pid), force=force):
            raise Refusal(400, f"no job of this agent runs with process id {pid}")


def add_routes(app: "falcon.App[falcon.Request, falcon.Response]", agent: Agent, bodies: BodyReader) -> None:
    """Put all of them below ``/rest``."""
    app.add_route("/rest/schedulerJobInitiation", SchedulerJobInitiation(agent, bodies))
    app.add_route("/rest/jobProvision", JobProvision(agent, bodies))
    app.add_route("/rest/jobProvision/remove", JobProvisionRemoval(agent, bodies))
    app.add_route("/rest/contextInstance/save", ContextInstanceSave(agent, bodies))
    app.add_route("/rest/contextInstance/remove", ContextInstanceRemove(agent))
    app.add_route("/rest/contextInstance/removeAll", ContextInstanceRemoveAll(agent))
    app.add_route("/rest/jobUtils/kill/{pid}", Kill(agent))
