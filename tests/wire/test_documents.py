import json

import pytest
from hypothesis import given
from jobledger.http.wire.documents import MAX_DEPTH, Fields, Reader, WireError, WireProblem, decode, unwrapped
from wire_fixtures import is_read_or_refused_in_words
from wire_strategies import json_values, unhurried

PLAN = "org.ikasan.job.orchestration.model.context.ContextTemplateImpl"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ([PLAN, {"name": "p"}], {"name": "p"}),
        (["java.util.ArrayList", ["a", "b"]], ["a", "b"]),
        (["java.util.ArrayList", []], []),
        (["java.lang.Long", 5], 5),
        (["java.util.Date", "2026"], "2026"),
        (["java.util.Map$Entry", None], None),
        (
            [PLAN, {"contexts": ["java.util.ArrayList", [[PLAN, {"name": "c"}]]]}],
            {"contexts": [{"name": "c"}]},
        ),
        ({"@class": PLAN, "name": "p"}, {"name": "p"}),
    ],
)
def test_a_type_wrapper_is_dropped_at_any_depth(written: object, meant: object) -> None:
    assert decode(json.dumps(written).encode()) == meant


@pytest.mark.parametrize(
    "listed",
    [
        ["org.example.Report", "org.example.Other"],
        ["report.csv", "other.csv"],
        ["com.example.report.csv", {"a": 1}],
        ["Report", {"a": 1}],
        [PLAN, {"a": 1}, {"b": 2}],
        [PLAN],
        [{"a": 1}, PLAN],
    ],
)
def test_a_list_that_only_looks_like_a_wrapper_stays_a_list(listed: list[object]) -> None:
    assert decode(json.dumps(listed).encode()) == listed


def test_the_class_of_a_wrapped_object_is_remembered() -> None:
    value = unwrapped([PLAN, {"name": "p"}])
    assert isinstance(value, Fields)
    assert value.java_type == PLAN


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'"\xff"', b"NaN", b'"\\ud800"', b"1e999", b"{} {}"])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError, match="no JSON"):
        decode(raw)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 900, 200_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_refused_before_it_hurts(levels: int, opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    with pytest.raises(WireError, match="levels deep"):
        decode((opening * levels + "1" + closing * levels).encode())


def test_deep_wrappers_are_refused_too() -> None:
    with pytest.raises(WireError, match="levels deep"):
        decode(('["java.util.List",' * 400 + "1" + "]" * 400).encode())


def test_a_byte_order_mark_is_no_flaw() -> None:
    assert decode(b"\xef\xbb\xbf{}") == {}


@given(json_values)
@unhurried
def test_every_json_value_is_read_or_refused_with_a_reason(value: object) -> None:
    assert is_read_or_refused_in_words(decode, json.dumps(value).encode())


def test_every_flaw_is_named_with_its_pointer_and_none_stops_the_reading() -> None:
    problems: list[WireProblem] = []
    reader = Reader(Fields({"a": 5, "b": "x", "c/d": [1], "big": 2**63}), problems, pointer="/jobs/0")
    assert reader.text("a") == ""
    assert reader.integer("b", 7) == 7
    assert reader.texts("c/d") == ()
    assert reader.integer("big") == 0
    assert reader.flag("missing", default=True) is True
    assert [problem.pointer for problem in problems] == [
        "/jobs/0/a",
        "/jobs/0/b",
        "/jobs/0/c~1d/0",
        "/jobs/0/big",
    ]
