"""Secrets that initiations carry, as the agent keeps them: sealed from when they come in until they are used.

The key is the agent's own, made when the first secret comes, and stands beside its logs. It keeps secrets out
of whatever is copied, printed or searched without it; who may read the whole directory can open them all.
"""

import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ...domain.messages import Initiation
from ...domain.secret_values import is_encrypted, is_named_secret
from ...storage.durable_files import OS_FILES, Files, read_whole, write_durably
from ...storage.secret_keys import KeyFileUnusable, Keys, SecretNotOpened, new_key


class Seal:
    """Seals and opens by the agent's own key. Safe to use from any thread."""

    def __init__(self, file: Path, files: Files = OS_FILES) -> None:
        self._file = file
        self._files = files
        self._lock = threading.Lock()
        self._keys: Keys | None = None

    def sealed(self, initiation: Initiation) -> Initiation:
        """The initiation with its secrets sealed: those it names, and those that are told by their names.

        Raises ``OSError`` when the first key could not be made durable, and ``KeyFileUnusable``.
        """
        given = initiation.parameters
        names = [name for name in given if name in initiation.secrets or is_named_secret(name)]
        if not names:
            return initiation
        keys = self._current()
        parameters = {name: keys.seal(value) if name in names else value for name, value in given.items()}
        return msgspec.structs.replace(initiation, parameters=parameters, secrets=tuple(names))

    def opened(self, initiation: Initiation) -> Mapping[str, str]:
        """The parameters that a command gets; raises ``ValueError`` naming one that cannot be opened."""
        if not initiation.secrets:
            return initiation.parameters
        opened = dict(initiation.parameters)
        for name in initiation.secrets:
            if not is_encrypted(opened.get(name, "")):
                continue
            try:
                opened[name] = self._current().open(opened[name])
            except (SecretNotOpened, KeyFileUnusable, OSError) as error:
                raise ValueError(f"parameter {name!r} cannot be decrypted here: {error}") from None
        return opened

    def _current(self) -> Keys:
        with self._lock:
            if self._keys is None:
                self._keys = self._read() or self._make()
            return self._keys

    def _read(self) -> Keys | None:
        try:
            return Keys([read_whole(self._file, self._files).decode("ascii").strip()])
        except FileNotFoundError:
            return None
        except ValueError:
            raise KeyFileUnusable(f"{self._file} is no file of keys") from None

    def _make(self) -> Keys:
        key = new_key()
        write_durably(self._file, f"{key}\n".encode(), self._files)
        return Keys([key])
