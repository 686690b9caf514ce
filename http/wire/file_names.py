"""File names in bundles, made from the names of plans, contexts and jobs."""

import re

ENVIRONMENT_SUFFIX = "_[[env.name]]"
"""What stands for a plan's environment in exports with tokens; file names go without it."""

_NOT_IN_NAMES = re.compile(r'[\\:/*?"<>|\x00-\x1f\x7f]')
_LONGEST = 120


def file_name(name: str) -> str:
    """A name with underscores for what file systems refuse, and without a token for the environment.

    It is never one that means another folder, such as two dots, and never nothing.
    """
    safe = _NOT_IN_NAMES.sub("_", name.removesuffix(ENVIRONMENT_SUFFIX))[:_LONGEST]
    return safe if safe.strip(".") else f"_{safe}"


class FileNames:
    """Hands out paths in a folder, each only once, whatever a file system thinks of upper and lower case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def reserve(self, path: str) -> None:
        """Never hand out this path."""
        self._taken.add(path.lower())

    def path(self, folder: str, name: str) -> str:
        """A path for a JSON document of that name."""
        stem = f"{folder}/{file_name(name)}"
        key = stem.lower()
        path = f"{stem}.json"
        while path.lower() in self._taken:
            self._next[key] = self._next.get(key, 1) + 1
            path = f"{stem}-{self._next[key]}.json"
        self._taken.add(path.lower())
        return path
