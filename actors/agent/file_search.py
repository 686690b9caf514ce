"""Which files on this host a file watcher means, and which are there."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from ...domain.instants import Instant
from ...domain.plan import FileJob

_PARAMETER = re.compile(r"\$\{([^}]+)\}")
_NOT_PLAIN = re.compile(r"[\\*+?()\[\]{}|^$]")


class FoundFile(msgspec.Struct, frozen=True, order=True):
    """A file as one look saw it."""

    path: str
    modified_at: Instant
    size: int


class Search(msgspec.Struct, frozen=True):
    """One pattern: where to begin, and what a match is."""

    root: Path
    pattern: str
    """A regular expression."""
    whole_path: bool
    """It is about the whole path, not only the name."""

    def matches(self, path: str) -> bool:
        """Whether a file is meant."""
        subject = path if self.whole_path else path.rpartition("/")[2]
        return re.fullmatch(self.pattern, subject) is not None


class PatternInvalid(ValueError):
    """A pattern of a file watcher is no regular expression, or names no directory."""


def searches(job: FileJob, parameters: Mapping[str, str]) -> tuple[Search, ...]:
    """The searches of a job, with ``${name}`` replaced by an instance's parameter, taken literally.

    With a directory of its own a job's patterns are about names in it; otherwise each pattern is a path whose
    last part is about the name, and whose directories may be patterns too. Raises ``PatternInvalid``.
    """
    if job.file_path and job.filenames:
        root = Path(_filled(job.file_path, parameters, escape=False))
        if not root.is_absolute():
            raise PatternInvalid(f"{job.file_path!r} is no absolute path")
        return tuple(
            Search(root, _checked(_filled(each, parameters, escape=True)), whole_path=False)
            for each in job.filenames
        )
    return tuple(_path_search(each, parameters) for each in (job.filenames or _only(job.file_path)))


def _only(path: str | None) -> tuple[str, ...]:
    return (path,) if path else ()


def _path_search(text: str, parameters: Mapping[str, str]) -> Search:
    """The search begins in the deepest directory that is written plainly."""
    lead = _filled(text.split("/", maxsplit=1)[0], parameters, escape=False)
    if not (text.startswith("/") or lead.startswith("/")):
        raise PatternInvalid(f"{text!r} names no directory: begin it with / or give a filePath")
    plain = [part for part in lead.split("/") if part]
    for part in text.split("/")[1:-1]:
        filled = _filled(part, parameters, escape=False)
        if _NOT_PLAIN.search(_PARAMETER.sub("", part)):
            break
        plain.append(filled)
    pattern = _checked(_filled(text, parameters, escape=True))
    return Search(Path("/", *plain), pattern, whole_path=True)


def _filled(text: str, parameters: Mapping[str, str], *, escape: bool) -> str:
    def value(found: re.Match[str]) -> str:
        given = parameters.get(found[1])
        if given is None:
            return re.escape(found[0]) if escape else found[0]
        return re.escape(given) if escape else given

    return _PARAMETER.sub(value, text)


def _checked(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise PatternInvalid(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


def look(search: Search, depth: int) -> Iterator[FoundFile]:
    """The regular files that match, in directories that are not links, so many levels deep.

    A directory that is not there has no files. One that cannot be read hides no others: its ``OSError`` is
    raised, the first of several, once all others have been told.
    """
    problems: list[OSError] = []
    yield from _look(search, depth, problems)
    if problems:
        raise problems[0]


def _look(search: Search, depth: int, problems: list[OSError]) -> Iterator[FoundFile]:
    try:
        with os.scandir(search.root) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as problem:
        problems.append(problem)
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if depth > 1:
                deeper = msgspec.structs.replace(search, root=Path(entry.path))
                yield from _look(deeper, depth - 1, problems)
        elif search.matches(entry.path):
            try:
                file = seen(Path(entry.path))
            except OSError as problem:
                problems.append(problem)
                continue
            if file is not None:
                yield file


def seen(path: Path) -> FoundFile | None:
    """A regular file as it is now; ``None`` when it is none or no longer there."""
    try:
        if not path.is_file():
            return None
        status = path.stat()
    except FileNotFoundError:
        return None
    return FoundFile(str(path), status.st_mtime_ns // 1_000_000, status.st_size)


def in_order(files: list[FoundFile], job: FileJob) -> list[FoundFile]:
    """As the job wants them told: by name, or by the time of their last change."""
    if job.sort_by_modified:
        return sorted(files, key=lambda file: file.modified_at, reverse=not job.sort_ascending)
    return sorted(files)


def literal_roots(found: tuple[Search, ...]) -> set[Path]:
    """The directories to be watched."""
    return {search.root for search in found}
