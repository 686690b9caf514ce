"""How instances, facts and audits look to clients, and that no state of a plan is without a look."""

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.commands import EndInstance, ReportEvent, SubmitJob
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import Cause, InstanceStarted, JobCompleted, Recorded
from jobledger.domain.instance import InstanceState, with_job
from jobledger.domain.instants import Instant
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    Grouping,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Parameter,
)
from jobledger.domain.status import JobStatus
from jobledger.domain.topology import Topology
from jobledger.http.wire.bundles import read_json
from jobledger.http.wire.compatible_views import (
    context_instance,
    every_job,
    instance_statuses,
    job_statuses,
    overrunning,
)
from jobledger.http.wire.views import cause_view, event_view, fact_view, instance_view, job_view, written
from msgspec.structs import replace

INSTANCE = UUID(int=7)
AT: Instant = 1_790_000_000_000
BY = Cause(command="StartInstance", by="ada")


def state(*, ends_at: Instant | None = None, parameters: dict[str, str] | None = None) -> InstanceState:
    """An instance of a plan of two jobs, the second in a child context."""
    plan = JobPlan(
        root=Context(
            name="nightly",
            jobs=(ListedJob("host", "load"),),
            parameters=(Parameter("region", default="south"), Parameter("depth")),
            locks=(Lock("disk", 1, participants=(LockParticipant("nightly", "host-load"),)),),
            contexts=(
                Context(
                    name="checks",
                    jobs=(ListedJob("host", "load"), ListedJob("host", "check")),
                    dependencies=(Dependency("host-check", Grouping(all_of=("host-load",))),),
                ),
            ),
        ),
        jobs=(
            CommandJob(agent="host", name="load", command_line="true"),
            CommandJob(agent="host", name="check", command_line="true"),
        ),
    )
    fact = InstanceStarted(
        plan="nightly", plan_version=3, agents=("host",), ends_at=ends_at, parameters=parameters or {}
    )
    return start(Topology(plan), instance_id=INSTANCE, fact=fact, at=AT, cause=BY).state


def after(before: InstanceState, command: ReportEvent | EndInstance | SubmitJob) -> InstanceState:
    step = advance(before, command, at=AT + 1000, cause=BY)
    assert isinstance(step, Step)
    return step.state


def report(**what: object) -> ReportEvent:
    event = {"agent": "host", "job": "load", "instance_id": str(INSTANCE), **what}
    return ReportEvent(event=msgspec.convert(event, ProcessEvent))


def as_json(view: object) -> dict[str, object]:
    document: dict[str, object] = msgspec.json.decode(msgspec.json.encode(view))
    return document


def test_an_instance_has_the_fields_that_clients_rely_on() -> None:
    document = as_json(instance_view(state(parameters={"region": "north"})))

    assert {
        "instance_id", "plan", "plan_version", "status", "position", "started_at", "ends_at", "ended_at",
        "parameters", "counts", "root",
    } <= set(document)  # fmt: skip
    assert document["instance_id"] == str(INSTANCE)
    assert document["plan_version"] == 3
    assert document["started_at"] == "2026-09-21T14:13:20.000Z"
    assert document["parameters"] == {"region": "north"}
    assert document["counts"] == {"WAITING": 3}


def test_a_job_has_the_fields_that_clients_rely_on() -> None:
    running = after(state(), report(starting=True, pid=12, fired_at=AT))
    unit = running.topology.unit_in("nightly", "host-load")
    assert unit is not None

    document = as_json(job_view(running, unit))

    assert {
        "identifier", "agent", "name", "kind", "status", "held", "skipped", "initiated", "acknowledged",
        "killed", "started_at", "finished_at", "return_code", "pid", "permitted",
    } <= set(document)  # fmt: skip
    assert (document["status"], document["pid"]) == ("RUNNING", 12)
    assert document["started_at"] == "2026-09-21T14:13:20.000Z"
    assert document["finished_at"] is None
    assert "submit" not in document["permitted"]  # type: ignore[operator]  # a list, after all


def test_nothing_is_permitted_in_an_instance_that_has_ended() -> None:
    ended = after(state(), EndInstance())

    assert instance_view(ended).status == "ENDED"
    assert {job.permitted for job in instance_view(ended).root.jobs} == {()}


@pytest.mark.parametrize("status", list(JobStatus))
def test_every_status_of_a_job_is_shown_and_counted(status: JobStatus) -> None:
    fresh = state()
    unit = fresh.topology.unit_in("nightly", "host-load")
    assert unit is not None
    shown = with_job(fresh, unit, replace(fresh.job(unit.index), status=status))

    view = job_view(shown, unit)

    assert view.status is status
    assert view.held is (status is JobStatus.ON_HOLD)
    assert view.skipped is status.value.startswith("SKIPPED")
    assert instance_view(shown).counts.get(status.value, 0) >= 2
    assert context_instance(shown)["scheduledJobs"][0]["status"] == status.value  # type: ignore[index]


def test_a_fact_tells_its_type_beside_its_data_and_its_times_in_words() -> None:
    recorded = Recorded(
        originator_id=INSTANCE,
        originator_version=4,
        at=AT,
        cause=Cause(position=9, source="127.0.0.1"),
        fact=JobCompleted(job="host-load", completed_at=AT, return_code=0),
    )

    assert as_json(fact_view(recorded)) == {
        "position": 4,
        "at": "2026-09-21T14:13:20.000Z",
        "type": "JobCompleted",
        "data": {"job": "host-load", "completed_at": "2026-09-21T14:13:20.000Z", "return_code": 0},
        "cause": {"position": 9, "source": "127.0.0.1"},
    }


def test_a_cause_leaves_out_what_does_not_apply() -> None:
    assert as_json(cause_view(Cause(command="EndInstance", by="ada", reason="done"))) == {
        "command": "EndInstance",
        "by": "ada",
        "reason": "done",
    }
    assert as_json(cause_view(Cause())) == {}


def test_an_event_is_shown_in_our_own_words() -> None:
    shown = event_view(report(successful=True, fired_at=AT).event)

    assert shown["job"] == "load"
    assert shown["fired_at"] == "2026-09-21T14:13:20.000Z"


@given(st.integers())
def test_any_instant_can_be_written(at: int) -> None:
    assert len(written(at)) == len("2026-09-21T14:13:20.000Z")


@given(st.integers(0, 253_402_300_799_999))
def test_an_instant_of_the_calendar_is_written_as_it_is(at: int) -> None:
    assert written(at) == written(min(at, 253_402_300_799_999))
    assert written(at).endswith(f"{at % 1000:03d}Z")


def test_a_compatible_instance_is_its_template_with_what_became_of_it() -> None:
    done = after(state(ends_at=AT + 5000), report(successful=True, return_code=0, completed_at=AT + 900))

    document = context_instance(done)

    assert document["id"] == str(INSTANCE)
    assert document["projectedEndTime"] == AT + 5000
    assert document["runContextUntilManuallyEnded"] is False
    assert document["contextParameters"] == [
        {"name": "region", "defaultValue": "south", "value": "south"},
        {"name": "depth", "defaultValue": None},
    ]
    assert document["jobLocks"] == [
        {
            "name": "disk",
            "lockCount": 1,
            "exclusiveJobLock": False,
            "jobs": {
                "nightly": [
                    {"identifier": "host-load", "agentName": "host", "jobName": "load", "lockCount": 1}
                ]
            },
        }
    ]
    assert msgspec.json.encode(document)


def test_dependencies_between_contexts_are_shown_as_the_bundle_says_them() -> None:
    between = {"contextIdentifier": "nightly", "logicalGrouping": {"and": [{"identifier": "nightly"}]}}
    bundle = {
        "contextTemplate": {
            "name": "nightly",
            "contexts": [
                {
                    "name": "checks",
                    "scheduledJobs": [{"agentName": "host", "jobName": "check"}],
                    "contextDependencies": [between],
                }
            ],
        },
        "schedulerJobs": [{"agentName": "host", "jobName": "check", "commandLine": "true"}],
    }
    plan = read_json(msgspec.json.encode(bundle)).plan
    fact = InstanceStarted(plan="nightly", plan_version=1)
    begun = start(Topology(plan), instance_id=INSTANCE, fact=fact, at=AT, cause=BY).state

    whole, child = context_instance(begun), context_instance(begun, 1)

    assert (whole["contextDependencies"], child["contextDependencies"]) == ([], [between])


def test_parameters_set_on_the_instance_are_beside_those_that_the_plan_declares() -> None:
    document = context_instance(state(parameters={"region": "north", "extra": "1"}))

    assert document["contextParameters"] == [
        {"name": "region", "defaultValue": "south", "value": "north"},
        {"name": "depth", "defaultValue": None},
        {"name": "extra", "defaultValue": None, "value": "1"},
    ]


def test_lists_of_statuses_name_the_plan_and_the_instance() -> None:
    fresh = state(ends_at=AT + 5)
    same = {"contextName": "nightly", "contextInstanceId": str(INSTANCE)}

    assert instance_statuses([fresh])["contextMachineStatusList"] == [{**same, "instanceStatus": "WAITING"}]
    (plan,) = job_statuses([fresh], every_job)["jobPlans"]  # type: ignore[misc]
    assert len(plan["jobDetails"]) == 2
    assert {**plan, "jobDetails": []} == {**same, "instanceStatus": "WAITING", "jobDetails": []}
    (late,) = overrunning([(fresh, AT + 5)])
    assert late["projectedEndTime"] == AT + 5
