"""The orders of ``jobledger job``: what each says beside its reason, and what is told of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .giving import Ordered, body_of, print_accepted
from .options import (
    as_json_option,
    context_option,
    instance_argument,
    job_argument,
    parameter_option,
    reason_option,
    talks_to_dashboard,
)

if TYPE_CHECKING:
    from .client import Client


def _about_a_job(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every order about a job takes."""
    taking: Callable[..., Any] = talks_to_dashboard(function)
    for option in (as_json_option, reason_option, context_option, job_argument, instance_argument):
        taking = option(taking)
    return taking


@click.command()
@parameter_option
@_about_a_job
def submit(
    client: "Client",
    *,
    instance_text: str,
    job_text: str,
    context: str | None,
    parameters: dict[str, str],
    reason: str | None,
    as_json: bool,
) -> None:
    """Run JOB now, whatever it waits for.

    A schedule, file or event job counts as having happened.
    """
    ordered = Ordered(client, instance_text, job_text, context)
    document = ordered.give("submit", body_of(reason, parameters=parameters))
    print_accepted(document, f"submitted {ordered.told}", ("JobInitiated",), as_json=as_json)


def _plain(name: str, done: str, own: str, help_text: str, nothing: str = "") -> click.Command:
    """An order that says nothing but its reason."""

    @click.command(name, help=help_text)
    @_about_a_job
    def order(
        client: "Client",
        *,
        instance_text: str,
        job_text: str,
        context: str | None,
        reason: str | None,
        as_json: bool,
    ) -> None:
        ordered = Ordered(client, instance_text, job_text, context)
        document = ordered.give(name, body_of(reason))
        print_accepted(
            document,
            f"{done} {ordered.told}",
            (own,),
            as_json=as_json,
            nothing=f"{ordered.told} {nothing}" if nothing else "",
        )

    return order


hold = _plain("hold", "held", "JobHeld", "Do not start JOB before it is released.")
release = _plain(
    "release",
    "released",
    "JobReleased",
    "Let JOB start again, at once if it was to start meanwhile.",
    "is not held: nothing changed",
)
skip = _plain("skip", "skipped", "JobSkipped", "Pass JOB over when its turn comes.")
enable = _plain("enable", "enabled", "JobEnabled", "Take back a skip of JOB.")
fire_dependants = _plain(
    "fire-dependants",
    "fired the dependants of",
    "DependantsFired",
    "Start what the success of a failed JOB would have started; see `job dependants`.",
)


@click.command()
@click.option("--downstream", is_flag=True, help="And everything that depends on it, directly or not.")
@click.option("--submit", "then_submit", is_flag=True, help="Then run it; with --downstream.")
@parameter_option
@_about_a_job
def reset(
    client: "Client",
    *,
    instance_text: str,
    job_text: str,
    context: str | None,
    downstream: bool,
    then_submit: bool,
    parameters: dict[str, str],
    reason: str | None,
    as_json: bool,
) -> None:
    """Let JOB wait as if it had not run."""
    if then_submit and not downstream:
        raise click.UsageError("--submit goes with --downstream; after a plain reset give `job submit`")
    if parameters and not then_submit:
        raise click.UsageError("parameters are for a run: they go with --submit")
    ordered = Ordered(client, instance_text, job_text, context)
    if downstream:
        body = body_of(reason, submit=then_submit, parameters=parameters)
        document = ordered.give("reset-downstream", body)
        sentence = f"reset {ordered.told} and everything downstream"
    else:
        document = ordered.give("reset", body_of(reason))
        sentence = f"reset {ordered.told}"
    print_accepted(document, sentence, () if downstream else ("JobReset",), as_json=as_json)


@click.command()
@click.option("--ticket", metavar="TEXT", help="Where the failure is followed up.")
@_about_a_job
def acknowledge(
    client: "Client",
    *,
    instance_text: str,
    job_text: str,
    context: str | None,
    ticket: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Accept the failure of JOB, or the one to come; it starts nothing by itself.

    From now on its ERROR counts as satisfied, for dependencies and for the status of contexts.
    """
    ordered = Ordered(client, instance_text, job_text, context)
    document = ordered.give("acknowledge", body_of(reason, ticket=ticket))
    print_accepted(document, f"acknowledged {ordered.told}", (), as_json=as_json)


@click.command()
@click.option("--force", is_flag=True, help="Give its processes no chance to clean up.")
@_about_a_job
def kill(
    client: "Client",
    *,
    instance_text: str,
    job_text: str,
    context: str | None,
    force: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Have the agent kill JOB; it ends in ERROR."""
    ordered = Ordered(client, instance_text, job_text, context)
    document = ordered.give("kill", body_of(reason, force=force))
    sentence = f"asked agent {ordered.job.agent} to kill {ordered.told}"
    print_accepted(document, sentence, ("KillRequested",), as_json=as_json)


COMMANDS = (submit, hold, release, skip, enable, reset, acknowledge, fire_dependants, kill)
