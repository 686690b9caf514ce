"""The hosts of a simulated world: one for the dashboard, one for each agent, with what outlives a process."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from driven_committer import DrivenCommitter
from jobledger.actors.agent.agent import Agent
from jobledger.actors.agent.config import AgentConfig
from jobledger.actors.agent.host import Host as AgentHost
from jobledger.actors.dashboard.dashboard import Dashboard, DashboardConfig
from jobledger.actors.dashboard.host import Host as DashboardHost
from jobledger.actors.timers import Clock
from jobledger.storage.ledger import Ledger
from jobledger.storage.records import Unavailable
from jobledger.storage.segment_errors import LogCorrupted, SegmentLogError
from simulated_database import SimulatedDatabase, SimulatedEngine, open_ledger
from simulated_disk import SimulatedDisk
from virtual_actors import VirtualPool, VirtualTimers
from virtual_channel import Letterbox
from virtual_launcher import CommandHost, VirtualLauncher
from virtual_network import Network, Station
from virtual_places import Places, VirtualNotices
from virtual_sources import INDEX, SourceFiles
from virtual_time import Loop, Process, pause
from ways import DashboardOverNetwork, TransportOverNetwork

_READS_THAT_TAKE_TIME = 0.04
_RESTART_US = 500_000


class Site:
    """A host and the one program on it, which is started again whenever it ends."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.station = Station(name)
        self.clock_ahead_ms = 0
        self.process = Process(loop, f"{name}#0", loop.chance(f"{name} threads"))
        self.process.alive = False
        self.lives = 0
        self.program: Any = None
        self.timers: VirtualTimers | None = None
        self.down_until_us = 0

    def clock(self) -> int:
        """As the host has it."""
        return self.loop.now_ms + self.clock_ahead_ms

    @property
    def up(self) -> bool:
        """Whether the program answers."""
        return self.station.process is not None

    def start(self) -> None:
        """Begin a life of the program."""
        if self.process.alive:
            return
        self.lives += 1
        process = Process(self.loop, f"{self.name}#{self.lives}", self.loop.chance(f"{self.name} threads"))
        self.process = process
        process.on_death.append(self._died)
        process.spawn(lambda: self._begin(process), "start")

    def _begin(self, process: Process) -> None:
        raise NotImplementedError

    def _died(self) -> None:
        """The supervisor of the host starts it again."""
        self.program = None
        self.timers = None
        self._left_behind()
        self.loop.at(max(self.down_until_us, self.loop.now_us + _RESTART_US), self.start, "restart")

    def _left_behind(self) -> None:
        """A process that dies may leave something behind."""

    def crash(self, down_ms: int) -> None:
        """Killed without a warning."""
        self.down_until_us = self.loop.now_us + down_ms * 1000
        self.process.kill()

    def stop(self, down_ms: int) -> None:
        """Asked to finish."""
        process, program = self.process, self.program
        if program is None or not self.up:
            return
        self.down_until_us = self.loop.now_us + down_ms * 1000
        self.station.close()

        def close() -> None:
            program.close()
            process.kill()

        process.spawn(close, "stop")

    def jump(self, by_ms: int) -> None:
        """The clock is set."""
        self.clock_ahead_ms += by_ms
        if self.timers is not None and by_ms > 0:
            self.timers.look()
        elif self.timers is not None:
            self.timers.set_back()


# --- the dashboard ------------------------------------------------------------------------------------------


class _PausingEngine(SimulatedEngine):
    """Sometimes a read takes long enough for others to go on."""

    def __init__(self, database: SimulatedDatabase, process: Process) -> None:
        self._process = process
        super().__init__(database, lambda: process.alive)

    def read(self, statement: str, parameters: Any = ()) -> Any:
        if self._process.chance.random() < _READS_THAT_TAKE_TIME:
            pause(self._process.delay_us(), "read")
        return super().read(statement, parameters)


class _DashboardHost(DashboardHost):
    def __init__(self, site: "DashboardSite", process: Process) -> None:
        self._site = site
        self._process = process

    def ledger(self, _database_url: str | None, _data_dir: Path) -> Ledger:
        return open_ledger(
            lambda: _PausingEngine(self._site.database, self._process),
            self._site.clock,
            committer=lambda groups: DrivenCommitter(groups, self._process),
        )

    def pool(self, threads: int) -> VirtualPool:
        return VirtualPool(self._process, threads)

    def timers(self, clock: Clock) -> VirtualTimers:
        self._site.timers = VirtualTimers(self._process, clock)
        return self._site.timers

    def notices(self, on_change: Callable[[], None]) -> VirtualNotices:
        sources = self._site.sources
        places = Places() if sources is None else sources.places
        return VirtualNotices(places, self._process, on_change)


class DashboardSite(Site):
    """The dashboard's host, with its database."""

    def __init__(
        self,
        loop: Loop,
        network: Network,
        *,
        wire: bool,
        time_zone: str,
        interval_multiple: float,
        sources: SourceFiles | None,
        letterbox: Letterbox | None,
    ) -> None:
        super().__init__(loop, "dashboard")
        self.database = SimulatedDatabase()
        self.agents: dict[str, Station] = {}
        self.sources = sources
        self.letterbox = letterbox
        self._network = network
        self._wire = wire
        self._config = DashboardConfig(
            data_dir=Path("/dashboard"),
            time_zone=time_zone,
            start_interval_multiple=interval_multiple,
            parameters_file=None if sources is None else INDEX,
        )

    def _begin(self, process: Process) -> None:
        try:
            dashboard = Dashboard(
                self._config,
                open_transport=self._transport,
                clock=self.clock,
                host=_DashboardHost(self, process),
                notifying=None if self.letterbox is None else self.letterbox.notifying(),
            )
            self.program = dashboard
            dashboard.start()
        except Unavailable:
            process.kill()
            return
        self.station.listen(process, dashboard)

    def _transport(self, url: str) -> TransportOverNetwork:
        return TransportOverNetwork(self._network, self.agents[url], wire=self._wire)


# --- agents -------------------------------------------------------------------------------------------------


class _AgentHost(AgentHost):
    def __init__(self, site: "AgentSite", process: Process) -> None:
        self._site = site
        self._process = process

    @property
    def name(self) -> str:
        return self._site.name

    @property
    def files(self) -> SimulatedDisk:
        return self._site.disk

    @property
    def places(self) -> Places:
        return self._site.places

    @property
    def environment(self) -> Mapping[str, str]:
        return {"PATH": "/bin"}

    def notices(self, on_change: Callable[[], None]) -> VirtualNotices:
        return VirtualNotices(self._site.places, self._process, on_change)

    def pool(self, threads: int) -> VirtualPool:
        return VirtualPool(self._process, threads)

    def timers(self, clock: Clock) -> VirtualTimers:
        self._site.timers = VirtualTimers(self._process, clock)
        return self._site.timers

    def launcher(
        self, _runs_dir: Path, *, on_started: Any, on_finished: Any, on_no_room: Any, **_rest: Any
    ) -> VirtualLauncher:
        return VirtualLauncher(
            self._site.commands,
            self._process,
            on_started=on_started,
            on_finished=on_finished,
            on_no_room=on_no_room,
        )


class AgentSite(Site):
    """An agent's host: its disk, its commands, the files that arrive there."""

    def __init__(
        self,
        loop: Loop,
        network: Network,
        name: str,
        dashboard: Station,
        *,
        wire: bool,
        time_zone: str,
        max_jobs: int | None,
    ) -> None:
        super().__init__(loop, name)
        self.disk = SimulatedDisk(seed=loop.chance(f"{name} disk").getrandbits(30))
        self.commands = CommandHost(loop, name, self.clock)
        self.commands.no_room = lambda: self.disk.full
        self.places = Places()
        self._network = network
        self._dashboard = dashboard
        self._wire = wire
        self._power_lost = False
        self._config = AgentConfig(
            name=name,
            data_dir=Path(f"/{name}"),
            dashboard_urls=("virtual",),
            time_zone=time_zone,
            max_jobs=max_jobs,
        )

    def _begin(self, process: Process) -> None:
        client = DashboardOverNetwork(self._network, self._dashboard, self.name, wire=self._wire)
        host = _AgentHost(self, process)
        process.on_kill.append(self.disk.die)
        try:
            agent = Agent(self._config, client=client, clock=self.clock, version="simulated", host=host)
            self.program = agent
            agent.start(self.name)
        except LogCorrupted:
            raise
        except (SegmentLogError, OSError):
            process.kill()
            return
        self.station.listen(process, agent)

    def lose_power(self, down_ms: int) -> None:
        """The host goes down: the agent, the commands, and what was not synced."""
        self._power_lost = True
        self.commands.lose_power(self.loop.chance(f"{self.name} power"))
        self.crash(down_ms)
        if not self.process.alive and self.program is None:
            self._left_behind()

    def _left_behind(self) -> None:
        """The disk, as the next process finds it."""
        self.commands.launcher = None
        self.places.crash_at_move = lambda: False
        full = self.disk.full
        if self._power_lost:
            self._power_lost = False
            self.disk = self.disk.after_power_loss(self.loop.chance(f"{self.name} power"))
        else:
            self.disk = self.disk.after_kill()
        self.disk.full = full
