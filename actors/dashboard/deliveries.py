"""Which facts an agent must be told of, and as what."""

from collections.abc import Iterable
from typing import Literal, TypeAlias
from uuid import UUID

from ...domain.facts import (
    AgentsSynchronised,
    InstanceEnded,
    InstanceStarted,
    JobInitiated,
    KillRequested,
    ParametersSet,
    PlanDeleted,
    PlanPushed,
    Recorded,
    RunsUntilEnded,
    SchedulesDisabled,
    SchedulesEnabled,
    SourceParametersTaken,
)

DeliveryKind: TypeAlias = Literal["provision", "withdraw", "publish", "initiate", "kill", "remove"]
Delivery: TypeAlias = tuple[str, UUID, int, DeliveryKind]
"""The agent, the stream and position of the fact, and what the agent is asked to do."""


def deliveries(facts: Iterable[Recorded]) -> tuple[Delivery, ...]:
    """What agents must be told of these facts, in order."""
    return tuple(
        (agent, recorded.originator_id, recorded.position, kind)
        for recorded in facts
        for agent, kind in _told(recorded)
    )


def _told(recorded: Recorded) -> Iterable[tuple[str, DeliveryKind]]:
    match recorded.fact:
        case PlanPushed(plan=plan) if plan.delay_agent_synchronisation:
            # They are told when an instance starts: by the fact that says so.
            return
        case PlanPushed(plan=plan, previous_agents=previous):
            yield from ((agent, "provision") for agent in plan.agents())
            yield from ((agent, "withdraw") for agent in previous)
        case AgentsSynchronised(agents=agents, previous_agents=previous):
            yield from ((agent, "provision") for agent in agents)
            yield from ((agent, "withdraw") for agent in previous)
        case PlanDeleted(agents=agents):
            yield from ((agent, "withdraw") for agent in agents)
        case (
            InstanceStarted(agents=agents)
            | ParametersSet(agents=agents)
            | SourceParametersTaken(agents=agents)
            | SchedulesDisabled(agents=agents)
            | SchedulesEnabled(agents=agents)
            | RunsUntilEnded(agents=agents)
        ):
            yield from ((agent, "publish") for agent in agents)
        case JobInitiated(agent=agent):
            yield agent, "initiate"
        case KillRequested(agent=agent):
            yield agent, "kill"
        case InstanceEnded(agents=agents):
            yield from ((agent, "remove") for agent in agents)
        case _:
            return
