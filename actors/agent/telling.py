"""Telling actors that may be gone by the time there is something to tell."""

from collections.abc import Callable
from typing import Any

import pykka
import structlog

_log = structlog.get_logger(__name__)


def tell_if_alive(actor: "pykka.ActorRef[Any]", message: object) -> None:
    """Tell an actor that may have failed meanwhile: then the one that replaces it finds out by itself."""
    try:
        actor.tell(message)
    except pykka.ActorDeadError:
        _log.debug("actor gone", actor=str(actor), message=type(message).__name__)


def telling(actor: "pykka.ActorRef[Any]", message: object) -> Callable[[], None]:
    """For others to call when the time has come."""
    return lambda: tell_if_alive(actor, message)
