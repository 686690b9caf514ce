"""An instance shown as it was: at every position of its log it is what was live there."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dashboard_over_http import Served, eventually, finished, served
from jobledger.domain import decision
from jobledger.domain.facts import Recorded
from jobledger.domain.instance import InstanceState, evolve
from jobledger.domain.plan import (
    CommandJob,
    Context,
    Dependency,
    EventJob,
    EventKind,
    Grouping,
    JobPlan,
    ListedJob,
    Lock,
    LockParticipant,
)
from jobledger.http.wire.views import instance_view


def flow() -> JobPlan:
    """Two that share a lock, what follows from both, and a global event at the end."""
    names = ("left", "right", "join", "last")
    event = EventJob.listed(EventKind.GLOBAL, "flow is over")
    return JobPlan(
        root=Context(
            name="flow",
            jobs=(ListedJob("host", "left"), ListedJob("host", "right"), ListedJob(event.agent, event.name)),
            dependencies=(Dependency(event.identifier, Grouping(all_of=("host-left", "host-right"))),),
            locks=(
                Lock("disk", participants=tuple(LockParticipant("flow", f"host-{n}") for n in names[:2])),
            ),
            contexts=(
                Context(
                    name="after",
                    jobs=tuple(ListedJob("host", name) for name in names),
                    dependencies=(
                        Dependency("host-join", Grouping(any_of=("host-left", "host-right"))),
                        Dependency("host-last", Grouping(all_of=("host-join",))),
                    ),
                ),
            ),
        ),
        jobs=(
            *(
                CommandJob(
                    agent="host", name=name, command_line="true", participates_in_lock=name in names[:2]
                )
                for name in names
            ),
            event,
        ),
        concurrent=True,
    )


class Watched:
    """What every instance was, live, after each fact that was decided."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._live: dict[tuple[str, int], Any] = {}

        def noted(state: InstanceState, recorded: Recorded) -> InstanceState:
            after = evolve(state, recorded)
            self.note(after)
            return after

        monkeypatch.setattr(decision, "evolve", noted)

    def note(self, state: InstanceState) -> None:
        shown = json.loads(msgspec.json.encode(instance_view(state)))
        self._live[str(state.instance_id), state.position] = shown

    def at(self, instance_id: str, position: int) -> Any:
        return self._live[instance_id, position]


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        running.push(flow())
        yield running


def test_at_every_position_of_a_finished_instance_it_is_shown_as_it_was_live_there(
    dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    instance_id = dashboard.start("flow")
    path = f"/api/v1/instances/{instance_id}"
    first = dashboard.shown(instance_id)

    _a_night_with_everything_in_it(dashboard, instance_id)

    last = dashboard.shown(instance_id)
    assert last["ended_at"] is not None
    facts = dashboard.get(f"{path}/log?limit=1000").json["items"]
    assert [fact["position"] for fact in facts] == list(range(1, last["position"] + 1))
    together = sum(before["at"] == after["at"] for before, after in pairwise(facts))
    assert together > 3, "no two facts were of one turn: nothing was seen between them"
    for position in range(1, last["position"] + 1):
        live = first if position == first["position"] else watched.at(instance_id, position)
        assert dashboard.get(f"{path}?at={position}").json == live, facts[position - 1]
    assert dashboard.get(f"{path}?at={last['position']}").json == last


def _a_night_with_everything_in_it(dashboard: Served, instance_id: str) -> None:
    def order(where: str, command: str, body: Any = None, instance: str = instance_id) -> None:
        answer = dashboard.post(f"/api/v1/instances/{instance}{where}{command}", body)
        assert answer.status_code == 200, (where, command, answer.text)

    def hear(job: str, **more: Any) -> None:
        before = dashboard.shown(instance_id)["position"]
        event = finished(instance_id, job, contextName="flow", **more)
        assert dashboard.put("/rest/event/scheduled", event).status_code == 200
        eventually(lambda: dashboard.shown(instance_id)["position"] > before)

    left, right = "/contexts/flow/jobs/host-left/", "/contexts/flow/jobs/host-right/"
    join, last = "/contexts/after/jobs/host-join/", "/contexts/after/jobs/host-last/"
    order("/contexts/after/", "hold", {"reason": "not yet"})
    order("/", "parameters", {"parameters": {"DAY": "monday"}})
    order("/", "schedules", {"enabled": False})
    order(left, "submit", {"parameters": {"N": "1"}})
    order(right, "release")
    order(right, "submit")
    hear("left", jobStarting=True, pid=7, fireTime=1)
    hear("left", successful=False, returnCode=3, fireTime=1)
    hear("left", successful=False, returnCode=3, fireTime=1)
    hear("nobody")
    order(left, "acknowledge", {"ticket": "OPS-1", "reason": "known"})
    order(left, "fire-dependants")
    hear("right", jobStarting=True, pid=8, fireTime=2)
    hear("right", fireTime=2)
    order("/contexts/after/", "release")
    order(last, "skip", {"reason": "not tonight"})
    hear("join", fireTime=3)
    order(last, "enable")
    order(left, "reset")
    order(left, "submit")
    hear("left", jobStarting=True, pid=9, fireTime=8)
    order(left, "kill")
    hear("left", fireTime=9)
    order(join, "reset-downstream")
    order("/", "run-until-ended")
    order("/", "end", {"reason": "enough"})
