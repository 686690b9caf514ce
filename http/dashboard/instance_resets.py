"""Instance resets: end an active instance and begin a fresh one instead, for clients of both kinds."""

from typing import Any
from uuid import UUID

import msgspec

from ...actors.dashboard.errors import UnknownName
from ..wire.views import FactView, fact_view
from .callers import Access
from .errors import Refusal
from .instances import ParameterName, ReasonBody
from .parameter_values import must_be_usable
from .routes import NO_BODY, Answer, AnyQuery, Call, NoQuery, Route, optional_json_body
from .services import Services


class ResetBody(ReasonBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the fresh instance is to begin."""

    parameters: dict[ParameterName, str] = msgspec.field(default_factory=dict)
    same_parameters: bool = False
    """What was given or set so far is given to the fresh one too; ``parameters`` win."""
    hold_commands: bool = False
    """Every command job of the fresh one begins on hold."""


class Reset(msgspec.Struct, frozen=True):
    """The fresh instance, and how the old one ended."""

    instance_id: str
    """The fresh one's."""
    position: int
    """Of the old one's log."""
    facts: tuple[FactView, ...]
    """By which the old one ended."""


class InstanceResets:
    """The resources."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dashboard = services.dashboard

    def reset(self, call: Call[ResetBody, NoQuery]) -> Answer:
        """End it, and begin a fresh one."""
        instance_id, body = call.path["instance_id"], call.body
        state = self._services.instance(instance_id, call.caller)
        call.caller.must_see_agents(state.agents)
        must_be_usable(body.parameters, "/parameters")
        fresh, facts = self._dashboard.reset_instance(
            instance_id,
            call.origin(body.reason),
            parameters=body.parameters,
            same_parameters=body.same_parameters,
            hold_commands=body.hold_commands,
        )
        answer = Reset(str(fresh), facts[-1].position, tuple(fact_view(each) for each in facts))
        return Answer(answer, status=201, headers={"Location": f"/api/v1/instances/{fresh}"})

    def compatible(self, call: Call[None, AnyQuery]) -> Answer:
        """The same for existing clients: of the instance that is named, or of the only one that is active."""
        plan = call.path["plan"]
        call.caller.must_see_plan(plan)
        instance_id = call.path.get("instance_id") or self._only_active(plan)
        state = self._services.instance(instance_id, call.caller)
        if state.plan != plan:
            raise UnknownName(f"plan {plan} has no instance {instance_id}")
        call.caller.must_see_agents(state.agents)
        self._dashboard.reset_instance(instance_id, call.origin())
        return Answer()

    def _only_active(self, plan: str) -> UUID:
        self._dashboard.plan_as_it_stands(plan)
        active = self._dashboard.active_of(plan)
        if not active:
            raise UnknownName(f"plan {plan} has no active instance to reset; start one")
        if len(active) > 1:
            ids = ", ".join(str(each) for each in active[:10])
            raise Refusal(400, f"plan {plan} has {len(active)} active instances; say which to reset: {ids}")
        return active[0]


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    resets = InstanceResets(services)
    compatible = "/rest/context/reset/{plan}"
    return (
        Route(
            method="POST",
            path="/api/v1/instances/{instance_id:uuid}/reset",
            name="reset_instance",
            summary="End an active instance and begin a fresh one of its plan's newest version instead",
            access=Access.WRITE,
            handle=resets.reset,
            body=optional_json_body(ResetBody),
            query=NoQuery,
            answers={201: Reset},
            errors=(404, 409),
            keyed=True,
        ),
        Route(
            method="PUT",
            path=compatible,
            name="reset_context",
            summary="Reset the only active instance of a plan",
            access=Access.WRITE,
            handle=resets.compatible,
            body=NO_BODY,
            query=AnyQuery,
            answers={200: None},
            errors=(404, 409),
        ),
        Route(
            method="PUT",
            path=f"{compatible}/{{instance_id:uuid}}",
            name="reset_context_instance",
            summary="Reset an active instance of a plan",
            access=Access.WRITE,
            handle=resets.compatible,
            body=NO_BODY,
            query=AnyQuery,
            answers={200: None},
            errors=(404, 409),
        ),
    )
