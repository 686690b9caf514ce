"""The dashboard over HTTP, with agents that are HTTP servers of their own."""

import json
import threading
from collections.abc import Sequence
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import urllib3
from jobledger.actors.dashboard.ports import AgentRefused, AgentUnreachable
from jobledger.domain.instants import Instant
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import JobPlan
from jobledger.http.agent_transport import HttpAgentTransport
from jobledger.http.dashboard.app import Application
from jobledger.http.dashboard.callers import Caller
from jobledger.http.dashboard.locks import NO_GROUP
from jobledger.http.dashboard.services import Services
from jobledger.http.serving import HttpServer
from jobledger.http.wire.bundles import write_zip
from jobledger.http.wire.documents import decode
from jobledger.http.wire.initiations import decode_initiation, initiation_in
from jobledger.http.wire.instances import decode_instance
from jobledger.http.wire.lock_views import LockView
from jobledger.http.wire.process_events import encode_process_event
from jobledger.http.wire.provision import decode_provision
from jobledger.http.wire.views import FactView, InstanceView
from jobledger.storage.accounts import Role
from scenario_agents import Order, StandInAgent
from scenario_commands import request
from scenario_dashboard import RunningDashboard
from scenario_stage import Beginning, Command, Fresh, PlanOrder, PlanShown, Refusal, Revision

JSON = "application/json"
BODY_LIMIT_BYTES = 1024 * 1024


class HttpStage:
    """Everything that is told and shown goes over a socket; only the waiting looks inside."""

    def __init__(self, folder: Path, *, sources: bool = False) -> None:
        self._running = RunningDashboard(folder, HttpAgentTransport, sources=sources)
        self._served = _Served(self._running)
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(30.0))

    def close(self) -> None:
        """Stop the server, then the dashboard."""
        self._http.clear()
        self._served.close()
        self._running.close()

    # --- what is told ---------------------------------------------------------------------------------------

    def push(self, plan: JobPlan) -> list[str]:
        """As a bundle."""
        bundle = write_zip(plan, {}, self._running.now)
        status, answer = self._ask(
            "PUT", f"/api/v1/plans/{quote(plan.name)}", bundle, media="application/zip"
        )
        if status == 422:
            return [f"{each.get('place', '')}: {each['detail']}" for each in answer["errors"]]
        assert status in {200, 201}, answer
        self._running.settle()
        return []

    def revise(self, plan: str, revision: Revision) -> Refusal | None:
        """On our own API."""
        path, body = f"/api/v1/plans/{quote(plan)}", {}
        if revision.verb.endswith("-schedules"):
            path += f"/schedules/{revision.verb.removesuffix('-schedules')}"
        else:
            path += f"/jobs/{quote(revision.job)}/{revision.verb}"
            body = {} if revision.contexts is None else {"contexts": list(revision.contexts)}
        status, answer = self._ask("POST", path, body)
        self._running.settle()
        return None if status == 200 else _refusal(status, answer)

    def begin(self, beginning: Beginning) -> Refusal | None:
        """Begin an instance by hand."""
        dry = False if beginning.dry_run is None else msgspec.structs.asdict(beginning.dry_run)
        body = {
            "parameters": beginning.parameters,
            "run_until_ended": beginning.until_ended,
            "hold_commands": beginning.commands_held,
            "dry_run": dry,
        }
        if beginning.business_date is not None:
            body["business_date"] = beginning.business_date.isoformat()
        status, answer = self._ask("POST", f"/api/v1/plans/{quote(beginning.plan)}/instances", body)
        self._running.settle()
        return None if status == 201 else _refusal(status, answer)

    def order(self, order: PlanOrder) -> Refusal | None:
        """On our own API."""
        path = f"/api/v1/plans/{quote(order.plan)}"
        if order.verb == "delete":
            why = "" if order.reason is None else f"?reason={quote(order.reason)}"
            status, answer = self._ask("DELETE", path + why, by=order.by)
        else:
            body = {} if order.reason is None else {"reason": order.reason}
            status, answer = self._ask("POST", f"{path}/{order.verb}", body, by=order.by)
        self._running.settle()
        return None if status == 200 else _refusal(status, answer)

    def reset(self, instance_id: str, fresh: Fresh) -> Refusal | None:
        """On our own API."""
        body = {
            "parameters": fresh.parameters,
            "same_parameters": fresh.same_parameters,
            "hold_commands": fresh.commands_held,
        }
        status, answer = self._ask("POST", f"/api/v1/instances/{instance_id}/reset", body)
        self._running.settle()
        return None if status == 201 else _refusal(status, answer)

    def command(self, instance_id: str, command: Command) -> Refusal | None:
        """On our own API."""
        path, body = request(command)
        status, answer = self._ask("POST", f"/api/v1/instances/{instance_id}{path}", body, by=command.by)
        self._running.settle()
        return None if status == 200 else _refusal(status, answer)

    def preview(self, instance_id: str, command: Command) -> list[str] | Refusal:
        """Ask what would follow."""
        path, _ = request(command)
        path = path.removesuffix(f"/{command.verb}")
        status, answer = self._ask("GET", f"/api/v1/instances/{instance_id}{path}/dependants")
        return list(answer["initiated"]) if status == 200 else _refusal(status, answer)

    def report(self, events: Sequence[ProcessEvent], *, compatible: bool) -> None:
        """One by one to the service that every agent knows, or as a list to our own."""
        bodies = [encode_process_event(event) for event in events]
        if compatible:
            answers = [self._ask("PUT", "/rest/event/scheduled", each, media=JSON) for each in bodies]
        else:
            listed = b"[" + b",".join(_without_nulls(each) for each in bodies) + b"]"
            answers = [self._ask("POST", "/api/v1/events", listed, media=JSON)]
        for status, answer in answers:
            assert status == 200, answer
        self._running.settle()

    def raise_global(self, name: str, group: str | None) -> None:
        """On the compatible service to all groups, on our own to one."""
        if group is None:
            answer = self._ask("PUT", "/rest/event/globalScheduled", name.encode(), media="text/plain")
        else:
            body = {"environment_group": group}
            answer = self._ask("POST", f"/api/v1/global-events/{quote(name)}", body)
        assert answer[0] == 200, answer
        self._running.settle()

    def reset_lock(self, name: str, group: str | None) -> None:
        """On our own API."""
        path = f"/api/v1/locks/{quote(group or NO_GROUP)}/{quote(name)}/reset"
        status, answer = self._ask("POST", path, {})
        assert status == 200, answer
        self._running.settle()

    def source(self, plan: str, parameters: dict[str, str]) -> None:
        """Into the plan's file."""
        self._running.write_source(plan, parameters)
        status, answer = self._ask("POST", "/api/v1/parameters/refresh")
        assert (status, answer["error"]) == (200, None), answer
        self._running.settle()

    def agent(self, name: str, *, compatible: bool = False) -> StandInAgent:
        """It announces itself, at the address at which it listens."""
        agents = self._running.agents
        if name not in agents:
            agents[name] = StandInAgent(name, self._running.orders)
        agents[name].reachable = True
        url = agent_host().url_of(agents[name], compatible=compatible)
        status, answer = self._ask("PUT", f"/api/v1/agents/{quote(name)}", {"url": url, "version": "1"})
        assert status == 200, answer
        self._running.settle()
        return agents[name]

    def set_clock(self, now: Instant) -> None:
        """Let time pass."""
        self._running.set_clock(now)

    def restart(self, until: Instant) -> None:
        """Stop server and dashboard, and start both again on the same data."""
        self._served.close()
        self._running.close()
        self._running.reopen(until)
        self._served = _Served(self._running)
        self._running.settle()

    # --- what is shown --------------------------------------------------------------------------------------

    def instances(self) -> list[InstanceView]:
        """The list, and the tree of each."""
        listed = self._get("/api/v1/instances?limit=1000")["items"]
        return [
            msgspec.convert(self._get(f"/api/v1/instances/{each['instance_id']}"), InstanceView)
            for each in reversed(listed)
        ]

    def facts(self, instance_id: str, after: int) -> list[FactView]:
        """The log."""
        page = self._get(f"/api/v1/instances/{instance_id}/log?after={after}&limit=1000")
        return msgspec.convert(page["items"], list[FactView])

    def plan_facts(self, plan: str, after: int) -> list[FactView]:
        """The plan's log."""
        page = self._get(f"/api/v1/plans/{quote(plan)}/log?after={after}&limit=1000")
        return msgspec.convert(page["items"], list[FactView])

    def plan_shown(self, plan: str) -> PlanShown:
        """The plan; one that was deleted is not there any more."""
        status, answer = self._ask("GET", f"/api/v1/plans/{quote(plan)}")
        if status == 404:
            return PlanShown("DELETED")
        return PlanShown(answer["standing"], answer["next_start"], answer["waiting_start"])

    def locks(self) -> list[LockView]:
        """The list."""
        return msgspec.convert(self._get("/api/v1/locks?limit=1000")["items"], list[LockView])

    def orders(self) -> list[Order]:
        """What the agents took note of."""
        return self._running.orders.all()

    def contradictions(self) -> list[str]:
        """The live instance and the same at its latest position, as the API shows them."""
        found = []
        for each in self._get("/api/v1/instances?limit=1000")["items"]:
            path = f"/api/v1/instances/{each['instance_id']}"
            live = self._get(path)
            if live != self._get(f"{path}?at={live['position']}"):
                found.append(f"instance {each['instance_id']}: the log amounts to another state")
        return found

    # --- requests -------------------------------------------------------------------------------------------

    def _get(self, path: str) -> Any:
        status, answer = self._ask("GET", path)
        assert status == 200, (path, answer)
        return answer

    def _ask(
        self, method: str, path: str, body: object = None, *, media: str = JSON, by: str = "olga"
    ) -> tuple[int, Any]:
        headers = {"X-Caller": by}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = media
        answer = self._http.request(method, self._served.url + path, body=data, headers=headers)
        said = answer.headers.get("Content-Type", "")
        return answer.status, json.loads(answer.data) if answer.data and "json" in said else answer.data


class _ByName:
    """Takes callers at their word."""

    def caller(self, req: Any) -> Caller:
        """An administrator of the name in the request."""
        return Caller(name=req.get_header("X-Caller") or "nobody", role=Role.ADMIN)


class _Served:
    """The application on a port of its own."""

    def __init__(self, running: RunningDashboard) -> None:
        services = Services(running.dashboard)
        self._server = HttpServer(
            Application(services, _ByName()),
            host="127.0.0.1",
            port=0,
            threads=2,
            body_limit_bytes=BODY_LIMIT_BYTES,
        )
        self.url = self._server.url
        self._thread = threading.Thread(
            target=self._server.serve, args=(services.waiting.close,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Finish what is in hand."""
        self._server.stop()
        self._thread.join()


def _refusal(status: int, answer: Any) -> Refusal:
    if status == 409:
        return Refusal(answer["detail"], answer["status"], tuple(answer["permitted_in"]))
    assert status == 404, (status, answer)
    return Refusal(answer["detail"], unknown=True)


def _without_nulls(body: bytes) -> bytes:
    fields = msgspec.json.decode(body)
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


# --- the stand-in agents ------------------------------------------------------------------------------------


class _AgentHost(ThreadingHTTPServer):
    """One server for all stand-in agents of a process, each below an address of its own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _AgentRequest)
        self._numbers = count(1)
        self.agents: dict[str, tuple[StandInAgent, bool]] = {}
        self._addresses: dict[int, str] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url_of(self, agent: StandInAgent, *, compatible: bool) -> str:
        """Where this agent is reached."""
        address = self._addresses.get(id(agent))
        if address is None:
            address = self._addresses[id(agent)] = f"agent-{next(self._numbers)}"
            self.agents[address] = agent, compatible
        return f"http://127.0.0.1:{self.server_port}/{address}"


@cache
def agent_host() -> _AgentHost:
    """The server of this process."""
    return _AgentHost()


class _AgentRequest(BaseHTTPRequestHandler):
    """The services of an agent; those under ``/api`` only where it is not one of the compatible kind."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _AgentHost

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        _, address, *segments = parts.path.split("/")
        agent, compatible = self.server.agents[address]
        path = f"{self.command} /{'/'.join(segments)}"
        try:
            if compatible and segments[0] == "api":
                status, answer = 404, {"errorMessage": "there is nothing here"}
            else:
                status, answer = 200, _take(agent, path, parts.query, body)
        except AgentUnreachable as error:
            status, answer = 503, {"errorMessage": str(error)}
        except (AgentRefused, LookupError) as error:
            status, answer = 404, {"errorMessage": str(error)}
        data = msgspec.json.encode(answer)
        self.send_response(status)
        self.send_header("Content-Type", JSON)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815  the names that the base class calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name that the base class has
        """Nothing is printed."""


def _take(agent: StandInAgent, path: str, query: str, body: bytes) -> object:
    """Obey one request; raises what the agent raises, and ``LookupError`` for a service that it has not."""
    match path.split("/"):
        case ["POST ", "api", "v1", "initiations"]:
            values = decode(body)
            assert isinstance(values, list)
            refusals = agent.initiate([initiation_in(value) for value in values])
            return {"items": [{"refused": each} for each in refusals]}
        case ["PUT ", "rest", "schedulerJobInitiation"]:
            (refusal,) = agent.initiate([decode_initiation(body)])
            if refusal is not None:
                raise AgentRefused(refusal)
        case ["PUT ", "rest", "jobProvision"]:
            agent.provision(decode_provision(body))
        case ["DELETE ", "rest", "jobProvision", "remove"]:
            agent.withdraw(body.decode().strip('"'))
        case ["PUT ", "rest", "contextInstance", "save"]:
            agent.publish(decode_instance(body))
        case ["DELETE ", "rest", "contextInstance", "remove"]:
            given = parse_qs(query)
            agent.remove(given["correlationId"][0], int(given["endedAt"][0]))
        case ["POST ", "api", "v1", "runs", initiation_id, "kill"]:
            agent.kill(initiation_id, None, force=_flag(query, "force"))
        case ["GET ", "rest", "jobUtils", "kill", pid]:
            agent.kill("", int(pid), force=_flag(query, "destroy"))
        case _:
            raise LookupError(f"no agent has {path}")
    return {}


def _flag(query: str, name: str) -> bool:
    return parse_qs(query)[name] == ["true"]
