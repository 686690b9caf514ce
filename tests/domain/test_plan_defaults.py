"""How new instances of a plan start, changed on the plan itself."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobledger.domain.commands import Refused
from jobledger.domain.plan import (
    CommandJob,
    Context,
    EventJob,
    EventKind,
    Job,
    JobPlan,
    ListedJob,
    ScheduleJob,
    Trigger,
)
from jobledger.domain.plan_defaults import JobDefault, with_job_default, with_schedules
from jobledger.domain.standings import with_standings
from wire.wire_strategies import plans, unhurried

SHARED = ListedJob("x", "a")
ROOT = Context(
    name="p",
    jobs=(SHARED, ListedJob("x", "s"), ListedJob("LOCAL_EVENT_JOB", "e"), ListedJob("GLOBAL_EVENT", "g")),
    contexts=(Context(name="c", jobs=(SHARED,)), Context(name="d", jobs=(SHARED,))),
)
JOBS: tuple[Job, ...] = (
    CommandJob(agent="x", name="a", command_line="true"),
    ScheduleJob(agent="x", name="s", trigger=Trigger(cron="0 0 1 * * ?")),
)
PLAN = JobPlan(root=ROOT, jobs=with_standings(ROOT, JOBS))


def job_of(plan: JobPlan | Refused, identifier: str = "x-a") -> Job:
    assert isinstance(plan, JobPlan), plan
    return next(job for job in plan.jobs if job.identifier == identifier)


def after(plan: JobPlan, *steps: tuple[JobDefault, tuple[str, ...] | None]) -> JobPlan:
    for default, contexts in steps:
        changed = with_job_default(plan, default, "x-a", contexts)
        assert isinstance(changed, JobPlan), changed
        plan = changed
    return plan


def test_a_job_is_held_wherever_it_stands_or_in_the_contexts_that_are_named() -> None:
    assert job_of(after(PLAN, ("hold", None))).held_in == ("p", "c", "d")
    assert job_of(after(PLAN, ("hold", ("d",)), ("hold", ("c",)))).held_in == ("d", "c")
    assert job_of(after(PLAN, ("hold", None), ("release", ("c",)))).held_in == ("p", "d")
    assert job_of(after(PLAN, ("hold", None), ("release", None))).held_in == ()


def test_skipping_and_holding_do_not_touch_each_other() -> None:
    both = job_of(after(PLAN, ("hold", ("p",)), ("skip", ("c",))))
    assert (both.held_in, both.skipped_in) == (("p",), ("c",))
    assert job_of(after(PLAN, ("hold", ("p",)), ("skip", ("c",)), ("enable", None))).held_in == ("p",)


def test_what_is_so_already_changes_nothing() -> None:
    held = after(PLAN, ("hold", ("c",)))
    assert with_job_default(held, "hold", "x-a", ("c",)) is held
    assert with_job_default(PLAN, "release", "x-a", None) is PLAN
    assert with_job_default(PLAN, "hold", "x-a", ()) is PLAN


@pytest.mark.parametrize(
    ("default", "identifier", "words"),
    [
        ("hold", "x-s", "is of kind schedule"),
        ("skip", "x-s", "is of kind schedule"),
        ("skip", "LOCAL_EVENT_JOB-e", ""),
    ],
)
def test_a_job_of_a_kind_that_is_never_held_or_skipped_is_refused(
    default: JobDefault, identifier: str, words: str
) -> None:
    refused = with_job_default(PLAN, default, identifier, None)
    assert isinstance(refused, Refused)
    assert words in refused.reason
    assert not refused.unknown


@pytest.mark.parametrize("default", get_args(JobDefault))
def test_a_job_or_context_that_is_not_there_is_unknown(default: JobDefault) -> None:
    for identifier, contexts in (("x-b", None), ("x-a", ("z",)), ("x-a", ("c", "z")), ("x-s", ("c",))):
        if identifier == "x-s" and default in {"hold", "skip"}:
            continue
        refused = with_job_default(PLAN, default, identifier, contexts)
        assert isinstance(refused, Refused)
        assert refused.unknown


def test_an_event_that_is_listed_without_a_template_gets_one_when_it_is_held() -> None:
    held = job_of(with_job_default(PLAN, "hold", "LOCAL_EVENT_JOB-e", None), "LOCAL_EVENT_JOB-e")
    assert isinstance(held, EventJob)
    assert (held.kind, held.contexts, held.held_in) == (EventKind.LOCAL, ("p",), ("p",))
    assert with_job_default(PLAN, "release", "LOCAL_EVENT_JOB-e", None) is PLAN
    skipped = job_of(with_job_default(PLAN, "skip", "GLOBAL_EVENT-g", None), "GLOBAL_EVENT-g")
    assert skipped.skipped_in == ("p",)


def test_schedules_are_disabled_and_enabled_for_new_instances() -> None:
    disabled = with_schedules(PLAN, disabled=True)
    assert disabled.schedules_disabled
    assert with_schedules(disabled, disabled=False) == PLAN


@given(plans(), st.data())
@unhurried
def test_only_the_job_that_is_meant_changes_and_undoing_leaves_nothing(
    plan: JobPlan, data: st.DataObject
) -> None:
    identifiers = [job.identifier for job in plan.jobs if job.contexts]
    if not identifiers:
        return
    identifier = data.draw(st.sampled_from(identifiers))
    do, undo = data.draw(st.sampled_from([("hold", "release"), ("skip", "enable")]))
    done = with_job_default(plan, do, identifier, None)
    if isinstance(done, Refused):
        return
    assert [job for job in done.jobs if job.identifier != identifier] == [
        job for job in plan.jobs if job.identifier != identifier
    ]
    undone = job_of(with_job_default(done, undo, identifier, None), identifier)
    field = "held_in" if do == "hold" else "skipped_in"
    assert not set(getattr(undone, field)) & set(undone.contexts)
