"""Where the dashboard is and who asks: an option, else the environment, else a file in the home directory."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from .failures import Failure

DEFAULT_URL = "http://127.0.0.1:9090"
URL_VARIABLE = "JOBLEDGER_URL"
TOKEN_VARIABLE = "JOBLEDGER_TOKEN"  # noqa: S105  the name of a variable
AGENT_TOKENS_VARIABLE = "JOBLEDGER_AGENT_TOKENS"


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """The dashboard that a command talks to."""

    url: str = DEFAULT_URL
    token: str | None = None


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str | None = None
    token: str | None = None


def settings_file() -> Path:
    """``~/.config/jobledger.toml``."""
    return Path.home() / ".config" / "jobledger.toml"


def connection(
    url: str | None = None,
    token: str | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Connection:
    """The connection that options, environment and settings file amount to, each before the next.

    A token of the settings file is sent only to the dashboard that the file names.
    """
    stored = _read(file or settings_file())
    chosen_url = url or environment.get(URL_VARIABLE) or stored.url or DEFAULT_URL
    chosen_token = token or environment.get(TOKEN_VARIABLE)
    if chosen_token is None and chosen_url == (stored.url or DEFAULT_URL):
        chosen_token = stored.token
    return Connection(url=chosen_url.rstrip("/"), token=chosen_token or None)


def _read(file: Path) -> _Settings:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return _Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(
            f"{file} cannot be read: {error}", next_step="make it readable, or remove it"
        ) from error
    try:
        return msgspec.convert(tomllib.loads(text), _Settings)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Failure(
            f"{file} is no settings file: {error}",
            next_step='write it as two lines, url = "http://HOST:9090" and token = "…"',
        ) from error
