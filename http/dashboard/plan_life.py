"""The life of plans: enable, disable and delete them, see how they stand and what happened to them."""

from collections.abc import Callable
from typing import Any

import msgspec

from ...actors.dashboard.dashboard import Dashboard
from ...domain.plan_log import PlanStanding, PlanState
from ...domain.starts import next_start
from ..wire.views import FactView, fact_view, written, written_if_known
from .callers import Access
from .instances import Accepted, FactList, PageQuery, Reason, ReasonBody, accepted
from .plan_versions import PlanAnswer, plan_answer
from .routes import NO_BODY, Answer, Call, NoQuery, Route, optional_json_body
from .services import Services


class PlanNow(PlanAnswer, frozen=True, kw_only=True):
    """The newest version of a plan, and how the plan stands."""

    standing: PlanStanding
    """ENABLED, DISABLED, or DELETING as long as its instances end."""
    next_start: str | None
    """When its clock strikes next."""
    waiting_start: str | None
    """A start that was due and waits for the active instance to end."""
    prepared: str | None
    """The id of the instance that exists ahead of its start."""
    prepared_for: str | None
    """The start that it is for: the one that waits, or the next that no blackout covers."""
    called_off: bool
    """Somebody ended it: the start that it is for will not happen."""
    agents_to_tell: tuple[str, ...]
    """Agents that are still to be given its jobs, or to drop them."""


class Deleted(msgspec.Struct, frozen=True):
    """A plan that is deleted, or will be once its instances have ended."""

    position: int
    facts: tuple[FactView, ...]
    standing: PlanStanding
    ending: tuple[str, ...]
    """The instances that are being ended."""


class DeleteQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is deleted; part of the facts that follow."""

    reason: Reason | None = None


class PlanLife:
    """The resources."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def show(self, call: Call[None, NoQuery]) -> Answer:
        """The newest version, and how the plan stands."""
        name = call.path["name"]
        call.caller.must_see_plan(name)
        return Answer(_now(self._dashboard, self._dashboard.plan_as_it_stands(name)))

    def enable(self, call: Call[ReasonBody, NoQuery]) -> Answer:
        """Let instances start again."""
        name = self._may_change(call)
        return self._accepted(name, self._dashboard.enable_plan(name, call.origin(call.body.reason)))

    def disable(self, call: Call[ReasonBody, NoQuery]) -> Answer:
        """Let no instance start any more."""
        name = self._may_change(call)
        return self._accepted(name, self._dashboard.disable_plan(name, call.origin(call.body.reason)))

    def delete(self, call: Call[None, DeleteQuery]) -> Answer:
        """End its instances, then the plan."""
        name = self._may_change(call)
        facts = self._dashboard.delete_plan(name, call.origin(call.query.reason))
        ending = self._dashboard.active_of(name)
        return Answer(
            Deleted(
                position=facts[-1].position if facts else self._dashboard.plan_position(name),
                facts=tuple(fact_view(each) for each in facts),
                standing=PlanStanding.DELETING if ending else PlanStanding.DELETED,
                ending=tuple(str(each) for each in ending),
            )
        )

    def log(self, call: Call[None, PageQuery]) -> Answer:
        """Its facts, in order; also of a plan that was deleted."""
        name, query = call.path["name"], call.query
        call.caller.must_see_plan(name)
        facts = self._dashboard.plan_log(name, after=query.after, limit=query.limit)
        following = str(facts[-1].position) if len(facts) == query.limit else None
        return Answer(FactList(tuple(fact_view(each) for each in facts), following))

    def _may_change(self, call: Call[Any, Any]) -> str:
        name: str = call.path["name"]
        call.caller.must_see_plan(name)
        if call.caller.agents is not None:
            call.caller.must_see_agents(self._dashboard.plan_as_it_stands(name).plan.agents())
        return name

    def _accepted(self, name: str, facts: tuple[Any, ...]) -> Answer:
        return Answer(accepted(facts, self._dashboard.plan_position(name)))


def _now(dashboard: Dashboard, state: PlanState) -> PlanNow:
    prepared = state.prepared
    version = plan_answer(dashboard.plan(state.plan.name))
    return PlanNow(
        **{**msgspec.structs.asdict(version), "disabled": state.disabled},
        standing=state.standing,
        next_start=written_if_known(next_start(state, dashboard.config.time_zone)),
        waiting_start=written_if_known(state.deferred),
        prepared=None if prepared is None else str(prepared.instance_id),
        prepared_for=None if prepared is None else written(prepared.due_at),
        called_off=prepared is not None and dashboard.ended_before_its_start(prepared.instance_id),
        agents_to_tell=tuple(dashboard.plan_awaits(state.plan.name)),
    )


_ONE = "/api/v1/plans/{name}"


def _turned(
    order: str, summary: str, handle: Callable[[Call[ReasonBody, NoQuery]], Answer]
) -> Route[ReasonBody, NoQuery]:
    """The row of an order that a plan obeys or has obeyed already."""
    return Route(
        method="POST",
        path=f"{_ONE}/{order}",
        name=f"{order}_plan",
        summary=summary,
        access=Access.WRITE,
        handle=handle,
        body=optional_json_body(ReasonBody),
        query=NoQuery,
        answers={200: Accepted},
        errors=(404, 409),
        keyed=True,
    )


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    life = PlanLife(services)
    return (
        Route(
            method="GET",
            path=_ONE,
            name="show_plan",
            summary="Show the newest version of a plan, and how the plan stands",
            access=Access.READ,
            handle=life.show,
            body=NO_BODY,
            query=NoQuery,
            answers={200: PlanNow},
            errors=(404,),
        ),
        Route(
            method="DELETE",
            path=_ONE,
            name="delete_plan",
            summary="Delete a plan: end its instances and take its jobs from the agents",
            access=Access.ADMIN,
            handle=life.delete,
            body=NO_BODY,
            query=DeleteQuery,
            answers={200: Deleted},
            errors=(404, 409),
        ),
        _turned("enable", "Let instances of a plan start again", life.enable),
        _turned("disable", "Let no instance of a plan start any more", life.disable),
        Route(
            method="GET",
            path=f"{_ONE}/log",
            name="plan_log",
            summary="Read what happened to a plan: pushes, orders, starts, and starts that did not happen",
            access=Access.READ,
            handle=life.log,
            body=NO_BODY,
            query=PageQuery,
            answers={200: FactList},
            errors=(404,),
        ),
    )
