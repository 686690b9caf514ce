"""The index of active instances, whoever is the faster: who started one, or who ended it."""

from pathlib import Path
from uuid import UUID

from jobledger.actors.dashboard.active_instances import ActiveInstance, ActiveInstances
from jobledger.actors.dashboard.topologies import Topologies
from jobledger.storage.ledger import Ledger

INSTANCE = UUID(int=1)


def instance() -> ActiveInstance:
    return ActiveInstance(instance_id=INSTANCE, plan="nightly", plan_version=1)


def test_an_instance_that_ended_before_its_start_was_told_does_not_become_active(tmp_path: Path) -> None:
    ledger = Ledger.open(None, tmp_path)
    try:
        active = ActiveInstances(Topologies(ledger))
        active.discard(INSTANCE)
        assert not active.add(instance())
        assert active.of_plan("nightly") == []
        assert not active.knows(INSTANCE)
    finally:
        ledger.close()


def test_an_instance_is_active_from_its_start_to_its_end(tmp_path: Path) -> None:
    ledger = Ledger.open(None, tmp_path)
    try:
        active = ActiveInstances(Topologies(ledger))
        assert active.add(instance())
        assert active.of_plan("nightly") == [INSTANCE]
        active.discard(INSTANCE)
        assert active.all() == []
    finally:
        ledger.close()
