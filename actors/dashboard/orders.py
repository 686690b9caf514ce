"""What agents are told, made from facts and from the plan version that they belong to."""

from functools import lru_cache
from uuid import UUID

from ...domain.facts import InstanceStarted, JobInitiated, Recorded
from ...domain.messages import Initiation, ProvisionedJobs, PublishedInstance
from ...domain.parameters import parameters_of_instance
from ...domain.plan import CommandJob, EventJob, JobPlan
from ...domain.topology import Topology
from ...storage.ledger import Ledger
from .errors import UnknownName
from .topologies import Topologies

_KEPT = 4096
"""Instances whose plan version is remembered between orders."""


class Orders:
    """Renders facts as messages to agents."""

    def __init__(self, ledger: Ledger, topologies: Topologies) -> None:
        self._ledger = ledger
        self._topologies = topologies
        self._instance = lru_cache(_KEPT)(self._find_instance)

    def initiation(self, recorded: Recorded) -> Initiation:
        """The order to run a job once, with the template to run it from."""
        fact = recorded.fact
        if not isinstance(fact, JobInitiated):
            raise TypeError(f"{type(fact).__name__} is no initiation")
        _, topology = self._instance(recorded.originator_id)
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
        """The instance as an agent must know it for its schedules and file watchers to fire, and its plan."""
        recorded, topology = self._instance(instance_id)
        fact = recorded.fact
        if not isinstance(fact, InstanceStarted):
            raise TypeError(f"{type(fact).__name__} starts no instance")
        units = [unit for unit in topology.units if unit.job.agent == agent]
        published = PublishedInstance(
            instance_id=str(instance_id),
            plan=fact.plan,
            jobs=tuple(dict.fromkeys(unit.identifier for unit in units)),
            contexts={unit.identifier: unit.contexts for unit in units if unit.context is None},
            parameters=parameters_of_instance(topology, fact.parameters),
            started_at=recorded.at,
            ends_at=fact.ends_at,
            schedules_disabled=fact.schedules_disabled,
        )
        return published, topology.plan

    def _find_instance(self, instance_id: UUID) -> tuple[Recorded, Topology]:
        first = self._ledger.facts(instance_id, until=1)
        if not first or not isinstance(first[0].fact, InstanceStarted):
            raise UnknownName(f"there is no instance {instance_id}")
        return first[0], self._topologies.of(first[0].fact.plan, first[0].fact.plan_version)
