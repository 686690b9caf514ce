"""Parameter sources: read when they change, kept while they cannot be read, heard of once by instances."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import dashboard_rig
import pytest
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.dashboard.parameter_sources import ParameterSources
from jobledger.actors.file_notices import FileSystemNotices
from jobledger.domain.commands import SubmitJob
from jobledger.domain.facts import ParameterSourceRead, SourceParametersTaken
from jobledger.domain.parameters import resolve
from jobledger.domain.plan import CommandJob, JobPlan, Parameter
from jobledger.domain.plan_log import plan_stream
from jobledger.storage.parameter_files import ParameterFileUnusable
from jobledger.storage.records import Unavailable
from msgspec.structs import replace

WAIT_SECONDS = 10.0


class Told:
    """The plans that were told, to be waited for."""

    def __init__(self) -> None:
        self.plans: list[str] = []
        self._condition = threading.Condition()

    def __call__(self, plan: str) -> None:
        with self._condition:
            self.plans.append(plan)
            self._condition.notify_all()

    def wait_for(self, done: Callable[[list[str]], bool]) -> None:
        with self._condition:
            assert self._condition.wait_for(lambda: done(self.plans), WAIT_SECONDS), self.plans


class Files:
    """Two plans with a source each, and the file that names them."""

    def __init__(self, folder: Path) -> None:
        self.naming = folder / "parameters.toml"
        self.eod, self.weekend = folder / "eod.properties", folder / "weekend.toml"
        self.naming.write_text('eod = "eod.properties"\nweekend = "weekend.toml"\n')
        self.eod.write_text("REGION=north\n")
        self.weekend.write_text('REGION = "south"\n')


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def sources(files: Files, told: Told) -> Iterator[ParameterSources]:
    opened = ParameterSources(files.naming, clock=lambda: 7, open_notices=FileSystemNotices)
    opened.start(told)
    yield opened
    opened.close()


def test_each_plan_has_the_values_of_its_file_and_others_have_none(
    sources: ParameterSources, told: Told
) -> None:
    assert sources.values("eod") == {"REGION": "north"}
    assert sources.values("weekend") == {"REGION": "south"}
    assert sources.values("another") == {}
    assert told.plans == ["eod", "weekend"]
    assert [(view.plan, view.names, view.read_at, view.error) for view in sources.views()] == [
        ("eod", ("REGION",), 7, None),
        ("weekend", ("REGION",), 7, None),
    ]


def test_a_file_that_changes_is_read_and_its_plan_alone_is_told(
    sources: ParameterSources, files: Files, told: Told
) -> None:
    files.eod.write_text("REGION=east\n")
    told.wait_for(lambda plans: plans[2:] == ["eod"])
    assert sources.values("eod") == {"REGION": "east"}


def test_a_change_that_says_the_same_tells_nobody(
    sources: ParameterSources, files: Files, told: Told
) -> None:
    files.eod.write_text("# a remark\nREGION=north\n")
    files.weekend.write_text('REGION = "west"\n')
    told.wait_for(lambda plans: "weekend" in plans[2:])
    assert told.plans[2:] == ["weekend"]


def test_what_was_read_last_stays_while_a_file_cannot_be_read(
    sources: ParameterSources, files: Files, told: Told
) -> None:
    for broken in (b"\xff", None):
        if broken is None:
            files.eod.unlink()
        else:
            files.eod.write_bytes(broken)
        assert sources.read_again() == []
        assert sources.values("eod") == {"REGION": "north"}
        (view, _) = sources.views()
        assert view.error is not None
        assert (view.names, view.read_at) == (("REGION",), 7)
    files.eod.write_text("REGION=west\n")
    told.wait_for(lambda plans: plans[2:] == ["eod"])
    assert sources.views()[0].error is None


def test_a_source_that_could_never_be_read_says_nothing_at_all(files: Files, told: Told) -> None:
    files.eod.unlink()
    opened = ParameterSources(files.naming, clock=lambda: 7, open_notices=FileSystemNotices)
    try:
        opened.start(told)
        assert opened.values("eod") is None
        assert told.plans == ["weekend"]
        assert "cannot be read" in (opened.views()[0].error or "")
        files.eod.write_text("REGION=north\n")
        told.wait_for(lambda plans: plans == ["weekend", "eod"])
    finally:
        opened.close()


def test_sources_that_are_named_anew_or_no_more_are_told(
    sources: ParameterSources, files: Files, told: Told, tmp_path: Path
) -> None:
    (tmp_path / "month.properties").write_text("A=1\n")
    files.naming.write_text('weekend = "weekend.toml"\nmonth = "month.properties"\n')
    told.wait_for(lambda plans: set(plans[2:]) == {"eod", "month"})
    assert sources.values("eod") == {}
    assert sources.values("month") == {"A": "1"}
    files.naming.write_text("weekend = [")
    sources.read_again()
    assert "is no TOML" in (sources.error or "")
    assert sources.values("weekend") == {"REGION": "south"}
    files.naming.write_text('weekend = "weekend.toml"\n')
    sources.read_again()
    assert sources.error is None


def test_values_that_cannot_be_used_as_meant_are_warned_of_and_not_shown(
    sources: ParameterSources, files: Files
) -> None:
    files.eod.write_text("A=${start:%Q}\nDB_PASSWORD=hunter2\nB=${HOME:-x}\nno value\n")
    sources.read_again()
    warnings = sources.views()[0].warnings
    assert [warning.split(":")[0] for warning in warnings] == [
        "line 4 is not NAME=VALUE and is passed over",
        "the value of A cannot be used as it is meant",
        "the value of DB_PASSWORD",
        "the value of B",
    ]
    assert "hunter2" not in str(sources.views())


def test_without_a_file_that_names_sources_there_are_none_and_nothing_is_watched() -> None:
    def never(_on_change: Callable[[], None]) -> Any:
        class Unused:
            def watch(self, directories: set[Path]) -> None:
                raise AssertionError(directories)

            def close(self) -> None:
                return

        return Unused()

    opened = ParameterSources(None, clock=lambda: 7, open_notices=never)
    opened.start(pytest.fail)
    assert opened.values("eod") == {}
    assert opened.read_again() == []
    opened.close()


def test_a_dashboard_does_not_start_on_a_file_that_names_no_sources(tmp_path: Path) -> None:
    naming = tmp_path / "parameters.toml"
    naming.write_text("eod = 5\n")
    with pytest.raises(ParameterFileUnusable), bench(tmp_path / "data", parameters_file=naming):
        pytest.fail("it started")


# --- in a dashboard -----------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "postgresql":
        monkeypatch.setattr(dashboard_rig, "DATABASE_URL", request.getfixturevalue("fresh_postgres_url"))


def with_parameter(plan: JobPlan) -> JobPlan:
    """The plan, whose commands declare REGION."""
    jobs = tuple(
        replace(job, parameters=(Parameter("REGION", "of the job"),)) if isinstance(job, CommandJob) else job
        for job in plan.jobs
    )
    return replace(plan, jobs=jobs, concurrent=True)


EOD = with_parameter(plan_of("eod", ["load"]))


def region(here: Bench, instance_id: UUID) -> str:
    """What a job that is initiated now is given."""
    state = here.dashboard.instance(instance_id)
    (found,) = resolve(state.topology, state.topology.units[0], "eod", state.known_values, {})
    assert found.value is not None
    return found.value


def reads(here: Bench) -> list[ParameterSourceRead]:
    facts = (each.fact for each in here.dashboard.ledger.facts(plan_stream("eod")))
    return [fact for fact in facts if isinstance(fact, ParameterSourceRead)]


def taken(here: Bench, instance_id: UUID) -> list[dict[str, str]]:
    facts = (each.fact for each in here.dashboard.ledger.facts(instance_id))
    return [fact.parameters for fact in facts if isinstance(fact, SourceParametersTaken)]


@pytest.mark.usefixtures("database")
def test_an_instance_starts_with_what_the_source_says_and_hears_what_it_says_later(
    tmp_path: Path, files: Files
) -> None:
    with bench(tmp_path / "data", parameters_file=files.naming) as here:
        here.agent()
        here.dashboard.push_plan(EOD, {}, OPERATOR)
        first = here.dashboard.start_instance("eod", OPERATOR)
        here.dashboard.command(first, SubmitJob(job="host-load", context="eod"), OPERATOR)
        here.agents["host"].wait_for(lambda agent: bool(agent.initiations))
        assert here.agents["host"].initiations[0].parameters == {"REGION": "north"}
        files.eod.write_text("REGION=east\n")
        (view, _) = here.dashboard.refresh_parameters(OPERATOR)
        assert view.error is None
        here.wait(first, lambda state: state.source_parameters == {"REGION": "east"})
        assert region(here, first) == "east"
        here.dashboard.refresh_parameters(OPERATOR)
        second = here.dashboard.start_instance("eod", OPERATOR)
        assert region(here, second) == "east"
        assert [fact.parameters for fact in reads(here)] == [{"REGION": "north"}, {"REGION": "east"}]
        assert (taken(here, first), taken(here, second)) == ([{"REGION": "east"}], [])
        causes = [
            each.cause.by
            for each in here.dashboard.ledger.facts(plan_stream("eod"))
            if isinstance(each.fact, ParameterSourceRead)
        ]
        assert causes == ["parameter source", "olga"]


@pytest.mark.usefixtures("database")
def test_a_file_that_changes_reaches_active_instances_without_being_asked(
    tmp_path: Path, files: Files
) -> None:
    with bench(tmp_path / "data", parameters_file=files.naming) as here:
        here.dashboard.push_plan(EOD, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        files.eod.write_text("REGION=east\n")
        state = here.wait(instance_id, lambda state: state.source_parameters == {"REGION": "east"})
        assert state.position == 2


@pytest.mark.usefixtures("database")
def test_after_a_restart_the_facts_stand_and_nothing_is_told_twice(tmp_path: Path, files: Files) -> None:
    with bench(tmp_path / "data", parameters_file=files.naming) as here:
        here.dashboard.push_plan(EOD, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        here.restart()
        here.dashboard.refresh_parameters(OPERATOR)
        assert region(here, instance_id) == "north"
        assert (len(reads(here)), taken(here, instance_id)) == (1, [])
        files.eod.unlink()
        here.restart()
        assert region(here, here.dashboard.start_instance("eod", OPERATOR)) == "north", "what was read last"
        files.eod.write_text("REGION=west\n")
        here.restart()
        here.wait(instance_id, lambda state: state.source_parameters == {"REGION": "west"})
        assert taken(here, instance_id) == [{"REGION": "west"}]


@pytest.mark.usefixtures("database")
def test_a_plan_that_has_a_source_no_more_is_told_that_it_says_nothing(tmp_path: Path, files: Files) -> None:
    with bench(tmp_path / "data", parameters_file=files.naming) as here:
        here.dashboard.push_plan(EOD, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        files.naming.write_text("")
        here.dashboard.refresh_parameters(OPERATOR)
        here.wait(instance_id, lambda state: state.source_parameters == {})
        assert region(here, instance_id) == "of the job"


def test_what_could_not_be_stored_is_told_again(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path / "data", parameters_file=files.naming) as here:
        here.dashboard.push_plan(EOD, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        ledger = here.dashboard.ledger
        save = ledger.save

        def full(_change: object) -> None:
            raise Unavailable("the disk is full")

        monkeypatch.setattr(ledger, "save", full)
        files.eod.write_text("REGION=east\n")
        with pytest.raises(Unavailable):
            here.dashboard.refresh_parameters(OPERATOR)
        monkeypatch.setattr(ledger, "save", save)
        here.dashboard.refresh_parameters(OPERATOR)
        here.wait(instance_id, lambda state: state.source_parameters == {"REGION": "east"})


def test_an_instance_that_begins_anew_begins_with_what_the_source_says_by_then(
    tmp_path: Path, files: Files
) -> None:
    with bench(tmp_path / "data", parameters_file=files.naming) as here:
        here.dashboard.push_plan(EOD, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        here.dashboard._sources._sources["eod"].values = {"REGION": "east"}
        fresh, _ = here.dashboard.reset_instance(instance_id, OPERATOR)
        assert region(here, fresh) == "east"


def test_a_source_that_changes_while_the_database_cannot_be_read_is_taken_in_later(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path / "data", parameters_file=files.naming) as here:
        here.dashboard.push_plan(EOD, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        ledger, tried = here.dashboard.ledger, threading.Event()
        last_position = ledger.last_position

        def unreadable(_stream: UUID) -> int:
            tried.set()
            raise Unavailable("the database cannot be read")

        monkeypatch.setattr(ledger, "last_position", unreadable)
        files.eod.write_text("REGION=east\n")
        assert tried.wait(WAIT_SECONDS)
        monkeypatch.setattr(ledger, "last_position", last_position)
        files.weekend.write_text('REGION = "anything"\n')
        here.wait(instance_id, lambda state: state.source_parameters == {"REGION": "east"})


def test_a_kill_between_the_plan_and_its_instances_loses_no_news(tmp_path: Path, files: Files) -> None:
    """The fact of the plan and the inbox entries of its instances are one transaction."""
    with bench(tmp_path / "data", parameters_file=files.naming) as here:
        here.dashboard.push_plan(EOD, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("eod", OPERATOR)
        here.dashboard.ledger.on_received = lambda _entries: None
        files.eod.write_text("REGION=east\n")
        here.dashboard.refresh_parameters(OPERATOR)
        assert len(reads(here)) == 2
        assert taken(here, instance_id) == []
        here.restart()
        here.wait(instance_id, lambda state: state.source_parameters == {"REGION": "east"})
