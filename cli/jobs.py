"""``jobledger job``: run a job by hand, and read what its process printed."""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from . import answers, find, render
from .options import as_json_option, parameter_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client

_LOOK_AGAIN_SECONDS = 0.5


@click.group()
def job() -> None:
    """Submit a job, or read what it printed.

    INSTANCE is an id, the beginning of one, or the name of a plan: then its newest instance.
    JOB is an identifier (agent-name), or its name alone.
    """


@job.command()
@click.argument("instance_text", metavar="INSTANCE")
@click.argument("job_text", metavar="JOB")
@click.option(
    "--context", metavar="NAME", help="The context that is meant, for a job that stands in several."
)
@parameter_option
@click.option("--reason", metavar="TEXT", help="Why; kept in the log.")
@as_json_option
@talks_to_dashboard
def submit(
    client: "Client",
    *,
    instance_text: str,
    job_text: str,
    context: str | None,
    parameters: dict[str, str],
    reason: str | None,
    as_json: bool,
) -> None:
    """Run JOB now, whatever it waits for; a schedule, file or event job counts as having happened."""
    instance, _document = find.instance(client, instance_text)
    where, found = find.standing(instance, job_text, context)
    body: dict[str, Any] = (
        {"parameters": parameters} if reason is None else {"parameters": parameters, "reason": reason}
    )
    document = client.post(_path(instance, where, found) + "/submit", body)
    if as_json:
        render.as_json(document)
    else:
        click.echo(render.clean(f"submitted {found.identifier} in {where.name}"))


@job.command()
@click.argument("instance_text", metavar="INSTANCE")
@click.argument("job_text", metavar="JOB")
@click.option(
    "--context", metavar="NAME", help="The context that is meant, for a job that stands in several."
)
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
    """Print what JOB's latest run wrote, while it runs too; its agent is asked for it."""
    instance, _document = find.instance(client, instance_text)
    where, found = find.standing(instance, job_text, context)
    path = _path(instance, where, found)
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


def _path(instance: answers.Instance, context: answers.Context, found: answers.Job) -> str:
    from .client import segment

    return (
        f"/instances/{instance.instance_id}/contexts/{segment(context.name)}/jobs/{segment(found.identifier)}"
    )


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
