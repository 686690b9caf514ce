"""Ingestion: process events and global events, on our own API and on the compatible services.

These are the paths that every run of every job takes; an event is read once and goes straight to the inbox.
"""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
from msgspec import UNSET

from ...actors.dashboard.errors import UnknownName
from ...domain.messages import Outcome, ProcessEvent
from ...storage.accounts import Role
from ..wire.documents import WireError, WireProblem
from ..wire.process_events import decode_past_events, decode_process_event, decode_process_events
from .callers import Access, Caller, forbidden
from .errors import FieldError, Refusal, malformed
from .instances import Reason
from .limits import refuse_nul
from .routes import (
    JSON,
    TEXT,
    Answer,
    AnyQuery,
    Body,
    Call,
    NoQuery,
    Route,
    accept_media,
    decode,
    optional_json_body,
)
from .services import Services

MOST_EVENTS = 10_000

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""What a database keeps as a number."""
Name = Annotated[str, msgspec.Meta(min_length=1)]


class EventBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A process event as agents write it; times are milliseconds since the epoch, 0 for none."""

    agent_name: Name
    job_name: Name
    context_instance_id: UUID
    context_name: str | None = None
    id: str | Whole | None = None
    initiation_id: str | None = None
    child_context_names: list[str] | None = None
    job_starting: bool | None = None
    successful: bool | None = None
    outcome: Outcome | None = None
    return_code: Whole | None = None
    pid: Whole | None = None
    user: str | None = None
    agent_hostname: str | None = None
    job_group: str | None = None
    job_description: str | None = None
    command_line: str | None = None
    fire_time: Whole | None = None
    next_fire_time: Whole | None = None
    completion_time: Whole | None = None
    result_output: str | None = None
    result_error: str | None = None
    execution_details: str | None = None
    skipped: bool | None = None
    dry_run: bool | None = None
    dry_run_parameters: dict[str, Any] | None = None
    internal_event_driven_job: dict[str, Any] | None = None
    catalyst_event: dict[str, Any] | None = None
    raised_due_to_failure_resubmission: bool | None = None
    killed: bool | None = None


class GlobalEventBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a global event is to reach."""

    environment_group: str | None = None
    """Only instances of this group; empty is the group of those without one; left out, all instances."""
    reason: Reason | None = None


class Received(msgspec.Struct, frozen=True):
    """The places of the events in the inbox."""

    positions: tuple[int, ...]


class Reached(msgspec.Struct, frozen=True):
    """How many active instances a global event reached."""

    instances: int


_strict = msgspec.json.Decoder(EventBody | Annotated[list[EventBody], msgspec.Meta(max_length=MOST_EVENTS)])


def read_events(raw: bytes, media: str) -> list[ProcessEvent]:
    """One event or a list of them; what is unknown or wrong in any is refused."""
    accept_media(media, (JSON,))
    several = isinstance(decode(_strict, raw), list)
    try:
        return decode_process_events(raw) if several else [decode_process_event(raw)]
    except WireError as error:
        raise invalid_wire(error) from error


def read_event(raw: bytes, _media: str) -> ProcessEvent:
    """One event from an existing agent, which may say more than we know and call it what it likes."""
    refuse_nul(raw)
    try:
        event = decode_process_event(raw)
    except WireError as error:
        raise bad_wire(error) from error
    try:
        UUID(event.instance_id)
    except ValueError as error:
        raise Refusal(
            400,
            "the event cannot belong to an instance",
            errors=(FieldError(f"{event.instance_id[:80]!r} is no instance id", "/contextInstanceId"),),
        ) from error
    return event


def read_past_events(raw: bytes, _media: str) -> list[ProcessEvent]:
    """A list of events for history, from an existing client."""
    refuse_nul(raw)
    try:
        events = decode_past_events(raw)
    except WireError as error:
        raise bad_wire(error) from error
    if len(events) > MOST_EVENTS:
        raise malformed(f"give at most {MOST_EVENTS} events at a time")
    return events


def read_name(raw: bytes, _media: str) -> str:
    """A name as plain text or as a JSON string."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise malformed("the name is not UTF-8") from error
    text = text.strip()
    if text.startswith('"'):
        try:
            text = msgspec.json.decode(text, type=str)
        except msgspec.DecodeError as error:
            raise malformed("the name begins like a JSON string and is none") from error
    if not text:
        raise malformed("give the name of the global event")
    if "\x00" in text:
        raise malformed("the name holds the character U+0000")
    return text


def invalid_wire(error: WireError) -> Refusal:
    """422 with every flaw."""
    return Refusal(422, "what came cannot be taken", errors=_flaws(error.problems))


def bad_wire(error: WireError) -> Refusal:
    """400 with every flaw, as the compatible services answer."""
    return Refusal(400, "what came cannot be taken", errors=_flaws(error.problems))


def _flaws(problems: Sequence[WireProblem]) -> tuple[FieldError, ...]:
    return tuple(FieldError(each.message, each.pointer, each.document or UNSET) for each in problems)


class Events:
    """The resources of ingestion."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def receive(self, call: Call[list[ProcessEvent], NoQuery]) -> Answer:
        """All of them or none."""
        self._must_be_allowed(call.caller, call.body)
        positions = self._dashboard.receive(call.body, call.origin()) if call.body else []
        return Answer(Received(tuple(positions)))

    def receive_scheduled(self, call: Call[ProcessEvent, AnyQuery]) -> Answer:
        """One, from an existing agent."""
        events = [call.body]
        self._must_be_allowed(call.caller, events)
        self._dashboard.receive(events, call.origin())
        return Answer()

    def keep(self, call: Call[list[ProcessEvent], AnyQuery]) -> Answer:
        """For history alone, from an existing client."""
        for event in call.body:
            call.caller.must_see_agent(event.agent)
            call.caller.must_see_plan(event.plan)
        self._dashboard.keep(call.body, call.origin())
        return Answer()

    def raise_global(self, call: Call[GlobalEventBody, NoQuery]) -> Answer:
        """To every environment group, or to one."""
        _must_reach_all(call.caller)
        group = call.body.environment_group
        reached = self._dashboard.raise_global_event(
            call.path["name"],
            call.origin(call.body.reason),
            event_id=call.key or str(uuid4()),
            environment_group=group,
            everywhere=group is None,
        )
        return Answer(Reached(reached))

    def raise_global_scheduled(self, call: Call[str, AnyQuery]) -> Answer:
        """To every environment group, from an existing client."""
        _must_reach_all(call.caller)
        self._dashboard.raise_global_event(call.body, call.origin(), event_id=str(uuid4()))
        return Answer()

    def _must_be_allowed(self, caller: Caller, events: Sequence[ProcessEvent]) -> None:
        """An event belongs to the plan of its instance, whatever it says of itself."""
        if caller.unlimited:
            return
        for event in events:
            caller.must_see_agent(event.agent)
            if caller.plans is None:
                continue
            try:
                plan = self._dashboard.instance(UUID(event.instance_id)).plan
            except UnknownName:
                raise forbidden(f"{caller.name} is limited to plans, and no plan has this instance") from None
            caller.must_see_plan(plan)


def _must_reach_all(caller: Caller) -> None:
    if caller.role is not Role.AGENT:
        caller.must_see_all("a global event reaches any")


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The rows of this resource."""
    events = Events(services)
    return (
        Route(
            method="POST",
            path="/api/v1/events",
            name="receive_events",
            summary="Take one process event or a list of them, all or none",
            access=Access.REPORT,
            handle=events.receive,
            body=Body(read=read_events, media={JSON: EventBody | list[EventBody]}),
            query=NoQuery,
            answers={200: Received},
            keyed=True,
        ),
        Route(
            method="POST",
            path="/api/v1/global-events/{name}",
            name="raise_global_event",
            summary="Raise a global event in the active instances that contain it",
            access=Access.REPORT,
            handle=events.raise_global,
            body=optional_json_body(GlobalEventBody),
            query=NoQuery,
            answers={200: Reached},
            keyed=True,
        ),
        Route(
            method="PUT",
            path="/rest/event/scheduled",
            name="event_scheduled",
            summary="Take a process event from an agent",
            access=Access.REPORT,
            handle=events.receive_scheduled,
            body=Body(read=read_event, media={JSON: dict[str, Any]}),
            query=AnyQuery,
            answers={200: None},
        ),
        Route(
            method="PUT",
            path="/rest/harvest/scheduled",
            name="harvest_scheduled",
            summary="Keep process events for history; nothing follows from them",
            access=Access.REPORT,
            handle=events.keep,
            body=Body(read=read_past_events, media={JSON: list[dict[str, Any]]}),
            query=AnyQuery,
            answers={200: None},
        ),
        Route(
            method="PUT",
            path="/rest/event/globalScheduled",
            name="event_global_scheduled",
            summary="Raise a global event in all environment groups",
            access=Access.REPORT,
            handle=events.raise_global_scheduled,
            body=Body(read=read_name, media={TEXT: str, JSON: str}),
            query=AnyQuery,
            answers={200: None},
        ),
    )
