"""Accounts from the command line: what they open, and that their secrets are told once only."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jobledger.cli.main import cli
from jobledger.storage.accounts import Accounts, Role


def user(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["user", *arguments], input=given)


def test_the_token_that_is_printed_opens_the_account(tmp_path: Path) -> None:
    added = user("add", "ada", "--role", "admin", "--data-dir", str(tmp_path))
    assert added.exit_code == 0, added.output
    accounts = Accounts.open(None, tmp_path)
    try:
        account = accounts.by_token(added.stdout.strip())
    finally:
        accounts.close()
    assert account is not None
    assert (account.name, account.role) == ("ada", Role.ADMIN)


def test_the_token_stands_alone_on_standard_output_for_scripts(tmp_path: Path) -> None:
    added = user("add", "ada", "--role", "read", "--data-dir", str(tmp_path))
    assert len(added.stdout.split()) == 1
    assert added.stdout.strip() not in added.stderr


def test_the_list_shows_limits_and_no_secret(tmp_path: Path) -> None:
    options = ("--plan", "nightly", "--agent", "host-b", "--agent", "host-a")
    token = user("add", "op", "--role", "write", *options, "--data-dir", str(tmp_path)).stdout.strip()
    told = user("list", "--data-dir", str(tmp_path), "--json").stdout
    assert json.loads(told) == [
        {
            "name": "op",
            "role": "write",
            "plans": ["nightly"],
            "agents": ["host-a", "host-b"],
            "password": False,
            "tokens": 1,
        }
    ]
    assert token not in told
    assert "host-a, host-b" in user("list", "--data-dir", str(tmp_path)).stdout


def test_a_password_is_asked_for_twice_and_never_echoed(tmp_path: Path) -> None:
    added = user(
        "add", "ada", "--role", "admin", "--password", "--data-dir", str(tmp_path), given="pw 1\npw 1\n"
    )
    assert added.exit_code == 0
    assert "pw 1" not in added.output
    accounts = Accounts.open(None, tmp_path)
    try:
        assert accounts.by_password("ada", "pw 1") is not None
    finally:
        accounts.close()


def test_removing_an_account_takes_its_token_with_it(tmp_path: Path) -> None:
    token = user("add", "ada", "--role", "admin", "--data-dir", str(tmp_path)).stdout.strip()
    assert user("remove", "ada", "--data-dir", str(tmp_path)).exit_code == 0
    accounts = Accounts.open(None, tmp_path)
    try:
        assert accounts.by_token(token) is None
    finally:
        accounts.close()


def test_a_name_that_is_taken_is_refused_and_the_account_stays_as_it_is(tmp_path: Path) -> None:
    user("add", "ada", "--role", "read", "--data-dir", str(tmp_path))
    again = user("add", "ada", "--role", "admin", "--data-dir", str(tmp_path))
    assert again.exit_code == 1
    assert json.loads(user("list", "--data-dir", str(tmp_path), "--json").stdout)[0]["role"] == "read"


def test_a_name_that_http_basic_cannot_carry_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    assert user("add", "a:b", "--role", "read", "--data-dir", str(tmp_path)).exit_code == 2


def test_removing_an_unknown_account_is_exit_code_5(tmp_path: Path) -> None:
    user("add", "ada", "--role", "read", "--data-dir", str(tmp_path))
    assert user("remove", "bob", "--data-dir", str(tmp_path)).exit_code == 5


@pytest.mark.parametrize("command", [("list",), ("remove", "ada")])
def test_a_mistyped_directory_is_told_and_no_database_is_made_there(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    result = user(*command, "--data-dir", str(tmp_path / "typo"))
    assert result.exit_code == 5
    assert not (tmp_path / "typo").exists()


def test_it_has_to_be_said_where_the_accounts_are() -> None:
    assert user("list").exit_code == 2


def test_another_kind_of_database_is_told_without_a_traceback() -> None:
    result = user("list", "--database-url", "mysql://nowhere/x")
    assert result.exit_code == 1
    assert "cannot be used" in result.output
