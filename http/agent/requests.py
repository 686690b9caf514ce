"""Who may call, and what of a request is read."""

import base64
import binascii
import hmac

import falcon
import msgspec

from .errors import Refusal

_OPEN_PATHS = frozenset({"/health/live", "/health/ready"})


class TokenCheck:
    """Middleware that lets in who knows the shared token, as a bearer token or as a Basic password."""

    def __init__(self, token: str | None) -> None:
        """Without a token everybody is let in, which is for loopback only."""
        self._token = None if token is None else token.encode()

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Refuse with 401 who does not know it."""
        if self._token is None or req.path in _OPEN_PATHS:
            return
        if not hmac.compare_digest(_given_token(req.auth or ""), self._token):
            raise Refusal(401, "give the agent's token")


def _given_token(authorization: str) -> bytes:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode("utf-8", "replace")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


class BodyReader:
    """Reads bodies up to a limit, whatever their headers announce."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes

    def read(self, req: falcon.Request) -> bytes:
        """The body; raises a ``Refusal`` of 413 or 400."""
        length = req.content_length
        if length is not None and length > self._limit_bytes:
            raise self._too_large()
        if length is None and not req.env.get("wsgi.input_terminated"):
            return b""
        body = bytes(req.stream.read(self._limit_bytes + 1 if length is None else length))
        if len(body) > self._limit_bytes:
            raise self._too_large()
        if length is not None and len(body) < length:
            raise Refusal(400, f"the body ended after {len(body)} of {length} bytes")
        return body

    def _too_large(self) -> Refusal:
        return Refusal(413, f"bodies may have {self._limit_bytes} bytes")


def flag(req: falcon.Request, name: str, *, otherwise: bool = False) -> bool:
    """A query parameter that is ``true`` or ``false``, or left out; raises a ``Refusal``."""
    text = (req.get_param(name) or str(otherwise)).lower()
    if text not in {"true", "false"}:
        raise Refusal(400, f"{name} is true or false, not {text!r}")
    return text == "true"


def whole_number(req: falcon.Request, name: str, default: int, most: int) -> int:
    """A query parameter from 0 to ``most``; raises a ``Refusal``."""
    text = req.get_param(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most):
        raise Refusal(400, f"{name} is a whole number from 0 to {most}, not {text!r}")
    return int(text)


def answer(resp: falcon.Response, body: object) -> None:
    """Answer JSON."""
    resp.content_type = "application/json"
    resp.data = msgspec.json.encode(body)
