"""Zip files from strangers, read within limits, and zip files of our own."""

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime

from ...domain.instants import Instant
from .documents import WireError, WireProblem

MAX_FILES = 50_000
MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_TOTAL_BYTES = 128 * 1024 * 1024
MAX_FOLDERS_DEEP = 70
"""Contexts may be nested sixty deep, each in a folder of its own."""

_FOREIGN = ("__MACOSX/",)
_DRIVE = re.compile(r"[A-Za-z]:")
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_FIRST_ZIP_YEAR = 1980
_LAST_ZIP_YEAR = 2107


def read_files(raw: bytes) -> dict[str, bytes]:
    """The files in a zip by their path; raises ``WireError`` for what is no zip, too large or not safe.

    Sizes are counted while reading: what the zip says of itself is not believed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return _read_all(archive)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        OverflowError,
        RuntimeError,
    ) as error:
        raise WireError.of(f"this is no zip that can be read: {error}") from error


def _read_all(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise WireError.of(f"the zip holds more than {MAX_FILES} files")
    problems = [problem for entry in entries if (problem := _refusal(entry)) is not None]
    if problems:
        raise WireError(problems)
    files: dict[str, bytes] = {}
    total = 0
    for entry in entries:
        if entry.is_dir() or entry.filename.startswith(_FOREIGN):
            continue
        if entry.filename in files:
            raise WireError.of("the zip holds two files of this name", document=entry.filename)
        content = _read_file(archive, entry)
        total += len(content)
        if total > MAX_TOTAL_BYTES:
            raise WireError.of(f"the zip unpacks to more than {MAX_TOTAL_BYTES} bytes")
        files[entry.filename] = content
    return files


def _read_file(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise WireError.of(f"this file unpacks to more than {MAX_FILE_BYTES} bytes", document=entry.filename)
    return content


def _refusal(entry: zipfile.ZipInfo) -> WireProblem | None:
    name = entry.filename
    parts = name.removesuffix("/").split("/")
    if "\\" in name or "\0" in name or _DRIVE.match(name) or any(part in {"", ".", ".."} for part in parts):
        return WireProblem("", "this path leaves the bundle's folder; use plain relative paths", name)
    if len(parts) > MAX_FOLDERS_DEEP:
        return WireProblem("", f"this path is more than {MAX_FOLDERS_DEEP} folders deep", name)
    if stat.S_ISLNK(entry.external_attr >> 16):
        return WireProblem("", "this is a symbolic link; put the file itself into the zip", name)
    if entry.flag_bits & _ENCRYPTED:
        return WireProblem("", "this file is encrypted; pack it without a password", name)
    if entry.compress_type not in _READABLE:
        return WireProblem("", "this file is packed in a way other than deflate; pack it again", name)
    return None


def write_files(files: Mapping[str, bytes], folders: tuple[str, ...], top: str, at: Instant) -> bytes:
    """A zip with one top folder, the folders in it, and the files; the same input gives the same bytes."""
    moment = datetime.fromtimestamp(at // 1000, UTC)
    year = min(max(moment.year, _FIRST_ZIP_YEAR), _LAST_ZIP_YEAR)
    date_time = (year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in ("", *(f"{folder}/" for folder in folders)):
            archive.writestr(zipfile.ZipInfo(f"{top}/{folder}", date_time), b"")
        for path, content in files.items():
            entry = zipfile.ZipInfo(f"{top}/{path}", date_time)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()
