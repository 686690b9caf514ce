"""Bundles: a plan with all that belongs to it, as a zip, as one JSON document, or as a plan file of our own.

A bundle's documents are kept as they came, byte for byte, beside the plan that they make, so that an export
gives back what was pushed, with the fields that this program does not know.
"""

from collections.abc import Mapping

from ...domain.instants import Instant
from ...domain.plan import JobPlan
from .bundle_documents import FOLDERS, Bundle, assemble, parts_in, parts_of
from .bundle_writing import (
    documents_for,
    new_documents,
    tokenised_documents,
    without_self_dependencies,
)
from .documents import Fields, Value, WireError, decode, encode_readably, kind_of
from .file_names import file_name
from .plan_yaml import read_plan_text, read_plan_value
from .split_contexts import split_contexts
from .tokens import replace_tokens, replace_tokens_in_json
from .zip_files import read_files, write_files

__all__ = [
    "Bundle",
    "documents_for",
    "pack",
    "read_documents",
    "read_json",
    "read_json_value",
    "read_plan_file",
    "read_zip",
    "split_contexts",
    "tokenised_documents",
    "write_tokenised_zip",
    "write_zip",
]


def read_zip(raw: bytes, tokens: Mapping[str, str] | None = None) -> Bundle:
    """The bundle in a zip, with its tokens replaced; raises ``WireError`` naming every flaw."""
    documents = _below_top(read_files(raw))
    replaced = replace_tokens(documents, tokens or {})
    bundle = read_documents(replaced)
    return bundle if replaced == documents else without_self_dependencies(bundle)


def _repaired(bundle: Bundle) -> Bundle:
    """The bundle, without what older exports with tokens damage, if it shows to have been one."""
    return without_self_dependencies(bundle) if bundle.marked_by_tokens else bundle


def _below_top(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files without their one top folder, if they have one."""
    tops = {path.partition("/")[0] for path in files}
    known = {folder.partition("/")[0] for folder in FOLDERS}
    if len(tops) > 1 and not tops & known:
        raise WireError.of("a bundle has one top folder; this zip has " + ", ".join(sorted(tops)[:5]))
    if len(tops) != 1 or tops & known:
        return files
    return {path.partition("/")[2] or path: content for path, content in files.items()}


def read_documents(documents: dict[str, bytes]) -> Bundle:
    """The bundle that documents make, by their paths below the top folder; raises ``WireError``."""
    return _repaired(assemble(parts_in(documents), documents))


def read_json(raw: bytes, tokens: Mapping[str, str] | None = None) -> Bundle:
    """The bundle in one JSON document, typed or plain, or a plan file in JSON; raises ``WireError``."""
    return read_json_value(decode(replace_tokens_in_json(raw, tokens or {})))


def read_json_value(value: Value) -> Bundle:
    """The bundle in a JSON value without type wrappers; raises ``WireError``."""
    if not isinstance(value, Fields):
        raise WireError.of(f"give a bundle, which is a JSON object, not {kind_of(value)}")
    if "plan" in value and "contextTemplate" not in value:
        return _bundle_of(read_plan_value(value))
    parts, others = parts_of(value)
    documents = {part.path: encode_readably(part.fields) for part in parts} | others
    return _repaired(assemble(parts, documents))


def read_plan_file(text: str) -> Bundle:
    """The bundle that a plan file describes, in YAML or JSON; raises ``WireError`` naming every flaw."""
    return _bundle_of(read_plan_text(text))


def _bundle_of(plan: JobPlan) -> Bundle:
    return Bundle(plan, new_documents(plan))


def write_zip(plan: JobPlan, documents: Mapping[str, bytes], at: Instant) -> bytes:
    """A zip of the plan: of the documents that it came as, or, where they differ from it, with it changed."""
    return pack(plan, documents_for(plan, documents), at)


def write_tokenised_zip(plan: JobPlan, documents: Mapping[str, bytes], at: Instant) -> bytes:
    """The same with tokens for what differs between environments; raises ``WireError``, see there."""
    return pack(plan, tokenised_documents(plan, documents), at)


def pack(plan: JobPlan, documents: Mapping[str, bytes], at: Instant) -> bytes:
    """A zip of a plan's documents as they are."""
    return write_files(documents, FOLDERS, f"{at}-{file_name(plan.name)}", at)
