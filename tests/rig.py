"""A dashboard and an agent as real processes on free ports, to be driven over HTTP and killed at will."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

READY_SECONDS = 30.0


class Server:
    """One server process; remembers its port, so that it can be started again where it was."""

    def __init__(self, name: str, arguments: list[str], logs: Path) -> None:
        self.name = name
        self._arguments = arguments
        self._log = logs / f"{name}.log"
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> float:
        """Start it and wait for its line; returns the seconds that took."""
        began = time.perf_counter()
        with self._log.open("a") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobledger", *self._arguments, "--port", str(self.port)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"listening on http://[^:]+:(\d+)", line)
            if found:
                self.port = int(found[1])
                threading.Thread(target=self._drain, daemon=True).start()
                return time.perf_counter() - began
        self.kill()
        raise RuntimeError(f"{self.name} did not start:\n{self._log.read_text()[-4000:]}")

    def _drain(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        try:
            for _line in self.process.stdout:
                pass
        except ValueError:
            return

    def kill(self) -> None:
        """As the kernel would: without a warning."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to finish; returns its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        with process:
            process.send_signal(how)
            try:
                return process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

    @property
    def rss_mb(self) -> float:
        """Resident memory."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024


class Rig:
    """One dashboard and one agent with their data in a folder."""

    def __init__(
        self,
        folder: Path,
        *,
        agent: str = "host",
        database_url: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """``options``: more of the dashboard's command line."""
        self.folder = folder
        self.agent_name = agent
        self.http = urllib3.PoolManager(maxsize=64, retries=urllib3.Retry(0), timeout=urllib3.Timeout(30.0))
        database = [] if database_url is None else ["--database-url", database_url]
        self.dashboard = Server(
            "dashboard",
            ["dashboard", "--data-dir", str(folder / "dashboard"), "--auth", "none", *database, *options],
            folder,
        )
        self.agent: Server | None = None

    def start_agent(self) -> float:
        """Start the agent, or start it again; the dashboard must have a port by then."""
        if self.agent is None:
            self.agent = Server(
                "agent",
                [
                    "agent",
                    "--name",
                    self.agent_name,
                    "--data-dir",
                    str(self.folder / "agent"),
                    "--dashboard-url",
                    self.dashboard.url,
                ],
                self.folder,
            )
        return self.agent.start()

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """One request to the dashboard; the answer's status and its JSON or text."""
        data = None
        if isinstance(body, bytes):
            data = body
        elif body is not None:
            data = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        answer = self.http.request(method, self.dashboard.url + path, body=data, headers=headers)
        text = answer.data.decode()
        is_json = text and "json" in answer.headers.get("Content-Type", "")
        return answer.status, json.loads(text) if is_json else text

    def ok(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """A request that must succeed."""
        status, answer = self.request(method, path, body, **headers)
        assert 200 <= status < 300, f"{method} {path} answered {status}: {answer}"
        return answer

    def push(self, bundle: dict[str, Any]) -> None:
        """Push a plan as a JSON bundle."""
        self.ok("PUT", f"/api/v1/plans/{bundle['contextTemplate']['name']}", bundle)

    def begin(self, plan: str) -> str:
        """Start an instance by hand."""
        return str(self.ok("POST", f"/api/v1/plans/{plan}/instances", {})["instance_id"])

    def submit(self, instance: str, context: str, job: str) -> None:
        """Submit a job by hand."""
        self.ok("POST", f"/api/v1/instances/{instance}/contexts/{context}/jobs/{job}/submit", {})

    def instance(self, instance: str) -> Any:
        """The live instance."""
        return self.ok("GET", f"/api/v1/instances/{instance}")

    def wait_for(
        self,
        instance: str,
        done: Callable[[Any], bool],
        *,
        seconds: float = 120.0,
        what: str = "the condition",
    ) -> Any:
        """Follow the instance until it is as it should be, through restarts of the dashboard."""
        deadline = time.monotonic() + seconds
        position, seen = 0, None
        while time.monotonic() < deadline:
            try:
                seen = self.ok("GET", f"/api/v1/instances/{instance}?after={position}&wait=2")
            except urllib3.exceptions.HTTPError:
                threading.Event().wait(0.02)  # the dashboard is down: nothing tells when it is back
                continue
            if done(seen):
                return seen
            position = seen["position"]
        logs = "\n".join(path.read_text()[-3000:] for path in self.folder.glob("*.log"))
        raise AssertionError(f"no {what} within {seconds} s; last seen: {json.dumps(seen)[:3000]}\n{logs}")

    def problems(self) -> list[str]:
        """What the agent says is wrong with it."""
        (agent,) = self.ok("GET", "/api/v1/agents")["items"]
        return list(agent["problems"])

    def wait_until(self, holds: Callable[[], bool], *, seconds: float = 30.0) -> None:
        """For what no position of a log tells of."""
        until = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < until, "waited in vain"
            threading.Event().wait(0.1)

    def wait_complete(self, instance: str, *, seconds: float = 120.0) -> Any:
        """Wait until the instance is COMPLETE."""
        return self.wait_for(
            instance, lambda seen: seen["status"] == "COMPLETE", seconds=seconds, what="COMPLETE instance"
        )

    def wait_agent(self, *, seconds: float = 30.0) -> None:
        """Wait until the dashboard has heard of the agent."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(each["name"] == self.agent_name for each in self.ok("GET", "/api/v1/agents")["items"]):
                return
            threading.Event().wait(0.02)
        raise AssertionError("the agent did not announce itself")

    def close(self) -> None:
        """Stop everything."""
        for server in (self.agent, self.dashboard):
            if server is not None and server.process is not None:
                server.stop()
        self.http.clear()


@contextmanager
def running(
    folder: Path, *, agent: str = "host", database_url: str | None = None, options: Sequence[str] = ()
) -> Iterator[Rig]:
    """A dashboard and an agent that know each other; stopped at the end."""
    rig = Rig(folder, agent=agent, database_url=database_url, options=options)
    try:
        rig.dashboard.start()
        rig.start_agent()
        rig.wait_agent()
        yield rig
    finally:
        rig.close()


def jobs_of(instance: Any) -> Iterator[Any]:
    """Every job in an instance's tree, with its context's name as ``context``."""

    def walk(context: Any) -> Iterator[Any]:
        for job in context["jobs"]:
            yield {**job, "context": context["name"]}
        for child in context["contexts"]:
            yield from walk(child)

    return walk(instance["root"])


def command(name: str, script: str, *, agent: str = "host", **fields: object) -> dict[str, Any]:
    """A command job's template as bundles have it."""
    return {"agentName": agent, "jobName": name, "commandLine": script, "successfulReturnCodes": [], **fields}


def bundle(
    name: str, jobs: list[dict[str, Any]], after: dict[str, list[str]], **fields: object
) -> dict[str, Any]:
    """A plan of one context: each job named in ``after`` starts when all those listed are complete."""

    def identifier(job: str) -> str:
        return next(f"{each['agentName']}-{job}" for each in jobs if each["jobName"] == job)

    return {
        "contextTemplate": {
            "name": name,
            "contexts": [],
            "scheduledJobs": [
                {
                    "agentName": job["agentName"],
                    "jobName": job["jobName"],
                    "identifier": identifier(job["jobName"]),
                }
                for job in jobs
            ],
            "jobDependencies": [
                {
                    "jobIdentifier": identifier(job),
                    "logicalGrouping": {"and": [{"identifier": identifier(each)} for each in needed]},
                }
                for job, needed in after.items()
            ],
            "contextTtlMilliseconds": 86_400_000,
            "ableToRunConcurrently": True,
            **fields,
        },
        "schedulerJobs": [{**job, "contextName": name} for job in jobs],
    }
