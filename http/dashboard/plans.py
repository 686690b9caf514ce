"""Job plans: push a bundle or a plan file, read plans and their versions, export them."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from ...actors.dashboard.dashboard import PlanInvalid, Pushed
from ...domain.plan_diff import PlanChange
from ...domain.problems import Problem
from ..wire.bundles import Bundle
from ..wire.views import written
from .callers import Access
from .errors import invalid
from .plan_problems import Warned, refused_plan, warned
from .routes import JSON, NO_BODY, Answer, AnyQuery, Body, Call, NoQuery, Route
from .services import Services
from .uploads import YAML, ZIP, Flawed, read_json_bundle, read_upload


class PushQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether to push, or only to say what a push would do, and upon which version."""

    dry_run: bool = False
    based_on: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None
    """Refuse it unless this is the newest version; 0: unless there is no such plan yet."""


class PushAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a push, or would become of it."""

    name: str
    version: int
    created: bool
    changed: bool
    warnings: tuple[Warned, ...]
    changes: tuple[PlanChange, ...] | UnsetType = UNSET
    """What would be different from the version before; told when nothing is pushed."""


class PlanItem(msgspec.Struct, frozen=True, kw_only=True):
    """A plan in a list."""

    name: str
    version: int
    disabled: bool
    pushed_at: str
    agents: tuple[str, ...]


class PlanList(msgspec.Struct, frozen=True):
    """All plans, by name."""

    items: tuple[PlanItem, ...]
    next: str | None = None


class Plans:
    """The resources of plans."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def push(self, call: Call[Bundle | Flawed, PushQuery]) -> Answer:
        """Make it the newest version, or say what that would do."""
        plan, name = call.body.plan, call.path["name"]
        call.caller.must_see_plan(name)
        call.caller.must_see_agents(plan.agents())
        if plan.name != name:
            raise invalid(f"the address says plan {name} and the body says {plan.name}", "/name")
        upload = self._whole(call.body, status=422)
        try:
            based_on = call.query.based_on
            if call.query.dry_run:
                pushed = self._dashboard.preview_push(plan, upload.documents, based_on=based_on)
            else:
                pushed = self._dashboard.push_plan(plan, upload.documents, call.origin(), based_on=based_on)
        except PlanInvalid as error:
            raise refused_plan(error.problems, status=422) from error
        status = 201 if pushed.created and not call.query.dry_run else 200
        return Answer(_push_answer(pushed, upload.warnings, dry_run=call.query.dry_run), status=status)

    def provision(self, call: Call[Bundle | Flawed, AnyQuery]) -> Answer:
        """The same, from an existing client."""
        call.caller.must_see_plan(call.body.plan.name)
        call.caller.must_see_agents(call.body.plan.agents())
        upload = self._whole(call.body, status=400)
        try:
            self._dashboard.push_plan(upload.plan, upload.documents, call.origin())
        except PlanInvalid as error:
            raise refused_plan(error.problems, status=400) from error
        return Answer()

    def _whole(self, upload: Bundle | Flawed, *, status: int) -> Bundle:
        """What was pushed, unless it has flaws: then its other errors are told with them."""
        if isinstance(upload, Flawed):
            problems = self._dashboard.problems_of(upload.plan)
            raise refused_plan(problems, status=status, flaws=upload.error.problems) from upload.error
        return upload

    def list(self, call: Call[None, NoQuery]) -> Answer:
        """Those that the caller may see."""
        rows = [row for row in self._dashboard.plans() if call.caller.sees_plan(row.name)]
        items = tuple(
            PlanItem(
                name=row.name,
                version=row.version,
                disabled=row.disabled,
                pushed_at=written(row.pushed_at),
                agents=tuple(row.agents),
            )
            for row in rows
        )
        return Answer(PlanList(items))


def _push_answer(pushed: Pushed, read_with: tuple[Problem, ...], *, dry_run: bool) -> PushAnswer:
    return PushAnswer(
        name=pushed.name,
        version=pushed.version,
        created=pushed.created,
        changed=pushed.changed,
        warnings=tuple(warned(each) for each in (*read_with, *pushed.warnings)),
        changes=pushed.changes if dry_run else UNSET,
    )


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    plans = Plans(services)
    one = "/api/v1/plans/{name}"
    binary = {"type": "string", "format": "binary"}
    return (
        Route(
            method="PUT",
            path=one,
            name="push_plan",
            summary="Push a plan: a bundle as zip or JSON, or a plan file in YAML",
            access=Access.WRITE,
            handle=plans.push,
            body=Body(read=read_upload, media={ZIP: binary, JSON: dict[str, Any], YAML: {"type": "string"}}),
            query=PushQuery,
            answers={200: PushAnswer, 201: PushAnswer},
            errors=(409,),
        ),
        Route(
            method="GET",
            path="/api/v1/plans",
            name="list_plans",
            summary="List the plans",
            access=Access.READ,
            handle=plans.list,
            body=NO_BODY,
            query=NoQuery,
            answers={200: PlanList},
        ),
        Route(
            method="PUT",
            path="/rest/provision/context",
            name="provision_context",
            summary="Push a plan as a JSON bundle, with or without type wrappers",
            access=Access.WRITE,
            handle=plans.provision,
            body=Body(read=read_json_bundle, media={JSON: dict[str, Any]}),
            query=AnyQuery,
            answers={200: None},
        ),
    )
