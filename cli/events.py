"""``jobledger event``: tell plan instances that something happened outside."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import render
from .failures import Failure
from .options import as_json_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client


@click.group()
def event() -> None:
    """Tell plan instances that something happened."""


@event.command()
@click.argument("what", metavar="FILE|NAME")
@click.option(
    "--global", "is_global", is_flag=True, help="NAME is a global event; every instance that has it gets it."
)
@as_json_option
@talks_to_dashboard
def send(client: "Client", *, what: str, is_global: bool, as_json: bool) -> None:
    """Send process events from a JSON FILE (- for standard input), or raise the global event NAME.

    The file holds one event or a list of them; all are taken or none.
    """
    if is_global:
        from .client import segment

        document = client.post(f"/global-events/{segment(what)}")
        number = int(document["instances"])
        sentence = f"raised {what} in {number} instance{'' if number == 1 else 's'}"
    else:
        events = _read(what)
        document = client.post("/events", events)
        number = len(events) if isinstance(events, list) else 1
        sentence = f"sent {number} event{'' if number == 1 else 's'}"
    if as_json:
        render.as_json(document)
    else:
        click.echo(render.clean(sentence))


def _read(name: str) -> Any:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(
            f"{name} cannot be read: {error}",
            next_step="name a file of JSON, or raise a global event with --global",
        ) from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(
            f"{name} is no JSON: {error}", next_step="write one event as an object, or several as a list"
        ) from error
