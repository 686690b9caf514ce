"""What runs is killed although its agent takes no other orders: it may be what keeps the agent from them."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from dashboard_rig import OPERATOR, Bench, MemoryAgent, bench, plan_of
from jobledger.actors.dashboard.ports import AgentUnreachable
from jobledger.domain.commands import KillJob, ResetJob, SubmitJob
from jobledger.domain.messages import Initiation


class Full(MemoryAgent):
    """Its disk takes no initiation while it is full, and it says so."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False

    def initiate(self, initiations: Sequence[Initiation]) -> list[str | None]:
        if self.full:
            raise AgentUnreachable("no room on the disk, deliver it again")
        return super().initiate(initiations)


def with_a_job_that_fills_the_disk(here: Bench) -> tuple[Full, UUID]:
    """``filler`` runs, and ``other`` waits for room."""
    agent = Full()
    here.agents["host"] = agent
    here.agent()
    here.dashboard.push_plan(plan_of("disk", ["filler", "other"]), {}, OPERATOR)
    instance_id = here.dashboard.start_instance("disk", OPERATOR)
    submit(here, instance_id, "filler")
    agent.wait_for(lambda each: "initiate filler" in each.told)
    here.report(instance_id, "filler", 1, starting=True, pid=4711, fired_at=here.now)
    here.wait(instance_id, lambda each: each.counts().get("RUNNING") == 1)
    agent.full = True
    submit(here, instance_id, "other")
    return agent, instance_id


def submit(here: Bench, instance_id: UUID, job: str) -> None:
    here.dashboard.command(instance_id, SubmitJob(job=f"host-{job}", context="disk"), OPERATOR)


def test_a_job_that_fills_the_disk_is_killed_before_others_are_taken_and_once(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent, instance_id = with_a_job_that_fills_the_disk(here)

        here.dashboard.command(instance_id, KillJob(job="host-filler", context="disk"), OPERATOR)
        agent.wait_for(lambda each: "kill 4711" in each.told)
        assert "initiate other" not in agent.told

        agent.full = False
        here.agent()
        agent.wait_for(lambda each: "initiate other" in each.told)
        here.wait_delivered()
        assert agent.told.count("kill 4711") == 1


def test_a_kill_of_what_is_not_known_to_run_does_not_overtake_its_start(tmp_path: Path) -> None:
    with bench(tmp_path) as here:
        agent, instance_id = with_a_job_that_fills_the_disk(here)
        here.dashboard.command(instance_id, ResetJob(job="host-other", context="disk"), OPERATOR)
        here.dashboard.command(instance_id, KillJob(job="host-filler", context="disk"), OPERATOR)
        agent.wait_for(lambda each: "kill 4711" in each.told)

        agent.full = False
        here.agent()
        here.wait_delivered()

        assert agent.told[-3:] == ["kill 4711", "initiate other", "kill None"]
