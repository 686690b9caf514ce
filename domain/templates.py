"""Templates of notifications: of Jinja's language, what can neither run long nor reach anything.

Whoever may push a plan may write one, so nothing of it is trusted. Taken are values, comparisons, ``if``,
one level of ``for`` and a few filters. Calls, assignments, macros, imports and arithmetic that multiplies are
not: so no template can take more time or memory than its own length and the values it is given allow.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARACTERS = 64 * 1024
MAX_RENDERED_CHARACTERS = 256 * 1024
_MAX_NODES = 2000
_MAX_FILTERS_IN_A_ROW = 8

_PLAIN = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Getattr,
    nodes.Getitem,
    nodes.CondExpr,
    nodes.If,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Concat,
    nodes.Add,
    nodes.Sub,
)
_FILTERS = {
    *(
        "capitalize",
        "default",
        "d",
        "dictsort",
        "e",
        "escape",
        "first",
        "float",
        "int",
        "items",
        "join",
        "last",
    ),
    *("length", "lower", "round", "sort", "title", "trim", "truncate", "unique", "upper", "urlencode"),
}
_TESTS = {
    *("defined", "undefined", "none", "string", "number", "mapping", "sequence", "true", "false"),
    *("in", "eq", "ne", "lt", "le", "gt", "ge"),
}


class TemplateRefused(ValueError):
    """A template that is not taken, or that does not render with what it was given; says why."""


class _Environment(ImmutableSandboxedEnvironment):
    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        """Values are texts, numbers, lists and mappings; of none of them a template needs more than items."""
        return type(obj).__name__ == "LoopContext" and super().is_safe_attribute(obj, attr, value)


def _environment(*, html: bool) -> _Environment:
    environment = _Environment(
        autoescape=html,
        undefined=StrictUndefined,
        finalize=lambda value: "" if value is None else value,
        keep_trailing_newline=True,
    )
    environment.globals.clear()
    environment.filters["join"] = _join
    return environment


def _join(value: Iterable[object], between: object = "") -> str:
    """Jinja's own would repeat a long text once for each character of another."""
    items = ["" if each is None else str(each) for each in value]
    separator = str(between)
    if sum(map(len, items)) + len(separator) * len(items) > MAX_RENDERED_CHARACTERS:
        raise TemplateRefused(f"join makes more than {MAX_RENDERED_CHARACTERS} characters")
    return separator.join(items)


_ENVIRONMENTS = {html: _environment(html=html) for html in (False, True)}


def unknown_names(text: str, known: frozenset[str]) -> list[str]:
    """The variables that a template names and that it will not be given; raises ``TemplateRefused``."""
    return sorted(find_undeclared_variables(_parsed(text, html=False)) - known)


def render(text: str, variables: Mapping[str, object], *, html: bool = False) -> str:
    """The text that a template makes of variables; raises ``TemplateRefused``."""
    try:
        pieces, length = [], 0
        for piece in _compiled(text, html).generate(dict(variables)):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_RENDERED_CHARACTERS:
                raise TemplateRefused(f"it makes more than {MAX_RENDERED_CHARACTERS} characters")
        return "".join(pieces)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        if isinstance(error, TemplateRefused):
            raise
        raise TemplateRefused(f"it does not render: {error}") from error


@lru_cache(maxsize=256)
def _compiled(text: str, html: bool) -> Template:
    environment = _ENVIRONMENTS[html]
    template: Template = environment.from_string(_parsed(text, html=html))
    return template


def _parsed(text: str, *, html: bool) -> nodes.Template:
    if len(text) > MAX_CHARACTERS:
        raise TemplateRefused(f"it has more than {MAX_CHARACTERS} characters")
    try:
        tree = _ENVIRONMENTS[html].parse(text)
    except TemplateSyntaxError as error:
        raise TemplateRefused(f"line {error.lineno}: {error.message}") from error
    except RecursionError as error:
        raise TemplateRefused("it is nested too deeply") from error
    for count, refusal in enumerate(_refusals(tree, in_loop=False, filters=0)):
        if refusal is not None:
            raise TemplateRefused(refusal)
        if count > _MAX_NODES:
            raise TemplateRefused("it is too long")
    return tree


def _refusals(node: nodes.Node, *, in_loop: bool, filters: int) -> Iterator[str | None]:
    """For each node what is wrong with it, or ``None``."""
    line = f"line {node.lineno}"
    match node:
        case nodes.For():
            if in_loop or node.recursive:
                yield f"{line}: loops stand in no other loop"
            in_loop = True
        case nodes.Filter():
            filters += 1
            if node.name not in _FILTERS:
                yield f"{line}: there is no filter {node.name!r}; known are {', '.join(sorted(_FILTERS))}"
            if filters > _MAX_FILTERS_IN_A_ROW:
                yield f"{line}: more than {_MAX_FILTERS_IN_A_ROW} filters follow each other"
        case nodes.Test() if node.name not in _TESTS:
            yield f"{line}: there is no test {node.name!r}; known are {', '.join(sorted(_TESTS))}"
        case nodes.Test() | nodes.Keyword():
            yield None
        case _ if not isinstance(node, _PLAIN):
            yield f"{line}: a {type(node).__name__.lower()} is not taken here"
        case _:
            yield None
    for child in node.iter_child_nodes():
        yield from _refusals(child, in_loop=in_loop, filters=filters)
