"""A plan drawn as text, for Graphviz and for Mermaid."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from jobledger.cli import plan_graph
from jobledger.domain.plan import CommandJob, Context, Dependency, Grouping, JobPlan, ListedJob
from jobledger.domain.standings import with_standings
from wire.wire_strategies import plans, unhurried


def context(name: str, jobs: str, *dependencies: Dependency, **fields: object) -> Context:
    listed = tuple(ListedJob("x", job) for job in jobs.split())
    return Context(name=name, jobs=listed, dependencies=dependencies, **fields)


def plan(root: Context, **fields: object) -> JobPlan:
    names = dict.fromkeys(job.name for each in root.walk() for job in each.jobs)
    jobs = [CommandJob(agent="x", name=name, command_line="true") for name in names]
    return JobPlan(root=root, jobs=with_standings(root, jobs), **fields)


NIGHTLY = plan(
    context(
        "nightly",
        "load check",
        Dependency("x-check", Grouping(all_of=("x-load",))),
        contexts=(
            context(
                "reports",
                "load check print",
                Dependency(
                    "x-print", Grouping(all_of=("x-check",), any_of=("x-load",), none_of=("x-print",))
                ),
            ),
        ),
    )
)


def test_as_text_a_job_stands_below_one_that_starts_it() -> None:
    assert list(plan_graph.as_text(NIGHTLY)) == [
        "nightly",
        "  x-load (command, also in reports)",
        "    x-check (command, also in reports)",
        "  reports",
        "    x-load (command, also in nightly)",
        "      x-print (command) after (x-check or x-load) and not x-print",
        "    x-check (command, also in nightly)",
    ]


def test_as_a_document_every_job_of_every_context_stands_with_what_it_waits_for() -> None:
    document = plan_graph.as_document(NIGHTLY)
    assert [(each["context"], each["identifier"]) for each in document["jobs"]] == [
        ("nightly", "x-load"),
        ("nightly", "x-check"),
        ("reports", "x-load"),
        ("reports", "x-check"),
        ("reports", "x-print"),
    ]
    assert document["jobs"][0] == {
        "context": "nightly",
        "identifier": "x-load",
        "is": "command",
        "also_in": ["reports"],
    }
    assert document["dependencies"][1] == {
        "context": "reports",
        "dependant": "x-print",
        "after": ["x-check", "x-load", "x-print"],
        "condition": "(x-check or x-load) and not x-print",
    }


def test_for_graphviz_a_choice_is_a_gate_and_what_prevents_a_start_is_red() -> None:
    text = "\n".join(plan_graph.as_dot(NIGHTLY))
    node = {label: number for number, label in re.findall(r'(\w+) \[label="x-(\w+)\\ncommand"\]', text)}
    gate = re.search(r'(\w+) \[label="or"', text)
    assert gate is not None
    assert f"{node['check']} -> {gate[1]};" in text
    assert f"{gate[1]} -> {node['print']};" in text
    assert f"{node['print']} -> {node['print']} [color=red, arrowhead=tee];" in text
    assert text.count("style=dotted") == 2, "load and check stand twice each"


def test_for_mermaid_contexts_are_subgraphs() -> None:
    lines = list(plan_graph.as_mermaid(NIGHTLY))
    assert lines[0] == "flowchart LR"
    assert sum("subgraph" in line for line in lines) == sum(line.strip() == "end" for line in lines) == 2
    assert any("--x" in line for line in lines)


def test_several_dependencies_of_one_job_are_a_choice() -> None:
    rules = (Dependency("x-c", Grouping(all_of=("x-a",))), Dependency("x-c", Grouping(all_of=("x-b",))))
    drawn = plan(context("p", "a b c", *rules))
    assert any('label="or"' in line for line in plan_graph.as_dot(drawn))
    assert "    x-c (command) after x-a or x-b" in list(plan_graph.as_text(drawn))


def test_a_long_chain_is_drawn_without_growing_to_the_right() -> None:
    names = [f"j{number}" for number in range(5000)]
    rules = [Dependency(f"x-{after}", Grouping(all_of=(f"x-{before}",))) for before, after in pairwise(names)]
    lines = list(plan_graph.as_text(plan(context("p", " ".join(names), *rules))))
    assert len(lines) == 5001
    assert max(map(len, lines)) < 100


@given(plans())
@unhurried
def test_every_job_of_every_context_is_drawn_once_in_every_form(drawn: JobPlan) -> None:
    standings = sum(len({job.identifier for job in each.jobs}) for each in drawn.root.walk())
    contexts = sum(1 for _ in drawn.root.walk())
    assert len(list(plan_graph.as_text(drawn))) == standings + contexts
    dot, mermaid = "\n".join(plan_graph.as_dot(drawn)), "\n".join(plan_graph.as_mermaid(drawn))
    assert len(re.findall(r"^ *job\d+ \[label=", dot, re.MULTILINE)) == standings
    assert len(re.findall(r"^ *job\d+\(", mermaid, re.MULTILINE)) == standings
    assert len(re.findall(r"^ *subgraph ", dot, re.MULTILINE)) == contexts


@given(st.text(max_size=20))
@unhurried
def test_no_name_ends_the_text_that_it_stands_in(name: str) -> None:
    drawn = JobPlan(root=Context(name="p", jobs=(ListedJob("x", name),)))
    (dot,) = [line for line in plan_graph.as_dot(drawn) if re.match(r" *job\d+ \[label=", line)]
    assert re.fullmatch(r' *job\d+ \[label="(?:[^"\\]|\\.)*"\];', dot)
    (mermaid,) = [line for line in plan_graph.as_mermaid(drawn) if re.match(r" *job\d+\(", line)]
    assert re.fullmatch(r' *job\d+\("(?:[\w ._,-]|#\d+;|<br/>)*"\)', mermaid)
