"""Why a job is not running, down to what really blocks it, and why it ran, back to the first cause."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jobledger.domain.causes import causes_of, raised_by, raised_event_id
from jobledger.domain.commands import (
    AcknowledgeError,
    BeginInstance,
    Command,
    DisableSchedules,
    EnableSchedules,
    EndInstance,
    FireDependants,
    HoldJob,
    KillJob,
    ReleaseJob,
    ReportEvent,
    ResetJob,
    SkipJob,
    SubmitJob,
)
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import Cause, InstancePrepared, InstanceStarted, Recorded
from jobledger.domain.instance import InstanceState
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    FileJob,
    Grouping,
    Job,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
    Member,
    ScheduleJob,
    Trigger,
)
from jobledger.domain.problems import Problem
from jobledger.domain.status import JobStatus
from jobledger.domain.topology import Topology, Unit
from jobledger.domain.unmet import AllOf, AnyOf, Lacking, Wait
from jobledger.domain.validation import validate
from jobledger.domain.why import Blocker, BlockerKind, Explained, Why, why
from random_plans import plans

INSTANCE = UUID(int=7)
OLGA = "olga"


class Night:
    """An instance, what was told to it and its log."""

    def __init__(self, plan: JobPlan, *, prepared: bool = False, held: bool = False) -> None:
        kind = InstancePrepared if prepared else InstanceStarted
        fact = kind(plan=plan.name, plan_version=1, agents=plan.agents(), commands_held=held)
        cause = Cause(command="StartInstance", by="clock")
        step = start(Topology(plan), instance_id=INSTANCE, fact=fact, at=1_000, cause=cause)
        self.state, self.locks = step.state, step.locks
        self.log: list[Recorded] = list(step.facts)
        self.told = 0

    def tell(self, command: Command, *, by: str | None = OLGA) -> Sequence[Recorded]:
        self.told += 1
        heard = isinstance(command, ReportEvent)
        cause = Cause(position=self.told) if heard else Cause(command=type(command).__name__, by=by)
        answer = advance(self.state, command, at=1_000 + self.told, cause=cause, locks=self.locks)
        assert isinstance(answer, Step), answer
        self.state, self.locks = answer.state, answer.locks
        self.log += answer.facts
        return answer.facts

    def report(self, unit: Unit, *, starting: bool = False, successful: bool = True) -> None:
        job = self.state.job(unit.index)
        event = ProcessEvent(
            agent=unit.job.agent,
            job=unit.job.name,
            instance_id=str(INSTANCE),
            initiation_id=self.state.initiation_id(job.initiation) if job.initiation else None,
            contexts=() if unit.context is None else (unit.context,),
            starting=starting,
            successful=successful and not starting,
            fired_at=10_000 + self.told,
            id=f"event-{self.told}",
        )
        self.tell(ReportEvent(event=event))

    def unit(self, name: str, context: str = "root") -> Unit:
        units = self.state.topology.units
        return next(each for each in units if each.job.name == name and context in each.contexts)

    def ran(self, name: str, *, successful: bool = True) -> None:
        self.report(self.unit(name), successful=successful)

    def starts(self, name: str) -> None:
        self.report(self.unit(name), starting=True)

    def order(self, kind: type[Command], name: str, context: str = "root") -> None:
        unit = self.unit(name, context)
        self.tell(kind(job=unit.identifier, context=context))  # type: ignore[call-arg]

    def why(self, name: str, context: str = "root") -> Why:
        return why(self.state, self.unit(name, context))

    def blockers(self, name: str, context: str = "root") -> list[tuple[str, str]]:
        """The kind of each and its job."""
        units = self.state.topology.units
        return [(each.kind.value, units[each.unit].job.name) for each in self.why(name, context).blockers]

    def causes(self, name: str, context: str = "root") -> list[str]:
        """The types of the facts and their jobs, the latest first."""
        chain = causes_of(self.state, self.unit(name, context), lambda position: self.log[position - 1])
        return [f"{type(each.fact).__name__} {getattr(each.fact, 'job', '')}".strip() for each in chain]


def command(name: str, **fields: object) -> CommandJob:
    return CommandJob(agent="host", name=name, command_line="true", **fields)  # type: ignore[arg-type]


def plan_of(
    *jobs: Job, after: dict[str, Grouping | str] | None = None, locks: tuple[Lock, ...] = ()
) -> JobPlan:
    """A plan of one context; a dependency is written as a grouping, or as names that must all be done."""
    identifiers = {job.name: job.identifier for job in jobs}

    def member(each: Member) -> Member:
        return identifiers[each] if isinstance(each, str) else renamed(each)

    def renamed(grouping: Grouping) -> Grouping:
        return Grouping(
            all_of=tuple(map(member, grouping.all_of)),
            any_of=tuple(map(member, grouping.any_of)),
            none_of=tuple(map(member, grouping.none_of)),
            nested=None if grouping.nested is None else renamed(grouping.nested),
        )

    dependencies = tuple(
        Dependency(
            identifiers[name],
            renamed(needed if isinstance(needed, Grouping) else Grouping(all_of=tuple(needed.split()))),
        )
        for name, needed in (after or {}).items()
    )
    listed = tuple(ListedJob(job.agent, job.name) for job in jobs)
    return JobPlan(root=Context(name="root", jobs=listed, dependencies=dependencies, locks=locks), jobs=jobs)


def chain(**more: object) -> Night:
    return Night(plan_of(command("a"), command("b"), command("c"), after={"b": "a", "c": "b"}), **more)  # type: ignore[arg-type]


# --- what it waits for --------------------------------------------------------------------------------------


def test_a_job_at_the_end_of_a_chain_waits_for_its_beginning() -> None:
    night = chain()
    assert night.blockers("c") == [("by hand", "a")]
    night.order(SubmitJob, "a")
    assert night.blockers("c") == [("on its way", "a")]
    night.starts("a")
    assert night.blockers("c") == [("running", "a")]
    night.ran("a", successful=False)
    assert night.blockers("c") == [("error", "a")]
    night.order(SubmitJob, "a")
    night.ran("a")
    assert night.blockers("c") == [("on its way", "b")]


def test_each_job_on_the_way_to_the_root_is_explained_once_and_before_what_it_waits_for() -> None:
    night = chain()
    units = [night.unit(name).index for name in "cba"]
    assert night.why("c").jobs == (
        Explained(units[0], (), (Wait("root", Lacking("host-b")),)),
        Explained(units[1], (), (Wait("root", Lacking("host-a")),)),
        Explained(units[2], (Blocker(BlockerKind.BY_HAND, units[2], 0),), ()),
    )


def test_only_the_members_that_are_missing_are_named() -> None:
    jobs = [command(name) for name in "abcd"]
    night = Night(plan_of(*jobs, after={"d": "a b c"}))
    night.ran("a")
    night.starts("b")
    assert night.blockers("d") == [("running", "b"), ("by hand", "c")]
    assert night.why("d").jobs[0].waits == (Wait("root", AllOf((Lacking("host-b"), Lacking("host-c")))),)


def test_of_alternatives_each_is_named() -> None:
    jobs = [command(name) for name in "abcd"]
    night = Night(plan_of(*jobs, after={"d": Grouping(all_of=("a", "b"), any_of=("c",))}))
    night.ran("a")
    night.starts("b")
    assert night.why("d").jobs[0].waits == (Wait("root", AnyOf((Lacking("host-b"), Lacking("host-c")))),)
    assert night.blockers("d") == [("running", "b"), ("by hand", "c")]


def test_what_succeeded_and_should_not_have_is_named() -> None:
    jobs = [command(name) for name in "abc"]
    night = Night(plan_of(*jobs, after={"c": Grouping(all_of=("a",), none_of=("b",))}))
    night.ran("b")
    night.ran("a")
    assert night.blockers("c") == [("prevents", "b")]
    night.order(ResetJob, "b")
    assert night.blockers("c") == [("unfired", "c")]
    night.order(SubmitJob, "c")
    assert night.blockers("c") == [("on its way", "c")]


def test_a_held_job_is_named_with_the_fact_that_holds_it() -> None:
    night = chain()
    night.order(HoldJob, "b")
    night.ran("a")
    (blocker,) = night.why("c").blockers
    assert blocker.kind is BlockerKind.HELD
    held = night.log[blocker.position - 1]
    assert (type(held.fact).__name__, held.cause.by) == ("JobHeld", OLGA)
    assert night.blockers("b") == [("held", "b")]


def test_a_held_job_that_is_not_ready_either_waits_for_both() -> None:
    night = chain()
    night.order(HoldJob, "b")
    night.starts("a")
    assert night.blockers("c") == [("held", "b"), ("running", "a")]


def test_commands_that_were_held_from_the_beginning_are_held_since_the_first_fact() -> None:
    night = chain(held=True)
    assert night.why("a").blockers == (
        Blocker(BlockerKind.HELD, night.unit("a").index, 0),
        Blocker(BlockerKind.BY_HAND, night.unit("a").index, 0),
    )


def test_a_skipped_job_is_no_obstacle_to_those_after_it_but_does_not_run() -> None:
    night = chain()
    night.order(SkipJob, "b")
    assert night.blockers("c") == [("by hand", "a")]
    assert night.blockers("b") == [("skipped", "b"), ("by hand", "a")]


def test_an_accepted_failure_blocks_nothing_and_starts_nothing() -> None:
    night = chain()
    night.ran("a", successful=False)
    night.order(AcknowledgeError, "a")
    assert night.blockers("b") == [("unfired", "b")]
    night.order(FireDependants, "a")
    assert night.blockers("b") == [("on its way", "b")]


def test_a_job_that_was_reset_alone_has_to_be_submitted() -> None:
    night = chain()
    night.ran("a")
    night.ran("b")
    night.order(ResetJob, "b")
    (blocker,) = night.why("b").blockers
    assert (blocker.kind, type(night.log[blocker.position - 1].fact).__name__) == (
        BlockerKind.UNFIRED,
        "JobReset",
    )


def test_what_starts_from_outside_is_named_by_what_it_waits_for() -> None:
    clock = ScheduleJob(agent="host", name="clock", trigger=Trigger(cron="0 0 7 * * ?"))
    file = FileJob(agent="host", name="file", trigger=Trigger(), file_path="/in")
    closed = EventJob.listed(EventKind.GLOBAL, "closed")
    night = Night(plan_of(clock, file, closed, command("a"), after={"a": "clock file closed"}))
    assert night.blockers("a") == [("schedule", "clock"), ("file", "file"), ("event", "closed")]
    night.tell(DisableSchedules())
    assert night.blockers("a")[0] == ("schedules disabled", "clock")
    (first, *_others) = night.why("a").blockers
    assert type(night.log[first.position - 1].fact).__name__ == "SchedulesDisabled"
    night.tell(EnableSchedules())
    assert night.blockers("a")[0] == ("schedule", "clock")


def test_a_global_event_that_is_raised_has_to_be_heard() -> None:
    closed = EventJob.listed(EventKind.GLOBAL, "closed")
    night = Night(plan_of(command("a"), closed, command("b"), after={"closed": "a", "b": "closed"}))
    night.ran("a")
    assert night.blockers("b") == [("raised", "closed")]


def test_a_job_in_the_queue_of_its_lock_is_named() -> None:
    lock = Lock(
        "disk", 1, participants=(LockParticipant("root", "host-a"), LockParticipant("root", "host-b"))
    )
    jobs = (command("a"), command("b"), command("c"))
    night = Night(plan_of(*jobs, after={"c": "b"}, locks=(lock,)))
    night.order(SubmitJob, "a")
    night.order(SubmitJob, "b")
    assert night.blockers("c") == [("lock", "b")]
    (blocker,) = night.why("b").blockers
    assert type(night.log[blocker.position - 1].fact).__name__ == "JobLockQueued"


def test_a_resubmitted_job_that_its_agent_has_not_taken_is_on_its_way_whatever_it_did_before() -> None:
    night = chain()
    night.ran("a", successful=False)
    assert night.why("a") == Why()
    night.order(SubmitJob, "a")
    assert night.blockers("a") == [("on its way", "a")]


@pytest.mark.parametrize("successful", [True, False])
def test_there_is_nothing_to_explain_of_a_job_that_runs_or_has_run(*, successful: bool) -> None:
    night = chain()
    night.starts("a")
    assert night.why("a") == Why()
    night.ran("a", successful=successful)
    assert night.why("a") == Why()


def test_in_an_instance_that_ended_nothing_else_matters() -> None:
    night = chain()
    night.order(HoldJob, "b")
    night.tell(EndInstance())
    assert night.blockers("c") == [("ended", "c")]


def test_ahead_of_its_start_an_instance_has_to_start_and_what_is_held_to_be_released() -> None:
    night = chain(prepared=True)
    night.order(HoldJob, "b")
    assert night.blockers("b") == [("prepared", "b"), ("held", "b"), ("by hand", "a")]
    night.tell(BeginInstance())
    assert night.blockers("b") == [("held", "b"), ("by hand", "a")]


def test_jobs_that_wait_for_each_other_are_told_to_be_a_circle() -> None:
    again = command("b", repeatable=True)
    night = Night(plan_of(command("a"), again, command("c"), after={"a": "b", "b": "a", "c": "a"}))
    assert night.blockers("c") == [("circle", "a")]
    night.order(SubmitJob, "a")
    night.ran("a")
    assert night.blockers("c") == [("on its way", "c")]


def test_a_circle_that_something_outside_breaks_is_not_to_blame() -> None:
    again = command("b", repeatable=True)
    jobs = (command("a"), again, command("x"))
    night = Night(plan_of(*jobs, after={"a": Grouping(any_of=("b", "x")), "b": "a"}))
    night.starts("x")
    assert night.blockers("b") == [("running", "x")]


def test_a_circle_beside_something_else_that_is_missing_is_told_too() -> None:
    again = command("b", repeatable=True)
    night = Night(plan_of(command("a"), again, command("x"), after={"a": "b x", "b": "a"}))
    assert night.blockers("a") == [("circle", "a"), ("by hand", "x")]


def test_a_job_of_its_own_in_each_context_is_explained_where_it_is_asked_for() -> None:
    here = command("a", target_residing_context_only=True)
    contexts = tuple(Context(name=name, jobs=(ListedJob("host", "a"),)) for name in ("east", "west"))
    night = Night(JobPlan(root=Context(name="root", contexts=contexts), jobs=(here,)))
    night.order(HoldJob, "a", "west")
    assert night.blockers("a", "east") == [("by hand", "a")]
    assert night.blockers("a", "west") == [("held", "a"), ("by hand", "a")]


def test_a_shared_job_is_explained_by_the_context_that_starts_it() -> None:
    root = Context(
        name="root",
        jobs=(ListedJob("host", "a"), ListedJob("host", "b")),
        dependencies=(Dependency("host-b", Grouping(all_of=("host-a",))),),
        contexts=(
            Context(
                name="later",
                jobs=(ListedJob("host", "b"), ListedJob("host", "c")),
                dependencies=(Dependency("host-c", Grouping(all_of=("host-b",))),),
            ),
        ),
    )
    night = Night(JobPlan(root=root, jobs=(command("a"), command("b"), command("c"))))
    night.starts("a")
    assert night.blockers("c", "later") == [("running", "a")]
    assert [wait.context for job in night.why("c", "later").jobs for wait in job.waits] == ["later", "root"]


def test_a_chain_of_ten_thousand_is_followed_to_its_beginning() -> None:
    names = [f"j{number}" for number in range(10_000)]
    after: dict[str, Grouping | str] = {name: before for before, name in pairwise(names)}
    night = Night(plan_of(*(command(name) for name in names), after=after))
    assert night.blockers(names[-1]) == [("by hand", "j0")]


def test_a_job_that_many_wait_for_is_explained_once() -> None:
    """Diamonds on diamonds: as many ways as there are atoms, and yet each job is looked at once."""
    after: dict[str, Grouping | str] = {}
    names = ["j0"]
    for number in range(1, 200):
        left, right, end = f"l{number}", f"r{number}", f"j{number}"
        after |= {left: f"j{number - 1}", right: f"j{number - 1}", end: f"{left} {right}"}
        names += [left, right, end]
    night = Night(plan_of(*(command(name) for name in names), after=after))
    told = night.why("j199")
    assert len(told.jobs) == len(names)
    assert night.blockers("j199") == [("by hand", "j0")]


# --- why it ran ---------------------------------------------------------------------------------------------


def test_the_causes_of_a_run_go_back_to_the_order_that_began_it() -> None:
    night = chain()
    night.order(SubmitJob, "a")
    night.starts("a")
    night.ran("a")
    night.starts("b")
    assert night.causes("b") == [
        "JobStarted host-b",
        "JobInitiated host-b",
        "JobCompleted host-a",
        "JobInitiated host-a",
    ]
    first = list(causes_of(night.state, night.unit("b"), lambda position: night.log[position - 1]))[-1]
    assert (first.cause.command, first.cause.by) == ("SubmitJob", OLGA)


def test_the_causes_of_a_run_go_back_to_the_schedule_that_fired() -> None:
    clock = ScheduleJob(agent="host", name="clock", trigger=Trigger(cron="0 0 7 * * ?"))
    night = Night(plan_of(clock, command("a"), after={"a": "clock"}))
    night.ran("clock")
    assert night.causes("a") == ["JobInitiated host-a", "JobCompleted host-clock"]


def test_causes_pass_through_event_jobs_and_what_is_passed_over() -> None:
    done = EventJob.listed(EventKind.LOCAL, "done")
    jobs = (command("a"), command("b"), done, command("c"))
    night = Night(plan_of(*jobs, after={"b": "a", "done": "b", "c": "done"}))
    night.order(SkipJob, "b")
    night.order(SubmitJob, "a")
    night.ran("a")
    assert night.causes("c") == [
        "JobInitiated host-c",
        "JobCompleted LOCAL_EVENT_JOB-done",
        "JobPassedOver host-b",
        "JobCompleted host-a",
        "JobInitiated host-a",
    ]
    chain_of_c = causes_of(night.state, night.unit("c"), lambda position: night.log[position - 1])
    passed = next(each.fact for each in chain_of_c if type(each.fact).__name__ == "JobPassedOver")
    assert type(night.log[passed.skipped_by - 1].fact).__name__ == "JobSkipped"  # type: ignore[union-attr]


def test_what_a_held_job_is_kept_for_is_told_and_stays_the_cause_when_it_is_released() -> None:
    night = chain()
    night.order(HoldJob, "b")
    night.ran("a")
    assert night.causes("b") == ["JobCompleted host-a"]
    night.order(ReleaseJob, "b")
    assert night.causes("b") == ["JobInitiated host-b", "JobCompleted host-a"]


def test_dependants_that_were_fired_lead_back_to_the_failure_and_who_fired_them() -> None:
    night = chain()
    night.order(SubmitJob, "a")
    night.ran("a", successful=False)
    night.order(FireDependants, "a")
    assert night.causes("b") == [
        "JobInitiated host-b",
        "DependantsFired host-a",
        "JobFailed host-a",
        "JobInitiated host-a",
    ]


def test_a_run_that_was_repeated_is_explained_by_its_own_cause_and_not_by_a_later_one() -> None:
    again = command("b", repeatable=True)
    night = Night(plan_of(command("a"), again, command("c"), after={"b": "a", "c": "b"}))
    night.order(SubmitJob, "a")
    night.ran("a")
    night.ran("b")
    first = night.causes("c")
    night.order(SubmitJob, "b")
    night.ran("b")
    assert night.causes("c") == first
    assert first == [
        "JobInitiated host-c",
        "JobCompleted host-b",
        "JobInitiated host-b",
        "JobCompleted host-a",
        "JobInitiated host-a",
    ]
    assert night.causes("b") == ["JobCompleted host-b", "JobInitiated host-b"]


def test_a_global_event_leads_back_to_the_job_that_raised_it_or_ends_at_the_other_instance() -> None:
    closed = EventJob.listed(EventKind.GLOBAL, "closed")
    plan = plan_of(command("a"), closed, command("b"), after={"closed": "a", "b": "closed"})

    def hear(night: Night, event_id: str) -> None:
        event = ProcessEvent(
            agent=closed.agent, job="closed", instance_id=str(INSTANCE), id=event_id, successful=True
        )
        night.tell(ReportEvent(event=event))

    own = Night(plan)
    own.ran("a")
    hear(own, raised_event_id(INSTANCE, 1))
    assert own.causes("b") == [
        "JobInitiated host-b",
        "JobCompleted GLOBAL_EVENT-closed",
        "GlobalEventRaised GLOBAL_EVENT-closed",
        "JobCompleted host-a",
    ]
    others = Night(plan)
    hear(others, raised_event_id(UUID(int=9), 1))
    assert others.causes("b") == ["JobInitiated host-b", "JobCompleted GLOBAL_EVENT-closed"]


@pytest.mark.parametrize(
    ("event_id", "instance"),
    [
        (raised_event_id(INSTANCE, 3), INSTANCE),
        (None, None),
        ("", None),
        ("a/raised/1", None),
        (str(INSTANCE), None),
    ],
)
def test_who_raised_a_global_event_is_read_from_its_id(event_id: str | None, instance: UUID | None) -> None:
    assert raised_by(event_id) == instance


def test_a_job_that_never_ran_has_no_causes() -> None:
    night = chain()
    assert night.causes("c") == []
    night.order(HoldJob, "c")
    assert night.causes("c") == []


def test_a_killed_job_leads_back_to_its_initiation() -> None:
    night = chain()
    night.order(SubmitJob, "a")
    night.starts("a")
    night.order(KillJob, "a")
    night.ran("a", successful=False)
    assert night.causes("a") == ["JobFailed host-a", "JobInitiated host-a"]


def test_a_long_chain_of_causes_reads_no_fact_twice() -> None:
    names = [f"j{number}" for number in range(300)]
    after: dict[str, Grouping | str] = {name: before for before, name in pairwise(names)}
    night = Night(plan_of(*(command(name) for name in names), after=after))
    night.order(SubmitJob, "j0")
    for name in names:
        night.starts(name)
        night.ran(name)
    read: list[int] = []

    def fact_at(position: int) -> Recorded:
        read.append(position)
        return night.log[position - 1]

    assert len(list(causes_of(night.state, night.unit("j299"), fact_at))) == 600
    assert max(read.count(position) for position in set(read)) <= 3


# --- of any plan, after anything ----------------------------------------------------------------------------

ORDERS = (HoldJob, SkipJob, SubmitJob, ResetJob, AcknowledgeError)


@settings(max_examples=300, deadline=None)
@given(
    plan=plans(),
    story=st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from(["ok", "ok", "failed", *ORDERS])), max_size=14
    ),
)
def test_what_a_quiet_instance_names_is_real_and_doing_something_about_it_starts_the_job(
    plan: JobPlan, story: list[tuple[int, str | type[Command]]]
) -> None:
    units = Topology(plan).units
    assume(units)
    assume(not any(_is_refused_for(each) for each in validate(plan)))
    night = Night(plan)
    for number, what in story:
        unit = night.state.topology.units[number % len(units)]
        if isinstance(what, str):
            night.report(unit, successful=what == "ok")
        else:
            _try(night, what(job=unit.identifier, context=unit.contexts[0]))  # type: ignore[call-arg]
    _settle(night)
    for unit in night.state.topology.units:
        if night.state.job(unit.index).status is JobStatus.WAITING:
            _unblock(night, unit)


def _is_refused_for(problem: Problem) -> bool:
    """A random plan names contexts that it does not have, which matters to no dependency."""
    return problem.severity == "error" and "names the context" not in problem.message


def _try(night: Night, command: Command) -> None:
    answer = advance(night.state, command, at=1, cause=Cause(command="x"))
    if isinstance(answer, Step):
        night.tell(command)


def _settle(night: Night) -> None:
    """Let everything that is under way end well, and raised events be heard; repeats may go on for ever."""
    for _ in range(200):
        under_way = [each for each in night.state.topology.units if _is_under_way(night.state, each)]
        if not under_way:
            return
        night.report(under_way[0])
    assume(False)


def _is_under_way(state: InstanceState, unit: Unit) -> bool:
    job = state.job(unit.index)
    raised = isinstance(unit.job, EventJob) and job.initiated and not job.bearing.satisfied
    return job.on_its_way or job.status is JobStatus.RUNNING or raised


def _unblock(night: Night, unit: Unit) -> None:
    """Do something about everything that is named, again and again: the job starts, or is passed over.

    Each time in another order, since what is done first may prevent the rest.
    """
    begun, kept = night.state, (night.locks, list(night.log))
    for attempt in range(60):
        if (
            night.state.job(unit.index).status is not JobStatus.WAITING
            or night.state.job(unit.index).initiated
        ):
            break
        told = why(night.state, unit)
        assert told.blockers, f"{unit.identifier} waits and nothing is to blame"
        for blocker in told.blockers:
            assert _is_real(night.state, blocker), f"{blocker} is not so"
        for blocker in Random(attempt).sample(told.blockers, len(told.blockers)):
            if _is_real(night.state, blocker):
                _do_something_about(night, blocker)
        if night.state.job(unit.index).status is JobStatus.WAITING:
            _settle(night)
    else:
        raise AssertionError(f"{unit.identifier} did not start, whatever was done about what was named")
    night.state, (night.locks, night.log) = begun, kept


def _is_real(state: InstanceState, blocker: Blocker) -> bool:
    job, unit = state.job(blocker.unit), state.topology.units[blocker.unit]
    match blocker.kind:
        case BlockerKind.HELD:
            return job.status is JobStatus.ON_HOLD
        case BlockerKind.ERROR:
            return job.bearing.in_error
        case BlockerKind.SCHEDULE:
            return isinstance(unit.job, ScheduleJob) and job.status is JobStatus.WAITING
        case BlockerKind.PREVENTS:
            return job.bearing.satisfied
        case BlockerKind.UNFIRED:
            holds = [state.gate_holds(state.topology.dependencies[each].gate) for each in unit.dependencies]
            return not job.bearing.satisfied and any(holds)
        case BlockerKind.BY_HAND | BlockerKind.EVENT:
            return not unit.dependencies and not job.bearing.satisfied
        case BlockerKind.CIRCLE:
            return bool(unit.dependencies) and not job.bearing.satisfied
        case _:
            raise AssertionError(f"a quiet instance has no {blocker}")


def _do_something_about(night: Night, blocker: Blocker) -> None:
    unit = night.state.topology.units[blocker.unit]
    where = {"job": unit.identifier, "context": unit.contexts[0]}
    match blocker.kind:
        case BlockerKind.HELD:
            _try(night, ReleaseJob(**where))
        case BlockerKind.PREVENTS:
            _try(night, ResetJob(**where))
        case BlockerKind.SCHEDULE | BlockerKind.EVENT:
            night.report(unit)
        case _:
            _try(night, SubmitJob(**where))
