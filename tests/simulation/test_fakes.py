"""The parts that stand in for the host keep the promises of what they stand in for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jobledger.actors.agent.file_places import HOST_PLACES
from jobledger.actors.agent.file_search import Search
from jobledger.actors.agent.launcher import LauncherClosed
from jobledger.actors.agent.markers import Ended, NotStarted, OutcomeUnknown, Running
from jobledger.actors.agent.spawner import RunSpec
from simulated_disk import Crashed
from virtual_launcher import Command, CommandHost, VirtualLauncher
from virtual_network import Network, NetworkFailed, Station, Weather
from virtual_places import Places
from virtual_time import Loop, Process, Signal, pause

SECOND_US = 1_000_000


@pytest.fixture
def loop() -> Loop:
    return Loop(1, 0)


def spec(name: str, command: Command = Command(longest_ms=500)) -> RunSpec:  # noqa: B008  it is not changed
    return RunSpec(
        initiation_id=name,
        argv=("/bin/sh", "-c", command.script()),
        cwd=Path("/"),
        env={},
        stdout=Path("/out"),
        stderr=Path("/err"),
    )


# --- time and processes -------------------------------------------------------------------------------------


def test_things_happen_in_the_order_of_their_times_and_no_earlier(loop: Loop) -> None:
    happened: list[tuple[str, int]] = []
    for name, at in (("second", 20), ("first", 10), ("third", 30)):
        loop.at(at, lambda name=name: happened.append((name, loop.now_us)), name)
    loop.run_until(25)
    assert happened == [("first", 10), ("second", 20)]
    assert loop.now_us == 25


def test_a_task_gives_way_while_it_waits_and_goes_on_when_it_is_told(loop: Loop) -> None:
    process, said, signal = Process(loop, "p", loop.chance("p")), [], Signal()

    def wait() -> None:
        said.append("waits")
        assert signal.wait()
        said.append("goes on")

    process.spawn(wait, "wait", 0)
    process.spawn(lambda: (said.append("tells"), signal.set()), "tell", 10)
    loop.run_until(SECOND_US)
    assert said == ["waits", "tells", "goes on"]


def test_nothing_of_a_process_happens_once_it_is_killed(loop: Loop) -> None:
    process, said = Process(loop, "p", loop.chance("p")), []

    def work() -> None:
        try:
            pause(100, "work")
            said.append("after the kill")
        finally:
            said.append("ended")

    process.spawn(work, "work", 0)
    process.on_death.append(lambda: said.append("buried"))
    loop.at(50, process.kill, "kill")
    loop.run_until(SECOND_US)
    assert said == ["ended", "buried"]


def test_a_process_that_dies_in_a_disk_call_takes_its_other_tasks_with_it(loop: Loop) -> None:
    process, said = Process(loop, "p", loop.chance("p")), []

    def crash() -> None:
        raise Crashed

    process.spawn(crash, "crash", 10)
    process.spawn(lambda: (pause(100, "work"), said.append("lives")), "work", 0)
    loop.run_until(SECOND_US)
    assert not process.alive
    assert said == []


def test_what_is_drawn_depends_on_the_moment_and_not_on_what_others_drew(loop: Loop) -> None:
    other = Loop(1, 0)
    other.chance("another stream").random()
    other.chance("stream").random()
    for each in (loop, other):
        each.run_until(5)
    assert loop.chance("stream").random() == other.chance("stream").random()
    assert Loop(2, 0).chance("stream").random() != Loop(1, 0).chance("stream").random()


# --- the network --------------------------------------------------------------------------------------------


def asked(loop: Loop, weather: Weather, *, die_us: int | None = None) -> tuple[list[str], list[object]]:
    """What a caller was told by a station that is asked once, and how often it was asked."""
    network, station = Network(loop, weather), Station("there")
    caller, there = Process(loop, "caller", loop.chance("c")), Process(loop, "there", loop.chance("t"))
    station.listen(there, "served")
    told: list[str] = []
    handled: list[object] = []

    def handle(served: object) -> str:
        handled.append(served)
        pause(10_000, "handle")
        return "done"

    def ask() -> None:
        try:
            told.append(network.request(station, "link", handle))
        except NetworkFailed as error:
            told.append(str(error))

    caller.spawn(ask, "ask", 0)
    if die_us is not None:
        loop.at(die_us, there.kill, "death")
    loop.run_until(200 * SECOND_US)
    return told, handled


def test_a_request_is_handled_and_answered(loop: Loop) -> None:
    assert asked(loop, Weather()) == (["done"], ["served"])


def test_a_lost_request_is_not_handled_and_a_lost_answer_is(loop: Loop) -> None:
    assert asked(loop, Weather(lost_requests=1)) == (["no answer in time"], [])
    assert asked(Loop(1, 0), Weather(lost_answers=1)) == (["no answer in time"], ["served"])


def test_a_repeated_request_is_handled_twice_and_answered_once(loop: Loop) -> None:
    assert asked(loop, Weather(repeated=1)) == (["done"], ["served", "served"])


def test_a_caller_is_told_when_the_process_that_it_asked_dies(loop: Loop) -> None:
    told, _ = asked(loop, Weather(), die_us=9_000)
    assert told in (["the connection was reset"], ["nobody listens"])


# --- the launcher -------------------------------------------------------------------------------------------


class Launches:
    """A virtual host with a launcher, and what the launcher told."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.host = CommandHost(loop, "host", lambda: loop.now_ms)
        self.told: list[str] = []
        self.process = Process(loop, "agent", loop.chance("agent"))
        self.launcher = self.open()

    def open(self) -> VirtualLauncher:
        self.process = Process(self.loop, "agent", self.loop.chance("agent"))
        self.launcher = VirtualLauncher(
            self.host,
            self.process,
            on_started=lambda started: self.told.append(f"{started.initiation_id} started"),
            on_finished=lambda name, result: self.told.append(f"{name} {type(result).__name__}"),
            on_no_room=lambda name, _reason: self.told.append(f"{name} no room"),
        )
        return self.launcher

    def wait(self, seconds: float) -> None:
        self.loop.run_until(self.loop.now_us + round(seconds * SECOND_US))


@pytest.fixture
def launches(loop: Loop) -> Launches:
    return Launches(loop)


def test_a_command_is_started_once_and_told_of_in_order(launches: Launches) -> None:
    launches.launcher.start(spec("one"))
    launches.launcher.start(spec("one"))
    launches.wait(5)
    assert launches.told == ["one started", "one Ended"]
    assert launches.host.starts["one"] == 1
    launches.launcher.start(spec("one"))
    launches.wait(5)
    assert launches.host.starts["one"] == 1


def test_a_command_without_room_is_told_of_and_can_be_started_when_there_is(launches: Launches) -> None:
    launches.host.no_room = lambda: True
    launches.launcher.start(spec("one"))
    launches.wait(5)
    launches.launcher.start(spec("one"))
    launches.wait(5)
    launches.host.no_room = lambda: False
    assert launches.host.starts["one"] == 0
    launches.launcher.start(spec("one"))
    launches.wait(5)
    assert launches.told == ["one no room", "one no room", "one started", "one Ended"]
    assert launches.host.starts["one"] == 1


def test_a_command_outlives_its_agent_and_the_next_one_finds_it(launches: Launches) -> None:
    launches.launcher.start(spec("one", Command(longest_ms=60_000)))
    launches.wait(0.1)
    launches.process.kill()
    launches.wait(0.1)
    again = launches.open()
    found = again.recover("one")
    assert isinstance(found, Running | Ended)
    launches.wait(120)
    assert isinstance(again.recover("one"), Ended)
    assert launches.host.starts["one"] == 1


def test_what_an_agent_handed_over_and_was_not_begun_is_not_begun_any_more(launches: Launches) -> None:
    launches.launcher.start(spec("one"))
    again = launches.open()
    launches.wait(5)
    assert isinstance(again.recover("one"), NotStarted)
    assert launches.host.starts["one"] == 0


def test_a_host_that_goes_down_leaves_an_outcome_that_nobody_knows(launches: Launches) -> None:
    launches.launcher.start(spec("one", Command(longest_ms=60_000)))
    launches.wait(0.05)
    launches.host.lose_power(launches.loop.chance("power"))
    assert isinstance(launches.open().recover("one"), OutcomeUnknown)


def test_a_marker_that_is_forgotten_may_be_started_anew_and_one_that_runs_is_not_forgotten(
    launches: Launches,
) -> None:
    launches.launcher.start(spec("one", Command(longest_ms=60_000)))
    launches.wait(0.05)
    with pytest.raises(ValueError, match="is running"):
        launches.launcher.forget("one")
    launches.wait(120)
    launches.launcher.forget("one")
    assert launches.launcher.known() == []
    assert isinstance(launches.launcher.recover("one"), NotStarted)


def test_a_killed_command_says_so(launches: Launches) -> None:
    launches.launcher.start(spec("one", Command(longest_ms=60_000)))
    launches.wait(0.05)
    assert launches.launcher.kill("one", force=True)
    launches.wait(1)
    result = launches.host.results["one"]
    assert isinstance(result, Ended)
    assert result.killed
    assert not launches.launcher.kill("one", force=True)


def test_a_closed_virtual_launcher_starts_nothing(launches: Launches) -> None:
    launches.launcher.close()
    with pytest.raises(LauncherClosed):
        launches.launcher.start(spec("late"))


# --- places where files arrive ------------------------------------------------------------------------------


@pytest.fixture(params=["host", "virtual"])
def landing(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A folder with files, on this host and in memory; both are asked the same."""
    if request.param == "host":
        places: Any = HOST_PLACES

        def put(path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    else:
        places = Places()

        def put(path: Path) -> None:
            places.put(str(path), 1, 0)

    return SimpleNamespace(places=places, put=put, folder=tmp_path)


def names(landing: Any, depth: int, pattern: str = ".*") -> list[str]:
    search = Search(landing.folder, pattern, whole_path=False)
    return [str(Path(file.path).relative_to(landing.folder)) for file in landing.places.look(search, depth)]


def test_files_are_found_by_pattern_and_depth(landing: Any) -> None:
    for name in ("a.csv", "b.txt", "deep/a.csv", "deep/deeper/a.csv"):
        landing.put(landing.folder / name)
    assert names(landing, 1) == ["a.csv", "b.txt"]
    assert sorted(names(landing, 2, "a.*")) == ["a.csv", "deep/a.csv"]


def test_a_move_replaces_nothing_and_is_known_to_be_over(landing: Any) -> None:
    source, target = landing.folder / "a.csv", landing.folder / "done" / "a.csv"
    landing.put(source)
    assert landing.places.free_target(source, target.parent, 5) == target
    landing.places.move(source, target)
    assert names(landing, 1) == []
    assert landing.places.finish(source, target)
    landing.put(source)
    assert landing.places.free_target(source, target.parent, 5) == target.with_name("a_5.csv")
    with pytest.raises(FileExistsError):
        landing.places.move(source, target)


def test_a_move_that_did_not_begin_is_not_over(landing: Any) -> None:
    source = landing.folder / "a.csv"
    landing.put(source)
    assert not landing.places.finish(source, landing.folder / "done" / "a.csv")
    with pytest.raises(FileNotFoundError):
        landing.places.move(landing.folder / "b.csv", landing.folder / "done" / "b.csv")
