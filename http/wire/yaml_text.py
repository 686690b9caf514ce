"""YAML as a JSON value: only mappings, lists, texts, numbers, ``true``, ``false`` and ``null``.

What surprises in YAML is left out: dates, ``yes`` and ``no``, numbers to the base of 60, anchors and keys
that stand twice. A plan is read as it looks.
"""

import re
from collections.abc import Hashable

import yaml

try:
    from yaml import CSafeLoader as _BaseLoader
except ImportError:  # PyYAML was built without its C library
    from yaml import SafeLoader as _BaseLoader  # type: ignore[assignment]

from .documents import MAX_DEPTH, Value, WireError, unwrapped

MAX_CHARACTERS = 16 * 1024 * 1024


class _Loader(_BaseLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - the library's own way: one table for the class

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if isinstance(name, str):
                if name in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {name!r} stands twice", key.start_mark
                    )
                seen.add(name)
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"-?(?:0|[1-9][0-9]{0,17})", list("-0123456789")),
    ("float", r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})\\Z"), _first)


def read_yaml(text: str) -> Value:
    """The value in a YAML text; raises ``WireError`` naming the line."""
    if len(text) > MAX_CHARACTERS:
        raise WireError.of(f"the text is longer than {MAX_CHARACTERS} characters")
    try:
        _check(text)
        value = yaml.load(text, _Loader)  # noqa: S506 - a safe loader, made narrower still
    except (yaml.YAMLError, ValueError) as error:
        raise WireError.of(f"this is no YAML that can be read: {error}") from error
    return unwrapped(value)


def _check(text: str) -> None:
    """Refuse what would grow when it is loaded, before it is."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            raise WireError.of(f"{_line(event)}anchors and aliases are not taken here")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise WireError.of(f"{_line(event)}this is nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line(event: yaml.Event) -> str:
    return "" if event.start_mark is None else f"line {event.start_mark.line + 1}: "
