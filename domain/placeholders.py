"""Placeholders of notifications: ``${name}``, whose values the dashboard's configuration has.

So a bundle can go through all environments as it is, and each of them tells its own people.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

_PLACEHOLDER = re.compile(r"\$\{([^{}\s]{1,200})\}")


def replaced(text: str, values: Mapping[str, str]) -> str:
    """The text with every placeholder that has a value replaced by it; others stay as they are."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def expanded(entries: Iterable[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """Entries with their placeholders replaced; what has commas is a list of entries."""
    found = (each.strip() for entry in entries for each in replaced(entry, values).split(","))
    return tuple(dict.fromkeys(each for each in found if each))


def left_in(entries: Iterable[str]) -> Iterator[str]:
    """The names of placeholders that have no value."""
    for entry in entries:
        for match in _PLACEHOLDER.finditer(entry):
            yield match[1]


def read_properties(text: str) -> dict[str, str]:
    """Lines of ``name=value``; of a name that stands twice the last counts.

    Comments (``#``, ``!``), blank lines and lines without ``=`` say nothing.
    """
    values = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() and not line.lstrip().startswith(("#", "!")):
            values[name.strip()] = value.strip()
    return values
