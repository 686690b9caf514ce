"""What a dashboard tells may be overtaken on its way: what is older than what an agent has does nothing."""

import itertools
from pathlib import Path

import pytest
from agent_rig import AGENT
from jobledger.actors.agent.instance_store import InstanceStore
from jobledger.actors.agent.provision_store import ProvisionStore
from jobledger.domain.messages import ProvisionedJobs, PublishedInstance
from jobledger.domain.plan import CommandJob
from simulated_disk import Crashed, SimulatedDisk

NOW, DAY = 1_800_000_000_000, 24 * 3_600_000


def instance(disabled: bool = False, number: str = "i1") -> PublishedInstance:
    return PublishedInstance(instance_id=number, plan="plan", schedules_disabled=disabled)


def jobs(*names: str) -> ProvisionedJobs:
    return ProvisionedJobs(
        plan="plan", jobs=tuple(CommandJob(agent=AGENT, name=name, command_line="true") for name in names)
    )


def instances_on(disk: SimulatedDisk) -> InstanceStore:
    return InstanceStore(Path("/instances"), lambda: None, disk)


def plans_on(disk: SimulatedDisk) -> ProvisionStore:
    return ProvisionStore(Path("/provisioned.json"), lambda: None, disk)


def names(store: ProvisionStore) -> list[str]:
    return [job.name for job in store.jobs("plan")]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_said_of_an_instance_before_something_newer_does_nothing(restarted: bool) -> None:
    disk = SimulatedDisk()
    store = instances_on(disk)
    store.save([instance()], 5)
    store.save([instance(disabled=True)], 7)
    store = instances_on(disk) if restarted else store
    store.save([instance()], 5)
    assert store.all() == [instance(disabled=True)]
    store.save([instance()], 8)
    assert store.all() == [instance()]


@pytest.mark.parametrize("restarted", [False, True])
def test_an_instance_that_was_removed_is_not_armed_by_what_was_said_before(restarted: bool) -> None:
    disk = SimulatedDisk()
    store = instances_on(disk)
    store.save([instance()], 5)
    store.remove("i1", NOW, 9)
    store = instances_on(disk) if restarted else store
    for late in (5, 8, 9):
        store.save([instance()], late)
        assert store.all() == []
    store.remove("i1", NOW, 9)
    assert store.kept() == []


def test_the_same_again_is_taken_as_once() -> None:
    store = instances_on(SimulatedDisk())
    store.save([instance()], 5)
    store.save([instance()], 5)
    assert store.all() == [instance()]


def test_an_instance_that_is_not_listed_any_more_is_not_armed_by_what_armed_it_before() -> None:
    store = instances_on(SimulatedDisk())
    store.save([instance()], 5)
    store.replace_all([], store.mark(), NOW)
    store.save([instance()], 5)
    assert store.all() == []
    store.save([instance()], 6)
    assert store.all() == [instance()]


def test_a_list_of_what_is_active_forgets_no_number() -> None:
    disk = SimulatedDisk()
    store = instances_on(disk)
    store.save([instance()], 5)
    store.replace_all([instance(disabled=True)], store.mark(), NOW)
    store = instances_on(disk)
    store.save([instance()], 4)
    assert store.all() == [instance(disabled=True)]


def test_without_numbers_the_last_word_counts() -> None:
    disk = SimulatedDisk()
    store = instances_on(disk)
    store.save([instance()])
    store.remove("i1", NOW)
    assert disk.names() == []
    store.save([instance(disabled=True)])
    store.save([instance()])
    assert store.all() == [instance()]


def test_what_was_removed_is_remembered_for_a_day_and_not_for_ever() -> None:
    disk = SimulatedDisk()
    store = instances_on(disk)
    for number in range(5):
        store.save([instance(number=f"i{number}")], 2 * number + 1)
        store.remove(f"i{number}", NOW + number, 2 * number + 2)
    store = instances_on(disk)
    assert len(disk.names()) == 5
    store.remove("another", NOW + DAY + 3, 100)
    assert disk.names() == ["another.json", "i4.json"]


def test_killed_at_any_step_of_a_removal_it_is_tried_again_and_late_orders_do_nothing() -> None:
    for number in itertools.count(1):

        def crash(call: int, _name: str, number: int = number) -> None:
            if call == number:
                raise Crashed

        disk = SimulatedDisk()
        store = instances_on(disk)
        store.save([instance()], 5)
        disk.calls, disk.fault = 0, crash
        try:
            store.remove("i1", NOW, 9)
        except Crashed:
            again = instances_on(disk.after_kill())
            assert again.all() in ([instance()], [])
            again.remove("i1", NOW, 9)
            again.save([instance()], 5)
            assert again.all() == []
        else:
            assert number > 4, "there is more than that to be killed at"
            return


@pytest.mark.parametrize("restarted", [False, True])
def test_jobs_that_were_replaced_or_withdrawn_do_not_come_back_late(restarted: bool) -> None:
    disk = SimulatedDisk()
    store = plans_on(disk)
    store.replace([jobs("old")], 5)
    store.replace([jobs("new")], 7)
    store.replace([jobs("old")], 5)
    assert names(store) == ["new"]
    store.remove("plan", 6)
    assert names(store) == ["new"]
    store.remove("plan", 8)
    store = plans_on(disk) if restarted else store
    store.replace([jobs("new")], 7)
    assert names(store) == []
    assert store.plans() == {}
    store.replace([jobs("newest")], 9)
    assert names(store) == ["newest"]


def test_jobs_that_are_sent_without_a_number_replace_what_was_there() -> None:
    store = plans_on(SimulatedDisk())
    store.replace([jobs("old")], 5)
    store.replace([jobs("new")])
    assert names(store) == ["new"]
    store.replace([jobs("late")], 4)
    assert names(store) == ["new"]
    store.remove("plan")
    assert names(store) == []
