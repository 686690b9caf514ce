"""The versions of plans: which there are, each as it was, and what changed from one to another."""

from typing import Annotated, Any

import msgspec

from ...actors.dashboard.plan_versions import PlanVersion
from ...domain.plan import JobPlan
from ...domain.plan_diff import PlanChange
from ..wire.views import written
from .callers import Access
from .routes import NO_BODY, Answer, Call, NoQuery, Route
from .services import Services

Number = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
"""Versions count from 1."""


class DiffQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two versions; without ``to`` the newest, without ``from`` the one before ``to``."""

    older: Number | None = msgspec.field(default=None, name="from")
    newer: Number | None = msgspec.field(default=None, name="to")


class PlanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a plan."""

    name: str
    version: int
    disabled: bool
    pushed_at: str
    pushed_by: str | None
    agents: tuple[str, ...]
    plan: JobPlan
    """In our own words."""


class VersionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a list, with the order that made it."""

    version: int
    pushed_at: str
    pushed_by: str | None
    command: str | None
    reason: str | None


class VersionList(msgspec.Struct, frozen=True):
    """All versions of a plan, the newest first."""

    items: tuple[VersionItem, ...]
    next: str | None = None


class DiffAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from one version of a plan to another."""

    name: str
    older: int = msgspec.field(name="from")
    newer: int = msgspec.field(name="to")
    changes: tuple[PlanChange, ...]


class PlanVersions:
    """The resources of versions."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def show(self, call: Call[None, NoQuery]) -> Answer:
        """One version."""
        name = call.path["name"]
        call.caller.must_see_plan(name)
        return Answer(plan_answer(self._dashboard.plan(name, call.path["n"])))

    def list(self, call: Call[None, NoQuery]) -> Answer:
        """All of them, without the plans themselves."""
        name = call.path["name"]
        call.caller.must_see_plan(name)
        items = (
            VersionItem(
                version=row.version,
                pushed_at=written(row.pushed_at),
                pushed_by=row.pushed_by,
                command=row.command,
                reason=row.reason,
            )
            for row in reversed(self._dashboard.plan_versions(name))
        )
        return Answer(VersionList(tuple(items)))

    def diff(self, call: Call[None, DiffQuery]) -> Answer:
        """What changed."""
        name = call.path["name"]
        call.caller.must_see_plan(name)
        newer = call.query.newer or self._dashboard.plan_versions(name)[-1].version
        older = call.query.older or max(1, newer - 1)
        changes = self._dashboard.plan_changes(name, older, newer)
        return Answer(DiffAnswer(name=name, older=older, newer=newer, changes=tuple(changes)))


def plan_answer(version: PlanVersion) -> PlanAnswer:
    """A version as clients see it."""
    return PlanAnswer(
        name=version.name,
        version=version.version,
        disabled=version.plan.disabled,
        pushed_at=written(version.pushed_at),
        pushed_by=version.pushed_by,
        agents=version.plan.agents(),
        plan=version.plan,
    )


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    versions = PlanVersions(services)
    one = "/api/v1/plans/{name}"
    return (
        Route(
            method="GET",
            path=f"{one}/versions",
            name="list_plan_versions",
            summary="List the versions of a plan, the newest first",
            access=Access.READ,
            handle=versions.list,
            body=NO_BODY,
            query=NoQuery,
            answers={200: VersionList},
        ),
        Route(
            method="GET",
            path=f"{one}/versions/{{n:int(min=1,max=2147483647)}}",
            name="show_plan_version",
            summary="Show a version of a plan",
            access=Access.READ,
            handle=versions.show,
            body=NO_BODY,
            query=NoQuery,
            answers={200: PlanAnswer},
        ),
        Route(
            method="GET",
            path=f"{one}/diff",
            name="diff_plan",
            summary="Tell what changed from one version of a plan to another",
            access=Access.READ,
            handle=versions.diff,
            body=NO_BODY,
            query=DiffQuery,
            answers={200: DiffAnswer},
        ),
    )
