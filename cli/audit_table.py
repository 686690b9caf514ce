"""The audit as a table: the event, what it changed, what it started."""

from collections.abc import Iterable
from typing import Any

from . import answers, render


def print_audit(rows: Iterable[answers.AuditRow]) -> None:
    """Print a line for each event and each order."""
    render.table(
        ("at", "positions", "event", "changed", "started"),
        (
            (
                render.clock(row.at),
                f"{row.before}-{row.after}",
                event(row.event),
                "; ".join(_changed(row.changed)),
                ", ".join(row.initiated),
            )
            for row in rows
        ),
        empty="Nothing happened yet.",
    )


def event(told: Any) -> str:
    """An inbound event in a few words; an order is its name."""
    if told is None:
        return "one that does not read"
    if not isinstance(told, dict):
        return str(told)
    job = told.get("job") or told.get("jobName")
    if job is None:
        return render.pairs(told)
    agent = told.get("agent") or told.get("agentName") or ""
    name = f"{agent}-{job}" if agent else str(job)
    if told.get("starting"):
        return f"{name} started"
    if told.get("successful"):
        return f"{name} finished"
    code = told.get("return_code")
    return f"{name} failed" + (f" ({code})" if code is not None else "")


def _changed(changes: Iterable[answers.Change]) -> Iterable[str]:
    """A shared job's change once, with all its contexts."""
    contexts: dict[tuple[str, str, str], list[str]] = {}
    for change in changes:
        contexts.setdefault((change.job, change.before, change.after), []).append(change.context)
    for (job, before, after), where in contexts.items():
        yield f"{job} [{', '.join(where)}] {before} -> {after}"
