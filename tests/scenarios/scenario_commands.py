"""What a person asks in a scenario, as a command of the core and as a request to the API."""

from typing import Any
from urllib.parse import quote

from jobledger.domain import commands
from scenario_stage import Command

ON_JOBS = {each.name: each for each in commands.JOB_COMMANDS}
ON_CONTEXTS = {each.name: each for each in commands.CONTEXT_COMMANDS}
ON_INSTANCES = frozenset({"end", "set", "disable-schedules", "enable-schedules", "run-until-ended"})


def domain_command(asked: Command) -> commands.Order:
    """As the core knows it."""
    match asked:
        case Command(verb=verb, job=str(job), context=str(context)) if verb in ON_JOBS:
            return ON_JOBS[verb](job=job, context=context, **asked.options)
        case Command(verb=verb, job=None, context=str(context)) if verb in ON_CONTEXTS:
            return ON_CONTEXTS[verb](context=context)
        case Command(verb="end"):
            return commands.EndInstance()
        case Command(verb="set"):
            return commands.SetParameters(context=asked.context, **asked.options)
        case Command(verb="disable-schedules"):
            return commands.DisableSchedules()
        case Command(verb="enable-schedules"):
            return commands.EnableSchedules()
        case Command(verb="run-until-ended"):
            return commands.RunUntilEnded()
    raise ValueError(f"nobody can ask to {asked.verb} this")


def request(asked: Command) -> tuple[str, dict[str, Any]]:
    """The path below the instance's and the body of the request."""
    body: dict[str, Any] = {**asked.options}
    if asked.reason is not None:
        body["reason"] = asked.reason
    match asked.verb:
        case "set":
            if asked.context is not None:
                body["context"] = asked.context
            return "/parameters", body
        case "disable-schedules" | "enable-schedules":
            return "/schedules", {**body, "enabled": asked.verb == "enable-schedules"}
    place = ""
    if asked.context is not None:
        place += f"/contexts/{quote(asked.context, safe='')}"
    if asked.job is not None:
        place += f"/jobs/{quote(asked.job, safe='')}"
    return f"{place}/{asked.verb}", body
