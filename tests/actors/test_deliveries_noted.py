"""What an agent has heard is noted down together, and what it has heard it does not hear again."""

from pathlib import Path

import pytest
from dashboard_rig import OPERATOR, Bench, MemoryAgent, bench, plan_of
from jobledger.actors.dashboard.ports import AgentUnreachable
from jobledger.domain.messages import PublishedInstance
from jobledger.domain.plan import JobPlan

INSTANCES = 30


class Faltering(MemoryAgent):
    """Out of reach once it was told of so many instances."""

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.patience = patience
        self.knows: list[str] = []

    def publish(self, instance: PublishedInstance, plan: JobPlan) -> None:
        if len(self.knows) == self.patience:
            raise AgentUnreachable("it went away")
        self.knows.append(instance.instance_id)
        super().publish(instance, plan)


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
