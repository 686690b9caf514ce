"""What will fire, over many plans, from their states and from what is active."""

from collections.abc import Iterable, Iterator
from functools import partial
from heapq import merge
from operator import attrgetter
from uuid import UUID

import structlog

from ...domain.forecast import Effort, Fire, Running, Span, forecast
from ...domain.plan_log import PlanState
from ...storage.mapper import UnreadableFact
from .active_instances import ActiveInstance, ActiveInstances
from .instance_log import InstanceLog, unless_damaged
from .topologies import Topologies

_log = structlog.get_logger(__name__)

MOST_LOOKED_AT = 200_000
"""Fires and windows that one forecast looks at."""


def fires_of(
    states: Iterable[PlanState],
    span: Span,
    *,
    active: ActiveInstances,
    topologies: Topologies,
    logs: InstanceLog,
) -> Iterator[Fire]:
    """In the order of time, told as it is asked for; raises ``TooMuch`` on the way.

    An instance of a version of a plan that is damaged is left out.
    """

    def running(instance: ActiveInstance) -> Running | None:
        try:
            plan = topologies.of(instance.plan, instance.plan_version).plan
        except UnreadableFact as error:
            _log.error("instance left out", instance=str(instance.instance_id), error=str(error))
            return None
        return Running(
            instance_id=instance.instance_id,
            plan=plan,
            plan_version=instance.plan_version,
            ends_at=instance.ends_at,
            schedules_disabled=partial(_schedules_disabled, logs, instance.instance_id),
        )

    def fires(state: PlanState) -> Iterator[Fire]:
        prepared = state.prepared
        look = None if prepared is None else partial(unless_damaged, logs.state, prepared.instance_id)
        runs = [running(each) for each in active.all_of_plan(state.plan.name)]
        return forecast(state, [each for each in runs if each is not None], span, effort, look)

    effort = Effort(MOST_LOOKED_AT)
    told = [fires(state) for state in states]
    return merge(*told, key=attrgetter("at"))


def _schedules_disabled(logs: InstanceLog, instance_id: UUID) -> bool:
    """Not of one that is damaged: its agents go on firing them."""
    state = unless_damaged(logs.state, instance_id)
    return state is not None and state.schedules_disabled
