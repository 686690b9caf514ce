"""``jobledger encrypt``: turn a secret into a token that can be pasted anywhere."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import render
from .key_file import opened_key_file
from .options import as_json_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client


@click.command()
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Encrypt here, with the newest key of this file, instead of asking the dashboard.",
)
@as_json_option
@talks_to_dashboard
def encrypt(client: "Client", *, key_file: Path | None, as_json: bool) -> None:
    """Encrypt a value and print a token for it.

    The value is asked for, or read from standard input as it is, without a last line break. Put the token
    into a plan, a parameter source or a parameter; it may stand in the midst of a value.

    \b
    jobledger encrypt
    jobledger job submit eod load -p "DB_PASSWORD=$(jobledger encrypt)"
    """
    value = _value()
    if key_file is not None:
        with opened_key_file(key_file) as keys:
            token = keys.seal(value)
    else:
        token = client.post("/encrypt", {"value": value})["token"]
    if as_json:
        render.as_json({"token": token})
    else:
        click.echo(token)


def _value() -> str:
    if sys.stdin.isatty():
        word: str = click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)
        return word
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise click.UsageError("the value on standard input is not in UTF-8") from None
    value = text.removesuffix("\n").removesuffix("\r")
    if not value:
        raise click.UsageError("there is nothing on standard input to encrypt")
    return value
