"""A plan as a graph: as text in a terminal, for Graphviz (``dot``), for Mermaid, or as a document."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any, TypeAlias

from ..domain.plan import Context, Grouping, JobPlan, Member, job_kind
from ..domain.plan_words import condition
from . import render

_DEEPEST = 30
"""Levels by which text is indented; a chain of jobs may be thousands long."""


def as_text(plan: JobPlan) -> Iterator[str]:
    """Contexts with their jobs, each below one that starts it, with what it waits for if there is more."""
    marks = _marks(plan)
    yield from _context_as_text(plan.root, marks, 0)


def as_document(plan: JobPlan) -> dict[str, Any]:
    """For scripts: every job of every context, and under which conditions it starts there."""
    marks = _marks(plan)
    return {
        "plan": plan.name,
        "jobs": [
            {
                "context": context.name,
                "identifier": job.identifier,
                "is": marks[context.name, job.identifier].words,
                "also_in": list(marks[context.name, job.identifier].elsewhere),
            }
            for context in plan.root.walk()
            for job in context.jobs
        ],
        "dependencies": [
            {
                "context": context.name,
                "dependant": rule.dependant,
                "after": list(dict.fromkeys(rule.grouping.identifiers())),
                "condition": condition(rule.grouping),
            }
            for context in plan.root.walk()
            for rule in context.dependencies
            if rule.grouping is not None
        ],
    }


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is to be said of a job in a context beside its name."""

    words: str
    """What it is, and how it starts."""
    elsewhere: tuple[str, ...] = ()
    """The other contexts in which it stands."""

    def __str__(self) -> str:
        return f"{self.words}, also in {', '.join(self.elsewhere)}" if self.elsewhere else self.words


_Marks: TypeAlias = dict[tuple[str, str], _Mark]
"""By context and identifier."""


def _marks(plan: JobPlan) -> _Marks:
    jobs = {job.identifier: job for job in plan.jobs}
    found: _Marks = {}
    for context in plan.root.walk():
        for listed in context.jobs:
            job = jobs.get(listed.identifier)
            if job is None:
                found[context.name, listed.identifier] = _Mark("event")
                continue
            words = [job_kind(job)]
            words += ["held"] if context.name in job.held_in else []
            words += ["skipped"] if context.name in job.skipped_in else []
            elsewhere = tuple(each for each in job.contexts if each != context.name)
            found[context.name, listed.identifier] = _Mark(", ".join(words), elsewhere)
    return found


def _context_as_text(context: Context, marks: _Marks, level: int) -> Iterator[str]:
    yield f"{'  ' * level}{context.name}"
    conditions: dict[str, list[str]] = {}
    starters: dict[str, set[str]] = {}
    starts: dict[str, dict[str, None]] = {}
    for rule in context.dependencies:
        if rule.grouping is not None:
            conditions.setdefault(rule.dependant, []).append(condition(rule.grouping))
            for member in dict.fromkeys(rule.grouping.identifiers()):
                starters.setdefault(rule.dependant, set()).add(member)
                starts.setdefault(member, {})[rule.dependant] = None
    listed = [job.identifier for job in context.jobs]
    shown: set[str] = set()
    # Those that nothing here starts come first; what is left after them waits in a circle.
    for first in (*(each for each in listed if each not in starters), *listed):
        waiting = [(first, 1)]
        while waiting:
            identifier, depth = waiting.pop()
            if identifier in shown:
                continue
            shown.add(identifier)
            indent = "  " * (level + min(depth, _DEEPEST))
            single = len(starters.get(identifier, ())) == 1 and len(conditions[identifier]) == 1
            after = "" if single or identifier not in conditions else " or ".join(conditions[identifier])
            mark = marks[context.name, identifier]
            yield f"{indent}{identifier} ({mark})" + (f" after {after}" if after else "")
            waiting += [
                (each, depth + 1) for each in reversed(starts.get(identifier, {})) if each not in shown
            ]
    for child in context.contexts:
        yield from _context_as_text(child, marks, level + 1)


# --- graphs -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Cluster:
    """A context: its nodes and gates by id, with their labels, and the contexts in it."""

    id: str
    name: str
    jobs: list[tuple[str, str]] = field(default_factory=list)
    gates: list[tuple[str, str]] = field(default_factory=list)
    within: list["_Cluster"] = field(default_factory=list)


@dataclass(slots=True)
class _Graph:
    """Ids and labels, before any language is chosen."""

    root: _Cluster
    edges: list[tuple[str, str, bool]]
    """From, to, and whether it prevents the start."""
    same: list[tuple[str, str]]
    """Standings of one shared job that follow each other."""


class _Drawing:
    def __init__(self, plan: JobPlan) -> None:
        self._numbers = count()
        self._marks = _marks(plan)
        self._edges: list[tuple[str, str, bool]] = []
        self._standings: dict[str, list[str]] = {}
        self._own = {
            job.identifier for job in plan.jobs if getattr(job, "target_residing_context_only", False)
        }
        root = self._cluster(plan.root)
        shared = (ids for identifier, ids in self._standings.items() if identifier not in self._own)
        pairs = [pair for ids in shared for pair in pairwise(ids)]
        self.graph = _Graph(root, self._edges, pairs)

    def _id(self, kind: str) -> str:
        return f"{kind}{next(self._numbers)}"

    def _cluster(self, context: Context) -> _Cluster:
        cluster = _Cluster(self._id("context"), context.name)
        nodes: dict[str, str] = {}
        for listed in context.jobs:
            nodes[listed.identifier] = node = self._id("job")
            words = self._marks[context.name, listed.identifier].words
            cluster.jobs.append((node, f"{listed.identifier}\n{words}"))
            self._standings.setdefault(listed.identifier, []).append(node)
        rules: dict[str, list[Grouping]] = {}
        for rule in context.dependencies:
            if rule.dependant in nodes and rule.grouping is not None:
                rules.setdefault(rule.dependant, []).append(rule.grouping)
        for dependant, groupings in rules.items():
            # Each of several dependencies may start the job.
            each_may = Grouping(any_of=tuple(groupings)) if len(groupings) > 1 else groupings[0]
            self._grouping(each_may, nodes[dependant], cluster, nodes)
        cluster.within = [self._cluster(child) for child in context.contexts]
        return cluster

    def _grouping(self, grouping: Grouping, target: str, cluster: _Cluster, nodes: dict[str, str]) -> None:
        """Arrows to what must all hold; a choice gets a gate of its own."""
        if grouping.any_of:
            either = self._gate("or", target, cluster)
            for each in grouping.any_of:
                self._member(each, either, cluster, nodes)
            if grouping.all_of:
                every = either if len(grouping.all_of) == 1 else self._gate("and", either, cluster)
                for each in grouping.all_of:
                    self._member(each, every, cluster, nodes)
        else:
            for each in grouping.all_of:
                self._member(each, target, cluster, nodes)
        for each in grouping.none_of:
            self._member(each, target, cluster, nodes, prevents=True)
        if grouping.nested is not None:
            self._grouping(grouping.nested, target, cluster, nodes)

    def _member(
        self, member: Member, target: str, cluster: _Cluster, nodes: dict[str, str], *, prevents: bool = False
    ) -> None:
        if isinstance(member, Grouping):
            gate = self._gate("and", target, cluster, prevents=prevents)
            self._grouping(member, gate, cluster, nodes)
        elif member in nodes:
            self._edges.append((nodes[member], target, prevents))

    def _gate(self, word: str, target: str, cluster: _Cluster, *, prevents: bool = False) -> str:
        gate = self._id("gate")
        cluster.gates.append((gate, word))
        self._edges.append((gate, target, prevents))
        return gate


def as_dot(plan: JobPlan) -> Iterator[str]:
    """The plan for Graphviz: ``jobledger plan graph NAME --format dot | dot -Tsvg``."""
    graph = _Drawing(plan).graph
    yield "digraph plan {"
    yield '  rankdir=LR; node [shape=box, style=rounded, fontname="sans-serif"]; fontname="sans-serif";'
    yield from _dot_cluster(graph.root, "  ")
    for source, target, prevents in graph.edges:
        yield f"  {source} -> {target}{' [color=red, arrowhead=tee]' if prevents else ''};"
    for one, other in graph.same:
        yield f"  {one} -> {other} [dir=none, style=dotted, constraint=false];"
    yield "}"


def _dot_cluster(cluster: _Cluster, indent: str) -> Iterator[str]:
    yield f"{indent}subgraph cluster_{cluster.id} {{"
    yield f"{indent}  label={_dot_text(cluster.name)};"
    for node, label in cluster.jobs:
        yield f"{indent}  {node} [label={_dot_text(label)}];"
    for node, word in cluster.gates:
        yield f'{indent}  {node} [label="{word}", shape=circle, style=solid];'
    for child in cluster.within:
        yield from _dot_cluster(child, indent + "  ")
    yield f"{indent}}}"


def _dot_text(text: str) -> str:
    """A quoted string in which nothing is an escape but the line ends of labels."""
    lines = (render.clean(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'


def as_mermaid(plan: JobPlan) -> Iterator[str]:
    """The plan for Mermaid, as Markdown on many a site shows it."""
    graph = _Drawing(plan).graph
    yield "flowchart LR"
    yield from _mermaid_cluster(graph.root, "  ")
    for source, target, prevents in graph.edges:
        yield f"  {source} {'--x' if prevents else '-->'} {target}"
    for one, other in graph.same:
        yield f"  {one} -.- {other}"


def _mermaid_cluster(cluster: _Cluster, indent: str) -> Iterator[str]:
    yield f"{indent}subgraph {cluster.id}[{_mermaid_text(cluster.name)}]"
    for node, label in cluster.jobs:
        yield f"{indent}  {node}({_mermaid_text(label)})"
    for node, word in cluster.gates:
        yield f"{indent}  {node}(({word}))"
    for child in cluster.within:
        yield from _mermaid_cluster(child, indent + "  ")
    yield f"{indent}end"


def _mermaid_text(text: str) -> str:
    """A quoted string; whatever could end it or be taken for markup is written as its code."""
    lines = (
        "".join(
            each if each.isalnum() or each in " ._-," else f"#{ord(each)};" for each in render.clean(line)
        )
        for line in text.split("\n")
    )
    return '"' + "<br/>".join(lines) + '"'
