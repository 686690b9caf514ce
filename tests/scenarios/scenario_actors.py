"""The dashboard's actors on a real ledger, with agents that live in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from jobledger.actors.dashboard.dashboard import PlanInvalid
from jobledger.actors.dashboard.errors import NotPermitted, UnknownName
from jobledger.actors.dashboard.origin import Origin
from jobledger.domain.commands import FireDependants, Refused
from jobledger.domain.facts import JobInitiated
from jobledger.domain.instance import replay
from jobledger.domain.instants import Instant
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import JobPlan
from jobledger.domain.plan_log import PlanStanding, plan_stream
from jobledger.domain.snapshots import digest
from jobledger.http.wire.lock_views import LockView, lock_views
from jobledger.http.wire.views import FactView, InstanceView, fact_view, instance_view
from scenario_agents import Order, StandInAgent
from scenario_commands import domain_command
from scenario_core import replay_plan
from scenario_dashboard import RunningDashboard
from scenario_stage import (
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

OPERATOR = Origin(by="olga", source="10.0.0.7")


@dataclass
class _Refused:
    """What came of an order: ``None`` when it was obeyed."""

    what: Refusal | None = None


class ActorStage:
    """Calls the dashboard as its HTTP resources would."""

    def __init__(self, folder: Path, *, sources: bool = False) -> None:
        self._running = RunningDashboard(folder, lambda url: self._running.agents[url], sources=sources)

    def close(self) -> None:
        """Stop it."""
        self._running.close()

    # --- what is told ---------------------------------------------------------------------------------------

    def push(self, plan: JobPlan) -> list[str]:
        """Make it the newest version."""
        try:
            self._running.dashboard.push_plan(plan, {}, OPERATOR)
        except PlanInvalid as error:
            return errors_of(error.problems)
        self._running.settle()
        return []

    def revise(self, plan: str, revision: Revision) -> Refusal | None:
        """A version made from the newest one."""
        newest = self._running.dashboard.plan(plan)
        answer = revised(newest.plan, revision)
        if isinstance(answer, Refused):
            return refusal_of(answer)
        self._running.dashboard.revise_plan(
            answer, newest.documents, OPERATOR, rests_on=newest.position, command=revision.verb
        )
        self._running.settle()
        return None

    @contextmanager
    def _refusals(self) -> Iterator[_Refused]:
        """What the dashboard refuses within; at the end all that follows has happened."""
        refused = _Refused()
        try:
            yield refused
        except NotPermitted as error:
            refused.what = refusal_of(error.refused)
        except UnknownName as error:
            refused.what = Refusal(str(error), unknown=True)
        finally:
            self._running.settle()

    def begin(self, beginning: Beginning) -> Refusal | None:
        """Begin an instance by hand."""
        with self._refusals() as refused:
            self._running.dashboard.start_instance(
                beginning.plan,
                OPERATOR,
                parameters=beginning.parameters,
                business_date=beginning.business_date,
                run_until_ended=beginning.until_ended,
                hold_commands=beginning.commands_held,
                dry_run=beginning.dry_run,
            )
        return refused.what

    def order(self, order: PlanOrder) -> Refusal | None:
        """Give an order, and wait for what follows from it elsewhere."""
        dashboard = self._running.dashboard
        give = {
            "enable": dashboard.enable_plan,
            "disable": dashboard.disable_plan,
            "delete": dashboard.delete_plan,
        }
        with self._refusals() as refused:
            give[order.verb](order.plan, Origin(by=order.by, source="10.0.0.7", reason=order.reason))
        return refused.what

    def reset(self, instance_id: str, fresh: Fresh) -> Refusal | None:
        """Give the order, and wait for the fresh one."""
        with self._refusals() as refused:
            self._running.dashboard.reset_instance(
                UUID(instance_id),
                OPERATOR,
                parameters=fresh.parameters,
                same_parameters=fresh.same_parameters,
                hold_commands=fresh.commands_held,
            )
        return refused.what

    def command(self, instance_id: str, command: Command) -> Refusal | None:
        """Give an order, and wait for what follows from it elsewhere."""
        origin = Origin(by=command.by, source="10.0.0.7", reason=command.reason)
        with self._refusals() as refused:
            self._running.dashboard.command(UUID(instance_id), domain_command(command), origin)
        return refused.what

    def preview(self, instance_id: str, command: Command) -> list[str] | Refusal:
        """Ask what would follow."""
        order = domain_command(command)
        assert isinstance(order, FireDependants)
        try:
            facts = self._running.dashboard.preview_dependants(UUID(instance_id), order)
        except NotPermitted as error:
            return refusal_of(error.refused)
        return [each.fact.job for each in facts if isinstance(each.fact, JobInitiated)]

    def report(self, events: Sequence[ProcessEvent], *, compatible: bool) -> None:
        """Put it into the inbox."""
        self._running.dashboard.receive(events, OPERATOR)
        self._running.settle()

    def raise_global(self, name: str, group: str | None) -> None:
        """From outside."""
        self._running.dashboard.raise_global_event(
            name, OPERATOR, environment_group=group, everywhere=group is None
        )
        self._running.settle()

    def reset_lock(self, name: str, group: str | None) -> None:
        """Take it from all that hold it."""
        self._running.dashboard.reset_lock(group, name, OPERATOR)
        self._running.settle()

    def source(self, plan: str, parameters: dict[str, str]) -> None:
        """Into the plan's file."""
        self._running.write_source(plan, parameters)
        self._running.dashboard.refresh_parameters(OPERATOR)
        self._running.settle()

    def agent(self, name: str, *, compatible: bool = False) -> StandInAgent:
        """Its name is its URL."""
        agent = self._running.agents.setdefault(name, StandInAgent(name, self._running.orders))
        agent.reachable = True
        self._running.dashboard.announce(name, url=name, host="here", version="1")
        self._running.settle()
        return agent

    def set_clock(self, now: Instant) -> None:
        """Let time pass."""
        self._running.set_clock(now)

    def restart(self, until: Instant) -> None:
        """Stop, and start again on the same data."""
        self._running.close()
        self._running.reopen(until)
        self._running.settle()

    # --- what is shown --------------------------------------------------------------------------------------

    def instances(self) -> list[InstanceView]:
        """The live states."""
        dashboard = self._running.dashboard
        rows = dashboard.instances(limit=1000).items
        return [instance_view(dashboard.instance(row.instance_id)) for row in reversed(rows)]

    def facts(self, instance_id: str, after: int) -> list[FactView]:
        """From the log on disk."""
        facts = self._running.dashboard.log(UUID(instance_id), after=after, limit=1000)
        return [fact_view(each) for each in facts]

    def plan_facts(self, plan: str, after: int) -> list[FactView]:
        """From the log on disk."""
        return [fact_view(each) for each in self._running.dashboard.plan_log(plan, after=after, limit=1000)]

    def plan_shown(self, plan: str) -> PlanShown:
        """The live state."""
        dashboard = self._running.dashboard
        try:
            return shown(dashboard.plan_as_it_stands(plan), dashboard.config.time_zone)
        except UnknownName:
            return PlanShown(PlanStanding.DELETED)

    def locks(self) -> list[LockView]:
        """As the groups stand."""
        dashboard = self._running.dashboard
        return [
            view for group in dashboard.locks() for view in lock_views(group, dashboard.plan_of, limit=1000)
        ]

    def orders(self) -> list[Order]:
        """What the agents took note of."""
        return self._running.orders.all()

    def contradictions(self) -> list[str]:
        """Live state and replayed state, compared by digest."""
        dashboard = self._running.dashboard
        logs = [dashboard.ledger.facts(plan_stream(row.name)) for row in dashboard.plans()]
        plans = [
            f"plan {state.plan.name}: the log amounts to another state"
            for state in map(replay_plan, logs)
            if dashboard.plan_as_it_stands(state.plan.name) != state
        ]
        states = [dashboard.instance(row.instance_id) for row in dashboard.instances(limit=1000).items]
        return plans + [
            f"instance {state.instance_id} of {state.plan}: the log amounts to another state"
            for state in states
            if digest(replay(state.topology, dashboard.ledger.facts(state.instance_id))) != digest(state)
        ]
