"""Ledgers for the tests of the storage room, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from jobledger.storage.ledger import Ledger
from ledger_samples import LedgerBench


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LedgerBench]:
    """A database of one kind, then of the other."""
    url = None if request.param == "sqlite" else request.getfixturevalue("fresh_postgres_url")
    bench = LedgerBench(url, tmp_path / "data")
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture
def ledger(bench: LedgerBench) -> Ledger:
    """A ledger on an empty database, of one kind and then of the other."""
    return bench.open()
