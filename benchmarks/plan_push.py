"""A plan of ten thousand jobs, from the bytes of a request to an answer that says it is on disk.

    python benchmarks/plan_push.py [--json]

Each form in which a plan is pushed goes over HTTP to a dashboard with an empty database. Beside it stands
what the disk needs for as many bytes as the database then holds, written and synced in the same run, and the
parts of the way: reading the bundle, validating the plan, storing it.
"""

import http.client
import os
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.origin import Origin
from jobledger.actors.dashboard.ports import AgentTransport, AgentUnreachable
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    Grouping,
    JobPlan,
    ListedJob,
    Parameter,
    StartWindow,
)
from jobledger.domain.standings import with_standings
from jobledger.domain.validation import validate
from jobledger.http.dashboard.app import Application
from jobledger.http.dashboard.auth import Nobody
from jobledger.http.dashboard.services import Services
from jobledger.http.serving import HttpServer
from jobledger.http.wire.bundle_writing import new_documents
from jobledger.http.wire.bundles import pack, read_zip
from report import amount, show

JOBS = amount(10_000, 1_000)
JOBS_IN_A_CONTEXT = 100
AGENTS = 10
FLOOR_SECONDS = 2
ROUNDS = amount(3, 1)
BODY_LIMIT_BYTES = 64 * 1024 * 1024
WHO = Origin(by="benchmark")


def large_plan(jobs: int) -> JobPlan:
    """Chains of a hundred commands, each in a context of its own, on ten agents."""
    contexts, described = [], []
    for number in range(max(1, jobs // JOBS_IN_A_CONTEXT)):
        agent = f"agent-{number % AGENTS}"
        names = [f"job-{number}-{step}" for step in range(min(jobs, JOBS_IN_A_CONTEXT))]
        rules = (
            Dependency(f"{agent}-{after}", Grouping(all_of=(f"{agent}-{before}",)))
            for before, after in pairwise(names)
        )
        listed = tuple(ListedJob(agent, name) for name in names)
        contexts.append(Context(name=f"context-{number}", jobs=listed, dependencies=tuple(rules)))
        described += [
            CommandJob(
                agent=agent,
                name=name,
                command_line=f'/opt/batch/run.sh --step {name} --date "$business_date"',
                parameters=(Parameter("business_date", "today"),),
                successful_return_codes=(0, 4),
            )
            for name in names
        ]
    root = Context(name="large", contexts=tuple(contexts))
    window = StartWindow(cron="0 0 18 ? * MON-FRI", zone="Europe/London", time_to_live_ms=12 * 3_600_000)
    return JobPlan(root=root, jobs=with_standings(root, described), window=window)


def as_zip(plan: JobPlan) -> bytes:
    """The plan as a bundle."""
    return pack(plan, new_documents(plan), 0)


def as_json(plan: JobPlan) -> bytes:
    """The plan as a bundle in one document."""
    documents = {path: msgspec.Raw(content) for path, content in new_documents(plan).items()}
    root = documents.pop("context/large.json")
    return msgspec.json.encode({"contextTemplate": root, "schedulerJobs": list(documents.values())})


def as_plan_file(plan: JobPlan) -> bytes:
    """The plan as a person would write it."""
    jobs = {job.identifier: job for job in plan.jobs}
    lines = ["plan: large", "start: {cron: 0 0 18 ? * MON-FRI, time_to_live: 12h}", "contexts:"]
    for context in plan.root.contexts:
        lines += [f"  {context.name}:", "    jobs:"]
        before = None
        for listed in context.jobs:
            job = jobs[listed.identifier]
            assert isinstance(job, CommandJob)
            lines += [
                f"      {job.name}:",
                f"        agent: {job.agent}",
                f"        command: {job.command_line}",
            ]
            lines += ["        success: [0, 4]", "        parameters: {business_date: today}"]
            lines += [] if before is None else [f"        after: {before}"]
            before = job.name
    return "\n".join(lines).encode()


def unreachable(url: str) -> AgentTransport:
    """Nobody is told of the plan: what the push costs is measured, not what follows from it."""
    raise AgentUnreachable(url)


def pushed(body: bytes, media: str) -> tuple[float, int]:
    """Seconds from the request to its answer, and the bytes that the database holds then."""
    with tempfile.TemporaryDirectory(prefix="jobledger-", dir=Path.cwd()) as name:
        ticks = count(1_790_000_000_000)
        dashboard = Dashboard(
            DashboardConfig(data_dir=Path(name)), open_transport=unreachable, clock=lambda: next(ticks)
        )
        dashboard.start()
        services = Services(dashboard)
        server = HttpServer(
            Application(services, Nobody(), body_limit_bytes=BODY_LIMIT_BYTES),
            host="127.0.0.1",
            port=0,
            threads=2,
            body_limit_bytes=BODY_LIMIT_BYTES,
        )
        thread = threading.Thread(target=server.serve, args=(services.waiting.close,))
        thread.start()
        try:
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
            began = time.perf_counter()
            connection.request("PUT", "/api/v1/plans/large", body, {"Content-Type": media})
            answer = connection.getresponse()
            told = answer.read()
            seconds = time.perf_counter() - began
            assert answer.status == 201, told[:1000]
            connection.close()
        finally:
            server.stop()
            thread.join()
            dashboard.close()
        return seconds, sum(file.stat().st_size for file in Path(name).iterdir())


def written(size: int) -> float:
    """Seconds to write so many bytes to a file and sync it."""
    block = os.urandom(1024 * 1024)
    with tempfile.NamedTemporaryFile(dir=Path.cwd()) as file:
        began = time.perf_counter()
        for _ in range(size // len(block) + 1):
            file.write(block)
        file.flush()
        os.fdatasync(file.fileno())
        return time.perf_counter() - began


def best(measure: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The least seconds of several: what the work takes, without what else the machine does."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        measure()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def stored(plan: JobPlan, documents: dict[str, bytes]) -> float:
    """Seconds to store a version of a plan that was read and validated."""
    with tempfile.TemporaryDirectory(prefix="jobledger-", dir=Path.cwd()) as name:
        ticks = count(1_790_000_000_000)
        dashboard = Dashboard(
            DashboardConfig(data_dir=Path(name)), open_transport=unreachable, clock=lambda: next(ticks)
        )
        dashboard.start()
        began = time.perf_counter()
        dashboard.revise_plan(plan, documents, WHO, rests_on=0, command="Push")
        seconds = time.perf_counter() - began
        dashboard.close()
        return seconds


def main() -> None:
    """Every form, then the parts of the way of one, then whether a job costs the same in a small plan."""
    plan = large_plan(JOBS)
    forms = {
        "zip": (as_zip(plan), "application/zip"),
        "JSON": (as_json(plan), "application/json"),
        "plan file": (as_plan_file(plan), "application/yaml"),
    }
    figures: dict[str, object] = {"jobs": JOBS}
    size = 0
    for form, (body, media) in forms.items():
        seconds, size = min(pushed(body, media) for _ in range(ROUNDS))
        figures[f"{form}: MB sent"] = len(body) / 1e6
        figures[f"{form}: seconds from request to answer (floor {FLOOR_SECONDS})"] = seconds
    raw = forms["zip"][0]
    documents = new_documents(plan)
    disk = min(written(size) for _ in range(ROUNDS))
    figures["zip: seconds to read it"] = reading = best(lambda: read_zip(raw))
    figures["seconds to validate the plan"] = validating = best(lambda: validate(plan, known_agents=()))
    figures["seconds to store it"] = min(stored(plan, documents) for _ in range(ROUNDS))
    figures["MB in the database"] = size / 1e6
    figures["seconds to write and sync as much to a file"] = disk
    figures["zip: from request to answer / writing as much"] = (
        float(str(figures[f"zip: seconds from request to answer (floor {FLOOR_SECONDS})"])) / disk
    )
    small = large_plan(JOBS // 10)
    small_raw = as_zip(small)
    figures["reading a job: in 10,000 / in 1,000"] = reading / best(lambda: read_zip(small_raw)) / 10
    figures["validating a job: in 10,000 / in 1,000"] = (
        validating / best(lambda: validate(small, known_agents=())) / 10
    )
    show("plan push", figures)


if __name__ == "__main__":
    main()
