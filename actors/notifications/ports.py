"""What those who send notifications ask of the world: a way to people, and what came of taking it."""

from typing import Protocol

import msgspec

from ...storage.notifications import NotificationRow


class ChannelDown(ConnectionError):
    """Nobody takes anything there now, whatever it is: everything for this channel waits."""


class NotNow(RuntimeError):
    """This one was not taken for now; others may be."""


class Rejected(RuntimeError):
    """This one is not taken, and trying again would not help; says why."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a notification that was handed over: perhaps not everybody gets it."""

    recipients: tuple[str, ...]
    """For whom it was meant."""
    delivered: tuple[str, ...]
    """Those for whom it was taken, now or before."""
    not_now: dict[str, str] = {}
    """Those for whom it was not taken for now, each with the reason."""
    rejected: dict[str, str] = {}
    """Those for whom it is not taken, each with the reason."""


class Channel(Protocol):
    """A way to people. One thread uses it at a time.

    What it is given twice it sends twice, with the same id, so that the other side can tell.
    """

    def send(self, row: NotificationRow) -> Receipt:
        """Hand over a notification; raises ``ChannelDown``, ``NotNow`` and ``Rejected``."""
        ...

    def probe(self, to: str) -> str:
        """Send something harmless to an address, to see that it works; says what was done.

        Raises as ``send`` does.
        """
        ...

    def rest(self) -> None:
        """Nothing is to be sent for a while: let go of connections."""
        ...
