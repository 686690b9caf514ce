"""What is wrong with the locks of a plan and with the jobs that take part in them."""

from collections.abc import Iterator

from .plan import CommandJob, EventKind, Job, JobIdentifier, JobPlan, ListedJob, Lock, LockParticipant
from .problems import Place, Problem

_EVENT_AGENTS = frozenset(kind.value for kind in EventKind)


def lock_problems(plan: JobPlan) -> Iterator[Problem]:
    """Every problem of every lock, whichever context it is declared in."""
    yield from _Locks(plan).problems()


class _Locks:
    """Checks the locks against each other, and their participants against the contexts and templates."""

    def __init__(self, plan: JobPlan) -> None:
        self._locks = [
            (lock, Place(context=context.name), f"{pointer}/locks/{index}")
            for context, pointer in plan.root.walk_with_pointers("/root")
            for index, lock in enumerate(context.locks)
        ]
        self._templates: dict[JobIdentifier, Job] = {job.identifier: job for job in plan.jobs}
        self._listed_in: dict[str, dict[JobIdentifier, ListedJob]] = {}
        for context in plan.root.walk():
            listed = self._listed_in.setdefault(context.name, {})
            listed.update((job.identifier, job) for job in context.jobs)
        self._taken: dict[tuple[JobIdentifier, str | None], tuple[str, str]] = {}
        """By what runs once: the lock that it takes, and the context for which that is said first."""

    def problems(self) -> Iterator[Problem]:
        first: dict[str, Lock] = {}
        for lock, place, pointer in self._locks:
            yield from self._lock(lock, place, pointer)
            yield from _disagreement(lock, first.setdefault(lock.name, lock), place, pointer)
            for index, participant in enumerate(lock.participants):
                yield from self._participant(participant, lock, f"{pointer}/participants/{index}")

    def _lock(self, lock: Lock, place: Place, pointer: str) -> Iterator[Problem]:
        if not lock.name:
            yield place.error("a lock has no name; give it one", f"{pointer}/name")
        if lock.count < 1:
            yield place.error(
                f"lock {lock.name!r} has the count {lock.count}; give at least 1", f"{pointer}/count"
            )

    def _participant(self, participant: LockParticipant, lock: Lock, pointer: str) -> Iterator[Problem]:
        place = Place(participant.context, participant.job)
        template = self._templates.get(participant.job)
        listed = self._listed_in.get(participant.context)
        if listed is None:
            yield place.error(
                f"lock {lock.name!r} names this context, which the plan does not have; correct it", pointer
            )
        elif participant.job not in listed:
            yield place.error(
                f"lock {lock.name!r} names this job, which the context does not list; list it there", pointer
            )
        elif isinstance(template, CommandJob):
            yield from self._second_lock(template, participant, lock, place, pointer)
        elif template is not None or listed[participant.job].agent in _EVENT_AGENTS:
            yield place.warning(
                f"lock {lock.name!r} names this job, which runs no command: it takes no lock", pointer
            )
        if participant.count < 1:
            yield place.error(
                f"it takes {participant.count} of lock {lock.name!r}; give at least 1", f"{pointer}/count"
            )
        elif participant.count > lock.count >= 1:
            yield place.warning(
                f"it takes {participant.count} of lock {lock.name!r}, which counts {lock.count}: it runs "
                "only when nothing else holds the lock",
                f"{pointer}/count",
            )

    def _second_lock(
        self, job: CommandJob, participant: LockParticipant, lock: Lock, place: Place, pointer: str
    ) -> Iterator[Problem]:
        only_there = participant.context if job.target_residing_context_only else None
        name, context = self._taken.setdefault((job.identifier, only_there), (lock.name, participant.context))
        if name != lock.name:
            where = "" if context == participant.context else f" in context {context!r}, where it is one job,"
            yield place.error(
                f"it takes part in lock {lock.name!r}, but{where} also in lock {name!r}, and a job takes one "
                "lock; remove it from one of them, or make one lock of the two",
                pointer,
            )


def _disagreement(lock: Lock, first: Lock, place: Place, pointer: str) -> Iterator[Problem]:
    if lock.count != first.count:
        yield place.error(
            f"lock {lock.name!r} counts {lock.count} here and {first.count} elsewhere; "
            "locks of one name are one lock, give it one count",
            f"{pointer}/count",
        )
    if lock.exclusive != first.exclusive:
        yield place.error(
            f"lock {lock.name!r} is exclusive here or elsewhere, but not in both; "
            "locks of one name are one lock, make it exclusive everywhere or nowhere",
            f"{pointer}/exclusive",
        )
