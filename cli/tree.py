"""An instance as a tree of contexts and jobs, and what changed between two looks at it."""

from collections.abc import Iterator
from datetime import datetime

from . import answers, render


def title(instance: answers.Instance) -> str:
    """One line that says which instance it is and how it stands."""
    told = render.counts(instance.counts)
    return (
        f"{instance.plan} version {instance.plan_version}  {instance.status}  "
        f"{instance.instance_id}  position {instance.position}  {told}"
    )


def job_remarks(job: answers.Job, now: datetime | None = None) -> str:
    """What is worth saying beside a job's status."""
    remarks = []
    if job.status == "WAITING" and job.initiated:
        remarks.append("sent to its agent")
    if job.status in ("RUNNING", "SKIPPED_RUNNING"):
        if job.pid:
            remarks.append(f"pid {job.pid}")
        if (seconds := _seconds(job.started_at, None, now)) is not None:
            remarks.append(f"since {seconds:.0f} s")
    elif (seconds := _seconds(job.started_at, job.finished_at, None)) is not None:
        remarks.append(f"{seconds:.1f} s")
    if job.return_code:
        remarks.append(f"return code {job.return_code}")
    if job.killed:
        remarks.append("killed")
    if job.acknowledged:
        remarks.append("acknowledged")
    if job.status == "ERROR" and job.details:
        remarks.append(job.details)
    return ", ".join(remarks)


def _seconds(start: str | None, end: str | None, now: datetime | None) -> float | None:
    if start is None or (end is None and now is None):
        return None
    until = now if end is None else datetime.fromisoformat(end)
    return None if until is None else max(0.0, (until - datetime.fromisoformat(start)).total_seconds())


def lines(instance: answers.Instance) -> Iterator[str]:
    """The tree as plain text."""
    yield title(instance)
    if instance.root is not None:
        yield from _context_lines(instance.root, "")


def _context_lines(context: answers.Context, indent: str) -> Iterator[str]:
    yield f"{indent}{context.name}  {context.status}"
    for job in context.jobs:
        remarks = job_remarks(job)
        yield f"{indent}  - {job.identifier}  {job.status}" + (f"  ({remarks})" if remarks else "")
    for child in context.contexts:
        yield from _context_lines(child, indent + "  ")


def changes(before: answers.Instance | None, after: answers.Instance) -> Iterator[str]:
    """A line for each status that differs between two looks at an instance.

    A shared job has one status, so its change is one line that names all its contexts.
    """
    known = {} if before is None else dict(_statuses(before))
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for (context, job), status in _statuses(after):
        was = known.get((context, job), "WAITING")
        if was != status:
            subject = f"context {context}" if job is None else job
            grouped.setdefault((subject, was, status), []).append(context)
    for (subject, was, status), contexts in grouped.items():
        where = "" if subject == f"context {contexts[0]}" else f"  [{', '.join(contexts)}]"
        yield f"{subject}  {was} -> {status}{where}"
    was_whole = None if before is None else before.status
    if was_whole != after.status:
        yield f"{after.plan}  {was_whole + ' -> ' if was_whole else ''}{after.status}"


def _statuses(instance: answers.Instance) -> Iterator[tuple[tuple[str, str | None], str]]:
    """The status of every job in every context, and of every context but the root."""
    if instance.root is None:
        return
    for context in instance.root.walk():
        for job in context.jobs:
            yield (context.name, job.identifier), job.status
        if context is not instance.root:
            yield (context.name, None), context.status
