"""Events that are kept for history alone: facts of a log of their own, from which nothing follows."""

import hashlib
from collections.abc import Iterable
from uuid import NAMESPACE_URL, uuid5

from ...domain.facts import Cause, EventKept, Recorded
from ...domain.instants import Instant
from ...domain.messages import ProcessEvent
from ...storage.records import Append
from .instance_actor import encode_event

_HISTORY = uuid5(NAMESPACE_URL, "urn:jobledger:history")


def kept_for_history(events: Iterable[ProcessEvent], *, at: Instant, cause: Cause) -> Append:
    """The facts by which events are kept; the log that they make is named by them, so it is made once."""
    several = tuple(events)
    digest = hashlib.sha256(b"".join(encode_event(each) for each in several)).hexdigest()
    stream = uuid5(_HISTORY, digest)
    facts = (
        Recorded(
            originator_id=stream, originator_version=number, at=at, cause=cause, fact=EventKept(event=each)
        )
        for number, each in enumerate(several, 1)
    )
    return Append(stream=stream, expected=0, facts=tuple(facts))
