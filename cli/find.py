"""Finding the instance or job that a person means: an id, the beginning of one, or a name."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from . import answers
from .failures import ExitCode, Failure

if TYPE_CHECKING:
    from .client import Client

INSTANCE_HELP = "INSTANCE is an id, the beginning of one, or the name of a plan: then its newest instance."
_ID_CHARACTERS = frozenset("0123456789abcdef-")
_SHORTEST_BEGINNING = 4
_FIRST_LOOK = 3
"""Among so many of a plan's instances mostly one has begun; the others are prepared, or were once."""


def instance_id(client: "Client", text: str) -> str:
    """The id of the instance that is meant; raises ``Failure`` for none or several."""
    try:
        return str(UUID(text))
    except ValueError:
        pass
    if (newest := _newest_of(client, text)) is not None:
        return newest
    beginning = text.lower()
    found: list[str] = []
    if len(beginning) >= _SHORTEST_BEGINNING and _ID_CHARACTERS.issuperset(beginning):
        every = (str(item["instance_id"]) for item in client.items("/instances"))
        found = [each for each in every if each.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Failure(
            f"{len(found)} instances begin with {text}",
            code=ExitCode.USAGE,
            next_step="write more of the id",
            details=found[:10],
        )
    raise Failure(
        f"there is no instance {text}, and no instance of a plan of that name",
        code=ExitCode.NOT_FOUND,
        next_step="`jobledger instance list` shows those that there are",
    )


def _newest_of(client: "Client", plan: str) -> str | None:
    """The plan's newest instance that has begun, else the newest there is; ``None`` without any."""
    newest: list[dict[str, Any]] = []
    for most in (_FIRST_LOOK, None):
        newest = list(client.items("/instances", plan=plan, limit=most))
        for each in newest:
            if each["status"] != "PREPARED" and each["started_at"] is not None:
                return str(each["instance_id"])
        if len(newest) < _FIRST_LOOK:
            break
    return str(newest[0]["instance_id"]) if newest else None


def instance(client: "Client", text: str, **query: object) -> tuple[answers.Instance, dict[str, Any]]:
    """The instance that is meant, with its tree, and the document it was read from."""
    document = client.get(f"/instances/{instance_id(client, text)}", **query)
    return answers.read(answers.Instance, document), document


def standing(shown: answers.Instance, text: str, context: str | None) -> tuple[answers.Context, answers.Job]:
    """The job of an instance that is meant, and a context in which it stands.

    The text is an identifier (``agent-name``) or, where that is enough to tell, the name alone. A job that
    stands in several contexts runs once, so the first is taken when none is named; one that runs for each of
    them by itself has to be named with its context.
    """
    standings = [
        (where, job)
        for where, job in shown.standings()
        if text in (job.identifier, job.name) and context in (None, where.name)
    ]
    identifiers = {job.identifier for _where, job in standings}
    if text in identifiers:
        standings = [(where, job) for where, job in standings if job.identifier == text]
    elif len(identifiers) > 1:
        raise Failure(
            f"several jobs of this instance are named {text}",
            code=ExitCode.USAGE,
            next_step="write the agent too",
            details=sorted(identifiers),
        )
    if not standings:
        where_told = f"context {context} of this instance" if context else "this instance"
        raise Failure(
            f"{where_told} has no job {text}",
            code=ExitCode.NOT_FOUND,
            next_step=f"`jobledger instance show {shown.instance_id}` shows those that there are",
        )
    if len(standings) > 1 and standings[0][1].context is not None:
        raise Failure(
            f"job {text} is a job of its own in each of {len(standings)} contexts",
            code=ExitCode.USAGE,
            next_step="name one of them with --context",
            details=[where.name for where, _job in standings],
        )
    return standings[0]


def path(shown: answers.Instance, context: answers.Context, job: answers.Job) -> str:
    """The path of a job below the API."""
    from .client import segment

    return f"/instances/{shown.instance_id}/contexts/{segment(context.name)}/jobs/{segment(job.identifier)}"
