"""Plans changed where they are: job templates replaced, and how new instances start.

What comes of it is a new version, as a push would make it. It is made from the newest one; if another push
comes between, it is made again from that.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, get_args

import msgspec

from ...actors.dashboard.dashboard import Pushed
from ...actors.dashboard.errors import NotPermitted, PlanMoved
from ...actors.dashboard.origin import Origin
from ...actors.dashboard.plan_versions import PlanVersion
from ...domain.commands import Refused
from ...domain.plan import Job, JobPlan
from ...domain.plan_defaults import JobDefault, with_job_default, with_schedules
from ..wire.bundles import Bundle, documents_for
from ..wire.documents import WireError
from ..wire.provision import GivenTemplate, decode_templates
from ..wire.template_merging import with_templates
from .callers import Access
from .errors import unavailable
from .instances import ReasonBody
from .limits import refuse_nul
from .plan_problems import bad_plan, refused_plan
from .routes import JSON, Answer, AnyQuery, Body, Call, NoQuery, Route, optional_json_body
from .services import Services

T = TypeVar("T")

_TRIES = 10
"""Each time one comes to nothing, somebody else's push has come between."""

_SUMMARIES: dict[JobDefault, str] = {
    "hold": "Have new instances of a plan start with a job held",
    "release": "Have new instances of a plan start with a job held no longer",
    "skip": "Have new instances of a plan start with a job skipped",
    "enable": "Have new instances of a plan start with a job skipped no longer",
}


class JobDefaultBody(ReasonBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """In which contexts; left out, wherever the job stands."""

    contexts: tuple[str, ...] | None = None


class JobDefaultAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How new instances of a plan start with a job, and since which version."""

    name: str
    version: int
    changed: bool
    identifier: str
    held_in: tuple[str, ...]
    skipped_in: tuple[str, ...]


class SchedulesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether new instances of a plan start with their schedules disabled, and since which version."""

    name: str
    version: int
    changed: bool
    schedules_disabled: bool


class PlanRevisions:
    """The resources of changes to plans that are there."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def default(self, default: JobDefault, call: Call[JobDefaultBody, NoQuery]) -> Answer:
        """Hold, release, skip or enable a job in new instances."""
        identifier, contexts = call.path["identifier"], call.body.contexts

        def revise(version: PlanVersion) -> Bundle:
            revised = with_job_default(version.plan, default, identifier, contexts)
            if isinstance(revised, Refused):
                raise NotPermitted(revised)
            return _rewritten(version, revised)

        command = f"{default.capitalize()}JobInPlan"
        bundle, pushed = self._revised(call, revise, call.body.reason, command)
        job = next((each for each in bundle.plan.jobs if each.identifier == identifier), None)
        return Answer(_job_default(pushed, identifier, job))

    def schedules(self, call: Call[ReasonBody, NoQuery], *, disabled: bool) -> Answer:
        """Disable or enable the schedules of new instances."""

        def revise(version: PlanVersion) -> Bundle:
            return _rewritten(version, with_schedules(version.plan, disabled=disabled))

        command = f"{'Disable' if disabled else 'Enable'}SchedulesInPlan"
        _, pushed = self._revised(call, revise, call.body.reason, command)
        return Answer(
            SchedulesAnswer(
                name=pushed.name, version=pushed.version, changed=pushed.changed, schedules_disabled=disabled
            )
        )

    def provision_jobs(self, call: Call[tuple[str, list[GivenTemplate]], AnyQuery]) -> Answer:
        """Replace job templates of a known plan, or add some, for an existing client."""
        name, templates = call.body

        call.caller.must_see_plan(name)

        def attempt(version: PlanVersion) -> None:
            bundle = with_templates(version.plan, version.documents, templates)
            call.caller.must_see_agents(bundle.plan.agents())
            problems = self._dashboard.problems_of(bundle.plan)
            if any(problem.is_error for problem in problems):
                raise refused_plan(problems, status=400)
            self._push(version, bundle, call.origin(), "ProvisionJobs")

        try:
            self._from_the_newest(name, attempt)
        except WireError as error:
            raise bad_plan(error, status=400) from error
        return Answer()

    def _revised(
        self,
        call: Call[Any, Any],
        revise: Callable[[PlanVersion], Bundle],
        reason: str | None,
        command: str,
    ) -> tuple[Bundle, Pushed]:
        """What the newest version was made into, and what became of the push of it."""
        call.caller.must_see_plan(call.path["name"])

        def attempt(version: PlanVersion) -> tuple[Bundle, Pushed]:
            call.caller.must_see_agents(version.plan.agents())
            bundle = revise(version)
            return bundle, self._push(version, bundle, call.origin(reason), command)

        return self._from_the_newest(call.path["name"], attempt)

    def _push(self, version: PlanVersion, bundle: Bundle, origin: Origin, command: str) -> Pushed:
        return self._dashboard.revise_plan(
            bundle.plan, bundle.documents, origin, rests_on=version.position, command=command
        )

    def _from_the_newest(self, name: str, attempt: Callable[[PlanVersion], T]) -> T:
        """Make the attempt from the newest version, and again when that was not the newest any more."""
        for _ in range(_TRIES):
            try:
                return attempt(self._dashboard.plan(name))
            except PlanMoved:
                continue
        raise unavailable(f"others push plan {name} all the time")


def _rewritten(version: PlanVersion, plan: JobPlan) -> Bundle:
    """The plan with the documents that make it; unchanged documents where nothing changed."""
    if plan == version.plan:
        return Bundle(version.plan, version.documents)
    return Bundle(plan, documents_for(plan, version.documents))


def _job_default(pushed: Pushed, identifier: str, job: Job | None) -> JobDefaultAnswer:
    return JobDefaultAnswer(
        name=pushed.name,
        version=pushed.version,
        changed=pushed.changed,
        identifier=identifier,
        held_in=() if job is None else job.held_in,
        skipped_in=() if job is None else job.skipped_in,
    )


def _read_templates(raw: bytes, _media: str) -> tuple[str, list[GivenTemplate]]:
    refuse_nul(raw)
    try:
        return decode_templates(raw)
    except WireError as error:
        raise bad_plan(error, status=400) from error


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    revisions = PlanRevisions(services)
    one = "/api/v1/plans/{name}"
    defaults: tuple[JobDefault, ...] = get_args(JobDefault)
    return (
        *(
            Route(
                method="POST",
                path=f"{one}/jobs/{{identifier}}/{default}",
                name=f"{default}_job_in_plan",
                summary=_SUMMARIES[default],
                access=Access.WRITE,
                handle=partial(revisions.default, default),
                body=optional_json_body(JobDefaultBody),
                query=NoQuery,
                answers={200: JobDefaultAnswer},
                errors=(409,),
                keyed=True,
            )
            for default in defaults
        ),
        *(
            Route(
                method="POST",
                path=f"{one}/schedules/{verb}",
                name=f"{verb}_schedules_in_plan",
                summary=f"Have new instances of a plan start with their schedules {verb}d",
                access=Access.WRITE,
                handle=partial(revisions.schedules, disabled=verb == "disable"),
                body=optional_json_body(ReasonBody),
                query=NoQuery,
                answers={200: SchedulesAnswer},
                errors=(409,),
                keyed=True,
            )
            for verb in ("disable", "enable")
        ),
        Route(
            method="PUT",
            path="/rest/provision/jobs",
            name="provision_jobs",
            summary="Replace job templates of a plan that is there, or add some",
            access=Access.WRITE,
            handle=revisions.provision_jobs,
            body=Body(read=_read_templates, media={JSON: dict[str, Any]}),
            query=AnyQuery,
            answers={200: None},
            errors=(404,),
        ),
    )
