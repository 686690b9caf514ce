"""Job templates put into the bundle of a plan that is there already."""

from collections.abc import Iterable, Mapping

from ...domain.plan import JobPlan
from .bundle_documents import Bundle, Part, assemble, parts_in, templates_by_identifier
from .bundle_writing import documents_for
from .documents import encode_readably
from .file_names import FileNames
from .job_templates import TemplateKind, read_job
from .provision import GivenTemplate


def with_templates(
    plan: JobPlan, documents: Mapping[str, bytes], templates: Iterable[GivenTemplate]
) -> Bundle:
    """The plan's bundle with these templates, each in place of the one of the same job, or beside the others.

    What a template says of the contexts that list its job is not taken: the plan's tree says that. Raises
    ``WireError`` naming every flaw.
    """
    merged = documents_for(plan, documents)
    parts = parts_in(merged)
    of_jobs = {identifier: part.path for identifier, part in templates_by_identifier(parts).items()}
    of_commands = dict(_templates_of_commands(parts))
    names = FileNames()
    for path in merged:
        names.reserve(path)
    for each in templates:
        if each.kind is TemplateKind.COMMAND_TEMPLATE:
            known, name = of_commands, _text(each, "jobName")
        else:
            known, name = of_jobs, read_job(each.reader([]), each.kind).identifier
        folder = f"jobs/{each.kind}"
        old = known.get(name)
        if old is not None and not old.startswith(f"{folder}/"):
            del merged[old]
            old = None
        known[name] = old or names.path(folder, _text(each, "jobName"))
        merged[known[name]] = encode_readably(each.fields)
    return assemble(parts_in(merged), merged)


def _templates_of_commands(parts: Iterable[Part]) -> Iterable[tuple[str, str]]:
    for part in parts:
        name = part.fields.get("jobName")
        if part.kind() is TemplateKind.COMMAND_TEMPLATE and isinstance(name, str):
            yield name, part.path


def _text(template: GivenTemplate, field: str) -> str:
    value = template.fields.get(field)
    return value if isinstance(value, str) else "unnamed"
