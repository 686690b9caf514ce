"""Ledgers to open, and facts and inbox entries to fill them with."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from jobledger.domain.facts import Cause, Fact, InstanceStarted, JobStarted, PlanPushed, Recorded
from jobledger.domain.plan import CommandJob, Context, JobPlan
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Append, Inbound, InboxEntry, InstanceSummary
from simulated_database import SimulatedDatabase, SimulatedEngine, open_ledger


class LedgerBench:
    """Opens ledgers on one database, as several processes would, and closes those that were left open."""

    def __init__(
        self, database_url: str | None, data_dir: Path, *, simulated: SimulatedDatabase | None = None
    ) -> None:
        self.database_url = database_url
        self.data_dir = data_dir
        self.simulated = simulated
        self.now = 1_000_000
        self._opened: list[Ledger] = []

    def open(self) -> Ledger:
        simulated = self.simulated
        if simulated is not None:
            ledger = open_ledger(lambda: SimulatedEngine(simulated), lambda: self.now)
        else:
            ledger = Ledger.open(self.database_url, self.data_dir, clock=lambda: self.now)
        self._opened.append(ledger)
        return ledger

    def close(self) -> None:
        for ledger in self._opened:
            ledger.close()


def inbound(stream: UUID, payload: bytes = b"payload", *, source: str = "10.0.0.7") -> Inbound:
    return Inbound(stream=stream, kind="event", payload=payload, source=source)


def recorded(stream: UUID, position: int, fact: Fact | None = None, *, at: int | None = None) -> Recorded:
    return Recorded(
        originator_id=stream,
        originator_version=position,
        at=position * 1000 if at is None else at,
        cause=Cause(command="Test", by="tests"),
        fact=fact or JobStarted(job=f"host-job-{position}", pid=position),
    )


def append(stream: UUID, expected: int, count: int = 1) -> Append:
    """So many facts after the position that the log is expected to end at."""
    facts = tuple(recorded(stream, expected + number) for number in range(1, count + 1))
    return Append(stream=stream, expected=expected, facts=facts)


def started(plan: str = "eod", version: int = 1) -> InstanceStarted:
    return InstanceStarted(plan=plan, plan_version=version)


def pushed(name: str, version: int = 1, *, disabled: bool = False, agents: Sequence[str] = ()) -> PlanPushed:
    jobs = tuple(CommandJob(agent=agent, name="job", command_line="true") for agent in agents)
    return PlanPushed(version=version, plan=JobPlan(root=Context(name=name), jobs=jobs, disabled=disabled))


def summary(instance_id: UUID, position: int = 1, **changes: Any) -> InstanceSummary:
    return InstanceSummary(
        **{
            "instance_id": instance_id,
            "plan": "eod",
            "plan_version": 1,
            "status": "RUNNING",
            "started_at": 1000,
            "position": position,
            "counts": {"WAITING": 2},
            **changes,
        }
    )


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Return once the condition holds; fail when it does not in time."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        sleep(0.001)


@contextmanager
def one_commit(ledger: Ledger, requests: int) -> Iterator[None]:
    """What threads that are started within ask for is committed together, once there is so much of it."""
    may_go_on = threading.Event()
    held = threading.Event()
    before = ledger.on_received

    def hold(entries: Sequence[InboxEntry]) -> None:
        before(entries)
        if not held.is_set():
            held.set()
            assert may_go_on.wait(20)

    ledger.on_received = hold
    ledger.receive([inbound(UUID(int=0), b"holds the committer")])
    assert held.wait(20)
    try:
        yield
        wait_until(lambda: ledger._committer._queue.qsize() >= requests, f"{requests} requests wait")
    finally:
        may_go_on.set()
        ledger.on_received = before


def in_threads(*calls: Callable[[], object]) -> Callable[[], list[object]]:
    """Start each call on a thread; the result gives what each returned or raised, once all have."""
    outcomes: list[object] = [None] * len(calls)

    def run(number: int, call: Callable[[], object]) -> None:
        try:
            outcomes[number] = call()
        except Exception as error:  # noqa: BLE001  it is what the test looks at
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()

    def finish() -> list[object]:
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), "a call did not return"
        return outcomes

    return finish
