"""The orders of ``jobledger instance`` about a context and about the whole of it."""

from typing import TYPE_CHECKING, Any

import click

from . import answers, find, render
from .giving import body_of, named
from .options import (
    as_json_option,
    instance_argument,
    parameter_option,
    read_parameters,
    reason_option,
    talks_to_dashboard,
)

if TYPE_CHECKING:
    from .client import Client


def _about_a_context(name: str, done: str, help_text: str) -> click.Command:
    """An order about every job beneath a context."""

    @click.command(name, help=help_text)
    @instance_argument
    @click.argument("context", required=False)
    @reason_option
    @as_json_option
    @talks_to_dashboard
    def order(
        client: "Client", *, instance_text: str, context: str | None, reason: str | None, as_json: bool
    ) -> None:
        from .client import segment

        instance, _document = find.instance(client, instance_text)
        where = context or instance.plan
        path = f"/instances/{instance.instance_id}/contexts/{segment(where)}/{name}"
        document = client.post(path, body_of(reason))
        if as_json:
            render.as_json(document)
        else:
            click.echo(render.clean(_told(answers.read(answers.Accepted, document), done, where)))

    return order


def _told(accepted: answers.Accepted, done: str, where: str) -> str:
    jobs = list(dict.fromkeys(str(fact.data["job"]) for fact in accepted.facts if "job" in fact.data))
    if not jobs:
        return f"nothing beneath {where} could be {done}: nothing changed"
    count = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"
    return f"{done} {count} beneath {where}: {named(jobs)}"


hold = _about_a_context("hold", "held", "Hold the commands that wait: all, or those beneath CONTEXT.")
release = _about_a_context("release", "released", "Release what is held: all, or what is beneath CONTEXT.")
skip = _about_a_context("skip", "skipped", "Skip what waits: all, or what starts beneath CONTEXT.")
enable = _about_a_context("enable", "enabled", "Enable what is skipped: all, or what is beneath CONTEXT.")


@click.command("set")
@instance_argument
@click.argument("parameters", metavar="NAME=VALUE...", nargs=-1, required=True, callback=read_parameters)
@click.option("--context", metavar="NAME", help="Only for the jobs of this context and of those beneath it.")
@reason_option
@as_json_option
@talks_to_dashboard
def set_parameters(
    client: "Client",
    *,
    instance_text: str,
    parameters: dict[str, str],
    context: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Set parameters that later initiations use."""
    body = body_of(reason, parameters=parameters, context=context)
    where = "" if context is None else f" for {context}"
    _give(client, instance_text, "parameters", body, f"set {', '.join(parameters)}{where}", as_json=as_json)


@click.command()
@instance_argument
@click.argument("heeded", metavar="on|off", type=click.Choice(["on", "off"]))
@reason_option
@as_json_option
@talks_to_dashboard
def schedules(
    client: "Client", *, instance_text: str, heeded: str, reason: str | None, as_json: bool
) -> None:
    """Heed or ignore what schedules fire, except by hand."""
    body = body_of(reason, enabled=heeded == "on")
    _give(client, instance_text, "schedules", body, f"schedules are {heeded}", as_json=as_json)


@click.command()
@instance_argument
@reason_option
@as_json_option
@talks_to_dashboard
def keep(client: "Client", *, instance_text: str, reason: str | None, as_json: bool) -> None:
    """Let neither the clock nor its completion end it."""
    _give(
        client,
        instance_text,
        "run-until-ended",
        body_of(reason),
        "it goes on until you end it",
        as_json=as_json,
    )


@click.command()
@instance_argument
@parameter_option
@click.option("--same-parameters", is_flag=True, help="The fresh one gets what was given or set so far.")
@click.option("--hold-commands", is_flag=True, help="Every command of the fresh one begins on hold.")
@reason_option
@as_json_option
@talks_to_dashboard
def reset(
    client: "Client",
    *,
    instance_text: str,
    parameters: dict[str, str],
    same_parameters: bool,
    hold_commands: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """End an instance and start a fresh one of its plan's newest version; print the fresh one's id."""
    instance_id = find.instance_id(client, instance_text)
    body = body_of(
        reason, parameters=parameters, same_parameters=same_parameters, hold_commands=hold_commands
    )
    document = client.post(f"/instances/{instance_id}/reset", body)
    if as_json:
        render.as_json(document)
    else:
        click.echo(document["instance_id"])


def _give(
    client: "Client", instance_text: str, order: str, body: dict[str, Any], sentence: str, *, as_json: bool
) -> None:
    instance_id = find.instance_id(client, instance_text)
    document = client.post(f"/instances/{instance_id}/{order}", body)
    if as_json:
        render.as_json(document)
    else:
        nothing = "" if document["facts"] else "; it was so already"
        click.echo(render.clean(f"{sentence}{nothing}"))


COMMANDS = (hold, release, skip, enable, set_parameters, schedules, keep, reset)
