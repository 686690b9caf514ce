"""Job templates from and to JSON: what a job is, as bundles, provisioning and initiations carry it."""

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeAlias, TypedDict

from ...domain.instants import Instant
from ...domain.plan import (
    CommandJob,
    EventJob,
    EventKind,
    FileJob,
    Job,
    Parameter,
    ScheduleJob,
    StartupControl,
    Trigger,
)
from .documents import Fields, Reader

JsonObject: TypeAlias = dict[str, object]


class TemplateKind(StrEnum):
    """The kinds of job template; the value is the folder in a bundle."""

    COMMAND = "internal"
    COMMAND_TEMPLATE = "internalTemplate"
    SCHEDULE = "quartz"
    FILE = "file"
    GLOBAL = "global"
    LOCAL = "local"
    START = "start"
    TERMINAL = "terminal"
    BRIDGING = "bridging"


_EVENT_KINDS = {
    TemplateKind.GLOBAL: EventKind.GLOBAL,
    TemplateKind.LOCAL: EventKind.LOCAL,
    TemplateKind.START: EventKind.START,
    TemplateKind.TERMINAL: EventKind.TERMINAL,
    TemplateKind.BRIDGING: EventKind.BRIDGING,
}
_KIND_OF_EVENT = {event: kind for kind, event in _EVENT_KINDS.items()}
_JAVA_NAMES = {
    "FileEventDrivenJob": TemplateKind.FILE,
    "QuartzScheduleDrivenJob": TemplateKind.SCHEDULE,
    "InternalEventDrivenJob": TemplateKind.COMMAND,
    "GlobalEventJob": TemplateKind.GLOBAL,
    "LocalEventJob": TemplateKind.LOCAL,
    "ContextStartJob": TemplateKind.START,
    "ContextTerminalJob": TemplateKind.TERMINAL,
    "BridgingJob": TemplateKind.BRIDGING,
}
_TELLING_FIELDS = (
    (TemplateKind.FILE, ("filenames", "filePath", "moveDirectory", "directoryDepth", "minFileAgeSeconds")),
    (TemplateKind.COMMAND, ("commandLine", "successfulReturnCodes", "jobRepeatable", "minExecutionTime")),
    (TemplateKind.SCHEDULE, ("cronExpression", "recoveryTolerance", "passthroughProperties")),
)


def kind_of_event(agent: str) -> EventKind | None:
    """The kind of event job that is known by this ``agentName``, or ``None`` for the name of an agent."""
    try:
        return EventKind(agent)
    except ValueError:
        return None


def template_kind(fields: Fields) -> TemplateKind | None:
    """The kind of a template: by its Java class, else by its agent's name, else by its fields."""
    kind = _kind_by_java_class(fields)
    agent = fields.get("agentName")
    if kind is None and isinstance(agent, str) and (event := kind_of_event(agent)) is not None:
        kind = _KIND_OF_EVENT[event]
    if kind is None:
        kind = _kind_by_fields(fields)
    if kind is TemplateKind.COMMAND and fields.get("templateJob") is True:
        return TemplateKind.COMMAND_TEMPLATE
    return kind


def _kind_by_java_class(fields: Fields) -> TemplateKind | None:
    for java_class in (fields.java_type, fields.get("class")):
        if isinstance(java_class, str):
            simple_name = java_class.rpartition(".")[2]
            for name, kind in _JAVA_NAMES.items():
                if name in simple_name:
                    return kind
    return None


def _kind_by_fields(fields: Fields) -> TemplateKind | None:
    for kind, names in _TELLING_FIELDS:
        if any(fields.get(name) is not None for name in names):
            return kind
    for kind, names in _TELLING_FIELDS:
        if any(name in fields for name in names):
            return kind
    return None


class _Common(TypedDict):
    agent: str
    name: str
    description: str
    display_name: str
    contexts: tuple[str, ...]
    startup: StartupControl
    held_in: tuple[str, ...]
    skipped_in: tuple[str, ...]


def read_job(reader: Reader, kind: TemplateKind) -> Job:
    """The job that a template of that kind describes."""
    common = _common(reader)
    event = _EVENT_KINDS.get(kind)
    if event is not None:
        common["agent"] = event.value
        return EventJob(kind=event, **common)
    if kind is TemplateKind.SCHEDULE:
        return ScheduleJob(trigger=_trigger(reader), **common)
    if kind is TemplateKind.FILE:
        return _file_job(reader, common)
    return _command_job(reader, common)


def _common(reader: Reader) -> _Common:
    return {
        "agent": reader.text("agentName"),
        "name": reader.text("jobName"),
        "description": reader.text("jobDescription"),
        "display_name": reader.text("displayName"),
        "contexts": reader.texts("childContextNames"),
        "startup": _startup(reader),
        "held_in": reader.names_that_are_true("heldContexts"),
        "skipped_in": reader.names_that_are_true("skippedContexts"),
    }


def _startup(reader: Reader) -> StartupControl:
    text = reader.text("startupControlType") or StartupControl.AUTOMATIC
    try:
        return StartupControl(text)
    except ValueError:
        reader.flaw("startupControlType", f"{text[:80]!r} is none of {', '.join(StartupControl)}")
        return StartupControl.AUTOMATIC


def _command_job(reader: Reader, common: _Common) -> CommandJob:
    return CommandJob(
        command_line=reader.text("commandLine"),
        working_directory=reader.optional_text("workingDirectory"),
        successful_return_codes=_return_codes(reader),
        min_execution_minutes=_minutes(reader, "minExecutionTime"),
        max_execution_minutes=_minutes(reader, "maxExecutionTime"),
        timeout_minutes=_minutes(reader, "timeoutMinutes"),
        parameters=read_parameters(reader, "contextParameters"),
        days_of_week=_days(reader),
        target_residing_context_only=reader.flag("targetResidingContextOnly"),
        participates_in_lock=reader.flag("participatesInLock"),
        repeatable=reader.flag("jobRepeatable"),
        shell=reader.optional_text("executionEnvironmentProperties"),
        **common,
    )


def _minutes(reader: Reader, name: str) -> int | None:
    minutes = reader.optional_integer(name)
    return None if minutes is None or minutes < 0 else minutes


def _return_codes(reader: Reader) -> tuple[int, ...]:
    codes = []
    for index, value in enumerate(reader.items("successfulReturnCodes")):
        code = _whole_number(value)
        if code is None:
            reader.flaw_at("successfulReturnCodes", index, "a return code is a whole number, such as 0")
        else:
            codes.append(code)
    return tuple(codes)


def _days(reader: Reader) -> tuple[int, ...]:
    days = []
    for index, value in enumerate(reader.items("daysOfWeekToRun")):
        day = _whole_number(value)
        if day is None or not 1 <= day <= 7:
            reader.flaw_at("daysOfWeekToRun", index, "a day is a number from 1 (Sunday) to 7 (Saturday)")
        else:
            days.append(day)
    return tuple(days)


def _whole_number(value: object) -> int | None:
    """A number of up to nine digits that may be written as text."""
    match value:
        case bool():
            return None
        case int() if abs(value) < 10**9:
            return value
        case str() if value.strip().lstrip("+-").isdecimal() and len(value.strip()) < 10:
            digits = value.strip()
            return int(digits) if digits.lstrip("+-") in (digits, digits[1:]) else None
        case _:
            return None


def _file_job(reader: Reader, common: _Common) -> FileJob:
    return FileJob(
        trigger=_trigger(reader),
        file_path=reader.optional_text("filePath"),
        filenames=reader.texts("filenames"),
        move_directory=reader.optional_text("moveDirectory"),
        encoding=reader.optional_text("encoding"),
        min_file_age_seconds=reader.integer("minFileAgeSeconds"),
        directory_depth=reader.integer("directoryDepth", 1),
        include_header=reader.flag("includeHeader"),
        include_trailer=reader.flag("includeTrailer"),
        sort_by_modified=reader.flag("sortByModifiedDateTime"),
        sort_ascending=reader.flag("sortAscending", default=True),
        log_matched_filenames=reader.flag("logMatchedFilenames"),
        ignore_rename_whilst_scanning=reader.flag("ignoreFileRenameWhilstScanning", default=True),
        sla_cron=reader.optional_text("slaCronExpression"),
        **common,
    )


def _trigger(reader: Reader) -> Trigger:
    properties = reader.object("passthroughProperties")
    passthrough = {} if properties is None else {key: properties.text(key) for key in properties.fields}
    return Trigger(
        cron=reader.optional_text("cronExpression"),
        zone=reader.optional_text("timeZone"),
        group=reader.optional_text("jobGroup"),
        ignore_misfire=reader.flag("ignoreMisfire", default=True),
        eager=reader.flag("eager"),
        max_eager_callbacks=reader.integer("maxEagerCallbacks"),
        persistent_recovery=reader.flag("persistentRecovery", default=True),
        recovery_tolerance_ms=reader.integer("recoveryTolerance", 30 * 60 * 1000),
        passthrough=passthrough,
        blackout_expressions=reader.texts("blackoutWindowCronExpressions"),
        blackout_ranges=read_ranges(reader, "blackoutWindowDateTimeRanges"),
        drop_event_on_blackout=reader.flag("dropEventOnBlackout"),
    )


def read_parameters(reader: Reader, name: str) -> tuple[Parameter, ...]:
    """The parameters in a list of ``{name, defaultValue, value}``."""
    return tuple(
        Parameter(
            name=each.required_text("name"),
            default=_text_or_none(each, "defaultValue"),
            value=_text_or_none(each, "value"),
        )
        for each in reader.objects(name)
    )


def _text_or_none(reader: Reader, name: str) -> str | None:
    return None if reader.fields.get(name) is None else reader.text(name)


def read_ranges(reader: Reader, name: str) -> tuple[tuple[Instant, Instant], ...]:
    """The ranges in a map of ``{from: to}``, both milliseconds since the epoch, as numbers or texts."""
    ranges = []
    inner = reader.object(name)
    for key, value in ({} if inner is None else inner.fields).items():
        start, end = _milliseconds(key), _milliseconds(value)
        if start is None or end is None:
            reader.flaw_at(name, key, "a range is {from: to}, both milliseconds since the epoch")
        else:
            ranges.append((start, end))
    return tuple(ranges)


def _milliseconds(value: object) -> Instant | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 19:
        return int(value)
    return None


def job_template_fields(job: Job, plan: str) -> JsonObject:
    """The job as a template in the wire's words; ``plan`` is the name of the plan that it belongs to."""
    fields: JsonObject = {
        "agentName": job.agent,
        "jobName": job.name,
        "displayName": job.display_name or None,
        "jobDescription": job.description or None,
        "contextName": plan,
        "childContextNames": list(job.contexts),
        "startupControlType": job.startup.value,
        "skippedContexts": dict.fromkeys(job.skipped_in, True),
        "heldContexts": dict.fromkeys(job.held_in, True),
    }
    fields |= _own_fields(job)
    fields["identifier"] = job.identifier
    return fields


def _own_fields(job: Job) -> JsonObject:
    match job:
        case CommandJob():
            return _command_fields(job)
        case ScheduleJob():
            return _trigger_fields(job.trigger)
        case FileJob():
            return _trigger_fields(job.trigger) | _file_fields(job)
        case EventJob():
            return {}


def _command_fields(job: CommandJob) -> JsonObject:
    fields: JsonObject = {
        "commandLine": job.command_line,
        "workingDirectory": job.working_directory,
        "successfulReturnCodes": [str(code) for code in job.successful_return_codes],
        "minExecutionTime": _minutes_or_none(job.min_execution_minutes),
        "maxExecutionTime": _minutes_or_none(job.max_execution_minutes),
        "contextParameters": parameter_fields(job.parameters),
        "daysOfWeekToRun": list(job.days_of_week),
        "targetResidingContextOnly": job.target_residing_context_only,
        "participatesInLock": job.participates_in_lock,
        "jobRepeatable": job.repeatable,
        "executionEnvironmentProperties": job.shell,
    }
    if job.timeout_minutes is not None:
        fields["timeoutMinutes"] = job.timeout_minutes
    return fields


def _minutes_or_none(minutes: int | None) -> int:
    return -1 if minutes is None else minutes


def _trigger_fields(trigger: Trigger) -> JsonObject:
    return {
        "cronExpression": trigger.cron,
        "timeZone": trigger.zone,
        "jobGroup": trigger.group,
        "ignoreMisfire": trigger.ignore_misfire,
        "eager": trigger.eager,
        "maxEagerCallbacks": trigger.max_eager_callbacks,
        "persistentRecovery": trigger.persistent_recovery,
        "recoveryTolerance": trigger.recovery_tolerance_ms,
        "passthroughProperties": trigger.passthrough,
        "blackoutWindowCronExpressions": list(trigger.blackout_expressions),
        "blackoutWindowDateTimeRanges": {str(start): str(end) for start, end in trigger.blackout_ranges},
        "dropEventOnBlackout": trigger.drop_event_on_blackout,
    }


def _file_fields(job: FileJob) -> JsonObject:
    return {
        "filePath": job.file_path,
        "filenames": list(job.filenames),
        "moveDirectory": job.move_directory,
        "encoding": job.encoding,
        "minFileAgeSeconds": job.min_file_age_seconds,
        "directoryDepth": job.directory_depth,
        "includeHeader": job.include_header,
        "includeTrailer": job.include_trailer,
        "sortByModifiedDateTime": job.sort_by_modified,
        "sortAscending": job.sort_ascending,
        "logMatchedFilenames": job.log_matched_filenames,
        "ignoreFileRenameWhilstScanning": job.ignore_rename_whilst_scanning,
        "slaCronExpression": job.sla_cron,
    }


def parameter_fields(parameters: Iterable[Parameter]) -> list[JsonObject]:
    """Parameters as a list of ``{name, defaultValue, value}``; a value that is none is left out."""
    fields = []
    for parameter in parameters:
        each: JsonObject = {"name": parameter.name, "defaultValue": parameter.default}
        if parameter.value is not None:
            each["value"] = parameter.value
        fields.append(each)
    return fields


def kind_of_job(job: Job) -> TemplateKind:
    """The kind of template, and so the folder in a bundle, for a job."""
    match job:
        case CommandJob():
            return TemplateKind.COMMAND
        case ScheduleJob():
            return TemplateKind.SCHEDULE
        case FileJob():
            return TemplateKind.FILE
        case EventJob(kind=event):
            return _KIND_OF_EVENT[event]
