"""The job templates that this agent holds, by plan."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
import structlog

from ...domain.messages import ProvisionedJobs
from ...domain.plan import CommandJob, FileJob, ScheduleJob
from ...storage.durable_files import OS_FILES, Files, read_whole, write_durably

_log = structlog.get_logger(__name__)

AgentJob: TypeAlias = CommandJob | ScheduleJob | FileJob


class ProvisionDamaged(RuntimeError):
    """The file with the templates cannot be read."""


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan in the file; it has no jobs when they were withdrawn."""

    plan: str
    order: int = 0
    """The highest number of an order about it; 0 when none had any."""
    jobs: tuple[AgentJob, ...] = ()


class ProvisionStore:
    """Templates on disk and in memory. Safe to use from any thread.

    Orders may have numbers. One that comes late, behind a newer order about the same plan, does nothing.
    """

    def __init__(self, file: Path, on_change: Callable[[], None], files: Files = OS_FILES) -> None:
        """``on_change`` is called after each change; raises ``ProvisionDamaged`` and ``OSError``."""
        self._file = file
        self._files = files
        self._on_change = on_change
        self._lock = threading.Lock()
        self._version = 0
        stored = _read(file, files)
        self._plans = {each.plan: _by_name(each.jobs) for each in stored}
        self._orders = {each.plan: each.order for each in stored}

    @property
    def version(self) -> int:
        """Another after each change: what is read afterwards holds at least the changes up to it."""
        with self._lock:
            return self._version

    def replace(self, provisioned: Sequence[ProvisionedJobs], order: int | None = None) -> None:
        """Replace the jobs of these plans, durably, all or none; raises ``OSError``."""
        with self._lock:
            given = [each for each in provisioned if not self.overtaken(each.plan, order)]
            if given:
                self._put({each.plan: _by_name(each.jobs) for each in given}, order)
        self._on_change()

    def remove(self, plan: str, order: int | None = None) -> None:
        """Forget a plan's jobs, durably; one that is not known is forgotten already. Raises ``OSError``."""
        with self._lock:
            if self.overtaken(plan, order) or (plan not in self._plans and order is None):
                return
            self._put({plan: {}}, order)
        self._on_change()

    def overtaken(self, plan: str, order: int | None) -> bool:
        """Whether a newer order about a plan was there before one of that number."""
        known = self._orders.get(plan, 0)
        if order is None or order >= known:
            return False
        _log.info("late order ignored", plan=plan, order=order, known=known)
        return True

    def _put(self, changed: dict[str, dict[str, AgentJob]], order: int | None) -> None:
        plans = {**self._plans, **changed}
        orders = {**self._orders, **dict.fromkeys(changed, order)} if order is not None else self._orders
        stored = [
            _Plan(plan=name, order=orders.get(name, 0), jobs=tuple(jobs.values()))
            for name, jobs in plans.items()
            if jobs or orders.get(name)
        ]
        write_durably(self._file, msgspec.json.encode(stored), self._files)
        self._version += 1
        self._plans, self._orders = plans, orders

    def find(self, plan: str, job: str) -> AgentJob | None:
        """A template by the job's name, without its agent."""
        return self._plans.get(plan, {}).get(job)

    def jobs(self, plan: str) -> tuple[AgentJob, ...]:
        """A plan's templates."""
        return tuple(self._plans.get(plan, {}).values())

    def plans(self) -> dict[str, int]:
        """The plans with the number of their jobs."""
        return {name: len(jobs) for name, jobs in self._plans.items() if jobs}


def _by_name(jobs: Sequence[AgentJob]) -> dict[str, AgentJob]:
    return {job.name: job for job in jobs}


def _read(file: Path, files: Files) -> list[_Plan]:
    try:
        return msgspec.json.decode(read_whole(file, files), type=list[_Plan])
    except FileNotFoundError:
        return []
    except msgspec.DecodeError as error:
        raise ProvisionDamaged(f"{file} cannot be read: {error}") from error
