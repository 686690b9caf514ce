"""Which value a parameter gets, what an initiation carries, and what is told of values that are of no use."""

from collections.abc import Mapping
from datetime import date
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.domain.commands import (
    EndInstance,
    HoldJob,
    ReleaseJob,
    ReportEvent,
    SetParameters,
    SubmitJob,
    TakeSourceParameters,
)
from jobledger.domain.dates import Dates
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import (
    Cause,
    EventIgnored,
    InstanceStarted,
    JobInitiated,
    PlanPushed,
    Recorded,
    SourceParametersTaken,
)
from jobledger.domain.instance import InstanceState, replay
from jobledger.domain.instants import parse_rfc3339
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.parameters import (
    KnownValues,
    ValueSource,
    parameters_for,
    parameters_of_instance,
    resolve,
)
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    FileJob,
    Grouping,
    JobPlan,
    ListedJob,
    Parameter,
    Trigger,
)
from jobledger.domain.plan_log import evolve_plan, instance_started
from jobledger.domain.snapshots import digest, freeze, thaw
from jobledger.domain.topology import Topology
from jobledger.domain.validation import Problem, validate

TOKEN = f"{{enc:{'A' * 100}}}"
CAUSE = Cause(command="test")


def command(name: str, *parameters: Parameter) -> CommandJob:
    return CommandJob(agent="host", name=name, command_line="true", parameters=parameters)


def of(*parameters: Parameter) -> tuple[Parameter, ...]:
    return parameters


def topology_of(
    root: tuple[Parameter, ...] = (),
    inner: tuple[Parameter, ...] = (),
    job: tuple[Parameter, ...] = (Parameter("P"),),
) -> Topology:
    """A job in a context below the root."""
    below = Context(name="inner", jobs=(ListedJob("host", "load"),), parameters=inner)
    middle = Context(name="middle", contexts=(below,))
    return Topology(
        JobPlan(root=Context(name="plan", contexts=(middle,), parameters=root), jobs=(command("load", *job),))
    )


def value_of(
    topology: Topology, known: KnownValues, given: Mapping[str, str]
) -> tuple[str | None, str | None]:
    found = resolve(topology, topology.units[0], "inner", known, given)
    (parameter,) = [each for each in found if each.name == "P"]
    return parameter.value, None if parameter.source is None else parameter.source.value


# --- which value wins ---------------------------------------------------------------------------------------


def test_each_source_goes_before_all_after_it() -> None:
    topology = topology_of(
        of(Parameter("P", "of the plan")),
        of(Parameter("P", "of the context")),
        of(Parameter("P", "of the job")),
    )
    of_contexts = {"inner": {"P": "set on the context"}, "middle": {"P": "set above it"}}
    given_too = {"P": "given"}
    everything = KnownValues({"P": "set on the instance"}, of_contexts, {"P": "of the source"})
    known = [
        (everything, given_too, ("given", "given")),
        (everything, {}, ("set on the context", "context")),
        (
            msgspec.structs.replace(everything, of_contexts={"middle": of_contexts["middle"]}),
            {},
            ("set above it", "context"),
        ),
        (
            msgspec.structs.replace(everything, of_contexts={"other": {"P": "elsewhere"}}),
            {},
            ("set on the instance", "instance"),
        ),
        (KnownValues(of_source={"P": "of the source"}), {}, ("of the source", "source")),
        (KnownValues(), {}, ("of the context", "plan")),
    ]
    assert [value_of(topology, values, by_hand) for values, by_hand, _ in known] == [
        found for *_, found in known
    ]
    of_the_job = of(Parameter("P", "of the job"))
    assert value_of(topology_of(of(Parameter("P", "of the plan")), job=of_the_job), KnownValues(), {}) == (
        "of the plan",
        "plan",
    )
    assert value_of(topology_of(job=of_the_job), KnownValues(), {}) == ("of the job", "job")
    assert value_of(topology_of(), KnownValues(), {}) == (None, None)


def test_a_declared_value_goes_before_the_default_beside_it_and_empty_is_a_value() -> None:
    assert value_of(topology_of(of(Parameter("P", "default", "value"))), KnownValues(), {})[0] == "value"
    assert value_of(topology_of(of(Parameter("P", "", None))), KnownValues(), {}) == ("", "plan")
    assert value_of(topology_of(of(Parameter("P", "x"))), KnownValues({"P": ""}), {}) == ("", "instance")


layer = st.dictionaries(st.sampled_from("PQR"), st.sampled_from(["", "a", "b", "c"]), max_size=3)


@given(
    given_too=layer,
    inner=layer,
    middle=layer,
    instance=layer,
    source=layer,
    near=layer,
    root=layer,
    job=layer,
)
def test_precedence_agrees_with_a_list_that_is_read_from_the_top(**layers: dict[str, str]) -> None:
    declared = {name: layers["job"].get(name) for name in "PQ"}
    topology = topology_of(
        tuple(Parameter(*each) for each in layers["root"].items()),
        tuple(Parameter(*each) for each in layers["near"].items()),
        tuple(Parameter(*each) for each in declared.items()),
    )
    known = KnownValues(
        layers["instance"], {"inner": layers["inner"], "middle": layers["middle"]}, layers["source"]
    )
    carried = parameters_for(topology, topology.units[0], "inner", known, layers["given_too"])
    order = [
        layers[each] for each in ("given_too", "inner", "middle", "instance", "source", "near", "root", "job")
    ]
    expected = {}
    for name in dict.fromkeys((*declared, *layers["given_too"])):
        for values in order:
            if name in values:
                expected[name] = values[name]
                break
    assert carried.values == expected
    assert list(carried.values) == [
        name for name in dict.fromkeys((*declared, *layers["given_too"])) if name in expected
    ]
    assert carried.unset == tuple(name for name in declared if name not in expected)


def test_a_job_gets_what_it_declares_in_its_order_and_what_is_given_by_hand() -> None:
    topology = topology_of(
        of(Parameter("A", "1"), Parameter("B", "2"), Parameter("C", "3")),
        job=of(Parameter("C"), Parameter("A")),
    )
    carried = parameters_for(topology, topology.units[0], "inner", KnownValues({"D": "4"}), {"E": "5"})
    assert list(carried.values.items()) == [("C", "3"), ("A", "1"), ("E", "5")]


def test_values_are_calculated_where_they_are_used_and_name_what_is_nearest_there() -> None:
    topology = topology_of(
        of(Parameter("DIR", "/data/${DAY}"), Parameter("DAY", "${business_date:%a}")),
        of(Parameter("DAY", "${business_date:%F}-${NOBODY}")),
        of(Parameter("DIR"), Parameter("LATE", "${start + 1mo:%F}")),
    )
    known = KnownValues(dates=Dates(date(2026, 3, 27), 0, ZoneInfo("UTC")))
    carried = parameters_for(topology, topology.units[0], "inner", known, {})
    assert carried.values == {"DIR": "/data/2026-03-27-${NOBODY}", "LATE": "1970-02-01"}
    assert carried.unexpanded == ("DIR",)
    assert parameters_of_instance(topology, known) == {"DIR": "/data/Fri", "DAY": "Fri"}


def test_a_value_of_a_source_is_calculated_like_any_other_and_stays_what_it_is_otherwise() -> None:
    known = KnownValues(
        of_source={"P": "${business_date + 1d:%Y%m%d}", "Q": "20220731"},
        dates=Dates(date(2022, 7, 31), 0, ZoneInfo("UTC")),
    )
    topology = topology_of(job=of(Parameter("P"), Parameter("Q"), Parameter("R")))
    carried = parameters_for(topology, topology.units[0], "inner", known, {})
    assert (carried.values, carried.unset) == ({"P": "20220801", "Q": "20220731"}, ("R",))


def test_what_an_agent_is_told_of_an_instance_holds_no_secrets() -> None:
    topology = topology_of(
        of(Parameter("DB_PASSWORD", "plain"), Parameter("URL", "x${KEY}"), Parameter("DIR", "/d"))
    )
    known = KnownValues({"KEY": TOKEN}, of_source={"apiToken": "t", "REGION": "north"})
    assert parameters_of_instance(topology, known) == {"DIR": "/d", "REGION": "north"}


# --- in an instance -----------------------------------------------------------------------------------------

SHARED = JobPlan(
    root=Context(
        name="night",
        jobs=(ListedJob("host", "load"),),
        parameters=(Parameter("REGION", "all"), Parameter("DAY", "${business_date:%Y%m%d}")),
        contexts=(
            Context(
                name="north",
                jobs=(ListedJob("host", "load"), ListedJob("host", "report")),
                dependencies=(Dependency("host-report", Grouping(all_of=("host-load",))),),
                parameters=(Parameter("REGION", "north"),),
            ),
            Context(
                name="south",
                jobs=(ListedJob("host", "check"), ListedJob("host", "report")),
                dependencies=(Dependency("host-report", Grouping(all_of=("host-check",))),),
                parameters=(Parameter("REGION", "south"),),
            ),
        ),
    ),
    jobs=(
        command("load"),
        command("check"),
        command("report", Parameter("REGION"), Parameter("DAY"), Parameter("OTHER")),
    ),
)


class Running:
    """An instance of ``SHARED``, with its log."""

    def __init__(self, **fields: object) -> None:
        fact = InstanceStarted(plan="night", plan_version=1, agents=("host",), **fields)  # type: ignore[arg-type]
        step = start(Topology(SHARED), instance_id=UUID(int=1), fact=fact, at=5, cause=CAUSE)
        self.state: InstanceState = step.state
        self.log: list[Recorded] = list(step.facts)

    def tell(self, command: object) -> list[object]:
        step = advance(self.state, command, at=6, cause=Cause(position=len(self.log)))  # type: ignore[arg-type]
        assert isinstance(step, Step), step
        self.state = step.state
        self.log += step.facts
        assert digest(replay(self.state.topology, self.log)) == digest(self.state)
        thawed = thaw(self.state.topology, freeze(self.state))
        assert thawed is not None
        assert digest(thawed) == digest(self.state)
        return [recorded.fact for recorded in step.facts]

    def finish(self, job: str) -> list[object]:
        event = ProcessEvent(
            agent="host", job=job, instance_id=str(UUID(int=1)), successful=True, id=f"{job} done"
        )
        return self.tell(ReportEvent(event=event))

    def carried(self, facts: list[object]) -> dict[str, str]:
        (fact,) = [each for each in facts if isinstance(each, JobInitiated) and each.job == "host-report"]
        return fact.parameters


def test_a_shared_job_gets_the_values_of_the_context_in_which_it_became_ready() -> None:
    for done, region in (("load", "north"), ("check", "south")):
        assert Running().carried(Running().finish(done))["REGION"] == region


def test_a_job_that_waited_for_its_release_gets_the_values_of_the_context_in_which_it_became_ready() -> None:
    running = Running()
    running.tell(HoldJob(job="host-report", context="north"))
    running.finish("check")
    running.tell(SetParameters(parameters={"DAY": "set meanwhile"}))
    carried = running.carried(running.tell(ReleaseJob(job="host-report", context="north")))
    assert carried == {"REGION": "south", "DAY": "set meanwhile"}


def test_a_job_submitted_by_hand_gets_the_values_of_the_context_that_is_named() -> None:
    for context in ("north", "south"):
        running = Running(business_date="2026-03-27")
        submit = SubmitJob(job="host-report", context=context, parameters={"OTHER": "${DAY}!"})
        assert running.carried(running.tell(submit)) == {
            "REGION": context,
            "DAY": "20260327",
            "OTHER": "20260327!",
        }


def test_what_is_set_on_a_running_instance_counts_for_its_context_alone() -> None:
    running = Running()
    running.tell(SetParameters(parameters={"REGION": "east"}, context="south"))
    assert running.carried(running.finish("load"))["REGION"] == "north"
    running = Running()
    running.tell(SetParameters(parameters={"REGION": "east"}, context="south"))
    assert running.carried(running.finish("check"))["REGION"] == "east"


def test_a_parameter_that_nobody_values_is_told_with_the_initiation() -> None:
    running = Running()
    (fact,) = [each for each in running.finish("load") if isinstance(each, JobInitiated)]
    assert fact.unset == ("OTHER",)
    assert fact.unexpanded == ()


def test_the_source_counts_from_the_fact_that_it_was_read_and_the_same_again_is_no_news() -> None:
    running = Running(source_parameters={"OTHER": "of the file"})
    assert running.carried(running.finish("load"))["OTHER"] == "of the file"

    running = Running(source_parameters={"OTHER": "of the file"})
    (taken,) = running.tell(TakeSourceParameters(parameters={"REGION": "file"}))
    assert taken == SourceParametersTaken(parameters={"REGION": "file"}, agents=("host",))
    (again,) = running.tell(TakeSourceParameters(parameters={"REGION": "file"}))
    assert again == EventIgnored(reason="duplicate")
    assert running.carried(running.finish("check")) == {"REGION": "file", "DAY": "19700101"}
    running.tell(EndInstance())
    (late,) = running.tell(TakeSourceParameters(parameters={}))
    assert late == EventIgnored(reason="instance ended")


def test_expressions_that_cannot_be_calculated_are_told_and_stop_nothing() -> None:
    running = Running(zone="Mars/Base")
    running.tell(SetParameters(parameters={"OTHER": "${start +}", "REGION": "${REGION}"}))
    (fact,) = [each for each in running.finish("load") if isinstance(each, JobInitiated)]
    assert fact.parameters == {"REGION": "${REGION}", "DAY": "${business_date:%Y%m%d}", "OTHER": "${start +}"}
    assert fact.unexpanded == ("REGION", "DAY", "OTHER")


@given(
    st.dictionaries(
        st.sampled_from(["REGION", "DAY", "OTHER"]),
        st.text(st.sampled_from("${}start:%Y+1dREGION{enc"), max_size=30),
    ),
    st.text(max_size=8),
    st.integers(-(2**62), 2**62),
)
@settings(deadline=None)
def test_no_value_zone_or_start_keeps_an_instance_from_deciding(
    values: dict[str, str], zone: str, due_at: int
) -> None:
    running = Running(parameters=values, zone=zone, due_at=due_at)
    assert isinstance(running.carried(running.finish("load")), dict)


@pytest.mark.parametrize(
    ("due", "zone", "given_day", "day"),
    [
        ("2026-03-27T23:30:00Z", "Europe/London", None, "2026-03-27"),
        ("2026-06-27T23:30:00Z", "Europe/London", None, "2026-06-28"),
        ("2026-06-27T23:30:00Z", None, None, "2026-06-27"),
        ("2026-06-27T23:30:00Z", "Europe/London", "2026-01-02", "2026-01-02"),
    ],
)
def test_the_business_date_is_the_day_it_is_due_in_the_zone_of_the_plan_unless_told(
    due: str, zone: str | None, given_day: str | None, day: str
) -> None:
    plan = msgspec.structs.replace(SHARED, window=msgspec.structs.replace(SHARED.window, zone=zone))
    pushed = Recorded(
        originator_id=UUID(int=2),
        originator_version=1,
        at=0,
        cause=CAUSE,
        fact=PlanPushed(version=1, plan=plan),
    )
    state = evolve_plan(None, pushed)
    at = parse_rfc3339(due)
    for due_at in (at, None):
        fact = instance_started(state, due_at=due_at, began=at, default_zone="UTC", business_date=given_day)
        assert (fact.business_date, fact.zone) == (day, zone or "UTC")


# --- what is told before it is accepted ---------------------------------------------------------------------


def problems(
    root: tuple[Parameter, ...] = (),
    inner: tuple[Parameter, ...] = (),
    job: tuple[Parameter, ...] = (),
    **fields: object,
) -> list[Problem]:
    plan = topology_of(root, inner, job).plan
    found = validate(msgspec.structs.replace(plan, **fields))
    return [each for each in found if "parameter" in each.pointer or "encrypted" in each.message]


def the_problem(severity: str, words: str, pointer: str, **parameters: tuple[Parameter, ...]) -> None:
    (found,) = problems(**parameters)
    assert (found.severity, found.pointer) == (severity, pointer)
    assert words in found.message
    assert TOKEN not in found.message


def test_an_expression_that_cannot_be_is_an_error_with_its_place() -> None:
    at = "/root/parameters/1/default"
    the_problem("error", "%Q is no directive", at, root=of(Parameter("A"), Parameter("P", "${start:%Q}")))
    at = "/root/contexts/0/contexts/0/parameters/0/value"
    the_problem("error", "'h' is no unit", at, inner=of(Parameter("P", "x", "${business_date + 1h}")))
    at = "/jobs/0/parameters/0/default"
    the_problem("error", "has no directive", at, job=of(Parameter("P", "${start:hh}")))


def test_values_that_name_each_other_in_a_circle_are_one_error_where_the_circle_closes() -> None:
    the_problem("error", "P names P", "/root/parameters/0", root=of(Parameter("P", "x${P}")))
    the_problem(
        "error",
        "which has no end",
        "/root/contexts/0/contexts/0/parameters/0",
        root=of(Parameter("A", "${B}"), Parameter("B", "x")),
        inner=of(Parameter("B", "${A}")),
    )
    the_problem(
        "error",
        "which has no end",
        "/jobs/0/parameters/0",
        root=of(Parameter("A", "${B}")),
        job=of(Parameter("B", "${A}")),
    )


def test_a_value_that_is_calculated_to_nowhere_or_without_end_is_an_error() -> None:
    the_problem(
        "error", "outside the years", "/root/parameters/0", root=of(Parameter("P", "${start + 9999y}"))
    )
    parameters = [Parameter(f"P{n}", f"${{P{n + 1}}}" * 9) for n in range(8)]
    found = problems(root=(*parameters, Parameter("P8", "x" * 9)))
    assert {(each.severity, each.pointer) for each in found} >= {("error", "/root/parameters/0")}
    assert all("comes to more than" in each.message for each in found)


def test_what_stays_as_it_is_is_warned_of() -> None:
    at = "/root/parameters/0/default"
    the_problem("warning", "'${HOME:-/}' is no expression", at, root=of(Parameter("P", "${HOME:-/}")))
    the_problem("warning", "has no parameter 'HOME'", at, root=of(Parameter("P", "a ${HOME}")))
    assert problems(root=of(Parameter("P", "$${HOME} ${Q} $HOME"), Parameter("Q"))) == []


def test_command_lines_are_no_values_and_are_left_alone() -> None:
    plan = topology_of().plan
    job = msgspec.structs.replace(plan.jobs[0], command_line="echo ${start:%Q} ${HOME} ${business_date + 1h}")
    assert problems(jobs=(job,)) == []


def test_secrets_are_warned_of_when_they_can_be_read_and_refused_when_they_are_broken() -> None:
    at = "/root/parameters/0/default"
    the_problem("warning", "can be read here", at, root=of(Parameter("DB_PASSWORD", "hunter2")))
    the_problem("warning", "by another program", at, root=of(Parameter("P", "{cipher}0a1b")))
    the_problem("error", "not whole", at, root=of(Parameter("P", TOKEN[:-9])))
    the_problem("error", "not whole", at, root=of(Parameter("P", "{enc:********}")))
    for harmless in (TOKEN, f"jdbc:x:{TOKEN}@h", "", "${KEY}"):
        assert problems(root=of(Parameter("DB_PASSWORD", harmless), Parameter("KEY"))) == []
    assert "hunter2" not in str(problems(root=of(Parameter("DB_PASSWORD", "hunter2"))))


def test_a_file_watcher_that_would_look_for_a_secret_is_an_error() -> None:
    (found,) = about_a_watcher("/in/${DIR}/${KEY}.csv", Parameter("KEY", TOKEN), Parameter("DIR"))
    assert (found.severity, found.job) == ("error", "host-in")
    assert "is encrypted" in found.message


def about_a_watcher(pattern: str, *of_plan: Parameter) -> list[Problem]:
    watcher = FileJob(agent="host", name="in", trigger=Trigger(cron="0 * * * * ?"), filenames=(pattern,))
    plan = JobPlan(
        root=Context(name="plan", jobs=(ListedJob("host", "in"),), parameters=of_plan), jobs=(watcher,)
    )
    return [each for each in validate(plan) if each.pointer == "/jobs/0"]


def test_a_pattern_of_a_file_watcher_takes_names_of_the_plans_parameters_and_no_dates() -> None:
    assert about_a_watcher("/in/${DAY}.csv", Parameter("DAY", "${business_date:%F}")) == []
    for pattern in ("/in/${business_date:%F}.csv", "/in/${start:%Q}.csv"):
        (found,) = about_a_watcher(pattern)
        assert (found.severity, "patterns take names alone" in found.message) == ("error", True)
    (found,) = about_a_watcher("/in/${DAY}.csv")
    assert (found.severity, "no parameter 'DAY'" in found.message) == ("warning", True)


def test_values_of_ten_thousand_jobs_and_a_chain_of_five_hundred_names_are_checked_without_an_error() -> None:
    jobs = tuple(
        command(f"j{n}", Parameter("A", f"${{business_date}}-{n}"), Parameter("B")) for n in range(10_000)
    )
    root = Context(
        name="plan",
        jobs=tuple(ListedJob("host", job.name) for job in jobs),
        parameters=tuple(Parameter(f"P{n}", f"${{P{n + 1}}}") for n in range(500)),
    )
    found = [each for each in validate(JobPlan(root=root, jobs=jobs)) if each.severity == "error"]
    assert found == []


def test_where_a_value_comes_from_has_a_word_for_each_source() -> None:
    assert [each.value for each in ValueSource] == ["given", "context", "instance", "source", "plan", "job"]
