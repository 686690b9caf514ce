"""Whom plans tell, and what they keep secret, drawn from a plain stream of chance."""

import random

import msgspec
from jobledger.domain.notification_settings import (
    ForType,
    JobNotification,
    MonitorType,
    NotificationSettings,
    PlanNotifications,
)
from jobledger.domain.plan import CommandJob, Context, Job, JobPlan, Parameter
from virtual_channel import HOOK
from virtual_launcher import Command
from virtual_secrets import sealed, within_text

_TYPES = tuple(MonitorType)
_PEOPLE = ("ann@night.test", "bob@night.test", "Carl <carl@night.test>")


def telling_plan(chance: random.Random, plan: JobPlan) -> JobPlan:
    """The plan with other words about who is told of it, and commands that may run too short or too long."""
    jobs = tuple(_timed(chance, job) for job in plan.jobs)
    return msgspec.structs.replace(plan, jobs=jobs, notifications=_settings(chance, plan))


def _timed(chance: random.Random, job: Job) -> Job:
    if not isinstance(job, CommandJob) or chance.random() < 0.6:
        return job
    if chance.random() < 0.5:
        return msgspec.structs.replace(job, min_execution_minutes=1)
    slow = msgspec.structs.replace(job, max_execution_minutes=1)
    if chance.random() < 0.5:
        return slow
    command = Command.of(job.command_line)
    command.longest_ms = 150_000
    return msgspec.structs.replace(slow, command_line=command.script())


def _settings(chance: random.Random, plan: JobPlan) -> NotificationSettings:
    if chance.random() < 0.2:
        return NotificationSettings()
    of_plan = _of_plan(chance) if chance.random() < 0.8 else None
    names = sorted({job.name for context in plan.root.walk() for job in context.jobs})
    contexts = [context.name for context in plan.root.walk()]
    of_jobs = [_of_job(chance, names, contexts) for _ in range(chance.choice([0, 0, 1, 3]) if names else 0)]
    return NotificationSettings.of(of_plan, of_jobs)


def _of_plan(chance: random.Random) -> PlanNotifications:
    own = ForType(to=("errors@night.test",), subject="${job} failed")
    return PlanNotifications(
        monitor_types=tuple(sorted(chance.sample(_TYPES, chance.randint(1, len(_TYPES))))),
        to=_people(chance),
        bcc=chance.choice([(), (), ("audit@night.test",)]),
        webhooks=chance.choice([(), (HOOK,)]),
        html=chance.random() < 0.2,
        by_type=chance.choice([{}, {MonitorType.ERROR: own}]),
    )


def _of_job(chance: random.Random, names: list[str], contexts: list[str]) -> JobNotification:
    return JobNotification(
        job=chance.choice(names),
        monitor_type=chance.choice(_TYPES),
        context=chance.choice(["", *contexts]),
        to=_people(chance),
        webhooks=chance.choice([(), (HOOK,)]),
    )


def _people(chance: random.Random) -> tuple[str, ...]:
    return tuple(chance.sample(_PEOPLE, chance.choice([0, 1, 2, 3])))


def secretive_plan(chance: random.Random, plan: JobPlan) -> JobPlan:
    """The plan with encrypted values among its parameters."""
    jobs = tuple(_with_secrets(chance, job) for job in plan.jobs)
    root = _context_with_secrets(chance, plan.root)
    return msgspec.structs.replace(plan, root=root, jobs=jobs)


def _with_secrets(chance: random.Random, job: Job) -> Job:
    if not isinstance(job, CommandJob) or chance.random() < 0.2:
        return job
    own = (
        Parameter("PASSWORD", sealed(chance.randrange(8))),
        Parameter("DSN", chance.choice([None, within_text(chance.randrange(8))])),
        Parameter("GIVEN"),
    )
    return msgspec.structs.replace(job, parameters=(*job.parameters, *own))


def _context_with_secrets(chance: random.Random, context: Context) -> Context:
    parameters = context.parameters
    if chance.random() < 0.3:
        parameters = (*parameters, Parameter("PASSWORD", value=within_text(chance.randrange(8))))
    children = tuple(_context_with_secrets(chance, each) for each in context.contexts)
    return msgspec.structs.replace(context, parameters=parameters, contexts=children)
