"""The pure core alone: plans, instances and what goes between them, as values in one thread."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import count
from uuid import UUID

from jobledger.actors.dashboard.deliveries import deliveries
from jobledger.actors.dashboard.ports import AgentUnreachable
from jobledger.domain import commands
from jobledger.domain.decide import Step, advance, preview_dependants, start
from jobledger.domain.facts import (
    Cause,
    GlobalEventRaised,
    InstanceDue,
    InstanceStarted,
    JobInitiated,
    KillRequested,
    PlanFact,
    PlanPushed,
    Recorded,
    StartSkipped,
)
from jobledger.domain.instance import InstanceState, replay
from jobledger.domain.instants import Instant
from jobledger.domain.lock_group import Claim, LockGroup, group_key, replay_locks
from jobledger.domain.lock_snapshots import digest_of_locks
from jobledger.domain.locks import define, reset
from jobledger.domain.messages import Initiation, ProcessEvent, ProvisionedJobs, PublishedInstance
from jobledger.domain.plan import CommandJob, EventJob, EventKind, JobPlan
from jobledger.domain.plan_log import (
    PlanState,
    due_starts,
    evolve_plan,
    instance_started,
    plan_stream,
    push,
    read_source,
    record,
)
from jobledger.domain.snapshots import digest
from jobledger.domain.topology import Topology
from jobledger.domain.validation import validate
from jobledger.http.wire.lock_views import LockView, lock_views
from jobledger.http.wire.views import FactView, InstanceView, fact_view, instance_view
from msgspec.structs import replace
from scenario_agents import Order, Orders, StandInAgent
from scenario_commands import domain_command
from scenario_stage import (
    BEGINNING,
    Beginning,
    Command,
    Refusal,
    Revision,
    errors_of,
    refusal_of,
    revised,
)

ZONE = "UTC"


class CoreStage:
    """Everything that a dashboard would do with the core's answers, done at once."""

    def __init__(self) -> None:
        self._now = BEGINNING
        self._orders = Orders()
        self._agents: dict[str, StandInAgent] = {}
        self._plans: dict[str, PlanState] = {}
        self._plan_log: list[Recorded] = []
        self._topologies: dict[tuple[str, int], Topology] = {}
        self._states: dict[UUID, InstanceState] = {}
        self._logs: dict[UUID, list[Recorded]] = {}
        self._groups: dict[str | None, LockGroup] = {}
        self._lock_logs: dict[str | None, list[Recorded]] = defaultdict(list)
        self._inbox: deque[tuple[UUID, commands.Command]] = deque()
        self._outbox: dict[str, deque[tuple[str, Recorded]]] = defaultdict(deque)
        self._positions = count(1)
        self._begun = count(1)

    # --- what is told ---------------------------------------------------------------------------------------

    def push(self, plan: JobPlan) -> list[str]:
        """Validate, and record the version."""
        errors = errors_of(validate(plan))
        if not errors:
            self._push(plan)
        return errors

    def revise(self, plan: str, revision: Revision) -> Refusal | None:
        """A version made from the newest one."""
        answer = revised(self._plans[plan].plan, revision)
        if isinstance(answer, commands.Refused):
            return refusal_of(answer)
        self._push(answer)
        return None

    def _push(self, plan: JobPlan) -> None:
        before = self._plans.get(plan.name)
        if before is not None:
            self._start_due(plan.name)
            before = self._plans[plan.name]
        if (fact := push(before, plan, {})) is not None:
            self._record_plan(plan.name, fact, Cause(command="PlanPushed", by="olga"))
            self._topologies[plan.name, fact.version] = Topology(plan)
            self._define_locks(plan)
        self._settle()

    def begin(self, beginning: Beginning) -> Refusal | None:
        """Begin an instance of the newest version."""
        state = self._plans[beginning.plan]
        if state.plan.disabled:
            return Refusal(f"plan {beginning.plan} is disabled", status="DISABLED")
        if self._active(beginning.plan) and not state.plan.concurrent:
            return Refusal("another instance is active", status="ACTIVE")
        instance_id = UUID(int=next(self._begun))
        fact = InstanceDue(instance_id=instance_id, version=state.version)
        self._record_plan(beginning.plan, fact, Cause(command="InstanceDue", by="olga"))
        started = replace(
            instance_started(
                state,
                at=self._now,
                due_at=None,
                parameters=beginning.parameters,
                default_zone=ZONE,
                until_ended=beginning.until_ended,
            ),
            dry_run=beginning.dry_run,
        )
        topology = self._topologies[beginning.plan, state.version]
        self._start(topology, instance_id, started, "olga")
        self._settle()
        return None

    def command(self, instance_id: str, command: Command) -> Refusal | None:
        """Let the instance decide."""
        cause = Cause(command=command.verb, by=command.by, source="10.0.0.7", reason=command.reason)
        refused = self._decide(UUID(instance_id), domain_command(command), cause)
        self._settle()
        return None if refused is None else refusal_of(refused)

    def preview(self, instance_id: str, command: Command) -> list[str] | Refusal:
        """Let the instance decide, and forget what it decided."""
        order = domain_command(command)
        assert isinstance(order, commands.FireDependants)
        answer = preview_dependants(self._states[UUID(instance_id)], order, at=self._now)
        if isinstance(answer, commands.Refused):
            return refusal_of(answer)
        return [each.fact.job for each in answer.facts if isinstance(each.fact, JobInitiated)]

    def report(self, events: Sequence[ProcessEvent], *, compatible: bool) -> None:
        """Into the inbox, and on from there."""
        for event in events:
            if UUID(event.instance_id) in self._states:
                self._inbox.append((UUID(event.instance_id), commands.ReportEvent(event=event)))
        self._settle()

    def raise_global(self, name: str, group: str | None) -> None:
        """To every active instance that has the event."""
        position = next(self._positions)
        for state in self._expecting(name):
            if group is None or group_key(state.environment_group) == group_key(group):
                self._inbox.append(
                    (state.instance_id, _occurred(state.instance_id, name, f"raised-{position}"))
                )
        self._settle()

    def reset_lock(self, name: str, group: str | None) -> None:
        """Give it to those that wait."""
        step = reset(
            self._groups[group_key(group)], name, at=self._now, cause=Cause(command="ResetLock", by="olga")
        )
        self._took_locks(group, step.state, step.facts, step.granted)
        self._settle()

    def source(self, plan: str, parameters: dict[str, str]) -> None:
        """A fact of the plan, and news for its active instances."""
        fact = read_source(self._plans[plan], parameters)
        if fact is not None:
            self._record_plan(plan, fact, Cause(command="ParameterSourceRead", by="source"))
            taken = commands.TakeSourceParameters(parameters=parameters)
            self._inbox.extend((state.instance_id, taken) for state in self._active(plan))
        self._settle()

    def agent(self, name: str, *, compatible: bool = False) -> StandInAgent:
        """It is within reach from now on."""
        agent = self._agents.setdefault(name, StandInAgent(name, self._orders))
        agent.reachable = True
        self._settle()
        return agent

    def set_clock(self, now: Instant) -> None:
        """Close the windows that are over and start what is due."""
        self._now = now
        for state in list(self._states.values()):
            if not state.ended and state.ends_at is not None and state.ends_at <= now:
                self._decide(
                    state.instance_id, commands.CloseWindow(), Cause(command="CloseWindow", by="clock")
                )
        for name in self._plans:
            self._start_due(name)
        self._settle()

    def restart(self, until: Instant) -> None:
        """Forget everything but the logs, and go on."""
        self._states = {
            instance_id: replay(self._states[instance_id].topology, log)
            for instance_id, log in self._logs.items()
        }
        self._groups = {group: replay_locks(log) for group, log in self._lock_logs.items() if log}
        self.set_clock(until)

    # --- what is shown --------------------------------------------------------------------------------------

    def instances(self) -> list[InstanceView]:
        """In the order of their beginnings."""
        return [instance_view(state) for state in self._states.values()]

    def facts(self, instance_id: str, after: int) -> list[FactView]:
        """From the log in memory."""
        return [fact_view(each) for each in self._logs[UUID(instance_id)][after:]]

    def missed_starts(self) -> list[str]:
        """From the logs of the plans."""
        return [each.fact.reason for each in self._plan_log if isinstance(each.fact, StartSkipped)]

    def locks(self) -> list[LockView]:
        """As the groups stand."""
        return [
            view
            for group in self._groups.values()
            for view in lock_views(group, lambda each: self._states[each].plan, limit=1000)
        ]

    def orders(self) -> list[Order]:
        """What the agents took note of."""
        return self._orders.all()

    def contradictions(self) -> list[str]:
        """Live state and replayed state, compared by digest."""
        locks = [
            f"locks of group {group}: the log amounts to another state"
            for group, state in self._groups.items()
            if digest_of_locks(replay_locks(self._lock_logs[group])) != digest_of_locks(state)
        ]
        return locks + [
            f"instance {instance_id} of {state.plan}: the log amounts to another state"
            for instance_id, state in self._states.items()
            if digest(replay(state.topology, self._logs[instance_id])) != digest(state)
        ]

    # --- what follows ---------------------------------------------------------------------------------------

    def _active(self, plan: str) -> list[InstanceState]:
        return [state for state in self._states.values() if state.plan == plan and not state.ended]

    def _expecting(self, event: str) -> Iterator[InstanceState]:
        identifier = f"{EventKind.GLOBAL}-{event}"
        for state in self._states.values():
            if not state.ended and identifier in state.topology.by_identifier:
                yield state

    def _record_plan(self, name: str, fact: PlanFact, cause: Cause) -> None:
        before = self._plans.get(name)
        recorded = record(before, plan_stream(name), fact, at=self._now, cause=cause)
        self._plans[name] = evolve_plan(before, recorded)
        self._plan_log.append(recorded)
        self._deliver(recorded)

    def _start_due(self, name: str) -> None:
        state = self._plans[name]
        facts = list(due_starts(state, self._now, active=bool(self._active(name)), default_zone=ZONE))
        for fact in facts:
            self._record_plan(name, fact, Cause(command=type(fact).__name__, by="clock"))
            if isinstance(fact, InstanceDue):
                started = instance_started(
                    state, at=self._now, due_at=fact.due_at, parameters={}, default_zone=ZONE
                )
                topology = self._topologies[name, state.version]
                self._start(topology, fact.instance_id, started, "clock")

    def _start(self, topology: Topology, instance_id: UUID, fact: InstanceStarted, by: str) -> None:
        locks = self._groups.get(group_key(topology.plan.environment_group))
        cause = Cause(command="StartInstance", by=by)
        self._took(
            start(topology, instance_id=instance_id, fact=fact, at=self._now, cause=cause, locks=locks)
        )

    def _decide(self, instance_id: UUID, command: commands.Command, cause: Cause) -> commands.Refused | None:
        state = self._states[instance_id]
        locks = self._groups.get(group_key(state.environment_group))
        answer = advance(state, command, at=self._now, cause=cause, locks=locks)
        if isinstance(answer, commands.Refused):
            return answer
        self._took(answer)
        return None

    def _took(self, step: Step) -> None:
        """Keep the facts, and have everything follow that follows from them elsewhere."""
        instance_id = step.state.instance_id
        before = self._states.get(instance_id)
        raised = 0 if before is None else before.raised
        self._states[instance_id] = step.state
        self._logs.setdefault(instance_id, []).extend(step.facts)
        for recorded in step.facts:
            self._deliver(recorded)
            if isinstance(event := recorded.fact, GlobalEventRaised):
                raised += 1
                for target in self._expecting(event.name):
                    if group_key(target.environment_group) == group_key(event.environment_group):
                        occurred = _occurred(target.instance_id, event.name, f"{instance_id}/raised/{raised}")
                        self._inbox.append((target.instance_id, occurred))
        self._took_locks(step.state.environment_group, step.locks, step.lock_facts, step.granted)
        if step.state.ended and before is not None and not before.ended:
            self._start_due(step.state.plan)

    def _define_locks(self, plan: JobPlan) -> None:
        group = plan.environment_group
        locks = [lock for context in plan.root.walk() for lock in context.locks]
        cause = Cause(command="PlanPushed", by="olga")
        step = define(self._groups.get(group_key(group)), group, locks, at=self._now, cause=cause)
        if step is not None:
            self._took_locks(group, step.state, step.facts, step.granted)

    def _took_locks(
        self,
        group: str | None,
        state: LockGroup | None,
        facts: tuple[Recorded, ...],
        granted: tuple[Claim, ...],
    ) -> None:
        if state is None:
            return
        self._groups[group_key(group)] = state
        self._lock_logs[group_key(group)].extend(facts)
        for claim in granted:
            grant = commands.GrantLock(ticket=claim.ticket, job=claim.job, context=claim.context)
            self._inbox.append((claim.instance_id, grant))

    def _deliver(self, recorded: Recorded) -> None:
        for agent, _stream, _position, kind in deliveries([recorded]):
            self._outbox[agent].append((kind, recorded))

    def _settle(self) -> None:
        """Until nothing is left to hear and nothing to deliver to those within reach."""
        while True:
            while self._inbox:
                instance_id, command = self._inbox.popleft()
                self._decide(instance_id, command, Cause(position=next(self._positions)))
            if not sum(self._deliver_to(agent) for agent in self._agents.values()):
                return

    def _deliver_to(self, agent: StandInAgent) -> int:
        """How many deliveries it took."""
        waiting, taken = self._outbox[agent.name], 0
        while waiting:
            kind, recorded = waiting[0]
            try:
                self._give(agent, kind, recorded)
            except AgentUnreachable:
                return taken
            waiting.popleft()
            taken += 1
        return taken

    def _give(self, agent: StandInAgent, kind: str, recorded: Recorded) -> None:
        stream = recorded.originator_id
        match kind, recorded.fact:
            case "provision", PlanPushed(plan=plan):
                held = tuple(
                    job for job in plan.jobs if not isinstance(job, EventJob) and job.agent == agent.name
                )
                agent.provision(ProvisionedJobs(plan=plan.name, jobs=held))
            case "withdraw", PlanPushed(plan=plan):
                agent.withdraw(plan.name)
            case "publish", _:
                agent.publish(PublishedInstance(instance_id=str(stream), plan=self._states[stream].plan))
            case "remove", _:
                agent.remove(str(stream))
            case "kill", KillRequested(initiation=number, pid=pid, force=force):
                agent.kill(f"{stream}-{number}" if number else None, pid, force=force)
            case "initiate", JobInitiated() as fact:
                self._initiate(agent, stream, fact)
            case _:
                raise ValueError(f"{kind} of {type(recorded.fact).__name__} is nothing to deliver")

    def _initiate(self, agent: StandInAgent, instance_id: UUID, fact: JobInitiated) -> None:
        state = self._states[instance_id]
        unit = state.topology.unit_of(fact.job, fact.context)
        assert unit is not None
        assert isinstance(unit.job, CommandJob)
        initiation = Initiation(
            id=state.initiation_id(fact.initiation),
            agent=fact.agent,
            job=unit.job.name,
            plan=state.plan,
            instance_id=str(instance_id),
            contexts=fact.contexts,
            parameters=fact.parameters,
            template=unit.job,
            catalyst=fact.catalyst,
            dry_run=fact.dry_run,
        )
        (refusal,) = agent.initiate([initiation])
        if refusal is not None:
            refused = commands.RefuseInitiation(
                initiation_id=initiation.id, detail=f"the agent refused the initiation: {refusal}"
            )
            self._inbox.append((instance_id, refused))


def _occurred(instance_id: UUID, name: str, event_id: str) -> commands.ReportEvent:
    event = ProcessEvent(
        agent=EventKind.GLOBAL.value, job=name, instance_id=str(instance_id), id=event_id, successful=True
    )
    return commands.ReportEvent(event=event)
