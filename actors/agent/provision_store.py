"""The job templates that this agent holds, by plan."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from ...domain.messages import ProvisionedJobs
from ...domain.plan import CommandJob, FileJob, ScheduleJob
from ...storage.durable_files import OS_FILES, Files, read_whole, write_durably

AgentJob: TypeAlias = CommandJob | ScheduleJob | FileJob


class ProvisionDamaged(RuntimeError):
    """The file with the templates cannot be read."""


class ProvisionStore:
    """Templates on disk and in memory. Safe to use from any thread."""

    def __init__(self, file: Path, on_change: Callable[[], None], files: Files = OS_FILES) -> None:
        """``on_change`` is called after each change; raises ``ProvisionDamaged`` and ``OSError``."""
        self._file = file
        self._files = files
        self._on_change = on_change
        self._lock = threading.Lock()
        self._plans = _read(file, files)

    def replace(self, provisioned: Sequence[ProvisionedJobs]) -> None:
        """Replace the jobs of these plans, durably, all or none; raises ``OSError``."""
        with self._lock:
            changed = {each.plan: _by_name(each.jobs) for each in provisioned}
            self._write({**self._plans, **changed})
        self._on_change()

    def remove(self, plan: str) -> None:
        """Forget a plan's jobs, durably; one that is not known is forgotten already. Raises ``OSError``."""
        with self._lock:
            if plan not in self._plans:
                return
            self._write({name: jobs for name, jobs in self._plans.items() if name != plan})
        self._on_change()

    def _write(self, plans: dict[str, dict[str, AgentJob]]) -> None:
        provisioned = [ProvisionedJobs(plan=name, jobs=tuple(jobs.values())) for name, jobs in plans.items()]
        write_durably(self._file, msgspec.json.encode(provisioned), self._files)
        self._plans = plans

    def find(self, plan: str, job: str) -> AgentJob | None:
        """A template by the job's name, without its agent."""
        return self._plans.get(plan, {}).get(job)

    def jobs(self, plan: str) -> tuple[AgentJob, ...]:
        """A plan's templates."""
        return tuple(self._plans.get(plan, {}).values())

    def plans(self) -> dict[str, int]:
        """The plans with the number of their jobs."""
        return {name: len(jobs) for name, jobs in self._plans.items()}


def _by_name(jobs: Sequence[AgentJob]) -> dict[str, AgentJob]:
    return {job.name: job for job in jobs}


def _read(file: Path, files: Files) -> dict[str, dict[str, AgentJob]]:
    try:
        provisioned = msgspec.json.decode(read_whole(file, files), type=list[ProvisionedJobs])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise ProvisionDamaged(f"{file} cannot be read: {error}") from error
    return {each.plan: _by_name(each.jobs) for each in provisioned}
