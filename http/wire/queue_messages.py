"""What is in a queue, as existing clients read it."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, structs

from ...domain.facts import JobInitiated
from ...domain.instants import Instant
from ...domain.messages import Initiation, ProcessEvent
from ...domain.secret_values import MASK, masked
from ...storage.records import InboxEntry, Outgoing
from .initiations import initiation_fields
from .process_events import process_event_fields


class MessageProperties(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a message belongs to."""

    context_name: str | UnsetType = UNSET
    """The plan, as far as it is known."""
    context_instance_id: str


class QueueMessage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message with what is known of it."""

    message_id: str
    created_time: Instant
    message: dict[str, Any]
    message_properties: MessageProperties


def message_of_entry(entry: InboxEntry, event: ProcessEvent | None, plan: str | None) -> QueueMessage:
    """What came for an instance; of what is no process event, or does not read, its kind alone."""
    content: dict[str, Any] = {"kind": entry.kind} if event is None else process_event_fields(event)
    if entry.error is not None:
        content["error"] = entry.error
    return _message(entry.position, entry.received_at, content, plan, str(entry.stream))


def message_of_order(initiation: Initiation, accepted_at: Instant) -> QueueMessage:
    """An initiation that its agent has accepted, without its job's template; secrets are covered."""
    told = masked(initiation.parameters) | dict.fromkeys(initiation.secrets, MASK)
    shown = structs.replace(initiation, template=None, parameters=told)
    fields = initiation_fields(shown)
    return _message(initiation.id, accepted_at, fields, initiation.plan, initiation.instance_id)


def message_of_report(number: int, event: ProcessEvent, at: Instant, **more: object) -> QueueMessage:
    """What an agent has to tell, with whatever else is known of it."""
    return _message(number, at, process_event_fields(event) | more, event.plan or None, event.instance_id)


def message_of_initiation(outgoing: Outgoing, plan: str | None) -> QueueMessage:
    """An initiation that its agent has not accepted yet, without its job's template; secrets are covered."""
    recorded = outgoing.recorded
    fact, instance_id = recorded.fact, str(recorded.originator_id)
    if not isinstance(fact, JobInitiated):
        raise TypeError(f"{type(fact).__name__} is no initiation")
    initiation = Initiation(
        id=f"{instance_id}-{fact.initiation}",
        agent=fact.agent,
        job=fact.job.removeprefix(f"{fact.agent}-"),
        plan=plan or "",
        instance_id=instance_id,
        contexts=fact.contexts,
        parameters=masked(fact.parameters),
        catalyst=fact.catalyst,
        dry_run=fact.dry_run,
    )
    return _message(outgoing.sequence, recorded.at, initiation_fields(initiation), plan, instance_id)


def _message(
    number: int | str, at: Instant, content: dict[str, Any], plan: str | None, instance_id: str
) -> QueueMessage:
    return QueueMessage(
        message_id=str(number),
        created_time=at,
        message=content,
        message_properties=MessageProperties(
            context_name=UNSET if plan is None else plan, context_instance_id=instance_id
        ),
    )
