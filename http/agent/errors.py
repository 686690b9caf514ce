"""What an agent refuses, and how it is told: problem+json on our own API, else ``errorMessage``."""

from collections.abc import Sequence
from typing import Any

import falcon
import msgspec
import structlog

from ...storage.secret_keys import KeyFileUnusable
from ...storage.segment_errors import LogCorrupted, SegmentLogError
from ..wire.documents import WireError

_log = structlog.get_logger(__name__)

_TITLES = {
    400: "Bad request",
    401: "Authentication needed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not possible now",
    411: "Length needed",
    413: "Body too large",
    422: "Invalid",
    500: "Internal error",
    503: "Unavailable, try again",
}
_RETRY_AFTER_SECONDS = "1"


class Refusal(Exception):
    """A request that is answered with an error and changed nothing."""

    def __init__(self, status: int, detail: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        """``errors``: what is wrong, each with a JSON pointer into the body."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)


def bad_wire(error: WireError, status: int) -> Refusal:
    """A body that cannot be read, with every flaw."""
    return Refusal(
        status, "what came cannot be taken", [(each.pointer, each.message) for each in error.problems]
    )


def _refusal_for(error: Exception) -> Refusal | None:
    match error:
        case Refusal():
            return error
        case LogCorrupted():
            return None
        case SegmentLogError() | KeyFileUnusable() | OSError():
            return Refusal(503, f"it could not be made durable: {error}")
        case falcon.HTTPError():
            return _of_falcon(error)
        case _:
            return None


def _of_falcon(error: falcon.HTTPError) -> Refusal:
    told = {404: "there is nothing at this address", 405: "this address does not take the method"}
    detail = told.get(error.status_code) or error.description or error.title or "refused"
    return Refusal(error.status_code, detail)


def render(req: falcon.Request, resp: falcon.Response, refusal: Refusal) -> None:
    """Answer with a refusal, in the manner of the family of services that was called."""
    resp.status = refusal.status
    if refusal.status == 503:
        resp.set_header("Retry-After", _RETRY_AFTER_SECONDS)
    if refusal.status == 401:
        resp.set_header("WWW-Authenticate", "Bearer")
    if req.path.startswith("/rest/"):
        told = "; ".join(f"{pointer}: {what}" if pointer else what for pointer, what in refusal.errors)
        message = f"{refusal.detail}: {told}" if told else refusal.detail
        resp.content_type = "application/json"
        resp.data = msgspec.json.encode({"errorMessage": message})
        return
    resp.content_type = "application/problem+json"
    resp.data = msgspec.json.encode(
        {
            "type": "about:blank",
            "title": _TITLES.get(refusal.status, "Refused"),
            "status": refusal.status,
            "detail": refusal.detail,
            "errors": [{"pointer": pointer, "detail": what} for pointer, what in refusal.errors],
        }
    )


def handle(req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, Any]) -> None:
    """Falcon's handler of whatever a resource raises."""
    refusal = _refusal_for(error)
    if refusal is None:
        _log.error("request failed", method=req.method, path=req.path, exc_info=error)
        refusal = Refusal(500, "something went wrong here; the log of the agent says what")
    render(req, resp, refusal)
