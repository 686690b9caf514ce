"""Two dashboards on one database: whatever both do to one instance at once, its log is that of one (P8)."""

import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from dashboard_rig import OPERATOR, MemoryAgent, plan_of
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.domain.commands import HoldJob, ReleaseJob, SubmitJob
from jobledger.domain.facts import JobCompleted, JobHeld, JobInitiated, JobReleased
from jobledger.domain.instance import replay
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.snapshots import digest
from jobledger.storage.records import Unavailable

CHAINS, LENGTH = 6, 5
NOW = 1_800_000_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Dashboard, Dashboard]]:
    url = request.getfixturevalue("fresh_postgres_url") if request.param == "postgresql" else None
    opened = []
    for _ in range(2):
        dashboard = Dashboard(
            DashboardConfig(data_dir=tmp_path, database_url=url, threads=2),
            open_transport=lambda _url: MemoryAgent(),
            clock=lambda: NOW,
        )
        dashboard.start()
        opened.append(dashboard)
    yield opened[0], opened[1]
    for dashboard in opened:
        dashboard.close()


def begun(dashboard: Dashboard) -> UUID:
    names = [f"j{chain}x{step}" for chain in range(CHAINS) for step in range(LENGTH)]
    after = {name: [names[n - 1]] for n, name in enumerate(names) if n % LENGTH}
    dashboard.push_plan(plan_of("chains", names, after), {}, OPERATOR)
    return dashboard.start_instance("chains", OPERATOR)


def finished(instance_id: UUID, job: str) -> ProcessEvent:
    return ProcessEvent(
        agent="host",
        job=job,
        instance_id=str(instance_id),
        successful=True,
        return_code=0,
        id=f"{job} is done",
    )


def until_heard(dashboards: tuple[Dashboard, Dashboard]) -> None:
    pause = threading.Event()
    for _ in range(2_000):
        if not dashboards[0].ledger.unhandled(limit=1):
            return
        pause.wait(0.01)
    raise AssertionError(f"not heard: {dashboards[0].ledger.unhandled(limit=3)}")


def test_events_that_two_dashboards_take_at_once_are_each_heard_once_and_start_each_job_once(
    both: tuple[Dashboard, Dashboard],
) -> None:
    instance_id = begun(both[0])

    def report(chain: int) -> None:
        for step in range(LENGTH):
            both[(chain + step) % 2].receive([finished(instance_id, f"j{chain}x{step}")], OPERATOR)

    threads = [threading.Thread(target=report, args=(chain,)) for chain in range(CHAINS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until_heard(both)

    facts = both[0].ledger.facts(instance_id)
    assert [fact.position for fact in facts] == list(range(1, len(facts) + 1))
    completed = [fact.fact.job for fact in facts if isinstance(fact.fact, JobCompleted)]
    assert sorted(completed) == sorted(
        {f"host-j{chain}x{step}" for chain in range(CHAINS) for step in range(LENGTH)}
    )
    started = [fact.fact.job for fact in facts if isinstance(fact.fact, JobInitiated)]
    assert len(started) == len(set(started)), "a job was started twice"
    replayed = digest(replay(both[0].instance(instance_id).topology, facts))
    for dashboard in both:
        assert digest(dashboard.instance_at(instance_id, position=facts[-1].position)) == replayed
    assert both[0].dead_letters() == []


def test_orders_to_two_dashboards_at_once_are_each_done_once_or_refused(
    both: tuple[Dashboard, Dashboard],
) -> None:
    instance_id = begun(both[0])
    answers: list[object] = []

    def order(which: int) -> None:
        for turn in range(10):
            command = (HoldJob if turn % 2 == 0 else ReleaseJob)(job="host-j0x1", context="chains")
            try:
                both[which].command(instance_id, command, OPERATOR)
            except Exception as refusal:  # noqa: BLE001  it is looked at below
                answers.append(refusal)
            else:
                answers.append(None)

    threads = [threading.Thread(target=order, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    facts = both[1].ledger.facts(instance_id)
    changes = [type(fact.fact) for fact in facts if isinstance(fact.fact, JobHeld | JobReleased)]
    assert changes == [JobHeld, JobReleased] * (len(changes) // 2) + [JobHeld] * (len(changes) % 2)
    assert not [each for each in answers if isinstance(each, Unavailable)]
    both[0].command(instance_id, SubmitJob(job="host-j1x0", context="chains"), OPERATOR)
    both[1].receive([finished(instance_id, "j1x0")], OPERATOR)
    until_heard(both)
    facts = both[1].ledger.facts(instance_id)
    assert sum(isinstance(fact.fact, JobInitiated) and fact.fact.job == "host-j1x1" for fact in facts) == 1
