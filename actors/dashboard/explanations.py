"""Why a job is not running, and why it ran: what its instance knows, and what others know about it.

The instance says what blocks the job; the locks say who holds them, the registry which agents answer, the
outbox what they have not taken, the inbox which events could not be processed.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from uuid import UUID

import msgspec

from ...domain.causes import causes_of
from ...domain.facts import InstanceEnded, JobPassedOver, Recorded
from ...domain.instance import InstanceState
from ...domain.lock_waits import LockWait, LockWaits
from ...domain.messages import ProcessEvent
from ...domain.plan import EventJob, JobIdentifier
from ...domain.topology import Unit
from ...domain.why import Blocker, BlockerKind, Why, why
from ...storage.ledger import Ledger
from ...storage.records import InboxEntry
from .agents import Agents, AgentView
from .lock_groups import LockGroups

_PAGE = 64
"""Facts that are read at once: causes lie close together, and mostly not far back."""
_PAGES = 64
_SINCE_THE_BEGINNING = frozenset({BlockerKind.HELD, BlockerKind.SKIPPED, BlockerKind.SCHEDULES_DISABLED})
"""What may be so since the first fact, which then says it."""


class BlockerFound(msgspec.Struct, frozen=True, kw_only=True):
    """A blocker, with the fact since which it is so, and with what others know about it."""

    blocker: Blocker
    unit: Unit
    fact: Recorded | None = None
    agent: AgentView | None = None
    """Of a job that an agent has to do something about; ``None`` also for one that never announced itself."""
    undelivered: bool = False
    """The agent has not even taken its initiation."""
    lock: LockWait | None = None
    letters: tuple[InboxEntry, ...] = ()
    """Events about the job that could not be processed."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of why a job does what it does."""

    state: InstanceState
    unit: Unit
    why: Why
    blockers: tuple[BlockerFound, ...] = ()
    """The first of them; ``why`` has all."""
    latest: Recorded | None = None
    """The fact since which the job does what it does; ``None``: since the beginning."""
    ended: Recorded | None = None
    """The end of an instance that has ended."""
    chain: tuple[Recorded, ...] = ()
    """What the job did last, what caused that, and so on."""
    skips: Mapping[int, Recorded] = {}
    """For what was passed over on the way, by the position of that: who had it skipped."""
    events: Mapping[int, ProcessEvent] = {}
    """The inbound events that the chain is about, by their positions in the inbox."""


class Explanations:
    """Explains jobs of instances."""

    def __init__(self, *, ledger: Ledger, locks: LockGroups, agents: Agents) -> None:
        self._ledger = ledger
        self._locks = locks
        self._agents = agents

    def of(self, state: InstanceState, unit: Unit, *, limit: int) -> Explanation:
        """Why the job does not run, or ran; with up to ``limit`` blockers looked into."""
        log = _Log(self._ledger, state.instance_id)
        told = why(state, unit)
        chain = tuple(causes_of(state, unit, log.fact))
        heard = [each.cause.position for each in chain if each.cause.position is not None]
        since = state.job(unit.index).since
        return Explanation(
            state=state,
            unit=unit,
            why=told,
            blockers=tuple(self._looked_into(state, told.blockers[:limit], log)),
            latest=log.fact(since) if since else None,
            ended=log.latest_end(state.position) if state.ended else None,
            chain=chain,
            skips={each.position: skip for each in chain if (skip := _skip(each, log)) is not None},
            events=_events(self._ledger.entries(heard).values()),
        )

    def lock_wait(self, state: InstanceState, unit: Unit) -> LockWait | None:
        """Why a job waits for its lock; ``None`` if it does not."""
        waits = self._lock_waits(state) if unit.lock is not None else None
        return None if waits is None else waits.of(state.job(unit.index).lock_ticket)

    def _looked_into(
        self, state: InstanceState, blockers: Iterable[Blocker], log: "_Log"
    ) -> Iterator[BlockerFound]:
        agents = {view.name: view for view in self._agents.views()}
        undelivered = _Undelivered(self._ledger, state.instance_id)
        letters = _letters(self._ledger.parked(stream=state.instance_id, limit=1000))
        waits = self._lock_waits(state)
        for blocker in blockers:
            unit = state.topology.units[blocker.unit]
            position = blocker.position or int(blocker.kind in _SINCE_THE_BEGINNING)
            agent = None if isinstance(unit.job, EventJob) else unit.job.agent
            ticket = state.job(unit.index).lock_ticket
            yield BlockerFound(
                blocker=blocker,
                unit=unit,
                fact=log.fact(position) if position else None,
                agent=None if agent is None else agents.get(agent),
                undelivered=blocker.kind is BlockerKind.ON_ITS_WAY
                and agent is not None
                and undelivered.has(agent, blocker.position),
                lock=waits.of(ticket) if waits is not None and blocker.kind is BlockerKind.LOCK else None,
                letters=letters.get(unit.identifier, ()),
            )

    def _lock_waits(self, state: InstanceState) -> LockWaits | None:
        if not state.topology.uses_locks:
            return None
        group = self._locks.read(state.environment_group)
        return None if group is None else LockWaits(group)


class _Log:
    """The facts of an instance by their positions, read in pages and kept for a while."""

    def __init__(self, ledger: Ledger, instance_id: UUID) -> None:
        self._ledger = ledger
        self._instance_id = instance_id
        self._pages: OrderedDict[int, list[Recorded]] = OrderedDict()

    def fact(self, position: int) -> Recorded:
        """The fact at a position of the log."""
        number, place = divmod(position - 1, _PAGE)
        page = self._pages.get(number)
        if page is None or place >= len(page):
            page = self._ledger.facts(self._instance_id, after=number * _PAGE, limit=_PAGE)
            self._pages[number] = page
            if len(self._pages) > _PAGES:
                self._pages.popitem(last=False)
        return page[place]

    def latest_end(self, position: int) -> Recorded | None:
        """The fact that the instance ended, looked for from a position back."""
        while position and not isinstance(self.fact(position).fact, InstanceEnded):
            position -= 1
        return self.fact(position) if position else None


class _Undelivered:
    """What agents have not taken yet of an instance; asked once for each agent."""

    def __init__(self, ledger: Ledger, instance_id: UUID) -> None:
        self._ledger = ledger
        self._instance_id = instance_id
        self._of: dict[str, frozenset[int]] = {}

    def has(self, agent: str, position: int) -> bool:
        """Whether the agent is still to be told of the fact at a position."""
        if agent not in self._of:
            self._of[agent] = self._ledger.undelivered(agent, self._instance_id)
        return position in self._of[agent]


def _skip(recorded: Recorded, log: _Log) -> Recorded | None:
    """Why a job that was passed over was to be."""
    if not isinstance(recorded.fact, JobPassedOver):
        return None
    return log.fact(recorded.fact.skipped_by or 1)


def _events(entries: Iterable[InboxEntry]) -> dict[int, ProcessEvent]:
    found = {}
    for entry in entries:
        if (event := event_in(entry)) is not None:
            found[entry.position] = event
    return found


def event_in(entry: InboxEntry) -> ProcessEvent | None:
    """The process event of an inbox entry, if it is one and reads."""
    if entry.kind != "event":
        return None
    try:
        return msgspec.msgpack.decode(entry.payload, type=ProcessEvent)
    except msgspec.DecodeError:
        return None


def _letters(entries: Iterable[InboxEntry]) -> dict[JobIdentifier, tuple[InboxEntry, ...]]:
    """Parked events by the job that they are about."""
    found: dict[JobIdentifier, tuple[InboxEntry, ...]] = {}
    for entry in entries:
        if (event := event_in(entry)) is not None:
            found[event.job_identifier] = (*found.get(event.job_identifier, ()), entry)
    return found
