"""The agent's way to the dashboard: keep-alive connections, several addresses tried in turn."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec
import structlog
import urllib3

from ...actors.agent.ports import Announcement, DashboardRefused, DashboardUnreachable
from ...domain.messages import ProcessEvent, PublishedInstance
from ..wire.documents import WireError
from ..wire.instances import decode_instances
from ..wire.process_events import encode_process_event

_log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 3.0
_READ_SECONDS = 30.0
_MOST_BYTES = 4 << 20
"""In one request; dashboards take bodies of 16 MiB."""
_MOST_PROBLEM_CHARACTERS = 1000
"""Of each that an agent tells of itself; dashboards take no more."""

_NOT_NOW = frozenset({401, 403, 407, 408, 425, 429})
"""Refusals that say nothing about what was sent: accounts are being changed, or there is too much at once."""

_NO_SUCH_SERVICE = frozenset({404, 405, 501})


class HttpDashboardClient:
    """Speaks to whichever of some dashboards answers; they are one dashboard to us."""

    def __init__(self, urls: Sequence[str], token: str | None) -> None:
        if not urls:
            raise ValueError("give at least one URL of a dashboard")
        self._urls = [url.rstrip("/") for url in urls]
        self._at = 0
        self._takes_batches = [True] * len(self._urls)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._http = urllib3.PoolManager(
            num_pools=len(self._urls) * 2,
            maxsize=4,
            headers=headers,
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        )

    def deliver(self, events: Sequence[ProcessEvent]) -> int:
        """Several in one request to a dashboard of ours, one at a time to any other."""
        at = self._at
        if self._takes_batches[at]:
            count, body = _batch(events)
            response = self._request("POST", "/api/v1/events", body)
            if response.status not in _NO_SUCH_SERVICE and not 300 <= response.status < 400:
                _check(response)
                return count
            self._takes_batches[self._at] = False
            _log.info("dashboard takes one event at a time", url=self._urls[self._at])
        _check(self._request("PUT", "/rest/event/scheduled", encode_process_event(events[0])))
        return 1

    def announce(self, announcement: Announcement) -> None:
        """Where this agent is, and how much it has to do."""
        body = msgspec.json.encode(
            {
                "url": announcement.url,
                "version": announcement.version,
                "host": announcement.host,
                "running": announcement.running,
                "queued": announcement.queued,
                "problems": [each[:_MOST_PROBLEM_CHARACTERS] for each in announcement.problems],
            }
        )
        _check(self._request("PUT", f"/api/v1/agents/{quote(announcement.name, safe='')}", body))
        self._takes_batches[self._at] = True  # only a dashboard of ours knows this service

    def active_instances(self, agent: str) -> list[PublishedInstance]:
        """Those that name the agent."""
        path = f"/rest/jobContext/getByAgentName?agentName={quote(agent, safe='')}"
        response = self._request("GET", path, None)
        _check(response)
        try:
            return list(decode_instances(response.data))
        except WireError as error:
            raise DashboardUnreachable(f"the answer cannot be read: {error}") from error

    def close(self) -> None:
        """Let go of idle connections."""
        self._http.clear()

    def _request(self, method: str, path: str, body: bytes | None) -> urllib3.BaseHTTPResponse:
        """Ask one dashboard; if it does not answer or cannot now, the next one, until all have been asked."""
        problem = ""
        for _ in self._urls:
            at = self._at
            try:
                response = self._http.request(
                    method, self._urls[at] + path, body=body, redirect=False, preload_content=True
                )
            except urllib3.exceptions.HTTPError as error:
                problem = f"{self._urls[at]}: {error}"
            else:
                if response.status < 500 or response.status in _NO_SUCH_SERVICE:
                    return response
                problem = f"{self._urls[at]}: {_told(response)}"
            self._at = (at + 1) % len(self._urls)
        raise DashboardUnreachable(problem)


def _batch(events: Sequence[ProcessEvent]) -> tuple[int, bytes]:
    """As many events, and at least one, as make a request of a reasonable size."""
    parts: list[bytes] = []
    size = 0
    for event in events:
        part = encode_process_event(event)
        if parts and size + len(part) > _MOST_BYTES:
            break
        parts.append(part)
        size += len(part) + 1
    return len(parts), b"[" + b",".join(parts) + b"]"


def _check(response: urllib3.BaseHTTPResponse) -> None:
    if 200 <= response.status < 300:
        return
    if 400 <= response.status < 500 and response.status not in _NOT_NOW:
        raise DashboardRefused(response.status, _told(response))
    raise DashboardUnreachable(_told(response))


def _told(response: urllib3.BaseHTTPResponse) -> str:
    """The error in words, of either family of services."""
    text = response.data.decode("utf-8", "replace")[:1000]
    try:
        body: Any = msgspec.json.decode(response.data)
    except msgspec.DecodeError:
        return f"{response.status} {text}".strip()
    if isinstance(body, dict):
        text = str(body.get("detail") or body.get("errorMessage") or text)
        errors = body.get("errors")
        if isinstance(errors, list):
            text += "".join(
                f"; {each.get('pointer', '')} {each.get('detail', '')}"
                for each in errors[:10]
                if isinstance(each, dict)
            )
    return f"{response.status} {text}".strip()
