"""``jobledger log``: what stands on disk, read without a server and without changing it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..domain.secret_values import covered
from ..storage.segment_files import SEGMENT_SUFFIX
from . import render
from .failures import ExitCode, Failure
from .options import as_json_option
from .starting import a_postgresql_url

EVENT_STORE_NAME = "jobledger.db"
_SQLITE_HEADER = b"SQLite format 3\x00"
_SHOWN_CHARACTERS = 300


class _LogGroup(click.Group):
    """A group whose first word may be a path: then it is read."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the word ``read`` before arguments that name no command."""
        named = next((each for each in args if not each.startswith("-")), None)
        asks_for_help = any(each in ("-h", "--help") for each in args) and named is None
        if args and named not in self.commands and not asks_for_help:
            args = ["read", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_LogGroup, subcommand_metavar="FILE|DIR | repair SOURCE TARGET | rebuild", no_args_is_help=True
)
def log() -> None:
    """Read a segment log of an agent or the event store of a dashboard, offline.

    \b
    jobledger log FILE|DIR              print every record or fact, damaged ones too
    jobledger log repair SOURCE TARGET  copy what is readable of a segment log to a new directory
    jobledger log rebuild --data-dir D  make a dashboard's lists of plans and instances anew

    DIR is a segment log, a data directory of an agent or dashboard, or one that `up` was given.
    The server may run meanwhile.
    """


@log.command(hidden=True)
@click.argument("path", metavar="FILE|DIR", type=click.Path(path_type=Path))
@click.option(
    "--instance", "instance_id", metavar="ID", help="Of an event store: the facts of this instance only."
)
@as_json_option
def read(path: Path, instance_id: str | None, as_json: bool) -> None:
    """Print every record of a segment log, or every fact of an event store."""
    sources = _sources(path)
    damaged = False
    for source in sources:
        if len(sources) > 1 and not as_json:
            click.echo(f"== {source}")
        entries = _segment_entries(source) if _is_segments(source) else _facts(source, instance_id)
        for entry in entries:
            damaged = damaged or entry["entry"] == "unreadable"
            if as_json:
                render.as_json_line({**entry, "source": str(source)})
            else:
                render.line(_line(entry))
    if damaged:
        raise Failure(
            f"{path} has parts that cannot be read",
            next_step="stop the agent, then `jobledger log repair SOURCE TARGET` copies the rest",
        )


@log.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@as_json_option
def repair(source: Path, target: Path, as_json: bool) -> None:
    """Copy what is readable of the segment log in SOURCE to the new directory TARGET.

    SOURCE is not changed. Stop the agent first; afterwards put TARGET in the place of SOURCE.
    """
    from ..storage.segment_errors import LogInUse
    from ..storage.segment_repair import repair as copy_what_is_readable

    try:
        report = copy_what_is_readable(source, target)
    except LogInUse as error:
        raise Failure(f"{source} is in use", next_step="stop the agent, then try again") from error
    except FileExistsError as error:
        raise Failure(f"{target} is there already", next_step="name a directory that is not") from error
    except OSError as error:
        raise Failure(
            f"{source} could not be copied: {error}",
            next_step="name a new directory where this user may write and where there is space",
        ) from error
    lost = [_unreadable(each) for each in report.unreadable]
    if as_json:
        counts = {"segments": report.segments, "records": report.records, "pending": report.pending}
        render.as_json({**counts, "unreadable": lost})
        return
    for each in lost:
        click.echo(render.clean(_line(each)))
    told = f"{report.records} records in {report.segments} segments, {report.pending} of them pending"
    click.echo(f"copied {told}")


@log.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The data directory of the dashboard, on this host.",
)
@click.option(
    "--database-url",
    metavar="URL",
    callback=a_postgresql_url,
    help="The dashboard's database, if it is on PostgreSQL.",
)
@as_json_option
def rebuild(*, data_dir: Path | None, database_url: str | None, as_json: bool) -> None:
    """Make a dashboard's lists of plans and instances anew from its facts.

    Everything else follows from the facts by itself. The dashboard may run meanwhile.
    """
    from ..storage.mapper import UnreadableFact
    from ..storage.records import NewerSchema, Unavailable
    from .rebuilding import rebuild as make_anew

    if data_dir is None and database_url is None:
        raise click.UsageError("give --data-dir, or --database-url if the dashboard uses PostgreSQL")
    if database_url is None and not (data_dir or Path()).joinpath(EVENT_STORE_NAME).is_file():
        raise Failure(
            f"{data_dir} is no data directory of a dashboard",
            code=ExitCode.NOT_FOUND,
            next_step="name the one that `jobledger dashboard` was given",
        )
    try:
        rebuilt = make_anew(database_url, data_dir or Path())
    except (Unavailable, NewerSchema) as error:
        raise Failure(
            f"the dashboard's database cannot be used: {error}",
            code=ExitCode.UNREACHABLE,
            next_step="run this as the user that the dashboard runs as, and look at what it says",
        ) from error
    except UnreadableFact as error:
        raise Failure(
            f"the lists were not changed: {error}", next_step="put a back-up in place, then look at the disk"
        ) from error
    if as_json:
        render.as_json({"plans": rebuilt.plans, "instances": rebuilt.instances, "damaged": rebuilt.damaged})
        return
    for reason in rebuilt.damaged:
        click.echo(render.clean(f"listed as it was before the damage: {reason}"))
    click.echo(f"listed {rebuilt.plans} plans and {rebuilt.instances} instances")


def _sources(path: Path) -> list[Path]:
    """The segment logs and event stores that a path means; raises ``Failure`` when there is none."""
    if path.is_dir():
        found = [path] if _has_segments(path) else []
        found += sorted({each.parent for each in path.rglob(f"*{SEGMENT_SUFFIX}")} - {path})
        found += sorted(path.rglob(EVENT_STORE_NAME))
    elif path.is_file():
        found = [path] if path.suffix == SEGMENT_SUFFIX or _is_sqlite(path) else []
    else:
        raise Failure(
            f"{path} is not there",
            code=ExitCode.NOT_FOUND,
            next_step="name a segment log, an event store, or the data directory of a server",
        )
    if not found:
        raise Failure(
            f"{path} is neither a segment log nor an event store",
            next_step=f"name a directory with *{SEGMENT_SUFFIX} files, or a file {EVENT_STORE_NAME}",
        )
    return found


def _is_segments(path: Path) -> bool:
    return path.is_dir() or path.suffix == SEGMENT_SUFFIX


def _has_segments(path: Path) -> bool:
    return any(path.glob(f"*{SEGMENT_SUFFIX}"))


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE_HEADER)) == _SQLITE_HEADER


def _segment_entries(path: Path) -> Iterator[dict[str, Any]]:
    from ..storage.segment_repair import RecordEntry, SegmentEntry, describe

    for entry in describe(path):
        match entry:
            case SegmentEntry():
                yield {
                    "entry": "segment",
                    "file": str(entry.file),
                    "first_position": entry.first_position,
                    "size_bytes": entry.size_bytes,
                }
            case RecordEntry():
                yield {
                    "entry": "record",
                    "position": entry.position,
                    "offset": entry.offset,
                    "acknowledged": entry.acknowledged,
                    "payload": covered(_jsonable(entry.payload)),
                }
            case _:
                yield _unreadable(entry)


def _unreadable(entry: Any) -> dict[str, Any]:
    return {
        "entry": "torn tail" if entry.torn else "unreadable",
        "file": str(entry.file),
        "offset": entry.offset,
        "length_bytes": entry.length_bytes,
        "reason": entry.reason,
        "positions": entry.positions,
    }


def _facts(path: Path, instance_id: str | None) -> Iterator[dict[str, Any]]:
    from .event_store import facts

    return facts(path, instance_id)


def _jsonable(value: Any) -> Any:
    """Bytes as text where they are text, else in hexadecimal."""
    match value:
        case dict():
            return {str(name): _jsonable(each) for name, each in value.items()}
        case list() | tuple():
            return [_jsonable(each) for each in value]
        case bytes():
            return value.decode() if _is_text(value) else value.hex()
        case str() | int() | float() | bool() | None:
            return value
        case _:
            return str(value)


def _is_text(value: bytes) -> bool:
    try:
        return value.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _line(entry: dict[str, Any]) -> str:
    match entry["entry"]:
        case "segment":
            size, first = entry["size_bytes"], entry["first_position"]
            return f"segment {entry['file']}, {size} bytes, from position {first}"
        case "record":
            state = "done   " if entry["acknowledged"] else "pending"
            return f"{entry['position']:>8}  {state}  {_shortened(entry['payload'])}"
        case "fact":
            return (
                f"{entry['sequence']:>8}  {entry['at']}  {entry['stream']}  {entry['position']:>5}  "
                f"{entry['type']}  {render.pairs(entry['data'])}"[: 2 * _SHOWN_CHARACTERS]
            )
        case _:
            where = f"{entry['file']} at byte {entry['offset']}, {entry['length_bytes']} bytes"
            return f"{entry['entry'].upper()}: {where}: {entry['reason']}"


def _shortened(payload: Any) -> str:
    text = json.dumps(payload, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
