"""What every instance actor stands in: the ledger, the time, and whom to tell of what was committed."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from ...storage.ledger import Ledger
from ..timers import Clock
from .active_instances import ActiveInstances
from .deliveries import Delivery
from .instance_log import InstanceLog
from .lock_groups import LockGroups
from .turns import Turns


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Given to instance actors by the dashboard that owns them."""

    ledger: Ledger
    logs: InstanceLog
    active: ActiveInstances
    locks: LockGroups
    turns: Turns
    clock: Clock
    committed: Callable[[UUID, int, tuple[Delivery, ...]], None]
    """Facts up to a position are on disk, and these deliveries follow from them."""
    instance_ended: Callable[[UUID, str], None]
    """An instance of a plan ended."""
    runs_until_ended: Callable[[UUID], None]
    """No clock ends the instance any more."""
    retry: Callable[[UUID], None]
    """A turn failed: wake the instance again after a while."""
