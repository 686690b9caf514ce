"""What a plan instance may be told: events that were received, and orders of people and of the clock."""

from typing import TypeAlias

import msgspec

from .messages import ProcessEvent
from .plan import JobIdentifier
from .status import JobStatus


class _Command(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    pass


class ReportEvent(_Command, frozen=True, kw_only=True):
    """An agent, or somebody outside, says what became of a job."""

    event: ProcessEvent


class RefuseInitiation(_Command, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    """An agent refused an initiation for good: asking again would not help."""

    initiation_id: str
    detail: str


class ParkEvent(_Command, frozen=True, kw_only=True):
    """An inbound event kept failing and was put aside."""

    error: str
    event_id: str | None = None


class SubmitJob(_Command, frozen=True, kw_only=True):
    """Run a command now, its dependencies ignored; let any other job complete as if it had happened."""

    job: JobIdentifier
    context: str
    parameters: dict[str, str] = {}


class EndInstance(_Command, frozen=True, kw_only=True):
    """Nothing more is to happen: kill what runs and let the agents forget the instance."""


class CloseWindow(_Command, frozen=True, kw_only=True):
    """The instance's time to live is over."""


Command: TypeAlias = ReportEvent | RefuseInitiation | ParkEvent | SubmitJob | EndInstance | CloseWindow


class Refused(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A command that changes nothing, why, and when it would be accepted."""

    reason: str
    status: JobStatus | str | None = None
    permitted_in: tuple[str, ...] = ()
    """The statuses in which the same command is accepted."""
    unknown: bool = False
    """The job or context that was named does not exist."""
