"""Files that give parameters values: properties or TOML, and the TOML file that names one for each plan.

Messages name lines and parameters and never quote values: these may be secrets.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import msgspec

LARGEST_BYTES = 1 << 20


class ParameterFileUnusable(ValueError):
    """A file that cannot be read as a whole; the message names it and says what to do."""


class ReadFile(msgspec.Struct, frozen=True):
    """What a file says, and what in it was passed over."""

    values: dict[str, str]
    warnings: tuple[str, ...] = ()


class Stamp(msgspec.Struct, frozen=True):
    """What tells the content of a file from any that it had before; all zero for a file that is not there."""

    changed_ns: int = 0
    """Of its content or of its mode, since 1970."""
    modified_ns: int = 0
    size: int = 0
    inode: int = 0


def stamp_of(path: Path) -> Stamp:
    """The file's stamp now."""
    try:
        status = path.stat()
    except OSError:
        return Stamp()
    return Stamp(status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_ino)


def read_parameters(path: Path) -> ReadFile:
    """What a file says, TOML if it is called so, else properties; raises ``ParameterFileUnusable``."""
    text = _text(path)
    if path.suffix.lower() == ".toml":
        return ReadFile(dict(_toml_values(path, _toml(path, text))))
    return read_properties(text)


def read_properties(text: str) -> ReadFile:
    """Lines ``NAME=VALUE``; the last of a name counts. Remarks begin with ``#`` or ``!``."""
    values: dict[str, str] = {}
    warnings = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith(("#", "!")):
            continue
        name, equals, value = line.partition("=")
        name = name.rstrip()
        if not equals or not name:
            warnings.append(f"line {number} is not NAME=VALUE and is passed over")
            continue
        if name in values:
            warnings.append(f"line {number} gives {name} a value again, which is the one that counts")
        values[name] = value.lstrip()
    return ReadFile(values, tuple(warnings))


def read_plan_sources(path: Path) -> dict[str, Path]:
    """The parameter file of each plan, as a TOML file names them; raises ``ParameterFileUnusable``.

    Its lines are ``"plan" = "file"``; a path that is not absolute begins where the TOML file is.
    """
    sources = {}
    for plan, file in _toml(path, _text(path)).items():
        if not isinstance(file, str) or not file:
            raise ParameterFileUnusable(f'{path}: give plan {plan} the name of a file: "{plan}" = "FILE"')
        sources[plan] = Path(os.path.normpath(path.parent / file))
    return sources


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ParameterFileUnusable(f"{path} has more than {LARGEST_BYTES >> 20} MiB")
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise ParameterFileUnusable(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ParameterFileUnusable(f"{path} is not in UTF-8") from None


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as error:
        # The message of the library may quote what stands there.
        place = str(error).rpartition("(at ")[2].rstrip(")") or "some line"
        raise ParameterFileUnusable(f"{path} is no TOML: look at {place}") from None


def _toml_values(path: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        match value:
            case str():
                yield name, value
            case bool():
                yield name, "true" if value else "false"
            case int():
                yield name, str(value)
            case datetime() | date() | time():
                yield name, value.isoformat()
            case _:
                raise ParameterFileUnusable(f"{path}: {name} is a list or a table; give it a text")
