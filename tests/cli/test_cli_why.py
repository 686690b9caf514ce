"""Why a job is not running and why it ran, in words; and a job on its sheet."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import pytest
from click.testing import Result
from fake_dashboard import INSTANCE_ID, FakeDashboard, instance, job, with_nightly
from jobledger.cli import answers, drawing
from jobledger.cli.why import told
from jobledger.cli.why_answers import Why
from rich.console import Console

Run: TypeAlias = Callable[..., Result]

LOAD = f"/api/v1/instances/{INSTANCE_ID}/contexts/nightly/jobs/host-load"
AT = "2026-03-01T02:00:00.000Z"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobledger.cli.render.moment", lambda text: (text or "")[11:19])


def fact(kind: str = "JobHeld", position: int = 6, **cause: Any) -> dict[str, Any]:
    return {"position": position, "at": AT, "type": kind, "data": {"job": "host-load"}, "cause": cause}


def order(command: str, reason: str | None = None, by: str = "olga") -> dict[str, Any]:
    return {"command": command, "by": by, **({} if reason is None else {"reason": reason})}


def blocker(kind: str, name: str = "load", status: str = "WAITING", **more: Any) -> dict[str, Any]:
    shown = {**job(name, status), **more.pop("job", {})}
    known = {
        "kind": kind,
        "context": "nightly",
        "job": shown,
        "fact": None,
        "agent": None,
        "dead_letters": [],
    }
    return {**known, **more}


def answer(*blockers: dict[str, Any], shown: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "instance_id": INSTANCE_ID,
        "plan": "nightly",
        "context": "nightly",
        "job": job("load") if shown is None else shown,
        "blockers": list(blockers),
        "blockers_count": len(blockers),
        **more,
    }


def agent(**more: Any) -> dict[str, Any]:
    answering = {"name": "host", "announced": True, "reachable": True, "last_seen": AT}
    return {**answering, "running": 3, "queued": 4, **more}


def lines(document: dict[str, Any]) -> list[str]:
    nodes = told(answers.read(Why, document), "nightly")
    return ["  " * depth + each.text for node in nodes for depth, each in node.walk()]


HELD = order("HoldJob", "books are open")
SILENT = {"reachable": False}
AFTER_FAILURE = (
    "`jobledger job output nightly host-load --stderr`; then `job submit` it again, or `job acknowledge` it"
)
LOCK = {"name": "disk", "waiting_since": AT, "held_by_count": 1, "ahead": 0, "held_by": [
    {"instance_id": INSTANCE_ID, "plan": "nightly", "job": "host-check"},
]}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "sentence", "next_steps"),
    [
        (blocker("held", fact=fact(**HELD)), 'is held since 02:00:00 by olga: "books are open"',
         ["`jobledger job release nightly host-load`"]),
        (blocker("held"), "is held since the beginning", ["`jobledger job release nightly host-load`"]),
        (blocker("skipped", fact=fact("JobSkipped", **order("SkipContext"))),
         "is to be passed over: it was skipped since 02:00:00 by olga",
         ["`jobledger job enable nightly host-load`"]),
        (blocker("schedules disabled", fact=fact("SchedulesDisabled", **order("DisableSchedules"))),
         "the schedules of the instance are switched off since 02:00:00 by olga",
         ["`jobledger instance schedules nightly on`"]),
        (blocker("running", job={"pid": 77, "started_at": AT}, agent=agent()),
         "runs since 02:00:00, pid 77", []),
        (blocker("running", job={"started_at": AT}, agent=agent(**SILENT)),
         "runs since 02:00:00; agent host does not answer, last seen 02:00:00",
         ["start agent host; `jobledger agent list` says which answer"]),
        (blocker("on its way", undelivered=True, agent=agent(announced=False, reachable=False)),
         "agent host has not taken it: it never announced itself",
         ["start agent host; `jobledger agent list` says which answer"]),
        (blocker("on its way", undelivered=True, agent=agent()), "agent host has not taken it yet", []),
        (blocker("on its way", undelivered=True, agent=agent(**SILENT)),
         "agent host has not taken it; agent host does not answer, last seen 02:00:00",
         ["start agent host; `jobledger agent list` says which answer"]),
        (blocker("on its way", agent=agent()),
         "agent host has it and has not reported its start (3 running, 4 queued)", []),
        (blocker("on its way", agent=agent(problems=["no room"])),
         "agent host has it and has not reported its start (3 running, 4 queued); it says: no room", []),
        (blocker("lock", lock=LOCK),
         "waits for lock disk since 02:00:00, held by host-check of nightly 0b5a4c1e",
         ["`jobledger lock list`"]),
        (blocker("lock", lock={**LOCK, "held_by": [], "held_by_count": 2, "ahead": 3}),
         "waits for lock disk since 02:00:00, held by 2 others, 3 before it", ["`jobledger lock list`"]),
        (blocker("lock", fact=fact("JobLockQueued")),
         "waits for its lock since 02:00:00", ["`jobledger lock list`"]),
        (blocker("error", status="ERROR", job={"return_code": 3, "finished_at": AT, "details": "no disk"}),
         "failed at 02:00:00, return code 3: no disk",
         [AFTER_FAILURE]),
        (blocker("schedule", trigger={"cron": "0 0 7 * * ?", "zone": "Europe/Paris"}, agent=agent()),
         "its schedule has not fired: 0 0 7 * * ? (Europe/Paris)", []),
        (blocker("file", trigger={"file_path": "/in", "filenames": ["a.*", "b"]}, agent=agent()),
         "no file has come: a.*, b in /in", []),
        (blocker("file", trigger={}, agent=agent(announced=False, reachable=False)),
         "no file has come: any; agent host never announced itself",
         ["start agent host; `jobledger agent list` says which answer"]),
        (blocker("event"), "its global event has not been raised", []),
        (blocker("raised"), "its global event is raised and has not been heard yet", []),
        (blocker("prepared"), "the instance has not started", []),
        (blocker("by hand"), "it depends on nothing and has to be submitted",
         ["`jobledger job submit nightly host-load`"]),
        (blocker("unfired"), "what it waits for is so already, and nothing more is to come that starts it",
         ["`jobledger job submit nightly host-load`"]),
        (blocker("prevents"), "it has succeeded, and something waits for its not having done so",
         ["`jobledger job reset nightly host-load`"]),
        (blocker("circle"), "it waits for itself, by way of others",
         ["`jobledger job submit nightly host-load`"]),
        (blocker("something of a later version"), "something of a later version", []),
        (blocker("by hand", job={"context": "nightly"}), "it depends on nothing and has to be submitted",
         ["`jobledger job submit nightly host-load --context nightly`"]),
    ],
)  # fmt: skip
def test_each_thing_in_the_way_is_a_sentence_with_what_to_do_about_it(
    found: dict[str, Any], sentence: str, next_steps: list[str]
) -> None:
    assert lines(answer(found))[1:] == [
        "What stands in the way",
        f"  host-load: {sentence}",
        *(f"    Next: {step}" for step in next_steps),
    ]


def test_the_end_of_an_instance_is_told_with_who_ended_it() -> None:
    ended = fact("InstanceEnded", **order("EndInstance", "wrong day"))
    assert lines(answer(blocker("ended"), ended=ended))[1:] == [
        "What stands in the way",
        '  host-load: the instance has ended since 02:00:00 by olga: "wrong day"',
        "    Next: `jobledger instance start nightly`",
    ]


def test_events_that_could_not_be_processed_are_told_with_their_number() -> None:
    letters = [{"id": 12, "error": "RuntimeError: a fault"}]
    told_lines = lines(answer(blocker("running", agent=agent(), dead_letters=letters)))
    assert "    an event about it could not be processed: RuntimeError: a fault" in told_lines
    assert "    Next: `jobledger dead-letter resubmit 12` once its cause is put right" in told_lines


def test_what_is_not_shown_is_counted() -> None:
    assert lines({**answer(blocker("by hand")), "blockers_count": 9})[-1] == "  and 8 more"


# --- what it waits for --------------------------------------------------------------------------------------


def explained(name: str, *waits: dict[str, Any], status: str = "WAITING") -> dict[str, Any]:
    return {
        "identifier": f"host-{name}",
        "contexts": ["nightly"],
        "status": status,
        "blockers": [],
        "waits": [{"context": "nightly", "lacks": lacks} for lacks in waits],
    }


def lacking(name: str) -> dict[str, Any]:
    return {"lacking": f"host-{name}"}


def one_of(*ways: dict[str, Any]) -> dict[str, Any]:
    return {"any_of": list(ways)}


def test_what_it_waits_for_is_a_tree_in_which_nothing_is_drawn_twice() -> None:
    document = answer(
        blocker("held", "a", "ON_HOLD", fact=fact(**HELD)),
        jobs=[
            explained(
                "load", {"all_of": [lacking("x"), {"any_of": [lacking("y"), {"preventing": "host-z"}]}]}
            ),
            explained("x", lacking("a")),
            explained("a", status="ON_HOLD"),
            explained("y", lacking("a"), lacking("unknown")),
        ],
    )
    tree = lines(document)
    assert tree[tree.index("It waits for") :] == [
        "It waits for",
        "  all of",
        "    host-x  WAITING",
        '      host-a  ON_HOLD  is held since 02:00:00 by olga: "books are open"',
        "    one of",
        "      host-y  WAITING",
        "        one of",
        "          host-a  ON_HOLD  (see above)",
        "          host-unknown  …",
        "      not host-z, which has succeeded",
    ]


def test_a_long_row_is_folded_and_its_end_is_shown() -> None:
    names = [f"j{number}" for number in range(600)]
    chain = [explained(before, lacking(after)) for before, after in pairwise(names)]
    document = answer(blocker("by hand", "j599"), shown=job("j0"), jobs=[*chain, explained("j599")])
    tree = lines(document)
    assert [line.strip() for line in tree[tree.index("It waits for") + 1 :]] == [
        "host-j1  WAITING",
        "… 596 more in a row …",
        "host-j598  WAITING",
        "host-j599  WAITING  it depends on nothing and has to be submitted",
    ]


# --- why it ran ---------------------------------------------------------------------------------------------


def step(
    kind: str, name: str, position: int, event: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    data = {"job": f"host-{name}", **more.pop("data", {})}
    recorded = {"position": position, "at": AT, "type": kind, "data": data, "cause": more.pop("cause", {})}
    return {"fact": recorded, **({} if event is None else {"event": event}), **more}


def test_a_chain_of_causes_is_told_with_who_and_what() -> None:
    document = answer(
        shown=job("c", "RUNNING"),
        latest=fact("JobStarted"),
        chain=[
            step("JobStarted", "c", 9, {"agent": "host", "host": "h1"}),
            step("JobInitiated", "c", 8),
            step("JobPassedOver", "b", 7, skipped=fact("JobSkipped", **order("SkipJob", "no data"))),
            step("JobCompleted", "a", 6, {"agent": "host"}, data={"return_code": 0}),
            step("GlobalEventRaised", "g", 5),
            step("JobCompleted", "g", 4, raised_by="4711"),
            step("DependantsFired", "x", 3, cause=order("FireDependants")),
            step("JobInitiated", "x", 2, cause=order("SubmitJob", "late")),
        ],
        chain_count=20,
    )
    assert lines(document) == [
        "host-c in nightly is RUNNING since 02:00:00",
        "What it does comes from",
        "  02:00:00  9  host-c started, as host reported on h1",
        "  02:00:00  8  host-c was initiated",
        '  02:00:00  7  host-b was passed over; it was skipped since 02:00:00 by olga: "no data"',
        "  02:00:00  6  host-a completed, return code 0, as host reported",
        "  02:00:00  5  host-g was raised",
        "  02:00:00  4  host-g completed, raised by instance 4711",
        "  02:00:00  3  host-x had its dependants fired: FireDependants by olga",
        "  … 12 more …",
        '  02:00:00  2  host-x was initiated: SubmitJob by olga: "late"',
    ]


def test_a_failed_job_says_what_to_do_and_an_accepted_one_that_it_is() -> None:
    failed = lines(answer(shown=job("load", "ERROR")))
    assert failed[0] == "host-load in nightly is ERROR"
    assert "job output nightly host-load --stderr" in failed[1]
    assert lines(answer(shown=job("load", "ERROR", acknowledged=True))) == [
        "host-load in nightly is ERROR, accepted"
    ]


def test_a_job_that_its_agent_is_told_to_run_is_on_its_way() -> None:
    assert lines(answer(shown=job("load", initiated=True))) == [
        "host-load in nightly is WAITING, on its way to its agent"
    ]


# --- the commands -------------------------------------------------------------------------------------------


def test_why_is_plain_when_piped(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load")))
    fake.on("GET", f"{LOAD}/why", answer(blocker("held", fact=fact(**HELD))))
    assert run("job", "why", "nightly", "load", "--limit", "7").output.splitlines() == [
        "host-load in nightly is WAITING",
        "What stands in the way",
        '  host-load: is held since 02:00:00 by olga: "books are open"',
        "    Next: `jobledger job release nightly host-load`",
    ]
    assert fake.last("GET").query == {"limit": "7"}
    assert '"kind": "held"' in run("job", "why", "nightly", "load", "--json").output


def test_why_in_a_terminal_is_a_tree() -> None:
    nodes = told(answers.read(Why, answer(blocker("held", fact=fact(**HELD)))), "nightly")
    console = Console(width=100, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(drawing.drawn_nodes(nodes[1]))
    assert "└── host-load: is held" in captured.get()


def test_a_reason_cannot_steer_the_terminal(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load")))
    fake.on("GET", f"{LOAD}/why", answer(blocker("held", fact=fact(**order("HoldJob", "x\x1b[2J\ny")))))
    output = run("job", "why", "nightly", "load").output
    assert "\x1b" not in output
    assert "x\\x1b[2J\\ny" in output


def test_a_job_is_shown_on_a_sheet(fake: FakeDashboard, run: Run) -> None:
    with_nightly(fake, instance(job("load", "ERROR")))
    members = [
        {"holds": True, "identifier": "host-a", "status": "COMPLETE", "grouping": None},
        {"holds": False, "identifier": None, "status": None, "grouping": {
            "holds": False, "any_of": [{"holds": False, "identifier": "host-b", "status": "WAITING"}],
        }},
    ]  # fmt: skip
    sheet = {
        **job("load", "ERROR", return_code=3, pid=77, details="no disk", killed=True),
        "started_at": AT,
        "finished_at": AT,
        "permitted": ["submit", "reset"],
        "contexts": ["nightly", "late"],
        "initiation_id": f"{INSTANCE_ID}-1",
        "template": {"command_line": "./load.sh", "working_directory": "/srv", "repeatable": True},
        "lock": {"name": "disk", "count": 1, "holds": True, "waiting_since": None},
        "parameters": [{"name": "A", "value": "1", "source": "plan"}, {"name": "B", "value": None}],
        "dependencies": [
            {"context": "nightly", "grouping": {"holds": False, "all_of": members, "none_of": [], "nested": {
                "holds": True, "any_of": [{"holds": True, "identifier": "host-c", "status": "COMPLETE"}],
            }}},
        ],
    }  # fmt: skip
    fake.on("GET", LOAD, sheet)

    assert run("job", "show", "nightly", "load").output.splitlines() == [
        "host-load in nightly",
        "  kind         command",
        "  agent        host",
        "  contexts     nightly, late",
        "  status       ERROR, killed",
        "  started      02:00:00",
        "  finished     02:00:00",
        "  return code  3",
        "  pid          77",
        "  details      no disk",
        f"  initiation   {INSTANCE_ID}-1",
        "  lock         disk, held",
        "  command      ./load.sh",
        "  directory    /srv",
        "  repeatable   yes",
        "  parameters   A=1  (from plan)",
        "               B has no value",
        "  starts after in nightly",
        "    all of",
        "      + host-a  COMPLETE",
        "      one of",
        "        - host-b  WAITING",
        "    and",
        "      one of",
        "        + host-c  COMPLETE",
        "  accepts      submit, reset",
    ]
    assert '"contexts"' in run("job", "show", "nightly", "load", "--json").output
