"""Notifications of one dashboard: the follower, a courier for each channel, and what people ask of them."""

import threading
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import msgspec
import pykka

from ...domain.commands import Refused
from ...domain.instants import Instant
from ...domain.notifications import EMAIL, WEBHOOK
from ...storage.ledger import Ledger
from ...storage.notifications import NotificationRow, Notifications
from ..dashboard.errors import NotPermitted, UnknownName
from ..dashboard.instance_log import InstanceLog
from ..timers import Clock, Timers
from .config import NotificationsConfig
from .courier import CourierActor, ReadCourier, Wake
from .files import PlaceholderFiles, TemplateFiles
from .follower import ActiveOf, Follow, FollowerActor, ReadFollower, Ring
from .letters import Letters
from .plan_settings import PlanSettings
from .ports import Channel, Receipt, Rejected
from .smtp import MailChannel, Mailer

FOLLOWER = "notifications"
COURIER = "courier"


class Notifying(msgspec.Struct, frozen=True, kw_only=True):
    """How a dashboard tells people, and the ways to do it."""

    config: NotificationsConfig
    open_mailer: Callable[[], Mailer]
    open_webhook: Callable[[str], Channel]
    """By the webhook's name, which is one of the configuration's."""


class _Nowhere(Channel):
    """A channel that is not configured."""

    def __init__(self, why: str) -> None:
        self._why = why

    def send(self, row: NotificationRow) -> Receipt:
        del row
        raise Rejected(self._why)

    def probe(self, to: str) -> str:
        del to
        raise Rejected(self._why)

    def rest(self) -> None:
        """Nothing is held."""


class _Courier(msgspec.Struct):
    ref: pykka.ActorRef[CourierActor]
    woken: threading.Event


class Notifier:
    """Tells people what happens. Nothing that a plan does waits for it."""

    def __init__(
        self,
        notifying: Notifying,
        *,
        ledger: Ledger,
        logs: InstanceLog,
        active: Callable[[], Iterable[ActiveOf]],
        timers: Timers,
        clock: Clock,
        zone: str,
    ) -> None:
        self._notifying = notifying
        self._ledger = ledger
        self._kept = Notifications(ledger)
        self._timers = timers
        self._clock = clock
        self._zone = zone
        self._settings = PlanSettings(ledger)
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._couriers: dict[str, _Courier] = {}
        self._following = threading.Event()
        config = notifying.config
        self._follower: pykka.ActorRef[FollowerActor] = FollowerActor.start(
            ledger=ledger,
            kept=self._kept,
            logs=logs,
            settings=self._settings,
            subscriptions=config.subscriptions(),
            deadlines=config.deadlines(zone),
            active=active,
            clock=clock,
            alarm=self._set_alarm,
            follow_at=lambda at: timers.set(FOLLOWER, at, self.wake),
            added=self._wake_couriers,
            woken=self._following,
            closing=self._closing,
        )

    def start(self) -> None:
        """Begin to follow, from where the last process stopped; what waits is sent."""
        self._kept.begin(self._ledger.last_sequence())
        self.wake()
        self._wake_couriers(self._kept.channels_with_waiting())

    def wake(self) -> None:
        """There may be new facts; many calls while one is being looked for count as one."""
        if not self._following.is_set():
            self._following.set()
            self._follower.tell(Follow())

    def close(self) -> None:
        """Finish what is being sent, and stop."""
        self._closing.set()
        self._follower.stop(block=True)
        with self._lock:
            couriers = list(self._couriers.values())
        for courier in couriers:
            courier.ref.stop(block=False)
        for courier in couriers:
            courier.ref.stop(block=True)

    # --- what people ask ------------------------------------------------------------------------------------

    def send_again(self, row: NotificationRow, by: str) -> None:
        """Have one that was sent or failed sent again; raises ``NotPermitted`` when it waits already."""
        if not self._kept.send_again(row.id, by, self._clock()):
            raise NotPermitted(Refused(reason="it waits to be sent already", status=row.state.name))
        self._wake_courier(row.channel, at_once=True)

    def probe(self, channel: str, to: str) -> str:
        """Send something harmless; says what was done. Raises ``ChannelDown``, ``NotNow``, ``Rejected``."""
        opened = self._open_channel(channel)
        try:
            return opened.probe(to)
        finally:
            opened.rest()

    # --- couriers -------------------------------------------------------------------------------------------

    def _wake_couriers(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self._wake_courier(channel)

    def _wake_courier(self, channel: str, *, at_once: bool = False) -> None:
        courier = self._courier(channel)
        if courier is not None and (at_once or not courier.woken.is_set()):
            courier.woken.set()
            courier.ref.tell(Wake(at_once))

    def _courier(self, channel: str) -> _Courier | None:
        with self._lock:
            if self._closing.is_set():
                return None
            found = self._couriers.get(channel)
            if found is None:
                woken = threading.Event()
                ref: pykka.ActorRef[CourierActor] = CourierActor.start(
                    channel=channel,
                    open_channel=lambda: self._open_channel(channel),
                    notifications=self._kept,
                    clock=self._clock,
                    wake_at=lambda at: self._timers.set(
                        (COURIER, channel), at, lambda: self._wake_courier(channel)
                    ),
                    woken=woken,
                    closing=self._closing,
                )
                found = self._couriers[channel] = _Courier(ref, woken)
            return found

    def _open_channel(self, channel: str) -> Channel:
        config = self._notifying.config
        if channel == EMAIL:
            if config.smtp is None:
                return _Nowhere("the dashboard's configuration names no mail server")
            return MailChannel(self._letters(config.smtp.sender), self._notifying.open_mailer())
        name = channel.removeprefix(WEBHOOK)
        if name not in config.webhooks:
            return _Nowhere(f"the dashboard's configuration has no webhook {name}")
        return self._notifying.open_webhook(name)

    def _letters(self, sender: str) -> Letters:
        config = self._notifying.config
        return Letters(
            sender=sender,
            settings=self._settings,
            templates=TemplateFiles(config.templates),
            placeholders=PlaceholderFiles(config.placeholders),
            public_url=config.public_url,
            zone=self._zone,
            clock=self._clock,
        )

    # --- alarms ---------------------------------------------------------------------------------------------

    def _set_alarm(self, instance_id: UUID, at: Instant | None) -> None:
        key = (FOLLOWER, instance_id)
        if at is None:
            self._timers.cancel(key)
        else:
            self._timers.set(key, at, lambda: self._follower.tell(Ring(instance_id)))

    # --- debugging ------------------------------------------------------------------------------------------

    def actor_names(self) -> list[str]:
        """The actors that are alive."""
        with self._lock:
            return [FOLLOWER, *(f"{COURIER}-{channel}" for channel in sorted(self._couriers))]

    def snapshot(self, name: str, timeout_seconds: float) -> dict[str, object]:
        """What one of them says of itself; raises ``UnknownName``."""
        if name == FOLLOWER:
            snapshot: Any = self._follower.ask(ReadFollower(), timeout=timeout_seconds)
        else:
            with self._lock:
                courier = self._couriers.get(name.removeprefix(f"{COURIER}-"))
            if courier is None:
                raise UnknownName(f"there is no actor {name}")
            snapshot = courier.ref.ask(ReadCourier(), timeout=timeout_seconds)
        answer: dict[str, object] = snapshot
        return answer
