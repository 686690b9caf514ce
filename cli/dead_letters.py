"""``jobledger dead-letter``: events that could not be processed wait here for a person."""

from typing import TYPE_CHECKING

import click

from . import render
from .audit_table import event
from .options import as_json_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client


@click.group()
def dead_letter() -> None:
    """See and resubmit events that could not be processed."""


@dead_letter.command("list")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most so many.")
@as_json_option
@talks_to_dashboard
def list_dead_letters(client: "Client", *, limit: int, as_json: bool) -> None:
    """List the events that were put aside, and why."""
    items = list(client.records("/dead-letters", limit=limit))
    if as_json:
        render.as_json(items)
        return
    render.table(
        ("id", "parked", "instance", "event", "error"),
        (
            (
                item.get("id", item.get("position")),
                render.moment(item.get("parked_at")),
                item.get("stream") or item.get("instance_id"),
                event(item.get("event")),
                item.get("error"),
            )
            for item in items
        ),
        empty="No event is parked.",
    )


@dead_letter.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@as_json_option
@talks_to_dashboard
def resubmit(client: "Client", *, ids: tuple[str, ...], as_json: bool) -> None:
    """Process parked events again, after what was wrong has been put right."""
    from .client import segment

    documents = []
    for each in ids:
        documents.append(client.post(f"/dead-letters/{segment(each)}/resubmit"))
        if not as_json:
            click.echo(render.clean(f"resubmitted {each}"))
    if as_json:
        render.as_json(documents)
