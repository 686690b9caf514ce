"""Who may call the dashboard, and what as: accounts with passwords and tokens, in the dashboard's database.

Passwords are kept as argon2id hashes; of tokens, which are long and random, only the SHA-256 is kept. Neither
can be read back.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Self

import argon2
import msgspec

from ..domain.instants import Instant
from .engine import Row, Transaction
from .ledger import Ledger, system_clock

_COLUMNS = "name, role, plans, agents, created_at, password_hash IS NOT NULL"
_NAME_CHARACTERS_AT_MOST = 200
_TOKEN_BYTES = 32
_TOKEN_ID_BYTES = 6

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_names = msgspec.msgpack.Decoder(frozenset[str]).decode


class Role(StrEnum):
    """What an account is for; each of the first three may do all that those before it may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    AGENT = "agent"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account, without its secrets."""

    name: str
    role: Role
    plans: frozenset[str] | None = None
    """The plans that it is limited to; ``None``: all."""
    agents: frozenset[str] | None = None
    """The agents that it is limited to; ``None``: all."""
    created_at: Instant
    has_password: bool


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without its secret."""

    id: str
    """By which it can be revoked."""
    account: str
    label: str
    created_at: Instant


class AccountExists(ValueError):
    """An account of that name is there already."""


class UnknownAccount(LookupError):
    """There is no account of that name."""


class Accounts:
    """The accounts in a ledger's database. Safe to share between threads.

    Every method may raise ``Unavailable``; changes are on disk when a method returns, and other processes
    that use the same database see them at once.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Callable[[], Instant] = system_clock,
        hasher: argon2.PasswordHasher | None = None,
    ) -> None:
        """``hasher`` sets the cost of guessing passwords, and of every login."""
        self._ledger = ledger
        self._clock = clock
        self._hasher = hasher or argon2.PasswordHasher()
        self._nobodys_hash: str | None = None

    @classmethod
    def open(cls, database_url: str | None, data_dir: Path) -> Self:
        """Open the database for its accounts alone, to be closed with ``close``; raises as a ledger does."""
        return cls(Ledger.open(database_url, data_dir))

    def close(self) -> None:
        """Close the ledger behind the accounts."""
        self._ledger.close()

    # --- accounts -------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        role: Role,
        *,
        password: str | None = None,
        plans: Iterable[str] | None = None,
        agents: Iterable[str] | None = None,
    ) -> Account:
        """Add an account; without a password only its tokens open it.

        Raises ``AccountExists``, and ``ValueError`` for a name with a colon (HTTP Basic cannot carry it) or
        with control characters, or for an empty password.
        """
        _check_name(name)
        hashed = None if password is None else self._hash(password)
        account = Account(
            name=name,
            role=role,
            plans=None if plans is None else frozenset(plans),
            agents=None if agents is None else frozenset(agents),
            created_at=self._clock(),
            has_password=hashed is not None,
        )

        def insert(transaction: Transaction) -> bool:
            return bool(
                transaction.run(
                    "INSERT INTO users (name, role, password_hash, plans, agents, created_at) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
                    (
                        name,
                        role.value,
                        hashed,
                        _names(account.plans),
                        _names(account.agents),
                        account.created_at,
                    ),
                )
            )

        if not self._change(insert):
            raise AccountExists(f"there is an account {name} already")
        return account

    def all(self) -> list[Account]:
        """Every account, by name."""
        rows = self._ledger.reader.rows(f"SELECT {_COLUMNS} FROM users")  # noqa: S608  a constant of ours
        return sorted((_account(row) for row in rows), key=lambda account: account.name)

    def set_password(self, name: str, password: str | None) -> None:
        """Change a password, or with ``None`` leave the account to its tokens; raises ``UnknownAccount``."""
        hashed = None if password is None else self._hash(password)
        self._update(name, "password_hash = ?", hashed)

    def set_role(self, name: str, role: Role) -> None:
        """Change what an account is for; raises ``UnknownAccount``."""
        self._update(name, "role = ?", role.value)

    def set_limits(self, name: str, *, plans: Iterable[str] | None, agents: Iterable[str] | None) -> None:
        """Limit an account to plans and agents; ``None``: to all there are. Raises ``UnknownAccount``."""
        self._update(
            name,
            "plans = ?, agents = ?",
            _names(None if plans is None else frozenset(plans)),
            _names(None if agents is None else frozenset(agents)),
        )

    def remove(self, name: str) -> None:
        """Remove an account and all its tokens; raises ``UnknownAccount``."""

        def delete(transaction: Transaction) -> bool:
            transaction.run("DELETE FROM tokens WHERE user_name = ?", (name,))
            return bool(transaction.run("DELETE FROM users WHERE name = ?", (name,)))

        self._must_be_known(name, self._change(delete))

    # --- tokens ---------------------------------------------------------------------------------------------

    def issue_token(self, name: str, label: str = "") -> str:
        """Make a token that opens the account; it cannot be shown again. Raises ``UnknownAccount``."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        row = (_digest(token), secrets.token_hex(_TOKEN_ID_BYTES), label, self._clock(), name)

        def insert(transaction: Transaction) -> bool:
            if not transaction.rows("SELECT 1 FROM users WHERE name = ?", (name,)):
                return False
            statement = "INSERT INTO tokens (digest, id, label, created_at, user_name) VALUES (?, ?, ?, ?, ?)"
            return bool(transaction.run(statement, row))

        self._must_be_known(name, self._change(insert))
        return token

    def tokens(self, name: str) -> list[Token]:
        """An account's tokens, oldest first."""
        rows = self._ledger.reader.rows(
            "SELECT id, label, created_at FROM tokens WHERE user_name = ? ORDER BY created_at, id", name
        )
        return [Token(id=each, account=name, label=label, created_at=at) for each, label, at in rows]

    def revoke_token(self, token_id: str) -> bool:
        """Have a token open nothing any more; false when there is none of that id."""
        return self._change(
            lambda transaction: bool(transaction.run("DELETE FROM tokens WHERE id = ?", (token_id,)))
        )

    # --- recognising callers --------------------------------------------------------------------------------

    def version(self) -> int:
        """Differs after any change of any account or token, whichever process made it."""
        version: int = self._ledger.reader.rows("SELECT version FROM accounts_version")[0][0]
        return version

    def by_password(self, name: str, password: str) -> Account | None:
        """The account that this name and password open; takes equally long whether the name is known."""
        account, hashed = self._find(name)
        matches = self._verify(hashed or self._hash_of_nobody(), password)
        return account if matches else None

    def by_token(self, token: str) -> Account | None:
        """The account that this token opens."""
        rows = self._ledger.reader.rows(
            f"SELECT {_COLUMNS} FROM users WHERE name = (SELECT user_name FROM tokens WHERE digest = ?)",  # noqa: S608  a constant of ours
            _digest(token),
        )
        return _account(rows[0]) if rows else None

    # --- within ---------------------------------------------------------------------------------------------

    def _find(self, name: str) -> tuple[Account | None, str | None]:
        """An account and the hash of its password; nothing for one that no password opens."""
        if not _is_text(name):
            return None, None
        query = f"SELECT {_COLUMNS}, password_hash FROM users WHERE name = ?"  # noqa: S608  a constant of ours
        for *columns, hashed in self._ledger.reader.rows(query, name):
            if hashed is not None:
                return _account(columns), hashed
        return None, None

    def _change(self, work: Callable[[Transaction], bool]) -> bool:
        def versioned(transaction: Transaction) -> bool:
            changed = work(transaction)
            if changed:
                transaction.run("UPDATE accounts_version SET version = version + 1", ())
            return changed

        return self._ledger.write(versioned)

    def _update(self, name: str, assignments: str, *values: object) -> None:
        statement = f"UPDATE users SET {assignments} WHERE name = ?"  # noqa: S608  assignments are written in this class
        changed = self._change(lambda transaction: bool(transaction.run(statement, (*values, name))))
        self._must_be_known(name, changed)

    @staticmethod
    def _must_be_known(name: str, found: bool) -> None:
        if not found:
            raise UnknownAccount(f"there is no account {name}")

    def _hash(self, password: str) -> str:
        if not password:
            raise ValueError("a password cannot be empty")
        return self._hasher.hash(password)

    def _hash_of_nobody(self) -> str:
        if self._nobodys_hash is None:
            self._nobodys_hash = self._hasher.hash(secrets.token_urlsafe(_TOKEN_BYTES))
        return self._nobodys_hash

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (argon2.exceptions.VerifyMismatchError, UnicodeEncodeError):
            return False


def _account(row: Row) -> Account:
    name, role, plans, agents, created_at, has_password = row
    return Account(
        name=name,
        role=Role(role),
        plans=None if plans is None else _decode_names(plans),
        agents=None if agents is None else _decode_names(agents),
        created_at=created_at,
        has_password=bool(has_password),
    )


def _names(names: frozenset[str] | None) -> bytes | None:
    return None if names is None else _encode(sorted(names))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _is_text(name: str) -> bool:
    """Whether a database can be asked for it at all."""
    return "\x00" not in name and not any("\ud800" <= each <= "\udfff" for each in name)


def _check_name(name: str) -> None:
    if not name or name != name.strip() or len(name) > _NAME_CHARACTERS_AT_MOST:
        raise ValueError("an account's name has 1 to 200 characters, with no space at either end")
    if ":" in name or not name.isprintable():
        raise ValueError(f"{name!r} cannot be an account's name: it has a colon or a control character")
