"""Jobs of an instance: show one, submit it, read what its process wrote."""

from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from ...actors.dashboard.ports import AgentRefused, AgentUnreachable
from ...domain.commands import SubmitJob
from ..wire.views import JobView, job_view
from .callers import Access
from .errors import Refusal
from .instances import Accepted, ParameterName, Position, Reason, accepted
from .routes import NO_BODY, TEXT, Answer, Call, NoQuery, Route, optional_json_body
from .services import Services, unit_in

Stream: TypeAlias = Literal["stdout", "stderr"]

MOST_OUTPUT_BYTES = 1024 * 1024


class SubmitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to run a job by hand."""

    parameters: dict[ParameterName, str] = {}
    reason: Reason | None = None


class OutputQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the output to read, in bytes."""

    offset: Position = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_OUTPUT_BYTES)] = MOST_OUTPUT_BYTES


class Jobs:
    """The resources of the jobs of an instance."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dashboard = services.dashboard

    def show(self, call: Call[None, NoQuery]) -> Answer:
        """A job as it stands now."""
        state = self._services.instance(call.path["instance_id"], call.caller)
        return Answer(job_view(state, unit_in(state, call.path["context"], call.path["identifier"])))

    def submit(self, call: Call[SubmitBody, NoQuery]) -> Answer:
        """Run it now, its dependencies ignored."""
        instance_id, context, identifier = (
            call.path[each] for each in ("instance_id", "context", "identifier")
        )
        if not call.caller.unlimited:
            state = self._services.instance(instance_id, call.caller)
            call.caller.must_see_agent(unit_in(state, context, identifier).job.agent)
        command = SubmitJob(job=identifier, context=context, parameters=call.body.parameters)
        facts = self._dashboard.command(instance_id, command, call.origin(call.body.reason))
        return Answer(accepted(facts, 0))

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
            method="POST",
            path=f"{one}/submit",
            name="submit_job",
            summary="Run a job now, its dependencies ignored",
            access=Access.WRITE,
            handle=jobs.submit,
            body=optional_json_body(SubmitBody),
            query=NoQuery,
            answers={200: Accepted},
            errors=(404, 409),
            keyed=True,
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
