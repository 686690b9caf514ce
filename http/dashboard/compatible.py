"""The services that existing clients, scripts and agents of the reference scheduler call for statuses."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec

from ...actors.dashboard.errors import UnknownName
from ...domain.instance import InstanceState
from ...domain.job_state import JobState
from ...domain.topology import Unit
from ..wire.compatible_views import (
    STATUS_WORDS,
    context_instance,
    every_job,
    in_status,
    instance_statuses,
    job_instance,
    job_statuses,
    overrunning,
    projected_end,
)
from .callers import Access, Caller
from .errors import FieldError, Refusal
from .routes import NO_BODY, TEXT, Answer, AnyQuery, Call, Looking, Route
from .services import Services

BY_INSTANCE = dict[UUID, dict[str, Any]]
LINES = {200: {TEXT: str}, 204: None}
ANSWERS: dict[str, dict[int, Any]] = {
    "context_status": LINES,
    "job_status": LINES,
    "context_status_json": {200: BY_INSTANCE},
    "job_status_json": {200: BY_INSTANCE},
    "all_instances": {200: dict[str, Any]},
    "all_jobs": {200: dict[str, Any]},
    "jobs_of_plan": {200: dict[str, Any]},
    "over_running_job_plans": {200: list[dict[str, Any]]},
}
"""What each service of statuses answers."""


class AllInstancesQuery(msgspec.Struct, frozen=True, rename="camel"):
    """Whether instances that have not started yet are wanted too."""

    include_prepared: bool = False


class JobStatusQuery(msgspec.Struct, frozen=True, rename="camel"):
    """Only jobs in this status; left out, all."""

    instance_status: str | None = None


class AgentQuery(msgspec.Struct, frozen=True, rename="camel"):
    """The agent that asks."""

    agent_name: str


class Statuses:
    """The resources of statuses."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def text(self, call: Call[None, AnyQuery]) -> Answer:
        """A line for each active instance; nothing at all when none is active."""
        plan, context = call.path["plan"], call.path["context"]
        states = self._active_of(plan, call.caller)
        lines = [
            f"{each.instance_id}={each.context_status(_context(each, context)).value}" for each in states
        ]
        return _lines(lines)

    def job_text(self, call: Call[None, AnyQuery]) -> Answer:
        """A line for each active instance with the status of one job."""
        plan, context, name = call.path["plan"], call.path["context"], call.path["job"]
        states = self._active_of(plan, call.caller)
        lines = [
            f"{each.instance_id}={each.job(_unit(each, context, name).index).status.value}" for each in states
        ]
        return _lines(lines)

    def tree(self, call: Call[None, AnyQuery]) -> Answer:
        """The context of each active instance, by the instance's id."""
        plan, context = call.path["plan"], call.path["context"]
        states = self._active_of(plan, call.caller)
        return Answer(
            {str(each.instance_id): context_instance(each, _context(each, context)) for each in states}
        )

    def job(self, call: Call[None, AnyQuery]) -> Answer:
        """A job of each active instance, by the instance's id."""
        plan, context, name = call.path["plan"], call.path["context"], call.path["job"]
        states = self._active_of(plan, call.caller)
        return Answer(
            {
                str(each.instance_id): job_instance(each, context, _unit(each, context, name))
                for each in states
            }
        )

    def all_instances(self, call: Call[None, AllInstancesQuery]) -> Answer:
        """Every active instance with its status, and those that are prepared if they are asked for."""
        states = self._active(call.caller)
        if call.query.include_prepared:
            prepared = self._dashboard.prepared_instances()
            states += [each for each in prepared if call.caller.sees_plan(each.plan)]
        return Answer(instance_statuses(states))

    def all_jobs(self, call: Call[None, JobStatusQuery]) -> Answer:
        """The jobs of every active instance."""
        return Answer(job_statuses(self._active(call.caller), _chosen(call.query.instance_status)))

    def jobs_of_plan(self, call: Call[None, JobStatusQuery]) -> Answer:
        """The jobs of a plan's active instances."""
        states = self._active_of(call.path["plan"], call.caller)
        return Answer(job_statuses(states, _chosen(call.query.instance_status)))

    def over_running(self, call: Call[None, AnyQuery]) -> Answer:
        """Active instances past the end that their time to live gave them: they run until they are ended."""
        now = self._dashboard.clock()
        projected = [(each, projected_end(each)) for each in self._active(call.caller)]
        return Answer(overrunning((each, end) for each, end in projected if end is not None and end < now))

    def for_agent(self, call: Call[None, AgentQuery]) -> Answer:
        """What an agent asks at its start: the active instances that it must know."""
        agent = call.query.agent_name
        call.caller.must_see_agent(agent)
        states = self._dashboard.instances_for_agent(agent)
        seen = [each for each in states if call.caller.sees_plan(each.plan)]
        return Answer({str(each.instance_id): context_instance(each) for each in seen})

    def _active(self, caller: Caller) -> list[InstanceState]:
        return [each for each in self._dashboard.active_instances() if caller.sees_plan(each.plan)]

    def _active_of(self, plan: str, caller: Caller) -> list[InstanceState]:
        """The active instances of a plan; raises ``UnknownName`` when there is no such plan."""
        caller.must_see_plan(plan)
        states = self._dashboard.active_instances(plan)
        if not states and all(row.name != plan for row in self._dashboard.plans()):
            raise UnknownName(f"there is no plan {plan}")
        return states


def _lines(lines: list[str]) -> Answer:
    return Answer("\n".join(lines).encode(), media=TEXT) if lines else Answer(status=204)


def _context(state: InstanceState, name: str) -> int:
    index = state.topology.context_index.get(name)
    if index is None:
        raise UnknownName(f"plan {state.plan} has no context {name}")
    return index


def _unit(state: InstanceState, context: str, name: str) -> Unit:
    """A job of a context by its identifier or, as existing clients have it, by its name alone."""
    by_identifier = state.topology.unit_in(context, name)
    if by_identifier is not None:
        return by_identifier
    compiled = state.topology.contexts[_context(state, context)]
    named = [
        state.topology.units[each] for each in compiled.units if state.topology.units[each].job.name == name
    ]
    if not named:
        raise UnknownName(f"context {context} of plan {state.plan} lists no job {name}")
    if len(named) > 1:
        choices = ", ".join(unit.identifier for unit in named)
        detail = f"several jobs of context {context} are named {name}; say which: {choices}"
        raise Refusal(400, detail)
    return named[0]


def _chosen(text: str | None) -> Callable[[JobState], bool]:
    """Whether a job is in the status that is asked for."""
    if text is None:
        return every_job
    chosen = in_status(text)
    if chosen is None:
        detail = f"{text[:80]!r} is no status of a job; give one of {', '.join(STATUS_WORDS)}"
        raise Refusal(400, detail, errors=(FieldError(detail, "?instanceStatus"),))
    return chosen


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    statuses = Statuses(services)
    base = "/rest/contextStatus"

    read = Looking("", ANSWERS).row

    return (
        read(
            f"{base}/{{plan}}/{{context}}",
            "context_status",
            "Say the status of a context in each active instance of a plan, a line each",
            statuses.text,
            AnyQuery,
        ),
        read(
            f"{base}/{{plan}}/{{context}}/{{job}}",
            "job_status",
            "Say the status of a job in each active instance of a plan, a line each",
            statuses.job_text,
            AnyQuery,
        ),
        read(
            f"{base}/json/{{plan}}/{{context}}",
            "context_status_json",
            "Show a context in each active instance of a plan",
            statuses.tree,
            AnyQuery,
        ),
        read(
            f"{base}/json/{{plan}}/{{context}}/{{job}}",
            "job_status_json",
            "Show a job in each active instance of a plan",
            statuses.job,
            AnyQuery,
        ),
        read(
            f"{base}/json/allInstance",
            "all_instances",
            "List the active instances with their statuses",
            statuses.all_instances,
            AllInstancesQuery,
        ),
        read(
            f"{base}/json/jobStatus",
            "all_jobs",
            "List the jobs of all active instances with their statuses",
            statuses.all_jobs,
            JobStatusQuery,
        ),
        read(
            f"{base}/json/jobStatus/{{plan}}",
            "jobs_of_plan",
            "List the jobs of a plan's active instances with their statuses",
            statuses.jobs_of_plan,
            JobStatusQuery,
        ),
        read(
            f"{base}/overRunningJobPlans",
            "over_running_job_plans",
            "List the active instances past their projected end",
            statuses.over_running,
            AnyQuery,
        ),
        Route(
            method="GET",
            path="/rest/jobContext/getByAgentName",
            name="instances_of_agent",
            summary="Show an agent the active instances that it must know",
            access=Access.READ_OR_AGENT,
            handle=statuses.for_agent,
            body=NO_BODY,
            query=AgentQuery,
            answers={200: BY_INSTANCE},
        ),
    )
