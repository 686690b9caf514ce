"""Statuses, and which command each status of a job permits: the table that the code and the docs share."""

from enum import StrEnum


class JobStatus(StrEnum):
    """What a job instance is doing; the words are those that operators see."""

    WAITING = "WAITING"
    ON_HOLD = "ON_HOLD"
    SKIPPED = "SKIPPED"
    LOCK_QUEUED = "LOCK_QUEUED"
    RUNNING = "RUNNING"
    SKIPPED_RUNNING = "SKIPPED_RUNNING"
    SKIPPED_COMPLETE = "SKIPPED_COMPLETE"
    COMPLETE = "COMPLETE"
    ERROR = "ERROR"
    DISABLED = "DISABLED"


class ContextStatus(StrEnum):
    """What a context, and with it a plan instance, shows; always derived from its jobs and children."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    ERROR = "ERROR"


ENDED = "ENDED"
"""The status of a plan instance after its end, whatever its root context shows."""

PERMITTED: dict[str, frozenset[JobStatus]] = {
    "submit": frozenset(JobStatus) - {JobStatus.RUNNING, JobStatus.SKIPPED_RUNNING, JobStatus.LOCK_QUEUED},
}
"""The statuses in which a command on a job is accepted, by the command's name."""


def permitted_commands(status: JobStatus) -> tuple[str, ...]:
    """The commands that a job in this status accepts, in the order of the table."""
    return tuple(name for name, statuses in PERMITTED.items() if status in statuses)
