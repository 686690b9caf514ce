"""The file that says how a dashboard tells people: ``jobledger dashboard --notifications FILE``."""

import base64
import binascii
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ..actors.notifications.config import NotificationsConfig, SmtpConfig, WebhookConfig
from ..actors.notifications.letters import address_of
from .failures import Failure

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SIGNED_IN_BASE64 = "whsec_"


def read_notifications(file: Path, environment: Mapping[str, str] = os.environ) -> NotificationsConfig:
    """The configuration in a file, secrets filled in; raises ``Failure`` with everything that is wrong."""
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _failure(file, [str(error)]) from error
    secrets = _Secrets(file.parent, environment)
    try:
        config = msgspec.convert(secrets.filled_in(document), NotificationsConfig, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise _failure(file, [str(error)]) from error
    config = _with_whole_paths(config, file.parent)
    wrong = [*secrets.wrong, *_wrong(config)]
    if wrong:
        raise _failure(file, wrong)
    return config


def _failure(file: Path, wrong: list[str]) -> Failure:
    return Failure(
        f"{file} does not say how to tell people",
        details=wrong,
        next_step="put it right and start again; docs/operations.md has an example",
    )


class _Secrets:
    """Reads secrets from where the file says they are: the environment, or files of their own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self.wrong: list[str] = []

    def filled_in(self, document: dict[str, Any]) -> dict[str, Any]:
        """The document with the secrets themselves."""
        smtp = document.get("smtp")
        if isinstance(smtp, dict):
            document["smtp"] = self._section(smtp, "password", "smtp")
        webhooks = document.get("webhooks")
        if isinstance(webhooks, dict):
            document["webhooks"] = {
                name: self._section(each, "secret", f"webhooks.{name}") if isinstance(each, dict) else each
                for name, each in webhooks.items()
            }
        return document

    def _section(self, section: dict[str, Any], name: str, place: str) -> dict[str, Any]:
        rest = dict(section)
        variable, file = rest.pop(f"{name}_env", None), rest.pop(f"{name}_file", None)
        given = [each for each in (rest.get(name), variable, file) if each is not None]
        if len(given) > 1:
            self.wrong.append(f"{place}: give one of {name}, {name}_env and {name}_file")
        elif variable is not None:
            rest[name] = self._environment.get(str(variable))
            if rest[name] is None:
                self.wrong.append(f"{place}: the environment has no variable {variable}")
        elif file is not None:
            try:
                rest[name] = (self._folder / str(file)).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                self.wrong.append(f"{place}: {error}")
        return rest


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"{value!r} is no path")


def _with_whole_paths(config: NotificationsConfig, folder: Path) -> NotificationsConfig:
    """Paths begin where the file is."""

    def whole(path: Path | None) -> Path | None:
        return None if path is None else folder / path

    smtp = config.smtp
    return msgspec.structs.replace(
        config,
        templates=whole(config.templates),
        placeholders={plan: folder / path for plan, path in config.placeholders.items()},
        smtp=None if smtp is None else msgspec.structs.replace(smtp, ca_file=whole(smtp.ca_file)),
        webhooks={
            name: msgspec.structs.replace(each, ca_file=whole(each.ca_file))
            for name, each in config.webhooks.items()
        },
    )


def _wrong(config: NotificationsConfig) -> Iterator[str]:
    if config.overdue_tolerance_minutes < 0:
        yield "overdue_tolerance_minutes: a file cannot be late before its time; give 0 or more"
    if config.public_url and not _is_web_address(config.public_url):
        yield f"public_url: {config.public_url!r} is no address; write it like https://jobs.example.org"
    if config.templates is not None and not config.templates.is_dir():
        yield f"templates: there is no folder {config.templates}"
    for plan, path in config.placeholders.items():
        if not path.is_file():
            yield f"placeholders.{plan}: there is no file {path}"
    if config.smtp is not None:
        yield from _wrong_smtp(config.smtp)
    for name, webhook in config.webhooks.items():
        yield from _wrong_webhook(webhook, f"webhooks.{name}")


def _wrong_smtp(smtp: SmtpConfig) -> Iterator[str]:
    if address_of(smtp.sender) is None:
        yield f"smtp.from: {smtp.sender!r} is no address"
    if smtp.user is not None and smtp.security == "none" and smtp.host not in _LOOPBACK:
        yield 'smtp.security: a password would go out unencrypted; use "starttls" or "tls"'
    if smtp.port is not None and not 1 <= smtp.port <= 65535:
        yield f"smtp.port: there is no port {smtp.port}"
    yield from _wrong_in_both(smtp.timeout_seconds, smtp.ca_file, "smtp")


def _wrong_webhook(webhook: WebhookConfig, place: str) -> Iterator[str]:
    if not _is_web_address(webhook.url):
        yield f"{place}.url: {webhook.url!r} is no address; write it like https://HOST/PATH"
    secret = webhook.secret or ""
    if secret.startswith(_SIGNED_IN_BASE64):
        try:
            base64.b64decode(secret.removeprefix(_SIGNED_IN_BASE64), validate=True)
        except binascii.Error:
            yield f"{place}.secret: what follows {_SIGNED_IN_BASE64} is no base64"
    yield from _wrong_in_both(webhook.timeout_seconds, webhook.ca_file, place)


def _wrong_in_both(timeout_seconds: float, ca_file: Path | None, place: str) -> Iterator[str]:
    if not 0 < timeout_seconds <= 300:
        yield f"{place}.timeout_seconds: give more than 0 and at most 300"
    if ca_file is not None and not ca_file.is_file():
        yield f"{place}.ca_file: there is no file {ca_file}"


def _is_web_address(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
