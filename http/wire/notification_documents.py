"""The documents of a plan's notifications, looked up and changed one at a time, as existing clients do it."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from ...domain.notification_settings import OF_JOBS, OF_PLAN, NotificationSettings, is_notification_document
from ...domain.problems import Problem
from .bundle_documents import parts_in, read_notifications
from .documents import Fields, WireError, WireProblem, decode, decode_object, encode_readably
from .file_names import FileNames

Key = tuple[str, str, str]
"""What a document about a job is found by: the job's name, the context and the monitor type."""


def documents_about(documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of a plan's documents that are about notifications."""
    return {path: content for path, content in documents.items() if is_notification_document(path)}


def settings_of(documents: Mapping[str, bytes]) -> tuple[NotificationSettings, list[Problem]]:
    """What documents say, and warnings about it; raises ``WireError``."""
    problems: list[WireProblem] = []
    warnings: list[Problem] = []
    settings = read_notifications(parts_in(dict(documents_about(documents))), problems, warnings)
    if problems:
        raise WireError(problems)
    return settings, warnings


def of_plan(documents: Mapping[str, bytes]) -> list[Fields]:
    """The documents for a whole plan, the one that counts first."""
    return [fields for _path, fields in _in(documents, OF_PLAN)]


def of_jobs(documents: Mapping[str, bytes]) -> list[Fields]:
    """The documents about jobs, by path."""
    return [fields for _path, fields in _in(documents, OF_JOBS)]


def key_of(fields: Fields) -> Key:
    """What a document about a job is found by."""
    return _text(fields, "jobName"), _text(fields, "childContextName"), _text(fields, "monitorType")


def with_plan(documents: Mapping[str, bytes], plan: str, fields: Fields) -> dict[str, bytes]:
    """The documents with this one for the whole plan, in place of those that are there."""
    changed = without_plan(documents)
    names = _names(changed)
    changed[names.path(OF_PLAN, plan)] = encode_readably(fields)
    return changed


def with_jobs(documents: Mapping[str, bytes], given: Iterable[Fields]) -> dict[str, bytes]:
    """The documents with these about jobs, each in place of those about the same."""
    changed = documents_about(documents)
    for fields in given:
        paths = [path for path, found in _in(changed, OF_JOBS) if key_of(found) == key_of(fields)]
        for path in paths[1:]:
            del changed[path]
        path = paths[0] if paths else _names(changed).path(OF_JOBS, _text(fields, "jobName") or "unnamed")
        changed[path] = encode_readably(fields)
    return changed


def without_plan(documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The documents without those for the whole plan."""
    return _without(documents, OF_PLAN, lambda _fields: True)


def without_jobs(documents: Mapping[str, bytes], key: Key | None = None) -> dict[str, bytes]:
    """The documents without those about jobs, or without those that are found by a key."""
    return _without(documents, OF_JOBS, lambda fields: key is None or key_of(fields) == key)


def read_plan_document(raw: bytes) -> tuple[str, Fields]:
    """The plan's name and the document, from a request's body; raises ``WireError``."""
    return _named(decode_object(raw))


def read_job_document(raw: bytes) -> tuple[str, Fields]:
    """As ``read_plan_document``, for one about a job."""
    return _named(decode_object(raw))


def read_job_documents(raw: bytes) -> list[tuple[str, Fields]]:
    """Several about jobs, as a list or under ``emailNotificationDetails``; raises ``WireError``."""
    value = decode(raw)
    given = value.get("emailNotificationDetails") if isinstance(value, Fields) else value
    if not isinstance(given, list):
        raise WireError.of("give a list, or an object with a list under emailNotificationDetails")
    found = []
    for index, each in enumerate(given):
        if not isinstance(each, Fields):
            raise WireError.of("give an object", pointer=f"/{index}")
        found.append(_named(each, f"/{index}"))
    return found


def _named(fields: Fields, pointer: str = "") -> tuple[str, Fields]:
    name = fields.get("contextName")
    if not isinstance(name, str) or not name:
        raise WireError.of("give the name of the plan", pointer=f"{pointer}/contextName")
    return name, fields


def _in(documents: Mapping[str, bytes], folder: str) -> Iterator[tuple[str, Fields]]:
    for path in sorted(documents):
        if path.startswith(f"{folder}/") and path.endswith(".json"):
            yield path, decode_object(documents[path], document=path)


def _without(documents: Mapping[str, bytes], folder: str, gone: Callable[[Fields], bool]) -> dict[str, bytes]:
    paths = {path for path, fields in _in(documents, folder) if gone(fields)}
    return {path: each for path, each in documents_about(documents).items() if path not in paths}


def _names(documents: Mapping[str, bytes]) -> FileNames:
    names = FileNames()
    for path in documents:
        names.reserve(path)
    return names


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
