"""Several instances share the locks of a group: what they hold is what the group says."""

from collections import deque
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from jobledger.domain.commands import (
    Command,
    ContextCommand,
    EndInstance,
    GrantLock,
    HoldContext,
    HoldJob,
    JobCommand,
    KillJob,
    Refused,
    ReleaseContext,
    ReleaseJob,
    ReportEvent,
    ResetDownstream,
    ResetJob,
    SkipContext,
    SkipJob,
    SubmitJob,
)
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import Cause, InstanceStarted, Recorded
from jobledger.domain.instance import InstanceState, replay
from jobledger.domain.lock_group import LockGroup, replay_locks
from jobledger.domain.lock_snapshots import digest_of_locks
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    Grouping,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
)
from jobledger.domain.snapshots import digest
from jobledger.domain.status import JobStatus
from jobledger.domain.topology import Topology

JOBS = ("a", "b", "c", "d", "e")


@st.composite
def plans_with_locks(draw: st.DrawFn) -> JobPlan:
    """A few commands, some after others, that take part in one of three locks or in none."""
    locks = {
        "small": Lock("small", 1),
        "large": Lock("large", 3),
        "sole": Lock("sole", 1, exclusive=True),
    }
    uses = {job: draw(st.sampled_from(["small", "small", "large", "large", "sole", ""])) for job in JOBS}
    counts = {job: draw(st.integers(1, 4)) for job in JOBS}
    after = {job: draw(st.sampled_from(JOBS[:index] or ("",))) for index, job in enumerate(JOBS)}
    return JobPlan(
        root=Context(
            name="night",
            jobs=tuple(ListedJob("host", job) for job in JOBS),
            dependencies=tuple(
                Dependency(f"host-{job}", Grouping(all_of=(f"host-{needed}",)) if needed else None)
                for job, needed in after.items()
            ),
            locks=tuple(
                Lock(
                    lock.name,
                    lock.count,
                    lock.exclusive,
                    tuple(
                        LockParticipant("night", f"host-{job}", counts[job])
                        for job in JOBS
                        if uses[job] == lock.name
                    ),
                )
                for lock in locks.values()
            ),
        ),
        jobs=tuple(
            CommandJob(
                agent="host",
                name=job,
                command_line="true",
                repeatable=draw(st.sampled_from([False, False, True])),
            )
            for job in JOBS
        ),
    )


class SharedLocks(RuleBasedStateMachine):
    """Three instances of three plans in one group; grants wait in the inbox of each until they are heard."""

    states: list[InstanceState]
    logs: list[list[Recorded]]
    locks: LockGroup | None
    lock_log: list[Recorded]
    inboxes: list[deque[GrantLock]]
    now: int

    @initialize(plans=st.tuples(plans_with_locks(), plans_with_locks(), plans_with_locks()))
    def begin(self, plans: tuple[JobPlan, ...]) -> None:
        self.states, self.logs, self.inboxes = [], [], []
        self.locks, self.lock_log, self.now = None, [], 0
        for number, plan in enumerate(plans):
            fact = InstanceStarted(plan=plan.name, plan_version=1)
            step = start(
                Topology(plan),
                instance_id=UUID(int=number + 1),
                fact=fact,
                at=0,
                cause=Cause(command="start"),
            )
            self.states.append(step.state)
            self.logs.append(list(step.facts))
            self.inboxes.append(deque())

    def tell(self, number: int, command: Command) -> None:
        self.now += 1
        answer = advance(
            self.states[number], command, at=self.now, cause=Cause(position=self.now), locks=self.locks
        )
        if isinstance(answer, Refused):
            return
        assert isinstance(answer, Step)
        self.states[number] = answer.state
        self.logs[number] += answer.facts
        self.locks = answer.locks
        self.lock_log += answer.lock_facts
        for claim in answer.granted:
            grant = GrantLock(ticket=claim.ticket, job=claim.job, context=claim.context)
            self.inboxes[claim.instance_id.int - 1].append(grant)

    @rule(
        number=st.integers(0, 2),
        job=st.sampled_from(JOBS),
        kind=st.sampled_from(
            [
                SubmitJob,
                SubmitJob,
                SubmitJob,
                HoldJob,
                ReleaseJob,
                SkipJob,
                ResetJob,
                ResetDownstream,
                KillJob,
            ]
        ),
    )
    def an_operator_orders(self, number: int, job: str, kind: type[JobCommand]) -> None:
        self.tell(number, kind(job=f"host-{job}", context="night"))

    @rule(
        number=st.integers(0, 2),
        kind=st.sampled_from([HoldContext, HoldContext, ReleaseContext, SkipContext]),
    )
    def an_operator_orders_something_of_all_jobs(self, number: int, kind: type[ContextCommand]) -> None:
        before = self.states[number]
        self.tell(number, kind(context="night"))
        if kind is HoldContext:
            assert self.states[number].initiations == before.initiations, "an order to hold started a job"

    @rule(
        number=st.integers(0, 2), job=st.sampled_from(JOBS), what=st.sampled_from(["start", "ok", "failed"])
    )
    def an_agent_reports(self, number: int, job: str, what: str) -> None:
        state = self.states[number]
        unit = state.topology.unit_in("night", f"host-{job}")
        assert unit is not None
        if not state.job(unit.index).under_way:
            return
        event = ProcessEvent(
            agent="host",
            job=job,
            instance_id=str(state.instance_id),
            initiation_id=state.initiation_id(state.job(unit.index).initiation),
            starting=what == "start",
            successful=what == "ok",
            id=str(self.now),
        )
        self.tell(number, ReportEvent(event=event))

    @rule(number=st.integers(0, 2), again=st.booleans())
    def a_grant_is_heard(self, number: int, again: bool) -> None:
        if self.inboxes[number]:
            grant = self.inboxes[number].popleft()
            self.tell(number, grant)
            if again:
                self.tell(number, grant)

    @rule(number=st.integers(0, 11))
    def an_instance_ends(self, number: int) -> None:
        if number < 3:
            self.tell(number, EndInstance())

    @invariant()
    def no_lock_is_held_beyond_its_count_or_beside_an_exclusive_one(self) -> None:
        if self.locks is None:
            return
        holders: dict[str, list[int]] = {}
        for claim in self.locks.claims.values():
            if claim.holds:
                holders.setdefault(claim.lock, []).append(claim.count)
        for name, counts in holders.items():
            lock = self.locks.locks[name]
            assert sum(counts) <= lock.count or len(counts) == 1, f"{name} is held {counts} of {lock.count}"
        if any(self.locks.locks[name].exclusive for name in holders):
            assert len(holders) == 1
            assert all(len(counts) == 1 for counts in holders.values())

    @invariant()
    def whoever_holds_a_lock_runs_or_is_about_to_hear_of_it(self) -> None:
        claims = {} if self.locks is None else dict(self.locks.claims)
        for claim in claims.values():
            number = claim.instance_id.int - 1
            state = self.states[number]
            assert not state.ended, "an instance that ended holds a lock or waits for it"
            unit = state.topology.unit_of(claim.job, claim.context)
            assert unit is not None
            job = state.job(unit.index)
            assert job.lock_ticket == claim.ticket
            if not claim.holds:
                assert job.status is JobStatus.LOCK_QUEUED
            elif not job.under_way:
                told = GrantLock(ticket=claim.ticket, job=claim.job, context=claim.context)
                assert told in self.inboxes[number], f"nobody tells {claim.job} that it has its lock"

    @invariant()
    def whatever_runs_and_takes_part_holds_its_lock(self) -> None:
        for state in self.states:
            for unit in state.topology.units:
                job = state.job(unit.index)
                if unit.lock is not None and job.under_way and not state.ended:
                    claim = None if self.locks is None else self.locks.claims.get(job.lock_ticket)
                    assert claim is not None, f"{unit.identifier} runs without its lock"
                    assert claim.holds
                if job.lock_ticket and not state.ended:
                    assert self.locks is not None
                    assert job.lock_ticket in self.locks.claims

    @invariant()
    def nothing_that_fits_is_left_waiting(self) -> None:
        assert self.locks is None or self.locks.next_grant() is None

    @invariant()
    def replay_gives_the_live_states(self) -> None:
        for state, log in zip(self.states, self.logs, strict=True):
            assert digest(replay(state.topology, log)) == digest(state)
        replayed = replay_locks(self.lock_log)
        if replayed is None or self.locks is None:
            assert replayed is self.locks
        else:
            assert digest_of_locks(replayed) == digest_of_locks(self.locks)


TestSharedLocks = SharedLocks.TestCase
TestSharedLocks.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def plan_of_one_lock(count: int, takes: dict[str, int], *dependencies: Dependency) -> JobPlan:
    """Jobs that take so much each of one lock."""
    lock = Lock(
        "db", count, participants=tuple(LockParticipant("p", f"host-{job}", takes[job]) for job in takes)
    )
    return JobPlan(
        root=Context(
            name="p",
            jobs=tuple(ListedJob("host", job) for job in takes),
            dependencies=dependencies,
            locks=(lock,),
        ),
        jobs=tuple(CommandJob(agent="host", name=job, command_line="true") for job in takes),
    )


def begun(plan: JobPlan) -> Step:
    fact = InstanceStarted(plan="p", plan_version=1)
    return start(Topology(plan), instance_id=UUID(int=1), fact=fact, at=0, cause=Cause(command="start"))


def told(step: Step, command: Command) -> Step:
    answer = advance(step.state, command, at=1, cause=Cause(command="order"), locks=step.locks)
    assert isinstance(answer, Step)
    return answer


def facts_of(step: Step) -> list[tuple[str, str | None]]:
    return [(type(each.fact).__name__, getattr(each.fact, "job", None)) for each in step.facts]


def test_holding_all_jobs_of_a_queue_starts_none_of_them() -> None:
    """When the heavy one leaves the queue, the light one behind it would fit."""
    step = begun(plan_of_one_lock(2, {"a": 1, "heavy": 2, "light": 1}))
    for job in ("a", "heavy", "light"):
        step = told(step, SubmitJob(job=f"host-{job}", context="p"))
    step = told(step, HoldContext(context="p"))
    assert facts_of(step) == [("JobHeld", "host-heavy"), ("JobHeld", "host-light")]
    assert step.locks is not None
    assert [claim.job for claim in step.locks.claims.values()] == ["host-a"]


def test_resetting_all_jobs_of_a_queue_starts_none_of_them() -> None:
    """When the first is reset it lets go of the lock, which those downstream of it wait for."""
    after_a = Grouping(all_of=("host-a",))
    plan = plan_of_one_lock(
        1, {"a": 1, "b": 1, "c": 1}, Dependency("host-b", after_a), Dependency("host-c", after_a)
    )
    step = begun(plan)
    for job in ("a", "b", "c"):
        step = told(step, SubmitJob(job=f"host-{job}", context="p"))
    step = told(step, ResetDownstream(job="host-a", context="p"))
    assert facts_of(step) == [
        ("KillRequested", "host-a"),
        ("JobReset", "host-a"),
        ("JobReset", "host-b"),
        ("JobReset", "host-c"),
    ]
    assert step.locks is not None
    assert not step.locks.claims


def test_a_job_that_is_reset_and_submitted_comes_after_those_that_wait() -> None:
    step = begun(plan_of_one_lock(1, {"a": 1, "b": 1}))
    for job in ("a", "b"):
        step = told(step, SubmitJob(job=f"host-{job}", context="p"))
    step = told(step, ResetDownstream(job="host-a", context="p", submit=True))
    assert facts_of(step)[1:] == [
        ("JobReset", "host-a"),
        ("JobInitiated", "host-b"),
        ("JobLockQueued", "host-a"),
    ]


def test_what_a_lock_lets_go_is_initiated_before_what_became_ready() -> None:
    lock = Lock("db", 1, participants=(LockParticipant("p", "host-a"), LockParticipant("p", "host-b")))
    plan = JobPlan(
        root=Context(
            name="p",
            jobs=tuple(ListedJob("host", job) for job in ("a", "b", "c")),
            dependencies=(Dependency("host-c", Grouping(all_of=("host-a",))),),
            locks=(lock,),
        ),
        jobs=tuple(CommandJob(agent="host", name=job, command_line="true") for job in ("a", "b", "c")),
    )
    fact = InstanceStarted(plan="p", plan_version=1)
    step = start(Topology(plan), instance_id=UUID(int=1), fact=fact, at=0, cause=Cause(command="start"))
    for job in ("a", "b"):
        answer = advance(
            step.state, SubmitJob(job=f"host-{job}", context="p"), at=1, cause=Cause(), locks=step.locks
        )
        assert isinstance(answer, Step)
        step = answer
    assert [type(each.fact).__name__ for each in step.facts] == ["JobLockQueued"]
    finished = ProcessEvent(
        agent="host",
        job="a",
        instance_id=str(UUID(int=1)),
        initiation_id=step.state.initiation_id(1),
        successful=True,
        id="done",
    )
    answer = advance(step.state, ReportEvent(event=finished), at=2, cause=Cause(), locks=step.locks)
    assert isinstance(answer, Step)
    told = [(type(each.fact).__name__, getattr(each.fact, "job", None)) for each in answer.facts]
    assert told == [("JobCompleted", "host-a"), ("JobInitiated", "host-b"), ("JobInitiated", "host-c")]


def test_a_grant_that_comes_late_is_not_taken_for_the_one_that_the_job_waits_for_now() -> None:
    lock = Lock("db", 1, participants=(LockParticipant("p", "host-a"),))
    plan = JobPlan(
        root=Context(name="p", jobs=(ListedJob("host", "a"),), locks=(lock,)),
        jobs=(CommandJob(agent="host", name="a", command_line="true"),),
    )
    fact = InstanceStarted(plan="p", plan_version=1)
    topology = Topology(plan)
    holder, waiter = (
        start(topology, instance_id=UUID(int=number), fact=fact, at=0, cause=Cause()).state
        for number in (1, 2)
    )
    about = {"job": "host-a", "context": "p"}

    def tell(state: InstanceState, command: Command, locks: LockGroup | None) -> Step:
        answer = advance(state, command, at=1, cause=Cause(), locks=locks)
        assert isinstance(answer, Step)
        return answer

    held = tell(holder, SubmitJob(**about), None)
    queued = tell(waiter, SubmitJob(**about), held.locks)
    let_go = tell(held.state, ResetJob(**about), queued.locks)
    (granted,) = let_go.granted
    put_back = tell(queued.state, HoldJob(**about), let_go.locks)
    taken = tell(let_go.state, SubmitJob(**about), put_back.locks)
    queued_again = tell(put_back.state, ReleaseJob(**about), taken.locks)
    late = tell(queued_again.state, GrantLock(ticket=granted.ticket, job="host-a"), queued_again.locks)
    assert [type(each.fact).__name__ for each in late.facts] == ["EventIgnored"]
    assert late.state.job(0).status is JobStatus.LOCK_QUEUED
