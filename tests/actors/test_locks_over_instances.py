"""Job locks through the actors: over plans and instances, across restarts, beside another writer."""

import threading
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.dashboard.lock_groups import LockGroups
from jobledger.domain.commands import EndInstance, HoldJob, ReleaseJob, ResetJob, SubmitJob
from jobledger.domain.facts import Cause, LockGranted, LockReleased, LockRequested
from jobledger.domain.instance import InstanceState
from jobledger.domain.lock_group import LockGroup, lock_stream, replay_locks
from jobledger.domain.lock_snapshots import digest_of_locks
from jobledger.domain.locks import reset
from jobledger.domain.plan import JobPlan, Lock, LockParticipant
from jobledger.domain.status import JobStatus
from jobledger.storage.records import Change


def plan_with_lock(name: str, jobs: tuple[str, ...], count: int = 1, **fields: object) -> JobPlan:
    """Every job of the plan takes part in one lock."""
    plan = plan_of(name, jobs, concurrent=True, **fields)
    participants = tuple(LockParticipant(name, f"host-{job}") for job in jobs)
    locks = (Lock("database", count, participants=participants),)
    return msgspec.structs.replace(plan, root=msgspec.structs.replace(plan.root, locks=locks))


def begin(here: Bench, plan: JobPlan) -> UUID:
    here.dashboard.push_plan(plan, {}, OPERATOR)
    return here.dashboard.start_instance(plan.name, OPERATOR)


def submit(here: Bench, instance_id: UUID, job: str, plan: str) -> None:
    here.dashboard.command(instance_id, SubmitJob(job=f"host-{job}", context=plan), OPERATOR)


def is_in(job: str, status: JobStatus) -> object:
    def done(state: InstanceState) -> bool:
        unit = state.topology.unit_of(f"host-{job}", None)
        assert unit is not None
        return state.job(unit.index).status is status

    return done


def initiated(state: InstanceState) -> int:
    return state.initiations


def finish(here: Bench, instance_id: UUID, job: str, number: int, *, successful: bool = True) -> None:
    here.report(instance_id, job, number, successful=successful, id=f"{instance_id}/{number}/finished")


def group(here: Bench) -> LockGroup:
    found = LockGroups(here.dashboard.ledger).read(None)
    assert found is not None
    return found


def test_a_job_of_one_plan_waits_for_the_lock_that_another_plans_job_holds(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        first = begin(here, plan_with_lock("one", ("a",)))
        second = begin(here, plan_with_lock("two", ("b",)))
        submit(here, first, "a", "one")
        submit(here, second, "b", "two")
        waiting = here.dashboard.instance(second)
        assert is_in("b", JobStatus.LOCK_QUEUED)(waiting)
        assert waiting.status == "RUNNING"
        finish(here, first, "a", 1, successful=False)
        state = here.wait(second, lambda each: each.initiations == 1)
        assert state.job(0).lock_ticket == 2
        here.agents["host"].wait_for(lambda agent: len(agent.initiations) == 2)


@pytest.mark.parametrize("restarts", ["once", "twice"])
def test_locks_are_as_the_facts_say_after_a_restart(tmp_path: Path, restarts: str) -> None:
    with bench(tmp_path) as here:
        here.agent()
        first = begin(here, plan_with_lock("one", ("a", "c")))
        second = begin(here, plan_with_lock("two", ("b",)))
        for instance_id, job, plan in ((first, "a", "one"), (second, "b", "two"), (first, "c", "one")):
            submit(here, instance_id, job, plan)
        before = digest_of_locks(group(here))
        here.restart()
        if restarts == "twice":
            here.restart()
        assert digest_of_locks(group(here)) == before
        here.agent()
        finish(here, first, "a", 1)
        here.wait(second, lambda each: each.initiations == 1)
        assert here.dashboard.instance(first).initiations == 1
        finish(here, second, "b", 1)
        here.wait(first, lambda each: each.initiations == 2)


def test_a_grant_that_was_stored_and_not_heard_is_heard_after_a_restart(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        first = begin(here, plan_with_lock("one", ("a",)))
        second = begin(here, plan_with_lock("two", ("b",)))
        submit(here, first, "a", "one")
        submit(here, second, "b", "two")
        here.dashboard.ledger.on_received = lambda _entries: None
        here.dashboard.command(first, ResetJob(job="host-a", context="one"), OPERATOR)
        assert here.dashboard.ledger.streams_with_unhandled() == [second]
        here.restart()
        here.wait(second, lambda each: each.initiations == 1)


def test_an_instance_that_ends_lets_go_of_all_that_it_holds_and_waits_for(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        first = begin(here, plan_with_lock("one", ("a", "c")))
        second = begin(here, plan_with_lock("two", ("b",)))
        for instance_id, job, plan in ((first, "a", "one"), (first, "c", "one"), (second, "b", "two")):
            submit(here, instance_id, job, plan)
        here.dashboard.command(first, EndInstance(), OPERATOR)
        here.wait(second, lambda each: each.initiations == 1)
        assert {claim.instance_id for claim in group(here).claims.values()} == {second}


def test_a_held_job_leaves_the_queue_and_a_released_one_joins_its_end(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here, plan_with_lock("one", ("a", "b", "c")))
        for job in ("a", "b", "c"):
            submit(here, instance_id, job, "one")
        about_b = {"job": "host-b", "context": "one"}
        here.dashboard.command(instance_id, HoldJob(**about_b), OPERATOR)
        here.dashboard.command(instance_id, ReleaseJob(**about_b), OPERATOR)
        finish(here, instance_id, "a", 1)
        state = here.wait(instance_id, lambda each: each.initiations == 2)
        assert state.job(2).initiation == 2, "c was before b in the queue"
        finish(here, instance_id, "c", 2)
        here.wait(instance_id, lambda each: each.job(1).initiation == 3)


def test_a_push_that_raises_the_count_lets_those_start_that_now_fit(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here, plan_with_lock("one", ("a", "b", "c")))
        for job in ("a", "b", "c"):
            submit(here, instance_id, job, "one")
        assert here.dashboard.instance(instance_id).initiations == 1
        here.dashboard.push_plan(plan_with_lock("other", ("x",), count=2), {}, OPERATOR)
        state = here.wait(instance_id, lambda each: each.initiations == 2)
        assert state.job(2).status is JobStatus.LOCK_QUEUED


def test_what_another_process_wrote_to_the_locks_is_read_before_anything_is_decided(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        first = begin(here, plan_with_lock("one", ("a",)))
        second = begin(here, plan_with_lock("two", ("b",)))
        submit(here, first, "a", "one")
        elsewhere = LockGroups(here.dashboard.ledger)
        with elsewhere.held(None) as held:
            assert held.state is not None
            step = reset(held.state, "database", at=here.now, cause=Cause(command="ResetLock"))
            held.take(step.state, step.facts, step.granted)
            here.dashboard.ledger.save(Change(appends=held.appends(), inbound=held.inbound()))
            held.saved = True
        submit(here, second, "b", "two")
        assert here.dashboard.instance(second).initiations == 1
        finish(here, first, "a", 1)
        here.wait(first, lambda each: each.status == "COMPLETE")


def test_of_instances_that_end_their_jobs_at_once_no_more_than_the_count_run_together(tmp_path: Path) -> None:
    jobs = tuple(f"job{number}" for number in range(4))
    with bench(tmp_path) as here:
        here.agent()
        plans = [plan_with_lock(f"plan{number}", jobs, count=3) for number in range(6)]
        instances = {begin(here, plan): plan.name for plan in plans}

        def run(instance_id: UUID) -> None:
            for job in jobs:
                submit(here, instance_id, job, instances[instance_id])
            for number in range(1, len(jobs) + 1):
                state = here.wait(instance_id, lambda each, n=number: each.initiations >= n, 60.0)
                unit = next(
                    each for each in state.topology.units if state.job(each.index).initiation == number
                )
                finish(here, instance_id, unit.job.name, number)

        threads = [threading.Thread(target=run, args=(each,)) for each in instances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for instance_id in instances:
            here.wait(instance_id, lambda each: each.status == "COMPLETE")
        log = here.dashboard.ledger.facts(lock_stream(None))
        most, held = 0, 0
        for recorded in log:
            held += isinstance(recorded.fact, LockGranted) - isinstance(recorded.fact, LockReleased)
            most = max(most, held)
        assert most == 3
        assert sum(isinstance(each.fact, LockRequested) for each in log) == 24
        replayed = replay_locks(log)
        assert replayed is not None
        assert not replayed.claims
        assert digest_of_locks(replayed) == digest_of_locks(group(here))
