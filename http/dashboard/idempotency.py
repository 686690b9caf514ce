"""The same key and the same request give the same answer, without being done again.

Answers are kept by the ledger, so a key is good across restarts. Requests that carry one key at the same
time take their turns.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from ...actors.dashboard.errors import KeyReused
from .errors import Refusal
from .routes import Answer

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,255}")


class AnswerBook(Protocol):
    """Where answers are kept; the ledger does it."""

    def answer(self, key: str) -> tuple[str, bytes] | None:
        """The digest of the request that a key came with, and the answer that was given."""
        ...

    def remember(self, key: str, digest: str, answer: bytes) -> None:
        """Keep an answer, durable on return."""
        ...


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    status: int
    media: str
    headers: dict[str, str]
    content: bytes


class Idempotency:
    """Gives answers again."""

    def __init__(self, book: AnswerBook) -> None:
        self._book = book
        self._turns = _Turns()

    def once(self, key: str, request: bytes, work: Callable[[], Answer]) -> Answer:
        """The answer kept for the key, or that of the work, which is kept then.

        Raises ``KeyReused`` when the key came with another request. What is refused is not kept: it changed
        nothing, and may be permitted next time.
        """
        digest = hashlib.sha256(request).hexdigest()
        with self._turns.of(key):
            kept = self._book.answer(key)
            if kept is not None:
                if kept[0] != digest:
                    raise KeyReused("the idempotency key came before with another body")
                return _answer_from(kept[1])
            answer = work()
            self._book.remember(key, digest, _kept(answer))
            return answer


def scoped(key: str, *, caller: str, method: str, path: str) -> str:
    """The key as it is stored: callers and addresses do not share keys. Refuses one that is no token."""
    if _KEY.fullmatch(key) is None:
        detail = f"{HEADER} has 1 to 255 visible ASCII characters"
        raise Refusal(400, detail)
    return hashlib.sha256("\n".join((caller, method, path, key)).encode()).hexdigest()


def _kept(answer: Answer) -> bytes:
    content = answer.content
    raw = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return msgspec.msgpack.encode(_Kept(answer.status, answer.media, dict(answer.headers), raw))


def _answer_from(data: bytes) -> Answer:
    kept = msgspec.msgpack.decode(data, type=_Kept)
    return Answer(kept.content, status=kept.status, media=kept.media, headers=kept.headers)


class _Turns:
    """A lock for each key that is in use at this moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Wait for those with the same key that came before."""
        with self._lock:
            turn, users = self._of.get(key, (threading.Lock(), 0))
            self._of[key] = turn, users + 1
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, users = self._of[key]
                if users == 1:
                    del self._of[key]
                else:
                    self._of[key] = turn, users - 1
