"""Every service of an agent, called with what is nearly right and with anything else.

No request may be answered 5xx, and what is refused must have changed nothing that the agent keeps.
``JOBLEDGER_FUZZ_EXAMPLES`` sets how many requests each service gets.
"""

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import falcon.inspect
import falcon.testing
import msgspec
import pytest
from agent_rig import InMemoryDashboard, agent_in, wire
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jobledger.http.agent.app import agent_app
from jobledger.http.wire.instances import decode_instance
from test_agent_http import instance, schedule

EXAMPLES = int(os.environ.get("JOBLEDGER_FUZZ_EXAMPLES", "50"))
BODY_LIMIT_BYTES = 64 * 1024

RUN_BY_A_SHELL = {
    "commandLine",
    "workingDirectory",
    "executionEnvironmentProperties",
    "filePath",
    "moveDirectory",
}
"""Left as they are: what is made up here is not to be run or moved on the host of the tests."""

INITIATION = wire(1)
JOBS = {
    "jobs": [
        schedule("daily"),
        {**schedule("files"), "filePath": "/nowhere", "filenames": ["a.*"], "minFileAgeSeconds": 3},
    ]
}
INSTANCE = instance("daily", "files")
OWN_INSTANCE = msgspec.to_builtins(decode_instance(json.dumps(INSTANCE).encode()))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=10), below, max_size=3),
    max_leaves=8,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands that may be replaced."""
    steps = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in steps:
        if key not in RUN_BY_A_SHELL:
            if key != "internalEventDrivenJob":
                yield (*path, key)
            yield from places(value, (*path, key))


@st.composite
def spoilt(draw: st.DrawFn, document: Any) -> bytes:
    """A right document in which some values are anything else, or gone."""
    changed = {"it": deepcopy(document)}
    for _ in range(draw(st.integers(0, 2))):
        below = list(places(changed))
        *above, last = draw(st.sampled_from(below))
        where: Any = changed
        for step in above:
            where = where[step]
        if draw(st.booleans()) or isinstance(where, list):
            where[last] = draw(json_values)
        elif where is not changed:
            del where[last]
    return json.dumps(changed["it"]).encode()


anything = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())
words = st.text(max_size=20) | st.sampled_from(["id-1", "i1", "0", "1", "-1", "true", "stdout", "9" * 25])
queries = st.dictionaries(
    st.sampled_from(["order", "endedAt", "correlationId", "destroy", "offset", "limit", "after", "x"]),
    words,
    max_size=3,
)


class Service(NamedTuple):
    """A service: its method, its address, and bodies for it."""

    method: str
    path: str
    bodies: st.SearchStrategy[bytes] = st.just(b"")


SERVICES = [
    Service("PUT", "/rest/schedulerJobInitiation", spoilt(INITIATION) | anything),
    Service("PUT", "/rest/jobProvision", spoilt(JOBS) | anything),
    Service("DELETE", "/rest/jobProvision/remove", st.just(b"plan") | anything),
    Service("PUT", "/rest/contextInstance/save", spoilt(INSTANCE) | anything),
    Service("DELETE", "/rest/contextInstance/remove"),
    Service("DELETE", "/rest/contextInstance/removeAll", anything),
    Service("GET", "/rest/jobUtils/kill/{}"),
    Service("GET", "/rest/big/queue"),
    Service("GET", "/rest/big/queue/size"),
    *(Service("GET", f"/rest/big/queue/{what}/{{}}") for what in ("size", "peek", "messages")),
    Service("DELETE", "/rest/big/queue/delete/{}"),
    Service("DELETE", "/rest/big/queue/delete/{}/{}"),
    Service("DELETE", "/rest/big/queue/delete/allMessages/{}"),
    Service("POST", "/api/v1/initiations", spoilt([INITIATION, wire(2)]) | anything),
    Service("PUT", "/api/v1/instances", spoilt([OWN_INSTANCE]) | anything),
    Service("GET", "/api/v1/runs"),
    Service("POST", "/api/v1/runs/{}/kill", anything),
    Service("GET", "/api/v1/runs/{}/log/{}"),
    Service("GET", "/api/v1/dead-letters"),
    Service("DELETE", "/api/v1/dead-letters/{}"),
    Service("GET", "/api/v1/actors"),
    Service("GET", "/health/live"),
    Service("GET", "/health/ready"),
]


class Kept(NamedTuple):
    """An agent's application, and its folder."""

    client: falcon.testing.TestClient
    folder: Path

    def known(self) -> dict[str, bytes]:
        """What requests alone change: the templates and the instances."""
        files = [self.folder / "provisioned.json", *sorted((self.folder / "instances").rglob("*"))]
        return {str(file): file.read_bytes() for file in files if file.is_file()}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("agent")
    with agent_in(folder, InMemoryDashboard()) as running:
        app = agent_app(running, token=None, body_limit_bytes=BODY_LIMIT_BYTES)
        kept = Kept(falcon.testing.TestClient(app), folder)
        for method, path, body in (
            ("PUT", "/rest/jobProvision", JOBS),
            ("PUT", "/rest/contextInstance/save", INSTANCE),
            ("PUT", "/rest/schedulerJobInitiation", INITIATION),
        ):
            assert kept.client.simulate_request(method, path, body=json.dumps(body)).status_code == 200
        yield kept


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: f"{service.method} {service.path}")
def test_no_request_breaks_an_agent_and_what_is_refused_changes_nothing(
    service: Service, agent: Kept
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=EXAMPLES <= 50,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def send(data: st.DataObject) -> None:
        path = service.path
        while "{}" in path:
            path = path.replace("{}", quote(data.draw(words.filter(bool)), safe=""), 1)
        before = agent.known()
        answer = agent.client.simulate_request(
            service.method, path, query_string=urlencode(data.draw(queries)), body=data.draw(service.bodies)
        )
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.text, "it does not say what is wrong"
            assert agent.known() == before, f"{answer.status_code}, and yet something changed"

    send()


def test_every_service_of_an_agent_is_among_them(agent: Kept) -> None:
    serves = {
        (method.method, route.path)
        for route in falcon.inspect.inspect_app(agent.client.app).routes
        for method in route.methods
        if not method.internal
    }
    tried = {(service.method, service.path) for service in SERVICES}
    named = {
        (method, "/".join("{}" if step.startswith("{") else step for step in path.split("/")))
        for method, path in serves
    }
    assert tried == named
