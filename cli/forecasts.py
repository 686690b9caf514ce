"""``jobledger forecast``: which instances will start and which schedules will fire."""

from typing import TYPE_CHECKING

import click

from . import answers, render
from .options import as_json_option, talks_to_dashboard

if TYPE_CHECKING:
    from .client import Client


@click.command()
@click.option("--from", "begin", metavar="TIME", help="RFC 3339; now if it is not given.")
@click.option("--to", "end", metavar="TIME", help="RFC 3339; a day after --from if it is not given.")
@click.option("--plan", metavar="NAME", help="Of this plan only.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most so many.")
@as_json_option
@talks_to_dashboard
def forecast(
    client: "Client", *, begin: str | None, end: str | None, plan: str | None, limit: int, as_json: bool
) -> None:
    """Tell which instances will start and which schedules will fire, as far as is known now."""
    query: dict[str, object] = {"from": begin, "to": end, "plan": plan}
    items = list(client.items("/forecast", limit=limit, **query))
    if as_json:
        render.as_json(items)
        return
    fires = [answers.read(answers.Fire, item) for item in items]
    render.table(
        ("at", "what", "plan", "job", "instance", "not, because"),
        (
            (
                render.moment(each.at),
                "start" if each.kind == "instance" else each.kind,
                each.plan,
                each.job,
                each.instance_id,
                each.skipped,
            )
            for each in fires
        ),
        empty="Nothing fires in that time.",
    )
