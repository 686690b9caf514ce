"""``jobledger instance``: start runs of a plan, look into them, watch them and end them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from . import answers, find, instance_orders, render, tree
from .audit_table import print_audit
from .failures import ExitCode, Unreachable
from .options import as_json_option, parameter_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client
    from .following import Looks


@click.group()
def instance() -> None:
    """Start, watch, look into, steer and end plan instances.

    INSTANCE is an id, the beginning of one, or the name of a plan: then its newest instance.
    """


for each in instance_orders.COMMANDS:
    instance.add_command(each)


@instance.command()
@click.argument("plan")
@parameter_option
@click.option(
    "--business-date",
    metavar="YYYY-MM-DD",
    help="The day that it is for, unless it is the day of its start.",
)
@click.option("--run-until-ended", is_flag=True, help="Its time to live does not end it; you do.")
@click.option("--hold-commands", is_flag=True, help="Every command begins on hold, until you release it.")
@click.option("--dry-run", is_flag=True, help="Agents report outcomes without running any command.")
@click.option(
    "--dry-run-seconds",
    type=click.FloatRange(0, 7 * 24 * 3600),
    nargs=2,
    metavar="LEAST MOST",
    help="How long commands seem to run.",
)
@click.option(
    "--dry-run-errors", type=click.FloatRange(0, 100), metavar="PERCENT", help="How many seem to fail."
)
@click.option(
    "--dry-run-fails", metavar="JOB", multiple=True, help="A job that seems to fail; repeat it for more."
)
@click.option("--reason", metavar="TEXT", help="Why; kept in its log.")
@as_json_option
@talks_to_dashboard
def start(
    client: "Client",
    *,
    plan: str,
    parameters: dict[str, str],
    business_date: str | None,
    run_until_ended: bool,
    hold_commands: bool,
    dry_run: bool,
    dry_run_seconds: tuple[float, float] | None,
    dry_run_errors: float | None,
    dry_run_fails: tuple[str, ...],
    reason: str | None,
    as_json: bool,
) -> None:
    """Start an instance of PLAN now and print its id."""
    from .client import segment

    pretends = _pretends(dry_run_seconds, dry_run_errors, dry_run_fails)
    body: dict[str, Any] = {
        "parameters": parameters,
        "run_until_ended": run_until_ended,
        "dry_run": pretends or dry_run,
    }
    if business_date is not None:
        body["business_date"] = business_date
    if hold_commands:
        body["hold_commands"] = True
    if reason is not None:
        body["reason"] = reason
    document = client.post(f"/plans/{segment(plan)}/instances", body)
    if as_json:
        render.as_json(document)
    else:
        click.echo(document["instance_id"])


def _pretends(
    seconds: tuple[float, float] | None, error_percentage: float | None, fails: tuple[str, ...]
) -> dict[str, Any]:
    """How agents are to pretend, in the words of the API; nothing if nothing was said."""
    pretends: dict[str, Any] = {}
    if seconds is not None:
        pretends |= {"min_ms": round(min(seconds) * 1000), "max_ms": round(max(seconds) * 1000)}
    if error_percentage is not None:
        pretends["error_percentage"] = error_percentage
    if fails:
        pretends["jobs_in_error"] = list(fails)
    return pretends


@instance.command("list")
@click.option("--plan", help="Of this plan only.")
@click.option("--status", help="In this status only, such as ERROR.")
@click.option("--active/--ended", default=None, help="Only those that go on, or only those that ended.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many.")
@as_json_option
@talks_to_dashboard
def list_instances(
    client: "Client", *, plan: str | None, status: str | None, active: bool | None, limit: int, as_json: bool
) -> None:
    """List instances, newest first."""
    items = list(client.items("/instances", limit=limit, plan=plan, status=status, active=active))
    if as_json:
        render.as_json(items)
        return
    rows = [answers.read(answers.Instance, item) for item in items]
    render.table(
        ("instance", "plan", "version", "status", "started", "ended", "jobs"),
        (
            (
                row.instance_id,
                row.plan,
                row.plan_version,
                row.status,
                render.moment(row.started_at),
                render.moment(row.ended_at),
                render.counts(row.counts),
            )
            for row in rows
        ),
        empty="No instance. Start one with `jobledger instance start PLAN`.",
    )


@instance.command()
@click.argument("instance_text", metavar="INSTANCE")
@click.option(
    "--at", metavar="POSITION|TIME", help="As it was at a position of its log, or at an RFC 3339 time."
)
@as_json_option
@talks_to_dashboard
def show(client: "Client", *, instance_text: str, at: str | None, as_json: bool) -> None:
    """Show an instance as a tree of contexts and jobs, now or as it was."""
    shown, document = find.instance(client, instance_text, at=at)
    if as_json:
        render.as_json(document)
    elif render.in_terminal():
        from .drawing import drawn

        render.console().print(drawn(shown, height=100_000))
    else:
        for text in tree.lines(shown):
            click.echo(render.clean(text))


@instance.command()
@click.argument("instance_text", metavar="INSTANCE")
@as_json_option
@talks_to_dashboard
def watch(client: "Client", *, instance_text: str, as_json: bool) -> None:
    """Watch an instance until nothing more happens by itself.

    In a terminal it is a live tree; in a pipe a line for each change. The exit code is 0 when the instance
    is COMPLETE, 6 when it is in ERROR with nothing running, 7 when it was ended before it was COMPLETE.
    """
    from . import following

    instance_id = find.instance_id(client, instance_text)
    looks = following.looks(client, instance_id, on_silence=_tell_silence)
    last: answers.Instance | None = None
    if as_json:
        for shown, document in looks:
            last = shown
            render.as_json_line(document)
    elif render.in_terminal():
        last = _watch_live(looks)
    else:
        last = watch_in_lines(looks)
    code = ExitCode.INCOMPLETE if last is None else following.exit_code(last)
    raise click.exceptions.Exit(int(code))


def watch_in_lines(looks: "Looks", *, prefix: str = "") -> answers.Instance | None:
    """Print a line for each change; gives the last look."""
    last: answers.Instance | None = None
    for shown, _document in looks:
        now = f"{datetime.now(UTC).astimezone():%H:%M:%S}"
        for text in tree.changes(last, shown):
            render.line(f"{prefix}{now}  {text}")
        last = shown
    return last


def _watch_live(looks: "Looks") -> answers.Instance | None:
    from rich.live import Live

    from .drawing import drawn

    last: answers.Instance | None = None
    terminal = render.console()

    def draw() -> Any:
        if last is None:
            return ""
        return drawn(last, height=terminal.height - 1, now=datetime.now(UTC))

    with Live(console=terminal, get_renderable=draw, refresh_per_second=4) as live:
        for shown, _document in looks:
            last = shown
            live.refresh()
    return last


def _tell_silence(error: Unreachable) -> None:
    click.echo(f"jobledger: {error.message}; asking again", err=True)


@instance.command("log")
@click.argument("instance_text", metavar="INSTANCE")
@click.option(
    "--after", default=0, type=click.IntRange(0), metavar="POSITION", help="Only what came after it."
)
@click.option("--limit", type=click.IntRange(1), help="At most so many facts.")
@as_json_option
@talks_to_dashboard
def instance_log(
    client: "Client", *, instance_text: str, after: int, limit: int | None, as_json: bool
) -> None:
    """Print the facts of an instance, in the order in which they were recorded."""
    instance_id = find.instance_id(client, instance_text)
    items = client.records(f"/instances/{instance_id}/log", after=after, limit=limit)
    if as_json:
        render.as_json(list(items))
        return
    facts = (answers.read(answers.Fact, item) for item in items)
    render.table(
        ("position", "at", "fact", "what", "cause"),
        (
            (f.position, render.moment(f.at), f.type, render.pairs(f.data), render.pairs(f.cause))
            for f in facts
        ),
        empty="No fact after that position.",
    )


@instance.command()
@click.argument("instance_text", metavar="INSTANCE")
@click.option(
    "--after", default=0, type=click.IntRange(0), metavar="POSITION", help="Only what came after it."
)
@click.option("--limit", type=click.IntRange(1), help="At most so many rows.")
@as_json_option
@talks_to_dashboard
def audit(client: "Client", *, instance_text: str, after: int, limit: int | None, as_json: bool) -> None:
    """Print what each event and each order changed, and what it started."""
    instance_id = find.instance_id(client, instance_text)
    items = list(client.records(f"/instances/{instance_id}/audit", after=after, limit=limit))
    if as_json:
        render.as_json(items)
    else:
        print_audit(answers.read(answers.AuditRow, item) for item in items)


@instance.command()
@click.argument("instance_text", metavar="INSTANCE")
@click.option("--reason", metavar="TEXT", help="Why; kept in its log.")
@as_json_option
@talks_to_dashboard
def end(client: "Client", *, instance_text: str, reason: str | None, as_json: bool) -> None:
    """End an instance: what runs is killed, and nothing more happens."""
    instance_id = find.instance_id(client, instance_text)
    document = client.post(f"/instances/{instance_id}/end", {} if reason is None else {"reason": reason})
    if as_json:
        render.as_json(document)
    else:
        click.echo(f"ended {instance_id} at position {document['position']}")
