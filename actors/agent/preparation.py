"""What the launcher is given for an order, and what people are shown of it."""

import re
from collections.abc import Mapping
from pathlib import Path

from .environment import (
    ALLOWED_VARIABLES,
    OutputPaths,
    RunIdentity,
    job_environment,
    output_paths,
    shell_command,
)
from .intake import Accepted
from .orders import Order
from .run_reports import RunFiles
from .spawner import RunSpec

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|credential|api_?key|private_?key", re.IGNORECASE
)
_ENCRYPTED_VALUE = re.compile(r"^(ENC\(|enc:|\{cipher\})", re.IGNORECASE)
_MASK = "********"
_SHORTEST_MASKED_IN_TEXT = 4
_LONGEST_SCRIPT = 4000
_LONGEST_VALUE = 1000
_MOST_PARAMETERS = 200


class Preparation:
    """Turns orders into commands. Files that they write stand below the data directory."""

    def __init__(
        self,
        *,
        agent: str,
        output_dir: Path,
        jobs_dir: Path,
        own_environment: Mapping[str, str],
        inherited: tuple[str, ...],
        timeout_minutes: int,
    ) -> None:
        """``inherited``: variables that commands get of the agent's own beside the usual ones."""
        self._agent = agent
        self._output_dir = output_dir
        self._jobs_dir = jobs_dir
        self._own_environment = own_environment
        self._allowed = (*ALLOWED_VARIABLES, *inherited)
        self._timeout_minutes = timeout_minutes

    def paths(self, accepted: Accepted) -> OutputPaths:
        """Where a run writes to: the same after a restart."""
        return output_paths(self._output_dir, self._identity(accepted))

    def files(self, order: Order) -> RunFiles:
        """What people are shown of a run."""
        paths = self.paths(order.accepted)
        return RunFiles(str(paths.output), str(paths.error), _details(order))

    def spec(self, order: Order) -> RunSpec:
        """The command; raises ``ValueError`` when no process can be given what the order says."""
        template = order.template
        paths = self.paths(order.accepted)
        minutes = self._timeout_minutes if template.timeout_minutes is None else template.timeout_minutes
        return RunSpec(
            initiation_id=order.id,
            argv=shell_command(template.command_line, template.shell),
            cwd=Path(template.working_directory) if template.working_directory else self._jobs_dir,
            env=job_environment(
                self._own_environment,
                order.initiation.parameters,
                self._identity(order.accepted),
                paths,
                allowed=self._allowed,
            ),
            stdout=paths.output,
            stderr=paths.error,
            timeout_ms=minutes * 60_000,
        )

    def _identity(self, accepted: Accepted) -> RunIdentity:
        initiation = accepted.initiation
        return RunIdentity(
            plan=initiation.plan,
            instance_id=initiation.instance_id,
            context=initiation.contexts[0] if initiation.contexts else initiation.plan,
            agent=self._agent,
            job=initiation.job,
            initiation_id=initiation.id,
            fired_at=accepted.accepted_at,
        )


def masked(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters as people may see them: secrets, told by their name or by being encrypted, covered."""
    return {name: _MASK if _is_secret(name, value) else value for name, value in parameters.items()}


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.search(name) or _ENCRYPTED_VALUE.search(value))


def _details(order: Order) -> str:
    parameters = order.initiation.parameters
    script = order.template.command_line
    for name, value in parameters.items():
        if len(value) >= _SHORTEST_MASKED_IN_TEXT and _is_secret(name, value):
            script = script.replace(value, _MASK)
    if len(script) > _LONGEST_SCRIPT:
        script = f"{script[:_LONGEST_SCRIPT]}… ({len(script)} characters)"
    lines = [f"plan: {order.initiation.plan}", f"job: {order.initiation.job}"]
    shown = list(masked(parameters).items())[:_MOST_PARAMETERS]
    lines += [f"parameter {name}={value[:_LONGEST_VALUE]}" for name, value in shown]
    return "\n".join([*lines, "script:", script])
