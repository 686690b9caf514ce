"""Giving orders: what came of one in a sentence, and what to do instead of one that is refused."""

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from . import answers, find, render
from .failures import NotPermitted

if TYPE_CHECKING:
    from .client import Client

_MOST_NAMES = 5
"""Jobs that are named in a line; of more the number is told."""

_FOLLOWED = {
    "JobInitiated": "initiated",
    "JobLockQueued": "waiting for a lock",
    "InitiationKept": "kept until released",
    "InitiationDropped": "not to start upon release any more",
    "JobPassedOver": "passed over",
    "JobCompleted": "complete",
    "GlobalEventRaised": "raised",
    "KillRequested": "asked its agent to kill",
    "JobReset": "reset",
    "JobHeld": "held",
    "JobReleased": "released",
    "JobSkipped": "to be skipped",
    "JobEnabled": "enabled",
}
"""What a fact says of its job, for the facts that an order leads to."""

_WAY_OUT = {
    "RUNNING": ("kill", "wait until it has ended, or `jobledger job kill {place}`"),
    "ON_HOLD": ("release", "`jobledger job release {place}` first"),
    "SKIPPED": ("enable", "`jobledger job enable {place}` first"),
    "SKIPPED_COMPLETE": ("enable", "`jobledger job enable {place}` first"),
    "LOCK_QUEUED": ("reset", "wait for its lock, or `jobledger job reset {place}` to leave the queue"),
    "COMPLETE": ("reset", "`jobledger job reset {place}` first"),
    "ERROR": ("reset", "`jobledger job reset {place}` first"),
    "WAITING": ("reset", "`jobledger job reset {place}` first"),
}
"""By the status that is in the way: the order that changes it, and what to tell if that one is permitted."""


class Ordered:
    """A job as it was named on the command line, found in its instance."""

    def __init__(self, client: "Client", instance_text: str, job_text: str, context: str | None) -> None:
        self._client = client
        self.instance, _document = find.instance(client, instance_text)
        self.context, self.job = find.standing(self.instance, job_text, context)
        self._path = find.path(self.instance, self.context, self.job)
        words = [instance_text, job_text, *(() if context is None else ("--context", context))]
        self._words = shlex.join(words)

    @property
    def told(self) -> str:
        """The job and where it stands."""
        return f"{self.job.identifier} in {self.context.name}"

    def give(self, order: str, body: dict[str, Any]) -> Any:
        """Give the order; a refusal says what to do instead."""
        try:
            return self._client.post(f"{self._path}/{order}", body)
        except NotPermitted as refused:
            refused.next_step = _instead(order, refused, self._words, self.instance.plan) or refused.next_step
            raise


def _instead(order: str, refused: NotPermitted, place: str, plan: str) -> str:
    if refused.status == "ENDED":
        return f"`jobledger instance start {shlex.quote(plan)}` starts a new one"
    if refused.status == "PREPARED":
        return "wait for its start; until then it takes hold, release, skip, enable and parameters"
    way_out, told = _WAY_OUT.get(refused.status, ("", ""))
    if way_out != order and way_out in refused.permitted and _leads_there(refused):
        return told.format(place=place)
    return ""


def _leads_there(refused: NotPermitted) -> bool:
    """Whether the order is permitted once the job waits, or is refused for what is on its way."""
    return not refused.permitted_in or "WAITING" in refused.permitted_in


def print_accepted(
    document: Any, sentence: str, own: Sequence[str], *, as_json: bool, nothing: str = ""
) -> None:
    """Say what was done and what followed; facts of the types ``own`` are what the sentence is about."""
    if as_json:
        render.as_json(document)
        return
    accepted = answers.read(answers.Accepted, document)
    if nothing and not accepted.facts:
        click.echo(render.clean(nothing))
        return
    click.echo(render.clean(sentence))
    for text in _followed(fact for fact in accepted.facts if fact.type not in own):
        click.echo(render.clean(f"  {text}"))


def _followed(facts: Iterable[answers.Fact]) -> Iterable[str]:
    """A line for each kind of thing that followed, in the order in which the first of it did."""
    jobs: dict[str, list[str]] = {}
    for fact in facts:
        if fact.type == "InstanceEnded":
            jobs["the instance ended"] = []
        elif (what := _FOLLOWED.get(fact.type)) is not None:
            jobs.setdefault(what, []).append(str(fact.data.get("job", "")))
    for what, names in jobs.items():
        yield f"{what}: {named(names)}" if names else what


def named(names: Sequence[str]) -> str:
    """The names, or the first of them and how many more there are."""
    told = ", ".join(names[:_MOST_NAMES])
    return told if len(names) <= _MOST_NAMES else f"{told} and {len(names) - _MOST_NAMES} more"


def body_of(reason: str | None, **fields: object) -> dict[str, Any]:
    """The body of an order; what was not given is left out."""
    return {name: value for name, value in {**fields, "reason": reason}.items() if value is not None}
