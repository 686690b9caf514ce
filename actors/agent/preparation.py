"""What the launcher is given for an order, and what people are shown of it."""

from collections.abc import Mapping
from pathlib import Path

from ...domain.secret_values import MASK, is_secret, masked
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
from .seal import Seal
from .spawner import RunSpec

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
        seal: Seal,
    ) -> None:
        """``inherited``: variables that commands get of the agent's own beside the usual ones."""
        self._agent = agent
        self._output_dir = output_dir
        self._jobs_dir = jobs_dir
        self._own_environment = own_environment
        self._allowed = (*ALLOWED_VARIABLES, *inherited)
        self._timeout_minutes = timeout_minutes
        self._seal = seal

    def paths(self, accepted: Accepted) -> OutputPaths:
        """Where a run writes to: the same after a restart."""
        return output_paths(self._output_dir, self._identity(accepted))

    def files(self, order: Order) -> RunFiles:
        """What people are shown of a run."""
        paths = self.paths(order.accepted)
        return RunFiles(str(paths.output), str(paths.error), self._details(order))

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
                self._seal.opened(order.initiation),
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

    def _details(self, order: Order) -> str:
        """The parameters and the script, without what nobody may read."""
        script = self._without_secrets(order)
        if len(script) > _LONGEST_SCRIPT:
            script = f"{script[:_LONGEST_SCRIPT]}… ({len(script)} characters)"
        lines = [f"plan: {order.initiation.plan}", f"job: {order.initiation.job}"]
        shown = list(masked(order.initiation.parameters).items())[:_MOST_PARAMETERS]
        lines += [f"parameter {name}={value[:_LONGEST_VALUE]}" for name, value in shown]
        return "\n".join([*lines, "script:", script])

    def _without_secrets(self, order: Order) -> str:
        """The script; a secret that somebody wrote into it is covered there too."""
        script = order.template.command_line
        try:
            parameters = self._seal.opened(order.initiation)
        except ValueError:
            return script
        for name, value in parameters.items():
            secret = name in order.initiation.secrets or is_secret(name, value)
            if secret and len(value) >= _SHORTEST_MASKED_IN_TEXT:
                script = script.replace(value, MASK)
        return script
