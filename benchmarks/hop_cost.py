"""What a hop costs: milliseconds of CPU in the dashboard, in the agent and in the launcher's processes.

It says more than latency does on a busy machine: run it before a change and after it, several times in turns.
"""

import contextlib
import os
import tempfile
from pathlib import Path

import psutil
from report import amount, show
from rig import Rig, Server, bundle, command, running

LENGTH = amount(400, 10)
DIAMONDS = amount(50, 3)


def own_ms(process: psutil.Process) -> float:
    """CPU time of one process, all of its threads, by the nanoseconds of the kernel's scheduler."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def launcher_ms(agent: psutil.Process) -> float:
    """CPU time of the spawner, of the supervisors that live, and of the commands that they have seen end."""
    spent = 0.0
    for process in agent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended: its supervisor counts it now
            spent += sum(process.cpu_times()[:4])
    return spent * 1000


def of(server: Server | None) -> psutil.Process:
    """The process of a server that runs."""
    assert server is not None
    assert server.process is not None
    return psutil.Process(server.process.pid)


class Cost:
    """CPU time spent since it was made."""

    def __init__(self, rig: Rig) -> None:
        self._dashboard, self._agent = of(rig.dashboard), of(rig.agent)
        self._before = self._now()

    def _now(self) -> tuple[float, ...]:
        return own_ms(self._dashboard), own_ms(self._agent), launcher_ms(self._agent)

    def per(self, jobs: int) -> tuple[float, ...]:
        """Milliseconds a job: dashboard, agent, and the launcher's processes with the commands."""
        return tuple((after - before) / jobs for before, after in zip(self._before, self._now(), strict=True))


def chain(rig: Rig, bell: Path) -> tuple[float, ...]:
    """One command after the other; nobody looks on, the last one rings."""
    jobs = [command(f"j{n}", "true") for n in range(LENGTH)]
    jobs[-1]["commandLine"] = f"echo >> {bell}"
    rig.push(bundle("chain", jobs, {f"j{n}": [f"j{n - 1}"] for n in range(1, LENGTH)}))
    instance = rig.begin("chain")
    cost = Cost(rig)
    rig.submit(instance, "chain", "host-j0")
    bell.read_text()
    return cost.per(LENGTH)


def diamonds(rig: Rig, bell: Path) -> tuple[float, ...]:
    """Many instances of ten jobs at once; each last command rings, and nobody looks on.

    Supervisors that end take what they have used with them, so the launcher's processes are left out.
    """
    middle = [f"m{n}" for n in range(8)]
    jobs = [command(name, "true") for name in ["first", *middle, "last"]]
    jobs[-1]["commandLine"] = f"echo >> {bell}"
    rig.push(bundle("diamond", jobs, {**{name: ["first"] for name in middle}, "last": middle}))
    instances = [rig.begin("diamond") for _ in range(DIAMONDS)]
    cost = Cost(rig)
    with bell.open("r+b", buffering=0) as ringing:
        for instance in instances:
            rig.submit(instance, "diamond", "host-first")
        for _ in instances:
            ringing.read(1)
    return cost.per(10 * DIAMONDS)[:2]


def main() -> None:
    """Both shapes."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="jobledger-") as name, running(Path(name)) as rig:
        bell = Path(name) / "bell"
        os.mkfifo(bell)
        for shape in (chain, diamonds):
            costs = shape(rig, bell)
            for part, ms in zip(("dashboard", "agent", "launcher and command"), costs, strict=False):
                figures[f"{shape.__name__}, {part} ms a job"] = ms
    show("hop cost", figures)


if __name__ == "__main__":
    main()
