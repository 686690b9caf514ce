"""Blackouts, and the instants by which they are told."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.cron import CronExpression
from jobledger.domain.instants import UnknownTimeZone, parse_rfc3339, rfc3339, time_zone
from jobledger.domain.windows import Blackout

LONDON = ZoneInfo("Europe/London")
_YEAR_ONE, _YEAR_TEN_THOUSAND = -62_135_596_800_000, 253_402_300_800_000


def blackout(*expressions: str, ranges: tuple[tuple[int, int], ...] = ()) -> Blackout:
    return Blackout(tuple(CronExpression.parse(text) for text in expressions), ranges, LONDON)


def test_without_expressions_and_ranges_nothing_is_covered() -> None:
    assert not blackout().covers(0)
    assert blackout().reason(0) is None


def test_a_range_covers_both_its_ends_to_the_millisecond() -> None:
    window = blackout(ranges=((1_000, 1_999), (5_000, 5_000)))
    assert [at for at in (999, 1_000, 1_999, 2_000, 4_999, 5_000, 5_001) if window.covers(at)] == [
        1_000,
        1_999,
        5_000,
    ]


def test_a_range_that_ends_before_it_begins_covers_nothing() -> None:
    window = blackout(ranges=((2_000, 1_000),))
    assert not any(window.covers(at) for at in (1_000, 1_500, 2_000))


def test_an_expression_covers_the_seconds_at_which_it_fires_in_the_zone_of_the_plan() -> None:
    window = blackout("* * 2 * * ?")
    inside = parse_rfc3339("2026-07-01T01:00:00Z")
    assert window.covers(inside)
    assert window.covers(inside + 3_599_999)
    assert not window.covers(inside - 1)
    assert not window.covers(inside + 3_600_000)


def test_an_expression_for_one_second_covers_no_more_than_that() -> None:
    window = blackout("0 0 2 * * ?")
    at = parse_rfc3339("2026-01-15T02:00:00Z")
    assert window.covers(at + 999)
    assert not window.covers(at + 1_000)


def test_a_start_moved_out_of_a_skipped_hour_stays_in_the_blackout_of_that_hour() -> None:
    moved = CronExpression.parse("0 30 1 * * ?").next_fire(parse_rfc3339("2026-03-28T12:00:00Z"), LONDON)
    assert moved == parse_rfc3339("2026-03-29T01:30:00Z")
    assert blackout("* * 1 * * ?").covers(moved)


def test_the_reason_names_the_expression_or_the_range() -> None:
    window = blackout("0 0 3 * * ?", "* * 2 * * ?", ranges=((1_000, 2_000),))
    assert (
        window.reason(parse_rfc3339("2026-01-15T02:30:00Z"))
        == "in the blackout '* * 2 * * ?' (Europe/London)"
    )
    assert window.reason(1_500) == "in the blackout from 1970-01-01T00:00:01.000Z to 1970-01-01T00:00:02.000Z"
    assert window.reason(3_000) is None


def test_a_range_for_ever_is_told_without_failing() -> None:
    reason = blackout(ranges=((0, 2**63 - 1),)).reason(parse_rfc3339("2026-01-15T02:30:00Z"))
    assert reason == "in the blackout from 1970-01-01T00:00:00.000Z to 9223372036854775807 ms since the epoch"


@given(st.integers(_YEAR_ONE, _YEAR_TEN_THOUSAND - 1))
def test_an_instant_survives_being_written_and_read(at: int) -> None:
    assert parse_rfc3339(rfc3339(at)) == at


def test_instants_before_the_epoch_and_before_the_year_1000_are_written_in_full() -> None:
    assert rfc3339(-1) == "1969-12-31T23:59:59.999Z"
    assert rfc3339(_YEAR_ONE) == "0001-01-01T00:00:00.000Z"


@pytest.mark.parametrize("at", [_YEAR_ONE - 1, _YEAR_TEN_THOUSAND, 10**30, -(10**30)])
def test_an_instant_that_no_text_can_name_is_refused(at: int) -> None:
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        rfc3339(at)


def test_an_offset_is_taken_into_account() -> None:
    assert parse_rfc3339("2026-03-29T01:30:00.5+02:00") == parse_rfc3339("2026-03-28T23:30:00.500Z")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("yesterday", "is no RFC 3339 time"),
        ("2026-03-29T01:30:00", "has no offset"),
        ("", "is no RFC 3339 time"),
    ],
)
def test_text_that_names_no_instant_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    "name", ["", "Europe/Lodon", "Europe", "../etc/passwd", "/etc/passwd", "a\0b", "A" * 5000]
)
def test_an_unknown_time_zone_is_refused_with_what_to_use(name: str) -> None:
    with pytest.raises(UnknownTimeZone, match="use a name such as Europe/London or UTC"):
        time_zone(name)


def test_a_known_time_zone_is_found() -> None:
    assert time_zone("Europe/London") is LONDON
