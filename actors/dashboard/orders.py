"""What agents are told, made from facts and from the plan version that they belong to."""

from functools import lru_cache
from uuid import UUID

from ...domain.facts import JobInitiated, Recorded
from ...domain.messages import Initiation, ProvisionedJobs, PublishedInstance
from ...domain.parameters import parameters_of_instance
from ...domain.plan import CommandJob, EventJob, JobPlan
from .errors import UnknownName
from .instance_log import InstanceLog

_KEPT = 4096
"""Instances whose plan version is remembered between orders."""


class Orders:
    """Renders facts as messages to agents."""

    def __init__(self, logs: InstanceLog) -> None:
        self._logs = logs
        self._topology = lru_cache(_KEPT)(logs.topology)

    def initiation(self, recorded: Recorded) -> Initiation:
        """The order to run a job once, with the template to run it from."""
        fact = recorded.fact
        if not isinstance(fact, JobInitiated):
            raise TypeError(f"{type(fact).__name__} is no initiation")
        topology = self._topology(recorded.originator_id)
        unit = topology.unit_of(fact.job, fact.context)
        if unit is None or not isinstance(unit.job, CommandJob):
            raise UnknownName(f"plan {topology.plan.name} has no command job {fact.job}")
        return Initiation(
            id=f"{recorded.originator_id}-{fact.initiation}",
            agent=fact.agent,
            job=unit.job.name,
            plan=topology.plan.name,
            instance_id=str(recorded.originator_id),
            contexts=fact.contexts,
            parameters=fact.parameters,
            template=unit.job,
            catalyst=fact.catalyst,
            dry_run=fact.dry_run,
        )

    def provision(self, plan: JobPlan, agent: str) -> ProvisionedJobs:
        """The jobs of a plan that the agent is to hold."""
        jobs = tuple(job for job in plan.jobs if not isinstance(job, EventJob) and job.agent == agent)
        return ProvisionedJobs(plan=plan.name, jobs=jobs)

    def publication(self, instance_id: UUID, agent: str) -> tuple[PublishedInstance, JobPlan]:
        """The instance as an agent must know it for its schedules and file watchers to fire, and its plan.

        It is told as it is now: when orders changed it twice, the first telling says all.
        """
        state = self._logs.state(instance_id)
        topology = state.topology
        units = [unit for unit in topology.units if unit.job.agent == agent]
        published = PublishedInstance(
            instance_id=str(instance_id),
            plan=state.plan,
            jobs=tuple(dict.fromkeys(unit.identifier for unit in units)),
            contexts={unit.identifier: unit.contexts for unit in units if unit.context is None},
            parameters=parameters_of_instance(topology, state.known_values),
            started_at=state.started_at,
            ends_at=state.ends_at,
            schedules_disabled=state.schedules_disabled,
        )
        return published, topology.plan
