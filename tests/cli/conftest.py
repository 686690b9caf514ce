"""A dashboard that answers what a test tells it to, and the command line pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Run, command_line
from fake_dashboard import FakeDashboard, serving


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    with serving() as server:
        yield server


@pytest.fixture
def run(fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return command_line(fake.url, monkeypatch, tmp_path)
