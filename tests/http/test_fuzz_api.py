"""Every service of the OpenAPI document, called with what fits its schema and with what does not.

No request may be answered 5xx, every answer must be one that the document tells of, and what is refused or
only asks must have changed nothing. ``JOBLEDGER_FUZZ_EXAMPLES`` sets how many requests each service gets.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import hypothesis
import pytest
import schemathesis
from dashboard_over_http import Served, finished, served
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from stored_changes import StoredChanges

# Schemathesis draws from Python's random module itself, of which Hypothesis disapproves.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

EXAMPLES = int(os.environ.get("JOBLEDGER_FUZZ_EXAMPLES", "50"))
AGENT_IS_AWAY = 502
NAMES_SOMETHING = r"\{"
"""In the address of a service."""


class _Fuzzed(NamedTuple):
    """The dashboard that the current test calls, and the count of what was changed in it."""

    dashboard: Served
    changes: StoredChanges

    def settled(self) -> int:
        """How much was changed, once nothing is on its way any more."""
        self.dashboard.settle()
        return self.changes()

    def newest_instance(self) -> str:
        """The id of one that is there."""
        return str(self.dashboard.dashboard.instances(limit=1).items[0].instance_id)


_running: list[_Fuzzed] = []


def _application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The application of the dashboard that the current test runs."""
    return _running[0].dashboard.application(environ, start_response)


def _document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as running:
        document: dict[str, Any] = running.get("/api/v1/openapi.json").json
        return document


schema = schemathesis.openapi.from_dict(_document())
schema.app = _application
# The dashboard asks nobody who he is: no request need make up a password.
schema.config.generation.update(with_security_parameters=False)


@pytest.fixture(autouse=True)
def dashboard(tmp_path: Path) -> Iterator[Served]:
    """A dashboard with something to find in it, and no place for those who would wait for a change."""
    with served(tmp_path, waiting_places=0) as running:
        instance_id = running.start()
        running.put("/rest/event/scheduled", finished(instance_id))
        running.put("/rest/event/scheduled", finished("6f0e4a0e-0000-4000-8000-000000000001"))
        running.put("/api/v1/agents/host", {"url": "http://127.0.0.1:9"})
        running.agent.reachable = False
        running.settle()
        with closing(StoredChanges(tmp_path)) as changes:
            _running.append(_Fuzzed(running, changes))
            yield running
            _running.clear()


@schemathesis.serializer("application/zip")
def _as_it_is(_context: object, value: object) -> bytes:
    """Whatever was made up is sent as if it were a zip."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def _use_real_names(case: schemathesis.Case, running: _Fuzzed) -> None:
    """Names that exist, so that more than not-found is tried; now and then all but one."""
    real: dict[str, object] = {
        "plan": "nightly",
        "context": "nightly",
        "identifier": "host-load",
        "job": "host-load",
        "n": 1,
        "id": 2,
        "name": "nightly",
    }
    if "instance_id" in case.path_parameters:
        real["instance_id"] = running.newest_instance()
    drawn = crc32(repr(case.path_parameters).encode())
    left_alone = list(case.path_parameters)[drawn % 16] if drawn % 16 < len(case.path_parameters) else None
    for name in case.path_parameters:
        if name in real and name != left_alone:
            case.path_parameters[name] = real[name]


def _send(case: schemathesis.Case, running: _Fuzzed) -> None:
    before = running.settled()

    response = case.call()

    assert response.status_code < 500 or response.status_code == AGENT_IS_AWAY, response.text
    if response.status_code >= 400 or case.method == "GET":
        assert running.settled() == before, f"{response.status_code}, and yet something changed"
    case.validate_response(
        response,
        checks=[
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
        ],
    )
    told = case.operation.definition.raw["responses"].get(str(response.status_code))
    if told is not None and "content" not in told:
        assert (response.content, response.headers.get("content-type")) == (b"", None)


def _requests(number: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=number,
        deadline=None,
        derandomize=EXAMPLES <= 50,
        database=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@schema.exclude(path_regex=NAMES_SOMETHING).parametrize()
@_requests(EXAMPLES)
def test_no_request_breaks_a_service_and_what_is_refused_changes_nothing(case: schemathesis.Case) -> None:
    _send(case, _running[0])


@schema.include(path_regex=NAMES_SOMETHING).parametrize()
@_requests((EXAMPLES + 1) // 2)
def test_no_request_about_something_breaks_a_service_whether_it_is_there_or_not(
    case: schemathesis.Case,
) -> None:
    """Each request is sent as it was made up, and once more with the names of what is there."""
    _send(case, _running[0])
    _use_real_names(case, _running[0])
    _send(case, _running[0])
