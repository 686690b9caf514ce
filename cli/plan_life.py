"""``jobledger plan disable``, ``delete`` and ``log``: whether a plan starts, and what became of it."""

from typing import TYPE_CHECKING, Any

import click

from . import answers, render
from .failures import ExitCode, Failure
from .giving import body_of
from .options import as_json_option, reason_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client


@click.command()
@click.argument("name")
@click.argument("job_text", metavar="", required=False)
@reason_option
@as_json_option
@talks_to_dashboard
def disable(client: "Client", *, name: str, job_text: str | None, reason: str | None, as_json: bool) -> None:
    """Let no instance of NAME start any more, neither by its clock nor by hand.

    Instances that run go on. Each start that is due meanwhile is in the plan's log. A job is not disabled but
    skipped, or held: `jobledger plan skip NAME JOB`.
    """
    if job_text is not None:
        raise Failure(
            f"only a plan is disabled, and {job_text} is not all of {name}",
            code=ExitCode.USAGE,
            next_step=f"`jobledger plan skip {name} {job_text}` passes the job over in new instances",
        )
    turn(client, name, "disable", reason, as_json=as_json)


def turn(client: "Client", name: str, order: str, reason: str | None, *, as_json: bool) -> None:
    """Enable or disable a plan, and say what came of it."""
    from .client import segment

    document = client.post(f"/plans/{segment(name)}/{order}", body_of(reason))
    if as_json:
        render.as_json(document)
    else:
        click.echo(render.clean(f"{name} is {order}d{'' if document['facts'] else ' already'}"))


@click.command()
@click.argument("name")
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
@talks_to_dashboard
def delete(client: "Client", *, name: str, reason: str | None, yes: bool, as_json: bool) -> None:
    """Delete NAME: its instances are ended, what runs is killed, its jobs leave the agents.

    What happened stays readable: its instances, its versions, its log. A push of the same name begins anew.
    """
    from .client import segment

    if not yes and render.in_terminal():
        click.confirm(f"Delete plan {render.clean(name)} and end its instances?", abort=True)
    document = client.delete(f"/plans/{segment(name)}", reason=reason)
    if as_json:
        render.as_json(document)
        return
    ending = len(document["ending"])
    if ending:
        instances = f"{ending} instance{'' if ending == 1 else 's'}"
        click.echo(render.clean(f"{name} is deleted as soon as {instances} ended"))
    else:
        click.echo(render.clean(f"{name} is deleted"))


@click.command("log")
@click.argument("name")
@click.option(
    "--after", default=0, type=click.IntRange(0), metavar="POSITION", help="Only what came after it."
)
@click.option("--limit", type=click.IntRange(1), help="At most so many facts.")
@as_json_option
@talks_to_dashboard
def plan_log(client: "Client", *, name: str, after: int, limit: int | None, as_json: bool) -> None:
    """Print what happened to NAME: pushes, orders, its starts, and starts that did not happen and why."""
    from .client import segment

    items = client.records(f"/plans/{segment(name)}/log", after=after, limit=limit)
    if as_json:
        render.as_json(list(items))
        return
    facts = (answers.read(answers.Fact, item) for item in items)
    render.table(
        ("position", "at", "fact", "what", "cause"),
        (
            (f.position, render.moment(f.at), f.type, render.pairs(f.data), render.pairs(f.cause))
            for f in facts
        ),
        empty="No fact after that position.",
    )


def standing(document: dict[str, Any]) -> list[str]:
    """How a plan stands, as far as it is not as usual, and what comes next."""
    lines = []
    if document.get("standing") not in {None, "ENABLED"}:
        lines.append(f"it is {document['standing']}")
    if document.get("waiting_start"):
        since = render.moment(document["waiting_start"])
        lines.append(f"the start of {since} waits for the active instance to end")
    if document.get("next_start"):
        lines.append(f"next start {render.moment(document['next_start'])}")
    if document.get("prepared"):
        due = render.moment(document["prepared_for"])
        what = "was called off:" if document["called_off"] else "is prepared as"
        lines.append(f"the instance of {due} {what} {document['prepared']}")
    if document.get("agents_to_tell"):
        lines.append(f"still to be told of it: {', '.join(document['agents_to_tell'])}")
    return lines


COMMANDS = (disable, delete, plan_log)
