"""The tokens that agents ask of their dashboard: a file beside the dashboard, one line for each agent.

An agent has one token. It sends it to the dashboard, which keeps only a hash of it, and asks for it when the
dashboard calls. So the dashboard has to be told it once more, by the address of the agent: a token is then
never sent to another address than its own.
"""

import tomllib
from pathlib import Path

import msgspec
import structlog

from .failures import Failure

_log = structlog.get_logger(__name__)


class AgentTokens:
    """Tokens by agents' addresses, read again when an agent with a new address is called."""

    def __init__(self, file: Path | None) -> None:
        """Raises ``Failure`` for a file that does not read. Without a file no agent asks for a token."""
        self._file = file
        self._known = {} if file is None else _read(file)

    def token_for(self, url: str) -> str | None:
        """The token for the agent at that address, as the file has it now."""
        if self._file is not None:
            try:
                self._known = _read(self._file)
            except Failure as error:
                _log.warning("agent tokens kept as they were", file=str(self._file), error=error.message)
        return self._known.get(url.rstrip("/"))


def _read(file: Path) -> dict[str, str]:
    try:
        tokens = msgspec.convert(tomllib.loads(file.read_text("utf-8")), dict[str, str])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Failure(
            f"{file} does not read as a file of agents' tokens: {error}",
            next_step='write a line for each agent: "http://host-a:8080" = "its token"',
        ) from error
    return {url.rstrip("/"): token for url, token in tokens.items()}
