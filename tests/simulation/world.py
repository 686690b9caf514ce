"""A whole world in one thread: a dashboard, agents, clients and misfortunes, in a time of their own."""

import errno
import logging
import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import structlog
from cases import JOB_ORDERS, SECOND, Case, Operation
from checks import Checks, Violation
from jobledger.actors.dashboard.dashboard import Dashboard
from jobledger.actors.dashboard.origin import Origin
from jobledger.domain.commands import (
    CONTEXT_COMMANDS,
    JOB_COMMANDS,
    AcknowledgeError,
    Command,
    DisableSchedules,
    EnableSchedules,
    EndInstance,
    JobCommand,
    KillJob,
    ResetDownstream,
    RunUntilEnded,
    SetParameters,
    SubmitJob,
)
from jobledger.domain.messages import DryRun, ProcessEvent
from jobledger.domain.permissions import permitted
from jobledger.storage.records import Inbound
from simulated_database import Fate
from simulated_disk import Crashed
from sites import AgentSite, DashboardSite
from virtual_actors import virtual_actors
from virtual_channel import Letterbox
from virtual_network import Network, NetworkFailed, Weather
from virtual_secrets import Overheard, opened, virtual_keys, within_text
from virtual_sources import SourceFiles, virtual_sources
from virtual_time import Loop, Process, pause
from ways import Busy, Refused, asked_of_dashboard

AnswerT = TypeVar("AnswerT")

REST_MS = 900 * SECOND
"""How long a world may take to come to rest once nothing befalls it any more."""
_LOOK_MS = 700
_STILL_MS = 40 * SECOND


_CONTEXT_ORDERS: dict[str, Any] = {each.name: each for each in CONTEXT_COMMANDS}
INSTANCE_COMMANDS: dict[str, Any] = {
    "disable schedules": DisableSchedules,
    "enable schedules": EnableSchedules,
    "run until ended": RunUntilEnded,
}
_JOB_ORDERS: dict[str, Any] = {each.name: each for each in JOB_COMMANDS}


def job_command(order: str, job: str, context: str, *, flag: bool) -> JobCommand:
    """The order of that name; the flag is whatever may be chosen with it."""
    match order:
        case "submit":
            return SubmitJob(job=job, context=context, parameters={"BY": "hand"} if flag else {})
        case "reset-downstream":
            return ResetDownstream(job=job, context=context, submit=flag)
        case "acknowledge":
            return AcknowledgeError(job=job, context=context, ticket="T-1" if flag else None)
        case "kill":
            return KillJob(job=job, context=context, force=flag)
        case _:
            return _JOB_ORDERS[order](job=job, context=context)  # type: ignore[no-any-return]


class World:
    """Everything that there is."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.loop = Loop(case.seed, case.start_ms)
        self.network = Network(self.loop, case.weather)
        self.sources = SourceFiles(self.loop, {plan.name for plan in case.plans}) if case.sources else None
        self.overheard = Overheard(self.fail) if case.secrets else None
        overhear = None if self.overheard is None else self.overheard.look_into_message
        self.network.overhear = overhear
        self.letterbox = (
            Letterbox(self.loop, self.network, subscribed=case.subscribed, overhear=overhear, fail=self.fail)
            if case.notifications
            else None
        )
        self.dashboard = DashboardSite(
            self.loop,
            self.network,
            wire=case.wire,
            time_zone=case.time_zone,
            interval_multiple=case.interval_multiple,
            sources=self.sources,
            letterbox=self.letterbox,
        )
        self.agents = {
            name: AgentSite(
                self.loop,
                self.network,
                name,
                self.dashboard.station,
                wire=case.wire,
                time_zone=case.time_zone,
                max_jobs=case.max_jobs,
            )
            for name in case.agents
        }
        self.dashboard.agents = {name: site.station for name, site in self.agents.items()}
        self.clients = Process(self.loop, "clients", self.loop.chance("clients"))
        self.checks = Checks(self)
        self.dashboard.database.on_commit = self.checks.committed
        self._fates: list[Fate] = []
        self._database_full_until_us = 0
        self.dashboard.database.next_fate = self._next_fate
        self.answers: Counter[str] = Counter()

    def complain(self, what: str) -> None:
        """An error was logged that nobody expects."""
        self.fail(Violation(f"an error was logged that nobody expects: {what}"))

    def fail(self, violation: Violation) -> None:
        """Something is wrong: the world ends after this step."""
        if self.loop.failure is None:
            self.loop.failure = violation

    def end(self) -> None:
        """Let go of everything that still waits."""
        for process in (
            self.clients,
            self.dashboard.process,
            *(each.process for each in self.agents.values()),
        ):
            process.alive = False
            process.bury()

    # --- life -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live through the case, come to rest, and have everything looked at. Raises ``Violation``."""
        for site in (self.dashboard, *self.agents.values()):
            site.start()
        start_us = self.loop.now_us
        for number, operation in enumerate(self.case.operations):
            self.loop.at(
                start_us + operation.at_ms * 1000,
                lambda number=number, operation=operation: self._do(number, operation),
                operation.what,
            )
        self.loop.run_until(start_us + self.case.lasts_ms * 1000)
        self._calm_down()
        self._come_to_rest()
        self.checks.at_rest()

    def _calm_down(self) -> None:
        """From here on nothing befalls the world."""
        self.network.weather = Weather()
        self._fates.clear()
        self._database_full_until_us = 0
        self.dashboard.database.readable = True
        for site in (self.dashboard, *self.agents.values()):
            site.station.cut_off_until_us = 0
            site.process.go_on()
            site.process.steps_left = None
            site.down_until_us = min(site.down_until_us, self.loop.now_us + 2_000_000)
            self.loop.after(3_000_000, site.start, "restart")
        for agent in self.agents.values():
            agent.disk.full = False
            agent.disk.fault = None
            agent.places.crash_at_move = lambda: False

    def _come_to_rest(self) -> None:
        """Until nothing is under way; where schedules never let it, until nothing is for long."""
        began_ms = self.loop.now_ms
        while self.loop.now_ms < began_ms + REST_MS:
            self.loop.run_until(self.loop.now_us + _LOOK_MS * 1000)
            pending, stuck = self.checks.restless()
            if stuck:
                raise Violation(f"the world does not come to rest: {stuck[0]} ({len(stuck)} alike)")
            if not pending and self.loop.now_ms > began_ms + _STILL_MS:
                return

    # --- what is done ---------------------------------------------------------------------------------------

    def _do(self, number: int, operation: Operation) -> None:
        deed = getattr(self, f"_{operation.what.replace(' ', '_')}")
        deed(number, **operation.with_)

    def _ask(self, number: int, work: Callable[[Dashboard], AnswerT], *, attempts: int = 4) -> None:
        """A client asks, and asks again as long as it does not know what became of it."""

        def ask() -> None:
            for attempt in range(attempts):
                try:
                    self.network.request(
                        self.dashboard.station, "client to dashboard", asked_of_dashboard(work)
                    )
                except (NetworkFailed, Busy):
                    self.answers["no answer"] += 1
                    pause((attempt + 1) * 700_000, "client waits")
                except Refused as refused:
                    self.answers[str(refused.status)] += 1
                    return
                else:
                    self.answers["200"] += 1
                    return

        self.clients.spawn(ask, f"client {number}", 0)

    def _origin(self, number: int, key: str | None = None) -> Origin:
        return Origin(by=f"client{number}", source="10.0.0.1", key=key or f"operation {number}")

    def _push(self, number: int, plan: int) -> None:
        pushed = self.case.plans[plan % len(self.case.plans)]
        self._ask(
            number, lambda dashboard: dashboard.push_plan(pushed, {}, self._origin(number)), attempts=12
        )

    def _enable(self, number: int, plan: str) -> None:
        self._ask(number, lambda dashboard: dashboard.enable_plan(plan, self._origin(number)))

    def _disable(self, number: int, plan: str) -> None:
        self._ask(number, lambda dashboard: dashboard.disable_plan(plan, self._origin(number)))

    def _delete(self, number: int, plan: str) -> None:
        self._ask(number, lambda dashboard: dashboard.delete_plan(plan, self._origin(number)))

    def _secret(self, name: str, number: int) -> dict[str, str]:
        """One more parameter, whose value is encrypted."""
        return {} if self.overheard is None or number % 3 else {name: within_text(number)}

    def _source_says(self, number: int, plan: str, readable: bool) -> None:
        if self.sources is not None:
            said = {"DATE": str(number), "MORE": "values", **self._secret("PASSWORD", number)}
            self.sources.write(plan, said if readable else None)

    def _refresh_parameters(self, number: int) -> None:
        self._ask(number, lambda dashboard: dashboard.refresh_parameters(self._origin(number)))

    def _start(
        self, number: int, plan: str, until_ended: bool, dry: bool, held: bool = False, given: bool = False
    ) -> None:
        self._ask(
            number,
            lambda dashboard: dashboard.start_instance(
                plan,
                self._origin(number),
                parameters={"DATE": "given", **self._secret("GIVEN", number)} if given else None,
                run_until_ended=until_ended,
                hold_commands=held,
                dry_run=DryRun(min_ms=10, max_ms=2_000, error_percentage=10.0) if dry else None,
                key=f"start {number}",
            ),
        )

    def _order(self, number: int, instance: int, make: Callable[[Any], Command | None]) -> None:
        state = self.checks.pick_instance(instance)
        if state is None:
            return
        command = make(state)
        if command is not None:
            self._ask(
                number,
                lambda dashboard: dashboard.command(state.instance_id, command, self._origin(number)),
            )

    def _submit(self, number: int, instance: int, unit: int) -> None:
        self._order_about_a_job(number, instance, unit, "submit", flag=False)

    def _order_about_a_job(self, number: int, instance: int, unit: int, order: str, flag: bool) -> None:
        def make(state: Any) -> Command | None:
            units = state.topology.units
            if not units:
                return None
            found = units[unit % len(units)]
            context = found.contexts[unit % len(found.contexts)]
            chosen = order
            if order not in JOB_ORDERS:
                names = permitted(state, found)
                if not names:
                    return None
                chosen = names[(number + unit) % len(names)]
            return job_command(chosen, found.identifier, context, flag=flag)

        self._order(number, instance, make)

    def _order_about_a_context(self, number: int, instance: int, context: int, order: str) -> None:
        def make(state: Any) -> Command:
            contexts = state.topology.contexts
            return _CONTEXT_ORDERS[order](context=contexts[context % len(contexts)].name)

        self._order(number, instance, make)

    def _order_about_an_instance(self, number: int, instance: int, context: int, order: str) -> None:
        def make(state: Any) -> Command:
            if order != "parameters":
                return INSTANCE_COMMANDS[order]()
            contexts = state.topology.contexts
            name = contexts[context % len(contexts)].name if context % 2 else None
            told = {"DATE": str(number), **self._secret("DSN", number)}
            return SetParameters(parameters=told, context=name)

        self._order(number, instance, make)

    def _reset(self, number: int, instance: int, same: bool, held: bool) -> None:
        """End an instance and begin a fresh one instead."""
        state = self.checks.pick_instance(instance)
        if state is None:
            return
        self._ask(
            number,
            lambda dashboard: dashboard.reset_instance(
                state.instance_id,
                self._origin(number),
                parameters={"BY": str(number), **self._secret("BY_HAND", number)} if number % 2 else None,
                same_parameters=same,
                hold_commands=held,
            ),
        )

    def _order_ahead(self, number: int, instance: int, unit: int, order: str) -> None:
        """Something is ordered about an instance that has not started."""
        state = self.checks.pick_prepared(instance)
        if state is None:
            return
        command = self._command_ahead(state, unit, order)
        if command is not None:
            self._ask(
                number,
                lambda dashboard: dashboard.command(state.instance_id, command, self._origin(number)),
            )

    def _command_ahead(self, state: Any, unit: int, order: str) -> Command | None:
        contexts, units = state.topology.contexts, state.topology.units
        name = contexts[unit % len(contexts)].name
        match order:
            case "end":
                return EndInstance()
            case "parameters":
                return SetParameters(parameters={"DATE": f"ahead {unit}"}, context=name if unit % 2 else None)
            case "disable schedules" | "enable schedules" | "run until ended":
                return INSTANCE_COMMANDS[order]()  # type: ignore[no-any-return]
            case "hold context" | "release context" | "skip context" | "enable context":
                return _CONTEXT_ORDERS[order.split(maxsplit=1)[0]](context=name)  # type: ignore[no-any-return]
        if not units:
            return None
        found = units[unit % len(units)]
        return job_command(order, found.identifier, found.contexts[unit % len(found.contexts)], flag=False)

    def _reset_lock(self, number: int, lock: str, group: str | None) -> None:
        self._ask(number, lambda dashboard: dashboard.reset_lock(group, lock, self._origin(number)))

    def _end(self, number: int, instance: int) -> None:
        self._order(number, instance, lambda _state: EndInstance())

    def _report(
        self, number: int, instance: int, unit: int, starting: bool, successful: bool, named: bool, times: int
    ) -> None:
        """An agent of another kind, which gives no ids, or one of ours that tells old news."""
        state = self.checks.pick_instance(instance)
        if state is None or not state.topology.units:
            return
        found = state.topology.units[unit % len(state.topology.units)]
        job = state.job(found.index)
        event = ProcessEvent(
            agent=found.job.agent,
            job=found.job.name,
            instance_id=str(state.instance_id),
            initiation_id=state.initiation_id(job.initiation) if job.initiation and unit % 3 else None,
            contexts=(found.contexts[unit % len(found.contexts)],) if named else (),
            starting=starting,
            successful=successful and not starting,
            return_code=None if starting else int(not successful),
            fired_at=self.loop.now_ms,
            id=f"report {number}" if unit % 2 else None,
        )
        if self.overheard is not None and event.initiation_id is None:
            event = msgspec.structs.replace(
                event, details=self._all_that_it_was_given(state, found.identifier)
            )
        for _ in range(times):
            self._ask(number, lambda dashboard: self._receive(dashboard, [event]))

    def _all_that_it_was_given(self, state: Any, job: str) -> str:
        """As an agent of another make writes it down."""
        given = [
            recorded.fact.parameters
            for recorded in self.checks.instances[state.instance_id].initiations.values()
            if recorded.fact.job == job
        ]
        return f"its parameters: {opened(given[-1]) if given else 'none'}"

    def _receive(self, dashboard: Dashboard, events: list[ProcessEvent]) -> None:
        try:
            dashboard.receive(events, Origin(by="another agent", source="10.0.0.9"))
        except ValueError as error:
            raise Refused(422, str(error)) from error
        self.checks.answered(events)

    def _stray_report(self, number: int, kind: str) -> None:
        state = self.checks.pick_instance(number)
        instance_id = str(UUID(int=number)) if state is None or kind == "instance" else str(state.instance_id)
        event = ProcessEvent(
            agent="anna",
            job="nobody" if kind == "job" else "job0",
            instance_id="no uuid" if kind == "text" else instance_id,
            contexts=("nowhere",) if kind == "context" else (),
            successful=True,
            id=f"stray {number}",
        )
        self._ask(number, lambda dashboard: self._receive(dashboard, [event]))

    def _garbage(self, number: int, instance: int) -> None:
        """Something in the inbox that does not read: written by another version, say."""
        state = self.checks.pick_instance(instance)
        if state is not None:
            entry = Inbound(stream=state.instance_id, kind="event", payload=b"\xc1garbage", source="past")
            self._ask(number, lambda dashboard: dashboard.ledger.receive([entry]))

    def _global_event(self, number: int, name: str, everywhere: bool, group: str | None) -> None:
        self._ask(
            number,
            lambda dashboard: dashboard.raise_global_event(
                name,
                self._origin(number),
                event_id=f"global {number}",
                environment_group=group,
                everywhere=everywhere,
            ),
        )

    def _resubmit(self, number: int, letter: int) -> None:
        self._with_letter(number, letter, lambda dashboard, position: dashboard.resubmit(position))

    def _discard(self, number: int, letter: int) -> None:
        self._with_letter(
            number, letter, lambda dashboard, position: dashboard.discard(position, self._origin(number))
        )

    def _with_letter(self, number: int, letter: int, act: Callable[[Dashboard, int], None]) -> None:
        def find_and_act(dashboard: Dashboard) -> None:
            letters = dashboard.dead_letters()
            if letters:
                act(dashboard, letters[letter % len(letters)].position)

        self._ask(number, find_and_act)

    def _file(self, number: int, agent: str, job: int, name: str, size: int) -> None:
        site = self.agents.get(agent)
        if site is not None:
            site.places.put(f"/in/job{job}/{name}", size, site.clock())

    # --- what befalls it ------------------------------------------------------------------------------------

    def _site(self, name: str) -> Any:
        return self.dashboard if name == "dashboard" else self.agents.get(name, self.dashboard)

    def _agent(self, name: str) -> AgentSite:
        return self.agents.get(name) or next(iter(self.agents.values()))

    def _next_fate(self) -> Fate:
        if self._database_full_until_us > self.loop.now_us:
            self.loop.kinds["fault: commit refused"] += 1
            return Fate.FULL
        fate = self._fates.pop(0) if self._fates else Fate.DONE
        if fate is not Fate.DONE:
            self.loop.kinds[f"fault: commit, {fate.value}"] += 1
        return fate

    def _crash_dashboard(self, number: int, down_ms: int) -> None:
        self.dashboard.crash(down_ms)

    def _kill_at_work(self, number: int, site: str, steps: int, down_ms: int) -> None:
        found = self._site(site)
        found.down_until_us = self.loop.now_us + down_ms * 1000
        found.process.steps_left = steps

    def _crash_dashboard_at_commit(self, number: int, commits: int, after: bool, down_ms: int) -> None:
        self.dashboard.down_until_us = self.loop.now_us + down_ms * 1000
        self._fates = [Fate.DONE] * (commits - 1) + [Fate.CRASH_AFTER if after else Fate.CRASH_BEFORE]

    def _stop_dashboard(self, number: int, down_ms: int) -> None:
        self.dashboard.stop(down_ms)

    def _database_full(self, number: int, for_ms: int) -> None:
        self._database_full_until_us = self.loop.now_us + for_ms * 1000

    def _database_unreadable(self, number: int, for_ms: int) -> None:
        database = self.dashboard.database
        database.readable = False
        self.loop.after(for_ms * 1000, lambda: setattr(database, "readable", True), "database readable")

    def _commits_in_doubt(self, number: int, commits: int) -> None:
        self._fates = [Fate.IN_DOUBT] * commits

    def _crash_agent(self, number: int, agent: str, down_ms: int) -> None:
        self._agent(agent).crash(down_ms)

    def _crash_agent_at_disk_call(self, number: int, agent: str, calls: int, down_ms: int) -> None:
        site = self._agent(agent)
        disk = site.disk
        last = disk.calls + calls
        site.down_until_us = self.loop.now_us + down_ms * 1000

        def fault(call: int, name: str) -> None:
            if call >= last and name != "close":
                self.loop.kinds["fault: agent died in a disk call"] += 1
                raise Crashed

        disk.fault = fault

    def _crash_agent_at_move(self, number: int, agent: str, moves: int, down_ms: int) -> None:
        site = self._agent(agent)
        site.down_until_us = self.loop.now_us + down_ms * 1000
        left = [moves]

        def crash() -> bool:
            left[0] -= 1
            return left[0] == 0

        site.places.crash_at_move = crash

    def _stop_agent(self, number: int, agent: str, down_ms: int) -> None:
        self._agent(agent).stop(down_ms)

    def _power_loss(self, number: int, agent: str, down_ms: int) -> None:
        self._agent(agent).lose_power(down_ms)

    def _disk_full(self, number: int, agent: str, for_ms: int) -> None:
        site = self._agent(agent)
        site.disk.full = True
        self.loop.after(for_ms * 1000, lambda: setattr(site.disk, "full", False), "space again")

    def _disk_error(self, number: int, agent: str, calls: int) -> None:
        disk = self._agent(agent).disk
        last = disk.calls + calls

        def fault(call: int, name: str) -> None:
            if call >= last and name in {"write", "fdatasync", "create", "rename", "fsync_directory"}:
                disk.fault = None
                self.loop.kinds[f"fault: disk error at {name}"] += 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        disk.fault = fault

    def _cut_off(self, number: int, site: str, for_ms: int) -> None:
        self._site(site).station.cut_off_until_us = self.loop.now_us + for_ms * 1000

    def _stall(self, number: int, site: str, for_ms: int) -> None:
        self._site(site).process.stall(for_ms * 1000)

    def _clock_jump(self, number: int, site: str, by_ms: int) -> None:
        self._site(site).jump(by_ms)


# --- what must not be logged --------------------------------------------------------------------------------


Complain = Callable[[str], None]
EXPECTED_ERRORS = frozenset(
    {
        "commit failed",
        "event parked",
        "agent refused",
        "initiation refused",
        "parameter source not read, the last values stay",
    }
)
"""What is logged as an error because the case asks for it."""


_OF_ERRORS = frozenset({"error", "critical"})


class _PykkaErrors(logging.Handler):
    """Errors that pykka logs: an actor failed in a way that nobody foresaw."""

    def __init__(self, complain: Complain) -> None:
        super().__init__(logging.ERROR)
        self._complain = complain

    def emit(self, record: logging.LogRecord) -> None:
        self._complain(f"{record.getMessage()} {_told(record.exc_info[1] if record.exc_info else None)}")


def _told(error: object) -> str:
    return "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else repr(error)


@contextmanager
def _listening(complain: Complain, overheard: Overheard | None) -> Iterator[None]:
    """Have nothing printed, and be told of every error that is logged and that nobody expects."""

    def note(_logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        if overheard is not None:
            overheard.look_into_log(event)
            if method not in _OF_ERRORS:
                raise structlog.DropEvent
        if event["event"] not in EXPECTED_ERRORS:
            error = event.get("exc_info")
            raised = error if isinstance(error, BaseException) else sys.exc_info()[1]
            complain(f"{event['event']}: {_told(raised or event.get('error'))}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[note],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.ERROR if overheard is None else logging.DEBUG
        ),
        cache_logger_on_first_use=False,
    )
    handler = _PykkaErrors(complain)
    pykka_log = logging.getLogger("pykka")
    pykka_log.addHandler(handler)
    propagated, pykka_log.propagate = pykka_log.propagate, False
    try:
        yield
    finally:
        pykka_log.removeHandler(handler)
        pykka_log.propagate = propagated
        structlog.configure(**before)


def live_through(case: Case) -> World:
    """Simulate a case from beginning to end; raises ``Violation``, with ``world`` set on it."""
    world = World(case)
    with ExitStack() as around:
        around.enter_context(_listening(world.complain, world.overheard))
        if world.overheard is not None:
            around.enter_context(virtual_keys())
        around.enter_context(virtual_actors(world.loop.chance("chance of the programs")))
        if world.sources is not None:
            around.enter_context(virtual_sources(world.loop, world.sources))
        try:
            world.run()
        except Violation as violation:
            violation.world = world
            raise
        finally:
            world.end()
    return world
