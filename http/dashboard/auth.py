"""Recognises who calls, from HTTP Basic credentials or a bearer token.

Verifying a password is slow on purpose. Whoever gave a good one is remembered for a short while under a
keyed hash of what they sent, never the password itself, and only for as long as the accounts stay as they
are. A token costs as little to look up as it does to see whether accounts have changed, so it is looked up
each time.
"""

import base64
import binascii
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Protocol

import falcon

from ...storage.accounts import Account
from .callers import TRUSTED, Caller, caller_of
from .errors import Refusal

REMEMBERED_SECONDS = 30.0
_REMEMBERED_AT_MOST = 4096
_VERIFIED_AT_ONCE = 2
"""Verifying a password takes a processor and much memory: a flood of bad ones must not take them all."""

_CHALLENGE = 'Basic realm="jobledger", charset="UTF-8", Bearer realm="jobledger"'


class Authentication(Protocol):
    """Finds out who calls."""

    def caller(self, req: falcon.Request) -> Caller:
        """Who sent the request; raises a ``Refusal`` of 401 when that cannot be told."""
        ...


class AccountBook(Protocol):
    """Where accounts are kept, as far as recognising callers goes."""

    def version(self) -> int:
        """Differs after any change of any account."""
        ...

    def by_password(self, name: str, password: str) -> Account | None:
        """The account that this name and password open; takes long."""
        ...

    def by_token(self, token: str) -> Account | None:
        """The account that this token opens."""
        ...


class Nobody:
    """No accounts at all; for a dashboard that only its own host can reach."""

    def caller(self, _req: falcon.Request) -> Caller:
        """Everybody may do everything."""
        return TRUSTED


class ByAccount:
    """Recognises callers by their accounts."""

    def __init__(self, book: AccountBook, *, clock: Callable[[], float] = monotonic) -> None:
        self._book = book
        self._clock = clock
        self._secret = os.urandom(32)
        self._lock = threading.Lock()
        self._verifying = threading.BoundedSemaphore(_VERIFIED_AT_ONCE)
        self._remembered: OrderedDict[bytes, tuple[Caller, float, int]] = OrderedDict()

    def caller(self, req: falcon.Request) -> Caller:
        """Who sent the request; raises a ``Refusal`` of 401."""
        header = req.auth
        if not header:
            raise _unauthenticated("give the credentials of an account")
        scheme, _, rest = header.partition(" ")
        match scheme.lower():
            case "bearer":
                return _known(self._book.by_token(rest.strip()))
            case "basic":
                return self._by_password(rest.strip())
        raise _unauthenticated("use HTTP Basic or a bearer token")

    def _by_password(self, encoded: str) -> Caller:
        fingerprint = hashlib.blake2b(encoded.encode("utf-8", "replace"), key=self._secret).digest()
        version = self._book.version()
        caller = self._recall(fingerprint, version)
        if caller is None:
            name, password = _credentials(encoded)
            with self._verifying:
                caller = _known(self._book.by_password(name, password))
            self._remember(fingerprint, caller, version)
        return caller

    def _recall(self, fingerprint: bytes, version: int) -> Caller | None:
        with self._lock:
            found = self._remembered.get(fingerprint)
            if found is None:
                return None
            caller, until, then = found
            if until < self._clock() or then != version:
                del self._remembered[fingerprint]
                return None
            return caller

    def _remember(self, fingerprint: bytes, caller: Caller, version: int) -> None:
        with self._lock:
            self._remembered[fingerprint] = caller, self._clock() + REMEMBERED_SECONDS, version
            self._remembered.move_to_end(fingerprint)
            while len(self._remembered) > _REMEMBERED_AT_MOST:
                self._remembered.popitem(last=False)


def _known(account: Account | None) -> Caller:
    if account is None:
        raise _unauthenticated("no account has these credentials")
    return caller_of(account)


def _credentials(encoded: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _unauthenticated("the credentials do not read") from error
    name, colon, password = text.partition(":")
    if not colon or "\x00" in text:
        raise _unauthenticated("the credentials do not read")
    return name, password


def _unauthenticated(detail: str) -> Refusal:
    return Refusal(401, detail, headers={"WWW-Authenticate": _CHALLENGE})
