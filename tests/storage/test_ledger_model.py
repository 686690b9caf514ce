"""Random histories of the ledger against a model that a reader can check at a glance."""

import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Change, Conflict, InboxEntry
from ledger_samples import append, inbound
from simulated_database import SimulatedDatabase, SimulatedEngine, open_ledger

STREAMS = [UUID(int=number) for number in range(1, 4)]
AGENTS = ["a", "b"]

streams = st.sampled_from(STREAMS)
agents = st.sampled_from(AGENTS)
payloads = st.lists(st.tuples(streams, st.binary(max_size=8)), min_size=1, max_size=4)


class LedgerHistory(RuleBasedStateMachine):
    """Everything that the ledger is told is told to plain lists and dictionaries too."""

    database_url: str | None = None
    simulated: SimulatedDatabase | None = None

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.announced: list[int] = []
        self.ledger = self.open()
        if self.database_url is not None:
            for table in ("inbox", "outbox", "stored_events", "stored_snapshots"):
                self.ledger.write(
                    lambda transaction, table=table: transaction.run(f"DELETE FROM {table}", ())
                )
        self.inbox: list[tuple[UUID, bytes]] = []
        self.state: dict[int, str] = {}
        self.log: dict[UUID, int] = dict.fromkeys(STREAMS, 0)
        self.outbox: dict[str, list[tuple[UUID, int, str]]] = {agent: [] for agent in AGENTS}
        self.sequences: dict[str, int] = dict.fromkeys(AGENTS, 0)
        self.told = 0

    def open(self) -> Ledger:
        simulated = self.simulated
        if simulated is not None:
            ledger = open_ledger(lambda: SimulatedEngine(simulated))
        else:
            ledger = Ledger.open(self.database_url, Path(self.folder.name))
        ledger.on_received = lambda entries: self.announced.extend(entry.position for entry in entries)
        return ledger

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    def enter(self, entries: list[tuple[UUID, bytes]]) -> None:
        for entry in entries:
            self.inbox.append(entry)
            self.state[len(self.inbox)] = "waiting"

    # --- what may happen ------------------------------------------------------------------------------------

    @rule(entries=payloads)
    def receive(self, entries: list[tuple[UUID, bytes]]) -> None:
        positions = self.ledger.receive([inbound(*entry) for entry in entries])
        assert positions == list(range(len(self.inbox) + 1, len(self.inbox) + len(entries) + 1))
        self.enter(entries)

    @rule(
        stream=streams,
        count=st.integers(0, 3),
        off_by=st.sampled_from([0, 0, 0, 1, -1]),
        consume=st.integers(0, 2),
        park=st.booleans(),
        tell=st.lists(agents, max_size=3),
        raised=st.one_of(st.just([]), payloads),
        data=st.data(),
    )
    def save(
        self,
        stream: UUID,
        count: int,
        off_by: int,
        consume: int,
        park: bool,
        tell: list[str],
        raised: list[tuple[UUID, bytes]],
        data: Any,
    ) -> None:
        before = self.log[stream]
        expected = max(0, before + off_by)
        places = st.lists(st.integers(1, len(self.inbox)), max_size=consume, unique=True)
        picked = data.draw(places) if self.inbox else []
        parked, consumed = (picked[:1], picked[1:]) if park else ([], picked)
        kinds = [f"kind {self.told + number}" for number in range(len(tell))] if count else []
        change = Change(
            appends=(append(stream, expected, count),),
            consumed=tuple(consumed),
            parked=tuple((position, f"error {position}") for position in parked),
            outgoing=tuple(
                (agent, stream, expected + 1, kind) for agent, kind in zip(tell, kinds, strict=False)
            ),
            inbound=tuple(inbound(*entry) for entry in raised),
        )
        if expected != before or any(self.state[position] != "waiting" for position in picked):
            with pytest.raises(Conflict):
                self.ledger.save(change)
            return
        self.ledger.save(change)
        self.log[stream] = before + count
        self.state |= dict.fromkeys(consumed, "handled") | dict.fromkeys(parked, "parked")
        for agent, kind in zip(tell, kinds, strict=False):
            self.outbox[agent].append((stream, expected + 1, kind))
            self.told += 1
        self.enter(raised)

    @rule(agent=agents, count=st.integers(1, 5))
    def deliver(self, agent: str, count: int) -> None:
        told = self.ledger.outgoing(agent, limit=count)
        if told:
            assert told[0].sequence > self.sequences[agent]
            self.sequences[agent] = told[-1].sequence
            self.ledger.delivered(agent, told[-1].sequence)
            del self.outbox[agent][: len(told)]

    @rule(agent=agents)
    def deliver_again(self, agent: str) -> None:
        self.ledger.delivered(agent, self.sequences[agent])

    @precondition(lambda self: self.inbox)
    @rule(data=st.data())
    def unpark(self, data: Any) -> None:
        position = data.draw(st.integers(1, len(self.inbox)))
        entry = self.ledger.unpark(position)
        assert (entry is not None) == (self.state[position] == "parked")
        if entry is not None:
            assert (entry.stream, entry.payload) == self.inbox[position - 1]
            self.state[position] = "waiting"

    @precondition(lambda self: self.inbox)
    @rule(data=st.data())
    def discard(self, data: Any) -> None:
        position = data.draw(st.integers(1, len(self.inbox)))
        assert self.ledger.discard(position, "ann") == (self.state[position] == "parked")
        if self.state[position] == "parked":
            self.state[position] = "discarded"

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        assert self.announced == list(range(1, len(self.inbox) + 1))
        self.ledger = self.open()

    # --- what must hold at any time -------------------------------------------------------------------------

    def positions(self, state: str) -> list[int]:
        return [position for position, found in sorted(self.state.items()) if found == state]

    @invariant()
    def waiting_entries_are_those_of_the_model(self) -> None:
        waiting = self.positions("waiting")
        assert [entry.position for entry in self.ledger.unhandled()] == waiting
        first = {self.inbox[position - 1][0]: position for position in reversed(waiting)}
        assert self.ledger.streams_with_unhandled() == sorted(first, key=lambda stream: first[stream])
        for stream in STREAMS:
            own = [position for position in waiting if self.inbox[position - 1][0] == stream]
            assert [entry.position for entry in self.ledger.unhandled(stream)] == own

    @invariant()
    def every_entry_is_what_it_was_and_knows_its_state(self) -> None:
        found = self.ledger.entries(range(1, len(self.inbox) + 2))
        assert {position: (each.stream, each.payload) for position, each in found.items()} == dict(
            enumerate(self.inbox, 1)
        )
        for position, entry in found.items():
            assert entry.handled == (self.state[position] in {"handled", "discarded"})
        parked: list[InboxEntry] = self.ledger.parked()
        assert [(each.position, each.error) for each in parked] == [
            (position, f"error {position}") for position in self.positions("parked")
        ]

    @invariant()
    def logs_have_no_gap_and_no_more_than_was_saved(self) -> None:
        for stream, last in self.log.items():
            assert self.ledger.last_position(stream) == last
            assert [each.position for each in self.ledger.facts(stream)] == list(range(1, last + 1))

    @invariant()
    def agents_are_told_what_they_were_not_yet_told(self) -> None:
        for agent, expected in self.outbox.items():
            told = self.ledger.outgoing(agent)
            assert [
                (each.recorded.originator_id, each.recorded.position, each.kind) for each in told
            ] == expected
        assert self.ledger.agents_with_outgoing() == [agent for agent in AGENTS if self.outbox[agent]]


QUIETLY = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def test_any_history_on_a_file_is_as_the_model_says() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        LedgerHistory,
        settings=settings(
            max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=QUIETLY
        ),
    )


def test_any_history_on_a_server_is_as_the_model_says(fresh_postgres_url: str) -> None:
    class OnServer(LedgerHistory):
        database_url = fresh_postgres_url

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OnServer,
        settings=settings(
            max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=QUIETLY
        ),
    )


def test_any_history_in_the_simulations_database_is_as_the_model_says() -> None:
    class InMemory(LedgerHistory):
        def __init__(self) -> None:
            self.simulated = SimulatedDatabase()
            super().__init__()

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        InMemory,
        settings=settings(
            max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=QUIETLY
        ),
    )
