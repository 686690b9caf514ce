"""What a scenario is played on: one small protocol with three implementations, one for each depth.

All three show what happened in the words of our own API, so that the same file reads the same everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from jobledger.domain.commands import Refused
from jobledger.domain.instants import Instant, parse_rfc3339
from jobledger.domain.messages import DryRun, ProcessEvent
from jobledger.domain.plan import JobPlan
from jobledger.domain.plan_defaults import with_job_default, with_schedules
from jobledger.domain.plan_log import PlanStanding, PlanState
from jobledger.domain.problems import Problem
from jobledger.domain.starts import next_start
from jobledger.http.wire.lock_views import LockView
from jobledger.http.wire.views import FactView, InstanceView, written_if_known
from scenario_agents import Order, StandInAgent

BEGINNING: Instant = parse_rfc3339("2026-01-05T00:00:00Z")
"""When stories begin that say nothing else: a Monday."""


@dataclass(frozen=True)
class Refusal:
    """Why something that was asked for was not done."""

    reason: str
    status: str | None = None
    """Of the job or instance that stands in the way."""
    permitted: tuple[str, ...] = ()
    """The statuses in which it would be done."""
    unknown: bool = False


@dataclass(frozen=True)
class Command:
    """What a person asks of an instance, of a context or of a job."""

    verb: str
    context: str | None = None
    job: str | None = None
    """By identifier."""
    options: dict[str, Any] = field(default_factory=dict)
    """What else the command says, such as parameters or a ticket."""
    by: str = "olga"
    reason: str | None = None


@dataclass(frozen=True)
class Beginning:
    """How an instance is begun by hand."""

    plan: str
    parameters: dict[str, str] = field(default_factory=dict)
    until_ended: bool = False
    commands_held: bool = False
    business_date: date | None = None
    """The day that it is for, if not the day on which it begins."""
    dry_run: DryRun | None = None


@dataclass(frozen=True)
class Fresh:
    """How the instance begins that another is reset for."""

    parameters: dict[str, str] = field(default_factory=dict)
    same_parameters: bool = False
    commands_held: bool = False


@dataclass(frozen=True)
class PlanOrder:
    """What a person asks of a plan itself: to enable, disable or delete it."""

    verb: str
    plan: str
    by: str = "olga"
    reason: str | None = None


@dataclass(frozen=True)
class PlanShown:
    """How a plan stands."""

    standing: str
    next_start: str | None = None
    waiting_start: str | None = None


@dataclass(frozen=True)
class Revision:
    """A change of how new instances of a plan start: of one job, or of all schedules."""

    verb: str
    """hold, release, skip or enable; disable-schedules or enable-schedules."""
    job: str = ""
    """By identifier."""
    contexts: tuple[str, ...] | None = None
    """``None``: wherever the job stands."""


def revised(plan: JobPlan, revision: Revision) -> JobPlan | Refused:
    """The plan as it is after a revision."""
    match revision.verb:
        case "disable-schedules" | "enable-schedules":
            return with_schedules(plan, disabled=revision.verb == "disable-schedules")
        case "hold" | "release" | "skip" | "enable":
            return with_job_default(plan, revision.verb, revision.job, revision.contexts)
    raise ValueError(f"nobody can {revision.verb} in new instances")


class Stage(Protocol):
    """A scheduler, at one depth. What is told has had all its effects when the call returns."""

    def push(self, plan: JobPlan) -> list[str]:
        """Make it the newest version; returns the errors, with their places, of one that is not accepted."""
        ...

    def revise(self, plan: str, revision: Revision) -> Refusal | None:
        """Change how new instances of a plan start."""
        ...

    def begin(self, beginning: Beginning) -> Refusal | None:
        """Begin an instance by hand."""
        ...

    def order(self, order: PlanOrder) -> Refusal | None:
        """Have a person enable, disable or delete a plan."""
        ...

    def command(self, instance_id: str, command: Command) -> Refusal | None:
        """Have a person ask."""
        ...

    def reset(self, instance_id: str, fresh: Fresh) -> Refusal | None:
        """Have a person end an instance and have a fresh one begin."""
        ...

    def preview(self, instance_id: str, command: Command) -> list[str] | Refusal:
        """The jobs, by identifier, that firing the dependants of a failed job would start."""
        ...

    def report(self, events: Sequence[ProcessEvent], *, compatible: bool) -> None:
        """Have an agent report, on the services that every agent has or on those of our own."""
        ...

    def raise_global(self, name: str, group: str | None) -> None:
        """Raise a global event from outside: in one environment group, or in all."""
        ...

    def reset_lock(self, name: str, group: str | None) -> None:
        """Have a person take a lock from all that hold it."""
        ...

    def source(self, plan: str, parameters: dict[str, str]) -> None:
        """Have the parameter source of a plan say this, and have it read."""
        ...

    def agent(self, name: str, *, compatible: bool = False) -> StandInAgent:
        """The agent of that name, who has announced itself; on its way again if it was cut off."""
        ...

    def set_clock(self, now: Instant) -> None:
        """Let time pass."""
        ...

    def restart(self, until: Instant) -> None:
        """Stop the scheduler and start it again at an instant."""
        ...

    def instances(self) -> list[InstanceView]:
        """Every instance there is or was."""
        ...

    def facts(self, instance_id: str, after: int) -> list[FactView]:
        """The facts of an instance past a position."""
        ...

    def plan_facts(self, plan: str, after: int) -> list[FactView]:
        """The facts of a plan past a position."""
        ...

    def plan_shown(self, plan: str) -> PlanShown:
        """How a plan stands; one that was deleted stands DELETED."""
        ...

    def locks(self) -> list[LockView]:
        """Every lock of every environment group."""
        ...

    def orders(self) -> list[Order]:
        """Everything that agents were told so far."""
        ...

    def contradictions(self) -> list[str]:
        """What is live and differs from what the logs amount to: always empty."""
        ...


def shown(state: PlanState, zone: str) -> PlanShown:
    """How a plan stands, from its state."""
    if state.standing is PlanStanding.DELETED:
        return PlanShown(state.standing)
    return PlanShown(
        state.standing,
        next_start=written_if_known(next_start(state, zone)),
        waiting_start=written_if_known(state.deferred),
    )


def errors_of(problems: Sequence[Problem]) -> list[str]:
    """The errors among the problems of a plan, each with its place."""
    return [f"{_place(each)}: {each.message}" for each in problems if each.severity == "error"]


def _place(problem: Problem) -> str:
    context = [f"context {problem.context}"] if problem.context else []
    return ", ".join([*context, f"job {problem.job}"] if problem.job else context)


def refusal_of(refused: Refused) -> Refusal:
    """The core's refusal, in a scenario's words."""
    status = None if refused.status is None else str(refused.status)
    return Refusal(refused.reason, status, tuple(map(str, refused.permitted_in)), refused.unknown)
