"""The ``jobledger`` command; a noun's module is imported when it is used, so the prompt is soon back."""

from importlib import import_module
from typing import Any

import click

from .. import __version__
from .failures import ExitCode

_COMMANDS = {
    "dashboard": ("servers", "Serve a dashboard: it orchestrates plan instances."),
    "agent": ("agents", "Serve an agent: it runs commands on this host. Or list the agents."),
    "up": ("servers", "Serve a dashboard and one agent, both on this host."),
    "demo": ("demo", "Show an end-of-day run from start to end, its agent killed half-way."),
    "plan": (
        "plans",
        "Push, compare, check, export, disable or delete job plans; hold and skip jobs.",
    ),
    "instance": ("instances", "Start, watch, look into, steer and end plan instances."),
    "job": ("jobs", "Submit, hold, skip, reset or kill a job; ask why it does not run; read its output."),
    "lock": ("locks", "See who holds the job locks and who waits for them."),
    "forecast": ("forecasts", "Tell which instances will start and which schedules will fire."),
    "parameters": ("parameters", "See the parameter sources of plans, and have them read again."),
    "encrypt": ("encrypting", "Turn a secret into a token to put into a plan, a source or a parameter."),
    "key": ("keys", "Make and change the keys of encrypted values."),
    "event": ("events", "Tell plan instances that something happened."),
    "notification": ("notifications", "See what people were told, and have it sent again."),
    "dead-letter": ("dead_letters", "See and resubmit events that could not be processed."),
    "user": ("users", "Add, list and remove accounts of people and agents."),
    "log": ("log", "Read a segment log or an event store, offline."),
}
"""The module of each command, and its line in the help."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the table."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, its module imported now."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _line = _COMMANDS[cmd_name]
        found = getattr(import_module(f".{module}", __package__), cmd_name.replace("-", "_"))
        return found if isinstance(found, click.Command) else None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C ends it with an exit code of its own."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise click.exceptions.Exit(ExitCode.INTERRUPTED) from interrupt
        except click.Abort as abort:
            if isinstance(abort.__context__, KeyboardInterrupt):  # at a question
                raise click.exceptions.Exit(ExitCode.INTERRUPTED) from abort
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without importing anything for it."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_module, text) in _COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="jobledger %(version)s")
def cli() -> None:
    """Schedule jobs over many hosts, with every fact on disk before anything acts on it.

    \b
    First steps:
      jobledger demo                   see it work
      jobledger up --data-dir DIR      a dashboard and an agent on this host
      jobledger plan push FILE         push a job plan
      jobledger instance start PLAN    run it
    """


def main() -> None:
    """The entry point of the installed command."""
    cli(prog_name="jobledger")
