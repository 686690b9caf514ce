"""Parameters: what a job gets and why, the sources of plans, and encrypted values to paste into them."""

from typing import Annotated, Any

import msgspec

from ...actors.dashboard.parameter_sources import ParameterSource
from ...domain.expansion import LONGEST_VALUE
from ..wire.parameter_views import ParameterView, parameter_views
from ..wire.views import written_if_known
from .callers import Access, Caller
from .routes import NO_BODY, Answer, Call, NoQuery, Route, json_body
from .services import Services, unit_in


class EncryptBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What nobody is to read."""

    value: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_VALUE)]


class Encrypted(msgspec.Struct, frozen=True):
    """What stands for it, to be pasted into a plan, a source or a parameter; another one each time."""

    token: str


class SourceView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's parameter source; never a value."""

    plan: str
    file: str
    read_at: str | None
    """When it was last read well; ``null``: never yet."""
    names: tuple[str, ...]
    """The parameters that it gave values then."""
    error: str | None
    """Why it cannot be read now; what was read last stays in use."""
    warnings: tuple[str, ...]


class SourceList(msgspec.Struct, frozen=True, kw_only=True):
    """Every parameter source."""

    items: tuple[SourceView, ...]
    next: None = None
    error: str | None = None
    """Why the file that names the sources cannot be read now; those that it named last stay in use."""


class ParameterList(msgspec.Struct, frozen=True):
    """The parameters of a job, in the order in which it declares them."""

    items: tuple[ParameterView, ...]
    next: None = None


class Parameters:
    """The resources of parameters."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dashboard = services.dashboard

    def encrypt(self, call: Call[EncryptBody, NoQuery]) -> Answer:
        """Seal a value with the newest key."""
        return Answer(Encrypted(self._dashboard.encrypt(call.body.value)))

    def sources(self, call: Call[None, NoQuery]) -> Answer:
        """Those of the plans that the caller may see."""
        return Answer(self._seen(call.caller, self._dashboard.parameter_sources()))

    def refresh(self, call: Call[None, NoQuery]) -> Answer:
        """Read all of them now."""
        return Answer(self._seen(call.caller, self._dashboard.refresh_parameters(call.origin())))

    def of_job(self, call: Call[None, NoQuery]) -> Answer:
        """What a job would get if it were initiated now, and from where."""
        state = self._services.instance(call.path["instance_id"], call.caller)
        context = call.path["context"]
        unit = unit_in(state, context, call.path["identifier"])
        return Answer(ParameterList(parameter_views(state, unit, context)))

    def _seen(self, caller: Caller, sources: list[ParameterSource]) -> SourceList:
        items = tuple(_view(each) for each in sources if caller.sees_plan(each.plan))
        return SourceList(items=items, error=self._dashboard.parameter_sources_error)


def _view(source: ParameterSource) -> SourceView:
    return SourceView(
        plan=source.plan,
        file=source.file,
        read_at=written_if_known(source.read_at),
        names=source.names,
        error=source.error,
        warnings=source.warnings,
    )


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    parameters = Parameters(services)
    return (
        Route(
            method="POST",
            path="/api/v1/encrypt",
            name="encrypt",
            summary="Encrypt a value for use in a plan, a parameter source or a parameter",
            access=Access.READ,
            handle=parameters.encrypt,
            body=json_body(EncryptBody),
            query=NoQuery,
            answers={200: Encrypted},
            # Not keyed: the digest of the request that is kept for a key would help to guess the secret.
            errors=(503,),
        ),
        Route(
            method="GET",
            path="/api/v1/parameters",
            name="list_parameter_sources",
            summary="List the parameter sources of plans, and what is wrong with them",
            access=Access.READ,
            handle=parameters.sources,
            body=NO_BODY,
            query=NoQuery,
            answers={200: SourceList},
        ),
        Route(
            method="POST",
            path="/api/v1/parameters/refresh",
            name="refresh_parameters",
            summary="Read the parameter sources now",
            access=Access.WRITE,
            handle=parameters.refresh,
            body=NO_BODY,
            query=NoQuery,
            answers={200: SourceList},
            errors=(503,),
            keyed=True,
        ),
        Route(
            method="GET",
            path="/api/v1/instances/{instance_id:uuid}/contexts/{context}/jobs/{identifier}/parameters",
            name="job_parameters",
            summary="Show what parameters a job would get now, and where each value comes from",
            access=Access.READ,
            handle=parameters.of_job,
            body=NO_BODY,
            query=NoQuery,
            answers={200: ParameterList},
            errors=(404,),
        ),
    )
