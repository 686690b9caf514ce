"""How instances look on the compatible services: trees in the wire's words, and lists of statuses.

Times are milliseconds since the epoch, 0 for none.
"""

from collections.abc import Callable, Iterable

from ...domain.instance import InstanceState
from ...domain.instants import Instant
from ...domain.job_state import JobState
from ...domain.parameters import parameters_of_instance
from ...domain.plan import CommandJob, Context, Lock, Parameter
from ...domain.secret_values import shown
from ...domain.status import JobStatus
from ...domain.topology import Unit
from .groupings import dependency_fields
from .job_templates import JsonObject, parameter_fields
from .plans import context_dependency_fields, plan_fields

STATUS_WORDS = (*JobStatus, "RELEASED", "KILLED", "ERROR_ACKNOWLEDGED", "ENDED", "PREPARED")
"""What existing clients know as statuses; those of instances are no job's."""

_PASSED_OVER = frozenset({JobStatus.SKIPPED, JobStatus.SKIPPED_RUNNING, JobStatus.SKIPPED_COMPLETE})


def context_instance(state: InstanceState, context: int = 0) -> JsonObject:
    """A context of an instance, by its index, with all beneath it; the root context is the plan itself."""
    return _context_fields(state, context, _trees(state)[context])


def job_instance(state: InstanceState, context: str, unit: Unit) -> JsonObject:
    """A job in one context of an instance."""
    job = state.job(unit.index)
    fields: JsonObject = {
        "agentName": unit.job.agent,
        "jobName": unit.job.name,
        "identifier": unit.identifier,
        "displayName": unit.job.display_name or None,
        "jobDescription": unit.job.description or None,
        "startupControlType": unit.job.startup.value,
        "heldContexts": dict.fromkeys(unit.job.held_in, True),
        "skippedContexts": dict.fromkeys(unit.job.skipped_in, True),
        "contextName": state.plan,
        "contextInstanceId": str(state.instance_id),
        "childContextName": context,
        "childContextNames": list(unit.contexts),
        "held": job.status is JobStatus.ON_HOLD,
        "skip": job.status in _PASSED_OVER,
        "initiationEventRaised": job.initiated,
        "status": job.status.value,
        "errorAcknowledged": job.acknowledged,
    }
    if job.started_at is not None or job.finished_at is not None:
        fields["scheduledProcessEvent"] = _last_event(state, unit, job)
    return fields


def instance_statuses(states: Iterable[InstanceState]) -> JsonObject:
    """Name, id and status of each instance."""
    return {
        "contextMachineStatusList": [
            {
                "contextName": state.plan,
                "contextInstanceId": str(state.instance_id),
                "instanceStatus": state.status,
            }
            for state in states
        ]
    }


def every_job(_job: JobState) -> bool:
    """A job of any status."""
    return True


def in_status(word: str) -> Callable[[JobState], bool] | None:
    """Whether a job is what existing clients call a status; ``None`` for what is none of their words."""
    match word:
        case "RELEASED":
            return lambda job: job.status is JobStatus.WAITING
        case "KILLED":
            return lambda job: job.status is JobStatus.ERROR and job.killed
        case "ERROR_ACKNOWLEDGED":
            return lambda job: job.status is JobStatus.ERROR and job.acknowledged
    return (lambda job: job.status == word) if word in STATUS_WORDS else None


def job_statuses(states: Iterable[InstanceState], chosen: Callable[[JobState], bool]) -> JsonObject:
    """Those jobs of each instance that are chosen."""
    return {
        "jobPlans": [
            {
                "contextName": state.plan,
                "contextInstanceId": str(state.instance_id),
                "instanceStatus": state.status,
                "jobDetails": [
                    _job_details(state, unit)
                    for unit in state.topology.units
                    if chosen(state.job(unit.index))
                ],
            }
            for state in states
        ]
    }


def projected_end(state: InstanceState) -> Instant | None:
    """When its time to live is over, whether or not that ends it; ``None`` when it has none."""
    lives_ms = state.topology.plan.window.time_to_live_ms
    if lives_ms <= 0 or state.ends_at is not None:
        return state.ends_at
    return (state.started_at if state.due_at is None else state.due_at) + lives_ms


def overrunning(states: Iterable[tuple[InstanceState, Instant]]) -> list[JsonObject]:
    """Instances with the times between which they should have been active."""
    return [
        {
            "contextName": state.plan,
            "contextInstanceId": str(state.instance_id),
            "instanceStatus": state.status,
            "startTime": state.started_at,
            "projectedEndTime": end,
        }
        for state, end in states
    ]


def _trees(state: InstanceState) -> list[Context]:
    """The plan's contexts in the order of their indices."""
    return list(state.topology.plan.root.walk())


def _context_fields(state: InstanceState, index: int, tree: Context) -> JsonObject:
    compiled = state.topology.contexts[index]
    units = state.topology.units
    fields: JsonObject = {} if index else plan_fields(state.topology.plan)
    fields |= {
        "id": f"{state.instance_id}-{tree.name}" if index else str(state.instance_id),
        "name": tree.name,
        "description": tree.description or None,
        "status": state.context_status(index).value,
        "createdDateTime": state.started_at,
        "updatedDateTime": state.updated_at,
        "startTime": state.started_at,
        "endTime": state.ended_at or 0,
        "projectedEndTime": projected_end(state) or 0,
        "contextParameters": parameter_fields(_shown(each) for each in tree.parameters),
        "scheduledJobs": [job_instance(state, tree.name, units[unit]) for unit in compiled.units],
        "jobDependencies": [dependency_fields(each) for each in tree.dependencies],
        "contextDependencies": context_dependency_fields(tree),
        "jobLocks": [_lock_fields(state, each) for each in tree.locks],
        "contexts": [
            _context_fields(state, child, below)
            for child, below in zip(compiled.children, tree.contexts, strict=True)
        ],
        "heldJobs": {},
    }
    return fields if index else fields | _root_fields(state)


def _root_fields(state: InstanceState) -> JsonObject:
    values = parameters_of_instance(state.topology, state.known_values)
    declared = {each.name: _shown(each).default for each in state.topology.plan.root.parameters}
    names = dict.fromkeys((*declared, *values))
    return {
        "status": state.status,
        "contextParameters": parameter_fields(
            Parameter(name, declared.get(name), values.get(name)) for name in names
        ),
        "quartzScheduleDrivenJobsDisabledForContext": state.schedules_disabled,
        "runContextUntilManuallyEnded": state.ends_at is None,
    }


def _shown(parameter: Parameter) -> Parameter:
    """A declaration as everybody may see it."""

    def covered(text: str | None) -> str | None:
        return None if text is None else shown(parameter.name, text)

    return Parameter(parameter.name, covered(parameter.default), covered(parameter.value))


def _lock_fields(state: InstanceState, lock: Lock) -> JsonObject:
    jobs: dict[str, list[JsonObject]] = {}
    for each in lock.participants:
        unit = state.topology.unit_in(each.context, each.job)
        if unit is not None:
            jobs.setdefault(each.context, []).append(
                {
                    "identifier": each.job,
                    "agentName": unit.job.agent,
                    "jobName": unit.job.name,
                    "lockCount": each.count,
                }
            )
    return {"name": lock.name, "lockCount": lock.count, "exclusiveJobLock": lock.exclusive, "jobs": jobs}


def _last_event(state: InstanceState, unit: Unit, job: JobState) -> JsonObject:
    """What the latest report of the job amounts to, as the event that said it."""
    finished = job.finished_at is not None
    return {
        "agentName": unit.job.agent,
        "jobName": unit.job.name,
        "contextName": state.plan,
        "childContextNames": list(unit.contexts),
        "contextInstanceId": str(state.instance_id),
        "jobStarting": not finished,
        "successful": finished and job.status is not JobStatus.ERROR,
        "returnCode": job.return_code,
        "pid": job.pid or 0,
        "fireTime": job.fired_at or 0,
        "nextFireTime": 0,
        "completionTime": job.finished_at or 0,
        "resultOutput": job.output_path,
        "resultError": job.error_path,
        "executionDetails": job.details,
        "dryRun": state.dry_run is not None,
        "skipped": job.status in _PASSED_OVER,
        "raisedDueToFailureResubmission": False,
    }


def _job_details(state: InstanceState, unit: Unit) -> JsonObject:
    job = state.job(unit.index)
    return {
        "jobName": unit.job.name,
        "agentName": unit.job.agent,
        "identifier": unit.identifier,
        "childContextName": list(unit.contexts),
        "instanceStatus": job.status.value,
        "targetResidingContextOnly": isinstance(unit.job, CommandJob)
        and unit.job.target_residing_context_only,
        "startTime": job.started_at or 0,
        "endTime": job.finished_at or 0,
    }
