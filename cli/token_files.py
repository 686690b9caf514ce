"""Files with the values of a bundle's tokens: TOML, JSON, or lines of ``NAME = VALUE``."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

from .failures import ExitCode, Failure

_NEXT_STEP = "write lines such as agent.name = host-a, or the same as TOML or JSON"


def token_values(path: Path) -> dict[str, str]:
    """The values by token, such as ``agent.name``, in a file whose kind its name tells.

    In TOML and JSON a dot may also be a level: ``{"agent": {"name": …}}``. Raises ``Failure``.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Failure(
            f"{path} cannot be read: {reason}",
            code=ExitCode.NOT_FOUND if missing else ExitCode.REFUSED,
            next_step=_NEXT_STEP,
        ) from error
    try:
        match path.suffix.lower():
            case ".json":
                return dict(_flat(json.loads(text)))
            case ".toml":
                return dict(_flat(tomllib.loads(text)))
            case _:
                return dict(_lines(text))
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path} does not read: {error}", next_step=_NEXT_STEP) from error


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from _flat(inner, f"{name}.{key}" if name else str(key))
        case str() if name:
            yield name, value
        case bool() | int() | float() if name:
            raise ValueError(f"the value of {name} is no text; put it into quotes")
        case _:
            raise ValueError(f"{name} has no value" if name else "it holds no names with their values")


def _lines(text: str) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not (name and equals):
            raise ValueError(f"line {number} is not NAME = VALUE")
        if name in seen:
            raise ValueError(f"line {number} gives {name} a second time")
        seen.add(name)
        yield name, value
