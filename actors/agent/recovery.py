"""What an agent that starts finds of the initiations of before."""

from collections.abc import Sequence
from dataclasses import dataclass

from .intake import Accepted, Intake
from .launcher import Launcher
from .markers import Running
from .orders import Order
from .reports import Reports
from .retirement import Retire
from .run_reports import finished_id, started_id
from .slots import Slots


@dataclass(frozen=True, slots=True)
class Before:
    """The initiations that were not acknowledged."""

    orders: list[Order]
    """To be carried out, or only to be reported, in the order in which they were accepted."""
    ended: list[Retire]
    """Whose end is reported already."""


def find_what_was(intake: Intake, reports: Reports, launcher: Launcher, slots: Slots) -> Before:
    """Look everything up, and have what runs watched, before anything new can start.

    Raises ``OSError`` when a marker cannot be looked at, and ``LogCorrupted``.
    """
    pending = intake.pending()
    _forget_orphans(launcher, {each.initiation.id for each in pending})
    reported = _reported(reports, pending)
    before = Before([], [])
    for accepted in pending:
        initiation_id = accepted.initiation.id
        if finished_id(initiation_id) in reported:
            before.ended.append(Retire(accepted.position, initiation_id))
            continue
        found = launcher.recover(initiation_id)
        if isinstance(found, Running):
            slots.occupy(initiation_id)
        started = started_id(initiation_id) in reported
        before.orders.append(Order(accepted=accepted, start_reported=started, found=found))
    return before


def _reported(reports: Reports, pending: Sequence[Accepted]) -> set[str]:
    """The ids of the events that have been written about these."""
    if not pending:
        return set()
    wanted = {each.initiation.id for each in pending}
    events = reports.reported(min(each.reports_after for each in pending))
    return {event.id for event in events if event.id is not None and event.initiation_id in wanted}


def _forget_orphans(launcher: Launcher, pending: set[str]) -> None:
    """Markers whose initiation was acknowledged just before they could be deleted."""
    for initiation_id in launcher.known():
        if initiation_id not in pending:
            launcher.forget(initiation_id)
