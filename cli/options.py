"""Options that all clients of the dashboard share, and how their values are read."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from .settings import TOKEN_VARIABLE, URL_VARIABLE, connection

if TYPE_CHECKING:
    from .client import Client

P = ParamSpec("P")
R = TypeVar("R")

instance_argument = click.argument("instance_text", metavar="INSTANCE")
job_argument = click.argument("job_text", metavar="JOB")
context_option = click.option(
    "--context", metavar="NAME", help="The context that is meant, for a job that stands in several."
)
reason_option = click.option("--reason", metavar="TEXT", help="Why; kept in the log.")
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def talks_to_dashboard(function: Callable[Concatenate["Client", P], R]) -> Callable[..., R]:
    """Give a command ``--url`` and ``--token``, and a client of that dashboard as its first argument."""

    @click.option("--url", metavar="URL", help=f"The dashboard's address (or {URL_VARIABLE}).")
    @click.option(
        "--token", metavar="TOKEN", help=f"Your token (or {TOKEN_VARIABLE}, so that `ps` does not show it)."
    )
    @wraps(function)
    def command(url: str | None, token: str | None, *args: P.args, **values: P.kwargs) -> R:
        from .client import Client

        with Client(connection(url, token)) as client:
            return function(client, *args, **values)

    return command


def read_parameters(
    _context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, str]:
    """``NAME=VALUE`` options as a mapping; a name given twice is a mistake."""
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} has to be NAME=VALUE")
        if name in parameters:
            raise click.BadParameter(f"{name} is given twice")
        parameters[name] = value
    return parameters


def parameter_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``-p NAME=VALUE``, as often as there are parameters."""
    return click.option(
        "-p",
        "--parameter",
        "parameters",
        metavar="NAME=VALUE",
        multiple=True,
        callback=read_parameters,
        help="Give a parameter; repeat it for more.",
    )(function)
