"""Lists of plans and of instances, kept beside the log in the same transactions, and made anew from it."""

from typing import Any
from uuid import UUID

import msgspec

from ..domain.plan_log import PlanStanding, PlanState
from ..domain.status import ENDED, PREPARED
from .engine import Row
from .reader import Reader
from .records import InstanceRow, InstanceSummary, Page, PlanRow, PlanSummary

_INSTANCE_COLUMNS = (
    "instance_id, plan, plan_version, status, environment_group, "
    "started_at, ends_at, ended_at, never_began, position, counts, agents"
)
PUT_INSTANCE = (
    f"INSERT INTO instances ({_INSTANCE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608  a constant of ours
    "ON CONFLICT (instance_id) DO UPDATE SET plan = excluded.plan, plan_version = excluded.plan_version, "
    "status = excluded.status, environment_group = excluded.environment_group, "
    "started_at = excluded.started_at, ends_at = excluded.ends_at, ended_at = excluded.ended_at, "
    "never_began = excluded.never_began, position = excluded.position, counts = excluded.counts, "
    "agents = excluded.agents "
    "WHERE excluded.position >= instances.position"
)
_PLAN_COLUMNS = "name, stream, version, standing, pushed_at, agents, position"
PUT_PLAN = (
    f"INSERT INTO plans ({_PLAN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) "  # noqa: S608  a constant of ours
    "ON CONFLICT (name) DO UPDATE SET stream = excluded.stream, version = excluded.version, "
    "standing = excluded.standing, pushed_at = excluded.pushed_at, agents = excluded.agents, "
    "position = excluded.position WHERE excluded.position >= plans.position"
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
        int(summary.never_began),
        summary.position,
        _encode(summary.counts),
        _encode(summary.agents),
    )


def plan_row(key: object, summary: PlanSummary) -> tuple[object, ...]:
    """The parameters of ``PUT_PLAN``."""
    return (
        summary.name,
        key,
        summary.version,
        summary.standing.value,
        summary.pushed_at,
        _encode(summary.agents),
        summary.position,
    )


def summary_of_plan(state: PlanState) -> PlanSummary:
    """The plan's row in the list of plans."""
    return PlanSummary(
        name=state.plan.name,
        stream=state.stream,
        version=state.version,
        standing=state.standing,
        pushed_at=state.pushed_at,
        agents=state.plan.agents(),
        position=state.position,
    )


class ReadModels:
    """Reads the lists."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def plans(self, *, deleted: bool) -> list[PlanRow]:
        """Plans by name, those that were deleted among them or not."""
        rows = self._reader.rows(
            f"SELECT {_PLAN_COLUMNS} FROM plans WHERE standing <> ?",  # noqa: S608  a constant of ours
            "" if deleted else PlanStanding.DELETED.value,
        )
        found = [
            PlanRow(
                name=name,
                stream=self._reader.stream(key),
                version=version,
                standing=PlanStanding(standing),
                pushed_at=pushed_at,
                agents=_decode_agents(agents),
                position=position,
            )
            for name, key, version, standing, pushed_at, agents, position in rows
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
            conditions.append("status = ?" if status == ENDED else "status = ? AND ended_at IS NULL")
            parameters.append(status)
        if active is not None:
            # What is prepared is neither: it has not begun.
            conditions.append("ended_at IS NULL AND status <> ?" if active else "ended_at IS NOT NULL")
            parameters += [PREPARED] if active else []
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
        key, plan, plan_version, status, group, started_at, ends_at, ended_at, never_began, *rest = row
        position, counts, agents = rest
        return InstanceRow(
            instance_id=self._reader.stream(key),
            plan=plan,
            plan_version=plan_version,
            status=status,
            environment_group=group,
            started_at=started_at,
            ends_at=ends_at,
            ended_at=ended_at,
            never_began=bool(never_began),
            position=position,
            counts=_decode_counts(counts),
            agents=_decode_agents(agents),
        )


def _cursor(row: InstanceSummary) -> str:
    return f"{row.started_at}.{row.instance_id.hex}"


def _position_of(cursor: str) -> tuple[int, UUID]:
    started_at, _, instance_id = cursor.partition(".")
    try:
        return int(started_at), UUID(instance_id)
    except ValueError as error:
        raise ValueError(f"{cursor!r} is no cursor of a list of instances") from error
