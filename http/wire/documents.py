"""JSON as it comes from outside: read within limits, freed of Java's type wrappers, its flaws named by place.

The scheduler whose services we speak writes values as ``["java.class.Name", value]`` wherever it likes.
Such a wrapper is dropped at any depth; what it said of an object is remembered, for it tells kinds of job
apart.
Everything else here reads fields without ever failing: each flaw is noted with its JSON pointer, so that a
caller hears of all at once.
"""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias, cast

import msgspec

from ...domain.instants import Instant
from ...domain.plan import JobPlan
from ...domain.problems import Place

MAX_DEPTH = 160
"""Levels of nesting that a document may have; real ones have about twenty."""

_TOO_DEEP = f"this is nested more than {MAX_DEPTH} levels deep"
_INT64 = range(-(2**63), 2**63)
_JAVA_NAME = re.compile(r"[a-z]\w*(?:\.[A-Za-z_]\w*)*\.[A-Z][\w$]*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class WireProblem(msgspec.Struct, frozen=True):
    """One flaw of what came in: where, and what to do about it."""

    pointer: str
    """JSON pointer into the document; the empty one is the whole."""
    message: str
    document: str = ""
    """The file within a bundle, or nothing where there is but one document."""
    context: str | None = None
    job: str | None = None
    """The job's identifier, as far as it is known."""

    @property
    def place(self) -> Place:
        """The context and the job."""
        return Place(self.context, self.job)

    def __str__(self) -> str:
        place = ":".join(part for part in (self.document, self.pointer) if part)
        return f"{place}: {self.message}" if place else self.message


class WireError(Exception):
    """What came in cannot be read; names every flaw that was found.

    ``plan`` is what the rest of a plan makes, if its other errors can be told from that.
    """

    def __init__(self, problems: list[WireProblem], plan: JobPlan | None = None) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems
        self.plan = plan

    @classmethod
    def of(cls, message: str, *, pointer: str = "", document: str = "") -> "WireError":
        """An error of one flaw."""
        return cls([WireProblem(pointer, message, document)])


class Fields(dict[str, "Value"]):
    """A JSON object."""

    __slots__ = ()
    java_type: str | None = None
    """The Java class that it was said to be."""


class _TypedFields(Fields):
    __slots__ = ("java_type",)
    java_type: str

    def __init__(self, fields: Fields, java_type: str) -> None:
        super().__init__(fields)
        self.java_type = java_type


Value: TypeAlias = "Fields | list[Value] | str | int | float | bool | None"


def decode(raw: bytes, *, document: str = "") -> Value:
    """The JSON value in ``raw`` without type wrappers; raises ``WireError``."""
    try:
        decoded = msgspec.json.decode(raw.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError.of(f"this is no JSON: {error}", document=document) from error
    except RecursionError as error:
        raise WireError.of(_TOO_DEEP, document=document) from error
    return unwrapped(decoded, document=document)


def decode_object(raw: bytes, *, document: str = "") -> Fields:
    """The JSON object in ``raw`` without type wrappers; raises ``WireError``."""
    value = decode(raw, document=document)
    if not isinstance(value, Fields):
        raise WireError.of(f"give a JSON object, not {kind_of(value)}", document=document)
    return value


def unwrapped(value: object, *, document: str = "") -> Value:
    """A decoded JSON value with every ``["java.class.Name", value]`` replaced by its value.

    Raises ``WireError`` when it is nested too deeply or holds what JSON cannot.
    """
    try:
        return _unwrapped(value, 1)
    except _Refused as refused:
        pointer = "".join(f"/{escaped(str(step))}" for step in reversed(refused.steps))
        raise WireError.of(refused.message, pointer=pointer[:200], document=document) from refused


class _Refused(Exception):
    """A value that cannot be taken; the steps to it are noted on the way out, so that most cost nothing."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.steps: list[str | int] = []


_PLAIN = frozenset({str, int, float, bool, type(None)})
"""The types of values that hold no others."""


def _unwrapped(value: object, depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise _Refused(_TOO_DEEP)
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            wrapped = _java_type(value)
            if wrapped is None:
                return _list(value, depth + 1)
            try:
                inner = _unwrapped(value[1], depth + 1)
            except _Refused as refused:
                refused.steps.append(1)
                raise
            typed = isinstance(inner, Fields) and inner.java_type is None
            return _TypedFields(inner, wrapped) if typed and isinstance(inner, Fields) else inner
        case dict():
            return _object(value, depth + 1)
        case _:
            raise _Refused(f"{type(value).__name__} is no JSON")


def _list(items: list[object], depth: int) -> list[Value]:
    values: list[Any] = list(items)
    for index, item in enumerate(items):
        if type(item) not in _PLAIN:
            try:
                values[index] = _unwrapped(item, depth)
            except _Refused as refused:
                refused.steps.append(index)
                raise
    return values


def _object(items: dict[Any, object], depth: int) -> Fields:
    fields = Fields(cast("dict[str, Value]", items))
    names_are_texts = True
    for key, item in items.items():
        if type(key) is not str:
            names_are_texts = False
        if type(item) not in _PLAIN:
            try:
                fields[key] = _unwrapped(item, depth)
            except _Refused as refused:
                refused.steps.append(str(key))
                raise
    if not names_are_texts:
        fields = Fields((str(key), value) for key, value in fields.items())
    if "@class" in fields:
        return _TypedFields(fields, str(fields.pop("@class")))
    return fields


def _java_type(value: list[object]) -> str | None:
    """The class of a wrapper, or ``None`` for a list that is one.

    Two texts are a list (of file names, say) unless the first is a class of Java's own: nothing else is
    written as text beside its class name.
    """
    if len(value) != 2 or not isinstance(value[0], str) or not _JAVA_NAME.fullmatch(value[0]):
        return None
    if isinstance(value[1], str) and not value[0].startswith("java."):
        return None
    return value[0]


def escaped(key: str) -> str:
    """A key as it stands in a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def kind_of(value: object) -> str:
    """What JSON calls a value, with an article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"


class Reader:
    """Reads the fields of one object; ``null`` counts as absent, extra fields are left alone.

    A field of the wrong type is noted in ``problems`` and read as if it were absent.
    """

    __slots__ = ("document", "fields", "place", "pointer", "problems")

    def __init__(
        self,
        fields: Fields,
        problems: list[WireProblem],
        *,
        pointer: str = "",
        document: str = "",
        place: Place = Place(),  # noqa: B008  it is frozen
    ) -> None:
        self.fields = fields
        self.problems = problems
        self.pointer = pointer
        self.document = document
        self.place = place
        """The context and the job that the object tells of."""

    def flaw(self, name: str, message: str) -> None:
        """Note what is wrong with a field, or with the whole object when no name is given."""
        self._note(f"{self.pointer}/{escaped(name)}" if name else self.pointer, message)

    def text(self, name: str, default: str = "") -> str:
        """A text; empty when there is none."""
        value = self.fields.get(name)
        if value is None:
            return default
        if isinstance(value, str):
            return value
        self.flaw(name, f"give a text, not {kind_of(value)}")
        return default

    def optional_text(self, name: str) -> str | None:
        """A text that is not empty, or ``None``."""
        return self.text(name) or None

    def required_text(self, name: str) -> str:
        """A text that must be there and not be empty."""
        value = self.fields.get(name)
        if value is None or value == "":
            self.flaw(name, "this is required; give a text")
            return ""
        return self.text(name)

    def integer(self, name: str, default: int = 0) -> int:
        """A whole number."""
        value = self.optional_integer(name)
        return default if value is None else value

    def optional_integer(self, name: str) -> int | None:
        """A whole number, or ``None``."""
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.flaw(name, f"give a whole number, not {kind_of(value)}")
            return None
        if value not in _INT64:
            self.flaw(name, "this number is too large; it must fit 64 bits")
            return None
        return value

    def number(self, name: str, default: float = 0.0) -> float:
        """A number."""
        value = self.fields.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.flaw(name, f"give a number, not {kind_of(value)}")
            return default
        return float(value)

    def instant(self, name: str) -> Instant | None:
        """Milliseconds since the epoch; 0 means none."""
        return self.optional_integer(name) or None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """``true`` or ``false``."""
        value = self.fields.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        self.flaw(name, f"give true or false, not {kind_of(value)}")
        return default

    def items(self, name: str) -> list[Value]:
        """A list; empty when there is none."""
        value = self.fields.get(name)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        self.flaw(name, f"give a list, not {kind_of(value)}")
        return []

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; ``null`` among them is left out."""
        found = []
        for index, value in enumerate(self.items(name)):
            if isinstance(value, str):
                found.append(value)
            elif value is not None:
                self.flaw_at(name, index, f"give a text, not {kind_of(value)}")
        return tuple(found)

    def flaw_at(self, name: str, index: int | str, message: str) -> None:
        """Note what is wrong with one item of a list or map."""
        self._note(f"{self.pointer}/{escaped(name)}/{escaped(str(index))}", message)

    def _note(self, pointer: str, message: str) -> None:
        self.problems.append(WireProblem(pointer, message, self.document, self.place.context, self.place.job))

    def objects(self, name: str) -> Iterator["Reader"]:
        """The objects of a list; ``null`` among them is left out."""
        for index, value in enumerate(self.items(name)):
            if isinstance(value, Fields):
                yield self.within(value, f"{escaped(name)}/{index}")
            elif value is not None:
                self.flaw_at(name, index, f"give an object, not {kind_of(value)}")

    def object(self, name: str) -> "Reader | None":
        """An object, or ``None``."""
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, Fields):
            return self.within(value, escaped(name))
        self.flaw(name, f"give an object, not {kind_of(value)}")
        return None

    def objects_under(self, name: str, key: str) -> Iterator["Reader"]:
        """The objects of a list that stands under a key of a map."""
        inner = self.object(name)
        return iter(()) if inner is None else inner.objects(key)

    def names_that_are_true(self, name: str) -> tuple[str, ...]:
        """The keys of a map from names to ``true`` or ``false`` that are ``true``."""
        flags = self.object(name)
        return () if flags is None else tuple(key for key in flags.fields if flags.flag(key))

    def within(self, fields: Fields, step: str) -> "Reader":
        """A reader of an object that this one holds; ``step`` leads there, already escaped."""
        return Reader(
            fields,
            self.problems,
            pointer=f"{self.pointer}/{step}",
            document=self.document,
            place=self.place,
        )


def encode(value: object) -> bytes:
    """Compact JSON."""
    return msgspec.json.encode(value)


def encode_readably(value: object) -> bytes:
    """JSON that a person reads in a file, with a line end at its end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
