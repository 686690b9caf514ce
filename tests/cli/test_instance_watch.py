"""Watching an instance: what is printed for each change, when it ends, and what its exit code says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result
from fake_dashboard import INSTANCE_ID, Asked, FakeDashboard, Reply, instance, job
from jobledger.cli import answers, drawing, following, tree
from jobledger.cli.main import cli
from rich.console import Console

Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def watch(fake: FakeDashboard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(following, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(following, "_SOONEST_SECONDS", 0.01)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["instance", "watch", INSTANCE_ID, "--url", fake.url, *arguments])

    return invoke


def story(fake: FakeDashboard, *documents: dict[str, Any]) -> None:
    """Each document is the answer once the one before it was seen; the last one stays."""

    def answer(asked: Asked) -> Reply:
        after = int(asked.query.get("after", -1))
        newer = [each for each in documents if each["position"] > after]
        return Reply(newer[0] if newer else documents[-1])

    fake.on("GET", f"/api/v1/instances/{INSTANCE_ID}", answer)


def changes(result: Result) -> list[str]:
    """The lines without their times."""
    return [line.split("  ", 1)[1] for line in result.output.splitlines()]


def test_a_line_for_each_change_until_it_is_complete(fake: FakeDashboard, watch: Run) -> None:
    story(
        fake,
        instance(job("load"), status="WAITING", position=1),
        instance(job("load", "RUNNING"), position=3),
        instance(job("load", "COMPLETE"), status="COMPLETE", position=4),
    )
    result = watch()
    assert result.exit_code == 0
    assert changes(result) == [
        "nightly  WAITING",
        "host-load  WAITING -> RUNNING  [nightly]",
        "nightly  WAITING -> RUNNING",
        "host-load  RUNNING -> COMPLETE  [nightly]",
        "nightly  RUNNING -> COMPLETE",
    ]


def test_the_position_that_was_seen_is_what_is_asked_beyond(fake: FakeDashboard, watch: Run) -> None:
    story(fake, instance(position=3), instance(status="COMPLETE", position=4))
    watch()
    assert [each.query for each in fake.asked] == [{}, {"after": "3", "wait": "25.0"}]


def test_an_error_with_nothing_under_way_ends_it_with_exit_code_6(fake: FakeDashboard, watch: Run) -> None:
    story(fake, instance(job("load", "ERROR", return_code=3), status="ERROR"))
    assert watch().exit_code == 6


def test_a_schedule_that_goes_on_firing_does_not_keep_an_error_from_being_the_end(
    fake: FakeDashboard, watch: Run
) -> None:
    positions = iter(range(1, 1_000_000))
    path = f"/api/v1/instances/{INSTANCE_ID}"
    fake.on(
        "GET",
        path,
        lambda _asked: Reply(instance(job("load", "ERROR"), status="ERROR", position=next(positions))),
    )
    assert watch().exit_code == 6


def test_an_error_beside_which_something_runs_is_watched_on(fake: FakeDashboard, watch: Run) -> None:
    story(
        fake,
        instance(job("load", "ERROR"), job("other", "RUNNING"), status="ERROR", position=3),
        instance(job("load", "ERROR"), job("other", "COMPLETE"), status="ERROR", position=4),
        instance(job("load", "COMPLETE"), job("other", "COMPLETE"), status="COMPLETE", position=6),
    )
    assert watch().exit_code == 0


def test_a_command_that_its_agent_has_yet_to_start_counts_as_under_way(
    fake: FakeDashboard, watch: Run
) -> None:
    story(
        fake,
        instance(job("load", "ERROR"), job("other", initiated=True), status="ERROR", position=3),
        instance(job("load", "ERROR"), job("other", "RUNNING"), status="ERROR", position=4),
        instance(job("load", "ERROR"), job("other", "ERROR"), status="ERROR", position=5),
    )
    result = watch()
    assert result.exit_code == 6
    assert "host-other  RUNNING -> ERROR  [nightly]" in changes(result)


def test_ended_before_it_was_complete_is_exit_code_7(fake: FakeDashboard, watch: Run) -> None:
    ended = {**instance(job("load")), "status": "ENDED", "ended_at": "2026-03-01T03:00:00.000Z"}
    ended["root"]["status"] = "RUNNING"
    story(fake, ended)
    assert watch().exit_code == 7


def test_ended_after_it_was_complete_is_exit_code_0(fake: FakeDashboard, watch: Run) -> None:
    ended = {**instance(job("load", "COMPLETE"), status="COMPLETE"), "status": "ENDED"}
    story(fake, ended)
    assert watch().exit_code == 0


def test_a_dashboard_that_is_away_for_a_moment_does_not_end_the_watch(
    fake: FakeDashboard, watch: Run
) -> None:
    def answer(asked: Asked) -> Reply:
        fake.hang_up = 2 if "after" not in asked.query else 0
        done = "after" in asked.query
        return Reply(instance(status="COMPLETE" if done else "RUNNING", position=5 if done else 4))

    fake.on("GET", f"/api/v1/instances/{INSTANCE_ID}", answer)
    result = watch()
    assert result.exit_code == 0
    assert result.stderr.count("asking again") == 1


def test_a_dashboard_that_stays_away_ends_it_with_exit_code_3(
    fake: FakeDashboard, watch: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.0)

    def answer(_asked: Asked) -> Reply:
        fake.hang_up = 1000
        return Reply(instance())

    fake.on("GET", f"/api/v1/instances/{INSTANCE_ID}", answer)
    assert watch().exit_code == 3


def test_json_is_a_document_on_a_line_for_each_change(fake: FakeDashboard, watch: Run) -> None:
    story(fake, instance(position=3), instance(status="COMPLETE", position=4))
    result = watch("--json")
    assert [json.loads(line)["position"] for line in result.output.splitlines()] == [3, 4]


def test_a_shared_job_changes_in_one_line_with_all_its_contexts(fake: FakeDashboard, watch: Run) -> None:
    def shared(status: str, position: int, whole: str) -> dict[str, Any]:
        child = {"name": "late", "status": whole, "jobs": [job("load", status)], "contexts": []}
        return instance(job("load", status), status=whole, position=position, children=(child,))

    story(fake, shared("RUNNING", 3, "RUNNING"), shared("COMPLETE", 4, "COMPLETE"))
    assert changes(watch())[-3:] == [
        "host-load  RUNNING -> COMPLETE  [nightly, late]",
        "context late  RUNNING -> COMPLETE",
        "nightly  RUNNING -> COMPLETE",
    ]


def drawn(document: dict[str, Any], height: int) -> str:
    console = Console(width=100, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(drawing.drawn(answers.read(answers.Instance, document), height=height))
    return capture.get()


def test_the_tree_shows_every_context_and_job_where_there_is_room() -> None:
    child = {"name": "late", "status": "RUNNING", "jobs": [job("report", "RUNNING", pid=77)], "contexts": []}
    text = drawn(instance(job("load", "COMPLETE"), children=(child,)), height=50)
    assert "✓ load  COMPLETE" in text
    assert "▶ report  RUNNING  pid 77" in text


def test_a_tree_of_ten_thousand_jobs_is_folded_to_what_is_of_interest() -> None:
    many = [job(f"done{number}", "COMPLETE") for number in range(10_000)]
    child = {"name": "late", "status": "RUNNING", "jobs": [*many, job("now", "RUNNING")], "contexts": []}
    text = drawn(instance(job("load", "COMPLETE"), children=(child,)), height=24)
    assert len(text.splitlines()) < 24
    assert "… 10000 COMPLETE" in text
    assert "▶ now  RUNNING" in text


def test_names_are_text_and_no_markup_in_the_tree() -> None:
    text = drawn(instance(job("[red]x\x1b[2J")), height=50)
    assert "[red]x\\x1b[2J" in text


def test_the_plain_tree_says_why_a_job_failed() -> None:
    failed = job("load", "ERROR", return_code=3, killed=True, details="no such directory")
    told = list(tree.lines(answers.read(answers.Instance, instance(failed, status="ERROR"))))
    assert told[-1] == "  - host-load  ERROR  (return code 3, killed, no such directory)"
