"""A dashboard that answers what a test tells it to, and the command line pointed at it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fake_dashboard import FakeDashboard, serving
from jobledger.cli.main import cli


@pytest.fixture
def fake() -> Iterator[FakeDashboard]:
    with serving() as server:
        yield server


@pytest.fixture
def run(fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JOBLEDGER_URL", fake.url)
    monkeypatch.delenv("JOBLEDGER_TOKEN", raising=False)

    def invoke(*arguments: str, given: str | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, input=given, prog_name="jobledger")

    return invoke
