"""Who tries to start a command while the disk is full: one for all, and when there is room, more and more."""

from collections.abc import Callable

import pytest
from agent_rig import ManualTime
from jobledger.actors.agent.backoff import LONGEST_PAUSE_MS
from jobledger.actors.agent.disk_room import DiskRoom


class Crowd:
    """Orders that try whenever they may, on a disk with room for some."""

    def __init__(self, names: list[str]) -> None:
        self.time = ManualTime(0)
        self.room = DiskRoom(self.time, self.time)
        self.free = 0
        self.tries = 0
        self.started: list[str] = []
        self.waiting: list[str] = []
        self.let_go: list[str] = []
        for name in names:
            self.enter(name)

    def enter(self, name: str) -> None:
        if self.room.enter(name, self.when_let_go(name)):
            self.let_go.append(name)
        self.settle()

    def when_let_go(self, name: str) -> Callable[[], None]:
        return lambda: self.let_go.append(name)

    def settle(self) -> None:
        """Those that were let go try, one after the other."""
        while self.let_go:
            name = self.let_go.pop(0)
            self.tries += 1
            if self.free:
                self.free -= 1
                self.started.append(name)
                self.room.found(name)
            else:
                self.room.refused(name, "full", self.when_let_go(name))

    def pause(self) -> None:
        self.time.move_to(self.time.now + LONGEST_PAUSE_MS)
        self.settle()


NAMES = [str(number) for number in range(10_000)]


def test_ten_thousand_that_wait_for_a_full_disk_cost_one_attempt_for_each_pause() -> None:
    crowd = Crowd(NAMES)
    assert crowd.tries == 1
    for _ in range(5):
        crowd.pause()
    assert crowd.tries == 6
    shortage = crowd.room.shortage()
    assert shortage is not None
    assert (shortage.waiting, shortage.since, shortage.reason) == (10_000, 0, "full")


def test_ten_thousand_that_wait_all_start_once_in_their_order_when_there_is_room() -> None:
    crowd = Crowd(NAMES)
    crowd.free = 10_000
    crowd.pause()
    assert crowd.started == NAMES
    assert crowd.room.shortage() is None
    assert crowd.time.alarms == {}
    crowd.free = 1
    crowd.enter("next")
    assert crowd.started[-1] == "next"


def test_where_there_is_room_for_some_the_others_keep_their_places() -> None:
    crowd = Crowd(NAMES[:10])
    crowd.free = 3
    crowd.pause()
    assert crowd.started == NAMES[:3]
    crowd.enter("late")
    crowd.free = 10
    crowd.pause()
    assert sorted(crowd.started[:10]) == NAMES[:10]
    assert crowd.started[-1] == "late"


def test_many_that_try_at_once_before_the_first_is_refused_all_wait() -> None:
    crowd = Crowd([])
    for name in NAMES[:5]:
        assert crowd.room.enter(name, crowd.when_let_go(name))
    for name in NAMES[:5]:
        crowd.room.refused(name, "full", crowd.when_let_go(name))
    assert crowd.let_go == []
    crowd.free = 5
    crowd.pause()
    assert crowd.started == NAMES[:5]


@pytest.mark.parametrize("leaving", ["waiting", "trying"])
def test_one_that_leaves_holds_up_nobody(leaving: str) -> None:
    crowd = Crowd(NAMES[:4])
    if leaving == "waiting":
        crowd.room.leave("0")
        crowd.time.move_to(LONGEST_PAUSE_MS)
        assert crowd.let_go == ["1"]
    else:
        crowd.time.move_to(LONGEST_PAUSE_MS)
        assert crowd.let_go == ["0"]
        crowd.let_go.clear()
        crowd.room.leave("0")
        assert crowd.let_go == ["1"]
    crowd.free = 3
    crowd.settle()
    assert crowd.started == ["1", "2", "3"]
    assert crowd.room.shortage() is None


def test_when_all_have_left_the_next_tries_at_once() -> None:
    crowd = Crowd(NAMES[:3])
    for name in NAMES[:3]:
        crowd.room.leave(name)
    assert crowd.room.shortage() is None
    crowd.free = 1
    crowd.enter("next")
    assert crowd.started == ["next"]
    crowd.pause()
    assert crowd.let_go == []


def test_one_that_asks_anew_keeps_its_place_whether_it_waits_or_tries() -> None:
    crowd = Crowd(NAMES[:3])
    assert not crowd.room.enter("0", crowd.when_let_go("0 anew"))
    crowd.time.move_to(LONGEST_PAUSE_MS)
    assert crowd.let_go == ["0 anew"]
    assert crowd.room.enter("0", crowd.when_let_go("0 once more"))
