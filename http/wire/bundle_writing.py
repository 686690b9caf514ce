"""The documents that a plan is written as, with what its earlier documents held beside what is known here."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from ...domain.notification_settings import OF_PLAN, NotificationSettings, is_notification_document
from ...domain.plan import Context, Dependency, EventJob, JobPlan
from ...domain.problems import Place, Problem
from .bundle_documents import Bundle, assemble, parts_in, templates_by_identifier
from .documents import Fields, Value, WireError, decode, encode_readably, unwrapped
from .file_names import ENVIRONMENT_SUFFIX, FileNames, file_name
from .job_templates import JsonObject, TemplateKind, job_template_fields, kind_of_event, kind_of_job
from .notification_settings import settings_documents
from .plans import plan_fields
from .split_contexts import join_contexts
from .tokens import AGENT


def new_documents(plan: JobPlan) -> dict[str, bytes]:
    """The documents of a plan that came without any."""
    names = FileNames()
    documents = {names.path("context", plan.name): encode_readably(plan_fields(plan))}
    for job in plan.jobs:
        path = names.path(f"jobs/{kind_of_job(job)}", job.name)
        documents[path] = encode_readably(job_template_fields(job, plan.name))
    return documents | settings_documents(plan.notifications, plan.name, names)


def documents_for(plan: JobPlan, documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The documents of a plan that came with these: the same if they still make this plan.

    Otherwise the fields that differ are changed in them, and all others are left as they are. Raises
    ``WireError`` when the documents cannot be read.
    """
    given = dict(documents)
    if not any(path.startswith("context/") for path in given):
        return given | new_documents(plan)
    before = assemble(parts_in(given), given).plan
    if before == plan:
        return given
    if before.notifications != plan.notifications:
        given = {path: content for path, content in given.items() if not is_notification_document(path)}
        given |= settings_documents(plan.notifications, plan.name, FileNames())
    for whole_contexts in (False, True):
        changed = _changed(before, plan, given, whole_contexts=whole_contexts)
        if assemble(parts_in(changed), changed).plan == plan:
            return changed
    anew = msgspec.structs.replace(plan, notifications=NotificationSettings())
    others = {path: content for path, content in given.items() if not path.startswith(("context/", "jobs/"))}
    return others | new_documents(anew)


def _changed(
    before: JobPlan, after: JobPlan, documents: dict[str, bytes], *, whole_contexts: bool
) -> dict[str, bytes]:
    """The documents with what became different set in them.

    Documents may call jobs by old identifiers. Where one of those goes, contexts are made to say all that is
    known of them, changed or not.
    """
    parts = parts_in(documents)
    contexts = {part.path: part.fields for part in parts if part.path.startswith("context/")}
    root_path, root = join_contexts(contexts)
    templates = templates_by_identifier(parts)
    rewritten = {*contexts, *(part.path for part in templates.values())}
    names = FileNames()
    for path in documents:
        names.reserve(path)
    changed = {path: content for path, content in documents.items() if path not in rewritten}
    _overlay_context(root, None if whole_contexts else plan_fields(before), plan_fields(after))
    changed[root_path] = encode_readably(root)
    old = {job.identifier: job_template_fields(job, before.name) for job in before.jobs}
    for job in after.jobs:
        fields = job_template_fields(job, after.name)
        part = templates.get(job.identifier)
        if part is None or part.kind() is not kind_of_job(job):
            changed[names.path(f"jobs/{kind_of_job(job)}", job.name)] = encode_readably(fields)
        else:
            _overlay(part.fields, old.get(job.identifier, {}), fields)
            changed[part.path] = encode_readably(part.fields)
    return changed


def _overlay(original: Fields, before: Mapping[str, object], after: Mapping[str, object]) -> None:
    """Set the fields that became different; those of a command's template go when the command does."""
    for name, value in after.items():
        if name not in before or before[name] != value:
            original[name] = unwrapped(value)
            if name == "commandLine":
                original.pop("templateName", None)
                original.pop("replacementPairs", None)


def _overlay_context(original: Fields, before: JsonObject | None, after: JsonObject) -> None:
    """Set the fields that became different, or all where nothing is said of before."""
    lists = ("contexts", "scheduledJobs")
    for name, key in zip(lists, ("name", "identifier"), strict=True):
        originals = {fields.get(key): fields for fields in _objects(original.get(name))}
        befores = {fields.get(key): fields for fields in _objects(unwrapped((before or {}).get(name)))}
        merged: list[Value] = []
        for fields in _objects(unwrapped(after[name])):
            own, old = originals.get(fields[key]), befores.get(fields[key])
            if own is None or (old is None and before is not None):
                merged.append(fields)
                continue
            if name == "contexts":
                _overlay_context(own, None if old is None else dict(old), dict(fields))
            else:
                _overlay(own, old or {}, dict(fields))
            merged.append(own)
        original[name] = merged
    rest = {name: value for name, value in after.items() if name not in lists}
    _overlay(original, before or {}, rest)


def _objects(value: Value) -> list[Fields]:
    return [each for each in value if isinstance(each, Fields)] if isinstance(value, list) else []


def without_self_dependencies(bundle: Bundle) -> Bundle:
    """A bundle without dependencies of jobs on themselves alone, told of in warnings.

    Older exports with tokens are damaged so: they name one job wherever a grouping named any.
    """
    warnings: list[Problem] = []
    root = _without_self_dependencies(bundle.plan.root, "/root", warnings)
    if not warnings:
        return bundle
    plan = msgspec.structs.replace(bundle.plan, root=root)
    return replace(
        bundle,
        plan=plan,
        documents=documents_for(plan, bundle.documents),
        warnings=(*bundle.warnings, *warnings),
    )


def _without_self_dependencies(context: Context, pointer: str, warnings: list[Problem]) -> Context:
    dependencies = []
    for index, dependency in enumerate(context.dependencies):
        if dependency.grouping is None or set(dependency.grouping.identifiers()) != {dependency.dependant}:
            dependencies.append(dependency)
        else:
            dependencies.append(Dependency(dependency.dependant))
            warnings.append(
                Place(context.name, dependency.dependant).warning(
                    "it depended on itself alone, as damaged exports with tokens have it; it now starts from "
                    "outside, give it what it depends on",
                    f"{pointer}/dependencies/{index}",
                )
            )
    return msgspec.structs.replace(
        context,
        dependencies=tuple(dependencies),
        contexts=tuple(
            _without_self_dependencies(child, f"{pointer}/contexts/{index}", warnings)
            for index, child in enumerate(context.contexts)
        ),
    )


def tokenised_documents(plan: JobPlan, documents: Mapping[str, bytes]) -> dict[str, bytes]:
    """A plan's documents with tokens for its agents and its environment, to be filled in when it is pushed.

    Templates of commands stay as they are: they are of no agent and no plan. Raises ``WireError`` when jobs
    of two agents would become one.
    """
    _refuse_collisions(plan)
    tokens = _Tokens(plan)
    return {
        tokens.path(path): tokens.document(content) if _takes_tokens(path) else content
        for path, content in documents_for(plan, documents).items()
    }


def _takes_tokens(path: str) -> bool:
    return path.endswith(".json") and not path.startswith(f"jobs/{TemplateKind.COMMAND_TEMPLATE}/")


def _refuse_collisions(plan: JobPlan) -> None:
    by_name: dict[str, str] = {}
    for job in plan.jobs:
        if not isinstance(job, EventJob):
            other = by_name.setdefault(job.name, job.agent)
            if other != job.agent:
                raise WireError.of(
                    f"agents {other!r} and {job.agent!r} both have a job {job.name!r}, "
                    "which one token for both would make one job; rename one"
                )


class _Tokens:
    """Puts tokens where a document names an agent, a job or the plan."""

    _JOBS = ("identifier", "jobIdentifier")
    _PLANS = ("contextName", "defaultContext", "childContextName")
    _KEYED_BY_CONTEXT = ("skippedContexts", "heldContexts", "jobs")

    def __init__(self, plan: JobPlan) -> None:
        self._plan = plan.name
        base, underscore, _ = plan.name.rpartition("_")
        self._plan_token = f"{base if underscore else plan.name}{ENVIRONMENT_SUFFIX}"
        listed = [job for context in plan.root.walk() for job in context.jobs]
        self._jobs = {
            job.identifier: f"{AGENT}-{job.name}"
            for job in (*plan.jobs, *listed)
            if kind_of_event(job.agent) is None
        }

    def path(self, path: str) -> str:
        """The path, with the environment left out where it names the plan."""
        folder, _, rest = path.partition("/")
        if folder not in {"context", OF_PLAN}:
            return path
        old, new = file_name(self._plan), file_name(self._plan_token)
        first, slash, below = rest.partition("/")
        return (
            f"{folder}/{new}{slash}{below}"
            if first == old
            else path.replace(f"/{old}.json", f"/{new}.json", 1)
        )

    def document(self, content: bytes) -> bytes:
        """The document with tokens."""
        return encode_readably(self._value("", decode(content), is_root=True))

    def _value(self, key: str, value: Value, *, is_root: bool = False) -> Value:
        match value:
            case str():
                return self._text(key, value)
            case list():
                return [self._value(key, each) for each in value]
            case dict():
                renamed = Fields()
                for name, inner in value.items():
                    name_of_plan = key in self._KEYED_BY_CONTEXT and name == self._plan
                    renamed[self._plan_token if name_of_plan else name] = self._value(name, inner)
                if is_root and renamed.get("name") == self._plan:
                    renamed["name"] = self._plan_token
                return renamed
            case _:
                return value

    def _text(self, key: str, text: str) -> str:
        if key == "agentName":
            return AGENT if kind_of_event(text) is None else text
        if key in self._JOBS or key in {"and", "or", "not"}:
            return self._jobs.get(text, text)
        if key in self._PLANS or key in {"childContextNames", "subContexts"}:
            return self._plan_token if text == self._plan else text
        return text
