"""What always holds of a plan instance, whatever the plan and whatever is told to it in whatever order."""

from collections import Counter
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from jobledger.domain.commands import (
    CONTEXT_COMMANDS,
    JOB_COMMANDS,
    BeginInstance,
    Command,
    DisableSchedules,
    EnableSchedules,
    EndInstance,
    HoldContext,
    JobCommand,
    Refused,
    ReportEvent,
    ResetDownstream,
    RunUntilEnded,
    SetParameters,
    SubmitJob,
)
from jobledger.domain.decide import Step, advance, decide, start
from jobledger.domain.facts import (
    Cause,
    EventIgnored,
    InstancePrepared,
    InstanceStarted,
    JobInitiated,
    JobReset,
    KillRequested,
    Recorded,
    SchedulesDisabled,
    SchedulesEnabled,
)
from jobledger.domain.instance import InstanceState, replay
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.permissions import permitted
from jobledger.domain.plan import CommandJob, Context, JobPlan, ListedJob
from jobledger.domain.snapshots import digest, freeze, thaw
from jobledger.domain.status import PERMITTED, WITHOUT_EFFECT, JobStatus
from jobledger.domain.topology import Topology
from oracle import context_status, dependency_holds
from random_plans import plans

INSTANCE = UUID(int=7)


def begin_instance(plan: JobPlan, *, prepared: bool = False) -> Step:
    kind = InstancePrepared if prepared else InstanceStarted
    fact = kind(plan=plan.name, plan_version=1, agents=plan.agents())
    return start(
        Topology(plan), instance_id=INSTANCE, fact=fact, at=1_000, cause=Cause(command="StartInstance")
    )


INSTANCE_COMMANDS: list[Command] = [
    BeginInstance(),
    SetParameters(parameters={"A": "1"}),
    SetParameters(parameters={"A": "2"}, context="root"),
    DisableSchedules(),
    EnableSchedules(),
    RunUntilEnded(),
]


_OF_ALL = (InstancePrepared, InstanceStarted, SchedulesDisabled, SchedulesEnabled)
"""The facts that change what several jobs do without naming them."""


class PlanInstance(RuleBasedStateMachine):
    """Tells an instance of a random plan anything at all, and keeps its log."""

    state: InstanceState
    log: list[Recorded]
    inbox: list[ReportEvent]
    now: int

    @initialize(plan=plans(), prepared=st.sampled_from([False, False, True]))
    def begin(self, plan: JobPlan, prepared: bool) -> None:
        step = begin_instance(plan, prepared=prepared)
        self.state, self.log = step.state, list(step.facts)
        self.inbox = []
        self.now = 1_000

    def tell(self, command: Command) -> Step | Refused:
        before, frozen = self.state, freeze(self.state)
        self.now += 1
        cause = Cause(position=len(self.inbox)) if isinstance(command, ReportEvent) else Cause(command="x")
        answer = advance(before, command, at=self.now, cause=cause)
        assert freeze(before) == frozen, "deciding changed the state that it was given"
        if isinstance(answer, Step):
            self.log += answer.facts
            self.state = answer.state
        return answer

    def pick(self, number: int) -> tuple[str, str]:
        units = self.state.topology.units
        unit = units[number % len(units)]
        return unit.identifier, unit.contexts[number % len(unit.contexts)]

    @rule(number=st.integers(0, 200), starting=st.booleans(), successful=st.booleans(), named=st.booleans())
    def an_agent_reports(self, number: int, starting: bool, successful: bool, named: bool) -> None:
        if not self.state.topology.units:
            return
        unit = self.state.topology.units[number % len(self.state.topology.units)]
        job = self.state.job(unit.index)
        event = ProcessEvent(
            agent=unit.job.agent,
            job=unit.job.name,
            instance_id=str(INSTANCE),
            initiation_id=self.state.initiation_id(job.initiation) if job.initiation else None,
            contexts=(unit.contexts[number % len(unit.contexts)],) if named else (),
            starting=starting,
            successful=successful and not starting,
            return_code=None if starting else int(not successful),
            fired_at=self.now,
            id=f"event-{len(self.inbox)}",
        )
        self.inbox.append(ReportEvent(event=event))
        answer = self.tell(self.inbox[-1])
        assert isinstance(answer, Step), "an event was refused"
        assert answer.facts, "an event left no trace in the log"

    @rule(number=st.integers(0, 200))
    def an_event_comes_again(self, number: int) -> None:
        if not self.inbox:
            return
        before = self.state
        answer = self.tell(self.inbox[number % len(self.inbox)])
        assert isinstance(answer, Step)
        assert [type(each.fact) for each in answer.facts] == [EventIgnored]
        assert self.state.jobs == before.jobs

    @rule(number=st.integers(0, 200), kind=st.sampled_from(JOB_COMMANDS))
    def an_operator_orders_something_about_a_job(self, number: int, kind: type[JobCommand]) -> None:
        if not self.state.topology.units:
            return
        identifier, context = self.pick(number)
        unit = self.state.topology.unit_in(context, identifier)
        assert unit is not None
        before = self.state
        status, offered = before.job(unit.index).status, permitted(before, unit)
        answer = self.tell(kind(job=identifier, context=context))
        if isinstance(answer, Refused):
            assert kind.name not in offered or kind is ResetDownstream, f"{kind.name} was offered and refused"
            assert self.state is before
        else:
            accepted = PERMITTED[kind.name] | WITHOUT_EFFECT.get(kind.name, frozenset())
            assert status in accepted, f"{kind.name} of a job that is {status} was accepted"
            assert bool(answer.facts) == (kind.name in offered), "only what is offered leaves a trace"

    @rule(number=st.integers(0, 200), kind=st.sampled_from(CONTEXT_COMMANDS))
    def an_operator_orders_something_about_a_context(self, number: int, kind: type[HoldContext]) -> None:
        contexts = self.state.topology.contexts
        answer = self.tell(kind(context=contexts[number % len(contexts)].name))
        assert isinstance(answer, Refused) == self.state.ended

    @rule(order=st.sampled_from(INSTANCE_COMMANDS))
    def an_operator_orders_something_about_the_instance(self, order: Command) -> None:
        answer = self.tell(order)
        if not isinstance(order, BeginInstance):
            assert isinstance(answer, Refused) == self.state.ended

    @rule()
    def somebody_names_a_job_that_is_not_there(self) -> None:
        answer = self.tell(ReportEvent(event=ProcessEvent(agent="no", job="such", instance_id=str(INSTANCE))))
        assert isinstance(answer, Step)
        assert isinstance(answer.facts[0].fact, EventIgnored)

    @invariant()
    def replay_gives_the_live_state(self) -> None:
        again = replay(self.state.topology, self.log)
        assert digest(again) == digest(self.state)
        assert again == self.state

    @invariant()
    def a_snapshot_gives_the_live_state(self) -> None:
        thawed = thaw(self.state.topology, freeze(self.state))
        assert thawed is not None
        assert digest(thawed) == digest(self.state)

    @invariant()
    def counted_statuses_equal_those_worked_out_from_scratch(self) -> None:
        topology = self.state.topology
        for context in topology.plan.root.walk():
            index = topology.context_index[context.name]
            assert self.state.context_status(index).value == context_status(self.state, context), context.name
        ruled = [
            (context, dependency)
            for context in topology.plan.root.walk()
            for dependency in context.dependencies
            if dependency.grouping is not None
        ]
        for compiled, (context, dependency) in zip(topology.dependencies, ruled, strict=True):
            assert self.state.gate_holds(compiled.gate) == dependency_holds(self.state, context, dependency)

    @invariant()
    def counts_by_status_equal_those_of_the_jobs(self) -> None:
        counts: Counter[str] = Counter()
        for unit in self.state.topology.units:
            counts[self.state.job(unit.index).status.value] += len(unit.contexts)
        assert self.state.counts() == dict(counts)

    @invariant()
    def no_job_is_initiated_twice_without_cause(self) -> None:
        """A second initiation is a submit by hand, of a job that may be repeated, or follows a reset."""
        initiated: Counter[tuple[str, str | None]] = Counter()
        for recorded in self.log:
            fact = recorded.fact
            if isinstance(fact, JobReset):
                initiated[fact.job, fact.context] = 0
            if not isinstance(fact, JobInitiated):
                continue
            key = (fact.job, fact.context)
            unit = self.state.topology.unit_of(*key)
            assert unit is not None
            assert isinstance(unit.job, CommandJob)
            assert not initiated[key] or fact.by_hand or unit.job.repeatable, f"{key} initiated twice"
            initiated[key] += 1

    @invariant()
    def every_catalyst_is_an_earlier_fact_of_the_job_that_it_names(self) -> None:
        for recorded in self.log:
            catalyst = getattr(recorded.fact, "catalyst", None)
            if catalyst is not None:
                assert 0 < catalyst.position < recorded.position, f"{recorded.fact} is its own cause"
                cause = self.log[catalyst.position - 1].fact
                assert (getattr(cause, "job", None), getattr(cause, "context", None)) == (
                    catalyst.job,
                    catalyst.context,
                )

    @invariant()
    def every_job_knows_since_which_fact_it_does_what_it_does(self) -> None:
        for unit in self.state.topology.units:
            since = self.state.job(unit.index).since
            fact = self.log[since - 1].fact if since else self.log[0].fact
            about = (getattr(fact, "job", None), getattr(fact, "context", None))
            if about != (unit.identifier, unit.context):
                assert isinstance(fact, _OF_ALL), f"{unit.identifier} is what it is since {fact}"

    @invariant()
    def what_is_held_or_skipped_does_not_run(self) -> None:
        for unit in self.state.topology.units:
            job = self.state.job(unit.index)
            if job.status in {JobStatus.ON_HOLD, JobStatus.SKIPPED}:
                assert not job.on_its_way, (
                    f"{unit.identifier} is {job.status}, and an agent is told to run it"
                )

    @invariant()
    def only_what_was_initiated_is_killed(self) -> None:
        initiated = {each.fact.initiation for each in self.log if isinstance(each.fact, JobInitiated)}
        for each in self.log:
            if isinstance(each.fact, KillRequested):
                # What nobody here initiated is known by its process alone.
                assert each.fact.initiation in initiated or each.fact.pid is not None


TestPlanInstance = PlanInstance.TestCase
TestPlanInstance.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@given(plan=plans(), numbers=st.lists(st.integers(0, 100), max_size=20))
@settings(max_examples=60, deadline=None)
def test_the_same_inbox_gives_the_same_facts(plan: JobPlan, numbers: list[int]) -> None:
    def run() -> list[Recorded]:
        step = begin_instance(plan)
        log, state = list(step.facts), step.state
        for number in numbers:
            if not state.topology.units:
                break
            unit = state.topology.units[number % len(state.topology.units)]
            event = ProcessEvent(
                agent=unit.job.agent,
                job=unit.job.name,
                instance_id=str(INSTANCE),
                successful=True,
                id=str(number),
            )
            command = ReportEvent(event=event)
            facts = decide(state, command, at=number, cause=Cause(position=number))
            assert not isinstance(facts, Refused)
            answer = advance(state, command, at=number, cause=Cause(position=number))
            assert isinstance(answer, Step)
            assert answer.facts == facts
            log += answer.facts
            state = answer.state
        return log

    assert run() == run()


def test_an_instance_that_ended_takes_nothing_more() -> None:
    job = CommandJob(agent="host", name="load", command_line="true")
    plan = _plan_of(job)
    state = begin_instance(plan).state
    ended = advance(state, EndInstance(), at=5, cause=Cause(command="EndInstance"))
    assert isinstance(ended, Step)
    event = ProcessEvent(agent="host", job="load", instance_id=str(INSTANCE), successful=True, id="late one")
    heard = advance(ended.state, ReportEvent(event=event), at=6, cause=Cause(position=1))
    assert isinstance(heard, Step)
    assert [each.fact for each in heard.facts] == [
        EventIgnored(reason="instance ended", job="host-load", event_id="late one")
    ]
    assert heard.state.job(0).status is JobStatus.WAITING
    refused = advance(ended.state, SubmitJob(job="host-load", context="root"), at=6, cause=Cause(command="x"))
    assert isinstance(refused, Refused)


def _plan_of(*jobs: CommandJob) -> JobPlan:
    listed = tuple(ListedJob(job.agent, job.name) for job in jobs)
    return JobPlan(root=Context(name="root", jobs=listed), jobs=jobs)
