"""What is wrong with the templates of a plan's jobs."""

import re
from collections.abc import Collection, Iterator
from functools import lru_cache

from .plan import CommandJob, FileJob, Job, JobIdentifier, JobPlan, ScheduleJob
from .problems import Place, Problem

_PARAMETER = re.compile(r"\$\{[^}]+\}")


def job_problems(plan: JobPlan) -> Iterator[Problem]:
    """Every problem of every template."""
    contexts = {context.name for context in plan.root.walk()}
    listed = {job.identifier for context in plan.root.walk() for job in context.jobs}
    seen: set[JobIdentifier] = set()
    for index, job in enumerate(plan.jobs):
        pointer = f"/jobs/{index}"
        place = Place(job.contexts[0] if job.contexts else None, job.identifier)
        if not (job.agent and job.name):
            yield place.error("this job has no agent or no name; give it both", pointer)
        if job.identifier in seen:
            yield place.error("another template has this agent and job name too; rename one", pointer)
        elif job.identifier not in listed:
            yield place.warning("no context lists this job, so it never runs", pointer)
        seen.add(job.identifier)
        yield from _defaults(job, contexts, place, pointer)
        if isinstance(job, CommandJob):
            yield from _command(job, place, pointer)
        elif isinstance(job, ScheduleJob | FileJob):
            yield from _trigger(job, place, pointer)


def _defaults(job: Job, contexts: Collection[str], place: Place, pointer: str) -> Iterator[Problem]:
    for field, named in (("held_in", job.held_in), ("skipped_in", job.skipped_in)):
        for context in named:
            if context not in contexts:
                yield place.error(
                    f"{field} names the context {context!r}, which the plan does not have; correct it",
                    f"{pointer}/{field}",
                )


def _command(job: CommandJob, place: Place, pointer: str) -> Iterator[Problem]:
    if not job.command_line.strip():
        yield place.error("the command has no command line; say what to run", f"{pointer}/command_line")
    shortest, longest = job.min_execution_minutes, job.max_execution_minutes
    if shortest is not None and longest is not None and shortest > longest:
        yield place.error(
            f"its minimum execution time, {shortest} min, is above its maximum, {longest} min; correct one",
            f"{pointer}/min_execution_minutes",
        )
    yield from place.parameters(job.parameters, f"{pointer}/parameters")


def _trigger(job: ScheduleJob | FileJob, place: Place, pointer: str) -> Iterator[Problem]:
    trigger = job.trigger
    if trigger.cron is None:
        what = "it fires" if isinstance(job, ScheduleJob) else "its agent looks for files"
        yield place.error(f"the job has no cron expression; say when {what}", f"{pointer}/trigger/cron")
    yield from place.cron(trigger.cron, f"{pointer}/trigger/cron")
    yield from place.zone(trigger.zone, f"{pointer}/trigger/zone")
    yield from place.blackouts(trigger.blackout_expressions, trigger.blackout_ranges, f"{pointer}/trigger")
    if isinstance(job, FileJob):
        yield from place.cron(job.sla_cron, f"{pointer}/sla_cron")
        yield from _patterns(job, place, pointer)


def _patterns(job: FileJob, place: Place, pointer: str) -> Iterator[Problem]:
    """What keeps a file watcher from finding files; parameters may change it, so none of it is an error."""
    if not (job.filenames or job.file_path):
        yield place.warning(
            "the file watcher names no files, so it finds none; name some", f"{pointer}/filenames"
        )
    for index, pattern in enumerate(job.filenames):
        refusal = _pattern_refusal(pattern)
        if refusal is not None:
            yield place.warning(
                f"{pattern!r} is no regular expression ({refusal}), so it finds nothing; correct it",
                f"{pointer}/filenames/{index}",
            )
        elif not job.file_path and not pattern.startswith(("/", "${")):
            yield place.warning(
                f"{pattern!r} names no directory, so it finds nothing; begin it with / or give one",
                f"{pointer}/filenames/{index}",
            )
    if job.file_path and not job.file_path.startswith(("/", "${")):
        yield place.warning(
            f"{job.file_path!r} is no absolute path, so nothing is found; begin it with /",
            f"{pointer}/file_path",
        )


@lru_cache(maxsize=4096)
def _pattern_refusal(pattern: str) -> str | None:
    """Why a pattern is no regular expression, whatever its parameters stand for."""
    try:
        re.compile(_PARAMETER.sub("x", pattern))
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)
    except FutureWarning:  # it may mean another thing in a later Python
        return None
    return None
