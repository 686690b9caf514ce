"""``jobledger agent``: serve an agent on this host, or list those that the dashboard knows."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import answers, render
from .failures import Failure
from .options import as_json_option, talks_to_dashboard
from .settings import TOKEN_VARIABLE
from .starting import an_address, told_when_it_cannot_start

if TYPE_CHECKING:
    from .client import Client


@click.group(invoke_without_command=True)
@click.option("--name", help="The name by which plans call it.")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where it keeps all it knows."
)
@click.option(
    "--dashboard-url",
    "dashboard_urls",
    metavar="URL",
    multiple=True,
    callback=an_address,
    help="Repeat it for more: the next is tried when one does not answer.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one."
)
@click.option(
    "--advertise-url",
    metavar="URL",
    callback=an_address,
    help="Where the dashboard reaches it, if not at its host and port.",
)
@click.option(
    "--max-jobs", type=click.IntRange(1), help="How many commands may run at once; no limit if not given."
)
@click.pass_context
def agent(
    context: click.Context,
    *,
    name: str | None,
    data_dir: Path | None,
    dashboard_urls: tuple[str, ...],
    host: str,
    port: int,
    advertise_url: str | None,
    max_jobs: int | None,
) -> None:
    """Serve an agent: it runs commands on this host, watches its files and its clock.

    It stops on SIGTERM or Ctrl-C and leaves commands running; the next start finds them again. On hosts
    with accounts, give its token in the variable JOBLEDGER_TOKEN.
    """
    if context.invoked_subcommand is not None:
        return
    for option, value in (("--name", name), ("--data-dir", data_dir), ("--dashboard-url", dashboard_urls)):
        if not value:
            raise click.UsageError(f"Missing option '{option}'.", context)
    from ..actors.agent.config import AgentConfig
    from ..http.agent.server import run_agent
    from ..http.serving import NotLoopback
    from ..storage.segment_errors import LogCorrupted, LogInUse

    config = AgentConfig(
        name=name or "",
        data_dir=data_dir or Path(),
        dashboard_urls=tuple(url.rstrip("/") for url in dashboard_urls),
        host=host,
        port=port,
        advertise_url=advertise_url,
        token=os.environ.get(TOKEN_VARIABLE) or None,
        max_jobs=max_jobs,
    )
    try:
        with told_when_it_cannot_start("agent", config.data_dir, host, port):
            run_agent(config)
    except NotLoopback as error:
        raise click.UsageError(f"{error}: set {TOKEN_VARIABLE}, or bind it to 127.0.0.1") from error
    except LogInUse as error:
        raise Failure(
            f"another agent serves {config.data_dir}: {error}",
            next_step="stop that one, or give this one a --data-dir of its own",
        ) from error
    except LogCorrupted as error:
        raise Failure(
            f"a log of this agent is damaged: {error}",
            next_step="`jobledger log repair SOURCE TARGET` copies what is readable; see docs/operations.md",
        ) from error


@agent.command("list")
@as_json_option
@talks_to_dashboard
def list_agents(client: "Client", *, as_json: bool) -> None:
    """List the agents, whether they are reachable, and what they are busy with."""
    items = client.everything("/agents")
    if as_json:
        render.as_json(items)
        return
    rows = [answers.read(answers.Agent, item) for item in items]
    render.table(
        ("agent", "reachable", "running", "queued", "last seen", "url", "host", "version"),
        (
            (
                row.name,
                "yes" if row.reachable else "no",
                row.running,
                row.queued,
                render.moment(row.last_seen),
                row.url,
                row.host,
                row.version,
            )
            for row in rows
        ),
        empty="No agent has announced itself. Start one with `jobledger agent --name NAME …`.",
    )
    for row in rows:
        for problem in row.problems:
            render.line(f"{row.name}: {problem}")
