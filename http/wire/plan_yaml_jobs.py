"""Jobs as plan files describe them."""

from dataclasses import dataclass
from typing import TypedDict

import msgspec

from ...domain.plan import (
    CommandJob,
    EventJob,
    EventKind,
    FileJob,
    Job,
    ScheduleJob,
    StartupControl,
    Trigger,
)
from ...domain.problems import Place
from .documents import Reader
from .plan_yaml_fields import (
    days_of_week,
    duration_minutes,
    duration_ms,
    integers,
    read_blackout,
    read_parameter_map,
    refuse_unknown,
    texts,
)

JOB_KINDS = ("command", "schedule", "file", "event")
"""The fields one of which describes a job; without any, an entry mentions a job described elsewhere."""

_COMMON = {
    "agent",
    "name",
    "description",
    "display_name",
    "startup",
    "held",
    "skipped",
    "after",
    "notifications",
}
_TRIGGER = {
    "zone",
    "group",
    "ignore_misfire",
    "eager",
    "max_eager_callbacks",
    "persistent_recovery",
    "recovery_tolerance",
    "passthrough",
    "blackout",
    "drop_event_on_blackout",
}
_COMMAND = {
    "command",
    "directory",
    "success",
    "min_time",
    "max_time",
    "timeout",
    "parameters",
    "days",
    "once_per_context",
    "repeatable",
    "shell",
}
_FILE = {
    "file",
    "in",
    "every",
    "move_to",
    "encoding",
    "min_age",
    "depth",
    "include_header",
    "include_trailer",
    "sort_by_modified",
    "sort_ascending",
    "log_matched_filenames",
    "ignore_rename_whilst_scanning",
    "sla",
}
_FIELDS = {
    "command": frozenset(_COMMON | _COMMAND),
    "schedule": frozenset(_COMMON | _TRIGGER | {"schedule"}),
    "file": frozenset(_COMMON | _TRIGGER | _FILE),
    "event": frozenset(_COMMON | {"event"}),
}


@dataclass(frozen=True, slots=True)
class HoldsAndSkips:
    """Where a job starts held or skipped; ``None`` means wherever it stands."""

    held_in: tuple[str, ...] | None
    skipped_in: tuple[str, ...] | None

    def applied_to(self, job: Job) -> Job:
        """The job, whose contexts are known by now, with these defaults."""
        return msgspec.structs.replace(
            job,
            held_in=job.contexts if self.held_in is None else self.held_in,
            skipped_in=job.contexts if self.skipped_in is None else self.skipped_in,
        )


class _Common(TypedDict):
    agent: str
    name: str
    description: str
    display_name: str
    startup: StartupControl


def read_job_entry(reader: Reader, key: str, agent: str) -> tuple[Job, HoldsAndSkips]:
    """The job that an entry describes; ``agent`` is meant where it names none."""
    kinds = [kind for kind in JOB_KINDS if kind in reader.fields]
    if len(kinds) > 1:
        reader.flaw("", f"a job is of one kind; leave one of {', '.join(kinds)}")
    own_agent, name = reader.text("agent") or agent, reader.text("name") or key
    reader.place = Place(reader.place.context, f"{own_agent}-{name}")
    refuse_unknown(reader, _FIELDS[kinds[0]])
    common: _Common = {
        "agent": own_agent,
        "name": name,
        "description": reader.text("description"),
        "display_name": reader.text("display_name"),
        "startup": _startup(reader),
    }
    defaults = HoldsAndSkips(_contexts(reader, "held"), _contexts(reader, "skipped"))
    match kinds[0]:
        case "command":
            return _command(reader, common), defaults
        case "schedule":
            return ScheduleJob(trigger=_trigger(reader, "schedule"), **common), defaults
        case "file":
            return _file(reader, common), defaults
        case _:
            return _event(reader, common), defaults


def _startup(reader: Reader) -> StartupControl:
    text = reader.text("startup", "automatic")
    try:
        return StartupControl(text.upper())
    except ValueError:
        reader.flaw("startup", f"{text[:40]!r} is none of automatic, manual, disabled")
        return StartupControl.AUTOMATIC


def _contexts(reader: Reader, name: str) -> tuple[str, ...] | None:
    value = reader.fields.get(name)
    if isinstance(value, bool):
        return None if value else ()
    return texts(reader, name)


def _command(reader: Reader, common: _Common) -> CommandJob:
    return CommandJob(
        command_line=reader.required_text("command"),
        working_directory=reader.optional_text("directory"),
        successful_return_codes=integers(reader, "success"),
        min_execution_minutes=duration_minutes(reader, "min_time"),
        max_execution_minutes=duration_minutes(reader, "max_time"),
        timeout_minutes=duration_minutes(reader, "timeout"),
        parameters=read_parameter_map(reader),
        days_of_week=days_of_week(reader, "days"),
        target_residing_context_only=reader.flag("once_per_context"),
        repeatable=reader.flag("repeatable"),
        shell=reader.optional_text("shell"),
        **common,
    )


def _file(reader: Reader, common: _Common) -> FileJob:
    return FileJob(
        trigger=_trigger(reader, "every"),
        file_path=reader.optional_text("in"),
        filenames=texts(reader, "file"),
        move_directory=reader.optional_text("move_to"),
        encoding=reader.optional_text("encoding"),
        min_file_age_seconds=(duration_ms(reader, "min_age") or 0) // 1000,
        directory_depth=reader.integer("depth", 1),
        include_header=reader.flag("include_header"),
        include_trailer=reader.flag("include_trailer"),
        sort_by_modified=reader.flag("sort_by_modified"),
        sort_ascending=reader.flag("sort_ascending", default=True),
        log_matched_filenames=reader.flag("log_matched_filenames"),
        ignore_rename_whilst_scanning=reader.flag("ignore_rename_whilst_scanning", default=True),
        sla_cron=reader.optional_text("sla"),
        **common,
    )


def _trigger(reader: Reader, cron: str) -> Trigger:
    expressions, ranges = read_blackout(reader)
    properties = reader.object("passthrough")
    tolerance = duration_ms(reader, "recovery_tolerance")
    return Trigger(
        cron=reader.required_text(cron),
        zone=reader.optional_text("zone"),
        group=reader.optional_text("group"),
        ignore_misfire=reader.flag("ignore_misfire", default=True),
        eager=reader.flag("eager"),
        max_eager_callbacks=reader.integer("max_eager_callbacks"),
        persistent_recovery=reader.flag("persistent_recovery", default=True),
        recovery_tolerance_ms=30 * 60 * 1000 if tolerance is None else tolerance,
        passthrough={} if properties is None else {name: properties.text(name) for name in properties.fields},
        blackout_expressions=expressions,
        blackout_ranges=ranges,
        drop_event_on_blackout=reader.flag("drop_event_on_blackout"),
    )


def _event(reader: Reader, common: _Common) -> EventJob:
    text = reader.text("event")
    kind = EventKind.__members__.get(text.upper())
    if kind is None:
        known = ", ".join(name.lower() for name in EventKind.__members__)
        reader.flaw("event", f"{text[:40]!r} is no kind of event; give one of {known}")
        kind = EventKind.LOCAL
    common["agent"] = kind.value
    return EventJob(kind=kind, **common)
