"""Ledgers for the tests of the storage room, on both databases and on the simulation's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from jobledger.storage.ledger import Ledger
from ledger_samples import LedgerBench
from simulated_database import SimulatedDatabase


@pytest.fixture(params=["sqlite", "postgresql", "simulated"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LedgerBench]:
    """A database of one kind, then of the other, then the one of the simulation."""
    url = request.getfixturevalue("fresh_postgres_url") if request.param == "postgresql" else None
    simulated = SimulatedDatabase() if request.param == "simulated" else None
    bench = LedgerBench(url, tmp_path / "data", simulated=simulated)
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture
def ledger(bench: LedgerBench) -> Ledger:
    """A ledger on an empty database of each kind."""
    return bench.open()
