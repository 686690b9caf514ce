"""Encrypted parameters on their way: opened for the agent alone, kept sealed by it, shown to nobody."""

import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from agent_rig import InMemoryDashboard, agent_in, initiation
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.agent.seal import Seal
from jobledger.actors.dashboard.ports import AgentUnreachable
from jobledger.domain.commands import SubmitJob
from jobledger.domain.facts import JobFailed
from jobledger.domain.messages import Initiation
from jobledger.domain.plan import CommandJob, JobPlan, Parameter
from jobledger.storage.secret_keys import KeyFile, KeyFileUnusable, Keys, new_key

SECRET = "hunter2 is no password"


def everything_in(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()


def assert_nowhere(*folders: Path, but: str = "") -> None:
    """No file holds the secret, except below a folder of that name."""
    holding = [path for path, content in everything_in(*folders) if SECRET.encode() in content]
    assert [path for path in holding if not but or but not in path.parts] == []


# --- on the agent -------------------------------------------------------------------------------------------


@pytest.fixture
def dashboard() -> InMemoryDashboard:
    return InMemoryDashboard()


def test_a_command_gets_its_secret_and_nothing_else_on_the_agent_has_it(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    check = f'test "$KEY" = "{SECRET}" && test "$PLAIN" = x && echo right'
    order = initiation(
        1, 'eval "$CHECK"', parameters={"KEY": SECRET, "PLAIN": "x", "CHECK": check}, secrets=("KEY", "CHECK")
    )
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([order])
        end = dashboard.told.wait_finished("id-1")["id-1"]
        snapshots = str(agent.snapshots()) + str(agent.runs())
    assert Path(end.output_path or "").read_text() == "right\n"
    assert_nowhere(tmp_path)
    assert SECRET not in snapshots + "".join(str(event) for event in dashboard.told.events)
    assert "PLAIN=x" in (end.details or "")
    assert "KEY=********" in (end.details or "")


def test_a_secret_that_somebody_wrote_into_a_script_is_covered_in_what_is_reported(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    with agent_in(tmp_path, dashboard) as agent:
        agent.initiate([initiation(1, f"true '{SECRET}'", parameters={"KEY": SECRET}, secrets=("KEY",))])
        end = dashboard.told.wait_finished("id-1")["id-1"]
    assert "true '********'" in (end.details or "")


def test_an_order_with_secrets_that_waited_in_the_log_runs_after_a_restart(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    gate = tmp_path / "gate"
    orders = [
        initiation(1, f"while ! test -e {gate}; do sleep 0.01; done", job="same"),
        initiation(2, 'printf %s "$KEY" | wc -c', job="same", parameters={"KEY": SECRET}, secrets=("KEY",)),
    ]
    with agent_in(tmp_path / "agent", dashboard) as agent:
        agent.initiate(orders)
        dashboard.told.wait_for(lambda events: len(events) == 1)
    assert_nowhere(tmp_path / "agent")
    with agent_in(tmp_path / "agent", dashboard):
        gate.touch()
        end = dashboard.told.wait_finished("id-2")["id-2"]
    assert Path(end.output_path or "").read_text().strip() == str(len(SECRET))


def test_an_order_whose_secret_cannot_be_opened_any_more_fails_and_says_which(
    tmp_path: Path, dashboard: InMemoryDashboard
) -> None:
    gate = tmp_path / "gate"
    orders = [
        initiation(1, f"while ! test -e {gate}; do sleep 0.01; done", job="same"),
        initiation(2, f"touch {tmp_path / 'ran'}", job="same", parameters={"KEY": SECRET}, secrets=("KEY",)),
    ]
    with agent_in(tmp_path / "agent", dashboard) as agent:
        agent.initiate(orders)
        dashboard.told.wait_for(lambda events: len(events) == 1)
    (tmp_path / "agent" / "secrets.key").write_text(new_key())
    with agent_in(tmp_path / "agent", dashboard):
        gate.touch()
        end = dashboard.told.wait_finished("id-2")["id-2"]
    assert not end.successful
    assert "parameter 'KEY' cannot be decrypted here" in (end.details or "")
    assert not (tmp_path / "ran").exists()


def test_the_key_of_an_agent_is_made_for_the_first_secret_and_its_owner_alone_reads_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "secrets.key"
    plain = initiation(1, parameters={"A": "1"})
    assert Seal(file).sealed(plain) == plain
    assert not file.exists()
    sealed = Seal(file).sealed(initiation(1, parameters={"A": "1", "DB_PASSWORD": SECRET}))
    assert sealed.secrets == ("DB_PASSWORD",), "it is told by its name too"
    assert sealed.parameters["A"] == "1"
    assert SECRET not in str(sealed)
    assert Seal(file).opened(sealed) == {"A": "1", "DB_PASSWORD": SECRET}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_file_that_is_damaged_is_not_overwritten_and_takes_no_secrets(tmp_path: Path) -> None:
    file = tmp_path / "secrets.key"
    file.write_text("half a k")
    with pytest.raises(KeyFileUnusable, match="no file of keys"):
        Seal(file).sealed(initiation(1, parameters={"KEY": SECRET}, secrets=("KEY",)))
    assert file.read_text() == "half a k"


# --- on the dashboard ---------------------------------------------------------------------------------------


def secretive(keys: Keys | KeyFile, **values: str) -> JobPlan:
    """A plan whose jobs declare KEY and URL, with values that are sealed."""
    plan = plan_of("eod", ["load", "check"])
    jobs = tuple(
        msgspec.structs.replace(job, parameters=(Parameter("KEY"), Parameter("URL"), Parameter("PLAIN", "x")))
        if isinstance(job, CommandJob)
        else job
        for job in plan.jobs
    )
    given = {"KEY": keys.seal(SECRET), "URL": "db://${KEY}@host", **values}
    root = msgspec.structs.replace(plan.root, parameters=tuple(Parameter(*each) for each in given.items()))
    return msgspec.structs.replace(plan, root=root, jobs=jobs)


def submit(here: Bench, instance_id: UUID, job: str = "load") -> None:
    here.dashboard.command(instance_id, SubmitJob(job=f"host-{job}", context="eod"), OPERATOR)


def failure(here: Bench, instance_id: UUID) -> JobFailed:
    here.wait(instance_id, lambda state: state.status == "ERROR")
    (fact,) = [
        each.fact for each in here.dashboard.ledger.facts(instance_id) if isinstance(each.fact, JobFailed)
    ]
    return fact


def test_secrets_are_opened_for_the_agent_and_nowhere_before_it(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        here.dashboard.push_plan(secretive(here.dashboard._keys), {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        submit(here, instance_id)
        agent.wait_for(lambda agent: bool(agent.initiations))
        (order,) = agent.initiations
        assert order.parameters == {"KEY": SECRET, "URL": f"db://{SECRET}@host", "PLAIN": "x"}
        assert order.secrets == ("KEY", "URL")
        assert SECRET not in str(here.dashboard.ledger.facts(instance_id))
    assert_nowhere(tmp_path)


def test_a_token_that_no_key_opens_fails_its_job_by_name_and_holds_up_no_other(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        here.dashboard.push_plan(secretive(Keys([new_key()])), {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        submit(here, instance_id)
        fact = failure(here, instance_id)
        assert fact.details is not None
        assert fact.details.startswith("it was not sent to the agent: the parameter KEY cannot be decrypted")
        assert "secrets.key does not exist" in fact.details
        assert agent.initiations == []
        here.dashboard.encrypt("the first key is made for this")
        again = here.dashboard.start_instance
        here.dashboard.push_plan(plan_of("other", ["load"]), {}, OPERATOR)
        other = again("other", OPERATOR)
        here.dashboard.command(other, SubmitJob(job="host-load", context="other"), OPERATOR)
        agent.wait_for(lambda agent: [each.plan for each in agent.initiations] == ["other"])
        submit(here, instance_id, "check")
        here.wait(instance_id, lambda state: state.counts() == {"ERROR": 2})
        told = [each.details for each in here.dashboard.instance(instance_id).jobs.values()]
        assert "none of the keys opens it" in str(told)


def test_a_token_that_was_cut_off_starts_nothing(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        here.dashboard.push_plan(secretive(here.dashboard._keys), {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR, parameters={"KEY": "{enc:gAAAAcut"})
        submit(here, instance_id)
        assert "KEY cannot be decrypted: an encrypted value in it is not whole" in str(
            failure(here, instance_id)
        )
        assert here.agents["host"].initiations == []


def test_a_job_that_failed_for_its_key_runs_when_the_key_is_back(tmp_path: Path) -> None:
    other = KeyFile(tmp_path / "other" / "secrets.key")
    plan = secretive(other)
    with bench(tmp_path / "data", key_file=tmp_path / "keys") as here:
        here.agent()
        here.dashboard.push_plan(plan, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        submit(here, instance_id)
        failure(here, instance_id)
        other.path.rename(tmp_path / "keys")
        submit(here, instance_id)
        here.agents["host"].wait_for(lambda agent: bool(agent.initiations))
        assert here.agents["host"].initiations[0].parameters["KEY"] == SECRET


class Echo:
    """An agent that answers with all that it was sent, as a stranger's may."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.away = True

    def initiate(self, initiations: list[Initiation]) -> list[str | None]:
        if self.away:
            self.away = False
            raise AgentUnreachable(f"500: {initiations[0].parameters}")
        return [f"cannot read {each.parameters}" for each in initiations]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_an_agent_that_answers_with_what_it_was_sent_gives_no_secret_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with bench(tmp_path) as here:
        here.agents["host"] = Echo(here.agent())  # type: ignore[assignment]
        here.dashboard._agents._transports.clear()
        here.dashboard.push_plan(secretive(here.dashboard._keys), {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        submit(here, instance_id)
        pause = threading.Event()
        for _ in range(500):
            # The gateway sets its alarm by this clock, at a moment of its own: time passes until it has rung.
            here.pass_time(here.now + 60_000)
            if here.dashboard.instance(instance_id).status == "ERROR":
                break
            pause.wait(0.02)
        details = failure(here, instance_id).details
        assert details is not None
        assert "'KEY': '********'" in details
        gateway = str(here.dashboard.actor_snapshot("gateway-host"))
    assert SECRET not in details + gateway + capsys.readouterr().out
    assert_nowhere(tmp_path)


def test_what_a_strangers_agent_writes_down_of_its_parameters_is_covered(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        here.dashboard.push_plan(secretive(here.dashboard._keys), {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        submit(here, instance_id)
        here.agents["host"].wait_for(lambda agent: bool(agent.initiations))
        written = f"KEY={SECRET} URL=db://{SECRET}@host"
        here.report(
            instance_id, "load", starting=True, fired_at=here.now, details=written, command_line=written
        )
        here.report(instance_id, "load", return_code=1, fired_at=here.now, details=f"failed with {written}")
        assert failure(here, instance_id).details == "failed with KEY=******** URL=db://********@host"
        here.restart()
        here.report(instance_id, "load", return_code=2, fired_at=here.now + 1, details=written)
        here.wait(instance_id, lambda state: state.jobs[0].return_code == 2)
    assert_nowhere(tmp_path)


def test_what_a_rotated_key_sealed_still_opens_and_what_is_sealed_is_sealed_by_the_new_one(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        here.agent()
        here.dashboard.push_plan(secretive(here.dashboard._keys), {}, OPERATOR)
        KeyFile(tmp_path / "secrets.key").add()
        token = here.dashboard.encrypt("later")
        instance_id = here.dashboard.start_instance("eod", OPERATOR, parameters={"PLAIN": f"<{token}>"})
        submit(here, instance_id)
        here.agents["host"].wait_for(lambda agent: bool(agent.initiations))
        (order,) = here.agents["host"].initiations
        assert (order.parameters["KEY"], order.parameters["PLAIN"]) == (SECRET, "<later>")
        newest = (tmp_path / "secrets.key").read_text().splitlines()[1]
        assert Keys([newest]).open(token) == "later"
