"""Accounts: who has the right secret gets in as what they are, nobody else does, and no secret is stored."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import argon2
import pytest
from jobledger.storage.accounts import AccountExists, Accounts, Role, UnknownAccount
from jobledger.storage.ledger import DATABASE_FILE, Ledger
from ledger_samples import LedgerBench

QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def accounts(ledger: Ledger) -> Accounts:
    return Accounts(ledger, hasher=QUICK)


def test_an_account_is_what_it_was_made_as(bench: LedgerBench) -> None:
    accounts = Accounts(bench.open(), clock=lambda: 5, hasher=QUICK)
    added = accounts.add("ann", Role.WRITE, password="pässword", plans=["eod", "sod"], agents=[])
    accounts.add("bob", Role.ADMIN)
    ann, bob = Accounts(bench.open()).all()
    assert ann == added
    assert (ann.name, ann.role, ann.has_password, ann.created_at) == ("ann", Role.WRITE, True, 5)
    assert (ann.plans, ann.agents) == ({"eod", "sod"}, frozenset())
    assert (bob.role, bob.has_password, bob.plans, bob.agents) == (Role.ADMIN, False, None, None)


def test_the_right_password_opens_the_account_and_no_other_does(accounts: Accounts) -> None:
    accounts.add("ann", Role.WRITE, password="pässword")
    accounts.add("bob", Role.READ, password="other")
    opened = accounts.by_password("ann", "pässword")
    assert opened is not None
    assert (opened.name, opened.role) == ("ann", Role.WRITE)
    for name, password in [
        ("ann", "passwort"),
        ("ann", ""),
        ("ann", "other"),
        ("Ann", "pässword"),
        ("", ""),
        ("nobody", "pässword"),
        ("ann\x00", "pässword"),
        ("\ud800", "pässword"),
        ("ann", "\ud800"),
        ("ann", "x" * 100_000),
    ]:
        assert accounts.by_password(name, password) is None, (name, password[:20])


def test_an_account_without_a_password_is_opened_by_none(accounts: Accounts) -> None:
    accounts.add("robot", Role.WRITE)
    assert accounts.by_password("robot", "") is None
    assert accounts.by_password("robot", "None") is None
    accounts.set_password("robot", "now it has one")
    assert accounts.by_password("robot", "now it has one") is not None
    accounts.set_password("robot", None)
    assert accounts.by_password("robot", "now it has one") is None


def test_a_token_opens_its_account_until_it_is_revoked(accounts: Accounts) -> None:
    accounts.add("ann", Role.READ)
    first, second = accounts.issue_token("ann", "laptop"), accounts.issue_token("ann")
    assert first != second
    assert len(first) >= 43
    for token in (first, second):
        opened = accounts.by_token(token)
        assert opened is not None
        assert opened.name == "ann"
    for wrong in ("", first[:-1], first + "x", first.swapcase(), "\ud800", "' OR 1=1 --"):
        assert accounts.by_token(wrong) is None
    told = accounts.tokens("ann")
    assert sorted(each.label for each in told) == ["", "laptop"]
    assert not any(each.id in first + second for each in told)
    laptop = next(each for each in told if each.label == "laptop")
    assert accounts.revoke_token(laptop.id)
    assert not accounts.revoke_token(laptop.id)
    assert accounts.by_token(first) is None
    assert accounts.by_token(second) is not None


def test_a_removed_account_is_closed_with_all_its_tokens_and_stays_so_when_the_name_is_given_again(
    accounts: Accounts,
) -> None:
    accounts.add("ann", Role.ADMIN, password="secret")
    token = accounts.issue_token("ann")
    accounts.remove("ann")
    assert accounts.all() == []
    accounts.add("ann", Role.READ)
    assert accounts.by_token(token) is None
    assert accounts.by_password("ann", "secret") is None


def test_role_and_limits_can_be_changed(accounts: Accounts) -> None:
    accounts.add("ann", Role.READ, plans=["eod"])
    accounts.set_role("ann", Role.AGENT)
    accounts.set_limits("ann", plans=None, agents=["host"])
    (ann,) = accounts.all()
    assert (ann.role, ann.plans, ann.agents) == (Role.AGENT, None, {"host"})


def test_what_is_not_there_cannot_be_changed_and_what_is_cannot_be_added(accounts: Accounts) -> None:
    accounts.add("ann", Role.READ, password="first")
    with pytest.raises(AccountExists, match="ann already"):
        accounts.add("ann", Role.ADMIN, password="second")
    opened = accounts.by_password("ann", "first")
    assert opened is not None
    assert opened.role is Role.READ
    for change in (
        lambda: accounts.set_password("bob", "secret"),
        lambda: accounts.set_role("bob", Role.ADMIN),
        lambda: accounts.set_limits("bob", plans=None, agents=None),
        lambda: accounts.issue_token("bob"),
        lambda: accounts.remove("bob"),
    ):
        with pytest.raises(UnknownAccount, match="no account bob"):
            change()
    assert accounts.tokens("bob") == []


@pytest.mark.parametrize("name", ["", " ann", "ann ", "a:b", "a\nb", "a\x00b", "\ud800", "x" * 201])
def test_a_name_that_no_caller_could_give_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        accounts.add(name, Role.READ)
    assert accounts.all() == []


def test_an_empty_password_is_refused(accounts: Accounts) -> None:
    with pytest.raises(ValueError, match="empty"):
        accounts.add("ann", Role.READ, password="")
    accounts.add("ann", Role.READ)
    with pytest.raises(ValueError, match="empty"):
        accounts.set_password("ann", "")


def test_every_change_is_noticed_by_other_processes_and_looking_is_none(bench: LedgerBench) -> None:
    accounts, elsewhere = Accounts(bench.open(), hasher=QUICK), Accounts(bench.open(), hasher=QUICK)
    seen = {elsewhere.version()}
    accounts.add("ann", Role.READ, password="secret")
    token_id = ""

    def note() -> None:
        version = elsewhere.version()
        assert version not in seen, "a change that nobody would notice"
        seen.add(version)

    note()
    accounts.issue_token("ann")
    note()
    (token,) = accounts.tokens("ann")
    token_id = token.id
    accounts.revoke_token(token_id)
    note()
    accounts.set_password("ann", "other")
    note()
    accounts.set_role("ann", Role.WRITE)
    note()
    accounts.set_limits("ann", plans=["eod"], agents=None)
    note()
    accounts.remove("ann")
    note()
    accounts.by_password("ann", "secret")
    accounts.by_token("token")
    accounts.revoke_token(token_id)
    with pytest.raises(UnknownAccount):
        accounts.remove("ann")
    assert elsewhere.version() in seen


def test_a_new_process_sees_a_change_without_opening_the_database_again(tmp_path: Path) -> None:
    accounts = Accounts.open(None, tmp_path)
    before = accounts.version()
    program = (
        "import sys; from pathlib import Path; from jobledger.storage.accounts import Accounts, Role\n"
        "accounts = Accounts.open(None, Path(sys.argv[1]))\n"
        "accounts.add('ann', Role.READ); accounts.close()"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert accounts.version() != before
    assert [account.name for account in accounts.all()] == ["ann"]
    accounts.close()


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[tuple[Accounts, Path]]:
    accounts = Accounts.open(None, tmp_path)
    yield accounts, tmp_path / DATABASE_FILE
    accounts.close()


def test_neither_passwords_nor_tokens_are_in_the_file(on_disk: tuple[Accounts, Path]) -> None:
    accounts, path = on_disk
    accounts.add("ann", Role.READ, password="correct horse battery staple")
    token = accounts.issue_token("ann")
    accounts.close()
    content = b"".join(each.read_bytes() for each in path.parent.iterdir())
    assert b"ann" in content
    assert b"correct horse" not in content
    assert token.encode() not in content
    assert b"$argon2id$" in content


def test_passwords_are_hashed_at_a_cost_that_slows_guessing(on_disk: tuple[Accounts, Path]) -> None:
    accounts, path = on_disk
    accounts.add("ann", Role.READ, password="secret")
    connection = sqlite3.connect(path)
    (stored,) = connection.execute("SELECT password_hash FROM users").fetchone()
    connection.close()
    parameters = argon2.extract_parameters(stored)
    assert parameters.type is argon2.Type.ID
    assert parameters.memory_cost >= 19 * 1024
    assert parameters.time_cost >= 2


def test_an_unknown_name_costs_as_much_as_a_wrong_password(ledger: Ledger) -> None:
    verified: list[str] = []

    class Counting(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002  the library's name
            verified.append(str(hash).split("$")[3])
            return super().verify(hash, password)

    accounts = Accounts(ledger, hasher=Counting(time_cost=1, memory_cost=8, parallelism=1))
    accounts.add("ann", Role.READ, password="secret")
    for name in ("ann", "nobody", "a\x00b"):
        accounts.by_password(name, "wrong")
    assert verified == ["m=8,t=1,p=1"] * 3
