"""What agents are told, made from facts and from the plan version that they belong to."""

from collections.abc import Mapping
from functools import lru_cache
from uuid import UUID

from ...domain.facts import JobInitiated, Recorded
from ...domain.messages import Initiation, ProvisionedJobs, PublishedInstance
from ...domain.parameters import parameters_of_instance
from ...domain.plan import CommandJob, EventJob, JobPlan, ScheduleJob
from ...domain.secret_values import has_broken_token, holds_token
from ...storage.secret_keys import KeyFile, KeyFileUnusable, SecretNotOpened
from .errors import UnknownName
from .instance_log import InstanceLog

_KEPT = 4096
"""Instances whose plan version is remembered between orders."""


class ParameterNotOpened(ValueError):
    """An encrypted parameter cannot be decrypted, so its job is not started; the message names it."""


class Orders:
    """Renders facts as messages to agents. Nowhere else are encrypted values decrypted."""

    def __init__(self, logs: InstanceLog, keys: KeyFile) -> None:
        self._logs = logs
        self._keys = keys
        self._topology = lru_cache(_KEPT)(logs.topology)

    def initiation(self, recorded: Recorded) -> Initiation:
        """The order to run a job once, with the template to run it from; raises ``ParameterNotOpened``."""
        fact = recorded.fact
        if not isinstance(fact, JobInitiated):
            raise TypeError(f"{type(fact).__name__} is no initiation")
        topology = self._topology(recorded.originator_id)
        unit = topology.unit_of(fact.job, fact.context)
        if unit is None or not isinstance(unit.job, CommandJob):
            raise UnknownName(f"plan {topology.plan.name} has no command job {fact.job}")
        secrets = tuple(name for name, value in fact.parameters.items() if holds_token(value))
        return Initiation(
            id=f"{recorded.originator_id}-{fact.initiation}",
            agent=fact.agent,
            job=unit.job.name,
            plan=topology.plan.name,
            instance_id=str(recorded.originator_id),
            contexts=fact.contexts,
            parameters=self._opened(fact.parameters, secrets) if secrets else fact.parameters,
            secrets=secrets,
            template=unit.job,
            catalyst=fact.catalyst,
            dry_run=fact.dry_run,
        )

    def _opened(self, parameters: Mapping[str, str], secrets: tuple[str, ...]) -> dict[str, str]:
        opened = dict(parameters)
        for name in secrets:
            if has_broken_token(parameters[name]):
                raise ParameterNotOpened(
                    f"the parameter {name} cannot be decrypted: an encrypted value in it is not whole"
                )
            try:
                opened[name] = self._keys.open(parameters[name])
            except (SecretNotOpened, KeyFileUnusable) as error:
                raise ParameterNotOpened(f"the parameter {name} cannot be decrypted: {error}") from error
        return opened

    def plan(self, name: str, version: int) -> JobPlan:
        """A version of a plan; raises ``UnknownName``."""
        return self._logs.plan(name, version)

    def provision(self, plan: JobPlan, agent: str) -> ProvisionedJobs:
        """The jobs of a plan that the agent is to hold."""
        jobs = tuple(job for job in plan.jobs if not isinstance(job, EventJob) and job.agent == agent)
        return ProvisionedJobs(plan=plan.name, jobs=jobs)

    def publication(self, instance_id: UUID, agent: str) -> tuple[PublishedInstance, JobPlan] | None:
        """The instance as an agent must know it for its schedules and file watchers to fire, and its plan.

        It is told as it is now: when orders changed it twice, the first telling says all. When it has ended
        meanwhile it is told so that nothing starts: an agent has to know its schedules to account for what
        was due until then, and must not take files for it. ``None``: there is nothing to account for.
        """
        state = self._logs.state(instance_id)
        topology = state.topology
        units = [unit for unit in topology.units if unit.job.agent == agent]
        if state.ended:
            units = [unit for unit in units if isinstance(unit.job, ScheduleJob)]
            if not units:
                return None
        published = PublishedInstance(
            instance_id=str(instance_id),
            plan=state.plan,
            jobs=tuple(dict.fromkeys(unit.identifier for unit in units)),
            contexts={unit.identifier: unit.contexts for unit in units if unit.context is None},
            parameters=parameters_of_instance(topology, state.known_values),
            started_at=state.started_at,
            ends_at=state.ends_at,
            schedules_disabled=state.ended or state.schedules_disabled,
        )
        return published, topology.plan
