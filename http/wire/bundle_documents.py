"""The documents of a bundle, and the plan that they make."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from ...domain.notification_settings import FOLDERS as NOTIFICATION_FOLDERS
from ...domain.notification_settings import OF_JOBS, OF_PLAN, NotificationSettings, is_notification_document
from ...domain.plan import CommandJob, JobPlan, Parameter
from ...domain.problems import Place, Problem
from .documents import Fields, Reader, WireError, WireProblem, decode_object, encode_readably
from .file_names import FileNames
from .job_names import ReadTemplate
from .job_templates import TemplateKind, read_job, template_kind
from .notification_settings import read_settings
from .plans import read_plan
from .replacement_tokens import CannotFill, fill
from .split_contexts import join_contexts

FOLDERS = (
    "context",
    *(f"jobs/{kind}" for kind in TemplateKind),
    *NOTIFICATION_FOLDERS,
    "profiles",
)
"""What a bundle's top folder holds."""

_LEADS_ON = re.compile(
    r"(?:^|/(?:name|agentName|jobName|identifier|contexts|scheduledJobs|schedulerJobs|contextTemplate"
    r"|jobDependencies|jobIdentifier|logicalGrouping|and|or|not|jobLocks|jobs|commandLine|cronExpression))"
    r"(?:/\d+)?$"
)
"""Where a flaw leaves jobs, dependencies or whole contexts out, so that validation would miss them."""
_READ = ("context/", "jobs/", *(f"{folder}/" for folder in NOTIFICATION_FOLDERS))
"""Where documents are that make the plan; what else a bundle holds is kept as it came."""

_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A plan, the documents that it came as, and what a person should know about them."""

    plan: JobPlan
    documents: dict[str, bytes]
    """By path below the bundle's top folder."""
    warnings: tuple[Problem, ...] = ()
    marked_by_tokens: bool = False
    """It shows that its agents were tokens once: a context lists a global event under an agent's name."""


@dataclass(frozen=True, slots=True)
class Part:
    """A JSON object of a bundle: its place in a zip, and where a reader of problems finds it."""

    path: str
    fields: Fields
    pointer: str = ""
    document: str = ""

    def reader(self, problems: list[WireProblem]) -> Reader:
        """A reader of its fields."""
        return Reader(
            self.fields,
            problems,
            pointer=self.pointer,
            document=self.document,
            place=Place(None, self._job()),
        )

    def _job(self) -> str | None:
        """The identifier of the job that it describes, if it describes one."""
        agent, name = self.fields.get("agentName"), self.fields.get("jobName")
        return f"{agent}-{name}" if isinstance(agent, str) and isinstance(name, str) else None

    def kind(self) -> TemplateKind | None:
        """The kind of job template, by its folder, else by what it says itself."""
        try:
            return TemplateKind(self.path.split("/")[1])
        except ValueError:
            return template_kind(self.fields)


def parts_in(documents: dict[str, bytes]) -> list[Part]:
    """The contexts, job templates and notifications among a zip's documents; raises ``WireError``."""
    problems: list[WireProblem] = []
    parts = []
    for path, content in documents.items():
        if path.startswith(_READ) and path.endswith(".json"):
            try:
                parts.append(Part(path, decode_object(content, document=path), document=path))
            except WireError as error:
                problems.extend(error.problems)
    if problems:
        raise WireError(problems)
    return parts


def parts_of(bundle: Fields) -> tuple[list[Part], dict[str, bytes]]:
    """The contexts, job templates and notifications of a bundle in one document, and its others by path.

    Raises ``WireError``.
    """
    problems: list[WireProblem] = []
    reader = Reader(bundle, problems)
    names = FileNames()
    parts = [
        *_context_part(reader, names),
        *_job_parts(reader, names),
        *_notification_parts(reader, names),
    ]
    others = {
        names.path("profiles", _name(each, "profileName")): encode_readably(each.fields)
        for each in reader.objects("contextProfiles")
    }
    if problems:
        raise WireError(problems)
    return parts, others


def _context_part(reader: Reader, names: FileNames) -> Iterator[Part]:
    context = reader.object("contextTemplate")
    if context is None:
        reader.flaw("contextTemplate", "this is required; give the plan's tree of contexts")
    else:
        yield Part(names.path("context", _name(context, "name")), context.fields, context.pointer)


def _job_parts(reader: Reader, names: FileNames) -> Iterator[Part]:
    for job in reader.objects("schedulerJobs"):
        kind = template_kind(job.fields)
        if kind is None:
            job.flaw("", "what kind of job this is cannot be told; give its class or its kind's fields")
        else:
            yield Part(names.path(f"jobs/{kind}", _name(job, "jobName")), job.fields, job.pointer)


def _notification_parts(reader: Reader, names: FileNames) -> Iterator[Part]:
    for each in reader.objects("emailNotificationDetails"):
        yield Part(names.path(OF_JOBS, _name(each, "jobName")), each.fields, each.pointer)
    of_plan = reader.object("emailNotificationContext")
    if of_plan is not None:
        yield Part(names.path(OF_PLAN, _name(of_plan, "contextName")), of_plan.fields, of_plan.pointer)


def _name(reader: Reader, field: str) -> str:
    name = reader.fields.get(field)
    return name if isinstance(name, str) else "unnamed"


def assemble(parts: list[Part], documents: dict[str, bytes]) -> Bundle:
    """The bundle whose contexts and templates are these; raises ``WireError`` naming every flaw."""
    contexts = {part.path: part for part in parts if part.path.startswith("context/")}
    path, root = join_contexts({part.path: part.fields for part in contexts.values()})
    problems: list[WireProblem] = []
    templates = list(_templates([part for part in parts if part.path.startswith("jobs/")], problems))
    place = contexts[path]
    reader = Reader(root, problems, pointer=place.pointer, document=place.document)
    reader.required_text("name")
    plan, warnings, marked_by_tokens = read_plan(reader, templates)
    leads_on = any(_LEADS_ON.search(problem.pointer) for problem in problems)
    settings = read_notifications(parts, problems, warnings)
    plan = msgspec.structs.replace(plan, notifications=settings)
    if problems:
        raise WireError(list(_placed(problems, plan)), None if leads_on else plan)
    return Bundle(plan, documents, tuple(warnings), marked_by_tokens)


def read_notifications(
    parts: Iterable[Part], problems: list[WireProblem], warnings: list[Problem]
) -> NotificationSettings:
    """What the notifications among the parts say, in the order of their paths."""
    of_plan: list[Reader] = []
    of_jobs: list[Reader] = []
    for part in sorted(parts, key=lambda each: each.path):
        if is_notification_document(part.path):
            (of_plan if part.path.startswith(f"{OF_PLAN}/") else of_jobs).append(part.reader(problems))
    return read_settings(of_plan, of_jobs, warnings)


def _placed(problems: list[WireProblem], plan: JobPlan) -> Iterator[WireProblem]:
    """The flaws, each once, those of a job's template with the context that lists the job first."""
    contexts = {job.identifier: job.contexts[0] for job in plan.jobs if job.contexts}
    for problem in dict.fromkeys(problems):
        context = contexts.get(problem.job or "")
        known = context is None or problem.context is not None
        yield problem if known else msgspec.structs.replace(problem, context=context)


def _templates(parts: list[Part], problems: list[WireProblem]) -> Iterator[ReadTemplate]:
    kinds = [(part, part.kind()) for part in parts]
    command_templates = {
        _name(part.reader([]), "jobName"): part.fields
        for part, kind in kinds
        if kind is TemplateKind.COMMAND_TEMPLATE
    }
    seen: dict[str, list[ReadTemplate]] = {}
    for part, kind in kinds:
        reader = part.reader(problems)
        if kind is None:
            reader.flaw(
                "", "what kind of job this is cannot be told; put it into a folder like jobs/internal"
            )
        elif kind is not TemplateKind.COMMAND_TEMPLATE:
            template = _template(reader, kind, command_templates)
            same_identifier = seen.setdefault(template.job.identifier, [])
            if template not in same_identifier:
                same_identifier.append(template)
                yield template


def _template(reader: Reader, kind: TemplateKind, command_templates: dict[str, Fields]) -> ReadTemplate:
    job = read_job(reader, kind)
    if isinstance(job, CommandJob) and reader.text("templateName"):
        job = _from_template(job, reader, command_templates)
    called = (reader.text("identifier"), f"{reader.text('agentName')}-{reader.text('jobName')}")
    return ReadTemplate(job, tuple(name for name in dict.fromkeys(called) if name and name != job.identifier))


def _from_template(job: CommandJob, reader: Reader, templates: dict[str, Fields]) -> CommandJob:
    """The job with its template's command if it has none, each token replaced by a parameter's variable.

    The parameter joins those that the job declares, so that the agent is given its value.
    """
    names: dict[str, str] = {}
    for pair in reader.objects("replacementPairs"):
        token, name = pair.required_text("replacementToken"), pair.required_text("jobPlanParameterName")
        if name and not _VARIABLE.fullmatch(name):
            pair.flaw("jobPlanParameterName", f"{name[:80]!r} is no name that a shell takes for a variable")
        elif token and name:
            names[token] = name
    try:
        command = fill(job.command_line or _command_of_template(reader, templates), names, job.shell)
    except CannotFill as error:
        reader.flaw("replacementPairs", str(error))
        return job
    declared = {parameter.name for parameter in job.parameters}
    others = tuple(Parameter(name) for name in dict.fromkeys(names.values()) if name not in declared)
    return msgspec.structs.replace(job, command_line=command, parameters=(*job.parameters, *others))


def _command_of_template(reader: Reader, templates: dict[str, Fields]) -> str:
    name = reader.text("templateName")
    template = templates.get(name)
    if template is None:
        reader.flaw(
            "templateName", f"the bundle has no template {name[:80]!r}; add it to jobs/internalTemplate"
        )
        return ""
    command = template.get("commandLine")
    return command if isinstance(command, str) else ""


def templates_by_identifier(parts: list[Part]) -> dict[str, Part]:
    """The job templates among the parts by their jobs' identifiers; templates of commands are left out."""
    found: dict[str, Part] = {}
    for part in parts:
        kind = part.kind()
        if part.path.startswith("jobs/") and kind is not None and kind is not TemplateKind.COMMAND_TEMPLATE:
            found.setdefault(read_job(part.reader([]), kind).identifier, part)
    return found
