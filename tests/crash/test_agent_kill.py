"""An agent killed without warning, again and again: every command runs once, and all is told in order."""

import os
import random
import signal
import threading
from pathlib import Path

import pytest
from agent_rig import AgentProcess, StandInDashboard, wire

ROUNDS = int(os.environ.get("JOBLEDGER_CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("JOBLEDGER_SEED", "20261124"))
JOBS, RUNS_EACH = 6, 4


def give(
    agent: AgentProcess, orders: list[dict[str, object]], dice: random.Random
) -> list[dict[str, object]]:
    """Send some; those that were not answered well must be sent again, as a dashboard does."""
    batch = orders[: dice.randint(1, 4)]
    try:
        status, answer = agent.request("POST", "/api/v1/initiations", batch)
    except OSError:
        return orders
    assert status == 200, answer
    assert all(item["refused"] is None for item in answer["items"]), answer
    return orders[len(batch) :]


@pytest.mark.crash
@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_whatever_the_moment_of_the_kill_each_command_runs_once_and_is_reported_in_order(
    round_number: int, tmp_path: Path
) -> None:
    seed = SEED + round_number
    print(f"seed {seed}")
    dice = random.Random(seed)
    effect = tmp_path / "effect"
    orders = [
        wire(
            f"{job}.{run}",
            f"echo {job}.{run} >> {effect}; sleep 0.0{dice.randint(0, 9)}; exit {job}",
            job=f"job{job}",
        )
        for run in range(RUNS_EACH)
        for job in range(JOBS)
    ]
    ids = [str(order["initiationId"]) for order in orders]
    dashboard = StandInDashboard()
    dashboard.busy = lambda: dice.random() < 0.2
    agent = AgentProcess(tmp_path, dashboard.url)
    pause = threading.Event()
    agent.start()
    try:
        rest, kills = orders, 0
        while rest or kills < 6:
            if rest:
                rest = give(agent, rest, dice)
                if dice.random() < 0.2:
                    rest = [dice.choice(orders), *rest]  # delivered again
            pause.wait(dice.uniform(0.0, 0.08))
            if dice.random() < 0.4:
                agent.kill()
                kills += 1
                agent.start()
        dashboard.wait_finished(*ids)
    finally:
        agent.end(signal.SIGTERM)
        dashboard.close()
    assert sorted(effect.read_text().split()) == sorted(
        f"{job}.{run}" for run in range(RUNS_EACH) for job in range(JOBS)
    )
    first_seen = list(dict.fromkeys(event["id"] for event in dashboard.events))
    assert sorted(first_seen) == sorted(f"{each}/{what}" for each in ids for what in ("started", "finished"))
    for each in ids:
        assert first_seen.index(f"{each}/started") < first_seen.index(f"{each}/finished")
    for job in range(JOBS):
        begun = [each for each in first_seen if each.startswith(f"id-{job}.") and each.endswith("/started")]
        ended = [each for each in first_seen if each.startswith(f"id-{job}.") and each.endswith("/finished")]
        assert [each.rpartition("/")[0] for each in begun] == [each.rpartition("/")[0] for each in ended]
    ends = {event["initiationId"]: event for event in dashboard.events if not event["jobStarting"]}
    assert {each: ends[each]["returnCode"] for each in ids} == {each: int(each[3]) for each in ids}
    left = list((tmp_path / "agent" / "runs").glob("*.run"))
    assert left == [], "markers are deleted once their ends are reported"


@pytest.mark.crash
def test_a_command_that_ended_while_the_agent_was_dead_is_reported_with_its_code_and_output(
    tmp_path: Path,
) -> None:
    gate, ended = tmp_path / "gate", tmp_path / "ended"
    script = f"echo before; until [ -e {gate} ]; do sleep 0.01; done; echo after; touch {ended}; exit 7"
    dashboard = StandInDashboard()
    agent = AgentProcess(tmp_path, dashboard.url)
    agent.start()
    try:
        agent.request("POST", "/api/v1/initiations", [wire(1, script)])
        dashboard.wait_for(lambda events: len(events) == 1)
        pause = threading.Event()
        while agent.request("GET", "/api/v1/runs/id-1/log/stdout")[1] != b"before\n":
            pause.wait(0.01)
        agent.kill()
        gate.touch()
        while not ended.exists():
            pause.wait(0.01)
        assert agent.start() < 5.0
        events = dashboard.wait_finished("id-1")
        assert agent.request("GET", "/api/v1/runs/id-1/log/stdout?offset=7")[1] == b"after\n"
    finally:
        agent.end(signal.SIGTERM)
        dashboard.close()
    ids = [event["id"] for event in events]
    assert list(dict.fromkeys(ids)) == ["id-1/started", "id-1/finished"], "the first may be delivered again"
    assert events[-1]["returnCode"] == 7
