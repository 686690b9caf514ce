"""The versions of plans, read from their logs one at a time."""

import msgspec

from ...domain.facts import NotificationsSet, PlanPushed
from ...domain.instants import Instant
from ...domain.plan import JobPlan
from ...domain.plan_log import plan_stream, with_notifications
from ...storage.ledger import Ledger
from .errors import UnknownName


class PlanVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a plan with the documents it came in."""

    name: str
    version: int
    position: int
    """Of the fact that made it what it is: the push, or a later change of its notifications."""
    plan: JobPlan
    documents: dict[str, bytes]
    pushed_at: Instant
    pushed_by: str | None = None
    notifications_set_at: Instant
    notifications_set_by: str | None = None


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a list: who made it, when, by which command and why."""

    version: int
    pushed_at: Instant
    pushed_by: str | None
    command: str | None
    reason: str | None


class PlanVersions:
    """Finds versions of plans; a plan is large, so no other version is read for it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def find(self, name: str, version: int | None = None) -> PlanVersion:
        """A version of a plan, the newest by default; raises ``UnknownName``."""
        stream = plan_stream(name)
        if version is None:
            found = self._ledger.facts_of(stream, PlanPushed, newest_first=True)
        else:
            found = self._ledger.facts_of(stream, PlanPushed, skip=version - 1)
        for recorded in found:
            fact = recorded.fact
            if isinstance(fact, PlanPushed) and version in {None, fact.version}:
                pushed = PlanVersion(
                    name=name,
                    version=fact.version,
                    position=recorded.position,
                    plan=fact.plan,
                    documents=fact.documents,
                    pushed_at=recorded.at,
                    pushed_by=recorded.cause.by,
                    notifications_set_at=recorded.at,
                    notifications_set_by=recorded.cause.by,
                )
                return self._as_it_stood(pushed)
        what = f"there is no plan {name}" if version is None else f"plan {name} has no version {version}"
        raise UnknownName(what)

    def _as_it_stood(self, pushed: PlanVersion) -> PlanVersion:
        """A version with its notifications as they were last set before the next version."""
        stream, position = plan_stream(pushed.name), pushed.position
        pushes = self._ledger.positions_of(stream, PlanPushed)
        until = next((each for each in pushes if each > position), None)
        sets = self._ledger.positions_of(stream, NotificationsSet)
        last = max((each for each in sets if position < each < (until or each + 1)), default=None)
        if last is None:
            return pushed
        (found,) = self._ledger.facts(stream, after=last - 1, until=last)
        if not isinstance(found.fact, NotificationsSet):
            raise TypeError(f"fact {last} of plan {pushed.name} is {type(found.fact).__name__}")
        plan, documents = with_notifications(pushed.plan, pushed.documents, found.fact)
        return msgspec.structs.replace(
            pushed,
            position=last,
            plan=plan,
            documents=documents,
            notifications_set_at=found.at,
            notifications_set_by=found.cause.by,
        )

    def all(self, name: str) -> list[VersionRow]:
        """Every version, oldest first; raises ``UnknownName`` when there is no such plan."""
        headers = self._ledger.headers_of(plan_stream(name), PlanPushed)
        if not headers:
            raise UnknownName(f"there is no plan {name}")
        return [
            VersionRow(
                version=number,
                pushed_at=header.at,
                pushed_by=header.cause.by,
                command=header.cause.command,
                reason=header.cause.reason,
            )
            for number, header in enumerate(headers, 1)
        ]
