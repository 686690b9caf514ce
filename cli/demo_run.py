"""The night of the demo: two servers, one instance, one killed agent, one job submitted again."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil

from . import answers, plan_files
from .client import Client
from .demo_stage import Stage
from .failures import Failure
from .processes import ServerProcess
from .settings import Connection

AGENT = "scheduler-agent"
AT_LONGEST_SECONDS = 60.0
AWAY_SECONDS = 1.0
"""How long the agent is away: commands go on meanwhile."""

_KILL_DURING = ("validate-trades", "enrich-trades")
_FAILS = "check-prices"


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in the night, as far as the demo did it."""

    instance_id: str
    survivors: dict[str, int]
    """The process ids of the commands that ran while the agent was killed, by job."""
    outlived: tuple[str, ...]
    """Those of them whose processes lived on after the agent's death."""
    seconds: float


class Night:
    """A dashboard and an agent in two processes, stopped and cleaned up whatever happens."""

    def __init__(self, directory: Path, plan: Path, stage: Stage) -> None:
        self._directory = directory
        self._work = directory / "work"
        self._plan = plan
        self._stage = stage
        self._began = time.monotonic()
        self._servers: list[ServerProcess] = []
        self._survivors: dict[str, int] = {}
        self._outlived: tuple[str, ...] = ()
        self._file_written = False
        self._submitted_again = False

    def __enter__(self) -> "Night":
        self._work.mkdir()
        try:
            dashboard = self._start(
                "dashboard", "--data-dir", str(self._directory / "dashboard"), "--port", "0", "--auth", "none"
            )
            self._url = dashboard.wait_until_ready()
            self.client = Client(Connection(url=self._url))
            self._stage.say(f"dashboard, process {dashboard.pid}, {self._url}")
            self._start_agent("0")
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._clean_up()

    def run(self) -> Ran:
        """Push the plan, start an instance and see it through; raises ``Failure`` when it takes too long."""
        plan = plan_files.load(self._plan)
        name = plan_files.readable(plan).name
        self.client.put(f"/plans/{name}", plan.content, plan.media)
        self._stage.say(f"pushed {self._plan.name}")
        body = {"parameters": {"WORK_DIR": str(self._work)}}
        instance_id = str(self.client.post(f"/plans/{name}/instances", body)["instance_id"])
        self._stage.say(f"started instance {instance_id} of {name}")
        self._see_through(instance_id)
        return Ran(
            instance_id=instance_id,
            survivors=self._survivors,
            outlived=self._outlived,
            seconds=time.monotonic() - self._began,
        )

    # --- the night itself -----------------------------------------------------------------------------------

    def _see_through(self, instance_id: str) -> None:
        path = f"/instances/{instance_id}"
        shown = answers.read(answers.Instance, self.client.get(path))
        while True:
            self._stage.look(shown)
            if shown.status == "COMPLETE" and shown.quiet:
                return
            if time.monotonic() - self._began > AT_LONGEST_SECONDS:
                raise Failure(
                    f"the instance is {shown.status} after {AT_LONGEST_SECONDS:.0f} s",
                    details=[f"{job.identifier} is {job.status}" for _context, job in shown.standings()],
                    next_step="run it again with --keep, and look at the data that it leaves",
                )
            self._intervene(shown)
            shown = answers.read(answers.Instance, self.client.get_after(path, shown.position, 1.0))

    def _intervene(self, shown: answers.Instance) -> None:
        """What the world and its people do in this night, each at its time."""
        jobs = {job.name: (context, job) for context, job in shown.standings()}
        if not self._file_written and jobs["take-snapshot"][1].status == "COMPLETE":
            self._write_file()
        if not self._survivors and all(jobs[name][1].status == "RUNNING" for name in _KILL_DURING):
            self._kill_agent({name: jobs[name][1] for name in _KILL_DURING})
        context, failed = jobs[_FAILS]
        if not self._submitted_again and failed.status == "ERROR":
            self._submit_again(shown, context, failed)

    def _write_file(self) -> None:
        inbox = self._work / "inbox"
        unfinished = inbox / "unfinished"
        unfinished.write_text("id,amount\n1,100\n2,250\n")
        unfinished.rename(inbox / "trades-2026-03-31.csv")
        self._file_written = True
        self._stage.say("a file arrives: inbox/trades-2026-03-31.csv")

    def _kill_agent(self, running: dict[str, answers.Job]) -> None:
        self._survivors = {name: job.pid for name, job in running.items() if job.pid is not None}
        names = " and ".join(running)
        agent = self._servers[-1]
        agent.kill()
        self._stage.say(f"SIGKILL to the agent, process {agent.pid}, while {names} run")
        time.sleep(AWAY_SECONDS)
        self._outlived = tuple(name for name, pid in self._survivors.items() if psutil.pid_exists(pid))
        self._stage.say(f"the agent is gone, its commands live on: {self._survivors}")
        self._servers.pop()
        self._start_agent(str(urlsplit(agent.url or "").port or 0))

    def _submit_again(self, shown: answers.Instance, context: answers.Context, failed: answers.Job) -> None:
        path = f"/instances/{shown.instance_id}/contexts/{context.name}/jobs/{failed.identifier}"
        written, _headers = self.client.download(f"/api/v1{path}/log/stderr", offset=0)
        self._stage.say(f"{failed.name} failed: {written.decode().strip()}")
        self.client.post(
            f"{path}/submit", {"parameters": {"TOLERANCE": "5"}, "reason": "the desk accepts 5 %"}
        )
        self._submitted_again = True
        self._stage.say(f"{failed.name} is submitted again with TOLERANCE=5")

    # --- servers --------------------------------------------------------------------------------------------

    def _start(self, *arguments: str) -> ServerProcess:
        server = ServerProcess(arguments[0], arguments, cwd=self._directory)
        self._servers.append(server)
        return server

    def _start_agent(self, port: str) -> None:
        data = ("--data-dir", str(self._directory / "agent"))
        agent = self._start("agent", "--name", AGENT, *data, "--dashboard-url", self._url, "--port", port)
        self._stage.say(f"agent, process {agent.pid}, {agent.wait_until_ready()}")

    def _clean_up(self) -> None:
        for server in reversed(self._servers):
            server.stop()
        end_processes_of(self._directory)


def end_processes_of(directory: Path) -> None:
    """End every process that was started for a directory: its path is in their environment or arguments."""
    left = [
        process
        for process in psutil.process_iter()
        if process.pid != psutil.Process().pid and _is_of(process, str(directory))
    ]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5)


def _is_of(process: psutil.Process, directory: str) -> bool:
    try:
        told: list[Any] = [*process.cmdline(), *process.environ().values()]
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False
    return any(directory in str(each) for each in told)
