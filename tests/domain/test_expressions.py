"""Expressions in the values of parameters: what they come to, what is refused, and what is left alone."""

import calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobledger.domain.dates import (
    DAY_UNITS,
    TIME_UNITS,
    WRITTEN_OF_DAYS,
    WRITTEN_OF_MOMENTS,
    Anchor,
    DateExpression,
    Dates,
    Shift,
    calculate,
)
from jobledger.domain.expansion import LONGEST_VALUE, Expansion, Value
from jobledger.domain.expressions import ExpressionInvalid, Part, Reference, Unknown, parse, write
from jobledger.domain.instants import parse_rfc3339

LONDON = ZoneInfo("Europe/London")
DATES = Dates(date(2026, 3, 27), parse_rfc3339("2026-03-27T18:00:00Z"), LONDON)
"""A Friday; on the Sunday after it London's clocks go forward."""


def expand(value: str, dates: Dates | None = DATES, **others: str) -> Value:
    """What a value comes to, beside others."""
    found = Expansion({"IT": value, **others}.get, dates).value("IT")
    assert found is not None
    return found


# --- dates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "comes_to"),
    [
        ("${business_date}", "2026-03-27"),
        ("${business_date:%Y%m%d}", "20260327"),
        ("${business_date+1d}", "2026-03-28"),
        ("${ business_date - 1w :%F}", "2026-03-20"),
        ("${business_date + 1mo}", "2026-04-27"),
        ("${business_date - 1y:%y}", "25"),
        ("${business_date + 1bd}", "2026-03-30"),
        ("${business_date - 5bd}", "2026-03-20"),
        ("${business_date end_of_month - 0bd:%A %e %B}", "Tuesday 31 March"),
        ("${business_date start_of_quarter:%d %b, quarter %q}", "01 Jan, quarter 1"),
        ("${business_date - 1mo start_of_month:%F}", "2026-02-01"),
        ("${business_date start_of_week:%a}/${business_date end_of_week:%a}", "Mon/Sun"),
        ("${business_date start_of_year:%j} ${business_date end_of_year:%j}", "001 365"),
        ("${business_date end_of_quarter:%G-W%V-%u}", "2026-W14-2"),
        ("${start}", "2026-03-27T18:00:00+00:00"),
        ("${start + 2d}", "2026-03-29T18:00:00+01:00"),
        ("${start + 48h}", "2026-03-29T19:00:00+01:00"),
        ("${start - 90min:%H:%M}", "16:30"),
        ("${start + 1s:%T %z %Z}", "18:00:01 +0000 GMT"),
        ("${start:%s}", "1774634400"),
        ("at 100%%: ${business_date:%d%%}", "at 100%%: 27%"),
    ],
)
def test_dates_are_calculated_from_left_to_right(written: str, comes_to: str) -> None:
    assert expand(written) == Value(comes_to)


@pytest.mark.parametrize(
    ("day", "expression", "comes_to"),
    [
        (date(2026, 1, 31), "${business_date + 1mo}", "2026-02-28"),
        (date(2024, 2, 29), "${business_date + 1y}", "2025-02-28"),
        (date(2026, 1, 1), "${business_date - 1mo}", "2025-12-01"),
        (date(2026, 3, 28), "${business_date + 1bd}", "2026-03-30"),
        (date(2026, 3, 28), "${business_date - 1bd}", "2026-03-27"),
        (date(2026, 3, 29), "${business_date + 0bd}", "2026-03-30"),
        (date(2026, 3, 29), "${business_date - 0bd}", "2026-03-27"),
        (date(2026, 3, 27), "${business_date - 0bd}", "2026-03-27"),
    ],
)
def test_what_a_calendar_lacks_is_made_up_for_as_banks_do(day: date, expression: str, comes_to: str) -> None:
    assert expand(expression, Dates(day, 0, LONDON)).text == comes_to


def test_a_time_that_the_clock_skips_is_moved_forward_and_one_shown_twice_is_the_first() -> None:
    before = Dates(date(2026, 3, 28), parse_rfc3339("2026-03-28T01:30:00Z"), LONDON)
    assert expand("${start + 1d}", before).text == "2026-03-29T02:30:00+01:00"
    autumn = Dates(date(2026, 10, 24), parse_rfc3339("2026-10-24T00:30:00Z"), LONDON)
    assert expand("${start + 1d}", autumn).text == "2026-10-25T01:30:00+01:00"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("${business_date + 1h}", "'h' is no unit of business_date"),
        ("${business_date + 1 fortnight}", "'fortnight' is no unit"),
        ("${business_date yesterday}", "'yesterday' is no step"),
        ("${business_date:YYYYMMDD}", "has no directive"),
        ("${business_date:%H}", "%H is no directive of business_date"),
        ("${business_date:%Q}", "%Q is no directive"),
        ("${business_date:%}", "% is no directive"),
        ("${start:%Y%m%d%}", "% is no directive"),
        ("${start -1d - }", "'-' is no step"),
        ("${start 1d}", "'1d' is no step"),
    ],
)
def test_dates_that_cannot_be_are_refused_with_what_is_allowed(written: str, told: str) -> None:
    with pytest.raises(ExpressionInvalid, match=told.replace("(", "\\(")):
        parse(f"before {written} after")
    left = expand(f"before {written} after")
    assert left.text == f"before {written} after"
    assert not left.complete
    assert left.fault is not None
    assert told in left.fault


@pytest.mark.parametrize(
    "value",
    [
        "${HOME:-/root}",
        "${x%.*}",
        "${#x}",
        "${1}",
        "${ NAME }",
        "${}",
        "${!x}",
        "a ${ b",
        "${a${b}",
        "{}",
        "$x $1",
    ],
)
def test_what_a_shell_would_read_stays_as_it_is(value: str) -> None:
    assert expand(value).text == value


@pytest.mark.parametrize(
    ("written", "comes_to"),
    [
        ("$${business_date}", "${business_date}"),
        ("$${IT} $${", "${IT} ${"),
        ("${$}", "$"),
        ("${$}${OTHER}", "$5"),
        ("US$${OTHER}", "US${OTHER}"),
    ],
)
def test_an_expression_can_be_written_that_is_none(written: str, comes_to: str) -> None:
    assert expand(written, OTHER="5") == Value(comes_to)


def test_years_that_nobody_can_write_leave_the_value_as_it_is() -> None:
    for each in ("${business_date + 9999y}", "${start - 999999w:%F}", "${business_date - 99999mo}"):
        left = expand(each)
        assert left.text == each
        assert "outside the years 1 to 9999" in (left.fault or "")
    assert expand("${start}", Dates(date.max, 10**18, LONDON)).fault is not None


def test_without_a_time_zone_dates_stay_and_the_rest_is_as_ever() -> None:
    assert expand("${business_date}", None).text == "${business_date}"
    assert expand("${OTHER}", None, OTHER="x") == Value("x")


# --- parameters that name each other ------------------------------------------------------------------------


def test_a_value_may_name_other_parameters_to_any_depth() -> None:
    long = {f"P{n}": f"{n % 10}${{P{n + 1}}}" for n in range(5_000)}
    assert expand("${P0}", None, **long, P5000="end").text == "0123456789" * 500 + "end"


def test_a_name_that_nobody_knows_stays_and_is_told() -> None:
    assert expand("${NOBODY}-${OTHER}", OTHER="x") == Value("${NOBODY}-x", complete=False)
    assert expand("${OTHER}", OTHER="${NOBODY}") == Value("${NOBODY}", complete=False)


def test_what_leads_back_to_itself_stays_as_it_is_from_wherever_one_begins() -> None:
    values = {"A": "a${B}", "B": "b${C}", "C": "c${B}", "D": "d${A}", "E": "e${F}", "F": "f"}
    for order in (values, reversed(values)):
        expansion = Expansion(values.get, DATES)
        found = {name: expansion.value(name) for name in order}
        assert {name: value.text for name, value in found.items() if value} == values | {"E": "ef"}
        assert "B names C names B" in (found["D"].fault or "") or "C names B names C" in (
            found["D"].fault or ""
        )


def test_values_that_multiply_are_not_allowed_to_grow_without_bound() -> None:
    doubling = {f"P{n}": f"${{P{n + 1}}}" * 10 for n in range(40)}
    value = expand("${P0}", None, **doubling, P40="x" * 10)
    assert value.text == "${P0}"
    assert str(LONGEST_VALUE) in (value.fault or "")


def test_what_a_value_comes_to_is_not_read_again() -> None:
    assert expand("$${OTHER}${OTHER}", OTHER="$${IT}").text == "${OTHER}${IT}"


# --- laws ---------------------------------------------------------------------------------------------------

letters = "abcXYZ_09.- :%/$"
texts = st.text(st.characters(codec="utf-8") | st.sampled_from("${}"), min_size=1, max_size=12)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,6}", fullmatch=True).filter(
    lambda name: not isinstance(parse(f"${{{name}}}")[0], DateExpression)
)
shifts = st.builds(Shift, st.sampled_from((1, -1)), st.integers(0, 999), st.sampled_from(DAY_UNITS))
time_shifts = st.builds(
    Shift, st.sampled_from((1, -1)), st.integers(0, 999), st.sampled_from(tuple(TIME_UNITS))
)
anchors = st.builds(
    lambda edge, period: Anchor(f"{edge}_of_{period}"),
    st.sampled_from(("start", "end")),
    st.sampled_from(("week", "month", "quarter", "year")),
)


def formats(letters_known: tuple[str, ...]) -> st.SearchStrategy[str]:
    directive = st.sampled_from(letters_known).map(lambda letter: f"%{letter}")
    plain = st.text(st.characters(codec="utf-8", exclude_characters="%{}"), max_size=3)
    return st.lists(directive | plain, max_size=5).map("".join).filter(lambda text: "%" in text)


date_expressions = st.one_of(
    st.builds(
        DateExpression,
        st.just("business_date"),
        st.lists(shifts | anchors, max_size=4).map(tuple),
        st.none() | formats(tuple(WRITTEN_OF_DAYS)),
    ),
    st.builds(
        DateExpression,
        st.just("start"),
        st.lists(shifts | time_shifts | anchors, max_size=4).map(tuple),
        st.none() | formats(tuple(WRITTEN_OF_DAYS | WRITTEN_OF_MOMENTS)),
    ),
)
foreign = st.sampled_from(("${HOME:-x}", "${}", "${#a}", "${a b}")).map(Unknown)


@st.composite
def parts(draw: st.DrawFn) -> tuple[Part, ...]:
    """Parts as reading gives them: no text beside another."""
    drawn = draw(st.lists(texts | date_expressions | names.map(Reference) | foreign, max_size=6))
    return tuple(
        each
        for index, each in enumerate(drawn)
        if not (index and isinstance(each, str) and isinstance(drawn[index - 1], str))
    )


@given(parts())
def test_what_is_written_reads_as_what_it_was(given_parts: tuple[Part, ...]) -> None:
    assert parse(write(given_parts)) == given_parts


@given(st.text(st.sampled_from("${}abusine_dtr:+-1%Ymo \n"), max_size=40))
def test_any_text_is_read_or_refused_and_writing_it_again_means_the_same(text: str) -> None:
    try:
        read = parse(text)
    except ExpressionInvalid:
        return
    assert parse(write(read)) == read


dates = st.dates(date(1900, 1, 1), date(2200, 12, 31))


@given(dates, shifts)
def test_steps_agree_with_walking_day_by_day(day: date, shift: Shift) -> None:
    found = date.fromisoformat(calculate(DateExpression("business_date", (shift,)), Dates(day, 0, LONDON)))
    assert found == _walked(day, shift)


def _walked(day: date, shift: Shift) -> date:
    one = timedelta(days=shift.sign)
    match shift.unit:
        case "d" | "w":
            for _ in range(shift.count * (7 if shift.unit == "w" else 1)):
                day += one
            return day
        case "mo" | "y":
            year, month = day.year, day.month
            for _ in range(shift.count * (12 if shift.unit == "y" else 1)):
                month += shift.sign
                if month in (0, 13):
                    year, month = year + shift.sign, 12 if month == 0 else 1
            return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
        case _:
            left = shift.count
            while left or day.weekday() > 4:
                day += one
                left -= left > 0 and day.weekday() < 5
            return day


@given(dates, anchors)
def test_anchors_agree_with_looking_at_every_day(day: date, anchor: Anchor) -> None:
    found = date.fromisoformat(calculate(DateExpression("business_date", (anchor,)), Dates(day, 0, LONDON)))
    period = anchor.word.partition("_of_")[2]
    around = [day + timedelta(days=n) for n in range(-366, 367)]
    inside = [each for each in around if _period_of(each, period) == _period_of(day, period)]
    assert found == (inside[0] if anchor.word.startswith("start") else inside[-1])


def _period_of(day: date, period: str) -> tuple[int, int]:
    week = day.isocalendar()
    return {
        "week": (week.year, week.week),
        "month": (day.year, day.month),
        "quarter": (day.year, (day.month + 2) // 3),
        "year": (day.year, 0),
    }[period]


ENGLISH = "YymdjFuGVAaBbHMSTzZs"
"""Directives that strftime knows too, under the tests' locale."""


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(("UTC", "Asia/Kathmandu", "America/St_Johns")))
def test_directives_are_those_of_strftime(start: int, zone: str) -> None:
    at = datetime.fromtimestamp(start // 1000, UTC).astimezone(ZoneInfo(zone))
    text = "|".join(f"%{letter}" for letter in ENGLISH)
    ours = calculate(DateExpression("start", (), text), Dates(at.date(), start, ZoneInfo(zone)))
    expected = [str(start // 1000) if letter == "s" else at.strftime(f"%{letter}") for letter in ENGLISH]
    assert ours == "|".join(expected)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("ABCDE"),
        st.lists(
            st.sampled_from(["${A}", "${B}", "${C}", "${D}", "${E}", "x", "${business_date}"]), max_size=3
        ).map("".join),
        max_size=5,
    )
)
def test_values_agree_with_the_plainest_way_to_say_them(values: dict[str, str]) -> None:
    expansion = Expansion(values.get, DATES)
    for name, written in values.items():
        found = expansion.value(name)
        assert found is not None
        plain = _plainly(name, values, ())
        assert found.text == (written if plain is None else plain)
        assert (found.fault is not None) == (plain is None)


def _plainly(name: str, values: dict[str, str], above: tuple[str, ...]) -> str | None:
    """The value, or ``None`` when a circle is reached from it."""
    if name in above:
        return None
    text = values[name].replace("${business_date}", "2026-03-27")
    for other in "ABCDE":
        if f"${{{other}}}" in text and other in values:
            inner = _plainly(other, values, (*above, name))
            if inner is None:
                return None
            text = text.replace(f"${{{other}}}", inner.replace("${", "\0"))
    return text.replace("\0", "${")
