"""Laws of cron expressions, and two other ways to compute the same: croniter, and a walk by the minute."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from croniter import CroniterBadDateError, croniter
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jobledger.domain.cron import CronExpression, InvalidCron
from jobledger.domain.instants import Instant

_UTC = ZoneInfo("UTC")
_ODD_ZONES = (
    "UTC",
    "Europe/London",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Nuuk",
    "Africa/Casablanca",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "Africa/Monrovia",
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

instants = st.integers(0, 4_000_000_000_000)
"""From 1970 to 2096."""
unhurried = settings(deadline=None)
"""A busy machine is no broken law."""
zones = st.sampled_from(_ODD_ZONES).map(ZoneInfo)


def lists(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(part, min_size=1, max_size=3).map(",".join)


def plain(lowest: int, highest: int, *, wraps: bool = False) -> st.SearchStrategy[str]:
    """``*``, or a list of numbers, ranges and steps."""
    number = st.integers(lowest, highest)
    ranges = st.tuples(number, number).filter(lambda ends: wraps or ends[0] < ends[1])
    part = st.one_of(
        number.map(str),
        ranges.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        ranges.filter(lambda ends: ends[0] < ends[1]).flatmap(
            lambda ends: st.integers(1, highest).map(lambda step: f"{ends[0]}-{ends[1]}/{step}")
        ),
        st.tuples(number, st.integers(1, highest)).map(lambda ends: f"{ends[0]}/{ends[1]}"),
        st.integers(1, highest).map(lambda step: f"*/{step}"),
    )
    return st.just("*") | lists(part)


weekday_numbers = plain(1, 7, wraps=True)
names_of_weekdays = lists(st.sampled_from(_WEEKDAYS))
special_weekdays = st.one_of(
    st.just("L"),
    st.integers(1, 7).map(lambda day: f"{day}L"),
    st.tuples(st.sampled_from(_WEEKDAYS), st.integers(1, 5)).map(lambda nth: f"{nth[0]}#{nth[1]}"),
)
special_days = st.one_of(
    st.sampled_from(("L", "LW")),
    st.integers(0, 30).map(lambda before: f"L-{before}"),
    st.integers(0, 30).map(lambda before: f"L-{before}W"),
    st.integers(1, 31).map(lambda day: f"{day}W"),
)
months = plain(1, 12, wraps=True) | lists(st.sampled_from(_MONTHS))
years = st.sampled_from(("", " *", " 2000-2080", " 1970/3", " 2026,2028"))


@st.composite
def expressions(draw: st.DrawFn) -> CronExpression:
    times = f"{draw(plain(0, 59))} {draw(plain(0, 59, wraps=True))} {draw(plain(0, 23, wraps=True))}"
    if draw(st.booleans()):
        of_month, of_week = draw(plain(1, 31, wraps=True) | lists(special_days)), "?"
    else:
        of_month, of_week = "?", draw(weekday_numbers | names_of_weekdays | lists(special_weekdays))
    text = f"{times} {of_month} {draw(months)} {of_week}{draw(years)}"
    return CronExpression.parse(text, working_days=draw(st.booleans()))


# Laws


@unhurried
@given(expressions(), instants, zones)
def test_a_next_fire_matches_and_nothing_lies_between(
    expression: CronExpression, at: Instant, zone: ZoneInfo
) -> None:
    fire = expression.next_fire(at, zone)
    assume(fire is not None)
    assert fire is not None
    assert fire > at
    assert fire % 1000 == 0
    assert expression.matches(fire, zone)
    for within in (at, (at + fire) // 2, fire - 1):
        assert expression.next_fire(within, zone) == fire


@unhurried
@given(expressions(), instants, zones)
def test_looking_back_from_a_fire_finds_the_one_from_which_it_is_next(
    expression: CronExpression, at: Instant, zone: ZoneInfo
) -> None:
    first = expression.next_fire(at, zone)
    assume(first is not None)
    assert first is not None
    assert expression.previous_fire(first + 1, zone) == first
    before = expression.previous_fire(first, zone)
    assert before is None or (before <= at and expression.next_fire(before, zone) == first)
    second = expression.next_fire(first, zone)
    if second is None:
        assert expression.previous_fire(10**15, zone) == first
    else:
        assert expression.previous_fire(second, zone) == first


@unhurried
@given(expressions(), instants, instants, zones)
def test_a_later_question_never_has_an_earlier_answer(
    expression: CronExpression, one: Instant, other: Instant, zone: ZoneInfo
) -> None:
    earlier, later = sorted((one, other))
    last_first, last_second = (expression.previous_fire(at, zone) for at in (earlier, later))
    assert last_first is None or (last_second is not None and last_first <= last_second)
    next_first, next_second = (expression.next_fire(at, zone) for at in (earlier, later))
    assert next_second is None or (next_first is not None and next_first <= next_second)


@unhurried
@given(expressions(), instants, zones)
def test_the_fires_between_two_instants_are_those_found_from_the_other_end(
    expression: CronExpression, after: Instant, zone: ZoneInfo
) -> None:
    until = after + 40 * 60 * 1000
    forward = list(expression.fires_between(after, until, zone))
    backward: list[Instant] = []
    fire = expression.previous_fire(until + 1, zone)
    while fire is not None and fire > after:
        backward.append(fire)
        fire = expression.previous_fire(fire, zone)
    assert forward == backward[::-1]


@unhurried
@given(st.text(max_size=60) | st.text("0123456789*?/,-LW# JANMOFRI", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidCron):
        assert str(CronExpression.parse(text)) == text


# Another implementation


@st.composite
def shared_with_croniter(draw: st.DrawFn) -> tuple[str, str]:
    """One meaning in two spellings: ours, and that of croniter, without ``?`` and with Sunday as 0."""
    times = f"{draw(plain(0, 59))} {draw(plain(0, 59))} {draw(plain(0, 23))}"
    month = draw(plain(1, 12))
    kind = draw(st.sampled_from(("day", "last", "working", "weekday", "last weekday", "nth")))
    if kind == "day":
        day = draw(plain(1, 31))
        return f"{times} {day} {month} ?", f"{times} {day} {month} *"
    if kind == "last":
        return f"{times} L {month} ?", f"{times} L {month} *"
    if kind == "working":
        # From the 29th on they part: a month without that day has no fire here, its last day there.
        day_number = draw(st.integers(1, 28))
        return f"{times} {day_number}W {month} ?", f"{times} {day_number}W {month} *"
    if kind == "weekday":
        names = draw(names_of_weekdays)
        return f"{times} ? {month} {names}", f"{times} * {month} {names}"
    number = draw(st.integers(1, 7))
    if kind == "last weekday":
        return f"{times} ? {month} {number}L", f"{times} * {month} L{number - 1}"
    nth = draw(st.integers(1, 5))
    return f"{times} ? {month} {number}#{nth}", f"{times} * {month} {number - 1}#{nth}"


@unhurried
@given(shared_with_croniter(), st.integers(0, 3_500_000_000))
def test_croniter_finds_the_same_fires_where_both_speak(texts: tuple[str, str], second: int) -> None:
    ours, theirs = CronExpression.parse(texts[0]), texts[1]
    start = datetime.fromtimestamp(second, UTC)
    try:
        following = croniter(theirs, start, second_at_beginning=True).get_next(datetime)
        preceding = croniter(theirs, start, second_at_beginning=True).get_prev(datetime)
    except CroniterBadDateError:
        assume(False)  # it gives up after fifty years
    assert ours.next_fire(second * 1000, _UTC) == int(following.timestamp()) * 1000
    if preceding.year >= 1970:
        assert ours.previous_fire(second * 1000, _UTC) == int(preceding.timestamp()) * 1000


# Every minute of three days, by the rules of daylight saving read aloud


def numbers(text: str, highest: int) -> set[int]:
    if text == "*":
        return set(range(highest + 1))
    if "/" in text:
        first, step = text.split("/")
        return set(range(int(first), highest + 1, int(step)))
    return {int(number) for number in text.split(",")}


def fires_by_walking(minutes: str, hours: str, first_day: datetime, zone: ZoneInfo) -> set[Instant]:
    repeats = any(
        len(numbers(text, highest)) > 1 and not text.replace(",", "").isdigit()
        for text, highest in ((minutes, 59), (hours, 23))
    )
    every_hour = len(numbers(hours, 23)) == 24
    found: set[Instant] = set()
    for minute in range(3 * 24 * 60):
        wall = first_day + timedelta(minutes=minute)
        if wall.minute not in numbers(minutes, 59) or wall.hour not in numbers(hours, 23):
            continue
        first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        exists = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) == wall
        if exists or not every_hour:
            # What does not exist is read with the offset of before, which moves it by the length of the gap.
            found.add(int(first.timestamp()) * 1000)
        if exists and repeats:
            found.add(int(second.timestamp()) * 1000)
    return found


_CHANGES = (
    ("Europe/London", datetime(2026, 3, 28)),  # noqa: DTZ001 -- wall time of the zone beside it
    ("Europe/London", datetime(2026, 10, 24)),  # noqa: DTZ001 -- the same
    ("America/New_York", datetime(2026, 3, 7)),  # noqa: DTZ001 -- the same
    ("America/New_York", datetime(2026, 10, 31)),  # noqa: DTZ001 -- the same
    ("America/Sao_Paulo", datetime(2018, 11, 3)),  # noqa: DTZ001 -- the same
    ("America/Sao_Paulo", datetime(2018, 2, 16)),  # noqa: DTZ001 -- the same
    ("Australia/Lord_Howe", datetime(2026, 10, 3)),  # noqa: DTZ001 -- the same
    ("Australia/Lord_Howe", datetime(2026, 4, 4)),  # noqa: DTZ001 -- the same
    ("Antarctica/Troll", datetime(2026, 3, 28)),  # noqa: DTZ001 -- the same
    ("Antarctica/Troll", datetime(2026, 10, 24)),  # noqa: DTZ001 -- the same
    ("America/Nuuk", datetime(2026, 3, 27)),  # noqa: DTZ001 -- the same
    ("Pacific/Apia", datetime(2011, 12, 29)),  # noqa: DTZ001 -- the same
)


def stepped(highest: int) -> st.SearchStrategy[str]:
    number = st.integers(0, highest)
    return st.one_of(
        st.just("*"),
        lists(number.map(str)),
        st.tuples(st.integers(0, highest // 2), st.integers(1, highest)).map(lambda of: f"{of[0]}/{of[1]}"),
    )


@unhurried
@given(st.sampled_from(_CHANGES), stepped(59), stepped(4) | stepped(23))
def test_around_changes_of_the_clock_the_fires_are_those_of_a_walk_over_every_minute(
    change: tuple[str, datetime], minutes: str, hours: str
) -> None:
    zone, first_day = ZoneInfo(change[0]), change[1]
    after = int(first_day.replace(tzinfo=zone).timestamp()) * 1000 - 1
    until = int((first_day + timedelta(days=3)).replace(tzinfo=zone).timestamp()) * 1000 - 1
    expression = CronExpression.parse(f"0 {minutes} {hours} * * ?")
    walked = sorted(
        fire for fire in fires_by_walking(minutes, hours, first_day, zone) if after < fire <= until
    )
    assert list(expression.fires_between(after, until, zone)) == walked


@pytest.mark.parametrize("year", [1985, 2026])
def test_in_every_time_zone_a_daily_start_comes_once_for_each_day(year: int) -> None:
    daily = CronExpression.parse(f"0 30 2 * * ? {year}")
    for name in sorted(available_timezones() - {"localtime"}):
        zone = ZoneInfo(name)
        fires = list(daily.fires_between(0, 4_000_000_000_000, zone))
        assert len(fires) == 365, name
        assert all(22 <= (later - earlier) / 3_600_000 <= 26 for earlier, later in pairwise(fires))
