"""Commands that only exist in a simulation, and the launcher that starts them, each at most once.

Markers and commands belong to the host: they outlive the agent. A host that goes down takes the commands with
it; what their markers said by then is still there afterwards.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from jobledger.actors.agent.launcher import Launcher, LauncherClosed
from jobledger.actors.agent.markers import (
    CouldNotStart,
    Ended,
    NotStarted,
    OutcomeUnknown,
    Recovered,
    Running,
    RunResult,
    Started,
    StartedRecord,
)
from jobledger.actors.agent.spawner import RunSpec
from virtual_time import Loop, Process

_HAND_OVER_US = 20_000
_FIRST_PID = 1000
_KILL_GRACE_US = 10_000_000


@dataclass(slots=True)
class Command:
    """How a simulated command behaves; written as the script of its job."""

    longest_ms: int = 3_000
    fails: float = 0.0
    """How often it returns something else than 0."""
    cannot_start: float = 0.0
    vanishes: float = 0.0
    """How often nobody can say how it ended."""
    deaf: bool = False
    """It does not heed a request to end, only the force behind the second."""

    def script(self) -> str:
        return f"{self.longest_ms} {self.fails} {self.cannot_start} {self.vanishes} {int(self.deaf)}"

    @classmethod
    def of(cls, script: str) -> "Command":
        longest, fails, cannot, vanishes, deaf = script.split()
        return cls(int(longest), float(fails), float(cannot), float(vanishes), deaf == "1")


@dataclass(slots=True)
class Marker:
    """What the launcher's files say of one initiation."""

    initiation_id: str
    started: Started
    result: RunResult | None = None
    running: bool = False
    kill_requested: bool = False


class CommandHost:
    """The commands of one host."""

    def __init__(self, loop: Loop, name: str, clock: Callable[[], int]) -> None:
        self.loop = loop
        self.name = name
        self.clock = clock
        self.boot = 1
        self.generation = 0
        self.markers: dict[str, Marker] = {}
        self.ghosts: list[Marker] = []
        """Deleted, and perhaps back after the power fails: the directory was not synced."""
        self.starts: Counter[str] = Counter()
        """How often a command was started for an initiation; more than once must never be."""
        self.environments: dict[str, dict[str, str]] = {}
        """What each command that was started was given."""
        self.results: dict[str, RunResult] = {}
        self.launcher: VirtualLauncher | None = None
        self.no_room: Callable[[], bool] = lambda: False
        """Whether the disk has no room for what belongs to one more command."""
        self._pids = _FIRST_PID

    def hand_over(self, spec: RunSpec, generation: int) -> None:
        """A command is to begin, once the launcher's processes come to it."""
        chance = self._chance(spec.initiation_id)
        boot = self.boot
        self.loop.after(
            chance.randrange(500, _HAND_OVER_US),
            lambda: self._begin(spec, generation, boot, chance),
            "command begins",
        )

    def _chance(self, initiation_id: str) -> random.Random:
        return random.Random(f"{self.loop.seed}/{self.name}/{initiation_id}/{self.generation}")

    def _begin(self, spec: RunSpec, generation: int, boot: int, chance: random.Random) -> None:
        if generation != self.generation or boot != self.boot:
            return  # a later agent has taken charge: it finds no marker
        initiation_id = spec.initiation_id
        if initiation_id in self.markers:
            self._tell_end(initiation_id)
            return
        if self.no_room():
            if self.launcher is not None:
                self.launcher.say_no_room(initiation_id)
            return
        command = Command.of(spec.argv[-1])
        if chance.random() < command.cannot_start:
            started = Started(initiation_id, 0, self.clock())
            self.markers[initiation_id] = Marker(initiation_id, started, CouldNotStart("no such directory"))
            self._tell_end(initiation_id)
            return
        self._pids += 1
        self.starts[initiation_id] += 1
        self.environments[initiation_id] = spec.env
        if self.starts[initiation_id] > 1:
            raise AssertionError(f"P3: the command of initiation {initiation_id} was started twice")
        marker = Marker(initiation_id, Started(initiation_id, self._pids, self.clock()), running=True)
        self.markers[initiation_id] = marker
        if self.launcher is not None:
            self.launcher.say_started(marker)
        runs_us = int(chance.triangular(1_000, command.longest_ms * 1000, 1_000))
        result: RunResult = self._result(marker, command, chance)
        self.loop.after(runs_us, lambda: self._end(marker, boot, result), "command ends")

    def _result(self, marker: Marker, command: Command, chance: random.Random) -> RunResult:
        if chance.random() < command.vanishes:
            return OutcomeUnknown("its supervisor was killed", marker.started)
        fails = chance.random() < command.fails
        return Ended(
            return_code=chance.randrange(1, 128) if fails else 0,
            started=marker.started,
            completed_at=0,
            timed_out=fails and chance.random() < 0.1,
        )

    def _end(self, marker: Marker, boot: int, result: RunResult) -> None:
        if not marker.running or boot != self.boot:
            return
        marker.running = False
        if isinstance(result, Ended):
            killed = marker.kill_requested
            result = Ended(
                return_code=143 if killed and result.return_code == 0 else result.return_code,
                started=marker.started,
                completed_at=self.clock(),
                timed_out=result.timed_out,
                killed=killed,
            )
        marker.result = result
        self.results[marker.initiation_id] = result
        self._tell_end(marker.initiation_id)

    def _tell_end(self, initiation_id: str) -> None:
        if self.launcher is not None:
            self.launcher.say_over(initiation_id)

    def kill(self, marker: Marker, *, force: bool) -> None:
        """Have a command end before its time."""
        marker.kill_requested = True
        boot = self.boot
        chance = self.loop.chance(f"kills on {self.name}")
        within_us = 1_000 if force else chance.choice([5_000, 300_000, _KILL_GRACE_US])
        result = Ended(return_code=137 if force else 143, started=marker.started, completed_at=0)
        self.loop.after(within_us, lambda: self._end(marker, boot, result), "command killed")

    def lose_power(self, chance: random.Random) -> None:
        """Nothing runs any more; what was deleted without a sync may be there again."""
        self.boot += 1
        self.generation += 1
        self.launcher = None
        for marker in self.markers.values():
            marker.running = False
        for ghost in self.ghosts:
            if chance.random() < 0.5:
                self.markers.setdefault(ghost.initiation_id, ghost)
        self.ghosts.clear()

    @property
    def running(self) -> list[str]:
        """What runs now."""
        return [each.initiation_id for each in self.markers.values() if each.running]

    def state_of(self, initiation_id: str) -> Recovered:
        """What the marker and the processes say."""
        marker = self.markers.get(initiation_id)
        if marker is None:
            return NotStarted()
        if marker.result is not None:
            return marker.result
        if marker.running:
            return Running(marker.started, _record(marker), supervised=True)
        return OutcomeUnknown("the host went down while it ran", marker.started)


def _record(marker: Marker) -> StartedRecord:
    started = marker.started
    return StartedRecord(started.initiation_id, "boot", started.pid, 1, started.pid, 1, started.started_at)


class VirtualLauncher(Launcher):
    """The agent's side of it; keeps the promises of the real one."""

    def __init__(
        self,
        host: CommandHost,
        process: Process,
        *,
        on_started: Callable[[Started], None],
        on_finished: Callable[[str, RunResult], None],
        on_no_room: Callable[[str, str], None],
    ) -> None:
        self._host = host
        self._process = process
        self._on_started = on_started
        self._on_finished = on_finished
        self._on_no_room = on_no_room
        self._runs: dict[str, Started | None] = {}
        self._over: set[str] = set()
        self._closed = False
        host.generation += 1
        host.launcher = self

    # --- the port -------------------------------------------------------------------------------------------

    def start(self, spec: RunSpec) -> None:
        spec.check()
        if self._closed:
            raise LauncherClosed("the launcher is closed")
        if spec.initiation_id in self._runs or spec.initiation_id in self._over:
            return
        self._runs[spec.initiation_id] = None
        self._host.hand_over(spec, self._host.generation)

    def recover(self, initiation_id: str) -> Recovered:
        state = self._host.state_of(initiation_id)
        if isinstance(state, Running):
            self._runs.setdefault(initiation_id, state.started)
        return state

    def known(self) -> list[str]:
        return sorted(self._host.markers)

    def kill(self, initiation_id: str, *, force: bool) -> bool:
        marker = self._host.markers.get(initiation_id)
        if initiation_id not in self._runs or marker is None or not marker.running:
            return False
        self._host.kill(marker, force=force)
        return True

    def forget(self, initiation_id: str) -> None:
        if initiation_id in self._runs:
            raise ValueError(f"initiation {initiation_id!r} is running")
        self._over.discard(initiation_id)
        marker = self._host.markers.pop(initiation_id, None)
        if marker is not None:
            self._host.ghosts.append(marker)

    def find_by_pid(self, pid: int) -> str | None:
        return next((each for each, started in self._runs.items() if started and started.pid == pid), None)

    def running(self) -> list[str]:
        return list(self._runs)

    def close(self) -> None:
        self._closed = True
        self._host.launcher = None

    # --- what the host says, on the launcher's own thread ---------------------------------------------------

    def say_started(self, marker: Marker) -> None:
        self._process.spawn(lambda: self._started(marker.started), "launcher tells")

    def _started(self, started: Started) -> None:
        initiation_id = started.initiation_id
        if not self._closed and initiation_id in self._runs and self._runs[initiation_id] is None:
            self._runs[initiation_id] = started
            self._on_started(started)

    def say_no_room(self, initiation_id: str) -> None:
        self._process.spawn(lambda: self._give_back(initiation_id), "launcher tells")

    def _give_back(self, initiation_id: str) -> None:
        if not self._closed and self._runs.get(initiation_id, "not asked") is None:
            del self._runs[initiation_id]
            self._on_no_room(initiation_id, "No space left on device")

    def say_over(self, initiation_id: str) -> None:
        self._process.spawn(lambda: self._finished(initiation_id), "launcher tells")

    def _finished(self, initiation_id: str) -> None:
        if self._closed or initiation_id not in self._runs:
            return
        state = self._host.state_of(initiation_id)
        if isinstance(state, NotStarted | Running):
            return
        started = None if isinstance(state, CouldNotStart) else state.started
        if self._runs[initiation_id] is None and started is not None:
            self._on_started(started)
        del self._runs[initiation_id]
        self._over.add(initiation_id)
        self._on_finished(initiation_id, state)
