"""The dashboard's way to an agent, over HTTP with connections that stay open."""

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import quote

import msgspec
import urllib3

from ..actors.dashboard.ports import AgentRefused, AgentUnreachable
from ..domain.instants import Instant
from ..domain.messages import Initiation, ProvisionedJobs, PublishedInstance
from ..domain.plan import JobPlan
from .wire.initiations import encode_initiation
from .wire.instances import encode_instance
from .wire.provision import encode_provision

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 30.0
_CONNECTIONS = 4
_TRY_LATER = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
"""Answers that a person or time can mend without the order being changed."""


_NO_SUCH_SERVICE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})


class _Taken(msgspec.Struct):
    """One initiation's answer in a list: ``refused`` says why it can never be run."""

    refused: str | None = None


class _Answers(msgspec.Struct):
    items: list[_Taken]


class _Problem(msgspec.Struct):
    """What agents of ours answer on their own API when something is not as it should be."""

    type: str
    title: str
    status: int
    detail: str


class HttpAgentTransport:
    """Speaks the services that every agent has, and a list of initiations at once to agents of our own."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._takes_lists = True
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = urllib3.PoolManager(
            maxsize=_CONNECTIONS,
            headers=headers,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS),
        )

    @property
    def recognises_repeats(self) -> bool:
        """As far as is known: agents of ours do, and take lists."""
        return self._takes_lists

    def provision(self, jobs: ProvisionedJobs, *, order: int) -> None:
        """Give the agent the jobs of a plan."""
        self._must("PUT", f"/rest/jobProvision?order={order}", encode_provision(jobs))

    def withdraw(self, plan: str, *, order: int) -> None:
        """Take a plan's jobs from the agent; one that has none is content."""
        self._may_be_gone("DELETE", f"/rest/jobProvision/remove?order={order}", msgspec.json.encode(plan))

    def publish(self, instance: PublishedInstance, plan: JobPlan, *, order: int) -> None:
        """Let schedules and file watchers fire for an instance."""
        self._must("PUT", f"/rest/contextInstance/save?order={order}", encode_instance(instance, plan))

    def remove(self, instance_id: str, ended_at: Instant, *, order: int) -> None:
        """Let nothing fire any more for an instance that has ended."""
        query = f"correlationId={quote(instance_id)}&endedAt={ended_at}&order={order}"
        self._may_be_gone("DELETE", f"/rest/contextInstance/remove?{query}")

    def initiate(self, initiations: Sequence[Initiation]) -> list[str | None]:
        """Have jobs run; for each, ``None`` or why the agent refuses it."""
        if self._takes_lists:
            body = b"[" + b",".join(encode_initiation(each) for each in initiations) + b"]"
            status, answer = self._send("POST", "/api/v1/initiations", body)
            if status < HTTPStatus.BAD_REQUEST:
                return [each.refused for each in msgspec.json.decode(answer, type=_Answers).items]
            self._takes_lists = status not in _NO_SUCH_SERVICE
        return [self._initiate_one(each) for each in initiations]

    def _initiate_one(self, initiation: Initiation) -> str | None:
        try:
            self._must("PUT", "/rest/schedulerJobInitiation", encode_initiation(initiation))
        except AgentRefused as refused:
            return str(refused)
        return None

    def kill(self, initiation_id: str | None, pid: int | None, *, force: bool) -> None:
        """Stop the process group of a run; an agent that knows no such run is content.

        Agents that are not ours know no runs, only processes. Ours is not asked for the process of a run that
        it knows no more: by now it may be that of another.
        """
        by_force = "true" if force else "false"
        if initiation_id is not None:
            run = quote(initiation_id, safe="")
            status, answer = self._may_be_gone("POST", f"/api/v1/runs/{run}/kill?force={by_force}")
            if status not in _NO_SUCH_SERVICE or _is_ours(answer):
                return
        if pid is not None:
            self._may_be_gone("GET", f"/rest/jobUtils/kill/{pid}?destroy={by_force}")

    def output(self, initiation_id: str, stream: str, offset: int, limit: int) -> bytes:
        """What a run wrote, from an offset."""
        path = (
            f"/api/v1/runs/{quote(initiation_id, safe='')}/log/{quote(stream)}?offset={offset}&limit={limit}"
        )
        return self._must("GET", path)

    def queues(self, look: str) -> bytes:
        """What the agent says of its queues."""
        return self._must("GET", f"/rest/big/queue/{look}")

    def close(self) -> None:
        """Let go of connections."""
        self._http.clear()

    def _may_be_gone(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        status, answer = self._send(method, path, body)
        if status in _TRY_LATER:
            raise AgentUnreachable(_told(status, answer))
        return status, answer

    def _must(self, method: str, path: str, body: bytes | None = None) -> bytes:
        status, answer = self._send(method, path, body)
        if status in _TRY_LATER:
            raise AgentUnreachable(_told(status, answer))
        if status >= HTTPStatus.BAD_REQUEST:
            raise AgentRefused(_told(status, answer))
        return answer

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        try:
            answer = self._http.request(method, self._url + path, body=body)
        except urllib3.exceptions.HTTPError as error:
            raise AgentUnreachable(f"{self._url}: {error}") from error
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise AgentUnreachable(_told(answer.status, answer.data))
        return answer.status, answer.data


def _is_ours(answer: bytes) -> bool:
    """Whether an agent of ours says no."""
    try:
        msgspec.json.decode(answer, type=_Problem)
    except msgspec.DecodeError:
        return False
    return True


def _told(status: int, answer: bytes) -> str:
    return f"{status}: {answer[:500].decode(errors='replace')}"
