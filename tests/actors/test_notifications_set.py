"""Who is told of what may be changed without a new version of a plan; the change is a fact like any other."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.dashboard.errors import PlanMoved, UnknownName
from jobledger.domain.facts import NotificationsSet
from jobledger.domain.notification_settings import MonitorType, NotificationSettings, PlanNotifications

TELL_OPS = NotificationSettings(plan=PlanNotifications(monitor_types=(MonitorType.ERROR,), to=("ops@x",)))
TELL_DESK = NotificationSettings(plan=PlanNotifications(monitor_types=(MonitorType.ERROR,), to=("desk@x",)))
DOCUMENTS = {"context/p.json": b"{}", "notification/p.json": b'{"emailSendTo": ["ops@x"]}'}
CHANGE = NotificationsSet(
    notifications=TELL_DESK,
    documents={"notification/new.json": b'{"emailSendTo": ["desk@x"]}'},
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as opened:
        opened.dashboard.push_plan(plan_of("p", ["a"], notifications=TELL_OPS), DOCUMENTS, OPERATOR)
        yield opened


def change(rig: Bench, fact: NotificationsSet = CHANGE, *, rests_on: int | None = None) -> None:
    newest = rig.dashboard.plan("p").position
    rig.dashboard.set_notifications("p", fact, OPERATOR, rests_on=rests_on or newest)


def test_a_change_holds_at_once_and_makes_no_new_version(rig: Bench) -> None:
    change(rig)
    found = rig.dashboard.plan("p")
    assert (found.version, found.plan.notifications) == (1, TELL_DESK)
    assert found.documents == {
        "context/p.json": b"{}",
        "notification/new.json": b'{"emailSendTo": ["desk@x"]}',
    }
    rig.restart()
    assert rig.dashboard.plan("p") == found
    assert rig.dashboard.plan_as_it_stands("p").plan.notifications == TELL_DESK


def test_agents_are_not_told_of_it(rig: Bench) -> None:
    agent = rig.agent()
    agent.wait_for(lambda it: it.told == ["provision p"])
    change(rig)
    rig.restart()
    assert agent.told == ["provision p"]


def test_a_change_that_was_made_upon_an_older_one_is_refused(rig: Bench) -> None:
    before = rig.dashboard.plan("p").position
    change(rig)
    with pytest.raises(PlanMoved):
        change(rig, NotificationsSet(notifications=TELL_OPS), rests_on=before)
    assert rig.dashboard.plan("p").plan.notifications == TELL_DESK


def test_a_change_that_changes_nothing_is_no_fact(rig: Bench) -> None:
    position = rig.dashboard.plan_as_it_stands("p").position
    change(
        rig,
        NotificationsSet(
            notifications=TELL_OPS, documents={"notification/p.json": DOCUMENTS["notification/p.json"]}
        ),
    )
    assert rig.dashboard.plan_as_it_stands("p").position == position


def test_a_push_has_the_last_word_and_the_same_push_after_a_change_is_a_new_version(rig: Bench) -> None:
    change(rig)
    exported = rig.dashboard.plan("p")
    assert not rig.dashboard.push_plan(exported.plan, exported.documents, OPERATOR).changed
    pushed = rig.dashboard.push_plan(plan_of("p", ["a"], notifications=TELL_OPS), DOCUMENTS, OPERATOR)
    assert (pushed.version, pushed.changed) == (2, True)
    assert rig.dashboard.plan("p").plan.notifications == TELL_OPS
    assert rig.dashboard.plan("p", 1).plan.notifications == TELL_DESK


def test_a_plan_that_nobody_knows_has_none_to_change(rig: Bench) -> None:
    with pytest.raises(UnknownName, match="nobody"):
        rig.dashboard.set_notifications("nobody", CHANGE, OPERATOR, rests_on=1)


def test_a_change_upon_a_change_leaves_what_stands_and_what_is_exported_the_same(rig: Bench) -> None:
    change(rig)
    again = NotificationsSet(
        notifications=TELL_OPS,
        documents={"notification/p.json": b'{"emailSendTo": ["ops@x"]}'},
    )
    change(rig, again)
    stands, exported = rig.dashboard.plan_as_it_stands("p"), rig.dashboard.plan("p")
    assert (stands.plan, stands.documents) == (exported.plan, exported.documents)
    assert exported.documents == DOCUMENTS
