"""What the dashboard is told of an initiation: that it started, and how it ended."""

import msgspec

from ...domain.instants import Instant
from ...domain.messages import Outcome, ProcessEvent
from .markers import CouldNotStart, Ended, OutcomeUnknown, RunResult, Started
from .orders import Order


class RunFiles(msgspec.Struct, frozen=True):
    """Where a run writes to, and what it runs, fit to be shown."""

    output_path: str
    error_path: str
    details: str


def started_id(initiation_id: str) -> str:
    """The id of the report of a start: the same however often it is made."""
    return f"{initiation_id}/started"


def finished_id(initiation_id: str) -> str:
    """The id of the report of an end: the same however often it is made."""
    return f"{initiation_id}/finished"


class RunReporter:
    """Makes the events of one agent."""

    def __init__(self, agent: str, host: str) -> None:
        self._agent = agent
        self._host = host

    def started(self, order: Order, files: RunFiles, started: Started) -> ProcessEvent:
        """The command runs."""
        return msgspec.structs.replace(
            self._running(order, files),
            id=started_id(order.id),
            starting=True,
            pid=started.pid,
            fired_at=started.started_at,
        )

    def finished(self, order: Order, files: RunFiles, result: RunResult, now: Instant) -> ProcessEvent:
        """The command ended, or could not begin, or nobody knows."""
        event = msgspec.structs.replace(
            self._running(order, files), id=finished_id(order.id), completed_at=now
        )
        match result:
            case Ended():
                codes = order.template.successful_return_codes or (0,)
                return msgspec.structs.replace(
                    event,
                    pid=result.started.pid,
                    fired_at=result.started.started_at,
                    completed_at=result.completed_at,
                    return_code=result.return_code,
                    successful=result.return_code in codes and not result.timed_out and not result.killed,
                    killed=result.killed,
                    details=_with(files.details, "timed out" if result.timed_out else None),
                )
            case CouldNotStart(reason=reason):
                return msgspec.structs.replace(
                    event, fired_at=now, details=_with(files.details, f"could not be started: {reason}")
                )
            case OutcomeUnknown(reason=reason, started=started):
                return msgspec.structs.replace(
                    event,
                    pid=started.pid if started else None,
                    fired_at=started.started_at if started else order.accepted.accepted_at,
                    details=_with(files.details, f"outcome unknown: {reason}"),
                )

    def never_ran(self, order: Order, now: Instant, reason: str, *, killed: bool) -> ProcessEvent:
        """The command was not even tried, and that is a failure."""
        return msgspec.structs.replace(
            self._event(order),
            id=finished_id(order.id),
            fired_at=now,
            completed_at=now,
            killed=killed,
            details=reason,
        )

    def pretended_start(self, order: Order, outcome: Outcome, now: Instant) -> ProcessEvent:
        """Nothing runs, but the dashboard sees a start."""
        return msgspec.structs.replace(
            self._event(order), id=started_id(order.id), starting=True, outcome=outcome, fired_at=now
        )

    def pretended_end(
        self, order: Order, outcome: Outcome, fired_at: Instant, now: Instant, *, successful: bool
    ) -> ProcessEvent:
        """Nothing ran, but the dashboard sees an end."""
        return msgspec.structs.replace(
            self._event(order),
            id=finished_id(order.id),
            outcome=outcome,
            successful=successful,
            return_code=0 if successful else 1,
            fired_at=fired_at,
            completed_at=now,
        )

    def _running(self, order: Order, files: RunFiles) -> ProcessEvent:
        return msgspec.structs.replace(
            self._event(order),
            output_path=files.output_path,
            error_path=files.error_path,
            details=files.details,
        )

    def _event(self, order: Order) -> ProcessEvent:
        initiation = order.initiation
        return ProcessEvent(
            agent=self._agent,
            job=initiation.job,
            instance_id=initiation.instance_id,
            plan=initiation.plan,
            initiation_id=initiation.id,
            contexts=initiation.contexts,
            host=self._host,
            skipped=initiation.skipped,
            dry_run=initiation.dry_run is not None,
        )


def _with(details: str, more: str | None) -> str:
    """What matters most comes first."""
    return details if more is None else f"{more}\n{details}"
