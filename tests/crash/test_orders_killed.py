"""An order whose process dies at any call of the database on its way, and which is given again afterwards."""

from pathlib import Path
from uuid import UUID

import pytest
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.host import Host
from jobledger.actors.dashboard.origin import Origin
from jobledger.actors.dashboard.ports import AgentTransport, AgentUnreachable
from jobledger.domain.commands import (
    AcknowledgeError,
    Command,
    HoldContext,
    KillJob,
    ResetDownstream,
    SetParameters,
    SubmitJob,
)
from jobledger.domain.facts import Recorded
from jobledger.domain.instance import replay
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import CommandJob, Context, Dependency, Grouping, JobPlan, ListedJob
from jobledger.domain.snapshots import digest
from jobledger.domain.status import JobStatus
from jobledger.storage.ledger import DATABASE_FILE, Ledger
from jobledger.storage.records import Unavailable
from jobledger.storage.sqlite_engine import SqliteEngine
from ledger_faults import Faults, Killed, copy_of_files, faulty_sqlite

MORE_CALLS_THAN_ANY_ORDER = 60
KEYED = Origin(by="olga", source="10.0.0.7", reason="night shift", key="k-1")
OTHER = Origin(by="test")
PLAN = JobPlan(
    root=Context(
        name="chain",
        jobs=(ListedJob("host", "a"), ListedJob("host", "b")),
        dependencies=(Dependency("host-b", Grouping(all_of=("host-a",))),),
    ),
    jobs=tuple(CommandJob(agent="host", name=name, command_line="true") for name in ("a", "b")),
)


class FaultyHost(Host):
    """A host whose database fails as told."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def ledger(self, database_url: str | None, data_dir: Path) -> Ledger:
        return Ledger(SqliteEngine(data_dir / DATABASE_FILE, faulty_sqlite(self._faults)))


def nobody(url: str) -> AgentTransport:
    raise AgentUnreachable(f"nobody is at {url}")


def opened(folder: Path, host: Host | None = None) -> Dashboard:
    ticks = iter(range(1_800_000_000_000, 1_900_000_000_000))
    config = DashboardConfig(data_dir=folder, threads=2)
    dashboard = Dashboard(config, open_transport=nobody, clock=lambda: next(ticks), host=host or Host())
    dashboard.start()
    return dashboard


def started(dashboard: Dashboard, *, running: bool) -> UUID:
    dashboard.push_plan(PLAN, {}, OTHER)
    instance_id = dashboard.start_instance("chain", OTHER)
    if running:
        event = ProcessEvent(
            agent="host", job="a", instance_id=str(instance_id), starting=True, pid=7, id="s"
        )
        dashboard.receive([event], OTHER)
        state = dashboard.instance(instance_id)
        while state.job(0).status is not JobStatus.RUNNING:
            state = dashboard.wait_for_change(instance_id, state.position, 5)
    return instance_id


def killed_at(folder: Path, call: int, order: Command, *, running: bool) -> tuple[UUID, bool, bool]:
    """Die at a call; the instance, whether it came to that, and whether the order was answered."""
    faults = Faults()
    dashboard = opened(folder, FaultyHost(faults))
    instance_id = started(dashboard, running=running)

    def die() -> None:
        copy_of_files(folder / DATABASE_FILE, folder / "left")
        raise Killed

    faults.arm(call, die)
    try:
        dashboard.command(instance_id, order, KEYED)
    except Unavailable:
        answered = False
    else:
        answered = True
    struck = faults.struck
    faults.disarm()
    dashboard.close()
    return instance_id, struck, answered


def of_the_order(log: list[Recorded]) -> list[Recorded]:
    return [each for each in log if each.cause.key == KEYED.key]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("order", "running"),
    [
        (SubmitJob(job="host-a", context="chain"), False),
        (HoldContext(context="chain"), False),
        (AcknowledgeError(job="host-a", context="chain", ticket="OPS-7"), False),
        (ResetDownstream(job="host-a", context="chain", submit=True), False),
        (SetParameters(parameters={"A": "1"}), False),
        (KillJob(job="host-a", context="chain"), True),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, bool) else "",
)
def test_an_order_killed_at_any_call_is_there_whole_or_not_at_all_and_once_when_it_is_given_again(
    tmp_path: Path, order: Command, *, running: bool
) -> None:
    seen: set[str] = set()
    for call in range(1, MORE_CALLS_THAN_ANY_ORDER):
        folder = tmp_path / f"{call}"
        folder.mkdir()
        instance_id, struck, answered = killed_at(folder, call, order, running=running)
        if not struck:
            assert answered
            assert call > 4, "the order made fewer calls than it has statements"
            assert seen == {"not at all", "whole"}, "no kill came before the commit, or none after it"
            return
        dashboard = opened(folder / "left")
        try:
            left = of_the_order(dashboard.ledger.facts(instance_id))
            told = dashboard.command(instance_id, order, KEYED)
            assert left in ([], list(told)), "half of the order was stored, or something else"
            assert left or not answered, "the order was answered and is gone"
            seen.add("whole" if left else "not at all")
            log = dashboard.ledger.facts(instance_id)
            assert of_the_order(log) == list(told), "the order was obeyed twice"
            waiting = [each for each in dashboard.ledger.outgoing("host") if each.recorded in told]
            assert len(waiting) == len({each.recorded.position for each in waiting}), "told twice"
            live = dashboard.instance(instance_id)
            assert digest(replay(live.topology, log)) == digest(live)
        finally:
            dashboard.close()
    pytest.fail("the order never came through")
