"""What is refused, and how it is told: problem+json on our own API, ``errorMessage`` on the compatible one.

Everything that can go wrong for a caller becomes a ``Refusal`` in one table, so that no handler formats an
error, and what nobody expected is told without its insides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import falcon
import msgspec
import structlog
from msgspec import UNSET, UnsetType

from ...actors.dashboard.errors import KeyReused, NotPermitted, UnknownName
from ...actors.dashboard.ports import AgentRefused, AgentUnreachable
from ...storage.mapper import UnreadableFact
from ...storage.records import Unavailable, Unstorable

_log = structlog.get_logger(__name__)

PROBLEM_MEDIA = "application/problem+json"
JSON_MEDIA = "application/json"
RETRY_AFTER_SECONDS = "1"

_TITLES = {
    400: "Bad request",
    401: "Authentication needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not permitted now",
    411: "Length needed",
    413: "Body too large",
    415: "Media type not supported",
    422: "Invalid",
    500: "Internal error",
    502: "Agent unreachable",
    503: "Unavailable, try again",
}


class FieldError(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request, and where."""

    detail: str
    pointer: str = ""
    """A JSON pointer into the body, or ``?name`` for a query parameter; empty is the whole."""
    place: str | UnsetType = UNSET
    """Where in a job plan, in words: the file, the context or the job."""


class ProblemBody(msgspec.Struct, frozen=True, kw_only=True):
    """An error as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[FieldError, ...]


class RefusedBody(msgspec.Struct, frozen=True, kw_only=True):
    """A command that the state of things does not allow.

    An RFC 9457 problem whose ``status`` is that of the job or instance; whoever expects the number of the
    response there ignores it, as that RFC asks.
    """

    type: str = "urn:jobledger:problem:not-permitted"
    title: str = _TITLES[409]
    status: str | None
    """The status of the job or instance that stands in the way."""
    detail: str
    permitted: tuple[str, ...]
    """The commands that the job accepts as it is now."""
    permitted_in: tuple[str, ...]
    """The statuses in which the same command is accepted."""
    errors: tuple[FieldError, ...]


class MessageBody(msgspec.Struct, frozen=True):
    """An error of the compatible services."""

    errorMessage: str  # noqa: N815  the name that existing clients read


class Refusal(Exception):
    """A request that is answered with an error and changed nothing."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "about:blank",
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def problem(self) -> object:
        """The body on our own API."""
        return ProblemBody(
            type=self.kind,
            title=_TITLES.get(self.status, "Refused"),
            status=self.status,
            detail=self.detail,
            errors=self.errors or (FieldError(self.detail),),
        )

    def message(self) -> MessageBody:
        """The body on the compatible services: all in one sentence."""
        told = [_in_words(each) for each in self.errors if each.detail != self.detail]
        return MessageBody(f"{self.detail}: {'; '.join(told)}" if told else self.detail)


class CommandRefused(Refusal):
    """409, with the status that stands in the way, what it permits, and what would permit the command."""

    def __init__(self, error: NotPermitted) -> None:
        super().__init__(409, error.refused.reason)
        self._refused = error.refused

    def problem(self) -> object:
        """The body on our own API."""
        status = self._refused.status
        return RefusedBody(
            status=None if status is None else str(status),
            detail=self.detail,
            permitted=self._refused.permitted,
            permitted_in=self._refused.permitted_in,
            errors=(FieldError(self.detail),),
        )


def _in_words(error: FieldError) -> str:
    places = (None if error.place is UNSET else error.place, error.pointer)
    return ": ".join([*(str(place) for place in places if place), error.detail])


def malformed(detail: str) -> Refusal:
    """What came is no JSON, no zip, no text of the kind that was announced."""
    return Refusal(400, detail)


def invalid(detail: str, pointer: str = "") -> Refusal:
    """What came reads, and says something that cannot be."""
    return Refusal(422, detail, errors=(FieldError(detail, pointer),))


def unavailable(detail: str) -> Refusal:
    """Nothing is wrong with the request; it could not be made durable now."""
    return Refusal(503, detail, headers={"Retry-After": RETRY_AFTER_SECONDS})


def refusal_for(error: Exception) -> Refusal | None:
    """What a caller is told of an error that is no fault of this program; ``None`` for any other."""
    refusal: Refusal | None = None
    match error:
        case Refusal():
            refusal = error
        case UnknownName():
            refusal = Refusal(404, str(error))
        case NotPermitted(refused=refused):
            refusal = Refusal(404, refused.reason) if refused.unknown else CommandRefused(error)
        case AgentUnreachable():
            refusal = Refusal(502, str(error))
        case AgentRefused():
            refusal = Refusal(404, str(error))
        case KeyReused():
            refusal = Refusal(422, str(error), kind="urn:jobledger:problem:key-reused")
        case Unavailable():
            refusal = unavailable(str(error))
        case UnreadableFact():
            refusal = Refusal(500, f"this is damaged on disk: {error}", kind="urn:jobledger:problem:damaged")
        case Unstorable():
            refusal = invalid(f"no database can hold this: {error}")
        case falcon.HTTPError():
            refusal = _of_falcon(error)
    return refusal


def _of_falcon(error: falcon.HTTPError) -> Refusal:
    headers = error.headers
    if headers is not None and not isinstance(headers, Mapping):
        headers = dict(headers)
    detail = error.description or error.title or "refused"
    if isinstance(error, falcon.HTTPNotFound):
        detail = "there is nothing at this address"
    elif isinstance(error, falcon.HTTPMethodNotAllowed):
        detail = "this address does not take the method"
    return Refusal(error.status_code, detail, headers=headers)


def render(refusal: Refusal, req: falcon.Request, resp: falcon.Response) -> None:
    """Answer with a refusal, in the manner of the family of services that was called.

    The compatible one has one status for all that is wrong with a request.
    """
    resp.status = refusal.status
    for name, value in refusal.headers.items():
        resp.set_header(name, value)
    if req.path.startswith("/rest/"):
        if refusal.status == 422:
            resp.status = 400
        resp.content_type = JSON_MEDIA
        resp.data = msgspec.json.encode(refusal.message())
    else:
        resp.content_type = PROBLEM_MEDIA
        resp.data = msgspec.json.encode(refusal.problem())


def handle(req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, Any]) -> None:
    """Falcon's handler of whatever a resource raises."""
    refusal = refusal_for(error)
    if refusal is None:
        _log.error("request failed", method=req.method, path=req.path, exc_info=error)
        refusal = Refusal(500, "something went wrong here; the log of the dashboard says what")
    elif refusal.status == 500:
        _log.error("request failed", method=req.method, path=req.path, error=refusal.detail)
    render(refusal, req, resp)
