"""Lists of plans and of instances, kept beside the log in the same transactions, and made anew from it."""

from typing import Any
from uuid import UUID

import msgspec

from ..domain.facts import PlanPushed, Recorded
from .engine import Row
from .reader import Reader
from .records import InstanceRow, InstanceSummary, Page, PlanRow

_INSTANCE_COLUMNS = (
    "instance_id, plan, plan_version, status, environment_group, "
    "started_at, ends_at, ended_at, position, counts"
)
PUT_INSTANCE = (
    f"INSERT INTO instances ({_INSTANCE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608  a constant of ours
    "ON CONFLICT (instance_id) DO UPDATE SET plan = excluded.plan, plan_version = excluded.plan_version, "
    "status = excluded.status, environment_group = excluded.environment_group, "
    "started_at = excluded.started_at, ends_at = excluded.ends_at, ended_at = excluded.ended_at, "
    "position = excluded.position, counts = excluded.counts WHERE excluded.position >= instances.position"
)
PUT_PLAN = (
    "INSERT INTO plans (name, stream, version, disabled, pushed_at, agents) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET stream = excluded.stream, version = excluded.version, "
    "disabled = excluded.disabled, pushed_at = excluded.pushed_at, agents = excluded.agents "
    "WHERE excluded.version >= plans.version"
)

_encode = msgspec.msgpack.Encoder().encode
_decode_counts = msgspec.msgpack.Decoder(dict[str, int]).decode
_decode_agents = msgspec.msgpack.Decoder(tuple[str, ...]).decode


def instance_row(key: object, summary: InstanceSummary) -> tuple[object, ...]:
    """The parameters of ``PUT_INSTANCE``."""
    return (
        key,
        summary.plan,
        summary.plan_version,
        str(summary.status),
        summary.environment_group,
        summary.started_at,
        summary.ends_at,
        summary.ended_at,
        summary.position,
        _encode(summary.counts),
    )


def plan_row(key: object, recorded: Recorded, fact: PlanPushed) -> tuple[object, ...]:
    """The parameters of ``PUT_PLAN``."""
    plan = fact.plan
    return plan.name, key, fact.version, int(plan.disabled), recorded.at, _encode(plan.agents())


class ReadModels:
    """Reads the lists."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def plans(self) -> list[PlanRow]:
        """All plans, by name."""
        rows = self._reader.rows("SELECT name, stream, version, disabled, pushed_at, agents FROM plans")
        found = [
            PlanRow(
                name=name,
                stream=self._reader.stream(key),
                version=version,
                disabled=bool(disabled),
                pushed_at=pushed_at,
                agents=_decode_agents(agents),
            )
            for name, key, version, disabled, pushed_at, agents in rows
        ]
        return sorted(found, key=lambda row: row.name)

    def instances(
        self,
        *,
        plan: str | None,
        status: str | None,
        active: bool | None,
        cursor: str | None,
        limit: int,
    ) -> Page[InstanceRow]:
        """Instances, newest first; ``ValueError`` for a cursor that is none of ours."""
        conditions: list[str] = []
        parameters: list[Any] = []
        if plan is not None:
            conditions.append("plan = ?")
            parameters.append(plan)
        if status is not None:
            conditions.append("status = ?")
            parameters.append(status)
        if active is not None:
            conditions.append("ended_at IS NULL" if active else "ended_at IS NOT NULL")
        if cursor is not None:
            started_at, last = _position_of(cursor)
            conditions.append("(started_at, instance_id) < (?, ?)")
            parameters += [started_at, self._reader.key(last)]
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        rows = self._reader.rows_of(
            f"SELECT {_INSTANCE_COLUMNS} FROM instances {where}"  # noqa: S608  parts of our own
            "ORDER BY started_at DESC, instance_id DESC LIMIT ?",
            (*parameters, limit + 1),
        )
        items = [self._instance(row) for row in rows[:limit]]
        following = _cursor(items[-1]) if len(rows) > limit and items else None
        return Page(items=items, next=following)

    def _instance(self, row: Row) -> InstanceRow:
        key, plan, plan_version, status, group, started_at, ends_at, ended_at, position, counts = row
        return InstanceRow(
            instance_id=self._reader.stream(key),
            plan=plan,
            plan_version=plan_version,
            status=status,
            environment_group=group,
            started_at=started_at,
            ends_at=ends_at,
            ended_at=ended_at,
            position=position,
            counts=_decode_counts(counts),
        )


def _cursor(row: InstanceSummary) -> str:
    return f"{row.started_at}.{row.instance_id.hex}"


def _position_of(cursor: str) -> tuple[int, UUID]:
    started_at, _, instance_id = cursor.partition(".")
    try:
        return int(started_at), UUID(instance_id)
    except ValueError as error:
        raise ValueError(f"{cursor!r} is no cursor of a list of instances") from error
