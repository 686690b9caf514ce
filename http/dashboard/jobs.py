"""Jobs of an instance: show one, say what would follow from it, read what its process wrote."""

from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from ...actors.dashboard.ports import AgentRefused, AgentUnreachable
from ...domain.commands import FireDependants
from ..wire.previews import DependantsView, dependants_view
from ..wire.views import JobView, job_view
from .callers import Access
from .errors import Refusal
from .instances import Position
from .routes import NO_BODY, TEXT, Answer, Call, NoQuery, Route
from .services import Services, unit_in

Stream: TypeAlias = Literal["stdout", "stderr"]

MOST_OUTPUT_BYTES = 1024 * 1024


class OutputQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the output to read, in bytes."""

    offset: Position = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_OUTPUT_BYTES)] = MOST_OUTPUT_BYTES


class DependantsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Upon what the dependants would start."""

    after: Literal["failure", "success"] = "failure"
    """Failure: the job is in ERROR, and its dependants are fired. Success: it came, whatever it does now."""


class Jobs:
    """The resources of the jobs of an instance."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dashboard = services.dashboard

    def show(self, call: Call[None, NoQuery]) -> Answer:
        """A job as it stands now."""
        state = self._services.instance(call.path["instance_id"], call.caller)
        return Answer(job_view(state, unit_in(state, call.path["context"], call.path["identifier"])))

    def dependants(self, call: Call[None, DependantsQuery]) -> Answer:
        """What firing its dependants, or its success, would start; changes nothing."""
        instance_id, context, identifier = (
            call.path[each] for each in ("instance_id", "context", "identifier")
        )
        self._services.must_see_instance(instance_id, call.caller)
        if call.query.after == "success":
            facts = self._dashboard.preview_success(instance_id, identifier, context)
        else:
            command = FireDependants(job=identifier, context=context)
            facts = self._dashboard.preview_dependants(instance_id, command)
        return Answer(dependants_view(identifier, facts))

    def output(self, stream: Stream, call: Call[None, OutputQuery]) -> Answer:
        """What its latest run wrote, from an offset; the next offset is in a header."""
        instance_id, context, identifier = (
            call.path[each] for each in ("instance_id", "context", "identifier")
        )
        state = self._services.instance(instance_id, call.caller)
        call.caller.must_see_agent(unit_in(state, context, identifier).job.agent)
        offset = call.query.offset
        try:
            written = self._dashboard.output(
                instance_id, context, identifier, stream, offset=offset, limit=call.query.limit
            )
        except AgentUnreachable as error:
            raise Refusal(502, str(error)) from error
        except AgentRefused as error:
            raise Refusal(404, str(error)) from error
        headers = {"X-Content-Type-Options": "nosniff", "Next-Offset": str(offset + len(written))}
        return Answer(written, media=TEXT, headers=headers)


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    jobs = Jobs(services)
    one = "/api/v1/instances/{instance_id:uuid}/contexts/{context}/jobs/{identifier}"
    streams: tuple[Stream, ...] = ("stdout", "stderr")
    return (
        Route(
            method="GET",
            path=one,
            name="show_job",
            summary="Show a job of an instance",
            access=Access.READ,
            handle=jobs.show,
            body=NO_BODY,
            query=NoQuery,
            answers={200: JobView},
            errors=(404,),
        ),
        Route(
            method="GET",
            path=f"{one}/dependants",
            name="preview_dependants",
            summary="Say what firing a job's dependants, or its success, would start; change nothing",
            access=Access.READ,
            handle=jobs.dependants,
            body=NO_BODY,
            query=DependantsQuery,
            answers={200: DependantsView},
            errors=(404, 409),
        ),
        *(
            Route(
                method="GET",
                path=f"{one}/log/{stream}",
                name=f"job_{stream}",
                summary=f"Read the {stream} of a job's latest run from its agent",
                access=Access.READ,
                handle=partial(jobs.output, stream),
                body=NO_BODY,
                query=OutputQuery,
                answers={200: {TEXT: str}},
                errors=(404, 502),
            )
            for stream in streams
        ),
    )
