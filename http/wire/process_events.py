"""Process events, which agents send to a dashboard, from and to the JSON of the compatible services."""

from collections.abc import Callable

import msgspec

from ...domain.messages import Outcome, ProcessEvent
from .documents import Fields, Reader, Value, WireError, WireProblem, decode, encode, kind_of

MANUAL_FIRE = "(manual fire)"
"""What an agent writes into the group of a schedule that a person fired."""


class _PlainEvent(msgspec.Struct, frozen=True, rename="camel"):
    """The fields in their usual types, for decoding in one pass; anything else is read field by field."""

    agent_name: str
    job_name: str
    context_instance_id: str
    context_name: str | None = None
    id: str | int | None = None
    initiation_id: str | None = None
    child_context_names: list[str] | None = None
    job_starting: bool | None = None
    successful: bool | None = None
    outcome: Outcome | None = None
    return_code: int | None = None
    pid: int | None = None
    user: str | None = None
    agent_hostname: str | None = None
    job_group: str | None = None
    command_line: str | None = None
    fire_time: int | None = None
    next_fire_time: int | None = None
    completion_time: int | None = None
    result_output: str | None = None
    result_error: str | None = None
    execution_details: str | None = None
    skipped: bool | None = None
    dry_run: bool | None = None
    raised_due_to_failure_resubmission: bool | None = None
    killed: bool | None = None


_plain = msgspec.json.Decoder(_PlainEvent)
_INT64 = 2**63


def decode_process_event(raw: bytes) -> ProcessEvent:
    """The event in a request's body; raises ``WireError`` naming every field that is missing or wrong."""
    try:
        plain = _plain.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return process_event_in(decode(raw))
    if not (plain.agent_name and plain.job_name and plain.context_instance_id) or _has_large_number(plain):
        return process_event_in(decode(raw))
    group, manual = _group(plain.job_group)
    return ProcessEvent(
        agent=plain.agent_name,
        job=plain.job_name,
        instance_id=plain.context_instance_id,
        plan=plain.context_name or "",
        id=_event_id(plain.id),
        initiation_id=plain.initiation_id or None,
        contexts=tuple(plain.child_context_names) if plain.child_context_names else (),
        starting=plain.job_starting is True,
        successful=plain.successful is True,
        outcome=plain.outcome or Outcome.EXECUTION_INVOKED,
        return_code=plain.return_code,
        pid=plain.pid or None,
        user=plain.user or None,
        host=plain.agent_hostname or None,
        group=group,
        command_line=plain.command_line or None,
        fired_at=plain.fire_time or None,
        next_fire_at=plain.next_fire_time or None,
        completed_at=plain.completion_time or None,
        output_path=plain.result_output or None,
        error_path=plain.result_error or None,
        details=plain.execution_details or None,
        skipped=plain.skipped is True,
        dry_run=plain.dry_run is True,
        resubmitted=plain.raised_due_to_failure_resubmission is True,
        killed=plain.killed is True,
        manual=manual,
    )


def decode_process_events(raw: bytes) -> list[ProcessEvent]:
    """The events in a list; raises ``WireError`` naming every flaw of every event."""
    return _decode_list(raw, _read)


def decode_past_events(raw: bytes) -> list[ProcessEvent]:
    """As ``decode_process_events``, of processes that need not have been started for an instance."""
    return _decode_list(raw, _read_past)


def _decode_list(raw: bytes, read: Callable[[Reader], ProcessEvent]) -> list[ProcessEvent]:
    value = decode(raw)
    if not isinstance(value, list):
        raise WireError.of(f"give a list of process events, not {kind_of(value)}")
    problems: list[WireProblem] = []
    events = []
    for index, each in enumerate(value):
        if isinstance(each, Fields):
            events.append(read(Reader(each, problems, pointer=f"/{index}")))
        else:
            problems.append(WireProblem(f"/{index}", f"give a process event, not {kind_of(each)}"))
    if problems:
        raise WireError(problems)
    return events


def process_event_in(value: Value) -> ProcessEvent:
    """The event in a JSON value without type wrappers; raises ``WireError``."""
    if not isinstance(value, Fields):
        raise WireError.of(f"give a process event, which is a JSON object, not {kind_of(value)}")
    problems: list[WireProblem] = []
    event = _read(Reader(value, problems))
    if problems:
        raise WireError(problems)
    return event


def _read(reader: Reader) -> ProcessEvent:
    return _of_instance(reader, reader.required_text("contextInstanceId"))


def _read_past(reader: Reader) -> ProcessEvent:
    return _of_instance(reader, reader.text("contextInstanceId"))


def _of_instance(reader: Reader, instance_id: str) -> ProcessEvent:
    group, manual = _group(reader.optional_text("jobGroup"))
    return ProcessEvent(
        agent=reader.required_text("agentName"),
        job=reader.required_text("jobName"),
        instance_id=instance_id,
        plan=reader.text("contextName"),
        id=read_event_id(reader, "id"),
        initiation_id=reader.optional_text("initiationId"),
        contexts=reader.texts("childContextNames"),
        starting=reader.flag("jobStarting"),
        successful=reader.flag("successful"),
        outcome=_outcome(reader),
        return_code=reader.optional_integer("returnCode"),
        pid=reader.integer("pid") or None,
        user=reader.optional_text("user"),
        host=reader.optional_text("agentHostname"),
        group=group,
        command_line=reader.optional_text("commandLine"),
        fired_at=reader.instant("fireTime"),
        next_fire_at=reader.instant("nextFireTime"),
        completed_at=reader.instant("completionTime"),
        output_path=reader.optional_text("resultOutput"),
        error_path=reader.optional_text("resultError"),
        details=reader.optional_text("executionDetails"),
        skipped=reader.flag("skipped"),
        dry_run=reader.flag("dryRun"),
        resubmitted=reader.flag("raisedDueToFailureResubmission"),
        killed=reader.flag("killed"),
        manual=manual,
    )


def encode_process_event(event: ProcessEvent) -> bytes:
    """The event as a request's body."""
    return encode(process_event_fields(event))


def process_event_fields(event: ProcessEvent) -> dict[str, object]:
    """The event as a JSON object in the wire's words."""
    return {
        "id": event.id,
        "initiationId": event.initiation_id,
        "agentName": event.agent,
        "agentHostname": event.host,
        "jobName": event.job,
        "jobGroup": _wire_group(event),
        "commandLine": event.command_line,
        "returnCode": event.return_code,
        "successful": event.successful,
        "outcome": event.outcome.value,
        "resultOutput": event.output_path,
        "resultError": event.error_path,
        "pid": event.pid or 0,
        "user": event.user,
        "fireTime": event.fired_at or 0,
        "nextFireTime": event.next_fire_at or 0,
        "completionTime": event.completed_at or 0,
        "contextName": event.plan,
        "childContextNames": list(event.contexts),
        "contextInstanceId": event.instance_id,
        "jobStarting": event.starting,
        "dryRun": event.dry_run,
        "skipped": event.skipped,
        "killed": event.killed,
        "raisedDueToFailureResubmission": event.resubmitted,
        "executionDetails": event.details,
    }


def read_event_id(reader: Reader, name: str) -> str | None:
    """An event's id, which is a text or a number; 0 and nothing mean that the sender gave none."""
    value = reader.fields.get(name)
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return _event_id(value)
    reader.flaw(name, f"give a text or a whole number, not {kind_of(value)}")
    return None


def _event_id(value: str | int | None) -> str | None:
    return None if value in (None, "", 0) else str(value)


def _outcome(reader: Reader) -> Outcome:
    text = reader.text("outcome")
    if not text:
        return Outcome.EXECUTION_INVOKED
    try:
        return Outcome(text)
    except ValueError:
        reader.flaw("outcome", f"{text[:80]!r} is no outcome; give one of {', '.join(Outcome)}")
        return Outcome.EXECUTION_INVOKED


def _group(text: str | None) -> tuple[str | None, bool]:
    if text is None or MANUAL_FIRE not in text:
        return text or None, False
    return text.replace(MANUAL_FIRE, "").strip() or None, True


def _wire_group(event: ProcessEvent) -> str | None:
    if not event.manual:
        return event.group
    return f"{event.group} {MANUAL_FIRE}" if event.group else MANUAL_FIRE


def _has_large_number(plain: _PlainEvent) -> bool:
    numbers = (plain.return_code, plain.pid, plain.fire_time, plain.next_fire_time, plain.completion_time)
    return any(number is not None and not -_INT64 <= number < _INT64 for number in numbers)
