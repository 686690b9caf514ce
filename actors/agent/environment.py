"""What a command is run with: its shell, its environment, and the files that take its output.

Names and parameters come from plans and are data. They become environment variables and file names, never a
part of a script.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from ...domain.instants import Instant
from .markers import safe_name

DEFAULT_SHELL: Final = ("/bin/bash", "-c")

ALLOWED_VARIABLES: Final = ("PATH", "HOME", "LANG", "LC_*", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR")
"""What commands inherit of the agent's own environment; ``*`` stands for any ending."""


class OutputPaths(msgspec.Struct, frozen=True):
    """Where the output of one run goes."""

    output: Path
    error: Path


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What run of what job this is."""

    plan: str
    instance_id: str
    context: str
    agent: str
    job: str
    initiation_id: str
    fired_at: Instant


def output_paths(directory: Path, run: RunIdentity) -> OutputPaths:
    """Files named by plan, instance, job, agent and fire time (UTC), below a directory."""
    fired = datetime.fromtimestamp(run.fired_at // 1000, UTC)
    name = f"{safe_name(run.agent)}@{fired:%Y%m%dT%H%M%S}.{run.fired_at % 1000:03d}Z"
    folder = directory / safe_name(run.plan) / safe_name(run.instance_id) / safe_name(run.job)
    return OutputPaths(folder / f"{name}.out", folder / f"{name}.err")


def shell_command(script: str, execution_environment: str | None = None) -> tuple[str, ...]:
    """The command that has a script run by the host's shell, or by the one that the job names.

    The job's own is written with bars between its words, such as ``cmd.exe|/c``.

    :raises ValueError: if the job's own has no first word, or a text holds a NUL character.
    """
    shell = tuple(execution_environment.split("|")) if execution_environment else DEFAULT_SHELL
    if not shell[0].strip():
        raise ValueError(f"{execution_environment!r} names no shell")
    _refuse_nul("the command line", script)
    _refuse_nul("the execution environment", *shell)
    return (*shell, script)


def job_environment(
    own: Mapping[str, str],
    parameters: Mapping[str, str],
    run: RunIdentity,
    paths: OutputPaths,
    *,
    allowed: Iterable[str] = ALLOWED_VARIABLES,
) -> dict[str, str]:
    """The whole environment of a command: what it inherits, its parameters, and what it is told of itself.

    A parameter outranks an inherited variable of its name, and what we tell outranks a parameter.

    :raises ValueError: if a parameter cannot be a variable; it names the parameter and not its value.
    """
    patterns = tuple(allowed)
    inherited = {
        name: value for name, value in own.items() if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    for name, value in parameters.items():
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"parameter {name!r} cannot be the name of an environment variable")
        _refuse_nul(f"the value of parameter {name!r}", value)
    told = {
        "LOG_FILE_PATH": str(paths.output),
        "ERROR_LOG_FILE_PATH": str(paths.error),
        "JOBLEDGER_PLAN": run.plan,
        "JOBLEDGER_INSTANCE_ID": run.instance_id,
        "JOBLEDGER_CONTEXT": run.context,
        "JOBLEDGER_JOB": run.job,
        "JOBLEDGER_INITIATION_ID": run.initiation_id,
    }
    for name, value in told.items():
        _refuse_nul(name, value)
    return {**inherited, **parameters, **told}


def _refuse_nul(what: str, *texts: str) -> None:
    if any("\0" in text for text in texts):
        raise ValueError(f"{what} holds a NUL character, which no process can be given")
