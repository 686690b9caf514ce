"""Tokens in exported bundles: what differs between environments, to be filled in when a bundle is pushed.

``[[agent.name]]`` stands for the agent, also inside identifiers; ``_[[env.name]]`` for the plan's
environment; older exports write ``[[context.name]]`` for the plan. Any other ``[[name.name]]`` may be used
as well.
"""

import re
from collections.abc import Mapping

from .documents import WireError, WireProblem, encode

AGENT = "[[agent.name]]"
_ENVIRONMENT = "env.name"
_TOKEN = re.compile(rb"\[\[([A-Za-z]\w*(?:\.\w+)+)\]\]")


def replace_tokens(documents: Mapping[str, bytes], values: Mapping[str, str]) -> dict[str, bytes]:
    """The documents with all tokens replaced, in their paths too.

    A value goes by ``agent.name`` or ``[[agent.name]]``. An environment that is empty takes the underscore
    before its token with it. Raises ``WireError`` naming each token that has no value.
    """
    known = _bare_names(values)
    replaced: dict[str, bytes] = {}
    problems: list[WireProblem] = []
    for path, content in documents.items():
        if b"[[" not in content and "[[" not in path:
            replaced[path] = content
            continue
        new_path = _replaced(path.encode(), {name: value.replace("/", "_") for name, value in known.items()})
        written = _json_escaped(known) if path.lower().endswith(".json") else known
        new_content = _replaced(content, written)
        problems.extend(_left_over(new_path + b"\n" + new_content, path))
        replaced[new_path.decode(errors="replace")] = new_content
    if problems:
        raise WireError(problems)
    return replaced


def replace_tokens_in_json(raw: bytes, values: Mapping[str, str]) -> bytes:
    """A JSON text with all tokens replaced; raises ``WireError`` naming each that has no value."""
    replaced = _replaced(raw, _json_escaped(_bare_names(values)))
    problems = _left_over(replaced, "")
    if problems:
        raise WireError(problems)
    return replaced


def _bare_names(values: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix("[[").removesuffix("]]"): value for name, value in values.items()}


def _json_escaped(values: Mapping[str, str]) -> dict[str, str]:
    return {name: encode(value)[1:-1].decode() for name, value in values.items()}


def _replaced(content: bytes, values: Mapping[str, str]) -> bytes:
    if b"[[" not in content:
        return content
    if values.get(_ENVIRONMENT) == "":
        content = content.replace(f"_[[{_ENVIRONMENT}]]".encode(), b"")

    def value_of(match: re.Match[bytes]) -> bytes:
        value = values.get(match[1].decode(errors="replace"))
        return match[0] if value is None else value.encode()

    return _TOKEN.sub(value_of, content)


def _left_over(content: bytes, document: str) -> list[WireProblem]:
    names = dict.fromkeys(match[1].decode(errors="replace") for match in _TOKEN.finditer(content))
    return [
        WireProblem("", f"the token [[{name}]] is left; give a value for {name}", document) for name in names
    ]
