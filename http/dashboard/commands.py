"""Orders of people about jobs, contexts and instances: each is a row with its body and what it asks for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from ...domain.commands import (
    AcknowledgeError,
    Command,
    ContextCommand,
    DisableSchedules,
    EnableContext,
    EnableJob,
    EnableSchedules,
    FireDependants,
    HoldContext,
    HoldJob,
    JobCommand,
    KillJob,
    ReleaseContext,
    ReleaseJob,
    ResetDownstream,
    ResetJob,
    RunUntilEnded,
    SetParameters,
    SkipContext,
    SkipJob,
    SubmitJob,
)
from ...domain.instance import InstanceState
from ...domain.plan import EventJob
from ...domain.topology import Unit
from .callers import Access
from .instances import Accepted, ParameterName, ReasonBody, accepted
from .parameter_values import must_be_usable
from .routes import Answer, Call, NoQuery, Route, json_body, optional_json_body
from .services import Services, unit_in, units_beneath

# --- what requests say --------------------------------------------------------------------------------------

Ticket = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Parameters = Annotated[dict[ParameterName, str], msgspec.Meta(min_length=1)]


class SubmitBody(ReasonBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to run a job by hand."""

    parameters: dict[ParameterName, str] = msgspec.field(default_factory=dict)


class ResetDownstreamBody(ReasonBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether to run the job again once everything from it on is reset, and how."""

    submit: bool = False
    parameters: dict[ParameterName, str] = msgspec.field(default_factory=dict)


class AcknowledgeBody(ReasonBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a failure is followed up."""

    ticket: Ticket | None = None


class KillBody(ReasonBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether to give the processes no chance to clean up."""

    force: bool = False


class ParametersBody(ReasonBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Values that later initiations use, everywhere or in one context and beneath it."""

    parameters: Parameters
    context: str | None = None


class SchedulesBody(ReasonBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether what schedules fire counts."""

    enabled: bool


# --- what they ask for --------------------------------------------------------------------------------------

B = TypeVar("B", bound=ReasonBody)


@dataclass(frozen=True, slots=True)
class _OfJob(Generic[B]):
    """An order about a job, under its own name."""

    kind: type[JobCommand]
    summary: str
    body: type[B]
    """Beside the reason it has what the command has, but for its job and context."""

    def command(self, call: Call[B, NoQuery]) -> JobCommand:
        said = msgspec.structs.asdict(call.body)
        del said["reason"]
        return self.kind(job=call.path["identifier"], context=call.path["context"], **said)


_JOB_ORDERS: tuple[_OfJob[Any], ...] = (
    _OfJob(SubmitJob, "Run a job now, its dependencies ignored", SubmitBody),
    _OfJob(HoldJob, "Do not start a job before it is released", ReasonBody),
    _OfJob(ReleaseJob, "Let a job start again, at once if it was to start meanwhile", ReasonBody),
    _OfJob(SkipJob, "Pass a job over when its turn comes", ReasonBody),
    _OfJob(EnableJob, "Take back a skip", ReasonBody),
    _OfJob(ResetJob, "Let a job wait as if it had not run", ReasonBody),
    _OfJob(
        ResetDownstream,
        "Reset a job and everything that depends on it, and submit it if so asked",
        ResetDownstreamBody,
    ),
    _OfJob(
        AcknowledgeError,
        "Accept a job's failure, or the one to come: it counts as satisfied",
        AcknowledgeBody,
    ),
    _OfJob(FireDependants, "Start what the success of a failed job would have started", ReasonBody),
    _OfJob(KillJob, "Have the agent end a job's processes", KillBody),
)

_CONTEXT_ORDERS: tuple[tuple[type[ContextCommand], str], ...] = (
    (HoldContext, "Hold every command job beneath a context that waits"),
    (ReleaseContext, "Release everything beneath a context that is held"),
    (SkipContext, "Skip everything beneath a context that waits and starts inside"),
    (EnableContext, "Enable everything beneath a context that is skipped"),
)


class Commands:
    """Gives orders to instances, after a look at whether the caller may."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dashboard = services.dashboard

    def about_job(self, order: _OfJob[B], call: Call[B, NoQuery]) -> Answer:
        """Do to a job, in all its standings or in the one named, what its row says."""
        command = order.command(call)
        if not call.caller.unlimited:
            state = self._services.instance(call.path["instance_id"], call.caller)
            unit = unit_in(state, command.context, command.job)
            call.caller.must_see_agent(unit.job.agent)
            call.caller.must_see_agents(_agents_of(_also_meant(state, unit, command)))
        return self._give(call, command)

    def about_context(self, kind: type[ContextCommand], call: Call[ReasonBody, NoQuery]) -> Answer:
        """Do to every job beneath a context what can be done to it."""
        context = call.path["context"]
        if not call.caller.unlimited:
            state = self._services.instance(call.path["instance_id"], call.caller)
            call.caller.must_see_agents(_agents_of(units_beneath(state, context)))
        return self._give(call, kind(context=context))

    def set_parameters(self, call: Call[ParametersBody, NoQuery]) -> Answer:
        """Use other values from now on."""
        return self._about_instance(
            call, SetParameters(parameters=call.body.parameters, context=call.body.context)
        )

    def set_schedules(self, call: Call[SchedulesBody, NoQuery]) -> Answer:
        """Heed or ignore what schedules fire."""
        return self._about_instance(call, EnableSchedules() if call.body.enabled else DisableSchedules())

    def run_until_ended(self, call: Call[ReasonBody, NoQuery]) -> Answer:
        """Let neither the clock nor its completion end it."""
        return self._about_instance(call, RunUntilEnded())

    def _about_instance(self, call: Call[B, NoQuery], command: Command) -> Answer:
        if not call.caller.unlimited:
            call.caller.must_see_agents(self._services.instance(call.path["instance_id"], call.caller).agents)
        return self._give(call, command)

    def _give(self, call: Call[B, NoQuery], command: Command) -> Answer:
        instance_id = call.path["instance_id"]
        if isinstance(command, SubmitJob | ResetDownstream | SetParameters):
            must_be_usable(command.parameters, "/parameters")
        facts = self._dashboard.command(instance_id, command, call.origin(call.body.reason))
        position = facts[-1].position if facts else self._dashboard.instance(instance_id).position
        return Answer(accepted(facts, position))


def _also_meant(state: InstanceState, unit: Unit, command: JobCommand) -> Iterable[Unit]:
    """The other jobs that the order is about by its own words."""
    match command:
        case ResetDownstream():
            return state.topology.downstream(unit)
        case FireDependants():
            return state.topology.dependants(unit)
        case _:
            return ()


def _agents_of(units: Iterable[Unit]) -> set[str]:
    """The agents of these jobs; event jobs have none."""
    return {unit.job.agent for unit in units if not isinstance(unit.job, EventJob)}


# --- the rows -----------------------------------------------------------------------------------------------

_INSTANCE = "/api/v1/instances/{instance_id:uuid}"
_CONTEXT = f"{_INSTANCE}/contexts/{{context}}"
_JOB = f"{_CONTEXT}/jobs/{{identifier}}"


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of all orders."""
    commands = Commands(services)
    return (
        *(
            _row(
                f"{_JOB}/{order.kind.name}",
                f"{order.kind.name.replace('-', '_')}_job",
                order.summary,
                partial(commands.about_job, order),
                order.body,
            )
            for order in _JOB_ORDERS
        ),
        *(
            _row(
                f"{_CONTEXT}/{kind.name}",
                f"{kind.name}_context",
                summary,
                partial(commands.about_context, kind),
                ReasonBody,
            )
            for kind, summary in _CONTEXT_ORDERS
        ),
        _row(
            f"{_INSTANCE}/parameters",
            "set_parameters",
            "Set parameters that later initiations use, everywhere or in one context",
            commands.set_parameters,
            ParametersBody,
        ),
        _row(
            f"{_INSTANCE}/schedules",
            "set_schedules",
            "Heed or ignore what the schedules of an instance fire; a fire by hand always counts",
            commands.set_schedules,
            SchedulesBody,
        ),
        _row(
            f"{_INSTANCE}/run-until-ended",
            "run_until_ended",
            "Let an instance go on until a person ends it",
            commands.run_until_ended,
            ReasonBody,
        ),
    )


def _row(
    path: str, name: str, summary: str, handle: Callable[[Call[B, NoQuery]], Answer], body: type[B]
) -> Route[B, NoQuery]:
    """Every order is alike but for what it says: for role write, keyed, refused when it is not permitted."""
    some_required = any(each.required for each in msgspec.structs.fields(body))
    return Route(
        method="POST",
        path=path,
        name=name,
        summary=summary,
        access=Access.WRITE,
        handle=handle,
        body=json_body(body) if some_required else optional_json_body(body),
        query=NoQuery,
        answers={200: Accepted},
        errors=(404, 409),
        keyed=True,
    )
