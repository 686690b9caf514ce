"""``jobledger dashboard`` and ``jobledger up``: commands that serve until they are told to stop."""

import os
import signal
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Literal, TypeAlias

import click

from . import render
from .failures import ExitCode, Failure
from .options import as_json_option
from .processes import ServerProcess
from .settings import AGENT_TOKENS_VARIABLE
from .starting import a_postgresql_url, told_when_it_cannot_start

AGENT_NAME = "scheduler-agent"
"""Of the agent that ``up`` starts."""

_STOPPED_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_data_dir_option = click.option(
    "--data-dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where it keeps all it knows.",
)
_parameters_option = click.option(
    "--parameters",
    "parameters_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A TOML file that names the parameter file of each plan that has one.",
)
_key_file_option = click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The keys of encrypted values; secrets.key in the dashboard's data directory unless given.",
)
_notifications_option = click.option(
    "--notifications",
    "notifications_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="How people are told of what happens: a TOML file; without it nobody is.",
)

Happening: TypeAlias = tuple[Literal["ended"], str, int] | tuple[Literal["signal"], str, int]


@click.command()
@_data_dir_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=9090, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one."
)
@click.option(
    "--database-url",
    metavar="URL",
    callback=a_postgresql_url,
    help="postgresql://… instead of a SQLite file in the data directory.",
)
@_parameters_option
@_key_file_option
@click.option(
    "--auth",
    default="users",
    show_default=True,
    type=click.Choice(["users", "none"]),
    help="none: anybody on this host may do everything; on the loopback interface only.",
)
@click.option(
    "--start-interval-multiple",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    metavar="FACTOR",
    help="How many times the time between two starts instances of a plan that runs one at a time may live.",
)
@_notifications_option
def dashboard(
    *,
    data_dir: Path,
    host: str,
    port: int,
    database_url: str | None,
    parameters_file: Path | None,
    key_file: Path | None,
    auth: Literal["users", "none"],
    start_interval_multiple: float,
    notifications_file: Path | None,
) -> None:
    """Serve a dashboard: it takes plans and events, orchestrates instances and tells agents what to run.

    It stops on SIGTERM or Ctrl-C, when what is in hand is finished. Where agents have tokens,
    JOBLEDGER_AGENT_TOKENS names a file with a line for each: "http://host-a:8080" = "its token".
    """
    import msgspec

    from ..actors.dashboard.dashboard import DashboardConfig
    from ..http import logs
    from ..http.agent_transport import HttpAgentTransport
    from ..http.dashboard.auth import ByAccount
    from ..http.dashboard.server import ServerConfig, serve_dashboard
    from ..http.serving import NotLoopback
    from ..storage.accounts import Accounts
    from ..storage.ledger import system_clock
    from ..storage.mapper import UnreadableFact
    from ..storage.parameter_files import ParameterFileUnusable
    from ..storage.records import NewerSchema, Unavailable
    from .agent_tokens import AgentTokens
    from .notifying import notifying_by

    config = ServerConfig(
        dashboard=DashboardConfig(
            data_dir=data_dir,
            database_url=database_url,
            start_interval_multiple=start_interval_multiple,
            parameters_file=parameters_file,
            key_file=key_file,
        ),
        host=host,
        port=port,
        auth=auth,
    )
    tokens_file = os.environ.get(AGENT_TOKENS_VARIABLE)
    tokens = AgentTokens(Path(tokens_file) if tokens_file else None)
    notifying = None
    if notifications_file is not None:
        notifying = notifying_by(notifications_file, clock=system_clock, zone=config.dashboard.time_zone)
    logs.configure(config.log_level)
    try:
        with told_when_it_cannot_start("dashboard", data_dir, host, port):
            serve_dashboard(
                config,
                open_transport=lambda url: HttpAgentTransport(url, token=tokens.token_for(url)),
                clock=system_clock,
                accounts=lambda ledger: ByAccount(Accounts(ledger)),
                notifying=notifying,
            )
    except NotLoopback as error:
        raise click.UsageError(str(error)) from error
    except ParameterFileUnusable as error:
        raise Failure(str(error), next_step='write a line for each plan: "plan" = "FILE"') from error
    except NewerSchema as error:
        raise Failure(
            str(error), next_step="see the section on upgrades in docs/operations.md; nothing was changed"
        ) from error
    except (UnreadableFact, msgspec.DecodeError) as error:
        raise Failure(
            f"what the dashboard keeps is damaged on disk: {error}",
            next_step="`jobledger log rebuild` makes its lists anew; `jobledger log DIR` names other damage",
        ) from error
    except Unavailable as error:
        file = f"look at {data_dir}: this user has to be able to write to it, and there has to be space"
        raise Failure(
            f"the dashboard's database cannot be used: {error}",
            code=ExitCode.UNREACHABLE,
            next_step=file
            if database_url is None
            else "look whether the database runs and lets this user in",
        ) from error


@click.command()
@_data_dir_option
@click.option(
    "--port",
    default=9090,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Of the dashboard; 0 picks a free one.",
)
@_parameters_option
@_key_file_option
@_notifications_option
@as_json_option
def up(
    *,
    data_dir: Path,
    port: int,
    parameters_file: Path | None,
    key_file: Path | None,
    notifications_file: Path | None,
    as_json: bool,
) -> None:
    """Serve a dashboard and one agent named scheduler-agent on this host, for this host only.

    Both listen on the loopback interface and take anybody on this host as an administrator. Ctrl-C or
    SIGTERM stops both; commands that run go on, and are known again after the next start.
    """
    dashboard_options = (
        *("dashboard", "--data-dir", str(data_dir / "dashboard"), "--port", str(port), "--auth", "none"),
        *_given("--parameters", parameters_file),
        *_given("--key-file", key_file),
        *_given("--notifications", notifications_file),
    )
    happenings: SimpleQueue[Happening] = SimpleQueue()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        happenings.put(("signal", signal.Signals(number).name, number))

    before = {number: signal.signal(number, on_signal) for number in _STOPPED_BY}
    try:
        _serve_both(dashboard_options, data_dir / "agent", happenings, as_json=as_json)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _given(option: str, file: Path | None) -> tuple[str, ...]:
    """An option as it is passed on; nothing when it was not given."""
    return () if file is None else (option, str(file))


def _serve_both(
    dashboard_options: tuple[str, ...],
    agent_dir: Path,
    happenings: "SimpleQueue[Happening]",
    *,
    as_json: bool,
) -> None:
    def on_line(name: str, text: str) -> None:
        click.echo(f"{name:9} | {render.clean(text)}", err=True)

    def on_exit(name: str, code: int) -> None:
        happenings.put(("ended", name, code))

    with ServerProcess("dashboard", dashboard_options, on_line=on_line, on_exit=on_exit) as dashboard:
        url = dashboard.wait_until_ready()
        agent_options = (
            "--name",
            AGENT_NAME,
            "--data-dir",
            str(agent_dir),
            "--dashboard-url",
            url,
            "--port",
            "0",
        )
        with ServerProcess("agent", ("agent", *agent_options), on_line=on_line, on_exit=on_exit) as agent:
            agent_url = agent.wait_until_ready()
            if as_json:
                render.as_json_line({"dashboard": url, "agent": agent_url})
            else:
                render.line(f"listening on {url}")
            what, name, code = happenings.get()
            if what == "ended":
                raise Failure(
                    f"the {name} ended by itself (exit code {code}); the other is stopped too",
                    next_step=f"read the lines that begin with {name}, and start again",
                )
