"""Secrets of a simulated world: what they are, and who has seen them where nobody may."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from cryptography.fernet import Fernet
from jobledger.actors.dashboard import dashboard
from jobledger.domain.secret_values import is_encrypted, token_of
from jobledger.storage.secret_keys import Keys
from violations import Violation

KEY = urlsafe_b64encode(sha256(b"the key of a simulated dashboard").digest()).decode()
SECRETS = tuple(f"plain{number}of{sha256(bytes([number])).hexdigest()[:12]}" for number in range(4))
"""In words that nothing changes on its way, so that they are found in whatever they are written into."""


def sealed(number: int) -> str:
    """A secret as it stands in plans and orders: always the same token, as nothing is drawn for it."""
    iv = sha256(f"iv {number}".encode()).digest()[:16]
    secret = SECRETS[number % len(SECRETS)].encode()
    return token_of(Fernet(KEY)._encrypt_from_parts(secret, 0, iv).decode())


def within_text(number: int) -> str:
    """A value of which only a part is secret."""
    return f"user=night;word={sealed(number)};mode=fast"


class Overheard:
    """Looks into whatever is written down or said where no secret may be."""

    def __init__(self, fail: Callable[[Violation], None]) -> None:
        self._fail = fail
        self._plain = [each.encode() for each in SECRETS]

    def look(self, where: str, said: object) -> None:
        """Fail the world when a secret can be read in it."""
        data = said if isinstance(said, bytes) else str(said).encode(errors="replace")
        if any(secret in data for secret in self._plain):
            self._fail(Violation(f"a secret can be read in {where}: {data[:2_000]!r}"))

    def look_into_message(self, where: str, said: object) -> None:
        """The same for something made of structs."""
        self.look(where, said if isinstance(said, str | bytes) else msgspec.json.encode(said))

    def look_into_log(self, event: Mapping[str, Any]) -> None:
        """The same for a line of the log."""
        self.look(f"the log line {event.get('event')!r}", dict(event))


def opened(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters as a command must get them."""
    keys = Keys([KEY])
    return {name: keys.open(value) if is_encrypted(value) else value for name, value in parameters.items()}


class _KeyFile:
    """The dashboard's file of keys; nobody touches it in a simulation."""

    def __init__(self, _path: Path) -> None:
        self._keys = Keys([KEY])

    def seal(self, text: str) -> str:
        return self._keys.seal(text)

    def open(self, value: str) -> str:
        return self._keys.open(value)


@contextmanager
def virtual_keys() -> Iterator[None]:
    """Within, dashboards have the keys of simulated secrets."""
    with mock.patch.object(dashboard, "KeyFile", _KeyFile):
        yield
