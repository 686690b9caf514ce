"""``jobledger plan``: push job plans, see which there are, check and export them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import answers, plan_defaults, plan_life, render
from .failures import ExitCode, Failure
from .options import as_json_option, talks_to_dashboard

if TYPE_CHECKING:
    from ..domain.plan import Context, JobPlan
    from .client import Client

_PATH = click.Path(dir_okay=False, path_type=Path)
_tokens_option = click.option(
    "--tokens",
    type=_PATH,
    metavar="FILE",
    help="The values of a bundle's tokens: TOML, JSON, or NAME = VALUE.",
)


@click.group()
def plan() -> None:
    """Push, compare, check and export job plans, and say how new instances start."""


for _each in (*plan_defaults.COMMANDS, *plan_life.COMMANDS):
    plan.add_command(_each)


@plan.command()
@click.argument("file", type=_PATH)
@click.option("--dry-run", is_flag=True, help="Only say what the push would do, and what it would change.")
@_tokens_option
@as_json_option
@talks_to_dashboard
def push(client: "Client", *, file: Path, dry_run: bool, tokens: Path | None, as_json: bool) -> None:
    """Push the plan in FILE: a YAML plan file, or a bundle as zip or JSON.

    A push that changes something is a new version; instances that run keep theirs. A bundle that was exported
    with tokens needs their values: lines like `agent.name = host-a` in a file of its own.
    """
    from . import plan_files
    from .client import segment

    loaded = plan_files.load(file, tokens)
    for warning in loaded.warnings:
        click.echo(render.clean(str(warning)), err=True)
    name = plan_files.readable(loaded).name
    query: dict[str, object] = {"dry_run": True} if dry_run else {}
    _status, document = client.put(f"/plans/{segment(name)}", loaded.content, loaded.media, **query)
    if as_json:
        render.as_json(document)
        return
    for warning in document.get("warnings", ()):
        place = warning.get("place")
        click.echo(render.clean(f"warning: {f'{place}: ' if place else ''}{warning['detail']}"), err=True)
    if dry_run:
        _echo_changes(document.get("changes", ()))
    click.echo(render.clean(_pushed(document, dry_run=dry_run)))


def _echo_changes(documents: list[Any]) -> None:
    from . import plan_changes

    for line in plan_changes.lines(documents):
        click.echo(render.clean(line))


def _pushed(document: dict[str, Any], *, dry_run: bool) -> str:
    name, version = document["name"], document["version"]
    if not document["changed"]:
        return f"{name} is unchanged: version {version}"
    would = "would become" if dry_run else "is now"
    return f"{name} {would} version {version}"


@plan.command("list")
@as_json_option
@talks_to_dashboard
def list_plans(client: "Client", *, as_json: bool) -> None:
    """List the plans with their newest versions."""
    items = client.everything("/plans")
    if as_json:
        render.as_json(items)
        return
    rows = [answers.read(answers.Plan, item) for item in items]
    render.table(
        ("plan", "version", "pushed", "enabled", "agents"),
        (
            (
                r.name,
                r.version,
                render.moment(r.pushed_at),
                "no" if r.disabled else "yes",
                ", ".join(r.agents),
            )
            for r in rows
        ),
        empty="No plan. Push one with `jobledger plan push FILE`.",
    )


@plan.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="This version; the newest if not given.")
@as_json_option
@talks_to_dashboard
def show(client: "Client", *, name: str, version: int | None, as_json: bool) -> None:
    """Show a plan: its contexts, its jobs and what each waits for."""
    from .client import segment

    path = f"/plans/{segment(name)}" + ("" if version is None else f"/versions/{version}")
    document = client.get(path)
    if as_json:
        render.as_json(document)
        return
    from ..domain.plan import JobPlan

    row = answers.read(answers.Plan, document)
    shown = answers.read(JobPlan, document.get("plan"))
    pushed_by = f" by {document['pushed_by']}" if document.get("pushed_by") else ""
    click.echo(
        render.clean(f"{row.name} version {row.version}, pushed {render.moment(row.pushed_at)}{pushed_by}")
    )
    for text in (*plan_life.standing(document), *_outline(shown)):
        click.echo(render.clean(text))


@plan.command()
@click.argument("name")
@as_json_option
@talks_to_dashboard
def versions(client: "Client", *, name: str, as_json: bool) -> None:
    """List the versions of a plan, the newest first: who made each, when and why."""
    from .client import segment

    items = client.everything(f"/plans/{segment(name)}/versions")
    if as_json:
        render.as_json(items)
        return
    rows = [answers.read(answers.PlanVersion, item) for item in items]
    render.table(
        ("version", "pushed", "by", "order", "reason"),
        (
            (r.version, render.moment(r.pushed_at), r.pushed_by or "", r.command or "", r.reason or "")
            for r in rows
        ),
        empty="No version.",
    )


@plan.command()
@click.argument("name")
@click.option("--from", "older", type=click.IntRange(1), help="The one before the other, if not given.")
@click.option("--to", "newer", type=click.IntRange(1), help="The newest, if not given.")
@as_json_option
@talks_to_dashboard
def diff(client: "Client", *, name: str, older: int | None, newer: int | None, as_json: bool) -> None:
    """Tell what changed between two versions of a plan.

    To see what a push would change, use `jobledger plan push --dry-run FILE`.
    """
    from .client import segment

    document = client.get(f"/plans/{segment(name)}/diff", **{"from": older, "to": newer})
    if as_json:
        render.as_json(document)
        return
    _echo_changes(document["changes"])
    if not document["changes"]:
        click.echo(
            render.clean(f"{name}: nothing changed from version {document['from']} to {document['to']}")
        )


@plan.command()
@click.argument("name", required=False)
@click.option("--file", type=_PATH, help="Of the plan in this file instead; no dashboard is asked.")
@click.option("--version", type=click.IntRange(1), help="This version; the newest if not given.")
@click.option(
    "--format",
    "form",
    default="text",
    show_default=True,
    type=click.Choice(["text", "dot", "mermaid"]),
    help="For people, for Graphviz, for Mermaid.",
)
@as_json_option
@talks_to_dashboard
def graph(
    client: "Client", *, name: str | None, file: Path | None, version: int | None, form: str, as_json: bool
) -> None:
    """Draw a plan: its contexts, and which job starts which.

    As text each job stands below one that starts it. As a graph, dotted lines tie the standings of a shared
    job together, and red ones prevent a start: jobledger plan graph NAME --format dot | dot -Tsvg > plan.svg
    """
    from . import plan_graph

    if (name is None) == (file is None):
        raise click.UsageError("give the name of a plan, or --file, and not both")
    drawn = _plan_in(file) if file is not None else _plan_of(client, str(name), version)
    if as_json:
        render.as_json(plan_graph.as_document(drawn))
        return
    match form:
        case "dot":
            lines = plan_graph.as_dot(drawn)
        case "mermaid":
            lines = plan_graph.as_mermaid(drawn)
        case _:
            lines = plan_graph.as_text(drawn)
    for line in lines:
        click.echo(render.clean(line))


def _plan_in(file: Path) -> "JobPlan":
    from . import plan_files

    return plan_files.readable(plan_files.load(file))


def _plan_of(client: "Client", name: str, version: int | None) -> "JobPlan":
    from ..domain.plan import JobPlan
    from .client import segment

    path = f"/plans/{segment(name)}" + ("" if version is None else f"/versions/{version}")
    return answers.read(JobPlan, client.get(path).get("plan"))


@plan.command()
@click.argument("file", type=_PATH)
@_tokens_option
@as_json_option
def validate(file: Path, tokens: Path | None, as_json: bool) -> None:
    """Check the plan in FILE, without a dashboard, and tell every error and warning with its place."""
    from . import plan_files

    checked = plan_files.check(plan_files.load(file, tokens))
    name = None if checked.plan is None else checked.plan.name
    if as_json:
        flaws = [{"severity": f.severity, "place": f.place, "detail": f.message} for f in checked.flaws]
        render.as_json({"plan": name, "valid": not checked.errors, "problems": flaws})
    else:
        for flaw in checked.flaws:
            click.echo(render.clean(f"{flaw.severity}: {flaw}"))
        if checked.plan is not None and not checked.errors:
            contexts, jobs = sum(1 for _ in checked.plan.root.walk()), len(checked.plan.jobs)
            click.echo(
                render.clean(f"{name} is valid: {_number(contexts, 'context')}, {_number(jobs, 'job')}")
            )
    if checked.errors:
        raise click.exceptions.Exit(int(ExitCode.REFUSED))


@plan.command()
@click.argument("name")
@click.option("-o", "--output", type=_PATH, help="The file to write; NAME.zip if not given.")
@click.option("--tokens", is_flag=True, help="Put tokens for the agents and the plan's environment.")
@click.option("--split", is_flag=True, help="Put each context into a file of its own.")
@click.option("--version", type=click.IntRange(1), help="This version; the newest if not given.")
@as_json_option
@talks_to_dashboard
def export(
    client: "Client",
    *,
    name: str,
    output: Path | None,
    tokens: bool,
    split: bool,
    version: int | None,
    as_json: bool,
) -> None:
    """Write a plan as a bundle (zip) that can be pushed again, here or elsewhere.

    With --tokens it names no agent and no environment; `plan push --tokens FILE` fills them in.
    """
    from .client import segment

    query: dict[str, object] = {"version": version, "tokens": tokens or None, "split": split or None}
    content, _headers = client.download(f"/api/v1/plans/{segment(name)}/export", **query)
    target = output or Path(name.replace("/", "_") + ".zip")
    try:
        target.write_bytes(content)
    except OSError as error:
        raise Failure(
            f"{target} cannot be written: {error.strerror}", next_step="name another with -o"
        ) from error
    if as_json:
        render.as_json({"file": str(target), "bytes": len(content)})
    else:
        click.echo(render.clean(f"wrote {target} ({len(content)} bytes)"))


def _outline(shown: "JobPlan") -> Iterator[str]:
    from ..domain.plan import job_kind

    kinds = {each.identifier: job_kind(each) for each in shown.jobs}
    if shown.window.cron is not None:
        yield f"starts at {shown.window.cron} ({shown.window.zone or 'the time zone of the dashboard'})"
    yield from _context(shown.root, kinds, "")


def _context(context: "Context", kinds: dict[str, str], indent: str) -> Iterator[str]:
    yield f"{indent}{context.name}"
    waits: dict[str, list[str]] = {}
    for dependency in context.dependencies:
        if dependency.grouping is not None:
            waits.setdefault(dependency.dependant, []).extend(
                dict.fromkeys(dependency.grouping.identifiers())
            )
    for listed in context.jobs:
        kind = kinds.get(listed.identifier, "event")
        after = waits.get(listed.identifier)
        yield f"{indent}  - {listed.identifier} ({kind})" + (f" after {', '.join(after)}" if after else "")
    for child in context.contexts:
        yield from _context(child, kinds, indent + "  ")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
