"""What the simulation judges by, and what it makes of a case that fails."""

import random
from uuid import UUID

import msgspec
from cases import Case, case_of
from generated_plans import random_plan
from jobledger.domain.commands import ReportEvent, SubmitJob
from jobledger.domain.decide import Step, advance, start
from jobledger.domain.facts import Cause, InstanceStarted
from jobledger.domain.instance import InstanceState
from jobledger.domain.messages import ProcessEvent
from jobledger.domain.topology import Topology
from oracle import context_status, dependency_holds
from rules import Rules
from shrinking import shrink
from trials import Trial


def lives(seed: int) -> list[InstanceState]:
    """The states of an instance of a random plan to which random things are reported."""
    chance = random.Random(seed)
    plan = random_plan(chance, "plan", ("host",), large=seed % 10 == 0)
    fact = InstanceStarted(plan=plan.name, plan_version=1, agents=plan.agents())
    instance_id = UUID(int=seed)
    began = start(Topology(plan), instance_id=instance_id, fact=fact, at=0, cause=Cause(command="x"))
    states = [began.state]
    locks = began.locks
    for number in range(20):
        state = states[-1]
        if not state.topology.units:
            break
        unit = chance.choice(state.topology.units)
        if chance.random() < 0.3:
            command: ReportEvent | SubmitJob = SubmitJob(job=unit.identifier, context=unit.contexts[0])
        else:
            event = ProcessEvent(
                agent=unit.job.agent,
                job=unit.job.name,
                instance_id=str(instance_id),
                starting=chance.random() < 0.3,
                successful=chance.random() < 0.7,
                fired_at=number,
                id=str(number),
            )
            command = ReportEvent(event=event)
        cause = Cause(position=number)
        step = advance(state, command, at=number, cause=cause, locks=locks)
        if isinstance(step, Step):
            states.append(step.state)
            locks = step.locks
    return states


def test_the_rules_looked_up_once_agree_with_the_plain_oracle() -> None:
    for seed in range(60):
        states = lives(seed)
        rules = Rules(states[0].topology)
        for state in states:
            assert list(rules.disagreements(state)) == []
            for context in state.topology.plan.root.walk():
                index = state.topology.context_index[context.name]
                assert state.context_status(index).value == context_status(state, context)
                for dependency in context.dependencies:
                    if dependency.grouping is not None:
                        dependency_holds(state, context, dependency)


def test_the_rules_notice_a_status_that_does_not_follow_from_the_jobs() -> None:
    noticed = 0
    for seed in range(20):
        state = lives(seed)[-1]
        if not state.counters:
            continue
        wrong = msgspec.structs.replace(state, counters=lives(seed)[0].counters)
        noticed += bool(list(Rules(state.topology).disagreements(wrong)))
    assert noticed


def test_a_case_is_made_as_small_as_what_it_takes_to_fail() -> None:
    case = next(found for found in map(case_of, range(100)) if len(found.operations) > 60)
    needed = [case.operations[10], case.operations[40]]

    def attempt(tried: Case) -> Trial:
        fails = all(each in tried.operations for each in needed)
        return Trial(seed=tried.seed, failure="P1: lost" if fails else None, after_ms=tried.lasts_ms)

    smaller = shrink(case, seconds=30, attempt=attempt)
    assert list(smaller.operations) == needed


def test_a_case_that_fails_otherwise_is_not_taken_for_the_same() -> None:
    case = next(found for found in map(case_of, range(100)) if len(found.operations) > 20)

    def attempt(tried: Case) -> Trial:
        whole = len(tried.operations) == len(case.operations)
        return Trial(seed=1, failure="P1: lost" if whole else "P2: twice", after_ms=tried.lasts_ms)

    assert shrink(case, seconds=10, attempt=attempt).operations == case.operations


def test_a_case_that_does_not_fail_stays_as_it_is() -> None:
    case = case_of(1)
    assert shrink(case, attempt=lambda tried: Trial(seed=tried.seed)) is case


def test_every_seed_gives_plans_that_can_be_pushed() -> None:
    for seed in range(200):
        assert case_of(seed).plans
