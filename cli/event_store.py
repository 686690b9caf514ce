"""The facts in an event store on SQLite, read beside a dashboard that may be running, or without one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from ..domain.facts import Recorded
from ..domain.instants import rfc3339
from ..domain.secret_values import covered
from ..storage.mapper import FactMapper, UnreadableFact
from .failures import Failure

_FACTS = "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid"


def facts(path: Path, instance_id: str | None) -> Iterator[dict[str, Any]]:
    """Every fact in the order in which it was recorded, or those of one stream; changes nothing.

    Raises ``Failure`` for a file that is no event store.
    """
    mapper = FactMapper()
    wanted = None if instance_id is None else _uuid(instance_id)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            for sequence, stream_text, position, topic, state in connection.execute(_FACTS):
                stream = UUID(stream_text)
                if wanted is not None and stream != wanted:
                    continue
                try:
                    recorded = mapper.decode(stream, position, topic, state)
                except UnreadableFact as error:
                    yield _unreadable(path, sequence, len(state), str(error))
                else:
                    yield _fact(sequence, recorded)
    except sqlite3.Error as error:
        raise Failure(
            f"{path} cannot be read as an event store: {error}",
            next_step="read it as a user who may write to its directory too, or read a copy",
        ) from error


def _unreadable(path: Path, sequence: int, length_bytes: int, reason: str) -> dict[str, Any]:
    return {
        "entry": "unreadable",
        "file": str(path),
        "offset": sequence,
        "length_bytes": length_bytes,
        "reason": reason,
        "positions": None,
    }


def _fact(sequence: int, recorded: Recorded) -> dict[str, Any]:
    return {
        "entry": "fact",
        "sequence": sequence,
        "stream": str(recorded.originator_id),
        "position": recorded.position,
        "at": rfc3339(recorded.at),
        "type": type(recorded.fact).__name__,
        "data": _data(recorded),
        "cause": msgspec.to_builtins(recorded.cause),
    }


def _data(recorded: Recorded) -> dict[str, Any]:
    data: dict[str, Any] = covered(msgspec.to_builtins(recorded.fact))
    data.pop("type", None)
    if "documents" in data:
        # The files of a bundle, in base64: their names and sizes say enough here.
        data["documents"] = {name: f"{len(text) * 3 // 4} bytes" for name, text in data["documents"].items()}
    return data


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Failure(f"{text} is no instance id", next_step="write it in full") from error
