"""Which jobs ask for which lock, and for how much of it."""

from jobledger.domain.facts import Cause, LockDefined
from jobledger.domain.locks import define
from jobledger.domain.plan import (
    CommandJob,
    Context,
    EventJob,
    EventKind,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
)
from jobledger.domain.topology import Topology


def plan_of(*, targeted: bool = False) -> JobPlan:
    """A job that stands in three contexts and takes part in a lock for two, and one that takes no lock."""
    listed = (ListedJob("x", "a"), ListedJob("x", "free"))
    inner = Context(name="inner", jobs=listed, locks=(Lock("l", 3, participants=(_takes("inner", 2),)),))
    other = Context(name="other", jobs=listed)
    root = Context(
        name="p", jobs=listed, locks=(Lock("l", 3, participants=(_takes("p", 1),)),), contexts=(inner, other)
    )
    return JobPlan(
        root=root,
        jobs=(
            CommandJob(agent="x", name="a", command_line="true", target_residing_context_only=targeted),
            CommandJob(agent="x", name="free", command_line="true"),
        ),
    )


def _takes(context: str, count: int, job: str = "x-a") -> LockParticipant:
    return LockParticipant(context, job, count)


def by_place(plan: JobPlan) -> dict[tuple[str, str], tuple[str, int] | None]:
    """The lock that each job takes, and how much of it, by context and job."""
    return {
        (name, unit.identifier): None if unit.lock is None else (unit.lock.lock.name, unit.lock.count)
        for unit in Topology(plan).units
        for name in unit.contexts
    }


def test_a_shared_job_takes_the_most_that_it_takes_for_any_of_its_contexts() -> None:
    takes = by_place(plan_of())
    assert {takes[name, "x-a"] for name in ("p", "inner", "other")} == {("l", 2)}
    assert takes["p", "x-free"] is None


def test_a_job_that_targets_its_residing_context_takes_what_it_takes_there() -> None:
    takes = by_place(plan_of(targeted=True))
    assert takes["p", "x-a"] == ("l", 1)
    assert takes["inner", "x-a"] == ("l", 2)
    assert takes["other", "x-a"] is None


def test_a_job_that_is_named_twice_by_one_lock_takes_the_most_of_the_two() -> None:
    lock = Lock("l", 3, participants=(_takes("p", 3), _takes("p", 1)))
    root = Context(name="p", jobs=(ListedJob("x", "a"),), locks=(lock,))
    plan = JobPlan(root=root, jobs=(CommandJob(agent="x", name="a", command_line="true"),))
    assert by_place(plan) == {("p", "x-a"): ("l", 3)}


def test_what_runs_no_command_takes_no_lock() -> None:
    event = EventJob.listed(EventKind.LOCAL, "e")
    lock = Lock("l", participants=(_takes("p", 1, event.identifier),))
    root = Context(name="p", jobs=(ListedJob(event.agent, event.name),), locks=(lock,))
    assert by_place(JobPlan(root=root)) == {("p", event.identifier): None}


def test_the_locks_of_a_plan_are_those_of_all_its_contexts_and_make_one_definition_each() -> None:
    declared = list(plan_of().locks())
    assert [lock.participants for lock in declared] == [(_takes("p", 1),), (_takes("inner", 2),)]
    step = define(None, None, declared, at=0, cause=Cause(command="PushPlan"))
    assert step is not None
    assert [recorded.fact for recorded in step.facts] == [LockDefined(name="l", count=3)]
