"""The dashboard's WSGI application, composed from the rows of its services.

Each request goes one way: its address is looked up, its caller recognised, its query and body parsed, the
handler called, the answer rendered. There is no middleware.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

import falcon
import msgspec
import structlog

from ... import __version__
from . import (
    actors,
    agent_queues,
    agents,
    commands,
    compatible,
    dead_letters,
    errors,
    events,
    forecasts,
    health,
    instance_resets,
    instances,
    jobs,
    locks,
    notification_settings,
    notifications,
    openapi,
    parameters,
    plan_exports,
    plan_life,
    plan_revisions,
    plan_versions,
    plans,
    queues,
)
from .auth import Authentication
from .callers import ANYBODY, MAY, Access, forbidden
from .idempotency import HEADER, Idempotency, scoped
from .limits import DEFAULT_BODY_LIMIT_BYTES, read_body
from .routes import NO_BODY, Answer, Call, Route, read_query
from .services import Services

_log = structlog.get_logger(__name__)

_SLASH_IN_NAME = "\ue000"
"""Stands for a slash that belongs to a name while the address is looked up."""

Responder = Callable[..., None]


def routes_of(services: Services) -> tuple[Route[Any, Any], ...]:
    """Every service that is built, the description of them all included."""
    modules = (
        health,
        events,
        plans,
        plan_life,
        plan_versions,
        plan_exports,
        plan_revisions,
        instances,
        instance_resets,
        forecasts,
        jobs,
        commands,
        parameters,
        locks,
        agents,
        dead_letters,
        notifications,
        actors,
        compatible,
        queues,
        agent_queues,
        notification_settings,
    )
    rows = tuple(row for module in modules for row in module.routes(services))
    return (*rows, openapi.route_of(rows, __version__))


class Application:
    """A WSGI application over a dashboard."""

    def __init__(
        self,
        services: Services,
        authentication: Authentication,
        *,
        body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES,
    ) -> None:
        self.services = services
        self._authentication = authentication
        self._body_limit_bytes = body_limit_bytes
        self._idempotency = Idempotency(services.dashboard.ledger)
        self.routes = routes_of(services)
        self._falcon = falcon.App()
        self._falcon.req_options.strip_url_path_trailing_slash = True
        # An answer without a body is of no media type; Falcon would call it JSON.
        self._falcon.resp_options.default_media_type = None  # type: ignore[assignment]
        self._falcon.add_error_handler(Exception, errors.handle)
        self._falcon.add_error_handler(falcon.HTTPError, errors.handle)
        for path, rows in _by_path(self.routes).items():
            self._falcon.add_route(path, self._resource(rows))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        uri = environ.get("REQUEST_URI")
        if uri is not None and "%2" in uri and "%2f" in uri.lower():
            environ["PATH_INFO"] = _with_slashes_in_names(uri)
        answer: Iterable[bytes] = self._falcon(environ, start_response)
        return answer

    def _resource(self, rows: Sequence[Route[Any, Any]]) -> object:
        """An object with a responder for each method, as Falcon asks for it."""
        return SimpleNamespace(**{f"on_{row.method.lower()}": self._responder(row) for row in rows})

    def _responder(self, route: Route[Any, Any]) -> Responder:
        nothing_asked = _defaults(route.query)
        takes_body = route.body is not NO_BODY
        roles = MAY.get(route.access, frozenset())
        authentication, limit_bytes = self._authentication, self._body_limit_bytes

        def respond(req: falcon.Request, resp: falcon.Response, **path: Any) -> None:
            caller = ANYBODY if route.access is Access.OPEN else authentication.caller(req)
            if route.access is not Access.OPEN and caller.role not in roles:
                raise forbidden(f"{caller.name} has role {caller.role}; this takes {route.access.value}")
            text = req.query_string
            query = nothing_asked if not text and nothing_asked is not None else read_query(text, route.query)
            raw = read_body(req, limit_bytes) if takes_body else b""
            body = route.body.read(raw, _media(req)) if takes_body else None
            call = Call(caller, _names(path), query, body, req)
            if route.keyed and (key := req.get_header(HEADER)) is not None:
                call.key = scoped(key, caller=caller.name, method=route.method, path=req.path)
                request = b"%b\n%b" % (_media(req).encode(), raw)
                answer = self._idempotency.once(call.key, request, lambda: route.handle(call))
            else:
                answer = route.handle(call)
            render(answer, resp)
            _log.debug("request", service=route.name, by=caller.name, status=answer.status)

        return respond


def render(answer: Answer, resp: falcon.Response) -> None:
    """Put an answer into Falcon's response."""
    resp.status = answer.status
    for name, value in answer.headers.items():
        resp.set_header(name, value)
    content = answer.content
    if content is None:
        return
    resp.content_type = answer.media
    resp.data = content if isinstance(content, bytes) else msgspec.json.encode(content)


def _by_path(rows: Iterable[Route[Any, Any]]) -> dict[str, list[Route[Any, Any]]]:
    grouped: dict[str, list[Route[Any, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row.path].append(row)
    return grouped


def _defaults(kind: type[Any]) -> Any:
    """The query of a request without one; ``None`` if a parameter must be given."""
    required = any(each.required for each in msgspec.structs.fields(kind))
    return None if required else kind()


def _media(req: falcon.Request) -> str:
    """The media type of the body without its parameters, in lower case; empty when it is not told."""
    return (req.content_type or "").partition(";")[0].strip().lower()


def _names(path: dict[str, Any]) -> dict[str, Any]:
    for name, value in path.items():
        if isinstance(value, str):
            if "\x00" in value:
                raise falcon.HTTPNotFound
            if _SLASH_IN_NAME in value:
                path[name] = value.replace(_SLASH_IN_NAME, "/")
    return path


def _with_slashes_in_names(uri: str) -> str:
    """The path of a request whose names hold slashes, in the form that WSGI has it."""
    path = uri.partition("?")[0]
    protected = path.replace("%2f", "%2F").replace("%2F", _SLASH_IN_NAME)
    return unquote_to_bytes(protected).decode("latin-1")
