"""Trees of contexts that a bundle keeps in several files, read and written.

``context/PLAN.json`` is the root. The children of the context in ``context/PLAN.json`` may stand in
``context/PLAN/CHILD.json``, theirs in ``context/PLAN/CHILD/GRANDCHILD.json``, and so on; they join those that
the parent's file holds itself, and then the siblings are in the order of their ``ordinal``.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from .documents import Fields, Value, WireError, WireProblem, decode_object, encode_readably
from .file_names import FileNames, file_name

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


def split_contexts(documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The documents of a bundle with every context in a file of its own, wherever it stood before.

    Siblings are given the ``ordinal`` of their place unless theirs say it already. Raises ``WireError``.
    """
    trees = {path: content for path, content in documents.items() if _is_context(path)}
    path, root = join_contexts({each: decode_object(trees[each], document=each) for each in trees})
    others = {each: content for each, content in documents.items() if each not in trees}
    names = FileNames()
    names.reserve(path)
    return dict(_files(path[: -len(_SUFFIX)], root, names)) | others


def _is_context(path: str) -> bool:
    return path.startswith(_FOLDER) and path.endswith(_SUFFIX)


def _files(place: str, context: Fields, names: FileNames) -> Iterator[tuple[str, bytes]]:
    """The file of a context without its children, then theirs, by path."""
    within = context.get("contexts")
    children = [each for each in within if isinstance(each, Fields)] if isinstance(within, list) else []
    own = Fields(context)
    if children:
        own["contexts"] = []
    yield f"{place}{_SUFFIX}", encode_readably(own)
    ordered = all(_ordinal(former) < _ordinal(latter) for former, latter in pairwise(children))
    for number, child in enumerate(children):
        name = child.get("name")
        path = names.path(place, name if isinstance(name, str) else "unnamed")
        numbered = Fields(child) if ordered else Fields(child) | {"ordinal": number}
        yield from _files(path[: -len(_SUFFIX)], Fields(numbered), names)


def _ordinal(value: Value) -> float:
    ordinal = value.get("ordinal") if isinstance(value, Fields) else None
    return float(ordinal) if isinstance(ordinal, int | float) and abs(ordinal) < 2**53 else -1.0
