"""Plans as they are pushed: a zip, a JSON document or a plan file; every flaw of them is told."""

from collections.abc import Callable
from dataclasses import dataclass

from ...domain.plan import JobPlan
from ..wire.bundles import Bundle, read_json, read_plan_file, read_zip
from ..wire.documents import WireError
from .errors import malformed
from .limits import refuse_nul
from .plan_problems import bad_plan
from .routes import JSON, accept_media

ZIP = "application/zip"
YAML = "application/yaml"
_YAML_NAMES = (YAML, "text/yaml", "application/x-yaml", "text/x-yaml")
_ZIP_NAMES = (ZIP, "application/x-zip-compressed")


@dataclass(frozen=True, slots=True)
class Flawed:
    """What was pushed with flaws in it that leave the rest of the plan clear: its errors are told too."""

    plan: JobPlan
    error: WireError


def read_upload(raw: bytes, media: str) -> Bundle | Flawed:
    """What was pushed, by its media type; without one it is JSON."""
    accept_media(media, (JSON, *_ZIP_NAMES, *_YAML_NAMES))
    if not raw:
        raise malformed("the body is empty")
    return _read(lambda: _by_media(raw, media), status=422)


def _by_media(raw: bytes, media: str) -> Bundle:
    if media in _ZIP_NAMES:
        return read_zip(raw)
    refuse_nul(raw)
    return read_plan_file(_text(raw)) if media in _YAML_NAMES else read_json(raw)


def read_json_bundle(raw: bytes, _media: str) -> Bundle | Flawed:
    """A JSON bundle from an existing client, with or without type wrappers."""
    refuse_nul(raw)
    return _read(lambda: read_json(raw), status=400)


def _read(read: Callable[[], Bundle], *, status: int) -> Bundle | Flawed:
    try:
        return read()
    except WireError as error:
        if error.plan is None:
            raise bad_plan(error, status=status) from error
        return Flawed(error.plan, error)


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"the plan file is not UTF-8: {error.reason} at byte {error.start}") from error
    if "\x00" in text:
        raise malformed("the plan file holds the character U+0000")
    return text
