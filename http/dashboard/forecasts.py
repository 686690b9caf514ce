"""Forecasts: which instances will start and which schedules will fire in a span of time."""

from itertools import islice
from typing import Any

import msgspec

from ...domain.forecast import Fire, TooMuch
from ...domain.instants import Instant, parse_rfc3339
from ..wire.views import written
from .callers import Access
from .errors import FieldError, Refusal
from .instances import Limit
from .routes import NO_BODY, Answer, Call, Route
from .services import Services

_DAY_MS = 24 * 3_600_000
LONGEST_DAYS = 366


class ForecastQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The span of time; from now on and for a day if it is left open."""

    begin: str | None = msgspec.field(default=None, name="from")
    """RFC 3339."""
    end: str | None = msgspec.field(default=None, name="to")
    """RFC 3339; included."""
    plan: str | None = None
    """Of this plan only."""
    cursor: str | None = None
    limit: Limit = 100


class FireItem(msgspec.Struct, frozen=True, kw_only=True):
    """A start or a schedule that is due."""

    at: str
    kind: str
    """``instance`` or ``schedule``."""
    plan: str
    plan_version: int
    job: str | None
    instance_id: str | None
    """Of an instance that is active or prepared."""
    skipped: str | None
    """Why it will not happen, if that is known already."""


class ForecastAnswer(msgspec.Struct, frozen=True):
    """A page of what will fire, in the order of time."""

    items: tuple[FireItem, ...]
    next: str | None


class Forecasts:
    """The resource."""

    def __init__(self, services: Services) -> None:
        self._dashboard = services.dashboard

    def show(self, call: Call[None, ForecastQuery]) -> Answer:
        """A page of what will fire, of the plans that the caller may see."""
        query = call.query
        begin = self._dashboard.clock() if query.begin is None else _instant(query.begin, "?from")
        end = begin + _DAY_MS if query.end is None else _instant(query.end, "?to")
        if not begin <= end <= begin + LONGEST_DAYS * _DAY_MS:
            detail = f"to lies before from, or more than {LONGEST_DAYS} days behind it"
            raise Refusal(422, detail, errors=(FieldError(detail, "?to"),))
        names = self._names(call)
        begin, told = (begin, 0) if query.cursor is None else _place(query.cursor)
        try:
            fires = self._dashboard.forecast(names, begin=begin, end=end)
            page = list(islice(fires, told + query.limit + 1))[told:]
        except TooMuch as error:
            raise Refusal(422, str(error), errors=(FieldError(str(error), "?to"),)) from error
        items = page[: query.limit]
        following = _cursor(begin, told, items) if len(page) > query.limit else None
        return Answer(ForecastAnswer(tuple(_item(each) for each in items), following))

    def _names(self, call: Call[None, ForecastQuery]) -> list[str]:
        if call.query.plan is not None:
            call.caller.must_see_plan(call.query.plan)
            self._dashboard.plan_as_it_stands(call.query.plan)
            return [call.query.plan]
        return [row.name for row in self._dashboard.plans() if call.caller.sees_plan(row.name)]


def _instant(text: str, pointer: str) -> Instant:
    try:
        return parse_rfc3339(text.replace(" ", "+"))
    except (ValueError, OverflowError) as error:
        raise Refusal(400, str(error), errors=(FieldError(str(error), pointer),)) from error


def _cursor(begin: Instant, told: int, items: list[Fire]) -> str:
    """Where the next page begins: an instant, and how many of that instant were told already."""
    last = items[-1].at
    of_last = sum(each.at == last for each in items)
    return f"{last}.{of_last + (told if last == begin else 0)}"


def _place(cursor: str) -> tuple[Instant, int]:
    at, _, told = cursor.partition(".")
    if not (at.isdecimal() and told.isdecimal() and len(at) < 16 and len(told) < 6):
        detail = "the cursor was not given out by this list"
        raise Refusal(400, detail, errors=(FieldError(detail, "?cursor"),))
    return int(at), int(told)


def _item(fire: Fire) -> FireItem:
    return FireItem(
        at=written(fire.at),
        kind=fire.kind,
        plan=fire.plan,
        plan_version=fire.plan_version,
        job=fire.job,
        instance_id=None if fire.instance_id is None else str(fire.instance_id),
        skipped=fire.skipped,
    )


def routes(services: Services) -> tuple[Route[Any, Any], ...]:
    """The row of this resource."""
    return (
        Route(
            method="GET",
            path="/api/v1/forecast",
            name="forecast",
            summary="Tell which instances will start and which schedules will fire",
            access=Access.READ,
            handle=Forecasts(services).show,
            body=NO_BODY,
            query=ForecastQuery,
            answers={200: ForecastAnswer},
            errors=(404,),
        ),
    )
