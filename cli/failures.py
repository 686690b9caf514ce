"""How a command fails: one sentence, the next step, and an exit code that scripts can rely on."""

from collections.abc import Sequence
from enum import IntEnum
from typing import IO, Any

import click


class ExitCode(IntEnum):
    """What a command's exit code says; the table in docs/operations.md is the same."""

    DONE = 0
    REFUSED = 1
    """The dashboard refused it, or a file that was named is not as it should be."""
    USAGE = 2
    """The command line is wrong."""
    UNREACHABLE = 3
    """The dashboard does not answer, or says that it cannot now."""
    NOT_ALLOWED = 4
    """No token, a wrong one, or one with too little."""
    NOT_FOUND = 5
    """There is no such plan, instance, job or file."""
    IN_ERROR = 6
    """The instance that was watched is in ERROR and nothing of it runs any more."""
    INCOMPLETE = 7
    """The instance that was watched was ended before it was COMPLETE."""
    INTERRUPTED = 130
    """Ctrl-C."""


class Failure(click.ClickException):
    """A command that could not do what it was asked to."""

    def __init__(
        self,
        message: str,
        *,
        code: ExitCode = ExitCode.REFUSED,
        next_step: str = "",
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.next_step = next_step
        self.details = tuple(details)

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """What click ends the process with."""
        return int(self.code)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence, what belongs to it and the next step on standard error."""
        click.echo(f"jobledger: {self.message}", file=file, err=True)
        for detail in self.details:
            click.echo(f"  - {detail}", file=file, err=True)
        if self.next_step:
            click.echo(f"Next: {self.next_step}", file=file, err=True)


class Unreachable(Failure):
    """The dashboard did not answer, or answered that it cannot take it now."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message, code=ExitCode.UNREACHABLE, next_step=next_step)


class NotPermitted(Failure):
    """The state of a job or an instance does not allow the order now."""

    def __init__(
        self,
        message: str,
        *,
        status: str = "",
        permitted: Sequence[str] = (),
        permitted_in: Sequence[str] = (),
        details: Sequence[str] = (),
    ) -> None:
        super().__init__(message, next_step=_when(permitted, permitted_in), details=details)
        self.status = status
        self.permitted = tuple(permitted)
        """The orders that it accepts now."""
        self.permitted_in = tuple(permitted_in)
        """The statuses in which it would accept this one."""


def _when(permitted: Sequence[str], permitted_in: Sequence[str]) -> str:
    sentences = []
    if permitted_in:
        sentences.append(f"it is permitted in {', '.join(permitted_in)}")
    if permitted:
        sentences.append(f"now it accepts {', '.join(permitted)}")
    return "; ".join(sentences)
