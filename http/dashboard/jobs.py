"""Jobs of an instance: show one, say why it does what it does and what would follow, read its output."""

from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from ...domain.commands import FireDependants
from ...domain.lock_waits import LockWait
from ..wire.job_details import JobDetails, job_details
from ..wire.lock_views import WaitView, wait_seen_by, wait_view
from ..wire.previews import DependantsView, dependants_view
from .callers import Access, Caller
from .instances import Limit, Position
from .routes import NO_BODY, TEXT, Answer, Call, NoQuery, Route
from .services import Services, unit_in
from .why_views import WhyView, why_view

Stream: TypeAlias = Literal["stdout", "stderr"]

MOST_OUTPUT_BYTES = 1024 * 1024
MOST_HOLDERS = 100
"""Of a lock, that are named to somebody who asks about a job."""


class OutputQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of the output to read, in bytes."""

    offset: Position = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_OUTPUT_BYTES)] = MOST_OUTPUT_BYTES


class WhyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much to tell."""

    limit: Limit = 100
    """At most so many blockers, jobs and causes."""


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
        """A job as it stands now, with all that is known of it."""
        state = self._services.instance(call.path["instance_id"], call.caller)
        context = call.path["context"]
        unit = unit_in(state, context, call.path["identifier"])
        wait = self._dashboard.lock_wait(state, unit)
        lock_wait = None if wait is None else self._wait_view(wait, call.caller)
        holders = tuple(self._services.lock_holders(state, unit, call.caller))
        return Answer(job_details(state, unit, context, lock_wait=lock_wait, holders=holders))

    def why(self, call: Call[None, WhyQuery]) -> Answer:
        """What really blocks it, and what caused what it did."""
        instance_id, context, identifier = (
            call.path[each] for each in ("instance_id", "context", "identifier")
        )
        self._services.must_see_instance(instance_id, call.caller)
        limit = call.query.limit
        told = self._dashboard.why(instance_id, context, identifier, limit=limit)
        return Answer(why_view(told, lambda wait: self._wait_view(wait, call.caller), limit=limit))

    def _wait_view(self, wait: LockWait, caller: Caller) -> WaitView:
        view = wait_view(wait, self._dashboard.plan_of, limit=MOST_HOLDERS)
        return wait_seen_by(view, caller.sees_plan)

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
        written = self._dashboard.output(
            instance_id, context, identifier, stream, offset=offset, limit=call.query.limit
        )
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
            summary="Show a job of an instance with all that is known of it",
            access=Access.READ,
            handle=jobs.show,
            body=NO_BODY,
            query=NoQuery,
            answers={200: JobDetails},
            errors=(404,),
        ),
        Route(
            method="GET",
            path=f"{one}/why",
            name="why_job",
            summary="Say what keeps a job from running, down to what really blocks it, and why it ran",
            access=Access.READ,
            handle=jobs.why,
            body=NO_BODY,
            query=WhyQuery,
            answers={200: WhyView},
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
