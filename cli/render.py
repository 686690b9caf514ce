"""How answers look: tables and colour in a terminal, plain aligned text when piped, JSON when asked for.

Names and outputs come from other people's plans, so no character of them may steer the terminal.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "WAITING": "dim",
    "ON_HOLD": "yellow",
    "SKIPPED": "magenta",
    "LOCK_QUEUED": "yellow",
    "RUNNING": "cyan",
    "SKIPPED_RUNNING": "magenta",
    "SKIPPED_COMPLETE": "magenta",
    "COMPLETE": "green",
    "ERROR": "bold red",
    "DISABLED": "dim",
    "ENDED": "blue",
    "yes": "green",
    "no": "bold red",
}
"""By the word that is shown: the colour only repeats what the word says."""


def in_terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty()


def clean(text: object) -> str:
    """Text on one line, with every control character shown as its escape."""
    raw = "" if text is None else str(text)
    return (
        raw if raw.isprintable() else "".join(each if each.isprintable() else _escape(each) for each in raw)
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def as_json(document: object) -> None:
    """Print a document as indented JSON."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def as_json_line(document: object) -> None:
    """Print a document as one line of JSON, for those who read a stream of them."""
    click.echo(json.dumps(document, ensure_ascii=False))


def line(text: str) -> None:
    """Print one line, at once even into a pipe."""
    click.echo(clean(text))
    sys.stdout.flush()


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under headings, or the sentence ``empty`` when there are none."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if not cells:
        click.echo(empty)
    elif in_terminal():
        _rich_table(headings, cells)
    else:
        _plain_table(headings, cells)


def _plain_table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    widths = [max(len(each) for each in column) for column in zip(headings, *cells, strict=True)]
    for row in (headings, *cells):
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(text.rstrip())


def _rich_table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console().print(drawn)


def console() -> "Console":
    """The terminal; imported when it is needed, since most commands are read by a script."""
    from rich.console import Console

    return Console(highlight=False)


def moment(text: str | None) -> str:
    """An RFC 3339 time as a person reads it: in this host's time zone, to the second."""
    if not text:
        return ""
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return text


def clock(text: str | None) -> str:
    """The time of day of an RFC 3339 time, to the millisecond."""
    if not text:
        return ""
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(text).astimezone():%H:%M:%S.%f}"[:-3]
    except ValueError:
        return text


def counts(by_status: dict[str, int]) -> str:
    """``3 COMPLETE, 1 RUNNING``."""
    return ", ".join(f"{number} {status}" for status, number in sorted(by_status.items()) if number)


def pairs(values: dict[str, Any]) -> str:
    """``name=value name=value``, what is empty left out."""
    return " ".join(
        f"{name}={_short(value)}" for name, value in values.items() if value not in (None, "", {}, [])
    )


def _short(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_short(each) for each in value)
    if isinstance(value, dict):
        return "{" + pairs(value) + "}"
    return str(value)
