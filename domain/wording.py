"""What a notification says: the built-in words, what templates may name, and what becomes of them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from .instants import Instant, UnknownTimeZone, time_zone
from .notification_settings import MonitorType
from .notifications import Matter
from .templates import render

MAX_SUBJECT = 250
"""Characters of a subject."""
_MAX_REASON = 160

SUBJECT = "{% if dry_run %}[dry run] {% endif %}{{ plan }}: {{ message }}"
"""Unless a plan has another."""

BODY = """\
{{ message }}.

{% if EMAIL_BODY_TEXT %}{{ EMAIL_BODY_TEXT }}

{% endif -%}
plan         {{ plan }}, version {{ plan_version }}
instance     {{ instance }}, started {{ instance_started_at }}
{% if environment_group %}group        {{ environment_group }}
{% endif -%}
context      {{ context }}
job          {{ job_name }} ({{ kind }})
agent        {{ agent }}
status       {{ status }}
{% if return_code is not none %}return code  {{ return_code }}
{% endif -%}
{% if started_at %}started      {{ started_at }}
{% endif -%}
{% if finished_at %}finished     {{ finished_at }}
{% endif -%}
{% if elapsed %}took         {{ elapsed }}
{% endif -%}
{% if deadline %}due          {{ deadline }}
{% endif -%}
{% if file_path or file_names %}file         {{ file_path }} {{ file_names|join(', ') }}
{% endif -%}
{% if output_path %}output       {{ output_path }}
{% endif -%}
{% if error_path %}errors       {{ error_path }}
{% endif -%}
{% if details %}
{{ details }}
{% endif -%}
{% if links.job %}
Job:     {{ links.job }}
Output:  {{ links.output }}
Errors:  {{ links.errors }}
{% endif -%}
"""
"""Unless a plan has another."""


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """A notification as people read it."""

    subject: str
    text: str
    html: str | None = None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody wants a notification to read; empty is the built-in way."""

    subject: str = ""
    body: str = ""
    html: bool = False
    variables: Mapping[str, str] = {}
    """More that templates may name."""


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Where the dashboard shows more; empty when its address is not known."""

    instance: str = ""
    job: str = ""
    output: str = ""
    errors: str = ""


def links_to(matter: Matter, public_url: str) -> Links:
    """The addresses of a notification's instance and job, below the dashboard's own."""
    if not public_url:
        return Links()
    instance = f"{public_url.rstrip('/')}/api/v1/instances/{matter.instance_id}"
    job = f"{instance}/contexts/{quote(matter.context, safe='')}/jobs/{quote(matter.job, safe='')}"
    return Links(instance=instance, job=job, output=f"{job}/log/stdout", errors=f"{job}/log/stderr")


def words_for(matter: Matter, wish: Wish, *, public_url: str, zone: str) -> Words:
    """What a notification says; ``zone`` is of plans that name none. Raises ``TemplateRefused``."""
    variables = _variables(matter, wish.variables, public_url, zone)
    subject = wish.variables.get("EMAIL_SUBJECT_TEXT", "")
    if wish.subject or not subject:
        subject = render(wish.subject or SUBJECT, variables)
    html = render(wish.body, variables, html=True) if wish.body and wish.html else None
    plain = wish.body if wish.body and not wish.html else BODY
    return Words(
        subject=" ".join(subject.split())[:MAX_SUBJECT],
        text=render(plain, variables),
        html=html,
    )


def message_of(matter: Matter, zone: str = "UTC") -> str:
    """What happened, in one sentence without its full stop."""
    job = matter.job_name
    match matter.monitor_type:
        case MonitorType.START:
            return f"{job} started"
        case MonitorType.COMPLETE:
            return f"{job} is complete"
        case MonitorType.ERROR:
            return f"{job} {_failure(matter)}"
        case MonitorType.OVERDUE:
            when = _written(matter.deadline, matter.zone or zone)
            came = "came too late" if matter.finished_at is not None else "has not come"
            return f"the file of {job} {came}: it was due at {when}"
        case MonitorType.RUNNING_TIME:
            return f"{job} {_running_time(matter)}"


def _failure(matter: Matter) -> str:
    if matter.killed:
        return "was killed"
    reason = next(iter((matter.details or "").splitlines()), "")
    if matter.return_code is None:
        return f"failed: {reason[:_MAX_REASON]}" if reason else "failed"
    return f"failed with return code {matter.return_code}"


def _running_time(matter: Matter) -> str:
    taken = duration(matter.elapsed_ms or 0)
    longest = matter.max_minutes
    if longest is not None and (matter.elapsed_ms or 0) >= longest * 60_000:
        verb = "has been running for" if matter.finished_at is None else "took"
        return f"{verb} {taken}, its maximum is {longest} min"
    return f"took {taken}, its minimum is {matter.min_minutes} min"


def duration(milliseconds: int) -> str:
    """``1 d 2 h``, ``3 min 4 s``: the two largest units that say something."""
    seconds = max(0, milliseconds) // 1000
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "less than a second"


def _written(at: Instant | None, zone: str, shape: str = "%Y-%m-%d %H:%M:%S %Z") -> str:
    if at is None:
        return ""
    try:
        local = datetime.fromtimestamp(at / 1000, time_zone(zone))
    except (UnknownTimeZone, OverflowError, ValueError, OSError):
        local = datetime.fromtimestamp(min(max(at, 0), _LATEST) / 1000, UTC)
    return local.strftime(shape)


_LATEST: Instant = 253_402_300_799_000


def _variables(matter: Matter, given: Mapping[str, str], public_url: str, zone: str) -> dict[str, object]:
    zone = matter.zone or zone
    links = links_to(matter, public_url)
    message = message_of(matter, zone)
    elapsed = None if matter.elapsed_ms is None else duration(matter.elapsed_ms)
    values: dict[str, object] = {
        "message": message,
        "monitor_type": matter.monitor_type.value,
        "at": _written(matter.at, zone),
        "plan": matter.plan,
        "plan_version": matter.plan_version,
        "instance": matter.instance_id,
        "instance_started_at": _written(matter.instance_started_at, zone),
        "environment_group": matter.environment_group,
        "dry_run": matter.dry_run,
        "context": matter.context,
        "contexts": list(matter.contexts),
        "job": matter.job,
        "job_name": matter.job_name,
        "agent": matter.agent,
        "kind": matter.kind,
        "status": matter.status,
        "execution": matter.execution,
        "return_code": matter.return_code,
        "killed": matter.killed,
        "pid": matter.pid,
        "started_at": _written(matter.started_at, zone),
        "finished_at": _written(matter.finished_at, zone),
        "elapsed": elapsed,
        "deadline": _written(matter.deadline, zone),
        "min_minutes": matter.min_minutes,
        "max_minutes": matter.max_minutes,
        "file_path": matter.file_path,
        "file_names": list(matter.filenames),
        "output_path": matter.output_path,
        "error_path": matter.error_path,
        "details": matter.details,
        "links": msgspec.structs.asdict(links),
    }
    return values | _of_the_reference(matter, message, links, zone) | dict(given)


def _of_the_reference(matter: Matter, message: str, links: Links, zone: str) -> dict[str, object]:
    """The names that templates of the reference scheduler have for the same."""
    return {
        "EMAIL_SUBJECT_TEXT": "",
        "EMAIL_SUBJECT_LINK": links.job,
        "EMAIL_BODY_TEXT": "",
        "EMAIL_BODY_MESSAGE_FROM_MONITOR": message,
        "EMAIL_BODY_LINK_1": links.output,
        "EMAIL_BODY_LINK_2": links.errors,
        "EMAIL_AGENT_NAME": matter.agent,
        "EMAIL_CONTEXT_NAME": matter.plan,
        "EMAIL_CHILD_CONTEXT": matter.context,
        "EMAIL_JOB_NAME": matter.job_name,
        "EMAIL_FILE_NAME": ", ".join(matter.filenames),
        "EMAIL_FILE_PATH": matter.file_path or "",
        "EMAIL_FIRE_TIME": _written(matter.started_at or matter.at, zone, "%d-%m-%Y %H:%M:%S %Z"),
    }


_EXAMPLE = Matter(
    monitor_type=MonitorType.START,
    at=0,
    plan="",
    plan_version=1,
    instance_id="",
    instance_started_at=0,
    job="",
    job_name="",
    agent="",
    kind="",
    context="",
    contexts=(),
    execution="",
    status="",
)
VARIABLES = frozenset(_variables(_EXAMPLE, {}, "", "UTC"))
"""What templates may name."""
