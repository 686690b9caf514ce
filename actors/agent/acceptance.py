"""What an agent takes from a dashboard, and what it refuses for good."""

from collections.abc import Iterator, Mapping
from zoneinfo import ZoneInfo

import msgspec

from ...domain.messages import Initiation, ProvisionedJobs, PublishedInstance
from ...domain.plan import CommandJob, FileJob
from .file_search import searches
from .intake import Intake
from .provision_store import AgentJob, ProvisionStore
from .triggers import Timetable

_LONGEST_ID_BYTES = 500


class _Unknown(Mapping[str, str]):
    """Parameters of instances yet to come: any of them may turn out to name a directory."""

    def __getitem__(self, name: str) -> str:
        return f"/{name}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Acceptance:
    """The rules of one agent."""

    def __init__(self, agent: str, intake: Intake, provision: ProvisionStore, zone: ZoneInfo) -> None:
        self._agent = agent
        self._intake = intake
        self._provision = provision
        self._zone = zone

    def of_initiation(self, initiation: Initiation) -> Initiation | str:
        """The initiation with the template that it will run from, or why it is refused."""
        if initiation.agent != self._agent:
            return f"this is agent {self._agent}, not {initiation.agent}"
        problem = _unusable_id(initiation.id)
        if problem is not None or initiation.template is not None:
            return problem or initiation
        job = self._provision.find(initiation.plan, initiation.job)
        if isinstance(job, CommandJob):
            return msgspec.structs.replace(initiation, template=job)
        if self._intake.find(initiation.id) is not None:
            return initiation  # it was accepted when the job was known, and is recognised as that one
        what = "is not known here" if job is None else "is no command job"
        return f"job {initiation.job} of plan {initiation.plan} {what}"

    def of_jobs(self, provisioned: ProvisionedJobs) -> list[str]:
        """What is wrong with the jobs of a plan, if anything."""
        return [problem for job in provisioned.jobs for problem in self._problems(job)]

    def _problems(self, job: AgentJob) -> list[str]:
        problems = []
        if job.agent != self._agent:
            problems.append(f"job {job.name} belongs to agent {job.agent}, and this is {self._agent}")
        if not isinstance(job, CommandJob):
            try:
                Timetable(job.trigger, self._zone)
                if isinstance(job, FileJob):
                    searches(job, _Unknown())
            except ValueError as error:
                problems.append(f"job {job.name}: {error}")
        return problems

    def of_instance(self, instance: PublishedInstance) -> PublishedInstance:
        """The instance without the jobs of other agents, of which there may be thousands."""
        prefix = f"{self._agent}-"
        jobs = tuple(job for job in instance.jobs if job.startswith(prefix))
        contexts = {job: names for job, names in instance.contexts.items() if job.startswith(prefix)}
        return msgspec.structs.replace(instance, jobs=jobs, contexts=contexts)


def _unusable_id(initiation_id: str) -> str | None:
    """Why the launcher could not work with an id."""
    if (
        not initiation_id
        or not initiation_id.isprintable()
        or len(initiation_id.encode()) > _LONGEST_ID_BYTES
    ):
        return "an initiation id has 1 to 500 bytes of printable characters"
    return None
