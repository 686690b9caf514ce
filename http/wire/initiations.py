"""Initiations, which a dashboard sends to an agent, from and to the JSON of the compatible services."""

from ...domain.messages import Catalyst, DryRun, Initiation
from ...domain.plan import CommandJob, EventKind, Parameter
from .documents import Fields, Reader, Value, WireError, WireProblem, decode, encode, kind_of
from .job_templates import JsonObject, TemplateKind, job_template_fields, read_job, read_parameters
from .process_events import read_event_id


def decode_initiation(raw: bytes, *, otherwise_id: str | None = None) -> Initiation:
    """The initiation in a request's body; raises ``WireError`` naming every field that is missing or wrong.

    Dashboards other than ours send no ``initiationId``; the initiation then gets ``otherwise_id``, which must
    be new for each request, for to such a dashboard each request is an order of its own.
    """
    return initiation_in(decode(raw), otherwise_id=otherwise_id)


def initiation_in(value: Value, *, otherwise_id: str | None = None) -> Initiation:
    """The initiation in a JSON value without type wrappers; raises ``WireError``."""
    if not isinstance(value, Fields):
        raise WireError.of(f"give an initiation, which is a JSON object, not {kind_of(value)}")
    problems: list[WireProblem] = []
    reader = Reader(value, problems)
    initiation = _read(reader, otherwise_id)
    if problems:
        raise WireError(problems)
    return initiation


def _read(reader: Reader, otherwise_id: str | None) -> Initiation:
    identity = reader.optional_text("initiationId") or otherwise_id or reader.required_text("initiationId")
    agent = reader.required_text("agentName")
    job = reader.required_text("jobName")
    values = read_parameters(reader, "contextParameters")
    return Initiation(
        id=identity,
        agent=agent,
        job=job,
        plan=reader.required_text("contextName"),
        instance_id=reader.required_text("contextInstanceId"),
        contexts=reader.texts("childContextNames"),
        parameters={each.name: each.value for each in values if each.value is not None},
        secrets=reader.texts("secretParameters"),
        template=_template(reader, agent, job),
        catalyst=_catalyst(reader.object("catalystEvent")),
        skipped=reader.flag("skipped"),
        dry_run=_dry_run(reader),
    )


def _template(reader: Reader, agent: str, job: str) -> CommandJob | None:
    inner = reader.object("internalEventDrivenJob")
    if inner is None:
        return None
    inner.fields["agentName"] = inner.fields.get("agentName") or agent
    inner.fields["jobName"] = inner.fields.get("jobName") or job
    template = read_job(inner, TemplateKind.COMMAND)
    return template if isinstance(template, CommandJob) else None


def _catalyst(reader: Reader | None) -> Catalyst | None:
    if reader is None:
        return None
    agent, job = reader.text("agentName"), reader.text("jobName")
    return Catalyst(
        job=reader.text("jobIdentifier") or f"{agent}-{job}",
        event_id=read_event_id(reader, "id"),
        return_code=reader.optional_integer("returnCode"),
        output_path=reader.optional_text("resultOutput"),
    )


def _dry_run(reader: Reader) -> DryRun | None:
    if not reader.flag("dryRun"):
        return None
    parameters = reader.object("dryRunParameters")
    return DryRun() if parameters is None else read_dry_run(parameters)


def read_dry_run(reader: Reader) -> DryRun:
    """How to pretend, from ``dryRunParameters``."""
    return DryRun(
        fixed_ms=reader.integer("fixedExecutionTimeMillis") or None,
        min_ms=reader.integer("minExecutionTimeMillis"),
        max_ms=reader.integer("maxExecutionTimeMillis"),
        error_percentage=reader.number("jobErrorPercentage"),
        error=reader.flag("error"),
    )


def encode_initiation(initiation: Initiation, *, agent_url: str = "") -> bytes:
    """The initiation as a request's body."""
    return encode(initiation_fields(initiation, agent_url=agent_url))


def initiation_fields(initiation: Initiation, *, agent_url: str = "") -> JsonObject:
    """The initiation as a JSON object in the wire's words."""
    return {
        "initiationId": initiation.id,
        "agentName": initiation.agent,
        "agentUrl": agent_url or None,
        "jobName": initiation.job,
        "contextName": initiation.plan,
        "childContextNames": list(initiation.contexts),
        "contextInstanceId": initiation.instance_id,
        "contextParameters": _parameter_fields(initiation),
        **({"secretParameters": list(initiation.secrets)} if initiation.secrets else {}),
        "internalEventDrivenJob": _template_fields(initiation),
        "catalystEvent": _catalyst_fields(initiation),
        "dryRun": initiation.dry_run is not None,
        "dryRunParameters": _dry_run_fields(initiation.dry_run),
        "skipped": initiation.skipped,
    }


def _parameter_fields(initiation: Initiation) -> list[JsonObject]:
    declared: tuple[Parameter, ...] = () if initiation.template is None else initiation.template.parameters
    defaults = {parameter.name: parameter.default for parameter in declared}
    return [
        {"name": name, "defaultValue": defaults.get(name), "value": value}
        for name, value in initiation.parameters.items()
    ]


def _template_fields(initiation: Initiation) -> JsonObject | None:
    if initiation.template is None:
        return None
    return job_template_fields(initiation.template, initiation.plan) | {
        "contextInstanceId": initiation.instance_id,
        "childContextName": initiation.contexts[0] if initiation.contexts else None,
        "held": False,
        "skip": initiation.skipped,
        "initiationEventRaised": True,
        "status": "SKIPPED" if initiation.skipped else "WAITING",
        "errorAcknowledged": False,
        "killed": False,
    }


def _catalyst_fields(initiation: Initiation) -> JsonObject | None:
    catalyst = initiation.catalyst
    if catalyst is None:
        return None
    agent, job = _agent_and_job(catalyst.job, initiation.agent)
    return {
        "id": catalyst.event_id,
        "agentName": agent,
        "jobName": job,
        "jobIdentifier": catalyst.job,
        "contextName": initiation.plan,
        "contextInstanceId": initiation.instance_id,
        "returnCode": catalyst.return_code,
        "resultOutput": catalyst.output_path,
        "successful": True,
        "jobStarting": False,
    }


def _agent_and_job(identifier: str, agent: str) -> tuple[str, str]:
    """The two parts of an identifier; where more than one split would do, the most likely."""
    for prefix in (agent, *EventKind):
        if identifier.startswith(f"{prefix}-"):
            return prefix, identifier.removeprefix(f"{prefix}-")
    first, _, last = identifier.rpartition("-")
    return first, last


def _dry_run_fields(dry_run: DryRun | None) -> JsonObject | None:
    if dry_run is None:
        return None
    return {
        "fixedExecutionTimeMillis": dry_run.fixed_ms or 0,
        "minExecutionTimeMillis": dry_run.min_ms,
        "maxExecutionTimeMillis": dry_run.max_ms,
        "jobErrorPercentage": dry_run.error_percentage,
        "error": dry_run.error,
    }
