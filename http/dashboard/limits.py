"""How much of a request is read: never more than the limit, whatever its headers announce."""

import re

import falcon

from .errors import Refusal, malformed

DEFAULT_BODY_LIMIT_BYTES = 16 * 1024 * 1024

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def read_body(req: falcon.Request, limit_bytes: int) -> bytes:
    """The body of a request; raises a ``Refusal`` of 413 when it is longer than the limit.

    A chunked body has no length beforehand: it is read up to one byte more than the limit.
    """
    length = req.content_length
    if length is not None:
        if length > limit_bytes:
            raise _too_large(limit_bytes)
        body = req.stream.read(length) if length else b""
        if len(body) < length:
            raise malformed(f"the body ended after {len(body)} of {length} bytes")
        return bytes(body)
    if not req.env.get("wsgi.input_terminated"):
        return b""
    body = req.stream.read(limit_bytes + 1)
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    return bytes(body)


def refuse_nul(body: bytes) -> None:
    """Refuse JSON that escapes the NUL character: no name holds one and no database keeps one."""
    if b"\\u0000" in body and _ESCAPED_NUL.search(body):
        raise malformed("the body holds the character U+0000, which no text may")


def _too_large(limit_bytes: int) -> Refusal:
    detail = f"bodies may have {limit_bytes} bytes"
    return Refusal(413, detail)
