"""Who is told of what, changed as existing clients do it: one document at a time.

A change holds at once, for active instances too, and is a fact of the plan's log. It is made upon the plan as
it stands; if somebody else changes that meanwhile, it is made again.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from ...actors.dashboard.errors import PlanMoved, UnknownName
from ...actors.dashboard.plan_versions import PlanVersion
from ...domain.facts import NotificationsSet
from ...domain.notification_settings import MonitorType
from ...domain.notification_validation import notification_problems
from ..wire.documents import Fields, WireError
from ..wire.notification_documents import (
    Key,
    documents_about,
    key_of,
    of_jobs,
    of_plan,
    read_job_document,
    read_job_documents,
    read_plan_document,
    settings_of,
    with_jobs,
    with_plan,
    without_jobs,
    without_plan,
)
from .callers import Access, Caller
from .errors import FieldError, Refusal, unavailable
from .limits import refuse_nul
from .plan_problems import bad_plan, refused_plan
from .routes import JSON, NO_BODY, Answer, AnyQuery, Body, Call, Route
from .services import Services

_TRIES = 10
"""Each time one comes to nothing, somebody else's change has come between."""

Documents: TypeAlias = Mapping[str, bytes]
Named: TypeAlias = tuple[str, Fields]


class WhichPlanQuery(msgspec.Struct, frozen=True, rename="camel"):
    """The plan that is meant, where several have a context and a job of the same names."""

    context_name: str | None = None


class NotificationSettingsResource:
    """The resources of both kinds of document."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    # --- for a plan -----------------------------------------------------------------------------------------

    def save_plan(self, call: Call[Named, AnyQuery]) -> Answer:
        """Keep what holds for every job of a plan."""
        plan, fields = call.body
        self._change(call, plan, lambda documents: with_plan(documents, plan, fields))
        return Answer()

    def of_plan(self, call: Call[None, AnyQuery]) -> Answer:
        """What holds for every job of a plan."""
        version = self._version(call.caller, call.path["plan"])
        records = [
            _record(version, version.name, {"contextName": version.name, "emailNotificationContext": fields})
            for fields in of_plan(version.documents)
        ]
        return Answer(_results(records, call.path["limit"], call.path["offset"]))

    def delete_plan(self, call: Call[None, AnyQuery]) -> Answer:
        """Nothing holds for every job of a plan any more."""
        self._change(call, call.path["plan"], without_plan)
        return Answer()

    # --- for jobs -------------------------------------------------------------------------------------------

    def save_job(self, call: Call[Named, AnyQuery]) -> Answer:
        """Keep what holds for one monitor type of a job in a context."""
        self._save_jobs(call, [call.body])
        return Answer()

    def save_jobs(self, call: Call[list[Named], AnyQuery]) -> Answer:
        """Keep several; those of one plan all or none."""
        self._save_jobs(call, call.body)
        return Answer()

    def _save_jobs(self, call: Call[Any, AnyQuery], given: Iterable[Named]) -> None:
        by_plan: dict[str, list[Fields]] = {}
        for plan, fields in given:
            by_plan.setdefault(plan, []).append(fields)
        for plan, documents in by_plan.items():
            # What is wrong with any of them is told before anything is kept.
            self._changed(self._version(call.caller, plan), _saving(documents))
        for plan, documents in by_plan.items():
            self._change(call, plan, _saving(documents))

    def of_jobs(self, call: Call[None, AnyQuery]) -> Answer:
        """What holds for jobs of a plan."""
        version = self._version(call.caller, call.path["plan"])
        records = [_job_record(version, fields) for fields in of_jobs(version.documents)]
        return Answer(_results(records, call.path["limit"], call.path["offset"]))

    def of_job(self, call: Call[None, WhichPlanQuery]) -> Answer:
        """What holds for one monitor type of a job in a context."""
        version, key = self._version_with(call)
        found = next(fields for fields in of_jobs(version.documents) if key_of(fields) == key)
        return Answer(_job_record(version, found))

    def delete_jobs(self, call: Call[None, AnyQuery]) -> Answer:
        """Nothing holds for single jobs of a plan any more."""
        self._change(call, call.path["plan"], without_jobs)
        return Answer()

    def delete_job(self, call: Call[None, WhichPlanQuery]) -> Answer:
        """Nothing holds for that monitor type of a job in a context any more."""
        version, key = self._version_with(call)
        self._change(call, version.name, lambda documents: without_jobs(documents, key))
        return Answer()

    # --- plans ----------------------------------------------------------------------------------------------

    def _version(self, caller: Caller, plan: str) -> PlanVersion:
        caller.must_see_plan(plan)
        return self._dashboard.plan(plan)

    def _version_with(self, call: Call[None, WhichPlanQuery]) -> tuple[PlanVersion, Key]:
        """The plan that has a document of the key in the address; raises ``UnknownName``."""
        key = call.path["job"], call.path["child"], call.path["monitorType"]
        if key[2] not in MonitorType.__members__:
            raise Refusal(400, f"{key[2][:80]!r} is no monitor type; there are {', '.join(MonitorType)}")
        named = call.query.context_name
        names = [row.name for row in self._dashboard.plans()] if named is None else [named]
        seen = [self._version(call.caller, name) for name in names if call.caller.sees_plan(name)]
        found = [each for each in seen if key in map(key_of, of_jobs(each.documents))]
        if not found:
            raise UnknownName(f"nothing is said of {key[2]} for job {key[0]} in context {key[1]}")
        if len(found) > 1:
            plans = ", ".join(each.name for each in found)
            detail = f"several plans say it; name one with ?contextName=: {plans}"
            raise Refusal(400, detail, errors=(FieldError(detail, "?contextName"),))
        return found[0], key

    def _change(
        self, call: Call[Any, Any], plan: str, change: Callable[[Documents], dict[str, bytes]]
    ) -> None:
        for _ in range(_TRIES):
            version = self._version(call.caller, plan)
            fact = self._changed(version, change)
            try:
                self._dashboard.set_notifications(plan, fact, call.origin(), rests_on=version.position)
            except PlanMoved:
                continue
            return
        raise unavailable(f"others change plan {plan} all the time")

    def _changed(
        self, version: PlanVersion, change: Callable[[Documents], dict[str, bytes]]
    ) -> NotificationsSet:
        """The fact of a change; a ``Refusal`` of 400 for one that says what cannot be."""
        before = documents_about(version.documents)
        try:
            documents = change(before)
            settings, warnings = settings_of(documents)
            _, known = settings_of(before)
        except WireError as error:
            raise bad_plan(error, status=400) from error
        plan = msgspec.structs.replace(version.plan, notifications=settings)
        # What a bundle may bring along although it tells nobody, nobody need be able to say anew.
        new = (each.place.error(each.message, each.pointer) for each in warnings if each not in known)
        problems = [*new, *notification_problems(plan)]
        if any(each.is_error for each in problems):
            raise refused_plan(problems, status=400)
        return NotificationsSet(notifications=settings, documents=documents)


def _saving(given: list[Fields]) -> Callable[[Documents], dict[str, bytes]]:
    return lambda documents: with_jobs(documents, given)


def _record(version: PlanVersion, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A document with what is known of its making, as existing clients have it."""
    return {
        "id": name,
        **fields,
        "timestamp": version.pushed_at,
        "modifiedTimestamp": version.notifications_set_at,
        "modifiedBy": version.notifications_set_by,
    }


def _job_record(version: PlanVersion, fields: Fields) -> dict[str, Any]:
    job, context, monitor_type = key_of(fields)
    return _record(
        version,
        f"{job}_{context}_{monitor_type}",
        {
            "jobName": job,
            "contextName": version.name,
            "childContextName": context,
            "monitorType": monitor_type,
            "emailNotificationDetails": fields,
        },
    )


def _results(records: list[dict[str, Any]], limit: int, offset: int) -> dict[str, Any]:
    """Some of the records and how many there are; a negative limit is all."""
    end = None if limit < 0 else offset + limit
    return {"resultList": records[offset:end], "totalNumberOfResults": len(records), "queryResponseTime": 0}


def _body(read: Callable[[bytes], Any]) -> Body[Any]:
    def read_body(raw: bytes, _media: str) -> Any:
        refuse_nul(raw)
        try:
            return read(raw)
        except WireError as error:
            raise bad_plan(error, status=400) from error

    return Body(read=read_body, media={JSON: dict[str, Any]})


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    settings = NotificationSettingsResource(services)
    plans, jobs = "/rest/emailNotificationContext", "/rest/emailNotificationDetails"
    page = "{plan}/{limit:int(min=-1)}/{offset:int(min=0)}"
    one = "{job}/{child}/{monitorType}"

    def put(path: str, name: str, summary: str, handle: Any, read: Callable[[bytes], Any]) -> Route[Any, Any]:
        return Route(
            method="PUT",
            path=path,
            name=name,
            summary=summary,
            access=Access.WRITE,
            handle=handle,
            body=_body(read),
            query=AnyQuery,
            answers={200: None},
            errors=(404,),
        )

    def bodiless(
        method: str, path: str, name: str, summary: str, handle: Any, *, query: type = AnyQuery
    ) -> Route[Any, Any]:
        reads = method == "GET"
        return Route(
            method=method,
            path=path,
            name=name,
            summary=summary,
            access=Access.READ if reads else Access.WRITE,
            handle=handle,
            body=NO_BODY,
            query=query,
            answers={200: dict[str, Any] if reads else None},
            errors=(404,),
        )

    return (
        put(
            f"{plans}/save",
            "save_plan_notifications",
            "Say who is told of what happens to the jobs of a plan",
            settings.save_plan,
            read_plan_document,
        ),
        bodiless(
            "GET",
            f"{plans}/get/{page}",
            "plan_notifications",
            "Show who is told of what happens to the jobs of a plan",
            settings.of_plan,
        ),
        bodiless(
            "DELETE",
            f"{plans}/delete/{{plan}}",
            "delete_plan_notifications",
            "Tell nobody any more of what happens to the jobs of a plan for which nothing else is said",
            settings.delete_plan,
        ),
        put(
            f"{jobs}/save",
            "save_job_notification",
            "Say who is told of one monitor type of a job in a context",
            settings.save_job,
            read_job_document,
        ),
        put(
            f"{jobs}/saveAll",
            "save_job_notifications",
            "Say who is told of several monitor types of jobs in contexts",
            settings.save_jobs,
            read_job_documents,
        ),
        bodiless(
            "GET",
            f"{jobs}/get/{page}",
            "job_notifications",
            "Show what is said of notifications for jobs of a plan apart",
            settings.of_jobs,
        ),
        bodiless(
            "GET",
            f"{jobs}/getById/{one}",
            "job_notification",
            "Show who is told of one monitor type of a job in a context",
            settings.of_job,
            query=WhichPlanQuery,
        ),
        bodiless(
            "DELETE",
            f"{jobs}/deleteByContextName/{{plan}}",
            "delete_job_notifications",
            "Say nothing of notifications for jobs of a plan apart any more",
            settings.delete_jobs,
        ),
        bodiless(
            "DELETE",
            f"{jobs}/deleteById/{one}",
            "delete_job_notification",
            "Say nothing apart any more of one monitor type of a job in a context",
            settings.delete_job,
            query=WhichPlanQuery,
        ),
    )
