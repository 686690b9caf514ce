"""Makes a dashboard's lists of plans and instances anew from its facts."""

from pathlib import Path
from uuid import UUID

import msgspec

from ..actors.dashboard.instance_log import InstanceLog, summary_of
from ..actors.dashboard.plan_versions import PlanVersions
from ..actors.dashboard.topologies import Topologies
from ..storage.ledger import Ledger
from ..storage.mapper import UnreadableFact
from ..storage.records import InstanceSummary


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in the log."""

    plans: int
    instances: int
    damaged: tuple[str, ...]
    """Why each instance that is listed as it was before the first fact that does not read is so."""


def rebuild(database_url: str | None, data_dir: Path) -> Rebuilt:
    """Replace the lists by what follows from the log; a dashboard may run meanwhile.

    Raises ``Unavailable``, ``NewerSchema``, and ``UnreadableFact`` where not even an instance's plan reads.
    """
    ledger = Ledger.open(database_url, data_dir)
    try:
        log = InstanceLog(ledger, Topologies(PlanVersions(ledger)))
        instances: dict[UUID, str | None] = {}

        def summarise(instance_id: UUID) -> InstanceSummary:
            instances[instance_id] = None
            try:
                return summary_of(log.state(instance_id))
            except UnreadableFact as error:
                instances[instance_id] = str(error)
                return _before_the_damage(ledger, log, instance_id)

        ledger.rebuild_read_models(summarise)
        damaged = tuple(reason for reason in instances.values() if reason is not None)
        return Rebuilt(plans=len(ledger.plans()), instances=len(instances), damaged=damaged)
    finally:
        ledger.close()


def _before_the_damage(ledger: Ledger, log: InstanceLog, instance_id: UUID) -> InstanceSummary:
    """The row of the latest state that can be made out, at the end of the log."""
    sound, last = 0, ledger.last_position(instance_id)
    damaged = last
    while damaged - sound > 1:
        middle = (sound + damaged) // 2
        try:
            log.state(instance_id, middle)
        except UnreadableFact:
            damaged = middle
        else:
            sound = middle
    return msgspec.structs.replace(summary_of(log.state(instance_id, max(sound, 1))), position=last)
