"""Following an instance: a look at it each time it has moved on, over restarts of the dashboard too."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from . import answers
from .failures import ExitCode, Unreachable

if TYPE_CHECKING:
    from .client import Client

Looks: TypeAlias = Iterator[tuple[answers.Instance, dict[str, Any]]]
"""An instance each time it has moved on, and the documents that it was read from."""

WAIT_SECONDS = 25.0
"""How long the dashboard may hold an answer while nothing changes."""
SETTLE_SECONDS = 2.0
"""How long an instance in ERROR has nothing under way before it is called quiet."""
PATIENCE_SECONDS = 60.0
"""How long an unreachable dashboard is asked again."""
_SOONEST_SECONDS = 0.5


def looks(client: "Client", instance_id: str, *, on_silence: Callable[[Unreachable], None]) -> Looks:
    """The instance now and after each change, until nothing more will happen by itself.

    That is when it has ended or is COMPLETE, or when it is in ERROR with nothing under way. ``on_silence``
    is called once for each time that the dashboard stops answering; after ``PATIENCE_SECONDS`` of it
    ``Unreachable`` is raised.
    """
    document = client.get(f"/instances/{instance_id}")
    shown = answers.read(answers.Instance, document)
    yield shown, document
    stuck_since: float | None = None
    while not _over(shown):
        asked_at = time.monotonic()
        stuck_since = (stuck_since or asked_at) if _stuck(shown) else None
        wait = WAIT_SECONDS if stuck_since is None else SETTLE_SECONDS
        document = _next(client, instance_id, shown.position, wait, on_silence)
        following = answers.read(answers.Instance, document)
        moved = following.position > shown.position
        if moved:
            shown = following
            yield shown, document
        answered_at = time.monotonic()
        if stuck_since is not None and _stuck(shown) and answered_at - stuck_since >= SETTLE_SECONDS:
            return
        if not moved and answered_at - asked_at < _SOONEST_SECONDS:
            # The dashboard bounds how many may wait at one time and answered at once.
            time.sleep(_SOONEST_SECONDS)


def _stuck(shown: answers.Instance) -> bool:
    """Whether only a person can put it right; its schedules may go on firing meanwhile."""
    return shown.status == "ERROR" and shown.quiet


def _over(shown: answers.Instance) -> bool:
    return shown.ended or (shown.status == "COMPLETE" and shown.quiet)


def _next(
    client: "Client",
    instance_id: str,
    position: int,
    wait_seconds: float,
    on_silence: Callable[[Unreachable], None],
) -> Any:
    path = f"/instances/{instance_id}"
    asked_at = time.monotonic()
    pause = 0.1
    told = False
    while True:
        try:
            return client.get_after(path, position, wait_seconds)
        except Unreachable as error:
            if not told:
                on_silence(error)
                told, asked_at = True, time.monotonic()
            if time.monotonic() - asked_at > PATIENCE_SECONDS:
                raise
            time.sleep(pause)
            pause = min(2 * pause, 5.0)


def exit_code(shown: answers.Instance) -> ExitCode:
    """What the last look at an instance means for a script."""
    whole = shown.root.status if shown.root is not None else shown.status
    if whole == "COMPLETE":
        return ExitCode.DONE
    return ExitCode.IN_ERROR if whole == "ERROR" else ExitCode.INCOMPLETE
