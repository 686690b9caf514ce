"""YAML as a JSON value: only mappings, lists, texts, numbers, ``true``, ``false`` and ``null``.

What surprises in YAML is left out: dates, ``yes`` and ``no``, numbers to the base of 60, anchors, tags, and
keys that stand twice. A plan is read as it looks.

The parser's events are put together here, in one pass: the library's own way to a value makes a tree of nodes
first, which takes four times as long and grows with what it is told to repeat.
"""

import re
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without its C library
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

from .documents import MAX_DEPTH, Value, WireError, unwrapped

MAX_CHARACTERS = 16 * 1024 * 1024

_NOTHING = frozenset({"", "~", "null"})
_TRUTH = {"true": True, "false": False}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}")
_BEGINS_A_NUMBER = frozenset("-0123456789")
_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})


def read_yaml(text: str) -> Value:
    """The value in a YAML text; raises ``WireError`` naming the line."""
    if len(text) > MAX_CHARACTERS:
        raise WireError.of(f"the text is longer than {MAX_CHARACTERS} characters")
    try:
        value = _Builder().value(text)
    except (yaml.YAMLError, ValueError) as error:
        raise WireError.of(f"this is no YAML that can be read: {error}") from error
    return unwrapped(value)


class _Builder:
    """Puts a value together from the parser's events, without recursion."""

    def __init__(self) -> None:
        self._whole: list[Any] = []
        """The values of the stream; there may be one."""
        self._open: list[list[Any] | dict[str, Any]] = [self._whole]
        self._keys: list[str | None] = [None]
        """For each that is open the key whose value is next, if it is a mapping and has one."""

    def value(self, text: str) -> Any:
        """What the text says; ``None`` for an empty one."""
        for event in yaml.parse(text, _Loader):
            match event:
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.MappingStartEvent():
                    self._begin({}, event)
                case yaml.SequenceStartEvent():
                    self._begin([], event)
                case yaml.CollectionEndEvent():
                    self._open.pop()
                    self._keys.pop()
                case yaml.AliasEvent():
                    raise _refusal(event, "anchors and aliases are not taken here")
                case yaml.DocumentStartEvent() if self._whole:
                    raise _refusal(event, "this is a second document; give one")
        return self._whole[0] if self._whole else None

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        within = self._open[-1]
        if isinstance(within, dict) and self._keys[-1] is None:
            if event.value in within:
                raise _refusal(event, f"the key {event.value!r} stands twice")
            self._keys[-1] = event.value
        else:
            self._put(_of_scalar(event))

    def _begin(self, collection: list[Any] | dict[str, Any], event: yaml.CollectionStartEvent) -> None:
        if isinstance(self._open[-1], dict) and self._keys[-1] is None:
            raise _refusal(event, "a key is a text, and neither a list nor a mapping")
        if event.tag is not None and event.tag != "!":
            raise _refusal(event, f"the tag {event.tag!r} is not taken here")
        if len(self._open) > MAX_DEPTH:
            raise _refusal(event, f"this is nested more than {MAX_DEPTH} levels deep")
        self._put(collection)
        self._open.append(collection)
        self._keys.append(None)

    def _put(self, value: Any) -> None:
        within, key = self._open[-1], self._keys[-1]
        if isinstance(within, list):
            within.append(value)
        elif key is not None:
            within[key] = value
            self._keys[-1] = None


def _of_scalar(event: yaml.ScalarEvent) -> str | int | float | bool | None:
    """What a scalar means: only one that is written plainly is anything else than a text."""
    text: str = event.value
    if event.tag is not None and event.tag not in _TEXT_TAGS:
        raise _refusal(event, f"the tag {event.tag!r} is not taken here")
    if not event.implicit[0] or event.tag is not None:
        return text
    if text in _NOTHING:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if text[0] not in _BEGINS_A_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FRACTION.fullmatch(text) else text


def _refusal(event: yaml.Event, message: str) -> WireError:
    line = "" if event.start_mark is None else f"line {event.start_mark.line + 1}: "
    return WireError.of(f"{line}{message}")
