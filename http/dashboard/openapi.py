"""The OpenAPI document, made from the same rows that the application is composed of."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from .callers import MAY, Access
from .errors import JSON_MEDIA, PROBLEM_MEDIA, MessageBody, ProblemBody, RefusedBody
from .routes import JSON, NO_BODY, Answer, Call, NoQuery, Route

_PARAMETER = re.compile(r"\{(?P<name>\w+)(?::(?P<kind>\w+)(?:\((?P<bounds>[^)]*)\))?)?\}")
_REFERENCE = "#/components/schemas/{name}"

_SAID = {
    200: "Done",
    201: "Made",
    204: "Done, nothing to say",
    400: "The request does not read",
    401: "No account, or wrong credentials",
    403: "The account may not do this",
    404: "There is nothing of that name",
    409: "The state of things does not allow it now",
    413: "The body is larger than the limit",
    415: "The body is of another media type",
    422: "The request reads and says something that cannot be",
    502: "The agent cannot be reached",
    503: "It could not be made durable; nothing changed; try again",
}


def document(routes: Sequence[Route[Any, Any]], version: str) -> dict[str, Any]:
    """The whole document, as JSON values."""
    schemas, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, schemas)
        paths.setdefault(_path(route), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jobledger dashboard",
            "version": version,
            "description": "Its own services under /api/v1, the compatible ones under /rest.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _path(route: Route[Any, Any]) -> str:
    return _PARAMETER.sub(lambda match: "{" + match["name"] + "}", route.path)


def _schemas(routes: Sequence[Route[Any, Any]]) -> tuple[dict[Any, Any], dict[str, Any]]:
    kinds: list[Any] = [ProblemBody, RefusedBody, MessageBody]
    for route in routes:
        kinds.extend(route.body.media.values())
        kinds.extend(each.type for each in msgspec.structs.fields(route.query))
        for answer in route.answers.values():
            kinds.extend(answer.values() if isinstance(answer, Mapping) else [answer])
    distinct = list(dict.fromkeys(kind for kind in kinds if not isinstance(kind, dict) and kind is not None))
    schemas, components = msgspec.json.schema_components(distinct, ref_template=_REFERENCE)
    return dict(zip(distinct, schemas, strict=True)), components


def _operation(route: Route[Any, Any], schemas: Mapping[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": dict(_responses(route, schemas)),
    }
    if route.access is Access.OPEN:
        operation["security"] = []
    else:
        operation["security"] = [{"basic": []}, {"bearer": []}]
        operation["x-roles"] = sorted(MAY[route.access])
    if route.body is not NO_BODY:
        operation["requestBody"] = {
            "required": route.body.required,
            "content": {
                media: {"schema": _schema(kind, schemas)} for media, kind in route.body.media.items()
            },
        }
    if route.keyed:
        operation["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key and body give the same answer",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            }
        )
    return operation


def _tag(route: Route[Any, Any]) -> str:
    family, *rest = [step for step in route.path.split("/") if step and not step.startswith("{")]
    return "compatible" if family == "rest" else rest[1] if len(rest) > 1 else family


def _schema(kind: Any, schemas: Mapping[Any, Any]) -> Any:
    return kind if isinstance(kind, dict) else schemas[kind]


def _path_parameters(route: Route[Any, Any]) -> Iterator[dict[str, Any]]:
    for match in _PARAMETER.finditer(route.path):
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if match["kind"] == "uuid":
            schema = {"type": "string", "format": "uuid"}
        elif match["kind"] == "int":
            schema = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
        yield {"name": match["name"], "in": "path", "required": True, "schema": schema}


def _query_parameters(route: Route[Any, Any]) -> Iterator[dict[str, Any]]:
    for each in msgspec.structs.fields(route.query):
        (schema,), _ = msgspec.json.schema_components([each.type], ref_template=_REFERENCE)
        yield {
            "name": each.encode_name,
            "in": "query",
            "required": each.required,
            "schema": _without_null(schema),
        }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is left out; a query cannot say null."""
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        return dict(choices[0])
    return schema


def _responses(route: Route[Any, Any], schemas: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for status, answer in route.answers.items():
        response: dict[str, Any] = {"description": _SAID[status]}
        if answer is not None:
            kinds = answer if isinstance(answer, Mapping) else {JSON: answer}
            response["content"] = {media: {"schema": _schema(kind, schemas)} for media, kind in kinds.items()}
        yield str(status), response
    for status in sorted(_refusals(route) - set(route.answers)):
        yield str(status), _refusal(route, status, schemas)


def _refusals(route: Route[Any, Any]) -> set[int]:
    if route.access is Access.OPEN:
        return set()
    refusals = {400, 401, 403, 503, *route.errors}
    if route.body is not NO_BODY:
        refusals |= {413} if route.compatible else {413, 415, 422}
    if route.keyed:
        refusals.add(422)
    if _PARAMETER.search(route.path):
        refusals.add(404)
    return refusals


def _refusal(route: Route[Any, Any], status: int, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    kind: type = RefusedBody if status == 409 else ProblemBody
    media = PROBLEM_MEDIA
    if route.compatible:
        media, kind = JSON_MEDIA, MessageBody
    response: dict[str, Any] = {"description": _SAID[status], "content": {media: {"schema": schemas[kind]}}}
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    if status == 503:
        response["headers"] = {"Retry-After": {"required": True, "schema": {"type": "string"}}}
    return response


def route_of(others: Sequence[Route[Any, Any]], version: str) -> Route[None, NoQuery]:
    """The row that answers the document of all other rows and of itself."""

    @cache
    def encoded() -> bytes:
        return msgspec.json.encode(document([*others, own], version))

    def show(_call: Call[None, NoQuery]) -> Answer:
        return Answer(encoded())

    own: Route[None, NoQuery] = Route(
        method="GET",
        path="/api/v1/openapi.json",
        name="openapi",
        summary="Describe all services, as OpenAPI 3.1",
        access=Access.READ_OR_AGENT,
        handle=show,
        body=NO_BODY,
        query=NoQuery,
        answers={200: dict[str, Any]},
    )
    return own
