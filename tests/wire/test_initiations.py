import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.messages import Catalyst, DryRun, Initiation
from jobledger.domain.plan import CommandJob, Parameter
from jobledger.http.wire.documents import WireError
from jobledger.http.wire.initiations import decode_initiation, encode_initiation, initiation_fields
from wire_fixtures import is_read_or_refused_in_words
from wire_strategies import initiations, json_values, unhurried

FROM_ELSEWHERE = {
    "agentName": "scheduler-agent",
    "agentUrl": "http://localhost:8080/scheduler-agent",
    "jobName": "load",
    "contextName": "plan",
    "childContextNames": ["A"],
    "contextInstanceId": "instance",
    "contextParameters": [
        {"name": "date", "defaultValue": "today", "value": "20260101"},
        {"name": "unset", "defaultValue": "never used by an agent", "value": None},
    ],
    "internalEventDrivenJob": {
        "agentName": "scheduler-agent",
        "jobName": "load",
        "identifier": "scheduler-agent-load",
        "commandLine": "./load.sh",
        "successfulReturnCodes": ["0", "4"],
        "minExecutionTime": -1,
        "maxExecutionTime": -1,
        "daysOfWeekToRun": None,
        "status": "WAITING",
        "held": False,
        "scheduledProcessEvent": None,
    },
    "catalystEvent": {"agentName": "scheduler-agent", "jobName": "check", "id": 12, "returnCode": 4},
    "dryRun": False,
    "dryRunParameters": None,
    "skipped": False,
}


@given(initiations)
@unhurried
def test_an_initiation_that_was_written_is_read_back_the_same(initiation: Initiation) -> None:
    assert decode_initiation(encode_initiation(initiation, agent_url="http://agent")) == initiation


@given(initiations)
@unhurried
def test_an_initiation_with_type_wrappers_is_read_the_same(initiation: Initiation) -> None:
    fields = initiation_fields(initiation)
    fields["internalEventDrivenJob"] = fields["internalEventDrivenJob"] and [
        "org.ikasan.InternalEventDrivenJobInstanceImpl",
        fields["internalEventDrivenJob"],
    ]
    fields["childContextNames"] = ["java.util.ArrayList", fields["childContextNames"]]
    assert decode_initiation(json.dumps(["org.ikasan.InitiationImpl", fields]).encode()) == initiation


def test_an_initiation_of_another_dashboard_is_understood() -> None:
    initiation = decode_initiation(json.dumps(FROM_ELSEWHERE).encode(), otherwise_id="given")
    assert initiation == Initiation(
        id="given",
        agent="scheduler-agent",
        job="load",
        plan="plan",
        instance_id="instance",
        contexts=("A",),
        parameters={"date": "20260101"},
        template=CommandJob(
            agent="scheduler-agent", name="load", command_line="./load.sh", successful_return_codes=(0, 4)
        ),
        catalyst=Catalyst(job="scheduler-agent-check", event_id="12", return_code=4),
    )


def test_an_initiation_without_an_id_is_refused_unless_one_is_given_for_it() -> None:
    with pytest.raises(WireError) as refused:
        decode_initiation(json.dumps(FROM_ELSEWHERE).encode())
    assert [problem.pointer for problem in refused.value.problems] == ["/initiationId"]


def test_an_initiation_carries_what_an_agent_of_elsewhere_needs() -> None:
    template = CommandJob(
        agent="agent", name="load", command_line="x", parameters=(Parameter("date", "today"), Parameter("b"))
    )
    fields = initiation_fields(
        Initiation(
            id="i-1",
            agent="agent",
            job="load",
            plan="plan",
            instance_id="i",
            contexts=("A", "B"),
            parameters={"date": "20260101"},
            template=template,
            catalyst=Catalyst(job="agent-check"),
            dry_run=DryRun(min_ms=5, max_ms=9),
        )
    )
    assert fields["contextParameters"] == [{"name": "date", "defaultValue": "today", "value": "20260101"}]
    assert fields["initiationId"] == "i-1"
    assert fields["dryRun"] is True
    job = fields["internalEventDrivenJob"]
    assert isinstance(job, dict)
    assert (job["identifier"], job["contextInstanceId"], job["childContextName"]) == ("agent-load", "i", "A")
    assert (job["minExecutionTime"], job["successfulReturnCodes"]) == (-1, [])
    catalyst = fields["catalystEvent"]
    assert isinstance(catalyst, dict)
    assert (catalyst["agentName"], catalyst["jobName"]) == ("agent", "check")


def test_secrets_are_named_beside_the_parameters_and_only_where_there_are_any() -> None:
    plain = Initiation(id="1", agent="agent", job="j", plan="p", instance_id="i", parameters={"KEY": "x"})
    assert "secretParameters" not in initiation_fields(plain)
    secret = msgspec.structs.replace(plain, secrets=("KEY",))
    assert initiation_fields(secret)["secretParameters"] == ["KEY"]
    assert decode_initiation(encode_initiation(secret)) == secret


@pytest.mark.parametrize("identifier", ["agent-a-b", "GLOBAL_EVENT-go", "other-agent-x", "nothing"])
def test_the_catalyst_is_named_whole_whatever_its_parts_may_be(identifier: str) -> None:
    initiation = Initiation(
        id="1", agent="agent", job="j", plan="p", instance_id="i", catalyst=Catalyst(job=identifier)
    )
    assert decode_initiation(encode_initiation(initiation)).catalyst == Catalyst(job=identifier)


def test_a_return_code_that_is_no_number_is_named_with_its_place() -> None:
    fields = FROM_ELSEWHERE | {"internalEventDrivenJob": {"successfulReturnCodes": ["0", "fine"]}}
    with pytest.raises(WireError) as refused:
        decode_initiation(json.dumps(fields).encode(), otherwise_id="x")
    pointers = [problem.pointer for problem in refused.value.problems]
    assert pointers == ["/internalEventDrivenJob/successfulReturnCodes/1"]


@given(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
@unhurried
def test_anything_that_is_no_initiation_is_refused_in_words(raw: bytes) -> None:
    assert is_read_or_refused_in_words(decode_initiation, raw)


@given(st.sampled_from(list(FROM_ELSEWHERE)), json_values)
@unhurried
def test_an_initiation_with_one_field_of_anything_is_read_or_refused(name: str, value: object) -> None:
    assert is_read_or_refused_in_words(
        lambda raw: decode_initiation(raw, otherwise_id="x"),
        json.dumps(FROM_ELSEWHERE | {name: value}).encode(),
    )
