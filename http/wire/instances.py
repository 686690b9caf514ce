"""Plan instances as agents are told of them, from and to the JSON of the compatible services."""

from collections.abc import Iterable, Mapping

import msgspec

from ...domain.messages import PublishedInstance
from ...domain.plan import Context, Job, JobIdentifier, JobPlan, ListedJob, Parameter
from .documents import Reader, WireError, WireProblem, decode_object, encode
from .job_templates import JsonObject, parameter_fields, read_parameters
from .plans import MAX_CONTEXTS_DEEP, context_fields, plan_fields, schedules_disabled

_PREPARED = "PREPARED"


def decode_instance(raw: bytes, *, otherwise_id: str | None = None) -> PublishedInstance:
    """The instance in a request's body; raises ``WireError`` naming every flaw.

    ``otherwise_id`` is taken where the document has no id of its own.
    """
    problems: list[WireProblem] = []
    instance = _read(Reader(decode_object(raw), problems), otherwise_id)
    if problems:
        raise WireError(problems)
    return instance


def decode_instances(raw: bytes) -> tuple[PublishedInstance, ...]:
    """The instances in a map ``{instance id: instance}``, which a dashboard answers to an agent that starts.

    Those that are only prepared are left out: nothing may fire for them yet. Raises ``WireError``.
    """
    problems: list[WireProblem] = []
    by_id = Reader(decode_object(raw), problems)
    found = []
    for instance_id in by_id.fields:
        reader = by_id.object(instance_id)
        if reader is not None and reader.fields.get("status") != _PREPARED:
            found.append(_read(reader, instance_id))
    if problems:
        raise WireError(problems)
    return tuple(found)


def _read(reader: Reader, otherwise_id: str | None) -> PublishedInstance:
    standings: dict[JobIdentifier, dict[str, None]] = {}
    _collect(reader, standings, depth=1)
    parameters = read_parameters(reader, "contextParameters")
    return PublishedInstance(
        instance_id=reader.optional_text("id") or otherwise_id or reader.required_text("id"),
        plan=reader.required_text("name"),
        jobs=tuple(standings),
        contexts={job: tuple(names) for job, names in standings.items()},
        parameters={each.name: each.value for each in parameters if each.value is not None},
        started_at=reader.instant("startTime") or 0,
        ends_at=None if reader.flag("runContextUntilManuallyEnded") else reader.instant("projectedEndTime"),
        schedules_disabled=schedules_disabled(reader),
    )


def _collect(reader: Reader, standings: dict[JobIdentifier, dict[str, None]], depth: int) -> None:
    context = reader.text("name")
    for job in reader.objects("scheduledJobs"):
        agent, name = job.text("agentName"), job.text("jobName")
        identifier = f"{agent}-{name}" if agent and name else job.required_text("identifier")
        standings.setdefault(identifier, {})[context] = None
    if depth > MAX_CONTEXTS_DEEP:
        reader.flaw("", f"contexts are nested more than {MAX_CONTEXTS_DEEP} deep")
        return
    for child in reader.objects("contexts"):
        _collect(child, standings, depth + 1)


def encode_instance(instance: PublishedInstance, plan: JobPlan) -> bytes:
    """The instance of the plan as a request's body."""
    return encode(instance_fields(instance, plan))


def encode_instances(instances: Iterable[tuple[PublishedInstance, JobPlan]]) -> bytes:
    """Instances, each with its plan, as ``{instance id: instance}``."""
    return encode({instance.instance_id: instance_fields(instance, plan) for instance, plan in instances})


def instance_fields(instance: PublishedInstance, plan: JobPlan) -> JsonObject:
    """The instance as a JSON object: its plan's tree with the jobs that it has, as job instances."""
    templates = {job.identifier: job for job in plan.jobs}
    return plan_fields(plan) | {
        **_own_fields(plan.root, instance, templates),
        "projectedEndTime": instance.ends_at or 0,
        "runContextUntilManuallyEnded": instance.ends_at is None,
        "quartzScheduleDrivenJobsDisabledForContext": instance.schedules_disabled,
        "contextParameters": _parameter_fields(instance, plan),
        "heldJobs": {},
    }


def _own_fields(
    context: Context, instance: PublishedInstance, templates: Mapping[JobIdentifier, Job]
) -> JsonObject:
    """What an instance of a context has instead of, or beside, what the context has."""
    is_root = context.name == instance.plan
    return {
        "id": instance.instance_id if is_root else f"{instance.instance_id}-{context.name}",
        "status": "WAITING",
        "createdDateTime": instance.started_at,
        "updatedDateTime": instance.started_at,
        "startTime": instance.started_at,
        "endTime": 0,
        "contexts": [
            context_fields(child, templates) | _own_fields(child, instance, templates)
            for child in context.contexts
        ],
        "scheduledJobs": [
            _job_fields(job, context.name, instance, templates.get(job.identifier))
            for job in context.jobs
            if job.identifier in instance.contexts
        ],
    }


def _job_fields(
    listed: ListedJob, context: str, instance: PublishedInstance, template: Job | None
) -> JsonObject:
    return {
        "identifier": listed.identifier,
        "agentName": listed.agent,
        "jobName": listed.name,
        "jobDescription": listed.description or None,
        "startupControlType": "AUTOMATIC" if template is None else template.startup.value,
        "contextName": instance.plan,
        "childContextName": context,
        "childContextNames": list(instance.contexts[listed.identifier]),
        "contextInstanceId": instance.instance_id,
        "held": template is not None and context in template.held_in,
        "skip": template is not None and context in template.skipped_in,
        "initiationEventRaised": False,
        "status": "WAITING",
        "scheduledProcessEvent": None,
        "errorAcknowledged": False,
    }


def _parameter_fields(instance: PublishedInstance, plan: JobPlan) -> list[JsonObject]:
    defaults = {parameter.name: parameter.default for parameter in plan.root.parameters}
    unset = [parameter for parameter in plan.root.parameters if parameter.name not in instance.parameters]
    given = [Parameter(name, defaults.get(name), value) for name, value in instance.parameters.items()]
    return parameter_fields((*given, *(msgspec.structs.replace(each, value=None) for each in unset)))
