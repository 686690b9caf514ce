"""Alarms ring in time, and whatever becomes of the clock nobody waits for longer than was meant."""

import threading
from collections.abc import Iterator

import pytest
from jobledger.actors.timers import Timers

HOUR = 3_600_000
NOON = 1_800_014_400_000


class Clocks:
    """A clock that can be set, and time that only passes."""

    def __init__(self) -> None:
        self.now = NOON
        self.steady = 1_000.0

    def pass_time(self, milliseconds: int) -> None:
        self.now += milliseconds
        self.steady += milliseconds / 1000


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def timers(clocks: Clocks) -> Iterator[Timers]:
    timers = Timers(lambda: clocks.now, lambda: clocks.steady)
    timers.start()
    yield timers
    timers.close()


def alarm(timers: Timers, key: str, at: int) -> threading.Event:
    rung = threading.Event()
    timers.set(key, at, rung.set)
    return rung


def test_an_alarm_rings_when_its_time_has_come(clocks: Clocks, timers: Timers) -> None:
    soon, later = alarm(timers, "soon", NOON + 1_000), alarm(timers, "later", NOON + HOUR)
    clocks.pass_time(2_000)
    timers.look()
    assert soon.wait(10)
    assert not later.is_set()


def test_when_the_clock_is_set_back_everything_rings_and_can_be_set_again(
    clocks: Clocks, timers: Timers
) -> None:
    pause = alarm(timers, "a pause of five seconds", NOON + 5_000)
    clocks.now -= HOUR
    timers.look()
    assert pause.wait(10)
    again = alarm(timers, "a pause of five seconds", clocks.now + 5_000)
    clocks.pass_time(6_000)
    timers.look()
    assert again.wait(10)


def test_a_clock_that_is_corrected_a_little_rings_nothing_early(clocks: Clocks, timers: Timers) -> None:
    pause = alarm(timers, "pause", NOON + 5_000)
    clocks.now -= 200
    timers.look()
    sooner = alarm(timers, "sooner", clocks.now)
    assert sooner.wait(10)
    assert not pause.is_set()


def test_alarms_that_are_moved_again_and_again_do_not_pile_up(clocks: Clocks, timers: Timers) -> None:
    others = [alarm(timers, f"other {number}", NOON + HOUR) for number in range(50)]
    for number in range(5_000):
        timers.set("moved", NOON + 1000 * HOUR + number, lambda: None)
        timers.set("cancelled", NOON + 1000 * HOUR, lambda: None)
        timers.cancel("cancelled")
    assert len(timers._due) < 500
    rung = alarm(timers, "moved", NOON + HOUR)

    clocks.pass_time(HOUR)
    timers.look()

    for each in (rung, *others):
        assert each.wait(10)
