"""What a service is: one row with its address, what it takes, what it answers and who may call it.

The application is composed from these rows and the OpenAPI document is made from the same ones, so the two
cannot differ. Every request goes one way: parse, authorise, append or ask, render.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import falcon
import msgspec

from ...actors.dashboard.origin import Origin
from .callers import Access, Caller
from .errors import FieldError, Refusal, malformed
from .limits import refuse_nul

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

B = TypeVar("B")
Q = TypeVar("Q")
T = TypeVar("T")

_PATH_IN_MESSAGE = re.compile(r"^(?P<detail>.*?)(?: - at (?:`key` in )?`(?P<path>\$[^`]*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>[^\]]*)\]")
_NAMED_FIELD = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service without query parameters."""


class AnyQuery(msgspec.Struct, frozen=True):
    """A compatible service without query parameters: what it does not know, it ignores."""


@dataclass(frozen=True, slots=True)
class Body(Generic[B]):
    """How a request's body is read, and what its media types hold."""

    read: Callable[[bytes, str], B]
    """From the bytes and the media type, without its parameters and in lower case; may be empty."""
    media: Mapping[str, Any]
    """The type of what each media type holds."""
    required: bool = True


def _no_body(_raw: bytes, _media: str) -> None:
    return None


NO_BODY: Body[None] = Body(read=_no_body, media={}, required=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler gives back; bytes go out as they are, anything else as JSON."""

    content: Any = None
    status: int = 200
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Call(Generic[B, Q]):
    """One request, parsed and authorised."""

    caller: Caller
    path: dict[str, Any]
    query: Q
    body: B
    request: falcon.Request
    key: str | None = None
    """The idempotency key, made unique to the caller and the service."""

    def origin(self, reason: str | None = None) -> Origin:
        """The author of what follows from this call."""
        source = self.request.env.get("REMOTE_ADDR", "")
        return Origin(by=self.caller.name, source=source, reason=reason, key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[B, Q]):
    """One service."""

    method: str
    path: str
    """A Falcon template: ``{name}``, ``{name:uuid}`` or ``{name:int(…)}``."""
    name: str
    """Unique over all services; clients made from the OpenAPI document use it."""
    summary: str
    access: Access
    handle: Callable[[Call[B, Q]], Answer]
    body: Body[B]
    query: type[Q]
    answers: Mapping[int, Any]
    """What each success status answers: a type, ``None`` for no body, or a mapping of media type to type."""
    errors: tuple[int, ...] = ()
    """Refusals beyond those that every service shares."""
    keyed: bool = False
    """Whether it takes an idempotency key."""

    @property
    def compatible(self) -> bool:
        """Whether it is one of the services that existing clients call."""
        return self.path.startswith("/rest/")


Handler: TypeAlias = Callable[[Call[None, Q]], Answer]
"""Handles requests without a body."""


@dataclass(frozen=True, slots=True)
class Looking:
    """Services of one family that only look."""

    base: str
    """What their addresses begin with."""
    answers: Mapping[str, Mapping[int, Any]]
    """What each answers, by its name."""
    errors: tuple[int, ...] = ()

    def row(self, path: str, name: str, summary: str, handle: Handler[Q], query: type[Q]) -> Route[None, Q]:
        """One of them, at an address below the base."""
        return Route(
            method="GET",
            path=f"{self.base}{path}",
            name=name,
            summary=summary,
            access=Access.READ,
            handle=handle,
            body=NO_BODY,
            query=query,
            answers=self.answers[name],
            errors=self.errors,
        )


def json_body(kind: type[T], *, example_media: str = JSON) -> Body[T]:
    """A body that must be JSON of that type; what it does not know is refused if the type says so."""
    decoder = msgspec.json.Decoder(kind)

    def read(raw: bytes, media: str) -> T:
        accept_media(media, (JSON,))
        return decode(decoder, raw)

    return Body(read=read, media={example_media: kind})


def optional_json_body(kind: type[T]) -> Body[T]:
    """As ``json_body``, for a type whose fields may all be left out: no body is an empty object."""
    required = json_body(kind)

    def read(raw: bytes, media: str) -> T:
        return required.read(raw or b"{}", media if raw else "")

    return Body(read=read, media=required.media, required=False)


def accept_media(media: str, accepted: tuple[str, ...]) -> None:
    """Refuse a body that says it is of another kind; one that says nothing is taken for the first."""
    if media and media not in accepted:
        detail = f"{media} is not taken here; send {' or '.join(accepted)}"
        raise Refusal(415, detail)


def decode(decoder: "msgspec.json.Decoder[T]", raw: bytes) -> T:
    """Decode JSON; raises a ``Refusal`` of 400 for what is no JSON, of 422 for what is another thing."""
    refuse_nul(raw)
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise not_of_type(error) from error
    except msgspec.DecodeError as error:
        raise malformed("the body is empty" if not raw else str(error)) from error
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise malformed("the body is nested too deeply") from error


def not_of_type(error: msgspec.ValidationError) -> Refusal:
    """422 with a JSON pointer to what is wrong."""
    detail, pointer = told_by(error)
    return Refusal(422, detail, errors=(FieldError(detail, pointer),))


def told_by(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong and where, as a sentence and a JSON pointer."""
    match = _PATH_IN_MESSAGE.match(str(error))
    if match is None:
        return str(error), ""
    detail, path = match["detail"], match["path"] or "$"
    steps = [step["name"] or step["index"] or "" for step in _STEP.finditer(path)]
    named = _NAMED_FIELD.search(detail)
    if named is not None:
        steps.append(named["name"])
    return detail, "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def read_query(text: str, kind: type[Q]) -> Q:
    """The query parameters; raises a ``Refusal`` of 400 for one that is wrong, unknown or repeated."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=64, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise malformed("the query does not read; it is no UTF-8 or has too many parameters") from error
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _bad_parameter(twice, f"query parameter {twice} is there more than once")
    if any("\x00" in name or "\x00" in value for name, value in pairs):
        raise malformed("the query holds the character U+0000")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        detail, pointer = told_by(error)
        name = pointer.removeprefix("/").replace("~1", "/").replace("~0", "~")
        raise _bad_parameter(name, f"query parameter {name}: {detail}") from error


def _bad_parameter(name: str, detail: str) -> Refusal:
    return Refusal(400, detail, errors=(FieldError(detail, f"?{name}"),))
