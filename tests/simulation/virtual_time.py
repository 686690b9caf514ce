"""Time that only a simulation moves on, and processes whose tasks run one at a time in it.

A task is a greenlet: product code runs in it as it would on a thread, and where it would block it gives way
to whatever happens next. What happens next is the agenda's earliest entry; how long everything takes is drawn
from streams of chance that each have a name, so a seed gives the same history again.
"""

import hashlib
import random
from collections import Counter, deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from greenlet import getcurrent, greenlet
from simulated_disk import Crashed

Act = Callable[[], object]

TRACED = 400
"""Steps that are remembered for whoever looks into a failure."""


class Killed(BaseException):
    """The process of this task is gone: nothing that it tries from here on happens."""


class Chance(random.Random):
    """A stream whose draws depend on its name and the moment, not on what was drawn before.

    So leaving something out of a case leaves what has nothing to do with it as it was.
    """

    def __init__(self, loop: "Loop", name: str) -> None:
        self._loop = loop
        self._salt = int.from_bytes(hashlib.sha256(f"{loop.seed}/{name}".encode()).digest()[:8], "big")
        self._moment = -1
        self._drawn = 0
        super().__init__()

    def seed(self, *_: object, **__: object) -> None:
        """The name and the moment are all there is."""

    def random(self) -> float:
        return (self._mixed() >> 11) / (1 << 53)

    def getrandbits(self, bits: int, /) -> int:
        found = 0
        for _ in range(0, bits, 64):
            found = found << 64 | self._mixed()
        return found & ((1 << bits) - 1)

    def _mixed(self) -> int:
        """64 bits, as splitmix makes them."""
        now = self._loop.now_us
        if now != self._moment:
            self._moment, self._drawn = now, 0
        self._drawn += 1
        mixed = (self._salt + now * 0x9E3779B97F4A7C15 + self._drawn * 0xD1B54A32D192ED03) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)


_MASK = (1 << 64) - 1


class Loop:
    """The agenda of a world. Times are in microseconds."""

    def __init__(self, seed: int, start_ms: int) -> None:
        self.seed = seed
        self.now_us = start_ms * 1000
        self.steps = 0
        self.kinds: Counter[str] = Counter()
        self.trace: deque[tuple[int, str, str]] = deque(maxlen=TRACED)
        self.hub = getcurrent()
        self.failure: BaseException | None = None
        self._agenda: list[tuple[int, int, Process | None, str, Act]] = []
        self._numbers = count()
        self._chances: dict[str, Chance] = {}

    @property
    def now_ms(self) -> int:
        return self.now_us // 1000

    def chance(self, name: str) -> Chance:
        """The stream of that name."""
        found = self._chances.get(name)
        if found is None:
            found = self._chances[name] = Chance(self, name)
        return found

    def at(self, when_us: int, act: Act, kind: str, process: "Process | None" = None) -> None:
        """Have something happen, unless the process that it happens to is gone by then."""
        heappush(self._agenda, (max(when_us, self.now_us), next(self._numbers), process, kind, act))

    def after(self, delay_us: int, act: Act, kind: str, process: "Process | None" = None) -> None:
        """Have something happen in a while."""
        self.at(self.now_us + delay_us, act, kind, process)

    def run_until(self, until_us: int) -> None:
        """Let everything happen that happens up to then; raises what went wrong."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= until_us:
            when, number, process, kind, act = heappop(agenda)
            if process is not None:
                if not process.alive:
                    continue
                if process.stalled:
                    process.held_up.append((number, kind, act))
                    continue
                if process.steps_left is not None and not process.step():
                    continue
            self.now_us = when
            self.steps += 1
            self.kinds[kind] += 1
            self.trace.append((when, process.name if process is not None else "world", kind))
            act()
            if self.failure is not None:
                raise self.failure
        self.now_us = max(self.now_us, until_us)


class Task(greenlet):
    """Something that a process does, and that may have to wait."""

    def __init__(self, process: "Process", work: Act) -> None:
        super().__init__(parent=process.loop.hub)
        self.process = process
        self._work = work

    def run(self) -> None:
        process = self.process
        try:
            self._work()
        except Killed:
            process.tasks.pop(self, None)
        except Crashed:
            process.tasks.pop(self, None)
            process.kill()
        except BaseException as error:  # noqa: BLE001  it fails the simulation, from the hub
            process.tasks.pop(self, None)
            if process.alive:
                process.loop.failure = error
        else:
            process.tasks.pop(self, None)


class Process:
    """One life of a program on some host."""

    def __init__(self, loop: Loop, name: str, chance: random.Random) -> None:
        self.loop = loop
        self.name = name
        self.chance = chance
        self.alive = True
        self.steps_left: int | None = None
        """It is killed instead of the step after these."""
        self.stalled = False
        self.held_up: list[tuple[int, str, Act]] = []
        self.tasks: dict[Task, None] = {}
        self.on_kill: list[Act] = []
        """Done at once, wherever the kill came from: they may only note it."""
        self.on_death: list[Act] = []
        """Done from the hub, once all tasks have ended."""

    def spawn(self, work: Act, kind: str, delay_us: int | None = None) -> None:
        """Do something soon, on a thread of its own as it were."""
        if not self.alive:
            return
        task = Task(self, work)
        self.tasks[task] = None
        self.loop.after(self.delay_us() if delay_us is None else delay_us, task.switch, kind, self)

    def delay_us(self) -> int:
        """How long it takes until a thread that could run does run: mostly not long, and sometimes very."""
        chance = self.chance.random()
        if chance < 0.9:
            return int(chance * 1_500)
        if chance < 0.99:
            return int((chance - 0.9) * 400_000)
        return int((chance - 0.99) * 60_000_000)

    def step(self) -> bool:
        """Whether it lives to take one more step."""
        assert self.steps_left is not None
        self.steps_left -= 1
        if self.steps_left < 0:
            self.loop.kinds["fault: killed in the middle of work"] += 1
            self.kill()
            return False
        return True

    def stall(self, for_us: int) -> None:
        """Nothing of it runs for a while, as if the host were asleep."""
        if not self.stalled:
            self.stalled = True
            self.loop.after(for_us, self.go_on, "goes on")

    def go_on(self) -> None:
        """What was held up happens now, in its order."""
        self.stalled = False
        held_up, self.held_up = self.held_up, []
        for _, kind, act in sorted(held_up, key=lambda each: each[0]):
            self.loop.after(0, act, kind, self)

    def kill(self) -> None:
        """It is gone, at once; what its tasks held in memory with it."""
        if not self.alive:
            return
        self.alive = False
        for act in self.on_kill:
            act()
        self.loop.after(0, self.bury, "death")

    def bury(self) -> None:
        """From the hub: let every task end, in the order in which they were begun."""
        for task in list(self.tasks):
            if task:  # one that was not begun yet has nothing to end
                task.throw(Killed)
        self.tasks.clear()
        acts, self.on_death = self.on_death, []
        for act in acts:
            act()


def current_process() -> Process:
    """The process whose task this is."""
    task = getcurrent()
    if not isinstance(task, Task):
        raise RuntimeError("only a task of a process can do this")  # noqa: TRY004  a fault of the simulation
    return task.process


def pause(delay_us: int, kind: str) -> None:
    """Let others go on for a while."""
    process = current_process()
    task = getcurrent()
    _check(process)
    process.loop.after(delay_us, task.switch, kind, process)
    process.loop.hub.switch()
    _check(process)


def _check(process: Process) -> None:
    if not process.alive:
        raise Killed


class _Waiter:
    __slots__ = ("done", "signalled", "task")

    def __init__(self, task: Any) -> None:
        self.task = task
        self.signalled = False
        self.done = False

    def resume(self) -> None:
        if self.done:
            self.task.process.loop.steps -= 1  # its time limit, long after: nothing happens
            return
        self.done = True
        self.task.switch()


class Signal:
    """What tasks of a process wait for."""

    __slots__ = ("_waiters", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._waiters: list[_Waiter] = []

    def set(self) -> None:
        """Let everybody who waits go on, each after a while of its own."""
        self.is_set = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.signalled = True
            process = waiter.task.process
            process.loop.after(process.delay_us(), waiter.resume, "resume", process)

    def clear(self) -> None:
        """From now on they wait again."""
        self.is_set = False

    def wait(self, timeout_us: int | None = None) -> bool:
        """Whether it was set in time."""
        process = current_process()
        _check(process)
        if self.is_set:
            return True
        waiter = _Waiter(getcurrent())
        self._waiters.append(waiter)
        if timeout_us is not None:
            process.loop.after(timeout_us, waiter.resume, "time limit", process)
        process.loop.hub.switch()
        _check(process)
        if not waiter.signalled and waiter in self._waiters:
            self._waiters.remove(waiter)
        return waiter.signalled
