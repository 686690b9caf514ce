"""Plan instances: start, list, show as they are or as they were, and read what happened to them."""

from datetime import date
from typing import Annotated, Any

import msgspec

from ...domain.audit import AuditRow
from ...domain.commands import Command, EndInstance
from ...domain.facts import Recorded
from ...domain.instants import Instant, parse_rfc3339
from ...domain.messages import DryRun
from ...storage.records import InstanceRow, Page
from ..wire.views import (
    AuditRowView,
    ChangeView,
    FactView,
    InstanceView,
    cause_view,
    event_view,
    fact_view,
    instance_view,
    written,
    written_if_known,
)
from .callers import Access
from .errors import FieldError, Refusal
from .parameter_values import must_be_usable
from .routes import NO_BODY, Answer, Call, NoQuery, Route, optional_json_body
from .services import Services

LONGEST_WAIT_SECONDS = 60
MOST_ITEMS = 1000

Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST_ITEMS)]
Position = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=7 * 24 * 3600 * 1000)]
ParameterName = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Reason = Annotated[str, msgspec.Meta(max_length=10_000)]


class DryRunBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How agents pretend to run the jobs of an instance."""

    fixed_ms: Milliseconds | None = None
    min_ms: Milliseconds = 0
    max_ms: Milliseconds = 0
    error_percentage: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0
    error: bool = False
    jobs_in_error: tuple[str, ...] = ()
    """Identifiers of jobs that fail whatever else is said."""


class StartBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to start an instance by hand."""

    parameters: dict[ParameterName, str] = {}
    business_date: date | None = None
    """The day that it is for; unless given, the day of its start in the time zone of the plan."""
    run_until_ended: bool = False
    hold_commands: bool = False
    """Every command job begins on hold."""
    dry_run: bool | DryRunBody = False
    reason: Reason | None = None


class ReasonBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a command is given; part of the facts that follow."""

    reason: Reason | None = None


class Started(msgspec.Struct, frozen=True):
    """An instance that was started."""

    instance_id: str


class Accepted(msgspec.Struct, frozen=True):
    """A command that was accepted: the facts that followed and where the log is now."""

    position: int
    facts: tuple[FactView, ...]


class InstanceItem(msgspec.Struct, frozen=True, kw_only=True):
    """An instance in a list, without its tree."""

    instance_id: str
    plan: str
    plan_version: int
    status: str
    position: int
    started_at: str | None
    """When it began, or is to begin; nothing when it ended before its start."""
    ends_at: str | None
    ended_at: str | None
    counts: dict[str, int]


class InstanceList(msgspec.Struct, frozen=True):
    """A page of instances, newest first."""

    items: tuple[InstanceItem, ...]
    next: str | None


class FactList(msgspec.Struct, frozen=True):
    """A page of a log."""

    items: tuple[FactView, ...]
    next: str | None


class AuditList(msgspec.Struct, frozen=True):
    """A page of an audit."""

    items: tuple[AuditRowView, ...]
    next: str | None


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which instances to list."""

    plan: str | None = None
    status: str | None = None
    active: bool | None = None
    cursor: str | None = None
    limit: Limit = 100


class ShowQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which state to show: the live one, a past one, or the next one."""

    at: str | None = None
    """A position of the log, or an RFC 3339 instant."""
    after: Position | None = None
    """Wait until the position is beyond this one."""
    wait: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_WAIT_SECONDS)] = 0.0
    """Seconds to wait at most."""


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of a log to read."""

    after: Position = 0
    limit: Limit = 100


def accepted(facts: tuple[Recorded, ...], position: int) -> Accepted:
    """The answer to a command."""
    return Accepted(
        position=facts[-1].position if facts else position, facts=tuple(fact_view(each) for each in facts)
    )


class Instances:
    """The resources of plan instances."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dashboard = services.dashboard

    def start(self, call: Call[StartBody, NoQuery]) -> Answer:
        """Start one now."""
        plan = call.path["name"]
        call.caller.must_see_plan(plan)
        if call.caller.agents is not None:
            call.caller.must_see_agents(self._dashboard.plan(plan).plan.agents())
        body = call.body
        must_be_usable(body.parameters, "/parameters")
        instance_id = self._dashboard.start_instance(
            plan,
            call.origin(body.reason),
            parameters=body.parameters,
            business_date=body.business_date,
            run_until_ended=body.run_until_ended,
            hold_commands=body.hold_commands,
            dry_run=_dry_run(body.dry_run),
            key=call.key,
        )
        return Answer(
            Started(str(instance_id)), status=201, headers={"Location": f"/api/v1/instances/{instance_id}"}
        )

    def list(self, call: Call[None, ListQuery]) -> Answer:
        """A page of those that the caller may see."""
        query = call.query
        if query.plan is not None:
            call.caller.must_see_plan(query.plan)
        page = self._page(query)
        items = tuple(
            InstanceItem(
                instance_id=str(row.instance_id),
                plan=row.plan,
                plan_version=row.plan_version,
                status=row.status,
                position=row.position,
                started_at=None if row.never_began else written(row.started_at),
                ends_at=written_if_known(row.ends_at),
                ended_at=written_if_known(row.ended_at),
                counts=dict(row.counts),
            )
            for row in page.items
            if call.caller.sees_plan(row.plan)
        )
        return Answer(InstanceList(items, page.next))

    def _page(self, query: ListQuery) -> Page[InstanceRow]:
        try:
            return self._dashboard.instances(
                plan=query.plan,
                status=query.status,
                active=query.active,
                cursor=query.cursor,
                limit=query.limit,
            )
        except (ValueError, OverflowError) as error:
            if query.cursor is None:
                raise
            detail = "the cursor was not given out by this list"
            raise Refusal(400, detail, errors=(FieldError(detail, "?cursor"),)) from error

    def show(self, call: Call[None, ShowQuery]) -> Answer:
        """The whole tree, live, past, or as soon as it has moved on."""
        instance_id, query = call.path["instance_id"], call.query
        if query.at is not None:
            if query.after is not None or query.wait:
                detail = "at shows the past, which nobody need wait for; leave out after and wait"
                raise Refusal(400, detail, errors=(FieldError(detail, "?at"),))
            position, at = _moment(query.at)
            state = self._dashboard.instance_at(instance_id, position=position, at=at)
            call.caller.must_see_plan(state.plan)
            return Answer(instance_view(state))
        state = self._services.instance(instance_id, call.caller)
        if query.after is not None and query.wait and state.position <= query.after:
            state = self._services.changed_instance(instance_id, query.after, query.wait)
        return Answer(instance_view(state))

    def log(self, call: Call[None, PageQuery]) -> Answer:
        """The facts, in order."""
        instance_id, query = call.path["instance_id"], call.query
        self._services.must_see_instance(instance_id, call.caller)
        facts = self._dashboard.log(instance_id, after=query.after, limit=query.limit)
        following = str(facts[-1].position) if len(facts) == query.limit else None
        return Answer(FactList(tuple(fact_view(each) for each in facts), following))

    def audit(self, call: Call[None, PageQuery]) -> Answer:
        """A row for each event and each command."""
        instance_id, query = call.path["instance_id"], call.query
        self._services.must_see_instance(instance_id, call.caller)
        rows = self._dashboard.audit(instance_id, after=query.after, limit=query.limit)
        heard = [row.cause.position for row in rows if row.cause.position is not None]
        events = self._dashboard.events(heard)
        following = str(rows[-1].after) if len(rows) == query.limit else None
        return Answer(AuditList(tuple(_audit_row(row, events) for row in rows), following))

    def end(self, call: Call[ReasonBody, NoQuery]) -> Answer:
        """Kill what runs, and let nothing more happen."""
        return self._command(call, EndInstance())

    def _command(self, call: Call[ReasonBody, NoQuery], command: Command) -> Answer:
        instance_id = call.path["instance_id"]
        if not call.caller.unlimited:
            call.caller.must_see_agents(self._services.instance(instance_id, call.caller).agents)
        facts = self._dashboard.command(instance_id, command, call.origin(call.body.reason))
        position = facts[-1].position if facts else self._dashboard.instance(instance_id).position
        return Answer(accepted(facts, position))


def _dry_run(wanted: bool | DryRunBody) -> DryRun | None:
    if isinstance(wanted, DryRunBody):
        return DryRun(**msgspec.structs.asdict(wanted))
    return DryRun() if wanted else None


def _moment(text: str) -> tuple[int | None, Instant | None]:
    """A position or an instant; the plus sign of an offset may have become a space on its way in a query."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text), None
    try:
        return None, parse_rfc3339(text.replace(" ", "+"))
    except (ValueError, OverflowError) as error:
        detail = f"{text!r} is neither a position of the log nor an RFC 3339 instant"
        raise Refusal(400, detail, errors=(FieldError(detail, "?at"),)) from error


def _audit_row(row: AuditRow, events: dict[int, Any]) -> AuditRowView:
    position = row.cause.position
    event = None if position is None else events.get(position)
    return AuditRowView(
        at=written(row.at),
        event=event_view(event) if event is not None else row.cause.command or row.facts[0],
        cause=cause_view(row.cause),
        changed=tuple(
            ChangeView(context=each.context, job=each.job, before=each.before.value, after=each.after.value)
            for each in row.changed
        ),
        initiated=row.initiated,
        before=row.before,
        after=row.after,
    )


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    instances = Instances(services)
    one = "/api/v1/instances/{instance_id:uuid}"
    start_body, reason_body = optional_json_body(StartBody), optional_json_body(ReasonBody)
    return (
        Route(
            method="POST",
            path="/api/v1/plans/{name}/instances",
            name="start_instance",
            summary="Start an instance of a plan now",
            access=Access.WRITE,
            handle=instances.start,
            body=start_body,
            query=NoQuery,
            answers={201: Started},
            errors=(404, 409),
            keyed=True,
        ),
        Route(
            method="GET",
            path="/api/v1/instances",
            name="list_instances",
            summary="List instances, newest first",
            access=Access.READ,
            handle=instances.list,
            body=NO_BODY,
            query=ListQuery,
            answers={200: InstanceList},
        ),
        Route(
            method="GET",
            path=one,
            name="show_instance",
            summary="Show an instance as a tree: live, as it was, or as soon as it has moved on",
            access=Access.READ,
            handle=instances.show,
            body=NO_BODY,
            query=ShowQuery,
            answers={200: InstanceView},
            errors=(404,),
        ),
        Route(
            method="GET",
            path=f"{one}/log",
            name="instance_log",
            summary="Read the facts of an instance in order",
            access=Access.READ,
            handle=instances.log,
            body=NO_BODY,
            query=PageQuery,
            answers={200: FactList},
            errors=(404,),
        ),
        Route(
            method="GET",
            path=f"{one}/audit",
            name="instance_audit",
            summary="Read what each event and each command led to",
            access=Access.READ,
            handle=instances.audit,
            body=NO_BODY,
            query=PageQuery,
            answers={200: AuditList},
            errors=(404,),
        ),
        Route(
            method="POST",
            path=f"{one}/end",
            name="end_instance",
            summary="End an instance: kill what runs and let nothing more happen",
            access=Access.WRITE,
            handle=instances.end,
            body=reason_body,
            query=NoQuery,
            answers={200: Accepted},
            errors=(404, 409),
            keyed=True,
        ),
    )
