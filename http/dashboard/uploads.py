"""Plans as they are pushed: a zip, a JSON document or a plan file; every flaw of them is told."""

from ..wire.bundles import Bundle, read_json, read_plan_file, read_zip
from ..wire.documents import WireError
from .errors import malformed
from .events import bad_wire, invalid_wire
from .limits import refuse_nul
from .routes import JSON, accept_media

ZIP = "application/zip"
YAML = "application/yaml"
_YAML_NAMES = (YAML, "text/yaml", "application/x-yaml", "text/x-yaml")
_ZIP_NAMES = (ZIP, "application/x-zip-compressed")


def read_upload(raw: bytes, media: str) -> Bundle:
    """What was pushed, by its media type; without one it is JSON."""
    accept_media(media, (JSON, *_ZIP_NAMES, *_YAML_NAMES))
    if not raw:
        raise malformed("the body is empty")
    try:
        if media in _ZIP_NAMES:
            return read_zip(raw)
        refuse_nul(raw)
        if media in _YAML_NAMES:
            return read_plan_file(_text(raw))
        return read_json(raw)
    except WireError as error:
        raise invalid_wire(error) from error


def read_json_bundle(raw: bytes, _media: str) -> Bundle:
    """A JSON bundle from an existing client, with or without type wrappers."""
    refuse_nul(raw)
    try:
        return read_json(raw)
    except WireError as error:
        raise bad_wire(error) from error


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"the plan file is not UTF-8: {error.reason} at byte {error.start}") from error
    if "\x00" in text:
        raise malformed("the plan file holds the character U+0000")
    return text
