"""Statuses, and which command each status of a job permits: the table that code, answers and docs share."""

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


PREPARED = "PREPARED"
"""The status of a plan instance that exists ahead of its start."""
ENDED = "ENDED"
"""The status of a plan instance after its end, whatever its root context shows."""

RUNNING_STATUSES = frozenset({JobStatus.RUNNING, JobStatus.SKIPPED_RUNNING})
"""Of a job whose process is known to run."""

_ALL = frozenset(JobStatus)
_RESETTABLE = frozenset(
    {
        JobStatus.COMPLETE,
        JobStatus.ERROR,
        JobStatus.WAITING,
        JobStatus.SKIPPED_COMPLETE,
        JobStatus.LOCK_QUEUED,
    }
)

PERMITTED: dict[str, frozenset[JobStatus]] = {
    "submit": _ALL - RUNNING_STATUSES - {JobStatus.LOCK_QUEUED},
    "hold": frozenset({JobStatus.WAITING, JobStatus.LOCK_QUEUED}),
    "release": frozenset({JobStatus.ON_HOLD}),
    "skip": frozenset({JobStatus.WAITING}),
    "enable": frozenset({JobStatus.SKIPPED, JobStatus.SKIPPED_COMPLETE}),
    "reset": _RESETTABLE,
    "reset-downstream": _RESETTABLE,
    "acknowledge": _ALL,
    "fire-dependants": frozenset({JobStatus.ERROR}),
    "kill": frozenset({JobStatus.RUNNING}),
}
"""The statuses in which a command on a job is accepted and does something, by the command's name."""

WITHOUT_EFFECT: dict[str, frozenset[JobStatus]] = {
    "release": frozenset({JobStatus.WAITING, JobStatus.RUNNING}),
}
"""The statuses in which a command is accepted and changes nothing, because what it asks for is so already."""

_STARTED_BY_DEPENDENCIES = frozenset({"command", "global", "local", "start", "terminal", "bridging"})
_PASSED_OVER = frozenset({"command", "global"})

KINDS: dict[str, frozenset[str]] = {
    "hold": _STARTED_BY_DEPENDENCIES,
    "release": _STARTED_BY_DEPENDENCIES,
    "skip": _PASSED_OVER,
    "enable": _PASSED_OVER,
    "kill": frozenset({"command"}),
}
"""The kinds of job that a command is for; one that is not named here is for all."""

PREPARING = frozenset({"hold", "release", "skip", "enable"})
"""The commands on a job that an instance accepts before its start."""

NOT_ON_ITS_WAY = frozenset({"hold", "skip", "submit"})
"""What is refused while an agent is being told to run the job: it would not stop it, or run it twice."""
