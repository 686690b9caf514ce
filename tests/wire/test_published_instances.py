import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.domain.messages import PublishedInstance
from jobledger.domain.plan import Context, JobPlan, ListedJob, Parameter
from jobledger.http.wire.documents import WireError
from jobledger.http.wire.instances import (
    decode_instance,
    decode_instances,
    encode_instance,
    encode_instances,
    instance_fields,
)
from wire_fixtures import is_read_or_refused_in_words, real_document
from wire_strategies import filled, instants, json_values, plans, texts, unhurried


@st.composite
def instances(draw: st.DrawFn) -> tuple[PublishedInstance, JobPlan]:
    plan = draw(plans())
    standings: dict[str, dict[str, None]] = {}
    for context in plan.root.walk():
        for job in context.jobs:
            standings.setdefault(job.identifier, {})[context.name] = None
    kept = [job for job in standings if draw(st.booleans())]
    instance = PublishedInstance(
        instance_id=draw(filled),
        plan=plan.name,
        jobs=tuple(kept),
        contexts={job: tuple(standings[job]) for job in kept},
        parameters=draw(st.dictionaries(filled, texts, max_size=3)),
        started_at=draw(instants) or 0,
        ends_at=draw(instants),
        schedules_disabled=draw(st.booleans()),
    )
    return instance, plan


@given(instances())
@unhurried
def test_an_instance_that_was_written_is_read_back_the_same(
    given_pair: tuple[PublishedInstance, JobPlan],
) -> None:
    instance, plan = given_pair
    assert decode_instance(encode_instance(instance, plan)) == instance


@given(st.lists(instances(), max_size=2, unique_by=lambda pair: pair[0].instance_id))
@settings(unhurried, max_examples=30)
def test_a_map_of_instances_is_read_back_the_same(pairs: list[tuple[PublishedInstance, JobPlan]]) -> None:
    assert decode_instances(encode_instances(pairs)) == tuple(instance for instance, _ in pairs)


def test_an_agent_of_elsewhere_finds_what_it_looks_for() -> None:
    plan = JobPlan(
        root=Context(
            name="plan",
            parameters=(Parameter("date", "today"), Parameter("zone", "here")),
            contexts=(Context(name="child", jobs=(ListedJob("agent", "job"),)),),
        )
    )
    instance = PublishedInstance(
        instance_id="7",
        plan="plan",
        jobs=("agent-job",),
        contexts={"agent-job": ("child",)},
        parameters={"date": "20260101"},
        started_at=1000,
        ends_at=2000,
    )
    fields = json.loads(encode_instance(instance, plan))
    assert (fields["id"], fields["name"], fields["status"]) == ("7", "plan", "WAITING")
    assert (fields["startTime"], fields["projectedEndTime"]) == (1000, 2000)
    assert fields["contextParameters"] == [
        {"name": "date", "defaultValue": "today", "value": "20260101"},
        {"name": "zone", "defaultValue": "here"},
    ]
    child = fields["contexts"][0]
    assert child["id"] != "7"
    job = child["scheduledJobs"][0]
    assert (job["identifier"], job["contextInstanceId"], job["childContextName"]) == (
        "agent-job",
        "7",
        "child",
    )


def test_instances_that_are_only_prepared_are_not_told_to_an_agent() -> None:
    instance = PublishedInstance(instance_id="7", plan="plan")
    fields = instance_fields(instance, JobPlan(root=Context(name="plan")))
    raw = json.dumps({"7": fields, "8": fields | {"id": "8", "status": "PREPARED"}}).encode()
    assert [each.instance_id for each in decode_instances(raw)] == ["7"]


@pytest.mark.parametrize(
    ("document", "ids"),
    [
        ("job-context-instance.json", ["COMPLEX_CONTEXT"]),
        ("job-context-instance-all.json", ["COMPLEX_CONTEXT-1", "COMPLEX_CONTEXT-2"]),
        ("job-context-instance-by-agent.json", ["COMPLEX_CONTEXT-1", "COMPLEX_CONTEXT-2"]),
    ],
)
def test_what_a_real_dashboard_answers_to_an_agent_is_understood(document: str, ids: list[str]) -> None:
    found = decode_instances(real_document(document))
    assert [instance.instance_id for instance in found] == ids
    for instance in found:
        assert len(instance.jobs) == 56
        assert instance.parameters["BusinessDate"] == "20220505"
        assert "CONTEXT-140537370" in instance.contexts["asset-control-scheduler-agent-97656185"]


def test_a_real_instance_without_an_id_of_its_own_takes_the_one_given() -> None:
    raw = real_document("agent-context-instance.json")
    with pytest.raises(WireError) as refused:
        decode_instance(raw)
    assert [problem.pointer for problem in refused.value.problems] == ["/id"]
    assert decode_instance(raw, otherwise_id="7").instance_id == "7"


@given(json_values)
@unhurried
def test_anything_that_is_no_instance_is_refused_in_words(value: object) -> None:
    for read in (decode_instance, decode_instances):
        assert is_read_or_refused_in_words(read, json.dumps(value).encode())
