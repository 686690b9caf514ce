"""How an agent makes itself known, and learns which plan instances are active."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pykka
import structlog

from ...domain.instants import Instant
from ...domain.messages import PublishedInstance
from ..timers import Clock
from .backoff import pause_ms
from .ports import Alarms, Announcement, DashboardClient, DashboardRefused, DashboardUnreachable
from .telling import telling

_log = structlog.get_logger(__name__)


class Beat(msgspec.Struct, frozen=True):
    """Time to be heard."""


class Ask(msgspec.Struct, frozen=True):
    """Time to ask for the active instances."""


class ReadRegistration(msgspec.Struct, frozen=True):
    """Answer a description of this actor, for debugging."""


class RegistrationActor(pykka.ThreadingActor):
    """Announces the agent again and again, and asks for its instances until it is told."""

    use_daemon_thread = True

    def __init__(
        self,
        *,
        client: DashboardClient,
        announcement: Callable[[], Announcement],
        begin_asking: Callable[[], int],
        on_instances: Callable[[Sequence[PublishedInstance], int], None],
        on_heard: Callable[[], None],
        alarms: Alarms,
        clock: Clock,
        heartbeat_ms: int,
    ) -> None:
        """``begin_asking`` gives a mark, which ``on_instances`` gets with the answer."""
        super().__init__()
        self._client = client
        self._announcement = announcement
        self._begin_asking = begin_asking
        self._on_instances = on_instances
        self._on_heard = on_heard
        self._alarms = alarms
        self._clock = clock
        self._heartbeat_ms = heartbeat_ms
        self._questions = 0
        self._answered = False
        self._heard_at: Instant | None = None
        self._last_error: str | None = None

    def on_start(self) -> None:
        """Be heard at once."""
        self.actor_ref.tell(Beat())
        self.actor_ref.tell(Ask())

    def on_receive(self, message: Beat | Ask | ReadRegistration) -> object:
        """Announce, ask, or describe."""
        match message:
            case Beat():
                self._beat()
            case Ask():
                self._ask()
            case ReadRegistration():
                return self.snapshot()
        return None

    def _beat(self) -> None:
        begun = self._clock()
        try:
            announcement = self._announcement()
            self._client.announce(announcement)
        except Exception as error:  # noqa: BLE001  the heart must go on beating, whatever went wrong
            if self._last_error != str(error):
                _log.warning("not announced", error=str(error), exc_info=_bug(error))
            self._last_error = str(error)
        else:
            if self._heard_at is None or self._last_error is not None:
                _log.info("announced", url=announcement.url)
                if self._questions:
                    self.actor_ref.tell(Ask())  # it is there again: schedules wait for the answer
            self._last_error = None
            self._heard_at = begun
            self._on_heard()
        # The clock may have been set back while the dashboard did not answer.
        self._tell_at("heartbeat", min(begun, self._clock()) + self._heartbeat_ms, Beat())

    def _ask(self) -> None:
        if self._answered:
            return
        mark = self._begin_asking()
        try:
            instances = self._client.active_instances(self._announcement().name)
            self._on_instances(instances, mark)
        except Exception as error:  # noqa: BLE001  it asks until it is answered, whatever went wrong
            self._questions += 1
            _log.warning("active instances not known yet", error=str(error), exc_info=_bug(error))
            self._tell_at("instances", self._clock() + pause_ms(self._questions), Ask())
            return
        self._answered = True
        _log.info("active instances known", count=len(instances))
        self._on_heard()

    def _tell_at(self, key: str, at: Instant, message: Beat | Ask) -> None:
        self._alarms.set(("registration", key), at, telling(self.actor_ref, message))

    def snapshot(self) -> dict[str, Any]:
        """What a person needs to see of this actor."""
        return {
            "actor": "registration",
            "heard_at": self._heard_at,
            "instances_known": self._answered,
            "last_error": self._last_error,
        }


def _bug(error: Exception) -> Exception | None:
    """What nobody expects is logged with its trace."""
    expected = isinstance(error, DashboardUnreachable | DashboardRefused | OSError)
    return None if expected else error
