"""``jobledger parameters``: the parameter sources of plans."""

from typing import TYPE_CHECKING, Any

import click

from . import render
from .failures import Failure
from .options import as_json_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client


@click.group()
def parameters() -> None:
    """See the parameter sources of plans, and have them read again."""


@parameters.command("list")
@as_json_option
@talks_to_dashboard
def list_sources(client: "Client", *, as_json: bool) -> None:
    """List each plan's source: its file, when it was read, what is wrong with it. Values are never shown."""
    _show(client.get("/parameters"), as_json=as_json)


@parameters.command()
@as_json_option
@talks_to_dashboard
def refresh(client: "Client", *, as_json: bool) -> None:
    """Read all sources now. Jobs that are initiated later get what they say, also in active instances."""
    document = client.post("/parameters/refresh")
    _show(document, as_json=as_json)
    wrong = [item["plan"] for item in document["items"] if item["error"] is not None]
    if wrong or document["error"] is not None:
        raise Failure(
            "not every source could be read; what was read before stays in use",
            next_step="put right what is told above, and refresh again",
        )


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        render.as_json(document)
        return
    if document["error"] is not None:
        click.echo(render.clean(document["error"]), err=True)
    render.table(
        ("plan", "file", "read", "parameters", "problems"),
        (
            (
                item["plan"],
                item["file"],
                render.moment(item["read_at"]),
                len(item["names"]),
                "; ".join([*([item["error"]] if item["error"] else []), *item["warnings"]]),
            )
            for item in document["items"]
        ),
        empty="No plan has a parameter source.",
    )
