import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.messages import Outcome, ProcessEvent
from jobledger.http.wire.documents import WireError
from jobledger.http.wire.process_events import (
    decode_process_event,
    decode_process_events,
    encode_process_event,
    process_event_fields,
)
from wire_fixtures import is_read_or_refused_in_words
from wire_strategies import json_values, process_events, unhurried

LEAST = {"agentName": "agent", "jobName": "job", "contextInstanceId": "instance"}


def decoded(**fields: object) -> ProcessEvent:
    return decode_process_event(json.dumps(LEAST | fields).encode())


@given(process_events)
@unhurried
def test_an_event_that_was_written_is_read_back_the_same(event: ProcessEvent) -> None:
    assert decode_process_event(encode_process_event(event)) == event


@given(process_events)
@unhurried
def test_the_tolerant_reader_reads_what_the_fast_one_reads(event: ProcessEvent) -> None:
    typed = ["org.ikasan.spec.ContextualisedScheduledProcessEventImpl", process_event_fields(event)]
    assert decode_process_event(json.dumps(typed).encode()) == event


@given(st.lists(process_events, max_size=4))
@unhurried
def test_a_list_of_events_is_read_back_the_same(events: list[ProcessEvent]) -> None:
    raw = b"[" + b",".join(encode_process_event(event) for event in events) + b"]"
    assert decode_process_events(raw) == events


@given(st.dictionaries(st.sampled_from([*LEAST, "pid", "id", "outcome", "fireTime"]), json_values))
@unhurried
def test_fast_and_tolerant_reading_agree_on_what_is_refused(fields: dict[str, object]) -> None:
    plain = json.dumps(LEAST | fields).encode()
    wrapped = json.dumps(["org.ikasan.EventImpl", LEAST | fields]).encode()
    assert _read(plain) == _read(wrapped)


def _read(raw: bytes) -> object:
    try:
        return decode_process_event(raw)
    except WireError as error:
        return error.problems


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@unhurried
def test_anything_that_is_no_event_is_refused_in_words(raw: bytes) -> None:
    for read in (decode_process_event, decode_process_events):
        assert is_read_or_refused_in_words(read, raw)


@pytest.mark.parametrize("missing", LEAST)
@pytest.mark.parametrize("instead", [None, ""])
def test_an_event_without_what_tells_its_job_is_refused_by_field(missing: str, instead: str | None) -> None:
    with pytest.raises(WireError) as refused:
        decoded(**{missing: instead})
    assert [problem.pointer for problem in refused.value.problems] == [f"/{missing}"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pid", "twelve"),
        ("returnCode", 1.5),
        ("returnCode", True),
        ("fireTime", 2**63),
        ("successful", "yes"),
        ("outcome", "EXPLODED"),
        ("childContextNames", "A"),
        ("jobName", 7),
        ("id", [1]),
    ],
)
def test_a_field_of_the_wrong_type_is_named(field: str, value: object) -> None:
    with pytest.raises(WireError) as refused:
        decoded(**{field: value})
    assert refused.value.problems[0].pointer == f"/{field}"


def test_all_flaws_of_an_event_are_named_at_once() -> None:
    with pytest.raises(WireError) as refused:
        decode_process_event(b'{"pid": "x", "jobName": 3, "skipped": 1}')
    pointers = {problem.pointer for problem in refused.value.problems}
    assert pointers == {"/agentName", "/jobName", "/contextInstanceId", "/pid", "/skipped"}


def test_zero_means_that_there_is_none() -> None:
    event = decoded(fireTime=0, nextFireTime=0, completionTime=0, pid=0, returnCode=0, id=0)
    assert (event.fired_at, event.next_fire_at, event.completed_at, event.pid, event.id) == (None,) * 5
    assert event.return_code == 0


def test_a_number_as_id_is_an_id() -> None:
    assert decoded(id=17).id == "17"


def test_a_schedule_that_fired_has_no_outcome_and_was_invoked() -> None:
    assert decoded(outcome=None, jobGroup="nightly").outcome is Outcome.EXECUTION_INVOKED


@pytest.mark.parametrize("typed", [False, True])
def test_a_fire_by_hand_is_told_by_its_group(typed: bool) -> None:
    fields = LEAST | {"jobGroup": "nightly (manual fire)"}
    event = decode_process_event(json.dumps(["org.ikasan.EventImpl", fields] if typed else fields).encode())
    assert (event.manual, event.group) == (True, "nightly")


def test_fields_that_are_unknown_or_not_heeded_do_no_harm() -> None:
    event = decoded(
        harvested=False,
        internalEventDrivenJob={"agentName": "other", "daysOfWeekToRun": None},
        catalystEvent={"jobName": "before", "catalystEvent": None},
        dryRunParameters=None,
        childContextNames=["java.util.ArrayList", ["A", None, "B"]],
    )
    assert event.contexts == ("A", "B")


def test_decoding_an_event_takes_a_small_part_of_what_storing_it_does() -> None:
    raw = encode_process_event(
        ProcessEvent(agent="agent", job="job", instance_id="i" * 36, contexts=("A",), details="x" * 2000)
    )
    best = min(_seconds_for_a_thousand(raw) for _ in range(5))
    assert best / 1000 < 100e-6  # about 12 µs on an idle machine


def _seconds_for_a_thousand(raw: bytes) -> float:
    begun = time.perf_counter()
    for _ in range(1000):
        decode_process_event(raw)
    return time.perf_counter() - begun
