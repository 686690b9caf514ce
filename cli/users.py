"""``jobledger user``: accounts of people, scripts and agents, kept in the dashboard's own database.

They are changed in the database and not over HTTP, because nobody is there to add the first administrator.
A dashboard that runs knows of a change at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import render
from .failures import ExitCode, Failure
from .options import as_json_option

if TYPE_CHECKING:
    from ..storage.accounts import Account, Accounts

_DATABASE_NAME = "jobledger.db"

_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The data directory of the dashboard, on this host.",
)
_database_url = click.option(
    "--database-url", metavar="URL", help="The dashboard's database, if it is on PostgreSQL."
)


@click.group()
def user() -> None:
    """Add, list and remove accounts of people and agents.

    Run these on the dashboard's host as the user that the dashboard runs as. Name its data directory, or the
    PostgreSQL database that it was given.
    """


@user.command()
@click.argument("name")
@click.option(
    "--role",
    required=True,
    type=click.Choice(["read", "write", "admin", "agent"]),
    help="read: look. write: push plans and give orders. admin: all. agent: what an agent needs.",
)
@click.option("--password", is_flag=True, help="Ask for a password too, for HTTP Basic.")
@click.option(
    "--plan", "plans", metavar="PLAN", multiple=True, help="Limit it to this plan; repeat it for more."
)
@click.option(
    "--agent", "agents", metavar="AGENT", multiple=True, help="Limit it to this agent; repeat it for more."
)
@_data_dir
@_database_url
@as_json_option
def add(
    *,
    name: str,
    role: str,
    password: bool,
    plans: tuple[str, ...],
    agents: tuple[str, ...],
    data_dir: Path | None,
    database_url: str | None,
    as_json: bool,
) -> None:
    """Add an account and print its token. The token is shown this once; what is kept cannot give it back."""
    from ..storage.accounts import AccountExists, Role

    word = click.prompt("Password", hide_input=True, confirmation_prompt=True) if password else None
    with _accounts(data_dir, database_url) as accounts:
        try:
            accounts.add(name, Role(role), password=word, plans=plans or None, agents=agents or None)
            token = accounts.issue_token(name, "given when the account was added")
        except AccountExists as error:
            raise Failure(
                str(error), next_step="choose another name, or `jobledger user remove` it"
            ) from error
        except ValueError as error:
            raise Failure(
                str(error),
                code=ExitCode.USAGE,
                next_step="`jobledger user add --help` says what may be given",
            ) from error
    if as_json:
        render.as_json({"name": name, "role": role, "token": token})
        return
    click.echo(
        render.clean(f"added {name} with role {role}; keep its token, it is not shown again:"), err=True
    )
    click.echo(token)


@user.command("list")
@_data_dir
@_database_url
@as_json_option
def list_users(*, data_dir: Path | None, database_url: str | None, as_json: bool) -> None:
    """List the accounts, what they are for and what they are limited to."""
    with _accounts(data_dir, database_url, must_exist=True) as accounts:
        found = [(each, len(accounts.tokens(each.name))) for each in accounts.all()]
    if as_json:
        render.as_json([_document(each, tokens) for each, tokens in found])
        return
    render.table(
        ("name", "role", "plans", "agents", "password", "tokens"),
        (
            (
                each.name,
                each.role.value,
                "all" if each.plans is None else ", ".join(sorted(each.plans)),
                "all" if each.agents is None else ", ".join(sorted(each.agents)),
                "yes" if each.has_password else "-",
                tokens,
            )
            for each, tokens in found
        ),
        empty="No account. Add one with `jobledger user add NAME --role admin`.",
    )


@user.command()
@click.argument("name")
@_data_dir
@_database_url
@as_json_option
def remove(*, name: str, data_dir: Path | None, database_url: str | None, as_json: bool) -> None:
    """Remove an account; its password and tokens open nothing any more."""
    from ..storage.accounts import UnknownAccount

    with _accounts(data_dir, database_url, must_exist=True) as accounts:
        try:
            accounts.remove(name)
        except UnknownAccount as error:
            raise Failure(
                str(error),
                code=ExitCode.NOT_FOUND,
                next_step="`jobledger user list` shows those that there are",
            ) from error
    if as_json:
        render.as_json({"removed": name})
    else:
        click.echo(render.clean(f"removed {name}"))


@contextmanager
def _accounts(
    data_dir: Path | None, database_url: str | None, *, must_exist: bool = False
) -> Iterator["Accounts"]:
    """The accounts of a dashboard; raises ``Failure`` when its database cannot be used."""
    from ..storage.accounts import Accounts
    from ..storage.records import NewerSchema, Unavailable

    if data_dir is None and database_url is None:
        raise click.UsageError("give --data-dir, or --database-url if the dashboard uses PostgreSQL")
    directory = data_dir or Path()
    if must_exist and database_url is None and not (directory / _DATABASE_NAME).is_file():
        raise Failure(
            f"{directory} is no data directory of a dashboard",
            code=ExitCode.NOT_FOUND,
            next_step="name the one that `jobledger dashboard` was given",
        )
    try:
        accounts = Accounts.open(database_url, directory)
    except (Unavailable, NewerSchema, ValueError) as error:
        raise Failure(
            f"the dashboard's database cannot be used: {error}",
            next_step="run this as the user that the dashboard runs as, and look at what it says",
        ) from error
    try:
        yield accounts
    except Unavailable as error:
        raise Failure(
            str(error), code=ExitCode.UNREACHABLE, next_step="nothing was changed; try again"
        ) from error
    finally:
        accounts.close()


def _document(account: "Account", tokens: int) -> dict[str, Any]:
    return {
        "name": account.name,
        "role": account.role.value,
        "plans": None if account.plans is None else sorted(account.plans),
        "agents": None if account.agents is None else sorted(account.agents),
        "password": account.has_password,
        "tokens": tokens,
    }
