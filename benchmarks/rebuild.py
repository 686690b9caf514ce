"""Bringing instances back from their logs, and what ten thousand live ones weigh."""

import resource
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from uuid import UUID

from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.origin import Origin
from jobledger.domain.commands import SubmitJob
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import CommandJob, Context, Dependency, Grouping, JobPlan, ListedJob
from jobledger.domain.snapshots import digest
from jobledger.storage.ledger import DATABASE_FILE
from report import amount, show

REBUILT = amount(1_000, 10)
LIVE = amount(10_000, 50)
JOBS = 16
"""Each leaves three facts: initiated, started, finished; with the start of the instance that makes fifty."""
WHO = Origin(by="benchmark")


def chain() -> JobPlan:
    """Commands one after another."""
    names = [f"j{n}" for n in range(JOBS)]
    return JobPlan(
        root=Context(
            name="chain",
            jobs=tuple(ListedJob("host", name) for name in names),
            dependencies=tuple(
                Dependency(f"host-j{n}", Grouping(all_of=(f"host-j{n - 1}",))) for n in range(1, JOBS)
            ),
        ),
        jobs=tuple(CommandJob(agent="host", name=name, command_line="true") for name in names),
        concurrent=True,
    )


def opened(folder: Path) -> Dashboard:
    """A dashboard that knows no agent: what it would tell them stays in its log."""
    dashboard = Dashboard(
        DashboardConfig(data_dir=folder),
        open_transport=lambda url: (_ for _ in ()).throw(ConnectionError(url)),
        clock=lambda: int(time.time() * 1000),
    )
    dashboard.start()
    return dashboard


def events(instance_id: UUID) -> list[ProcessEvent]:
    """Started and finished of every job."""
    return [
        ProcessEvent(
            agent="host",
            job=f"j{n}",
            instance_id=str(instance_id),
            initiation_id=f"{instance_id}-{n + 1}",
            starting=starting,
            successful=not starting,
            return_code=None if starting else 0,
            id=f"{n}/{starting}",
        )
        for n in range(JOBS)
        for starting in (True, False)
    ]


def fill(dashboard: Dashboard, number: int) -> list[UUID]:
    """Instances that ran to their end."""
    ids = [dashboard.start_instance("chain", WHO) for _ in range(number)]
    for instance_id in ids:
        dashboard.command(instance_id, SubmitJob(job="host-j0", context="chain"), WHO)
    for first in range(0, number, 50):
        dashboard.receive([event for each in ids[first : first + 50] for event in events(each)], WHO)
    for instance_id in ids:
        while dashboard.instance(instance_id).status != "COMPLETE":
            time.sleep(0.01)
    return ids


def read_alone(folder: Path) -> float:
    """Seconds to read every stored fact from the file and do nothing with it."""
    began = time.perf_counter()
    with closing(sqlite3.connect(folder / DATABASE_FILE)) as database:
        database.execute("SELECT * FROM stored_events").fetchall()
    return time.perf_counter() - began


def main() -> None:
    """Write, close, open, read; then start ten thousand and keep them all alive."""
    with tempfile.TemporaryDirectory(prefix="jobledger-") as name:
        folder = Path(name)
        dashboard = opened(folder)
        dashboard.push_plan(chain(), {}, WHO)
        ids = fill(dashboard, REBUILT)
        before = {each: digest(dashboard.instance(each)) for each in ids}
        facts = sum(dashboard.instance(each).position for each in ids)
        dashboard.close()
        dashboard = opened(folder)
        began = time.perf_counter()
        after = {each: digest(dashboard.instance(each)) for each in ids}
        rebuilt = time.perf_counter() - began
        raw = read_alone(folder)
        if before != after:
            sys.exit("rebuilt states differ from the live ones")
        memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began = time.perf_counter()
        for _ in range(LIVE):
            dashboard.start_instance("chain", WHO)
        for row in dashboard.active_instances("chain"):
            assert not row.ended
        started = time.perf_counter() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        live = len(dashboard.actor_names())
        dashboard.close()
    show(
        "rebuild",
        {
            "instances rebuilt": len(ids),
            "facts read": facts,
            "seconds (floor 5)": rebuilt,
            "facts/s": facts / rebuilt,
            "seconds to read all rows alone, measured now": raw,
            "rebuilding / reading the rows alone": rebuilt / raw,
            "live instance actors in one process": live,
            "seconds to start and wake them": started,
            "kB each": (memory - memory_before) * 1024 / LIVE,
        },
    )


if __name__ == "__main__":
    main()
