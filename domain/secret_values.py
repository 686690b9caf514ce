"""Values that nobody may read: encrypted ones, told by their tokens, and those whose names say it.

An encrypted value, or an encrypted part of one, is written as a token ``{enc:…}``. Only whoever has the key
can open it; everybody else carries it about as it is and shows it covered.
"""

import re
from collections.abc import Mapping
from typing import Any

MASK = "********"

_TOKEN = re.compile(r"\{enc:([A-Za-z0-9_-]{60,}={0,2})\}")
_BEGINNING = "{enc:"
_SECRET_NAME = re.compile(
    r"(password|passwd|passphrase|pwd|secret|token|credentials?|api[_-]?key|private[_-]?key)$", re.IGNORECASE
)
_FOREIGN = re.compile(r"^\s*(ENC\(|enc:|\{cipher\})", re.IGNORECASE)


def token_of(ciphertext: str) -> str:
    """The token that stands for a ciphertext in URL-safe base64."""
    return f"{_BEGINNING}{ciphertext}}}"


def ciphertexts_in(value: str) -> list[str]:
    """The ciphertexts of a value's tokens, in order."""
    return [found[1] for found in _TOKEN.finditer(value)] if _BEGINNING in value else []


def with_tokens_replaced(value: str, opened: Mapping[str, str]) -> str:
    """The value with what each of its ciphertexts was opened to; what comes out is not looked at again."""
    return _TOKEN.sub(lambda found: opened[found[1]], value)


def is_encrypted(value: str) -> bool:
    """Whether a value has a token in it."""
    return _BEGINNING in value and _TOKEN.search(value) is not None


def holds_token(value: str) -> bool:
    """Whether something in a value begins like a token, whole or not."""
    return _BEGINNING in value


def is_encrypted_elsewhere(value: str) -> bool:
    """Whether a value looks like the ciphertext of another system, which nobody here can open."""
    return _FOREIGN.match(value) is not None


def has_broken_token(value: str) -> bool:
    """Whether something in a value begins like a token and is none: cut off, covered or mistyped."""
    return value.count(_BEGINNING) != len(ciphertexts_in(value))


def is_named_secret(name: str) -> bool:
    """Whether a name ends like that of a secret, such as ``DB_PASSWORD`` or ``apiKey``."""
    return _SECRET_NAME.search(name) is not None


def is_secret(name: str, value: str) -> bool:
    """Whether nobody may read the value."""
    return is_named_secret(name) or _BEGINNING in value or is_encrypted_elsewhere(value)


def shown(name: str, value: str) -> str:
    """A value as people may see it; an empty one hides nothing."""
    return MASK if value and is_secret(name, value) else value


def masked(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters as people may see them."""
    return {name: shown(name, value) for name, value in parameters.items()}


def without_secrets(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters that everybody may read."""
    return {name: value for name, value in parameters.items() if not is_secret(name, value)}


_MAPS = frozenset({"parameters", "source_parameters"})


def covered(data: Any) -> Any:
    """A fact, an initiation or the like, made of dictionaries and lists, as people may see it.

    Parameters are known by where they stand: in a mapping, or in a list of declarations.
    """
    match data:
        case dict():
            return {
                name: _covered_parameters(each) if name in _MAPS else covered(each)
                for name, each in data.items()
            }
        case list() | tuple():
            return [covered(each) for each in data]
        case str() if _BEGINNING in data:
            return _TOKEN.sub(f"{_BEGINNING}{MASK}}}", data)
        case _:
            return data


def _covered_parameters(parameters: Any) -> Any:
    if isinstance(parameters, dict):
        return {name: _covered_value(name, value) for name, value in parameters.items()}
    if isinstance(parameters, list | tuple):
        return [
            _covered_declaration(each) if isinstance(each, dict) else covered(each) for each in parameters
        ]
    return covered(parameters)


def _covered_declaration(declaration: dict[str, Any]) -> dict[str, Any]:
    name = declaration.get("name")
    return {
        field: covered(value) if field == "name" else _covered_value(name, value)
        for field, value in declaration.items()
    }


def _covered_value(name: Any, value: Any) -> Any:
    return shown(name, value) if isinstance(name, str) and isinstance(value, str) else covered(value)
