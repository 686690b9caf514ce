"""``jobledger notification``: what was told to whom, and whether it can be told at all."""

from typing import TYPE_CHECKING

import click

from . import render
from .options import as_json_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client


@click.group()
def notification() -> None:
    """See what people were told, have it sent again, and try the mail server."""


@notification.command("list")
@click.option("--plan", metavar="PLAN", help="Of this plan.")
@click.option("--instance", metavar="INSTANCE", help="Of this instance.")
@click.option("--state", type=click.Choice(["waiting", "sent", "failed"]), help="In this state.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most so many.")
@as_json_option
@talks_to_dashboard
def list_notifications(
    client: "Client",
    *,
    plan: str | None,
    instance: str | None,
    state: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List what was, is or is to be told, newest first."""
    items = list(client.items("/notifications", limit=limit, plan=plan, instance=instance, state=state))
    if as_json:
        render.as_json(items)
        return
    render.table(
        ("id", "at", "plan", "what", "channel", "to", "state", "attempts", "error"),
        (
            (
                item.get("id"),
                render.moment(item.get("at")),
                item.get("plan"),
                item.get("message"),
                item.get("channel"),
                ", ".join(item.get("recipients") or ()),
                item.get("state"),
                item.get("attempts"),
                item.get("error"),
            )
            for item in items
        ),
        empty="Nobody was told of anything.",
    )


@notification.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@as_json_option
@talks_to_dashboard
def resend(client: "Client", *, ids: tuple[str, ...], as_json: bool) -> None:
    """Send notifications again that failed, or that were sent and did not arrive.

    One that failed goes to those who do not have it yet; one that was sent goes to all once more.
    """
    from .client import segment

    documents = []
    for each in ids:
        documents.append(client.post(f"/notifications/{segment(each)}/resend"))
        if not as_json:
            click.echo(render.clean(f"{each} is sent again"))
    if as_json:
        render.as_json(documents)


@notification.command()
@click.option("--to", metavar="ADDRESS", help="Send a mail to this address.")
@click.option("--webhook", metavar="NAME", help="Tell this webhook of the dashboard's configuration.")
@as_json_option
@talks_to_dashboard
def test(client: "Client", *, to: str | None, webhook: str | None, as_json: bool) -> None:
    """Send something that says nothing, now, through the dashboard's own mail server or webhook."""
    if (to is None) == (webhook is None):
        raise click.UsageError("give either --to ADDRESS or --webhook NAME")
    body = {"to": to} if webhook is None else {"webhook": webhook}
    answer = client.post("/notifications/test", body)
    if as_json:
        render.as_json(answer)
    else:
        render.line(str(answer.get("done")))
