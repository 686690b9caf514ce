"""Plans as bundles that can be pushed again, here or elsewhere."""

from typing import Any
from urllib.parse import quote

import msgspec

from ...actors.dashboard.plan_versions import PlanVersion
from ..wire.bundles import documents_for, pack, split_contexts, tokenised_documents
from ..wire.documents import WireError
from ..wire.file_names import file_name
from .callers import Access
from .plan_problems import bad_plan
from .plan_versions import Number
from .routes import NO_BODY, Answer, AnyQuery, Call, Route
from .services import Services
from .uploads import ZIP


class ExportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In which form a plan is wanted."""

    tokens: bool = False
    """With tokens for what differs between environments: its agents, and the last part of its name."""
    split: bool = False
    """With each context in a file of its own."""
    version: Number | None = None
    """Not the newest version but this one."""


class PlanExports:
    """The resources of exports."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def export(self, call: Call[None, ExportQuery]) -> Answer:
        """A version in the form that is asked for."""
        query = call.query
        version = self._version(call, call.path["name"], query.version)
        documents = _with_tokens(version, status=422) if query.tokens else _as_it_is(version)
        return _zip(version, split_contexts(documents) if query.split else documents)

    def plain(self, call: Call[None, AnyQuery]) -> Answer:
        """The newest version, for an existing client."""
        version = self._version(call, call.path["plan"])
        return _zip(version, _as_it_is(version))

    def tokenised(self, call: Call[None, AnyQuery]) -> Answer:
        """The newest version with tokens, for an existing client."""
        version = self._version(call, call.path["plan"])
        return _zip(version, _with_tokens(version, status=400))

    def _version(self, call: Call[None, Any], name: str, number: int | None = None) -> PlanVersion:
        call.caller.must_see_plan(name)
        return self._dashboard.plan(name, number)


def _as_it_is(version: PlanVersion) -> dict[str, bytes]:
    return documents_for(version.plan, version.documents)


def _with_tokens(version: PlanVersion, *, status: int) -> dict[str, bytes]:
    try:
        return tokenised_documents(version.plan, version.documents)
    except WireError as error:
        raise bad_plan(error, status=status) from error


def _zip(version: PlanVersion, documents: dict[str, bytes]) -> Answer:
    content = pack(version.plan, documents, version.pushed_at)
    name = quote(f"{file_name(version.name)}.zip", safe="")
    return Answer(content, media=ZIP, headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"})


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    exports = PlanExports(services)
    bundle = {ZIP: {"type": "string", "format": "binary"}}
    return (
        Route(
            method="GET",
            path="/api/v1/plans/{name}/export",
            name="export_plan",
            summary="Export a version of a plan as a bundle that can be pushed again",
            access=Access.READ,
            handle=exports.export,
            body=NO_BODY,
            query=ExportQuery,
            answers={200: bundle},
            errors=(422,),
        ),
        Route(
            method="GET",
            path="/rest/export/context/{plan}",
            name="export_context",
            summary="Export the newest version of a plan as a bundle",
            access=Access.READ,
            handle=exports.plain,
            body=NO_BODY,
            query=AnyQuery,
            answers={200: bundle},
        ),
        Route(
            method="GET",
            path="/rest/export/context/tokens/{plan}",
            name="export_context_tokens",
            summary="Export the newest version of a plan with tokens for what differs between environments",
            access=Access.READ,
            handle=exports.tokenised,
            body=NO_BODY,
            query=AnyQuery,
            answers={200: bundle},
        ),
    )
