"""``jobledger plan hold``, ``release``, ``skip``, ``enable`` and ``schedules``: how new instances start."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from . import plan_life, render
from .failures import ExitCode, Failure
from .options import as_json_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client

_ORDERS = {
    "hold": (
        "Have new instances of NAME start with JOB held.",
        "It starts when somebody releases it there (`jobledger job release`).",
    ),
    "release": ("Have new instances of NAME start with JOB held no longer.", ""),
    "skip": ("Have new instances of NAME start with JOB skipped.", "It is passed over when its turn comes."),
    "enable": (
        "Let instances of NAME start again; with JOB, have new ones start with JOB skipped no longer.",
        "Starts that were due while the plan was disabled are not made up for.",
    ),
}
_NO_OTHER = "Instances that run stay as they are. JOB is an identifier (agent-name), or its name alone."


def _command(order: str) -> click.Command:
    summary, consequence = _ORDERS[order]

    @click.command(order, help=f"{summary}\n\n{consequence} {_NO_OTHER}".replace("\n\n ", "\n\n"))
    @click.argument("name")
    @click.argument("job_text", metavar="JOB", required=order != "enable")
    @click.option(
        "--context", "contexts", metavar="NAME", multiple=True, help="Only there; repeat it for more."
    )
    @click.option("--reason", metavar="TEXT", help="Why; kept in the log.")
    @as_json_option
    @talks_to_dashboard
    def give(
        client: "Client",
        *,
        name: str,
        job_text: str | None,
        contexts: tuple[str, ...],
        reason: str | None,
        as_json: bool,
    ) -> None:
        from .client import segment

        if job_text is None:
            if contexts:
                raise click.UsageError("--context says where a job stands: name the JOB too")
            plan_life.turn(client, name, order, reason, as_json=as_json)
            return
        identifier = _identifier(client, name, job_text)
        body: dict[str, Any] = {"contexts": contexts} if contexts else {}
        body |= {} if reason is None else {"reason": reason}
        path = f"/plans/{segment(name)}/jobs/{segment(identifier)}/{order}"
        document = client.post(path, body)
        if as_json:
            render.as_json(document)
        else:
            click.echo(render.clean(_said(document)))

    return give


def _identifier(client: "Client", plan: str, text: str) -> str:
    """The identifier of the job that is meant; raises ``Failure`` for none or several."""
    from .client import segment

    document = client.get(f"/plans/{segment(plan)}")["plan"]
    listed = [(f"{each['agent']}-{each['name']}", each["name"]) for each in _listed(document["root"])]
    if any(identifier == text for identifier, _name in listed):
        return text
    found = list(dict.fromkeys(identifier for identifier, name in listed if name == text))
    if len(found) > 1:
        raise Failure(
            f"several jobs of plan {plan} are named {text}",
            code=ExitCode.USAGE,
            next_step="write the agent too",
            details=sorted(found),
        )
    # A job that no context lists may be described all the same: the dashboard knows.
    return found[0] if found else text


def _listed(context: dict[str, Any]) -> Iterable[dict[str, Any]]:
    yield from context.get("jobs", ())
    for child in context.get("contexts", ()):
        yield from _listed(child)


def _said(document: dict[str, Any]) -> str:
    places = [("held", document["held_in"]), ("skipped", document["skipped_in"])]
    starts = " and ".join(f"{how} in {', '.join(contexts)}" for how, contexts in places if contexts)
    since = f"version {document['version']} of {document['name']}"
    told = f"{document['identifier']} starts {starts or 'neither held nor skipped'}"
    return f"{told}, from {since} on" if document["changed"] else f"{told} already: {since}"


@click.command()
@click.argument("name")
@click.argument("verb", metavar="disable|enable", type=click.Choice(["disable", "enable"]))
@click.option("--reason", metavar="TEXT", help="Why; kept in the log.")
@as_json_option
@talks_to_dashboard
def schedules(client: "Client", *, name: str, verb: str, reason: str | None, as_json: bool) -> None:
    """Have new instances of NAME start with their schedules disabled, or with them enabled.

    Instances that run stay as they are.
    """
    from .client import segment

    body = {} if reason is None else {"reason": reason}
    document = client.post(f"/plans/{segment(name)}/schedules/{verb}", body)
    if as_json:
        render.as_json(document)
        return
    since = f"version {document['version']}"
    said = f"from {since} on" if document["changed"] else f"already: {since}"
    click.echo(render.clean(f"schedules of {name} start {verb}d {said}"))


COMMANDS = (*(_command(order) for order in _ORDERS), schedules)
