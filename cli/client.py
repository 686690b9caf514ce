"""A client of the dashboard's API: one kept connection, and every error told as a sentence.

Orders carry an idempotency key, so one that is sent again because the answer was lost is done once.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit
from uuid import uuid4

import urllib3

from .answers import Page, read
from .failures import ExitCode, Failure, NotPermitted, Unreachable
from .settings import Connection

API = "/api/v1"
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
PAGE = 500

_REFUSALS = {
    401: (ExitCode.NOT_ALLOWED, "give a token with --token or JOBLEDGER_TOKEN"),
    403: (ExitCode.NOT_ALLOWED, "ask an administrator for an account with the role that this needs"),
    404: (ExitCode.NOT_FOUND, ""),
    413: (ExitCode.REFUSED, "send less at once, or ask an administrator to raise the limit"),
    429: (ExitCode.UNREACHABLE, "wait a moment and try again"),
    502: (ExitCode.UNREACHABLE, "start the agent, or see `jobledger agent list`"),
    503: (ExitCode.UNREACHABLE, "nothing was changed; try again in a moment"),
}


class Client:
    """Talks to one dashboard; raises ``Failure`` for whatever is not a 2xx."""

    def __init__(self, connection: Connection) -> None:
        parts = urlsplit(connection.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Failure(
                f"{connection.url} is no address of a dashboard",
                code=ExitCode.USAGE,
                next_step="write it like http://HOST:9090",
            )
        self.url = _without_user(connection.url)
        self._headers = {"Accept": "application/json", **_authorization(connection)}
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        self._pool = urllib3.PoolManager(maxsize=1, timeout=timeout, retries=False)

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._pool.clear()

    def get(self, path: str, **query: object) -> Any:
        """The JSON at a path below the API."""
        return self._json(self._send("GET", API + path, query=query))

    def get_after(self, path: str, position: int, wait_seconds: float) -> Any:
        """As ``get``, once what is there has moved beyond a position, or after waiting so long for it."""
        query = {"after": position, "wait": wait_seconds}
        return self._json(self._send("GET", API + path, query=query, wait_seconds=wait_seconds))

    def items(self, path: str, *, limit: int | None = None, **query: object) -> Iterator[dict[str, Any]]:
        """The items of a list, page after page, at most ``limit`` of them."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = read(Page, self.get(path, limit=size, cursor=cursor, **query))
            yield from page.items
            left = None if left is None else left - len(page.items)
            cursor = page.next
            if cursor is None:
                return

    def everything(self, path: str) -> list[dict[str, Any]]:
        """The items of a list that comes in one page."""
        return read(Page, self.get(path)).items

    def records(self, path: str, *, after: int = 0, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The records of a log after a position, page after page, at most ``limit`` of them."""
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = read(Page, self.get(path, after=after, limit=size))
            yield from page.items
            left = None if left is None else left - len(page.items)
            if page.next is None:
                return
            after = int(page.next)

    def post(self, path: str, body: object = None, **query: object) -> Any:
        """Give an order; sent again once, under the same key, when the connection breaks."""
        data = b"{}" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
        try:
            response = self._send("POST", API + path, query=query, body=data, headers=headers)
        except Unreachable:
            response = self._send("POST", API + path, query=query, body=data, headers=headers)
        return self._json(response)

    def put(self, path: str, data: bytes, media: str, **query: object) -> tuple[int, Any]:
        """Put a document; the status tells whether it is new."""
        response = self._send("PUT", API + path, query=query, body=data, headers={"Content-Type": media})
        return response.status, self._json(response)

    def delete(self, path: str, **query: object) -> Any:
        """Remove what is at a path below the API."""
        return self._json(self._send("DELETE", API + path, query=query))

    def download(self, path: str, **query: object) -> tuple[bytes, Mapping[str, str]]:
        """The bytes at a path of the dashboard, and the headers of the answer."""
        response = self._send("GET", path, query=query, headers={"Accept": "*/*"})
        return bytes(response.data), response.headers

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object],
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait_seconds: float = 0,
    ) -> urllib3.BaseHTTPResponse:
        url = self.url + path
        if pairs := [(name, _text(value)) for name, value in query.items() if value is not None]:
            url += "?" + urlencode(pairs)
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={**self._headers, **(headers or {})},
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS + wait_seconds),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(
                f"no dashboard answers at {self.url} ({_reason(error)})",
                "start one with `jobledger up --data-dir DIR`, or name another with --url or JOBLEDGER_URL",
            ) from error
        if not 200 <= response.status < 300:
            raise refused(response.status, bytes(response.data), self.url)
        return response

    def _json(self, response: urllib3.BaseHTTPResponse) -> Any:
        if not response.data:
            return None
        try:
            return json.loads(response.data)
        except ValueError as error:
            raise Failure(
                f"what answers at {self.url} is no jobledger dashboard: its answer is not JSON",
                code=ExitCode.UNREACHABLE,
                next_step="look at the address and at what stands before the dashboard",
            ) from error


def segment(name: str) -> str:
    """A name as one segment of a path, whatever characters it has."""
    return quote(name, safe="")


def refused(status: int, body: bytes, url: str) -> Failure:
    """The failure that an error answer amounts to, with every error that it lists."""
    problem = _problem(body)
    title, detail = str(problem.get("title") or ""), str(problem.get("detail") or "")
    message = detail or title or f"the dashboard at {url} answered {status}"
    code, next_step = _REFUSALS.get(status, (ExitCode.REFUSED, ""))
    if status >= 500 and status not in _REFUSALS:
        code, next_step = ExitCode.UNREACHABLE, "see the dashboard's own log"
    details = [told for each in _errors(problem) if (told := _error_line(each)) != message]
    if status == 409 and isinstance(problem.get("permitted"), list):
        return NotPermitted(
            message,
            status=str(problem.get("status") or ""),
            permitted=_texts(problem.get("permitted")),
            permitted_in=_texts(problem.get("permitted_in")),
            details=details,
        )
    return Failure(message, code=code, next_step=next_step, details=details)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _errors(problem: dict[str, Any]) -> list[dict[str, Any]]:
    errors = problem.get("errors")
    return [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []


def _error_line(error: dict[str, Any]) -> str:
    detail = str(error.get("detail") or error.get("message") or "wrong")
    place = error.get("place") or error.get("pointer")
    return f"{place}: {detail}" if place else detail


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _reason(error: Exception) -> str:
    match error:
        case urllib3.exceptions.NewConnectionError():
            return "connection refused" if "refused" in str(error).lower() else "cannot connect"
        case urllib3.exceptions.NameResolutionError():
            return "no such host"
        case urllib3.exceptions.TimeoutError():
            return "no answer in time"
        case urllib3.exceptions.SSLError():
            return f"TLS: {error}"
        case _:
            return "the connection broke"


def _authorization(connection: Connection) -> dict[str, str]:
    if connection.token:
        return {"Authorization": f"Bearer {connection.token}"}
    parts = urlsplit(connection.url)
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
    return {}


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
