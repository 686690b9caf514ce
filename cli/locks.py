"""``jobledger lock``: who holds the job locks, who waits for them, and taking one from those that hold it."""

from typing import TYPE_CHECKING, Any

import click

from . import render
from .options import as_json_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client


@click.group()
def lock() -> None:
    """See who holds the job locks and who waits for them."""


@lock.command("list")
@as_json_option
@talks_to_dashboard
def list_locks(client: "Client", *, as_json: bool) -> None:
    """List the job locks, a line for each job that holds one or waits for it."""
    items = client.everything("/locks")
    if as_json:
        render.as_json(items)
        return
    render.table(
        ("group", "lock", "held", "job", "instance", "takes", "", "since"),
        (row for item in items for row in _rows(item)),
        empty="No plan has a lock.",
    )


def _rows(item: dict[str, Any]) -> list[tuple[object, ...]]:
    kind = " exclusive" if item["exclusive"] else ""
    told = (item["environment_group"] or "", item["name"], f"{item['held']}/{item['count']}{kind}")
    claims = [("holds", each) for each in item["holders"]] + [("waits", each) for each in item["waiting"]]
    if not claims:
        return [(*told, "", "", "", "free", "")]
    rows: list[tuple[object, ...]] = [
        (*told, each["job"], each["instance_id"], each["count"], what, render.moment(each["since"]))
        for what, each in claims
    ]
    unseen = item["holders_count"] + item["waiting_count"] - len(rows)
    return [*rows, (*told, f"and {unseen} more", "", "", "", "")] if unseen else rows


@lock.command()
@click.argument("name")
@click.option("--group", default="DEFAULT_ENVIRONMENT", help="Its environment group, if it has one.")
@click.option("--reason", help="Why; part of the record.")
@as_json_option
@talks_to_dashboard
def reset(client: "Client", *, name: str, group: str, reason: str | None, as_json: bool) -> None:
    """Take a lock from all that hold it, although they may still run; those that wait get it."""
    from .client import segment

    body = {} if reason is None else {"reason": reason}
    document = client.post(f"/locks/{segment(group)}/{segment(name)}/reset", body)
    if as_json:
        render.as_json(document)
        return
    granted = sum(fact["type"] == "LockGranted" for fact in document["facts"])
    click.echo(render.clean(f"lock {name} was reset; {granted} of those that waited have it now"))
