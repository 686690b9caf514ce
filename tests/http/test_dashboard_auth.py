"""Who may do what: recognised by credentials, allowed by role, limited to plans and agents."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import falcon.testing
import pytest
from dashboard_over_http import Served, eventually, finished, served
from jobledger.actors.dashboard.dashboard import DashboardConfig
from jobledger.domain.plan import CommandJob, Context, Dependency, Grouping, JobPlan, ListedJob
from jobledger.domain.status import PERMITTED
from jobledger.http.dashboard.app import Application
from jobledger.http.dashboard.auth import REMEMBERED_SECONDS, ByAccount
from jobledger.http.dashboard.callers import MAY, Access
from jobledger.http.dashboard.server import ServerConfig, authentication_for
from jobledger.http.serving import NotLoopback, is_loopback
from jobledger.storage.accounts import Account, Accounts, Role, UnknownAccount

EVERYWHERE = "0.0.0.0"  # noqa: S104  nothing is bound to it: it is refused


class Book:
    """Accounts whose password and token is their name, and how often a password was verified."""

    def __init__(self, *accounts: Account) -> None:
        self.accounts = {each.name: each for each in accounts}
        self.verified = 0
        self.changes = 0

    def version(self) -> int:
        return self.changes

    def by_password(self, name: str, password: str) -> Account | None:
        self.verified += 1
        return self.accounts.get(name) if name == password else None

    def by_token(self, token: str) -> Account | None:
        return self.accounts.get(token)

    def remove(self, name: str) -> None:
        del self.accounts[name]
        self.changes += 1


def account(**what: Any) -> Account:
    return Account(created_at=0, has_password=True, **what)


class Seconds:
    """A clock that stands."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def book() -> Book:
    everybody = [account(name=role.value, role=role) for role in Role if role is not Role.AGENT]
    return Book(
        *everybody,
        account(name="host", role=Role.AGENT),
        account(name="other-agent", role=Role.AGENT),
        account(name="nightly-writer", role=Role.WRITE, plans=frozenset({"nightly"})),
        account(name="daily-writer", role=Role.WRITE, plans=frozenset({"daily"})),
        account(name="daily-admin", role=Role.ADMIN, plans=frozenset({"daily"})),
        account(name="host-writer", role=Role.WRITE, agents=frozenset({"host"})),
        account(name="else-writer", role=Role.WRITE, agents=frozenset({"else"})),
        account(name="else-admin", role=Role.ADMIN, agents=frozenset({"else"})),
    )


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def dashboard(tmp_path: Path, book: Book, seconds: Seconds) -> Iterator[Served]:
    with served(tmp_path, authentication=ByAccount(book, clock=seconds)) as running:
        running.headers = bearer("admin")
        yield running


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def filled(path: str) -> str:
    """An address made from a template."""
    for placeholder, value in (
        ("{instance_id:uuid}", str(uuid4())),
        ("{id:uuid}", str(uuid4())),
        ("{id:int(min=1,max=9223372036854775807)}", "1"),
        ("{n:int(min=1,max=2147483647)}", "1"),
        ("{limit:int(min=-1)}", "1"),
        ("{offset:int(min=0)}", "0"),
    ):
        path = path.replace(placeholder, value)
    while "{" in path:
        start, end = path.index("{"), path.index("}")
        path = f"{path[:start]}nightly{path[end + 1 :]}"
    return path


def test_every_service_but_health_wants_credentials_and_asks_for_them(dashboard: Served) -> None:
    dashboard.headers = {}
    for route in dashboard.application.routes:
        answer = dashboard.call(route.method, filled(route.path))
        if route.access is Access.OPEN:
            assert route.path in {"/health/live", "/health/ready"}
            assert answer.status_code == 200
            continue
        assert answer.status_code == 401, f"{route.method} {route.path} was open to anybody"
        assert "Basic" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("role", list(Role))
def test_every_service_is_open_to_the_roles_of_the_table_and_to_no_other(
    dashboard: Served, role: Role
) -> None:
    name = "host" if role is Role.AGENT else role.value
    dashboard.headers = bearer(name)
    for route in dashboard.application.routes:
        if route.access is Access.OPEN:
            continue
        status = dashboard.call(route.method, filled(route.path)).status_code
        allowed = role in MAY[route.access]
        if not allowed:
            assert status == 403, f"{role} could call {route.method} {route.path}"
        elif role is not Role.AGENT:
            assert status not in {401, 403}, f"{role} could not call {route.method} {route.path}"


def test_reading_is_no_writing_and_writing_is_no_administration(dashboard: Served) -> None:
    instance_id = dashboard.start()
    before = dashboard.digest()

    assert dashboard.post(f"/api/v1/instances/{instance_id}/end", headers=bearer("read")).status_code == 403
    assert (
        dashboard.put("/rest/event/scheduled", finished(instance_id), headers=bearer("read")).status_code
        == 403
    )
    assert dashboard.get("/api/v1/actors", headers=bearer("write")).status_code == 403
    assert dashboard.digest() == before
    assert dashboard.get(f"/api/v1/instances/{instance_id}", headers=bearer("read")).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + base64.b64encode(b"admin\x00:admin").decode(),
        "Basic " + base64.b64encode(b"admin:wrong").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Bearer",
        "Bearer wrong",
        "Digest admin",
        "admin",
        "Bearer " + "x" * 10_000,
        "Bearer \xff",
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/plans", "/rest/contextStatus/json/allInstance"])
def test_credentials_of_nobody_are_refused(dashboard: Served, header: str, path: str) -> None:
    answer = dashboard.get(path, headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]
    assert answer.json


def test_who_gave_an_order_is_part_of_its_facts(dashboard: Served) -> None:
    instance_id = dashboard.post("/api/v1/plans/nightly/instances", headers=basic("write", "write")).json[
        "instance_id"
    ]

    (fact,) = dashboard.get(f"/api/v1/instances/{instance_id}/log").json["items"]
    assert fact["cause"]["by"] == "write"


def test_a_password_is_verified_once_in_a_while(dashboard: Served, book: Book, seconds: Seconds) -> None:
    for _ in range(5):
        assert dashboard.get("/api/v1/plans", headers=basic("read", "read")).status_code == 200
    assert book.verified == 1

    seconds.now += REMEMBERED_SECONDS + 1
    assert dashboard.get("/api/v1/plans", headers=basic("read", "read")).status_code == 200
    assert book.verified == 2


def test_whoever_is_removed_is_unknown_at_once(dashboard: Served, book: Book) -> None:
    assert dashboard.get("/api/v1/plans", headers=basic("read", "read")).status_code == 200

    book.remove("read")

    assert dashboard.get("/api/v1/plans", headers=basic("read", "read")).status_code == 401


def test_nothing_that_was_sent_is_remembered_as_it_was(dashboard: Served) -> None:
    dashboard.get("/api/v1/plans", headers=basic("admin", "admin"))

    authentication = dashboard.application._authentication
    assert isinstance(authentication, ByAccount)
    assert len(authentication._remembered) == 1
    assert base64.b64encode(b"admin:admin") not in b"".join(authentication._remembered)


def test_a_limit_to_plans_hides_the_others(dashboard: Served) -> None:
    instance_id = dashboard.start()
    dashboard.headers = bearer("daily-writer")
    before = dashboard.digest()

    assert dashboard.get("/api/v1/plans").json["items"] == []
    assert dashboard.get("/api/v1/instances").json["items"] == []
    assert dashboard.get("/rest/contextStatus/json/allInstance").json == {"contextMachineStatusList": []}
    assert dashboard.get("/rest/jobContext/getByAgentName?agentName=host").json == {}
    for method, path in (
        ("GET", "/api/v1/plans/nightly"),
        ("GET", "/api/v1/plans/nightly/versions/1"),
        ("GET", "/rest/export/context/nightly"),
        ("GET", "/rest/contextStatus/nightly/nightly"),
        ("GET", "/rest/contextStatus/json/jobStatus/nightly"),
        ("GET", "/api/v1/instances?plan=nightly"),
        ("GET", f"/api/v1/instances/{instance_id}"),
        ("GET", f"/api/v1/instances/{instance_id}?at=1"),
        ("GET", f"/api/v1/instances/{instance_id}/log"),
        ("GET", f"/api/v1/instances/{instance_id}/audit"),
        ("GET", f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load"),
        ("GET", f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load/log/stdout"),
        ("POST", f"/api/v1/instances/{instance_id}/end"),
        ("GET", f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load/dependants"),
        ("GET", f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load/dependants?after=success"),
        *(
            ("POST", f"/api/v1/instances/{instance_id}/contexts/nightly/jobs/host-load/{command}")
            for command in PERMITTED
        ),
        *(
            ("POST", f"/api/v1/instances/{instance_id}/contexts/nightly/{command}")
            for command in ("hold", "release", "skip", "enable")
        ),
        ("POST", f"/api/v1/instances/{instance_id}/run-until-ended"),
        ("POST", "/api/v1/plans/nightly/instances"),
        *(("POST", f"/api/v1/plans/nightly/{order}") for order in ("enable", "disable")),
        *(("POST", f"/api/v1/plans/nightly/schedules/{order}") for order in ("enable", "disable")),
        *(
            ("POST", f"/api/v1/plans/nightly/jobs/host-load/{order}")
            for order in ("hold", "release", "skip", "enable")
        ),
        ("GET", "/api/v1/plans/nightly/log"),
        ("GET", "/api/v1/forecast?plan=nightly"),
        ("POST", f"/api/v1/instances/{instance_id}/reset"),
        ("PUT", "/rest/context/reset/nightly"),
        ("PUT", f"/rest/context/reset/nightly/{instance_id}"),
        ("POST", "/api/v1/global-events/market closed"),
        ("GET", "/api/v1/dead-letters"),
    ):
        assert dashboard.call(method, path).status_code == 403, f"{method} {path}"
    assert dashboard.get("/api/v1/forecast").json["items"] == []
    for path in ("/api/v1/plans/nightly", f"/rest/context/reset/daily/{instance_id}"):
        method = "PUT" if path.startswith("/rest") else "DELETE"
        assert dashboard.call(method, path, headers=bearer("daily-admin")).status_code == 403, path
    # The event says that it is of the plan they may use; the instance is not.
    event = finished(instance_id, contextName="daily")
    assert dashboard.put("/rest/event/scheduled", event).status_code == 403
    assert dashboard.post("/api/v1/events", [event]).status_code == 403
    assert dashboard.post("/api/v1/events", finished(uuid4())).status_code == 403
    assert dashboard.put("/rest/harvest/scheduled", [finished(instance_id)]).status_code == 403
    assert dashboard.digest() == before


def test_within_their_limits_callers_do_what_their_role_allows(dashboard: Served) -> None:
    dashboard.headers = bearer("nightly-writer")
    instance_id = dashboard.start()

    assert dashboard.put("/rest/event/scheduled", finished(instance_id)).status_code == 200
    assert dashboard.post(f"/api/v1/instances/{instance_id}/end").status_code == 200
    assert [item["name"] for item in dashboard.get("/api/v1/plans").json["items"]] == ["nightly"]


def test_a_limit_to_agents_holds_for_commands_on_their_jobs(dashboard: Served) -> None:
    job = f"/api/v1/instances/{dashboard.start()}/contexts/nightly/jobs/host-load/submit"

    instance_id = dashboard.start()
    before = dashboard.digest()
    one = f"/api/v1/instances/{instance_id}"
    for method, path, body in (
        ("POST", job, None),
        *(("POST", f"{one}/contexts/nightly/jobs/host-load/{command}", None) for command in PERMITTED),
        *(("POST", f"{one}/contexts/nightly/{each}", None) for each in ("hold", "release", "skip", "enable")),
        ("POST", f"{one}/parameters", {"parameters": {"a": "b"}}),
        ("POST", f"{one}/schedules", {"enabled": False}),
        ("POST", f"{one}/run-until-ended", None),
        ("POST", "/api/v1/plans/nightly/instances", None),
        ("POST", f"/api/v1/instances/{instance_id}/end", None),
        ("POST", f"/api/v1/instances/{instance_id}/reset", None),
        ("PUT", f"/rest/context/reset/nightly/{instance_id}", None),
        *(("POST", f"/api/v1/plans/nightly/{order}", None) for order in ("enable", "disable")),
        *(
            ("POST", f"/api/v1/plans/nightly/jobs/host-load/{order}", None)
            for order in ("hold", "release", "skip", "enable")
        ),
        ("PUT", "/api/v1/plans/sales", b"plan: sales\njobs: {load: {agent: host, command: 'true'}}"),
        ("PUT", "/rest/event/scheduled", finished(instance_id)),
        ("PUT", "/rest/harvest/scheduled", [finished(instance_id)]),
    ):
        media = {"Content-Type": "application/yaml"} if isinstance(body, bytes) else {}
        refused = dashboard.call(method, path, body, headers={**media, **bearer("else-writer")})
        assert refused.status_code == 403, f"{method} {path}: {refused.text}"
    assert dashboard.digest() == before
    assert dashboard.call("DELETE", "/api/v1/plans/nightly", headers=bearer("else-admin")).status_code == 403
    assert dashboard.digest() == before
    for path, body in (
        (job, None),
        (f"{one}/contexts/nightly/jobs/host-load/reset-downstream", None),
        (f"{one}/contexts/nightly/hold", None),
        (f"{one}/contexts/nightly/release", None),
        (f"{one}/parameters", {"parameters": {"a": "b"}}),
    ):
        assert dashboard.post(path, body, headers=bearer("host-writer")).status_code == 200, path


def test_a_limit_to_agents_holds_for_what_an_order_is_about_downstream_too(dashboard: Served) -> None:
    far = CommandJob(agent="else", name="report", command_line="true")
    load = CommandJob(agent="host", name="load", command_line="true")
    dashboard.push(
        JobPlan(
            root=Context(
                name="both",
                jobs=(ListedJob("host", "load"), ListedJob("else", "report")),
                dependencies=(Dependency("else-report", Grouping(all_of=("host-load",))),),
            ),
            jobs=(load, far),
        )
    )
    job = f"/api/v1/instances/{dashboard.start('both')}/contexts/both/jobs/host-load"

    for command in ("reset-downstream", "fire-dependants"):
        refused = dashboard.post(f"{job}/{command}", headers=bearer("host-writer"))
        assert refused.status_code == 403, command
        assert "else" in refused.json["detail"]
    assert dashboard.post(f"{job}/reset", headers=bearer("host-writer")).status_code == 200


def test_an_agent_speaks_for_itself_alone(dashboard: Served) -> None:
    instance_id = dashboard.start()
    body = {"url": "http://127.0.0.1:1"}
    event = finished(instance_id)

    assert dashboard.put("/api/v1/agents/host", body, headers=bearer("other-agent")).status_code == 403
    assert dashboard.put("/rest/event/scheduled", event, headers=bearer("other-agent")).status_code == 403
    path = "/rest/jobContext/getByAgentName?agentName=host"
    assert dashboard.get(path, headers=bearer("other-agent")).status_code == 403

    assert dashboard.put("/api/v1/agents/host", body, headers=bearer("host")).status_code == 200
    assert dashboard.put("/rest/event/scheduled", event, headers=bearer("host")).status_code == 200
    assert list(dashboard.get(path, headers=bearer("host")).json) == [instance_id]
    eventually(lambda: dashboard.shown(instance_id)["position"] > 1)


def test_without_accounts_everybody_may_do_everything_on_loopback_only() -> None:
    def config(host: str) -> ServerConfig:
        return ServerConfig(dashboard=DashboardConfig(data_dir=Path()), host=host, auth="none")

    def no_accounts() -> ByAccount:
        raise AssertionError("accounts were asked for")

    environ = falcon.testing.create_environ()
    for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9"):
        caller = authentication_for(config(host), no_accounts).caller(falcon.Request(environ))
        assert caller.role is Role.ADMIN
    for host in (EVERYWHERE, "::", "192.0.2.1", ""):
        with pytest.raises(NotLoopback):
            authentication_for(config(host), no_accounts)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), (EVERYWHERE, False), ("no such host.invalid", False), ("", False)],
)
def test_loopback_is_what_only_this_host_can_reach(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_accounts_of_the_database_are_recognised_until_they_are_removed(tmp_path: Path) -> None:
    with served(tmp_path / "dashboard") as dashboard:
        accounts = Accounts(dashboard.dashboard.ledger)
        accounts.add("ada", Role.READ, password="correct horse")
        token = accounts.issue_token("ada")
        application = Application(dashboard.application.services, ByAccount(accounts))
        client = falcon.testing.TestClient(application)

        def status(headers: dict[str, str]) -> int:
            return client.simulate_get("/api/v1/plans", headers=headers).status_code

        ways = [basic("ada", "correct horse"), bearer(token)]
        assert [status(way) for way in ways] == [200, 200]
        assert status(basic("ada", "wrong horse")) == 401
        assert status(basic("bob", "correct horse")) == 401

        accounts.remove("ada")

        assert [status(way) for way in ways] == [401, 401]
        with pytest.raises(UnknownAccount):
            accounts.remove("ada")
