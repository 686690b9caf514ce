"""What a person asks in a scenario, as a command of the core and as a request to the API."""

from typing import Any
from urllib.parse import quote

from jobledger.domain import commands
from scenario_stage import Command


def domain_command(asked: Command) -> commands.Command:
    """As the core knows it."""
    match asked:
        case Command(verb="end"):
            return commands.EndInstance()
        case Command(verb="submit", job=str(job), context=str(context)):
            return commands.SubmitJob(job=job, context=context, parameters=asked.parameters)
    raise ValueError(f"nobody can ask to {asked.verb} this")


def request(asked: Command) -> tuple[str, dict[str, Any]]:
    """The path below the instance's and the body of the request."""
    body: dict[str, Any] = {} if asked.reason is None else {"reason": asked.reason}
    if asked.parameters:
        body["parameters"] = asked.parameters
    place = ""
    if asked.context is not None:
        place += f"/contexts/{quote(asked.context, safe='')}"
    if asked.job is not None:
        place += f"/jobs/{quote(asked.job, safe='')}"
    return f"{place}/{asked.verb}", body
