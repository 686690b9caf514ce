"""Real documents of the scheduler whose services we speak; tests of them skip where they are not at hand."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from jobledger.http.wire.documents import WireError

FIXTURES = Path(
    os.environ.get("JOBLEDGER_FIXTURES", Path(__file__).parents[2] / ".." / "shared" / "fixtures")
).resolve()


def real_document(name: str) -> bytes:
    """The bytes of a real document; skips the test where there are none."""
    path = FIXTURES / "ikasan" / name
    if not path.exists():
        pytest.skip(f"the document {name} is not at hand")
    return path.read_bytes()


def files_in(raw: bytes) -> dict[str, bytes]:
    """The files of a zip by path, below its top folder."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {
            entry.filename.partition("/")[2]: archive.read(entry)
            for entry in archive.infolist()
            if not entry.is_dir()
        }


def zip_of(files: dict[str, bytes], top: str = "1-plan/") -> bytes:
    """A zip with these files below a top folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(f"{top}{path}", content)
    return buffer.getvalue()


def is_read_or_refused_in_words(read: Callable[[bytes], object], raw: bytes) -> bool:
    """Whether the reader makes something of the bytes or names a flaw; another exception is let through."""
    try:
        read(raw)
    except WireError as error:
        return bool(error.problems) and bool(str(error))
    return True
