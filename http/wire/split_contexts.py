"""Trees of contexts that a bundle keeps in several files.

``context/PLAN.json`` is the root. The children of the context in ``context/PLAN.json`` may stand in
``context/PLAN/CHILD.json``, theirs in ``context/PLAN/CHILD/GRANDCHILD.json``, and so on; they join those that
the parent's file holds itself, and then the siblings are in the order of their ``ordinal``.
"""

from collections.abc import Iterator

from .documents import Fields, Value, WireError, WireProblem
from .file_names import file_name

_FOLDER = "context/"
_SUFFIX = ".json"


def join_contexts(files: dict[str, Fields]) -> tuple[str, Fields]:
    """The root's path and its object with all children in it; raises ``WireError`` when they make no tree."""
    roots = [path for path in files if path.count("/") == 1]
    if len(roots) != 1:
        raise WireError(
            [
                WireProblem("", "a bundle has one plan; put one file into the folder context", path)
                for path in roots
            ]
            or [WireProblem("", "the bundle holds no plan; put its tree of contexts into context/NAME.json")]
        )
    by_place: dict[str, Fields] = {}
    missing = []
    for path in sorted(files, key=lambda path: (path.count("/"), path)):
        place = path[: -len(_SUFFIX)]
        fields = files[path]
        if path not in roots:
            parent = by_place.get(place.rpartition("/")[0])
            if parent is None:
                wanted = place.rpartition("/")[0]
                missing.append(WireProblem("", f"its parent is missing; there is no {wanted}{_SUFFIX}", path))
                continue
            _add_child(parent, fields)
        by_place[place] = fields
        for inner, child in _inline(place, fields):
            by_place.setdefault(inner, child)
    if missing:
        raise WireError(missing)
    return roots[0], files[roots[0]]


def _inline(place: str, fields: Fields) -> Iterator[tuple[str, Fields]]:
    """The contexts that a file holds itself, by the place where a file of theirs would be."""
    children = fields.get("contexts")
    for child in children if isinstance(children, list) else []:
        name = child.get("name") if isinstance(child, Fields) else None
        if isinstance(child, Fields) and isinstance(name, str):
            inner = f"{place}/{file_name(name)}"
            yield inner, child
            yield from _inline(inner, child)


def _add_child(parent: Fields, child: Fields) -> None:
    children = parent.get("contexts")
    siblings: list[Value] = list(children) if isinstance(children, list) else []
    siblings.append(child)
    parent["contexts"] = sorted(siblings, key=_ordinal)


def _ordinal(value: Value) -> float:
    ordinal = value.get("ordinal") if isinstance(value, Fields) else None
    return float(ordinal) if isinstance(ordinal, int | float) and abs(ordinal) < 2**53 else -1.0
