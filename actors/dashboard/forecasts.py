"""What will fire, over many plans, from their states and from what is active."""

from collections.abc import Iterable, Iterator
from functools import partial
from heapq import merge
from operator import attrgetter
from uuid import UUID

from ...domain.forecast import Effort, Fire, Running, Span, forecast
from ...domain.plan_log import PlanState
from .active_instances import ActiveInstance, ActiveInstances
from .instance_log import InstanceLog
from .topologies import Topologies

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
    """In the order of time, told as it is asked for; raises ``TooMuch`` on the way."""

    def running(instance: ActiveInstance) -> Running:
        return Running(
            instance_id=instance.instance_id,
            plan=topologies.of(instance.plan, instance.plan_version).plan,
            plan_version=instance.plan_version,
            ends_at=instance.ends_at,
            schedules_disabled=partial(_schedules_disabled, logs, instance.instance_id),
        )

    def fires(state: PlanState) -> Iterator[Fire]:
        prepared = state.prepared
        look = None if prepared is None else partial(logs.state, prepared.instance_id)
        runs = [running(each) for each in active.all_of_plan(state.plan.name)]
        return forecast(state, runs, span, effort, look)

    effort = Effort(MOST_LOOKED_AT)
    told = [fires(state) for state in states]
    return merge(*told, key=attrgetter("at"))


def _schedules_disabled(logs: InstanceLog, instance_id: UUID) -> bool:
    return logs.state(instance_id).schedules_disabled
