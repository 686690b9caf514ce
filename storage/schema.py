"""The tables beside the event store, and the version of them all.

``stored_events`` and ``stored_snapshots`` are the event store library's own, but for an index; the rest is
here. Of it, ``instances`` and ``plans`` can be made anew from the log.
"""

from collections.abc import Mapping, Sequence

from .engine import Transaction
from .records import NewerSchema

VERSION = 1

MIGRATIONS: Mapping[int, Sequence[str]] = {}
"""By the version that they lead from: the statements that lead to the next."""

_TABLES = (
    # state: 0 waiting, 1 handled, 2 parked, 3 discarded
    """CREATE TABLE IF NOT EXISTS inbox (
        position {position} PRIMARY KEY,
        stream {uuid} NOT NULL,
        kind TEXT NOT NULL,
        payload {bytes} NOT NULL,
        source TEXT NOT NULL,
        received_at BIGINT NOT NULL,
        state SMALLINT NOT NULL DEFAULT 0,
        error TEXT,
        parked_at BIGINT,
        discarded_by TEXT)""",
    "CREATE INDEX IF NOT EXISTS inbox_waiting ON inbox (stream, position) WHERE state = 0",
    "CREATE INDEX IF NOT EXISTS inbox_parked ON inbox (position) WHERE state = 2",
    # only what is not delivered; a sequence is never given twice
    """CREATE TABLE IF NOT EXISTS outbox (
        sequence {sequence},
        agent TEXT NOT NULL,
        stream {uuid} NOT NULL,
        position BIGINT NOT NULL,
        kind TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS outbox_agent ON outbox (agent, sequence)",
    """CREATE TABLE IF NOT EXISTS instances (
        instance_id {uuid} PRIMARY KEY,
        plan TEXT NOT NULL,
        plan_version BIGINT NOT NULL,
        status TEXT NOT NULL,
        environment_group TEXT,
        started_at BIGINT NOT NULL,
        ends_at BIGINT,
        ended_at BIGINT,
        never_began SMALLINT NOT NULL,
        position BIGINT NOT NULL,
        counts {bytes} NOT NULL,
        agents {bytes} NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS instances_newest ON instances (started_at DESC, instance_id DESC)",
    "CREATE INDEX IF NOT EXISTS instances_of_plan ON instances (plan, started_at DESC, instance_id DESC)",
    """CREATE INDEX IF NOT EXISTS instances_active ON instances (started_at DESC, instance_id DESC)
        WHERE ended_at IS NULL""",
    """CREATE INDEX IF NOT EXISTS instances_active_of_plan
        ON instances (plan, started_at DESC, instance_id DESC) WHERE ended_at IS NULL""",
    """CREATE TABLE IF NOT EXISTS plans (
        name TEXT PRIMARY KEY,
        stream {uuid} NOT NULL,
        version BIGINT NOT NULL,
        standing TEXT NOT NULL,
        pushed_at BIGINT NOT NULL,
        agents {bytes} NOT NULL,
        position BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS agents (
        name TEXT PRIMARY KEY,
        url TEXT NOT NULL,
        host TEXT NOT NULL,
        version TEXT NOT NULL,
        announced_at BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS answers (
        key TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        answer {bytes} NOT NULL,
        given_at BIGINT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS answers_oldest ON answers (given_at)",
    """CREATE TABLE IF NOT EXISTS users (
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        password_hash TEXT,
        plans {bytes},
        agents {bytes},
        created_at BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS tokens (
        digest {bytes} PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        user_name TEXT NOT NULL,
        label TEXT NOT NULL,
        created_at BIGINT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS tokens_of_user ON tokens (user_name)",
    # how far each that reads all facts in the order of commits has come
    "CREATE TABLE IF NOT EXISTS followers (name TEXT PRIMARY KEY, sequence BIGINT NOT NULL)",
    # state: 0 waiting, 1 sent, 2 failed
    """CREATE TABLE IF NOT EXISTS notifications (
        number {sequence},
        id {uuid} NOT NULL UNIQUE,
        plan TEXT NOT NULL,
        instance {uuid} NOT NULL,
        channel TEXT NOT NULL,
        said_for TEXT NOT NULL,
        matter {bytes} NOT NULL,
        state SMALLINT NOT NULL,
        created_at BIGINT NOT NULL,
        attempts BIGINT NOT NULL DEFAULT 0,
        next_at BIGINT,
        settled_at BIGINT,
        error TEXT,
        recipients {bytes} NOT NULL,
        delivered {bytes} NOT NULL,
        round BIGINT NOT NULL DEFAULT 0,
        sent_again_by TEXT)""",
    """CREATE INDEX IF NOT EXISTS notifications_waiting ON notifications (channel, next_at, number)
        WHERE state = 0""",
    "CREATE INDEX IF NOT EXISTS notifications_of_plan ON notifications (plan, number)",
    "CREATE INDEX IF NOT EXISTS notifications_of_instance ON notifications (instance, number)",
    "CREATE INDEX IF NOT EXISTS notifications_failed ON notifications (number) WHERE state = 2",
    "CREATE TABLE IF NOT EXISTS accounts_version (version BIGINT NOT NULL)",
    # what a stream is shows in its first fact
    """CREATE INDEX IF NOT EXISTS first_facts ON stored_events (topic, originator_id)
        WHERE originator_version = 1""",
)


def is_current(version: int | None) -> bool:
    """Whether the tables are as this program wants them; ``None`` when there are none.

    Raises ``NewerSchema``.
    """
    if version is not None and version > VERSION:
        raise NewerSchema(
            f"the database has version {version} of its schema and this program knows it up to version "
            f"{VERSION}: use the version of the program that wrote it, or a newer one"
        )
    return version == VERSION


def bring_up_to_date(transaction: Transaction, types: Mapping[str, str]) -> None:
    """Create what is missing and change what is old; ``types`` has the database's words for column types."""
    transaction.run("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)", ())
    found = transaction.rows("SELECT MAX(version) FROM schema_version")[0][0]
    if is_current(found):
        return
    if found is None:
        for statement in _TABLES:
            transaction.run(statement.format_map(types), ())
        transaction.run("INSERT INTO schema_version VALUES (?)", (VERSION,))
        transaction.run("INSERT INTO accounts_version VALUES (?)", (1,))
        return
    for version in range(found, VERSION):
        for statement in MIGRATIONS[version]:
            transaction.run(statement.format_map(types), ())
    transaction.run("UPDATE schema_version SET version = ?", (VERSION,))
