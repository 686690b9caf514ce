"""How a global event reaches the instances that expect it: through the inbox of each."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from ...domain.causes import raised_event_id
from ...domain.facts import GlobalEventRaised, Recorded
from ...domain.messages import ProcessEvent
from ...domain.plan import EventKind
from ...storage.records import Inbound
from .active_instances import ActiveInstances


def global_event(target: UUID, name: str, event_id: str, *, source: str) -> Inbound:
    """The inbox entry by which a global event reaches one instance."""
    event = ProcessEvent(
        agent=EventKind.GLOBAL.value, job=name, instance_id=str(target), id=event_id, successful=True
    )
    return Inbound(stream=target, kind="event", payload=msgspec.msgpack.encode(event), source=source)


def raised_events(
    instance_id: UUID, facts: Iterable[Recorded], *, raised_before: int, active: ActiveInstances
) -> list[Inbound]:
    """The inbox entries for every active instance that the global events among these facts reach.

    The raising instance is one of them. ``raised_before`` is how many it had raised before these facts; with
    it, deciding again after a crash gives the same events again.
    """
    entries = []
    events = [each.fact for each in facts if isinstance(each.fact, GlobalEventRaised)]
    for number, event in enumerate(events, raised_before + 1):
        reached = dict.fromkeys((instance_id, *active.expecting(event.name, event.environment_group)))
        event_id = raised_event_id(instance_id, number)
        entries += [global_event(each, event.name, event_id, source=str(instance_id)) for each in reached]
    return entries
