"""``jobledger job``: give orders about a job, and read what its process printed."""

import sys
import time
from typing import TYPE_CHECKING

import click

from . import answers, find, job_orders, render
from .options import as_json_option, context_option, instance_argument, job_argument, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client

_LOOK_AGAIN_SECONDS = 0.5


@click.group()
def job() -> None:
    """Submit, hold, skip, reset or kill a job; ask what it does and why; read what it printed.

    INSTANCE is an id, the beginning of one, or the name of a plan: then its newest instance.
    JOB is an identifier (agent-name), or its name alone.
    """


for each in job_orders.COMMANDS:
    job.add_command(each)


@job.command()
@instance_argument
@job_argument
@context_option
@as_json_option
@talks_to_dashboard
def show(client: "Client", *, instance_text: str, job_text: str, context: str | None, as_json: bool) -> None:
    """Show JOB with all that is known of it, and what it accepts."""
    from .job_sheet import lines

    instance, _document = find.instance(client, instance_text)
    where, found = find.standing(instance, job_text, context)
    document = client.get(find.path(instance, where, found))
    if as_json:
        render.as_json(document)
        return
    for text in lines(document, where.name):
        click.echo(render.clean(text))


@job.command()
@instance_argument
@job_argument
@context_option
@click.option(
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(2, 1000),
    help="At most so many of anything.",
)
@as_json_option
@talks_to_dashboard
def why(
    client: "Client", *, instance_text: str, job_text: str, context: str | None, limit: int, as_json: bool
) -> None:
    """Say why JOB is not running, down to what really blocks it, or why it ran.

    For each thing in the way: who did it, when and why, and what to do about it. For a job that ran: what
    caused that, and so on back to the first event or order.
    """
    from .why import told
    from .why_answers import Why

    instance, _document = find.instance(client, instance_text)
    where, found = find.standing(instance, job_text, context)
    document = client.get(find.path(instance, where, found) + "/why", limit=limit)
    if as_json:
        render.as_json(document)
        return
    for node in told(answers.read(Why, document), instance_text):
        if render.in_terminal():
            from .drawing import drawn_nodes

            render.console().print(drawn_nodes(node))
        else:
            for depth, each in node.walk():
                click.echo("  " * depth + render.clean(each.text))


@job.command()
@instance_argument
@job_argument
@context_option
@as_json_option
@talks_to_dashboard
def dependants(
    client: "Client", *, instance_text: str, job_text: str, context: str | None, as_json: bool
) -> None:
    """Say what the success of JOB would start; change nothing.

    Of a job in ERROR it is what `job fire-dependants` would start.
    """
    instance, _document = find.instance(client, instance_text)
    where, found = find.standing(instance, job_text, context)
    after = "failure" if found.status == "ERROR" else "success"
    document = client.get(find.path(instance, where, found) + "/dependants", after=after)
    if as_json:
        render.as_json(document)
        return
    preview = answers.read(answers.Preview, document)
    render.table(
        ("job", "would be"),
        ((each.identifier, each.effect) for each in preview.dependants),
        empty=f"nothing would follow from {found.identifier}",
    )
    if preview.ends_instance:
        click.echo("the instance would end, since it would be complete")


@job.command("parameters")
@instance_argument
@job_argument
@context_option
@as_json_option
@talks_to_dashboard
def job_parameters(
    client: "Client", *, instance_text: str, job_text: str, context: str | None, as_json: bool
) -> None:
    """Show what parameters JOB would get now, and where each value comes from. Secrets are covered."""
    instance, _document = find.instance(client, instance_text)
    where, found = find.standing(instance, job_text, context)
    document = client.get(find.path(instance, where, found) + "/parameters")
    if as_json:
        render.as_json(document)
        return
    render.table(
        ("parameter", "value", "from", "problem"),
        (
            (each["name"], each["value"], each["source"] or "nobody gives it a value", each["fault"])
            for each in document["items"]
        ),
        empty=f"{found.identifier} declares no parameters",
    )


@job.command()
@instance_argument
@job_argument
@context_option
@click.option("--stderr", is_flag=True, help="Read standard error instead of standard output.")
@click.option("--offset", default=0, type=click.IntRange(0), metavar="BYTES", help="Leave out so many bytes.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has finished.")
@as_json_option
@talks_to_dashboard
def output(
    client: "Client",
    *,
    instance_text: str,
    job_text: str,
    context: str | None,
    stderr: bool,
    offset: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Print what JOB wrote, while it runs too; its agent is asked."""
    instance, _document = find.instance(client, instance_text)
    where, found = find.standing(instance, job_text, context)
    path = find.path(instance, where, found)
    stream = "stderr" if stderr else "stdout"
    read = bytearray()
    while True:
        finished = not follow or not _runs(client, path)
        while part := client.download(f"/api/v1{path}/log/{stream}", offset=offset)[0]:
            offset += len(part)
            if as_json:
                read += part
            else:
                _write(part)
        if finished:
            break
        time.sleep(_LOOK_AGAIN_SECONDS)
    if as_json:
        text = read.decode("utf-8", "replace")
        render.as_json({"job": found.identifier, "stream": stream, "next_offset": offset, "output": text})


def _runs(client: "Client", path: str) -> bool:
    return answers.read(answers.Job, client.get(path)).in_flight


def _write(part: bytes) -> None:
    """Bytes as they are into a pipe; in a terminal without what would steer it."""
    if render.in_terminal():
        text = part.decode("utf-8", "replace")
        click.echo("".join(each if each in "\n\t" else render.clean(each) for each in text), nl=False)
    else:
        sys.stdout.buffer.write(part)
        sys.stdout.flush()
