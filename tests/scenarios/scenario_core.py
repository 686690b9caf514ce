"""The pure core alone: plans, instances and what goes between them, as values in one thread."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from itertools import count
from uuid import UUID

from jobledger.actors.dashboard.deliveries import deliveries
from jobledger.actors.dashboard.ports import AgentUnreachable
from jobledger.domain import commands
from jobledger.domain.decide import Step, advance, preview_dependants
from jobledger.domain.facts import (
    AgentsSynchronised,
    Cause,
    GlobalEventRaised,
    JobInitiated,
    KillRequested,
    PlanDeleted,
    PlanPushed,
    Recorded,
    ResetOrdered,
)
from jobledger.domain.instance import InstanceState, replay
from jobledger.domain.instants import Instant
from jobledger.domain.lock_group import Claim, LockGroup, group_key, replay_locks
from jobledger.domain.lock_snapshots import digest_of_locks
from jobledger.domain.locks import define, reset
from jobledger.domain.messages import Initiation, ProcessEvent, ProvisionedJobs, PublishedInstance
from jobledger.domain.plan import CommandJob, EventJob, EventKind, JobPlan
from jobledger.domain.plan_decision import ByHand, PlanDecision, PlanWorld
from jobledger.domain.plan_log import PlanStanding, PlanState, evolve_plan, plan_stream
from jobledger.domain.snapshots import digest
from jobledger.domain.topology import Topology
from jobledger.domain.validation import validate
from jobledger.http.wire.lock_views import LockView, lock_views
from jobledger.http.wire.views import FactView, InstanceView, fact_view, instance_view
from scenario_agents import Order, Orders, StandInAgent
from scenario_commands import domain_command
from scenario_stage import (
    BEGINNING,
    Beginning,
    Command,
    Fresh,
    PlanOrder,
    PlanShown,
    Refusal,
    Revision,
    errors_of,
    refusal_of,
    revised,
    shown,
)

ZONE = "UTC"


class CoreStage:
    """Everything that a dashboard would do with the core's answers, done at once."""

    def __init__(self) -> None:
        self._now = BEGINNING
        self._orders = Orders()
        self._agents: dict[str, StandInAgent] = {}
        self._plans: dict[str, PlanState] = {}
        self._plan_logs: dict[str, list[Recorded]] = defaultdict(list)
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
        if plan.name in self._plans:
            self._start_due(plan.name)
        decision = self._plan_decision(plan.name)
        decision.push(plan, {}, Cause(command="PlanPushed", by="olga"))
        self._decided(plan.name, decision)
        if decision.facts:
            self._define_locks(plan)
        self._settle()

    def begin(self, beginning: Beginning) -> Refusal | None:
        """Begin an instance of the newest version."""
        order = ByHand(
            instance_id=UUID(int=next(self._begun)),
            parameters=beginning.parameters,
            business_date=beginning.business_date,
            until_ended=beginning.until_ended,
            commands_held=beginning.commands_held,
            dry_run=beginning.dry_run,
        )
        if (gone := self._gone(beginning.plan)) is not None:
            return gone
        decision = self._plan_decision(beginning.plan)
        refused = decision.start_by_hand(order, Cause(command="StartInstance", by="olga"))
        if refused is not None:
            return refusal_of(refused)
        self._decided(beginning.plan, decision)
        self._settle()
        return None

    def order(self, order: PlanOrder) -> Refusal | None:
        """Let the plan decide, once all that was due before is accounted for."""
        if (gone := self._gone(order.plan)) is not None:
            return gone
        self._start_due(order.plan)
        cause = Cause(command=order.verb, by=order.by, source="10.0.0.7", reason=order.reason)
        decision = self._plan_decision(order.plan)
        refused = getattr(decision, order.verb)(cause)
        if refused is not None:
            return refusal_of(refused)
        self._decided(order.plan, decision)
        for each in decision.to_end:
            ended = commands.HeardOrder(order=commands.EndInstance(reason="plan deleted"))
            self._decide(each, ended, decision.facts[-1].cause)
        self._settle()
        return None

    def _gone(self, plan: str) -> Refusal | None:
        deleted = self._plans[plan].standing is PlanStanding.DELETED
        return Refusal(f"plan {plan} was deleted", unknown=True) if deleted else None

    def reset(self, instance_id: str, fresh: Fresh) -> Refusal | None:
        """Let the plan say whether it may be, and the instance decide."""
        ended = UUID(instance_id)
        plan = self._states[ended].plan
        refused = self._plan_decision(plan).refusal_to_reset()
        if refused is None:
            order = commands.ResetInstance(
                successor=UUID(int=next(self._begun)),
                parameters=fresh.parameters,
                same_parameters=fresh.same_parameters,
                hold_commands=fresh.commands_held,
            )
            refused = self._decide(ended, order, Cause(command="ResetInstance", by="olga", source="10.0.0.7"))
        self._settle()
        return None if refused is None else refusal_of(refused)

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
        decision = self._plan_decision(plan)
        decision.read_source(parameters, Cause(command="ReadSource", by="source"))
        self._decided(plan, decision)
        if decision.facts:
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
            if not (state.ended or state.prepared) and state.ends_at is not None and state.ends_at <= now:
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
        self._plans = {name: replay_plan(log) for name, log in self._plan_logs.items()}
        self._now = until
        self._tell_again()
        self.set_clock(until)

    # --- what is shown --------------------------------------------------------------------------------------

    def instances(self) -> list[InstanceView]:
        """In the order of their beginnings."""
        return [instance_view(state) for state in self._states.values()]

    def facts(self, instance_id: str, after: int) -> list[FactView]:
        """From the log in memory."""
        return [fact_view(each) for each in self._logs[UUID(instance_id)][after:]]

    def plan_facts(self, plan: str, after: int) -> list[FactView]:
        """From the log in memory."""
        return [fact_view(each) for each in self._plan_logs[plan][after:]]

    def plan_shown(self, plan: str) -> PlanShown:
        """The live state."""
        return shown(self._plans[plan], ZONE)

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
        plans = [
            f"plan {name}: the log amounts to another state"
            for name, state in self._plans.items()
            if replay_plan(self._plan_logs[name]) != state
        ]
        return [*locks, *plans] + [
            f"instance {instance_id} of {state.plan}: the log amounts to another state"
            for instance_id, state in self._states.items()
            if digest(replay(state.topology, self._logs[instance_id])) != digest(state)
        ]

    # --- what follows ---------------------------------------------------------------------------------------

    def _active(self, plan: str) -> list[InstanceState]:
        return [
            state
            for state in self._states.values()
            if state.plan == plan and not state.ended and not state.prepared
        ]

    def _expecting(self, event: str) -> Iterator[InstanceState]:
        identifier = f"{EventKind.GLOBAL}-{event}"
        for state in self._states.values():
            if not (state.ended or state.prepared) and identifier in state.topology.by_identifier:
                yield state

    def _plan_decision(self, name: str) -> PlanDecision:
        state = self._plans.get(name)
        group = None if state is None else state.plan.environment_group
        world = PlanWorld(
            at=self._now,
            default_zone=ZONE,
            active=tuple(each.instance_id for each in self._active(name)),
            topology=lambda version: self._topologies[name, version],
            instance=lambda instance_id: self._states[instance_id],
            locks=self._groups.get(group_key(group)),
        )
        return PlanDecision(state, plan_stream(name), world)

    def _decided(self, name: str, decision: PlanDecision) -> None:
        """Keep what a plan decided, and have everything follow."""
        assert decision.state is not None
        self._plans[name] = decision.state
        self._plan_logs[name].extend(decision.facts)
        for recorded in decision.facts:
            self._deliver(recorded)
            if isinstance(fact := recorded.fact, PlanPushed):
                compiled = decision.compiled.get(fact.version) or Topology(fact.plan)
                self._topologies[name, fact.version] = compiled
        for step in decision.steps.values():
            self._took(step)
        group = decision.state.plan.environment_group
        self._took_locks(group, decision.locks, tuple(decision.lock_facts), tuple(decision.granted))

    def _start_due(self, name: str) -> None:
        while True:
            decision = self._plan_decision(name)
            decision.account(Cause(command="AccountForStarts", by="clock"))
            self._decided(name, decision)
            if not decision.facts:
                return

    def _begin_instead(self, previous: UUID, order: ResetOrdered, cause: Cause) -> None:
        name = self._states[previous].plan
        decision = self._plan_decision(name)
        decision.begin_instead(previous, order, cause)
        self._decided(name, decision)

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
        for recorded in step.facts:
            if isinstance(order := recorded.fact, ResetOrdered):
                self._begin_instead(instance_id, order, recorded.cause)
        if step.state.ended and before is not None and not (before.ended or before.prepared):
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

    def _tell_again(self) -> None:
        """Agents hear once more of what is active, unless they will anyway."""
        for instance_id, state in self._states.items():
            over = state.ended or (state.ends_at is not None and state.ends_at <= self._now)
            for agent in () if over or state.prepared else state.agents:
                waiting = self._outbox[agent]
                if ("publish", instance_id) not in {(kind, each.originator_id) for kind, each in waiting}:
                    waiting.append(("publish", self._logs[instance_id][0]))

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
                agent.provision(self._jobs_for(agent, plan))
            case "provision", AgentsSynchronised(plan=name, version=version):
                agent.provision(self._jobs_for(agent, self._topologies[name, version].plan))
            case "withdraw", PlanPushed(plan=plan):
                agent.withdraw(plan.name)
            case "withdraw", AgentsSynchronised(plan=name) | PlanDeleted(plan=name):
                agent.withdraw(name)
            case "publish", _:
                agent.publish(PublishedInstance(instance_id=str(stream), plan=self._states[stream].plan))
            case "remove", _:
                agent.remove(str(stream))
            case "kill", KillRequested(initiation=number, pid=pid, force=force):
                agent.kill(f"{stream}-{number}", pid, force=force)
            case "initiate", JobInitiated() as fact:
                self._initiate(agent, stream, fact)
            case _:
                raise ValueError(f"{kind} of {type(recorded.fact).__name__} is nothing to deliver")

    def _jobs_for(self, agent: StandInAgent, plan: JobPlan) -> ProvisionedJobs:
        held = (job for job in plan.jobs if not isinstance(job, EventJob) and job.agent == agent.name)
        return ProvisionedJobs(plan=plan.name, jobs=tuple(held))

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


def replay_plan(log: Sequence[Recorded]) -> PlanState:
    """The state that the log of a plan amounts to."""
    state: PlanState | None = None
    for recorded in log:
        state = evolve_plan(state, recorded)
    assert state is not None
    return state


def _occurred(instance_id: UUID, name: str, event_id: str) -> commands.ReportEvent:
    event = ProcessEvent(
        agent=EventKind.GLOBAL.value, job=name, instance_id=str(instance_id), id=event_id, successful=True
    )
    return commands.ReportEvent(event=event)
