"""Whether a job accepts a command now, and if not, why: the only reader of the table of statuses."""

from .commands import Refused
from .instance import InstanceState
from .plan import job_kind
from .status import (
    ENDED,
    KINDS,
    NOT_ON_ITS_WAY,
    PERMITTED,
    PREPARED,
    PREPARING,
    WITHOUT_EFFECT,
    JobStatus,
)
from .topology import Unit


def permitted(state: InstanceState, unit: Unit) -> tuple[str, ...]:
    """The commands that a job accepts now, in the order of the table."""
    return tuple(
        name
        for name, statuses in PERMITTED.items()
        if state.job(unit.index).status in statuses and refusal(state, unit, name) is None
    )


def refusal(state: InstanceState, unit: Unit, command: str) -> Refused | None:
    """Why a job does not accept a command now; ``None`` when it does."""
    if (not_now := refusal_of_instance(state, prepared=command in PREPARING)) is not None:
        return not_now
    job = state.job(unit.index)
    kind = job_kind(unit.job)
    if kind not in KINDS.get(command, {kind}):
        return _refused(unit, job.status, f"is a job of kind {kind}, which {command} is not for")
    accepted = PERMITTED[command] | WITHOUT_EFFECT.get(command, frozenset())
    if job.status not in accepted:
        return _refused(unit, job.status, f"is {job.status}", permitted_in=accepted)
    if job.on_its_way and command in NOT_ON_ITS_WAY:
        told = f"was initiated, and agent {unit.job.agent} has not reported its start: reset it first"
        return _refused(unit, job.status, told)
    if command == "kill" and not job.can_be_killed:
        told = "runs, and was not started from here: nothing is known by which its agent could end it"
        return _refused(unit, job.status, told)
    return None


def refusal_of_instance(state: InstanceState, *, prepared: bool) -> Refused | None:
    """Why an instance accepts no command now; ``prepared``: it may be given ahead of the start."""
    if state.ended:
        return Refused(reason="the instance has ended", status=ENDED)
    if state.prepared and not prepared:
        return Refused(reason="the instance has not started", status=PREPARED)
    return None


def _refused(
    unit: Unit, status: JobStatus, what: str, permitted_in: frozenset[JobStatus] = frozenset()
) -> Refused:
    return Refused(
        reason=f"job {unit.identifier} in context {unit.contexts[0]} {what}",
        status=status,
        permitted_in=tuple(sorted(permitted_in)),
    )
