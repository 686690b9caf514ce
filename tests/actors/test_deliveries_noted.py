"""What an agent has heard is noted down together, and what it has heard it does not hear again."""

from pathlib import Path

import pytest
from dashboard_rig import OPERATOR, Bench, MemoryAgent, bench, plan_of
from jobledger.actors.dashboard.ports import AgentUnreachable
from jobledger.domain.commands import EndInstance
from jobledger.domain.messages import PublishedInstance
from jobledger.domain.plan import CommandJob, Context, FileJob, JobPlan, ListedJob, ScheduleJob, Trigger

INSTANCES = 30


class Faltering(MemoryAgent):
    """Out of reach once it was told of so many instances."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience
        self.knows: list[str] = []

    def publish(self, instance: PublishedInstance, plan: JobPlan, *, order: int) -> None:
        if len(self.knows) == self.patience:
            raise AgentUnreachable("it went away")
        self.knows.append(instance.instance_id)
        super().publish(instance, plan, order=order)


def started_while_away(here: Bench, agent: MemoryAgent) -> list[str]:
    """Instances that the agent has not heard of."""
    agent.reachable = False
    here.agents["host"] = agent
    here.dashboard.push_plan(plan_of("several", ["a"], concurrent=True), {}, OPERATOR)
    return [str(here.dashboard.start_instance("several", OPERATOR)) for _ in range(INSTANCES)]


def test_what_was_told_in_one_go_is_noted_down_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(tmp_path) as here:
        agent = Faltering(INSTANCES + 1)
        started = started_while_away(here, agent)
        ledger, noted = here.dashboard.ledger, []
        delivered = ledger.delivered

        def note(name: str, through: int) -> None:
            noted.append(through)
            delivered(name, through)

        monkeypatch.setattr(ledger, "delivered", note)
        agent.reachable = True
        here.agent()
        agent.wait_for(lambda told: len(told.told) > INSTANCES)
        here.wait_delivered()

        assert agent.knows == started
        assert len(noted) == 2, "the provision, and all publications"


def test_an_agent_that_went_away_half_way_hears_the_rest_when_it_is_back_and_nothing_twice(
    tmp_path: Path,
) -> None:
    with bench(tmp_path) as here:
        agent = Faltering(7)
        started = started_while_away(here, agent)
        agent.reachable = True
        here.agent()
        agent.wait_for(lambda _: len(agent.knows) == agent.patience)
        here.wait_delivered(INSTANCES - 7)

        agent.patience = INSTANCES + 1
        here.agent()
        agent.wait_for(lambda _: len(agent.knows) >= INSTANCES)

        assert agent.knows == started


class Publications(MemoryAgent):
    """Keeps what it is told of instances."""

    def __init__(self) -> None:
        super().__init__()
        self.instances: list[PublishedInstance] = []

    def publish(self, instance: PublishedInstance, plan: JobPlan, *, order: int) -> None:
        self.instances.append(instance)
        super().publish(instance, plan, order=order)


def test_an_instance_that_ended_before_its_agent_heard_of_it_is_told_so_that_nothing_starts(
    tmp_path: Path,
) -> None:
    trigger = Trigger(cron="0 0 * * * ?")
    jobs = (
        CommandJob(agent="host", name="load", command_line="true"),
        ScheduleJob(agent="host", name="seven", trigger=trigger),
        FileJob(agent="host", name="prices", trigger=trigger, filenames=("/in/prices",)),
    )
    root = Context(name="night", jobs=tuple(ListedJob("host", job.name) for job in jobs))
    with bench(tmp_path) as here:
        agent = Publications()
        agent.reachable = False
        here.agents["host"] = agent
        here.dashboard.push_plan(JobPlan(root=root, jobs=jobs), {}, OPERATOR)
        instance_id = here.dashboard.start_instance("night", OPERATOR)
        here.dashboard.command(instance_id, EndInstance(), OPERATOR)
        agent.reachable = True
        here.agent()
        agent.wait_for(lambda each: each.told[-1:] == ["remove"])

        (told,) = agent.instances
        assert told.jobs == ("host-seven",), "its fires are to be accounted for, and no file is to be taken"
        assert told.schedules_disabled
