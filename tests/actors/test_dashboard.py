"""The dashboard's actors on a real ledger: what they do, and what survives what."""

import threading
from pathlib import Path
from uuid import UUID, uuid4

import dashboard_rig
import msgspec
import pytest
from dashboard_rig import OPERATOR, Bench, bench, plan_of
from jobledger.actors.dashboard import instance_actor
from jobledger.actors.dashboard.dashboard import PlanInvalid
from jobledger.actors.dashboard.errors import NotPermitted, UnknownName
from jobledger.domain.commands import EndInstance, HoldJob, ReleaseJob, SubmitJob
from jobledger.domain.facts import EventIgnored, EventParked, InstanceEnded, JobFailed, KillRequested
from jobledger.domain.instance import InstanceState, replay
from jobledger.domain.snapshots import digest, freeze
from jobledger.domain.status import JobStatus
from jobledger.storage.records import Inbound

CHAIN = plan_of("chain", ["a", "b", "c"], {"b": ["a"], "c": ["b"]})


@pytest.fixture(autouse=True, params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs on the embedded database and on a real server."""
    if request.param == "postgresql":
        monkeypatch.setattr(dashboard_rig, "DATABASE_URL", request.getfixturevalue("fresh_postgres_url"))


def submit(here: Bench, instance_id: UUID, job: str, plan: str = "chain") -> None:
    here.dashboard.command(instance_id, SubmitJob(job=f"host-{job}", context=plan), OPERATOR)


def begin(here: Bench, job: str = "a") -> UUID:
    here.dashboard.push_plan(CHAIN, {}, OPERATOR)
    instance_id = here.dashboard.start_instance("chain", OPERATOR)
    submit(here, instance_id, job)
    return instance_id


def run_chain(here: Bench, instance_id: UUID, first: int = 1) -> InstanceState:
    for number, job in list(enumerate("abc", 1))[first - 1 :]:
        here.agents["host"].wait_for(lambda agent, number=number: len(agent.initiations) >= number)
        here.report(instance_id, job, number, starting=True, id=f"{job}/started")
        here.report(instance_id, job, number, successful=True, return_code=0, id=f"{job}/finished")
    return here.wait(instance_id, lambda state: state.status == "COMPLETE")


def replayed(here: Bench, instance_id: UUID) -> InstanceState:
    live = here.dashboard.instance(instance_id)
    return replay(live.topology, here.dashboard.ledger.facts(instance_id))


def test_a_chain_of_commands_runs_to_complete(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        state = run_chain(here, begin(here))
        assert state.counts() == {"COMPLETE": 3}
        assert agent.told == ["provision chain", "publish chain", "initiate a", "initiate b", "initiate c"]
        assert [each.id for each in agent.initiations] == [f"{state.instance_id}-{n}" for n in (1, 2, 3)]


def test_live_state_equals_replayed_state(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        run_chain(here, instance_id)
        assert digest(replayed(here, instance_id)) == digest(here.dashboard.instance(instance_id))


def test_every_position_of_the_log_shows_what_was_live_there(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        live = {}
        for number, job in enumerate("abc", 1):
            for starting in (True, False):
                here.report(
                    instance_id,
                    job,
                    number,
                    starting=starting,
                    successful=not starting,
                    id=f"{job}{starting}",
                )
                state = here.dashboard.instance(instance_id)
                live[state.position] = freeze(state)
        for position, frozen in live.items():
            assert freeze(here.dashboard.instance_at(instance_id, position=position)) == frozen
        with pytest.raises(UnknownName, match="no position"):
            here.dashboard.instance_at(instance_id, position=10_000)


def test_the_same_event_ten_times_changes_state_once(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        instance_id = begin(here)
        for _ in range(10):
            here.report(instance_id, "a", 1, successful=True, return_code=0, id="once")
        state = here.wait(instance_id, lambda each: each.job(0).status is JobStatus.COMPLETE)
        facts = here.dashboard.log(instance_id, limit=1000)
        assert sum(isinstance(each.fact, EventIgnored) for each in facts) == 9
        assert state.initiations == 2
        agent.wait_for(lambda each: len(each.initiations) == 2)


def test_a_restart_goes_on_where_the_last_process_stopped(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        here.report(instance_id, "a", 1, successful=True, return_code=0, id="a/finished")
        before = here.wait(instance_id, lambda each: each.initiations == 2)
        here.restart()
        assert digest(here.dashboard.instance(instance_id)) == digest(before)
        here.agent()
        run_chain(here, instance_id, first=2)


def test_events_that_no_actor_had_handled_are_handled_after_a_restart(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        here.dashboard.ledger.on_received = lambda entries: None  # the process dies between disk and actor
        here.report(instance_id, "a", 1, successful=True, return_code=0, id="a/finished")
        assert here.dashboard.instance(instance_id).job(0).status is JobStatus.WAITING
        here.restart()
        here.wait(instance_id, lambda each: each.job(0).status is JobStatus.COMPLETE)


def test_an_agent_out_of_reach_delays_only_its_own(tmp_path: Path) -> None:
    far = msgspec.structs.replace(CHAIN.jobs[0], agent="far")
    plan = msgspec.structs.replace(
        CHAIN,
        root=msgspec.structs.replace(
            CHAIN.root,
            jobs=(*CHAIN.root.jobs, msgspec.structs.replace(CHAIN.root.jobs[0], agent="far")),
        ),
        jobs=(*CHAIN.jobs, far),
    )
    with bench(tmp_path) as here:
        near, away = here.agent("host"), here.agent("far")
        away.reachable = False
        here.dashboard.push_plan(plan, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("chain", OPERATOR)
        here.dashboard.command(instance_id, SubmitJob(job="far-a", context="chain"), OPERATOR)
        submit(here, instance_id, "a")
        near.wait_for(lambda agent: "initiate a" in agent.told)
        assert away.told == []
        away.reachable = True
        here.agent("far")
        away.wait_for(lambda agent: agent.told == ["provision chain", "publish chain", "initiate a"])


def test_what_an_agent_refuses_for_good_is_an_error_of_the_job(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent().refuses.add("a")
        instance_id = begin(here)
        state = here.wait(instance_id, lambda each: each.job(0).status is JobStatus.ERROR)
        assert "no such job here" in (state.job(0).details or "")
        assert any(isinstance(each.fact, JobFailed) for each in here.dashboard.log(instance_id))


def test_a_refused_provision_is_seen_at_the_agent(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent().refuses.add("provision")
        here.dashboard.push_plan(CHAIN, {}, OPERATOR)
        here.agents["host"].wait_for(lambda agent: "provision chain" in agent.told)
        for _ in range(500):
            if here.dashboard.agents()[0].refused is not None:
                break
            threading.Event().wait(0.01)
        assert "no jobs here" in (here.dashboard.agents()[0].refused or "")


def test_an_event_that_does_not_read_is_parked_and_the_plan_goes_on(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        here.dashboard.ledger.receive(
            [Inbound(stream=instance_id, kind="event", payload=b"\xc1", source="x")]
        )
        run_chain(here, instance_id)
        (letter,) = here.dashboard.dead_letters()
        assert "Error" in (letter.error or "")
        assert any(isinstance(each.fact, EventParked) for each in here.dashboard.log(instance_id))
        here.dashboard.resubmit(letter.position)
        again = here.wait(instance_id, lambda each: here.dashboard.dead_letters() != [] and each.position > 0)
        assert again.status == "COMPLETE"
        here.dashboard.discard(here.dashboard.dead_letters()[0].position, OPERATOR)
        assert here.dashboard.dead_letters() == []
        with pytest.raises(UnknownName):
            here.dashboard.discard(letter.position, OPERATOR)


def test_an_event_for_an_instance_that_nobody_knows_waits_as_a_dead_letter(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        unknown = uuid4()
        (position,) = here.report(unknown, "a", successful=True)
        deadline = threading.Event()
        for _ in range(200):
            if here.dashboard.dead_letters():
                break
            deadline.wait(0.02)
        (letter,) = here.dashboard.dead_letters()
        assert (letter.position, str(unknown) in (letter.error or "")) == (position, True)
        with pytest.raises(UnknownName):
            here.dashboard.instance(unknown)


def test_a_parked_event_succeeds_when_it_is_submitted_again_after_its_cause_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        real = instance_actor.advance

        def broken(state, command, **rest):  # type: ignore[no-untyped-def]
            if getattr(getattr(command, "event", None), "id", "") == "a/finished":
                raise RuntimeError("a fault of this release")
            return real(state, command, **rest)

        monkeypatch.setattr(instance_actor, "advance", broken)
        here.report(instance_id, "a", 1, successful=True, return_code=0, id="a/finished")
        here.wait(instance_id, lambda each: bool(here.dashboard.dead_letters()))
        monkeypatch.setattr(instance_actor, "advance", real)
        here.dashboard.resubmit(here.dashboard.dead_letters()[0].position)
        here.wait(instance_id, lambda each: each.job(0).status is JobStatus.COMPLETE)
        assert here.dashboard.dead_letters() == []
        assert digest(replayed(here, instance_id)) == digest(here.dashboard.instance(instance_id))


def test_an_order_that_the_status_does_not_permit_changes_nothing(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        here.report(instance_id, "a", 1, starting=True, id="a/started")
        before = here.wait(instance_id, lambda each: each.job(0).status is JobStatus.RUNNING)
        with pytest.raises(NotPermitted) as refused:
            submit(here, instance_id, "a")
        assert refused.value.refused.status is JobStatus.RUNNING
        assert "WAITING" in refused.value.refused.permitted_in
        assert here.dashboard.instance(instance_id).position == before.position


def test_ending_kills_what_runs_and_removes_the_instance_from_its_agents(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        instance_id = begin(here)
        here.report(instance_id, "a", 1, starting=True, pid=4711, id="a/started")
        here.wait(instance_id, lambda each: each.job(0).status is JobStatus.RUNNING)
        facts = here.dashboard.command(instance_id, EndInstance(), OPERATOR)
        assert isinstance(facts[-1].fact, InstanceEnded)
        assert (facts[-1].cause.by, facts[-1].cause.source, facts[-1].cause.reason) == (
            "olga",
            "10.0.0.7",
            "test",
        )
        agent.wait_for(lambda each: each.told[-2:] == ["kill 4711", "remove"])
        assert agent.removed == {str(instance_id): facts[-1].at}
        assert [row.status for row in here.dashboard.instances(active=True).items] == []


def test_ending_kills_the_process_of_a_job_that_somebody_else_started(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent = here.agent()
        instance_id = begin(here)
        here.report(instance_id, "c", starting=True, pid=4712, id="c/started")
        here.wait(instance_id, lambda each: each.job(2).status is JobStatus.RUNNING)
        facts = here.dashboard.command(instance_id, EndInstance(), OPERATOR)
        kills = [each.fact for each in facts if isinstance(each.fact, KillRequested)]
        assert (kills[-1].job, kills[-1].initiation, kills[-1].pid) == ("host-c", 0, 4712)
        agent.wait_for(lambda each: each.told[-2:] == ["kill 4712", "remove"])


def test_what_agents_are_told_is_numbered_and_a_dashboard_made_anew_goes_on_above(tmp_path: Path) -> None:
    """Agents do nothing that has a lower number than what they have: from a back-up it would be all."""
    numbers: list[list[int]] = []
    for folder in ("first", "restored"):
        with bench(tmp_path / folder) as here:
            here.now += len(numbers)
            here.restart()
            agent = here.agent()
            instance_id = begin(here)
            here.dashboard.command(instance_id, EndInstance(), OPERATOR)
            agent.wait_for(lambda each: each.told[-1:] == ["remove"])
            numbers.append(agent.orders)
    first, restored = numbers
    assert len(first) >= 2
    assert len(restored) >= 2
    assert first == sorted(set(first))
    assert restored == sorted(set(restored))
    assert first[-1] < restored[0]


def test_a_plan_with_errors_is_refused_whole(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        wrong = plan_of("wrong", ["a"], {"b": ["a"]})
        with pytest.raises(PlanInvalid) as invalid:
            here.dashboard.push_plan(wrong, {}, OPERATOR)
        assert invalid.value.problems
        assert here.dashboard.plans() == []
        with pytest.raises(UnknownName):
            here.dashboard.plan("wrong")


def test_pushing_the_same_again_makes_no_version_and_running_instances_keep_theirs(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        first = here.dashboard.push_plan(CHAIN, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("chain", OPERATOR)
        again = here.dashboard.push_plan(CHAIN, {}, OPERATOR)
        changed = here.dashboard.push_plan(plan_of("chain", ["a"]), {}, OPERATOR)
        assert [(each.version, each.created, each.changed) for each in (first, again, changed)] == [
            (1, True, True),
            (1, False, False),
            (2, False, True),
        ]
        assert here.dashboard.instance(instance_id).counts() == {"WAITING": 3}
        assert len(here.dashboard.plan("chain", 1).plan.jobs) == 3
        assert len(here.dashboard.plan("chain").plan.jobs) == 1


def test_a_plan_that_runs_one_at_a_time_or_is_disabled_is_not_started_by_hand(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.dashboard.push_plan(CHAIN, {}, OPERATOR)
        active = here.dashboard.start_instance("chain", OPERATOR)
        with pytest.raises(NotPermitted, match=str(active)):
            here.dashboard.start_instance("chain", OPERATOR)
        here.dashboard.command(active, EndInstance(), OPERATOR)
        here.dashboard.start_instance("chain", OPERATOR)
        here.dashboard.push_plan(msgspec.structs.replace(CHAIN, disabled=True, concurrent=True), {}, OPERATOR)
        with pytest.raises(NotPermitted, match="disabled"):
            here.dashboard.start_instance("chain", OPERATOR)


def test_the_same_key_starts_one_instance(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.dashboard.push_plan(CHAIN, {}, OPERATOR)
        ids = {here.dashboard.start_instance("chain", OPERATOR, key="k1") for _ in range(3)}
        assert len(ids) == 1
        assert len(here.dashboard.instances().items) == 1


def test_the_same_order_of_one_key_is_obeyed_once_and_answered_alike_across_restarts(tmp_path: Path) -> None:
    keyed = msgspec.structs.replace(OPERATOR, key="retry-1")
    order = SubmitJob(job="host-a", context="chain")
    with bench(tmp_path) as here:
        here.dashboard.push_plan(CHAIN, {}, OPERATOR)
        instance_id = here.dashboard.start_instance("chain", OPERATOR)
        first = here.dashboard.command(instance_id, order, keyed)
        here.restart()
        assert here.dashboard.command(instance_id, order, keyed) == first
        assert here.dashboard.instance(instance_id).initiations == 1
        hold = HoldJob(job="host-b", context="chain")
        here.dashboard.command(instance_id, hold, OPERATOR)
        here.dashboard.command(instance_id, ReleaseJob(job="host-b", context="chain"), OPERATOR)
        here.dashboard.command(instance_id, hold, OPERATOR)
        rows = here.dashboard.audit(instance_id)
        assert [row.facts for row in rows[2:]] == [("JobHeld",), ("JobReleased",), ("JobHeld",)]


def test_idle_actors_sleep_and_wake_with_the_same_state(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        before = digest(here.dashboard.instance(instance_id))
        assert here.dashboard.actor_names().count(f"instance-{instance_id}") == 1
        here.pass_time(here.now + 10 * 60_000)
        for _ in range(500):
            if f"instance-{instance_id}" not in here.dashboard.actor_names():
                break
            threading.Event().wait(0.01)
        assert f"instance-{instance_id}" not in here.dashboard.actor_names()
        assert digest(here.dashboard.instance(instance_id)) == before


def test_the_audit_says_who_did_what_and_what_followed(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        here.report(instance_id, "a", 1, successful=True, return_code=0, id="a/finished")
        here.wait(instance_id, lambda each: each.initiations == 2)
        rows = here.dashboard.audit(instance_id)
        assert [row.cause.command for row in rows] == ["StartInstance", "SubmitJob", None]
        assert rows[1].cause.by == "olga"
        last = rows[-1]
        assert [(each.job, each.before, each.after) for each in last.changed] == [
            ("host-a", JobStatus.WAITING, JobStatus.COMPLETE)
        ]
        assert last.initiated == ("host-b",)
        assert here.dashboard.events([last.cause.position or 0])[last.cause.position or 0].id == "a/finished"


def test_the_audit_after_any_position_is_the_rest_of_the_whole_audit(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        for number, job in enumerate("ab", 1):
            here.report(instance_id, job, number, successful=True, return_code=0, id=f"{job}/finished")
            here.wait(instance_id, lambda each, number=number: each.initiations == number + 1)
        whole = here.dashboard.audit(instance_id)
        assert any(row.after > row.before + 1 for row in whole), "no row of several facts"
        for after in range(whole[-1].after + 2):
            rest = [row for row in whole if row.before >= after]
            assert here.dashboard.audit(instance_id, after=after) == rest, f"after {after}"
            assert here.dashboard.audit(instance_id, after=after, limit=1) == rest[:1], f"one after {after}"


def test_output_comes_from_the_agent_that_ran_the_job(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        instance_id = begin(here)
        read = here.dashboard.output(instance_id, "chain", "host-a", "stdout", offset=1, limit=3)
        assert read == b"ell"
        with pytest.raises(UnknownName, match="has not run"):
            here.dashboard.output(instance_id, "chain", "host-b", "stdout", offset=0, limit=3)


def test_a_thousand_events_at_once_are_all_heard_in_order(tmp_path: Path) -> None:
    jobs = [f"j{n}" for n in range(500)]
    with bench(tmp_path) as here:
        here.agent()
        here.dashboard.push_plan(plan_of("wide", jobs), {}, OPERATOR)
        instance_id = here.dashboard.start_instance("wide", OPERATOR)

        def report(part: int) -> None:
            for job in jobs[part::4]:
                here.report(instance_id, job, starting=True, id=f"{job}/started")
                here.report(instance_id, job, successful=True, return_code=0, id=f"{job}/finished")

        threads = [threading.Thread(target=report, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        here.wait(instance_id, lambda each: each.status == "COMPLETE")
        assert not any(
            isinstance(each.fact, EventIgnored) for each in here.dashboard.log(instance_id, limit=5000)
        )
        assert digest(replayed(here, instance_id)) == digest(here.dashboard.instance(instance_id))


def test_hundreds_of_live_instances_take_no_thread_each(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        here.agent()
        here.dashboard.push_plan(plan_of("many", ["a", "b"], {"b": ["a"]}, concurrent=True), {}, OPERATOR)
        before = threading.active_count()
        instances = [here.dashboard.start_instance("many", OPERATOR) for _ in range(300)]
        for instance_id in instances:
            here.report(instance_id, "a", successful=True, return_code=0, id="a/finished")
        for instance_id in instances:
            here.wait(instance_id, lambda each: each.initiations == 1)
        awake = {name for name in here.dashboard.actor_names() if name.startswith("instance-")}
        assert len(awake) == len(instances)
        assert threading.active_count() <= before + 4
