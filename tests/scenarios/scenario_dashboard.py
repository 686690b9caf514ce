"""A real dashboard on a real ledger, with a clock that the story sets and a way to know when all is quiet."""

import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.ports import AgentTransport
from jobledger.domain.instants import Instant
from scenario_agents import Orders, StandInAgent
from scenario_stage import BEGINNING

PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 0.001


class RunningDashboard:
    """Opens the dashboard, and again on the same data after a restart."""

    def __init__(self, folder: Path, connect: Callable[[str], AgentTransport], *, sources: bool) -> None:
        self.now: Instant = BEGINNING
        self.orders = Orders()
        self.agents: dict[str, StandInAgent] = {}
        self._folder = folder
        self._sources = folder / "parameters.toml" if sources else None
        if self._sources is not None:
            self._sources.touch()
        self._connect = connect
        self.dashboard = self._open()

    def _open(self) -> Dashboard:
        dashboard = Dashboard(
            DashboardConfig(data_dir=self._folder, threads=3, parameters_file=self._sources),
            open_transport=self._connect,
            clock=lambda: self.now,
        )
        self._turns = _Turns(dashboard)
        dashboard.start()
        return dashboard

    def write_source(self, plan: str, parameters: dict[str, str]) -> None:
        """Write the file with a plan's parameters, and name it; nobody has been asked to read it yet."""
        assert self._sources is not None, "the stage was opened without parameter sources"
        lines = [f"{name}={value}\n" for name, value in parameters.items()]
        (self._folder / f"{plan}.properties").write_text("".join(lines))
        named = self._sources.read_text()
        if f'"{plan}"' not in named:
            self._sources.write_text(f'{named}"{plan}" = "{plan}.properties"\n')

    def close(self) -> None:
        """Stop it."""
        self.dashboard.close()

    def reopen(self, until: Instant) -> None:
        """Start it again on the same data, at an instant."""
        self.now = until
        self.dashboard = self._open()

    def set_clock(self, now: Instant) -> None:
        """Let time pass, and have everything happen that is due."""
        self.now = now
        self.settle()

    def settle(self) -> None:
        """Return once nothing is under way any more: no timer due, no turn, no entry, no delivery."""
        deadline = monotonic() + PATIENCE_SECONDS
        while True:
            self._timers_told()
            turns = self._turns.taken
            if self._is_quiet() and self._turns.taken == turns and self._is_quiet():
                return
            assert monotonic() < deadline, f"it does not come to rest: {self._unrest()}"
            self._turns.wait(LOOK_SECONDS)

    def _timers_told(self) -> None:
        """The timers' thread goes through what is due in order: once it is here, all of it has been told."""
        here = threading.Event()
        self.dashboard._timers.set("scenario", self.now, here.set)
        assert here.wait(PATIENCE_SECONDS), "the timers do not answer"

    def _is_quiet(self) -> bool:
        return not any(self._unrest().values())

    def _unrest(self) -> dict[str, object]:
        ledger = self.dashboard.ledger
        return {
            "deliveries": [
                name
                for name in ledger.agents_with_outgoing()
                if name in self.agents and self.agents[name].reachable
            ],
            "inbox": ledger.unhandled(limit=1),
            "turns": self._turns.under_way,
        }


class _Turns:
    """Counts the turns that the dashboard's actors take."""

    def __init__(self, dashboard: Dashboard) -> None:
        self.taken = 0
        self.under_way = 0
        self._changed = threading.Condition()
        self._submit = dashboard._pool.submit
        dashboard._pool.submit = self._count  # type: ignore[method-assign]

    def _count(self, turn: Callable[[], None]) -> None:
        def counted() -> None:
            try:
                turn()
            finally:
                with self._changed:
                    self.under_way -= 1
                    self.taken += 1
                    self._changed.notify_all()

        with self._changed:
            self.under_way += 1
        self._submit(counted)

    def wait(self, seconds: float) -> None:
        """Until a turn ends, at most so long."""
        with self._changed:
            self._changed.wait(seconds)
