"""``jobledger key``: the keys that encrypted values are sealed with, on the dashboard's host."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from . import render
from .failures import ExitCode, Failure
from .key_file import key_file_in, opened_key_file
from .options import as_json_option


def _names_key_file(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--key-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The file, if it is elsewhere.",
        ),
        click.option(
            "--data-dir",
            type=click.Path(file_okay=False, path_type=Path),
            help="The data directory of the dashboard, on this host: the file is secrets.key in it.",
        ),
    ):
        function = option(function)
    return function


@click.group()
def key() -> None:
    """Make and change the keys of encrypted values.

    Run these on the dashboard's host as the user that the dashboard runs as. A dashboard that runs knows of a
    change at once.
    """


@key.command()
@_names_key_file
@as_json_option
def create(*, data_dir: Path | None, key_file: Path | None, as_json: bool) -> None:
    """Make a key file with a first key, readable by its owner alone."""
    path = key_file_in(data_dir, key_file)
    with opened_key_file(path) as keys:
        if keys.count():
            raise Failure(f"{path} has keys already", next_step="`jobledger key rotate` adds a new one")
        _tell(path, keys.add(), as_json=as_json)


@key.command()
@_names_key_file
@as_json_option
def rotate(*, data_dir: Path | None, key_file: Path | None, as_json: bool) -> None:
    """Add a new key: from now on it seals; the older ones still open what they sealed."""
    path = key_file_in(data_dir, key_file)
    with opened_key_file(path) as keys:
        if not keys.count():
            raise Failure(
                f"{path} is not there", code=ExitCode.NOT_FOUND, next_step="`jobledger key create` makes it"
            )
        _tell(path, keys.add(), as_json=as_json)


@key.command()
@_names_key_file
def renew(*, data_dir: Path | None, key_file: Path | None) -> None:
    """Copy standard input to standard output, with each token sealed anew by the newest key.

    For plan files and parameter files after a rotation. What is encrypted is shown to nobody.

    \b
    jobledger key renew --data-dir DIR < plan.yaml > renewed.yaml
    """
    path = key_file_in(data_dir, key_file)
    raw = sys.stdin.buffer.read()
    with opened_key_file(path) as keys:
        text = keys.renew(raw.decode("utf-8", "surrogateescape"))
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()


def _tell(path: Path, count: int, *, as_json: bool) -> None:
    if as_json:
        render.as_json({"key_file": str(path), "keys": count})
    else:
        render.line(f"{path} has {count} key{'' if count == 1 else 's'}, the newest seals; keep a copy of it")
