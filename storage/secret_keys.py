"""The keys that seal secrets, and the file that they are kept in.

A key file has a key on each line, the newest first; lines that begin with ``#`` are remarks. The newest key
seals, all of them open. Whoever can read the file can open every secret, so nobody but its owner may.
"""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import structlog

from ..domain.secret_values import ciphertexts_in, token_of, with_tokens_replaced
from .durable_files import OS_FILES, Files, write_durably

_log = structlog.get_logger(__name__)

_REMARK = """\
# Keys of jobledger, the newest first. Nothing else opens its secrets: keep a copy, apart from the database.
"""
_FOR_OTHERS = 0o077


class SecretNotOpened(ValueError):
    """A value is encrypted, and no key at hand opens it; the message never holds any of it."""


class KeyFileUnusable(RuntimeError):
    """The file with the keys cannot be used as it is; the message names the file and never a key."""


class Keys:
    """Keys in memory: what one of them has sealed, any of them opens."""

    def __init__(self, keys: Sequence[str]) -> None:
        """The newest first, at least one; raises ``ValueError`` for what is no key."""
        fernet = _fernet()
        self._keys = fernet.MultiFernet([fernet.Fernet(key) for key in keys])
        self._not_ours = fernet.InvalidToken

    def seal(self, text: str) -> str:
        """A token for a text; the same text gives another token each time."""
        return token_of(self._keys.encrypt(text.encode("utf-8", "surrogatepass")).decode())

    def open(self, value: str) -> str:
        """A value with what each token in it stands for; raises ``SecretNotOpened``."""
        return self._replaced(
            value, lambda ciphertext: self._keys.decrypt(ciphertext).decode("utf-8", "surrogatepass")
        )

    def renew(self, text: str) -> str:
        """A text, such as a plan file, with each token sealed anew by the newest key.

        Raises ``SecretNotOpened`` when no key opens one of them.
        """
        return self._replaced(text, lambda ciphertext: token_of(self._keys.rotate(ciphertext).decode()))

    def _replaced(self, text: str, by: Callable[[str], str]) -> str:
        ciphertexts = ciphertexts_in(text)
        try:
            return with_tokens_replaced(text, {each: by(each) for each in ciphertexts})
        except self._not_ours:
            raise SecretNotOpened("none of the keys opens it") from None


def new_key() -> str:
    """A key that nobody had before."""
    key: bytes = _fernet().Fernet.generate_key()
    return key.decode()


def _fernet() -> ModuleType:
    """Imported for the first secret: it takes some megabytes, and many agents never see one."""
    from cryptography import fernet  # noqa: PLC0415

    return fernet


class KeyFile:
    """The keys of a file, read again whenever it has changed. Safe to use from any thread.

    A file that has become unusable is told to the log, and the keys that were read last stay in use.
    """

    def __init__(self, path: Path, files: Files = OS_FILES) -> None:
        """``files`` is what the file is written through."""
        self.path = path
        self._files = files
        self._lock = threading.Lock()
        self._keys: Keys | None = None
        self._seen: tuple[int, ...] | None = None
        self._trouble: str | None = None

    def seal(self, text: str) -> str:
        """A token for a text, by the newest key; a file with a first key is made if there is none.

        Raises ``KeyFileUnusable``, and ``OSError`` when a first key could not be made durable.
        """
        with self._lock:
            keys = self._current()
            if keys is None:
                self._write_first()
                keys = self._current()
            if keys is None or self._trouble is not None:
                # With keys that are in memory alone it could never be opened again.
                raise KeyFileUnusable(self._trouble or f"{self.path} has vanished")
        return keys.seal(text)

    def open(self, value: str) -> str:
        """A value with what its tokens stand for; raises ``SecretNotOpened`` and ``KeyFileUnusable``."""
        with self._lock:
            keys = self._current()
        if keys is None:
            raise SecretNotOpened(f"there are no keys: {self.path} does not exist")
        return keys.open(value)

    def renew(self, text: str) -> str:
        """A text with each token in it sealed anew by the newest key.

        Raises ``SecretNotOpened`` and ``KeyFileUnusable``.
        """
        with self._lock:
            keys = self._current()
        if keys is None:
            raise SecretNotOpened(f"there are no keys: {self.path} does not exist")
        return keys.renew(text)

    def add(self) -> int:
        """Put a new key before those that there are; returns how many there are now.

        Raises ``KeyFileUnusable``, and ``OSError`` when it could not be made durable.
        """
        with self._lock:
            found = self._read()
            if found and self.path.stat().st_uid != os.geteuid():
                raise KeyFileUnusable(f"{self.path} belongs to another user; do this as that user")
            self._write([new_key(), *found], after=found)
            return len(found) + 1

    def count(self) -> int:
        """How many keys there are, 0 without a file; raises ``KeyFileUnusable``."""
        return len(self._read())

    def _current(self) -> Keys | None:
        seen = self._look()
        if seen != self._seen:
            self._seen, self._trouble = seen, None
            try:
                self._keys = self._read_anew()
            except KeyFileUnusable as error:
                self._trouble = str(error)
                if self._keys is not None:
                    _log.error("the keys that were read before stay in use", error=self._trouble)
        if self._keys is None and self._trouble is not None:
            raise KeyFileUnusable(self._trouble)
        return self._keys

    def _look(self) -> tuple[int, ...]:
        """What tells the file from any that it was before."""
        try:
            status = self.path.stat()
        except OSError as error:
            return (-1, error.errno or 0)
        return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)

    def _read_anew(self) -> Keys | None:
        lines = self._read()
        if not lines and self._keys is not None:
            raise KeyFileUnusable(f"{self.path} has vanished")
        return Keys(lines) if lines else None

    def _read(self) -> list[str]:
        """The keys in the file, none when there is no file; raises ``KeyFileUnusable``."""
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            return []
        except OSError as error:
            raise KeyFileUnusable(f"{self.path} cannot be read: {error.strerror}") from error
        if mode & _FOR_OTHERS:
            raise KeyFileUnusable(f"{self.path} can be read by others than its owner; chmod 600 it")
        lines = self._lines()
        _check(lines, self.path)
        return lines

    def _lines(self) -> list[str]:
        try:
            text = self.path.read_text("ascii")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise KeyFileUnusable(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise KeyFileUnusable(f"{self.path} is no file of keys") from None
        lines = (line.strip() for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    def _write_first(self) -> None:
        try:
            self._write([new_key()], after=[])
        except KeyFileUnusable:
            if not self._read():
                raise

    def _write(self, keys: list[str], after: list[str]) -> None:
        """Replace the file as it was read; somebody who does the same at this moment is not overruled."""
        self._files.make_directory(self.path.parent)
        try:
            held = self._files.lock(self.path.with_name(f"{self.path.name}.lock"))
        except BlockingIOError:
            raise KeyFileUnusable(f"{self.path} is being written by somebody else; try again") from None
        try:
            if self._lines() != after:
                raise KeyFileUnusable(f"{self.path} was written by somebody else; try again")
            content = _REMARK + "".join(f"{key}\n" for key in keys)
            write_durably(self.path, content.encode(), self._files)
        finally:
            self._files.close(held)


def _check(lines: Sequence[str], path: Path) -> None:
    if not lines:
        raise KeyFileUnusable(f"{path} has no key in it")
    for number, line in enumerate(lines, 1):
        try:
            Keys([line])
        except ValueError:
            raise KeyFileUnusable(f"key {number} of {path} is no key") from None
