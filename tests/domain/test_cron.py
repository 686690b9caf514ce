"""Quartz cron expressions: what they mean, when they fire, and what is refused."""

import calendar
import json
import os
import pickle
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jobledger.domain import cron
from jobledger.domain.cron import CronExpression, InvalidCron
from jobledger.domain.instants import Instant, parse_rfc3339, rfc3339

UTC = ZoneInfo("UTC")
LONDON = ZoneInfo("Europe/London")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
SAMOA = ZoneInfo("Pacific/Apia")

_FIXTURES = Path(os.environ.get("JOBLEDGER_FIXTURES") or Path(__file__).parents[2] / "../shared/fixtures")
_QUARTZ = _FIXTURES / "quartz-cron.json"


def quartz(part: str) -> list[Any]:
    if not _QUARTZ.is_file():
        absent = pytest.mark.skip(reason=f"no {_QUARTZ}; set JOBLEDGER_FIXTURES")
        return [pytest.param(None, id=part, marks=absent)]
    cases = json.loads(_QUARTZ.read_text())[part]
    return [pytest.param(case, id=case.get("case", case["expression"])) for case in cases]


def at(wall: str, zone: ZoneInfo = UTC) -> Instant:
    return int(datetime.fromisoformat(wall).replace(tzinfo=zone).timestamp()) * 1000


def wall(instant: Instant, zone: ZoneInfo = UTC) -> str:
    return datetime.fromtimestamp(instant // 1000, zone).strftime("%Y-%m-%d %H:%M:%S")


def fires(
    text: str, after: str, count: int, zone: ZoneInfo = UTC, *, working_days: bool = False
) -> list[str]:
    """The walls of the first fires after a wall time."""
    expression = CronExpression.parse(text, working_days=working_days)
    endless = expression.fires_between(at(after, zone), at("2099-12-31 00:00"), zone)
    return [wall(fire, zone).removesuffix(":00") for fire in islice(endless, count)]


def days(text: str, after: str, count: int, *, working_days: bool = False) -> list[str]:
    return [fire[:10] for fire in fires(text, after, count, working_days=working_days)]


@pytest.mark.parametrize("case", quartz("next"))
def test_the_next_fire_is_the_one_that_quartz_computes(case: dict[str, str | None]) -> None:
    expression = CronExpression.parse(str(case["expression"]))
    fire = expression.next_fire(at(str(case["after"])), UTC)
    assert fire == (None if case["next"] is None else at(case["next"]))


@pytest.mark.parametrize("case", quartz("previous"))
def test_the_previous_fire_is_the_last_one_before(case: dict[str, str]) -> None:
    expression = CronExpression.parse(case["expression"])
    assert expression.previous_fire(at(case["before"]), UTC) == at(case["previous"])


@pytest.mark.parametrize("case", quartz("daylight_saving"))
def test_fires_around_a_change_of_the_clock_are_as_specified(case: dict[str, Any]) -> None:
    zone = ZoneInfo(case["zone"])
    expression = CronExpression.parse(case["expression"])
    wanted = [parse_rfc3339(fire) for fire in case["fires"]]
    assert list(expression.fires_between(at(case["after"], zone), wanted[-1], zone)) == wanted
    backwards = [expression.previous_fire(fire, zone) for fire in wanted[1:]]
    assert backwards == wanted[:-1], "looking back differs from looking ahead"


def test_next_and_previous_are_strict_and_a_millisecond_is_enough() -> None:
    noon = CronExpression.parse("0 0 12 * * ?")
    fire, day = at("2026-01-15 12:00"), 24 * 3600 * 1000
    assert noon.next_fire(fire, UTC) == fire + day
    assert noon.next_fire(fire - 1, UTC) == fire
    assert noon.previous_fire(fire, UTC) == fire - day
    assert noon.previous_fire(fire + 1, UTC) == fire


def test_fires_between_leaves_out_the_first_moment_and_takes_the_last() -> None:
    hourly = CronExpression.parse("0 0 * * * ?")
    between = hourly.fires_between(at("2026-01-15 10:00"), at("2026-01-15 12:00"), UTC)
    assert [wall(fire) for fire in between] == ["2026-01-15 11:00:00", "2026-01-15 12:00:00"]
    assert not list(hourly.fires_between(at("2026-01-15 12:00"), at("2026-01-15 10:00"), UTC))


def test_a_moment_matches_by_its_second() -> None:
    noon = CronExpression.parse("0 0 12 * * ?")
    fire = at("2026-01-15 12:00")
    assert noon.matches(fire, UTC)
    assert noon.matches(fire + 999, UTC)
    assert not noon.matches(fire + 1000, UTC)
    assert not noon.matches(fire - 1, UTC)


def test_the_text_stays_as_it_was_written_and_makes_expressions_equal() -> None:
    written = "0  0 6 ? jan,Jun mon#1"
    assert str(CronExpression.parse(written)) == written
    assert CronExpression.parse(written) == CronExpression.parse(written)
    plain, custom = (CronExpression.parse("0 0 2 3W * ?", working_days=flag) for flag in (False, True))
    assert plain != custom
    assert len({plain, custom, CronExpression.parse("0 0 2 3W * ?")}) == 2
    assert pickle.loads(pickle.dumps(custom)) == custom  # noqa: S301 -- it was pickled in this line


# What the fields mean


def test_names_are_read_in_any_case() -> None:
    assert days("0 0 0 ? Feb mOn#1", "2026-01-01", 1) == ["2026-02-02"]


def test_a_range_may_go_around_the_end_of_its_field() -> None:
    assert days("0 0 0 ? * FRI-MON", "2026-01-15 10:00", 5) == [
        "2026-01-16",
        "2026-01-17",
        "2026-01-18",
        "2026-01-19",
        "2026-01-23",
    ]
    assert days("0 0 0 1 NOV-FEB ?", "2026-01-15", 3) == ["2026-02-01", "2026-11-01", "2026-12-01"]
    assert fires("50-10/20 0 0 1 1 ?", "2026-01-15", 2) == ["2027-01-01 00:00:10", "2027-01-01 00:00:50"]
    assert fires("0 0 22-4/3 * * ?", "2026-01-15 12:00", 3) == [
        "2026-01-15 22:00",
        "2026-01-16 01:00",
        "2026-01-16 04:00",
    ]


def test_a_step_counts_from_its_beginning_to_the_end_of_the_field_or_range() -> None:
    assert fires("0 /20 0 1 1 ?", "2026-06-01", 3)[-1] == "2027-01-01 00:40"
    assert fires("0 7/25 0 1 1 ?", "2026-06-01", 2) == ["2027-01-01 00:07", "2027-01-01 00:32"]
    assert fires("0 10-30/10,59 0 1 1 ?", "2026-06-01", 4)[2:] == ["2027-01-01 00:30", "2027-01-01 00:59"]
    assert days("0 0 0 ? 1 MON-FRI/2 2027", "2026-06-01", 3) == ["2027-01-01", "2027-01-04", "2027-01-06"]
    assert days("0 0 0 1 1 ? 2026/10", "2026-06-01", 2) == ["2036-01-01", "2046-01-01"]


def test_days_are_counted_back_from_the_last_of_the_month() -> None:
    assert days("0 0 0 L-3 * ?", "2027-01-30", 2) == ["2027-02-25", "2027-03-28"]
    assert days("0 0 0 L-30 * ?", "2026-01-15", 2) == ["2026-03-01", "2026-05-01"]
    assert days("0 0 0 L-28 2 ?", "2026-01-15", 2) == ["2028-02-01", "2032-02-01"]


def test_the_last_working_day_is_never_a_saturday_or_sunday() -> None:
    assert days("0 0 0 LW * ?", "2026-01-01", 5) == [
        "2026-01-30",
        "2026-02-27",
        "2026-03-31",
        "2026-04-30",
        "2026-05-29",
    ]


def test_the_nearest_working_day_stays_in_its_month() -> None:
    assert days("0 0 0 1W 8 ? 2026", "2026-01-01", 1) == ["2026-08-03"], "the first is a Saturday"
    assert days("0 0 0 31W 5 ? 2026", "2026-01-01", 1) == ["2026-05-29"], "the last is a Sunday"
    assert days("0 0 0 31W * ?", "2026-01-31", 1) == ["2026-03-31"], "February has no 31st"
    assert days("0 0 0 L-1W 2 ? 2026", "2026-01-01", 1) == ["2026-02-27"]


def test_special_days_may_stand_in_one_list_with_others() -> None:
    assert days("0 0 0 1,15W,L-1,L * ?", "2026-08-02", 4) == [
        "2026-08-14",
        "2026-08-30",
        "2026-08-31",
        "2026-09-01",
    ]
    assert days("0 0 0 ? * 2#1,6L", "2026-01-06", 2) == ["2026-01-30", "2026-02-02"]


def test_the_fifth_weekday_is_left_out_in_months_that_have_four() -> None:
    assert days("0 0 0 ? * FRI#5", "2026-01-01", 3) == ["2026-01-30", "2026-05-29", "2026-07-31"]


def test_the_last_weekday_may_be_named() -> None:
    assert days("0 0 0 ? * fril", "2026-01-31", 1) == days("0 0 0 ? * 6L", "2026-01-31", 1) == ["2026-02-27"]


@pytest.mark.parametrize(
    ("text", "after", "start"),
    [
        ("0 0 2 3W * ? *", "2025-02-01 00:00", "2025-02-05 02:00"),
        ("0 0 2 3W * ? *", "2025-02-15 00:00", "2025-03-05 02:00"),
        ("0 30 16 7W * ? *", "2025-02-15 00:00", "2025-03-11 16:30"),
        ("0 0 2 31W * ? *", "2025-02-01 00:00", "2025-02-28 02:00"),
        ("0 0 2 1W * ? *", "2026-08-01 00:00", "2026-08-03 02:00"),
        ("0 0 2 LW * ? *", "2026-05-02 00:00", "2026-05-29 02:00"),
    ],
)
def test_w_counts_working_days_when_the_plan_says_so(text: str, after: str, start: str) -> None:
    assert fires(text, after, 1, working_days=True) == [start]


# Daylight saving


def test_a_skipped_hour_is_made_up_for_as_a_whole() -> None:
    assert fires("0 0/20 2 * * ?", "2026-03-08 00:00", 4, NEW_YORK) == [
        "2026-03-08 03:00",
        "2026-03-08 03:20",
        "2026-03-08 03:40",
        "2026-03-09 02:00",
    ]


def test_a_time_moved_onto_another_fire_fires_once() -> None:
    assert fires("0 30 2,3 * * ?", "2026-03-08 00:00", 2, NEW_YORK) == [
        "2026-03-08 03:30",
        "2026-03-09 02:30",
    ]


def test_moved_times_and_others_come_in_the_order_of_time() -> None:
    text = "0 10,50 2-3 * * ?"
    assert fires(text, "2026-03-08 00:00", 3, NEW_YORK) == [
        "2026-03-08 03:10",
        "2026-03-08 03:50",
        "2026-03-09 02:10",
    ]
    # Moved by half an hour only, 02:10 comes before 02:35 and 02:20 behind it.
    assert fires("0 10,20,35 2 * * ?", "2026-10-04 00:00", 4, LORD_HOWE) == [
        "2026-10-04 02:35",
        "2026-10-04 02:40",
        "2026-10-04 02:50",
        "2026-10-05 02:10",
    ]


def test_every_other_hour_loses_no_fire_to_a_skipped_hour() -> None:
    assert fires("0 0 0/2 * * ?", "2026-03-07 23:00", 3, NEW_YORK) == [
        "2026-03-08 00:00",
        "2026-03-08 03:00",
        "2026-03-08 04:00",
    ]


def test_what_runs_every_hour_gets_nothing_beside_its_minutes_from_a_short_gap() -> None:
    assert fires("0 0/20 * * * ?", "2026-10-04 01:30", 3, LORD_HOWE) == [
        "2026-10-04 01:40",
        "2026-10-04 02:40",
        "2026-10-04 03:00",
    ]


def test_a_repeated_hour_repeats_stepped_minutes_but_not_fixed_times() -> None:
    overlap = "2026-11-01 00:30"
    stepped = fires("0 0/30 1 * * ?", overlap, 5, NEW_YORK)
    assert stepped == ["2026-11-01 01:00", "2026-11-01 01:30"] * 2 + ["2026-11-02 01:00"]
    assert fires("0 0,30 1 * * ?", overlap, 3, NEW_YORK) == [
        "2026-11-01 01:00",
        "2026-11-01 01:30",
        "2026-11-02 01:00",
    ]
    assert fires("* 59 1 ? 11 1#1", "2026-11-01 01:59:58", 2, NEW_YORK)[0] == "2026-11-01 01:59:59"
    assert fires("* 59 1 ? 11 1#1", "2026-11-01 01:59:58", 2, NEW_YORK)[1] == "2027-11-07 01:59"


def test_a_step_that_names_a_single_time_fires_once_in_a_repeated_hour() -> None:
    assert fires("0 30/40 1/23 * * ?", "2026-11-01 00:30", 2, NEW_YORK) == [
        "2026-11-01 01:30",
        "2026-11-02 01:30",
    ]


def test_asking_inside_the_repeated_hour_finds_nothing_of_a_fixed_time_that_fired_already() -> None:
    half_past = CronExpression.parse("0 30 1 * * ?")
    first, second = parse_rfc3339("2026-10-25T00:30:00Z"), parse_rfc3339("2026-10-25T01:30:00Z")
    assert half_past.matches(first, LONDON)
    assert not half_past.matches(second, LONDON)
    assert half_past.next_fire(parse_rfc3339("2026-10-25T01:10:00Z"), LONDON) == first + 25 * 3600 * 1000
    assert half_past.previous_fire(second, LONDON) == first


def test_a_day_skipped_at_the_date_line_is_moved_by_the_day() -> None:
    assert fires("0 0 12 30 12 ? 2011", "2011-12-01 00:00", 2, SAMOA) == ["2011-12-31 12:00"]
    assert fires("0 0 12 * * ?", "2011-12-29 11:00", 3, SAMOA) == [
        "2011-12-29 12:00",
        "2011-12-31 12:00",
        "2012-01-01 12:00",
    ]


def test_asking_long_after_a_day_was_skipped_still_finds_what_was_moved_out_of_it() -> None:
    evening = CronExpression.parse("0 0 20 30 12 ? 2011")
    moved = parse_rfc3339("2011-12-31T06:00:00Z")
    assert evening.next_fire(parse_rfc3339("2011-12-31T03:00:00Z"), SAMOA) == moved
    assert evening.matches(moved, SAMOA)
    assert evening.previous_fire(moved + 1, SAMOA) == moved


def test_midnight_that_is_skipped_fires_at_one() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    assert fires("0 0 0 * * ?", "2018-11-03 12:00", 2, zone) == ["2018-11-04 01:00", "2018-11-05 00:00"]


# Where there is nothing to find


@pytest.mark.parametrize(
    "text",
    [
        "0 0 0 30 2 ?",
        "0 0 0 31 4,6,9,11 ?",
        "0 0 0 L-30 2 ?",
        "0 0 0 31W FEB ?",
        "0 0 0 29 2 ? 2026,2027,2029",
        "0 0 0 ? 2 1#5 2026",
    ],
)
def test_a_date_that_never_comes_is_given_up_at_once(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expression = CronExpression.parse(text)
    months = 0

    def counted(year: int, month: int) -> tuple[int, int]:
        nonlocal months
        months += 1
        return calendar.monthrange(year, month)

    monkeypatch.setattr(cron, "monthrange", counted)
    assert expression.next_fire(at("2026-01-15"), LONDON) is None
    assert expression.previous_fire(at("2026-01-15"), LONDON) is None
    assert months <= 8, "it went through the months of many years"


def test_nothing_fires_outside_1970_to_2099() -> None:
    yearly = CronExpression.parse("0 0 0 1 1 ?")
    for zone in (UTC, NEW_YORK, ZoneInfo("Pacific/Kiritimati")):
        first, last = at("1970-01-01", zone), at("2099-01-01", zone)
        assert yearly.next_fire(-(10**18), zone) == yearly.next_fire(first - 1, zone) == first
        assert yearly.previous_fire(10**18, zone) == yearly.previous_fire(last + 1, zone) == last
        assert yearly.next_fire(last, zone) is None
        assert yearly.next_fire(10**18, zone) is None
        assert yearly.previous_fire(first, zone) is None
        assert yearly.previous_fire(-(10**18), zone) is None
        assert not yearly.matches(10**18, zone)


# What is refused


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has 0 fields"),
        ("0 0 12 * *", "has 5 fields"),
        ("0 0 12 * * ? 2026 x", "has 8 fields"),
        ("60 0 12 * * ?", "seconds cannot be '60': allowed are 0-59"),
        ("0 60 12 * * ?", "minutes cannot be '60'"),
        ("0 0 24 * * ?", "hours cannot be '24': allowed are 0-23"),
        ("0 0 0 0 * ?", "day of month cannot be '0': allowed are 1-31"),
        ("0 0 0 32 * ?", "day of month cannot be '32'"),
        ("0 0 0 1 13 ?", "month cannot be '13': allowed are 1-12 or JAN-DEC"),
        ("0 0 0 1 0 ?", "month cannot be '0'"),
        ("0 0 0 1 FOO ?", "month cannot be 'FOO'"),
        ("0 0 0 1 MON ?", "month cannot be 'MON'"),
        ("0 0 0 ? * 0", "day of week cannot be '0': allowed are 1-7 or SUN-SAT"),
        ("0 0 0 ? * 8", "day of week cannot be '8'"),
        ("0 0 0 ? * 2#6", "day of week cannot be '2#6'"),
        ("0 0 0 ? * 2#0", "day of week cannot be '2#0'"),
        ("0 0 0 ? * 9#1", "day of week cannot be '9#1'"),
        ("0 0 0 ? * 9L", "day of week cannot be '9L'"),
        ("0 0 0 ? * 3W", "day of week cannot be '3W'"),
        ("0 0 0 ? * L-3", "day of week cannot be 'L-3'"),
        ("0 0 0 ? * MON-TUE#1", "day of week cannot be 'MON-TUE#1'"),
        ("0 0 0 L-31 * ?", "day of month cannot be 'L-31'"),
        ("0 0 0 0W * ?", "day of month cannot be '0W'"),
        ("0 0 0 32W * ?", "day of month cannot be '32W'"),
        ("0 0 0 1-5W * ?", "day of month cannot be '1-5W'"),
        ("0 0 0 6L * ?", "day of month cannot be '6L'"),
        ("0 0 0 1 L ?", "month cannot be 'L'"),
        ("? 0 0 1 * ?", "seconds cannot be '?'"),
        ("0 0 0 1 ? ?", "month cannot be '?'"),
        ("0 0 0 * * *", "exactly one of the two must be '?'"),
        ("0 0 0 ? * ?", "exactly one of the two must be '?'"),
        ("0 0 0 1 * MON", "exactly one of the two must be '?'"),
        ("0 0 0 1,? * ?", "day of month cannot be '?'"),
        ("0 */0 0 * * ?", "minutes cannot be '*/0'"),
        ("0 */60 0 * * ?", "minutes cannot be '*/60'"),
        ("0 0 */24 * * ?", "hours cannot be '*/24'"),
        ("0 5/ 0 * * ?", "minutes cannot be '5/'"),
        ("0 / 0 * * ?", "minutes cannot be '/'"),
        ("0 5- 0 * * ?", "minutes cannot be '5-'"),
        ("0 -5 0 * * ?", "minutes cannot be '-5'"),
        ("0 *-5 0 * * ?", "minutes cannot be '*-5'"),
        ("0 1,,2 0 * * ?", "minutes cannot be ''"),
        ("0 , 0 * * ?", "minutes cannot be ''"),
        ("0 1.5 0 * * ?", "minutes cannot be '1.5'"),
        ("0 ٣ 0 * * ?", "minutes cannot be '٣'"),
        ("0 99999999999999999999 0 * * ?", "minutes cannot be '9999"),
        ("0 0 0 1 1 ? 1969", "year cannot be '1969': allowed are 1970-2099"),
        ("0 0 0 1 1 ? 2100", "year cannot be '2100'"),
        ("0 0 0 1 1 ? 2030-2026", "year cannot be '2030-2026'"),
        ("@daily", "has 1 fields"),
    ],
)
def test_a_wrong_expression_is_refused_with_its_field_and_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(InvalidCron) as refused:
        CronExpression.parse(text)
    assert told in str(refused.value)


def test_a_refusal_stays_readable_however_long_the_text() -> None:
    for text in ("x" * 1_000_000, f"0 {'1' * 1_000_000} 0 * * ?", f"0 0 0 {'?,' * 500_000} * *"):
        with pytest.raises(InvalidCron) as refused:
            CronExpression.parse(text)
        assert len(str(refused.value)) < 500


def test_the_time_is_read_in_the_zone_that_is_given() -> None:
    noon = CronExpression.parse("0 0 12 * * ?")
    after = parse_rfc3339("2026-07-01T00:00:00Z")
    told = [rfc3339(noon.next_fire(after, zone) or 0) for zone in (UTC, LONDON, NEW_YORK)]
    assert told == ["2026-07-01T12:00:00.000Z", "2026-07-01T11:00:00.000Z", "2026-07-01T16:00:00.000Z"]
